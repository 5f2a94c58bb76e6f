"""The `local` executor: cells on this machine, in this process or in several."""

from __future__ import annotations

from collections.abc import Iterable

from cvfp_core import hookimpl
from cvfp_core.registry.kinds import Executor
from cvfp_core.registry.lazy import lazy


@hookimpl
def cvfp_executors() -> Iterable[Executor]:
    yield Executor(name="local", title="on this machine, in --jobs processes", run=lazy("cvfp_local.processes:run"),
                   ahead=lazy("cvfp_local.processes:ahead"))
