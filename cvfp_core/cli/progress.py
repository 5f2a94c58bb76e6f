"""Where events go while a grid runs: a live display on a terminal, plain lines elsewhere, JSON lines on request."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console, Group
from rich.live import Live

from cvfp_core.cli.screen import note, show_json
from cvfp_core.results.numbers import elapsed
from cvfp_core.results.printed import terminal
from cvfp_core.results.progress import Progress, describe_resumed
from cvfp_core.schema.cells import Cell, Emit, Event

if TYPE_CHECKING:
    import polars as pl

    from cvfp_core.registry import Registry


@contextmanager
def open_sink(cells: Sequence[Cell], pending: Sequence[Cell], finished: Callable[[], pl.DataFrame],
              registry: Registry, *, json_: bool) -> Iterator[Emit]:
    """A function to give events to, while the block runs. finished: the records there are."""
    waiting = {cell.run_id for cell in pending}
    skipped = [cell for cell in cells if cell.run_id not in waiting]
    if json_:
        emit = partial(_print_json, sys.stdout)
        for cell in skipped:
            emit(Event(kind="run_skipped", run_id=cell.run_id, values={"reason": "finished before"}))
        yield emit
        return
    console = terminal(stderr=True)
    if skipped:
        console.print(f"{len(skipped)} of {len(cells)} cells were finished before", style="dim")
    if not pending:
        yield lambda _event: None
        return
    if not console.is_terminal:
        yield _Lines(pending)
        return
    with LiveScreen(console, Progress(pending, finished(), registry)) as live:
        yield live


class LiveScreen:
    """The lines of a grid at the bottom of a terminal; a finished cell leaves one above. Gone when it is left."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self.console, self.progress = console, progress
        self.live = Live(get_renderable=self._view, console=console, transient=True, refresh_per_second=4)

    def __enter__(self) -> LiveScreen:
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def __call__(self, event: Event) -> None:
        for line in self.progress.hear(event, self.console.width):
            self.console.print(line)

    def _view(self) -> Group:
        return Group(*self.progress.lines(self.console.width, self.console.height))


def _print_json(out: TextIO, event: Event) -> None:
    """out: stdout as it is outside of plugins' code."""
    plain = {name: _finite(value) for name, value in event.values.items()}
    show_json({"event": event.kind, "run_id": event.run_id, **plain}, indent=None, out=out)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


class _Lines:
    """One plain line a phase, on stderr."""

    def __init__(self, pending: Sequence[Cell]) -> None:
        self.cells = {cell.run_id: cell for cell in pending}
        self.number: dict[str, int] = {}

    def __call__(self, event: Event) -> None:
        if event.kind == "job":
            self._say(str(event.values["text"]))
            return
        number = self.number.setdefault(event.run_id, len(self.number) + 1)
        cell = self.cells[event.run_id]
        head = f"[{number}/{len(self.cells)}] {cell.title}, {cell.num_samples} samples"
        if len({cell.seed for cell in self.cells.values()}) > 1:
            head += f", seed {cell.seed}"
        if event.kind == "phase_finished":
            self._say(f"{head}: {describe_phase(event.values)}")
        elif event.kind == "run_finished" and event.values["status"] != "ok":
            self._say(f"{head}: {event.values['status']}: {event.values['reason']}")
        elif event.kind == "run_resumed":
            self._say(f"{head}: {describe_resumed(event.values)}")
        elif event.kind == "warning":
            self._say(f"{head}: warning: {event.values['text']}")

    def _say(self, line: str) -> None:
        note(line)


def describe_phase(values: Mapping[str, Any]) -> str:
    """What a finished phase measured, in a few words."""
    if values["phase"] == 1:
        if values.get("phase1_iterations") is None:
            return "phase 1 left out (zero context)"
        limit = " (stopped)" if values.get("stopped_by") else " (the limit)" if values["phase1_censored"] else ""
        return (
            f"phase 1: {values['phase1_iterations']} iterations{limit}, {values['convergence_rate']:.1%} converged, "
            f"ER {values['train_er']:.1%} train {values['val_er']:.1%} val, {elapsed(values['seconds_phase1'])}"
        )
    limit = " (the limit)" if values["phase2_censored"] else ""
    return (
        f"phase 2: best of {values['epochs']} epochs is {values['best_epoch']}{limit}, PPL "
        f"{values['train_ppl']:.1f} train {values['val_ppl']:.1f} val, "
        f"accuracy {values['val_acc']:.1%}, {elapsed(values['seconds_phase2'])}"
    )
