"""A grid in a Jupyter notebook while it runs: one output of the cell, updated in place."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.text import Text

from cvfp_core.deciding.watching import Watch
from cvfp_core.errors import visible
from cvfp_core.results.printed import inline
from cvfp_core.results.progress import Progress
from cvfp_core.schema import store
from cvfp_core.schema.cells import Cell, Emit, Event

if TYPE_CHECKING:
    from cvfp_core.running.run import Prepared

ROOM = 100
"""Columns of the output."""
_EVERY = 0.5
"""Seconds between two updates, which a page draws anew."""
_LAST = 8
"""Finished cells that are listed."""


def is_kernel() -> bool:
    """Whether this program is the kernel of a notebook."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel")


@contextmanager
def shown(prepared: Prepared, pending: Sequence[Cell]) -> Iterator[Emit]:
    """Hears the events of a run and shows how far it is; what stays below the cell is warnings and totals."""
    if not pending:
        yield lambda _event: None
        return
    mine = [cell.run_id for cell in prepared.cells]
    records = store.read(prepared.folder)
    output = GridOutput(Progress(pending, records.filter(records["run_id"].is_in(mine)), prepared.registry))
    watch = Watch(prepared.folder, pending)
    try:
        yield lambda event: output(watch(event))
    except KeyboardInterrupt:
        done = sum(map(prepared.finished, prepared.cells))
        output.stays.append(Text(f"interrupted; {done} of {len(mine)} cells are finished and kept in "
                                 f"'{prepared.folder}', run the notebook's cell again to go on", style="yellow"))
        raise
    finally:
        output.end()


class GridOutput:
    """What the output of a notebook's cell shows of the events."""

    def __init__(self, progress: Progress) -> None:
        from IPython.display import display

        self.progress = progress
        self.stays: list[Text] = []
        """Warnings, and cells that failed."""
        self.finished: list[Text] = []
        self.running = True
        self.last = progress.clock()
        self.handle = display(self, display_id=True)

    def __call__(self, event: Event) -> None:
        fine = event.kind != "warning" and event.values.get("status", "ok") == "ok"
        (self.finished if fine else self.stays).extend(self.progress.hear(event, ROOM))
        if self.progress.clock() - self.last >= _EVERY:
            self.last = self.progress.clock()
            self.handle.update(self)

    def end(self) -> None:
        """Shows for the last time: without the finished cells, which the result is a table of."""
        self.running = False
        self.handle.update(self)

    def lines(self) -> list[Text]:
        """Warnings, the finished cells that came last, and the lines that a terminal shows too."""
        now = list(self.progress.lines(ROOM, height=20))
        return [*self.stays, *self.finished[-_LAST:], *now] if self.running else [*self.stays, now[0]]

    def __repr__(self) -> str:
        return visible("\n".join(each.plain for each in self.lines()))

    def _repr_html_(self) -> str:
        lines = "\n".join(map(inline, self.lines()))
        return f'<pre style="line-height:1.4">{lines}</pre>'
