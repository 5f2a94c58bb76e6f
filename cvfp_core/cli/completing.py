"""What a shell offers on TAB: names of laws, templates, presets and so on, and the columns of the runs given.

Annotations are no texts here: Typer would evaluate them for every option, whatever is asked.
"""

from collections.abc import Callable
from pathlib import Path

import typer

from cvfp_core.errors import CvfpError


def named(kind: str) -> Callable[[str], list[str]]:
    """Completes the names of the installed items of a kind, by the name of its class."""

    def complete(incomplete: str) -> list[str]:
        from cvfp_core import registry
        from cvfp_core.registry import kinds

        return [name for name in sorted(registry.load().items(getattr(kinds, kind))) if name.startswith(incomplete)]

    return complete


def columns(ctx: typer.Context, incomplete: str) -> list[str]:
    """Completes the columns of the runs that the command line names and that hold values; of a list the last one."""
    from cvfp_core.results.runs import read

    paths = [Path(each) for each in ctx.params.get("paths") or ctx.args if not str(each).startswith("-")]
    if not paths:
        return []
    try:
        records = read(paths).records
    except CvfpError:
        return []
    before, comma, last = incomplete.rpartition(",")
    return [before + comma + name for name in records.columns
            if not name.startswith("_") and name.startswith(last) and records[name].null_count() < records.height]
