"""How far a grid is, in lines: all cells, the cells that run, and the law so far of every series."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
from rich.cells import cell_len
from rich.text import Text

from cvfp_core.results.numbers import elapsed, interval, short
from cvfp_core.results.overview import power_laws
from cvfp_core.schema import series
from cvfp_core.schema.cells import Cell, Event
from cvfp_core.schema.fits import Fit
from cvfp_core.schema.records import conform_rows

if TYPE_CHECKING:
    from cvfp_core.registry import Registry

Part = tuple[int, str, str]
"""Of a line: its rank, 0 for what always stands; its text; its style."""
_BAR = 6
"""Least columns of a bar."""
_SPARK = 12
_LEVELS = "▁▂▃▄▅▆▇█"


class Progress:
    """What the events of a grid told so far."""

    def __init__(self, pending: Sequence[Cell], finished: pl.DataFrame, registry: Registry,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self.registry = clock, registry
        self.cells = {cell.run_id: cell for cell in pending}
        self.records = finished
        self.titles = _titles(pending)
        self.start = clock()
        self.share: dict[str, float] = {}
        self.resumed: dict[str, float] = {}
        self.running: dict[str, list[Part]] = {}
        self.curve: dict[str, list[float]] = {}
        self.done = 0
        self.fits: list[Fit] = []
        self._fit()

    def hear(self, event: Event, room: int) -> Iterator[Text]:
        """Takes note of the event; lines that stay, none longer than `room`, of a cell that ended or of a warning."""
        if event.kind == "job":
            yield Text(str(event.values["text"]), style="dim")
            return
        cell, values, name = self.cells[event.run_id], event.values, event.run_id
        if event.kind == "run_started":
            self.running[name], self.curve[name] = [(1, "starting", "dim")], []
        elif event.kind == "phase1_iteration":
            iteration = int(values["iteration"] or 0)
            self.share[name] = 0.5 * iteration / cell.settings.phase1.max_iterations
            self._measured(name, iteration == 1, values["loss"], [
                (6, "phase 1", "dim"), (1, f"iteration {iteration}", ""),
                (2, f"{values['convergence_rate']:.0%} converged", ""), (4, f"loss {values['loss']:.4f}", "")])
        elif event.kind == "phase2_epoch":
            epoch = int(values["epoch"] or 0)
            self.share[name] = 0.5 + 0.5 * epoch / cell.settings.phase2.epochs
            self._measured(name, epoch == 1, values["val_ppl"], [
                (6, "phase 2", "dim"), (1, f"epoch {epoch}", ""), (2, f"val PPL {values['val_ppl']:,.1f}", ""),
                *_forecast(values)])
        elif event.kind == "run_resumed":
            self.resumed[name] = self._resumed_at(cell, values)
            yield Text(f"{self.titles[name].rstrip()}: {describe_resumed(values)}", style="dim")
        elif event.kind == "warning":
            yield Text(f"{self.titles[name].rstrip()}: {values['text']}", style="yellow")
        elif event.kind == "run_finished":
            yield self._finish(name, values, room)

    def lines(self, room: int, height: int = 40) -> Iterator[Text]:
        """The lines of the screen, none longer than `room`."""
        tokens = sum(cell.train_tokens for cell in self.cells.values()) or 1
        share = sum(self.cells[name].train_tokens * each for name, each in self.share.items()) / tokens
        before = sum(self.cells[name].train_tokens * each for name, each in self.resumed.items()) / tokens
        spent = self.clock() - self.start
        made = share - before
        left = _time(spent * (1 - share) / made) if made > 0.01 else "-"
        yield line(room, [(0, "all cells", "bold"), (2, f"{self.done}/{len(self.cells)}", ""), (3, _time(spent), ""),
                          (1, f"left {left}", "bold")], share)
        for name, parts in self.running.items():
            yield line(room, [(0, self.titles[name], ""), *parts, (3, spark(self.curve[name]), "cyan")],
                       self.share.get(name, 0.0), most=10)
        free = max(1, height - 3 - len(self.running))
        fits = self.fits[-free:]
        if fits:
            yield Text()
        longest = max((cell_len(_series(fit)) for fit in fits), default=0)
        for fit in fits:
            yield line(room, [(0, _series(fit).ljust(longest), ""), *_law(fit)])

    def _measured(self, name: str, first: bool, value: Any, parts: list[Part]) -> None:
        self.running[name] = parts
        self.curve[name] = [*(() if first else self.curve.get(name, ())), float(value)]

    def _resumed_at(self, cell: Cell, values: Mapping[str, Any]) -> float:
        of = cell.settings.phase1.max_iterations if values["phase"] == 1 else cell.settings.phase2.epochs
        return 0.5 * float(values["phase"] - 1) + 0.5 * float(values["step"] or 0) / of

    def _finish(self, name: str, values: Mapping[str, Any], room: int) -> Text:
        self.share[name] = 1.0
        self.running.pop(name, None)
        self.done += 1
        row = conform_rows([dict(values)]).records
        self.records = pl.concat([self.records, row], how="diagonal_relaxed")
        self._fit(series.labels(row)[0])
        if values["status"] != "ok":
            ended = f"  {values['status']}: {values['reason']}"
            return Text.assemble((self.titles[name], "bold"), (ended, "red"))
        marks = ("†" if values["phase2_censored"] else "") + ("‡" if series.above_unigram(row)[0] else "")
        iterations = values["phase1_iterations"]
        phase1 = [(4, f"{iterations}{'+' if values['phase1_censored'] else ''} iterations", ""),
                  (3, f"val ER {values['val_er']:.1%}", "")] if iterations else []
        seconds = (values["seconds_phase1"] or 0) + values["seconds_phase2"]
        return line(room, [(0, self.titles[name], "bold"), *phase1,
                           (1, f"val PPL {values['val_ppl']:,.1f}{marks}", ""), (2, elapsed(seconds), "")])

    def _fit(self, last: str = "") -> None:
        """The laws so far; that of the series which changed last stands last."""
        fits = power_laws(self.records, registry=self.registry) if self.records.height else ()
        self.fits = sorted(fits, key=lambda fit: fit.series == last)


def describe_resumed(values: Mapping[str, Any]) -> str:
    """Where a cell that was begun again goes on."""
    if not values["step"]:
        return "goes on from its checkpoint at the end of phase 1"
    what = "iteration" if values["phase"] == 1 else "epoch"
    return f"goes on from its checkpoint after {what} {values['step']} of phase {values['phase']}"


def line(room: int, parts: Sequence[Part], share: float | None = None, *, most: int = 30) -> Text:
    """The parts beside each other, those of high rank left out where there is no room; a bar after the first.

    share: what the bar shows; it ranks 3, and takes the room that the parts leave, up to `most`.
    """
    bar: Part = (3, "━" * _BAR, "bar")
    every = [parts[0], *(() if share is None else (bar,)), *parts[1:]]
    kept = every[:1]
    for part in sorted(every[1:]):
        if part[1] and sum(cell_len(text) + 2 for _, text, _ in (*kept, part)) - 2 <= room:
            kept.append(part)
    left = room - sum(cell_len(text) + 2 for _, text, _ in kept) + 2
    made = Text()
    for part in (each for each in every if each in kept):
        made.append("  " if made else "")
        if part is bar:
            wide = min(most, _BAR + left)
            filled = round(wide * min(1.0, share or 0.0))
            made.append("━" * filled, "green").append("━" * (wide - filled), "dim")
        else:
            made.append(part[1], part[2])
    made.truncate(room)
    return made


def spark(values: Sequence[float], most: int = _SPARK) -> str:
    """A curve in a few characters: the finite values, the lowest as the lowest bar, evenly picked if there are many."""
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return ""
    picked = [finite[round(index * (len(finite) - 1) / (most - 1))] for index in range(most)] \
        if len(finite) > most else finite
    low, high = min(picked), max(picked)
    return "".join(_LEVELS[round((value - low) / (high - low or 1) * (len(_LEVELS) - 1))] for value in picked)


def _forecast(values: Mapping[str, Any]) -> list[Part]:
    """Where the perplexity will end, and the interval, if the epoch has a forecast."""
    if (value := values.get("forecast")) is None:
        return []
    ends = interval(values["forecast_low"], values["forecast_high"], method="", value=value)
    return [(4, f"ends at {short(value)}", ""), (5, ends, "dim")]


def _law(fit: Fit) -> list[Part]:
    """The perplexities of a series by size, and the exponent so far."""
    if fit.points is None or not fit.points.n:
        return [(1, "no finished run", "dim")]
    values = fit.points.response.tolist()
    runs: Part = (5, f"{fit.n} run{'s' * (fit.n != 1)}", "dim")
    ppl: Part = (2, " → ".join(dict.fromkeys(f"{value:,.1f}" for value in (values[0], values[-1]))), "")
    alpha = next((each for each in fit.estimates if each.name == "alpha"), None)
    if alpha is None or alpha.value is None:
        return [(4, "PPL", "dim"), (3, spark(values), "cyan"), ppl, runs]
    ends = f"[{alpha.low:.3f}, {alpha.high:.3f}]" if alpha.low is not None and alpha.high is not None else ""
    return [(4, "PPL", "dim"), (3, spark(values), "cyan"), ppl, (1, f"alpha {alpha.value:.3f}{fit.marks}", "bold"),
            (4, ends, "dim"), runs]


def _titles(cells: Sequence[Cell]) -> dict[str, str]:
    """What each cell is called, by its run id: all of one length."""
    seeds = len({cell.seed for cell in cells}) > 1
    made = {cell.run_id: f"{cell.title} n={cell.num_samples}{f' seed {cell.seed}' if seeds else ''}" for cell in cells}
    longest = max(map(len, made.values()), default=0)
    return {name: title.ljust(longest) for name, title in made.items()}


def _series(fit: Fit) -> str:
    return fit.series.partition(":")[2] or fit.series


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
