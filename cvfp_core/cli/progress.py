"""Where events go while a grid runs: a live display on a terminal, plain lines elsewhere, JSON lines on request."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from cvfp_core.schema.cells import Cell, Emit, Event


@contextmanager
def open_sink(cells: Sequence[Cell], pending: Sequence[Cell], *, json_: bool) -> Iterator[Emit]:
    """A function to give events to, while the block runs."""
    waiting = {cell.run_id for cell in pending}
    skipped = [cell for cell in cells if cell.run_id not in waiting]
    if json_:
        for cell in skipped:
            _print_json(Event(kind="run_skipped", run_id=cell.run_id, values={"reason": "finished before"}))
        yield _print_json
        return
    console = Console(stderr=True, highlight=False)
    if skipped:
        console.print(f"{len(skipped)} of {len(cells)} cells were finished before", style="dim")
    if not pending:
        yield lambda _event: None
        return
    if not console.is_terminal:
        yield _Lines(pending)
        return
    live = _Live(console, pending)
    with live.progress:
        yield live


def _print_json(event: Event) -> None:
    plain = {name: _finite(value) for name, value in event.values.items()}
    print(json.dumps({"event": event.kind, "run_id": event.run_id, **plain}), flush=True)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def describe_phase(values: Mapping[str, Any]) -> str:
    """What a finished phase measured, in a few words."""
    if values["phase"] == 1:
        if values.get("phase1_iterations") is None:
            return "phase 1 left out (zero context)"
        limit = " (stopped)" if values.get("stopped_by") else " (the limit)" if values["phase1_censored"] else ""
        return (
            f"phase 1: {values['phase1_iterations']} iterations{limit}, {values['convergence_rate']:.1%} converged, "
            f"ER {values['train_er']:.1%} train {values['val_er']:.1%} val, {values['seconds_phase1']:.1f} s"
        )
    limit = " (the limit)" if values["phase2_censored"] else ""
    return (
        f"phase 2: best of {values['epochs']} epochs is {values['best_epoch']}{limit}, PPL "
        f"{values['train_ppl']:.1f} train {values['val_ppl']:.1f} val, "
        f"accuracy {values['val_acc']:.1%}, {values['seconds_phase2']:.1f} s"
    )


def describe_epoch(values: Mapping[str, Any]) -> str:
    """Perplexities of an epoch; where there is a forecast, of the validation perplexity and where it will end."""
    if values.get("forecast") is None:
        return f"PPL {values['train_ppl']:.1f} train {values['val_ppl']:.1f} val"
    from cvfp_core.results.numbers import interval, short

    ends = interval(values["forecast_low"], values["forecast_high"], method="", value=values["forecast"])
    return f"val PPL {values['val_ppl']:.1f}, ends at {short(values['forecast'])} {ends}"


def describe_resumed(values: Mapping[str, Any]) -> str:
    """Where a cell that was begun again goes on."""
    if not values["step"]:
        return "goes on from its checkpoint at the end of phase 1"
    what = "iteration" if values["phase"] == 1 else "epoch"
    return f"goes on from its checkpoint after {what} {values['step']} of phase {values['phase']}"


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
        print(line, file=sys.stderr, flush=True)


class _Live:
    """A bar over all cells and one a running cell; a finished cell leaves a line above them."""

    def __init__(self, console: Console, pending: Sequence[Cell]) -> None:
        self.console = console
        self.cells = {cell.run_id: cell for cell in pending}
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[what]}"),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[left]}[/dim]"),
            TimeRemainingColumn(),
            console=console,
            speed_estimate_period=3600,
        )
        self.tasks: dict[str, TaskID] = {}
        self.done = 0
        self.share: dict[str, float] = {}
        tokens = sum(cell.train_tokens for cell in pending)
        self.all = self.progress.add_task(
            "[bold]all cells[/bold]", total=tokens, what=f"0/{len(pending)}", left="left"
        )

    def __call__(self, event: Event) -> None:
        if event.kind == "job":
            self.console.print(Text(str(event.values["text"]), style="dim"))
            return
        cell = self.cells[event.run_id]
        values = event.values
        label = f"{cell.title} [dim]n={cell.num_samples}[/dim]"
        if event.kind == "run_started":
            self.tasks[event.run_id] = self.progress.add_task(label, total=1.0, what="starting", left="")
        elif event.kind == "phase1_iteration":
            phase1 = cell.settings.phase1
            self._advance(
                event.run_id,
                0.5 * float(values["iteration"] or 0) / phase1.max_iterations,
                f"phase 1  iteration {values['iteration']}  converged {values['convergence_rate']:.0%}  "
                f"loss {values['loss']:.4f}",
            )
        elif event.kind == "phase2_epoch":
            self._advance(
                event.run_id,
                0.5 + 0.5 * float(values["epoch"] or 0) / cell.settings.phase2.epochs,
                f"phase 2  epoch {values['epoch']}  {describe_epoch(values)}",
            )
        elif event.kind == "run_resumed":
            what = f"{cell.title} n={cell.num_samples}: {describe_resumed(values)}"
            self.console.print(Text(what, style="dim"))
        elif event.kind == "warning":
            self.console.print(Text(f"{cell.title} n={cell.num_samples}: {values['text']}", style="yellow"))
        elif event.kind == "run_finished":
            self._finish(event.run_id, cell, values)

    def _advance(self, run_id: str, share: float, what: str) -> None:
        self.share[run_id] = share
        self.progress.update(self.tasks[run_id], completed=share, what=what)
        self.progress.update(self.all, completed=sum(self.cells[r].train_tokens * s for r, s in self.share.items()))

    def _finish(self, run_id: str, cell: Cell, values: Mapping[str, Any]) -> None:
        self._advance(run_id, 1.0, "")
        self.progress.remove_task(self.tasks.pop(run_id))
        self.done += 1
        self.progress.update(self.all, what=f"{self.done}/{len(self.cells)}")
        line = Text.assemble((f"{cell.title:<16}", "bold"), f" {cell.num_samples:>6} samples  ")
        if values["status"] == "ok":
            iterations = values["phase1_iterations"]
            limit = "+" if values["phase1_censored"] else " "
            line.append(
                (f"{iterations:>3}{limit} iterations  val ER {values['val_er']:.1%}  " if iterations else "")
                + f"val PPL {values['val_ppl']:>8.1f}{'†' if values['phase2_censored'] else ' '} "
                + f"{(values['seconds_phase1'] or 0) + values['seconds_phase2']:.1f} s"
            )
        else:
            line.append(f"{values['status']}: {values['reason']}", style="red")
        self.console.print(line)
