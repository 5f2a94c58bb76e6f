"""The `local` executor: cells on this machine, in this process or in several."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from cvfp_core import hookimpl
from cvfp_core.registry.kinds import Executor
from cvfp_core.schema.cells import Cell, Emit


def _run(cells: Sequence[Cell], folder: Path, jobs: int, emit: Emit) -> None:
    from cvfp_local.processes import run

    run(cells, folder, jobs, emit)


@hookimpl
def cvfp_executors() -> Iterable[Executor]:
    yield Executor(name="local", title="on this machine, in --jobs processes", run=_run)
