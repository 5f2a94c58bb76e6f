"""The Markdown reports that come with cvfp, registered like anyone's."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cvfp_core import hookimpl
from cvfp_core.kinds import Template

_HERE = Path(__file__).parent


@hookimpl
def cvfp_templates() -> Iterable[Template]:
    yield Template(
        name="summary", title="one page: runs and exponents of every series", path=_HERE / "summary.md.j2"
    )
