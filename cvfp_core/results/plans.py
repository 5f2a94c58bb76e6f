"""The next runs for a target, as a value that prints as a table and is written as a run file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from rich.table import Table
from rich.text import Text

from cvfp_core.deciding.budgets import PARAMS, SIX_N_D, TOKENS
from cvfp_core.deciding.candidates import box
from cvfp_core.deciding.plan import Plan, Planned
from cvfp_core.deciding.plan import plan as make
from cvfp_core.errors import UsageError
from cvfp_core.registry.kinds import Law
from cvfp_core.reporting.numbers import significant
from cvfp_core.results.arguments import verb
from cvfp_core.results.numbers import column, duration, short
from cvfp_core.results.printed import WIDE, Block, Listed, table
from cvfp_core.results.runs import AnyLaw, Asked, Readable, ask, listed
from cvfp_core.running.runfile import as_toml
from cvfp_core.schema import atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Cells = Mapping[str, tuple[float, float]] | str | Path
"""Ranges of sizes, `params=1e8..1e10,train_tokens=1e9..1e11`, or a run file."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Plans(Listed[Planned]):
    """The next runs, one after another, with the interval of the target that is expected after each."""

    items: tuple[Planned, ...]
    plan: Plan
    """What they are for, and what is known of it now."""
    together: tuple[Text, ...] = ()
    """Lines of what is fitted as one."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return self.plan.as_dict()

    def to_frame(self) -> pl.DataFrame:
        """One row a run: its cell or its sizes, costs, and the interval expected after it."""
        return pl.DataFrame([{
            "number": each.number, **each.cell, **({"arm": each.arm} if each.arm else {}), **each.inputs,
            "flops": each.flops, "total": each.total, "seconds": each.seconds, "expected": each.expected,
            "low": each.low, "high": each.high, "of_now": each.of_now, "reason": str(each.reason)}
            for each in self.items], infer_schema_length=None)

    def summary(self) -> str:
        """A line: what the runs cost together, and what becomes of the interval."""
        last = self.items[-1] if self.items else None
        what = f"{len(self)} runs, {last.total:.3g} FLOPs" if last else "no run"
        ends = f": {_ends(self.plan)}" if self.plan.value is not None else ""
        then = f", expected {_ends(last)}" if last is not None and last.low is not None else ""
        return f"{_what(self.plan)}{ends}; {what}{then}"

    @verb
    def plot(self, path: str | Path | None = None) -> Figure:
        """Runs made, runs planned and the target, in the plane of sizes or on the curve."""
        from cvfp_core.results.plots import draw_plan

        return draw_plan(self.plan, path)

    @verb
    def save(self, path: str | Path) -> Path:
        """Writes the runs: as a run file with `[[cells]]` where they come from one, else as a table (CSV).

        Sizes of a table are rounded to three digits. Returns the file. Raises UsageError for another ending, or a file
        that cannot be written.
        """
        file = Path(path)
        ending, what = (".toml", "a run file") if self.plan.written else (
            ".csv", "a table, as they come from no run file (--cells RUN.toml)")
        if file.suffix != ending:
            raise UsageError(f"cannot write '{file}': these runs are {what}; give a name that ends in "
                             f"{ending}")
        if self.plan.written:
            kept = {key: value for key, value in self.plan.written.items()
                    if key not in ("variants", "matrix", "samples", "seeds", "cells", "controls")}
            text = as_toml(kept | {"cells": [dict(each.cell) for each in self.items]})
        else:
            text = pl.DataFrame([{"number": each.number, **({"arm": each.arm} if each.arm else {}), **{
                name: f"{float(f'{value:.3g}'):.15g}" for name, value in {**each.inputs, "flops": each.flops}.items()}}
                for each in self.items]).write_csv()
        atomic.save(file, text)
        return file

    def blocks(self, room: int = WIDE) -> Iterator[Block]:  # noqa: ARG002
        """What is taken together, what is known now, a row a run, and why it ends there."""
        plan = self.plan
        yield from self.together
        yield Text.assemble((_what(plan), "bold"), f" by {plan.runs} runs; {plan.cost}")
        if plan.value is not None:
            what = "interval of the mean" if plan.target.kind == "place" else "interval"
            yield Text(f"now {short(plan.value)}, 95 % {what} {_ends(plan, _digits(plan))}, by {_weights(plan)}")
        if self.items:
            yield _table(self.items, plan)
        for note in plan.notes:
            yield Text(note, style="yellow" if plan.value is None or "itself" in note else "dim")


@verb
def plan(runs: Readable, target: Mapping[str, float | str] | str, budget: float, *, cells: Cells | None = None,
         law: AnyLaw | Sequence[AnyLaw] | None = None, x: str | None = None, y: str | None = None,
         by: str | Sequence[str] | None = None, arms: Sequence[str] = (), convention: str = SIX_N_D,
         where: str | None = None, map: Mapping[str, str] | None = None, weights: str | None = None
         ) -> Plans:
    """The next runs, one after another, that shrink the interval of a target most per FLOP.

    target: sizes at which a law is wanted, `{"params": 7e9, "train_tokens": 1.4e11}`; `optimum:1e22`; or `multiplier`
    of two arms that the columns `by` tell apart. budget: FLOPs for all of them. cells: ranges of sizes, or a run file
    whose cells they are taken from; by default all between the smallest run and the target. law: that is trusted, or
    several that are averaged; by default all of the target's sizes. convention: how FLOPs are counted.

        cvfp.plan("sweep.csv", {"params": 7e9, "train_tokens": 1.4e11}, 1e21).save("next.csv")
    """
    question = ask(runs, x=x, y=y, by=by, where=where, map=map, weights=weights)
    return plan_of(question, target, budget, cells=cells, laws=() if law is None else listed(law), arms=arms,
                   convention=convention)


def plan_of(asked: Asked, target: Mapping[str, float | str] | str, budget: float, *, cells: Cells | None = None,
            laws: Sequence[AnyLaw] = (), arms: Sequence[str] = (), convention: str = SIX_N_D) -> Plans:
    """The plan for what was asked."""
    target = asked.places(target, laws) if isinstance(target, Mapping) else target
    sides = box(cells) if isinstance(cells, str) and "=" in cells else cells
    cells = asked.places(sides, laws) if isinstance(sides, Mapping) else cells
    sizes = set(target) if isinstance(target, Mapping) else {PARAMS, TOKENS} if target.startswith("optimum") else set()
    several = next((law for law in (*map(asked.law, laws), *asked.runs.registry.items(Law).values())
                    if len(law.inputs) > 1 and set(law.inputs) == sizes), None)
    parted = asked.together([several] if several else [])
    made = make(asked.runs.records, target, budget, registry=asked.runs.registry, cells=cells, arms=arms, x=asked.x,
                y=asked.y, by=parted.by[several.name] if several else asked.by, laws=laws, convention=convention)
    return Plans(items=made.steps, plan=made, together=parted.lines)


def _what(plan: Plan) -> str:
    if plan.target.kind == "place":
        return f"{plan.response} at {plan.target}"
    return f"{plan.target} of {plan.arms[1]} over {plan.arms[0]}" if plan.arms else str(plan.target)


def _ends(each: Plan | Planned, digits: int = 4) -> str:
    """The interval in digits that still show the last one shrink."""
    return "-" if each.low is None or each.high is None else \
        f"[{significant(each.low, digits)}, {significant(each.high, digits)}]"


def _digits(plan: Plan) -> int:
    last: Plan | Planned = plan.steps[-1] if plan.steps else plan
    if last.low is None or last.high is None or last.high <= last.low:
        return 4
    return max(3, 2 + int(np.ceil(np.log10(abs(last.high) / (last.high - last.low)))))


def _weights(plan: Plan) -> str:
    """The laws with their weights, those that count."""
    shown = [f"{name} {weight:.0%}" for name, weight in sorted(plan.laws.items(), key=lambda each: -each[1])
             if weight >= 0.005]
    return ", ".join(shown) if len(plan.laws) > 1 else next(iter(plan.laws))


def _table(items: Sequence[Planned], plan: Plan) -> Table:
    """A row a run; its time where it is known, the interval where a law is trusted."""
    digits = _digits(plan)
    timed, told = items[0].seconds is not None, items[0].low is not None
    cells = [name for name in ("variant", "samples", "seed") if name in items[0].cell and (
        name == "samples" or len({each.cell[name] for each in items}) > 1)]
    sizes = [name for name in plan.inputs if not cells or name != "num_samples"]
    made = table([("", "r"), *((name, "l" if name == "variant" else "r") for name in cells),
                  *([("arm", "l")] if plan.arms else []), *((name, "r") for name in sizes),
                  ("FLOPs", "r"), ("together", "r"), *([("time", "r")] if timed else []),
                  *([("expected 95 %", "l"), ("of now", "r")] if told else [])], gap=1 if timed else 2)
    numbers = {name: column(values, list(map(short, values))) for name in sizes
               for values in ([each.inputs[name] for each in items],)}
    for row, each in enumerate(items):
        made.add_row(
            str(each.number), *(str(each.cell[name]) for name in cells), *([each.arm or ""] if plan.arms else []),
            *(numbers[name][row] for name in sizes), f"{each.flops:.2e}", f"{each.total:.2e}",
            *([duration(each.seconds or 0.0)] if timed else []),
            *([_ends(each, digits), "-" if each.of_now is None else f"{each.of_now:.0%}"] if told else []))
    return made
