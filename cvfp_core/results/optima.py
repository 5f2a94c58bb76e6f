"""Compute-optimal models for budgets, as a value that prints as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
from rich.table import Table
from rich.text import Text

from cvfp_core.deciding.budgets import SIX_N_D, Constraint, constraint
from cvfp_core.deciding.optimum import Optimum, Sweep, optima
from cvfp_core.errors import UsageError
from cvfp_core.fitting.run import check_options
from cvfp_core.results.arguments import verb
from cvfp_core.results.numbers import interval, short, told
from cvfp_core.results.printed import ROWS, WIDE, Block, Listed, about, beyond, table, width
from cvfp_core.results.runs import AnyLaw, Asked, Readable, ask
from cvfp_core.schema.settings import Scalar

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Optima(Listed[Optimum]):
    """The best model of each series for each budget, by each of three approaches."""

    items: tuple[Optimum, ...]
    sweeps: tuple[Sweep, ...]
    """By series: the cost, the minima of isoFLOP sweeps, the envelope, and where approaches disagree."""
    together: tuple[Text, ...] = ()
    """Lines of what is fitted as one."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"sweeps": [each.as_dict() for each in self.sweeps]}

    def to_frame(self) -> pl.DataFrame:
        """One row a series, budget and approach: sizes, their ratio and the response, with intervals."""
        names = [name for name in Optimum.__dataclass_fields__ if name not in ("reason", "warnings")]
        rows = [{name: getattr(each, name) for name in names}
                | {"reason": str(each.reason), "warnings": "; ".join(each.warnings)} for each in self.items]
        return pl.DataFrame(rows, infer_schema_length=None)

    def summary(self) -> str:
        """A line for each series, budget and approach."""
        return "\n".join(map(_sentence, self.items))

    @verb
    def plot(self, path: str | Path | None = None) -> Figure:
        """Loss over params by budget, the minima, the line through them, and what is best for the budgets asked for."""
        from cvfp_core.results.plots import draw_optima

        return draw_optima(self.sweeps, path)

    def blocks(self, room: int = WIDE) -> Iterator[Block]:
        """What is taken together, the table, its cautions, and the minima of the isoFLOP sweeps."""
        yield from self.together
        several = len(self.sweeps) > 1
        costs = dict.fromkeys(f"{each.cost.form} ({each.cost.convention})" for each in self.sweeps)
        if all(each.params is None for each in self.items):
            yield from (Text(_nothing(each), style="yellow") for each in self.sweeps[:ROWS])
        else:
            yield from self._compared(room, Text.assemble(("compute-optimal", "bold"), f" by {'; '.join(costs)}"))
        yield from beyond(len(self.sweeps))
        for sweep in self.sweeps[:ROWS]:
            if sweep.isoflops.minima:
                yield Text()
                yield _minima(sweep, several)
                yield Text("place: of the minimum among the sizes, in log params; 0% the smallest, 100% the largest",
                           style="dim")

    def _compared(self, room: int, head: Text) -> Iterator[Block]:
        """The approaches side by side, and their cautions."""
        several, shown = len(self.sweeps) > 1, self.sweeps[:ROWS]
        items = [each for sweep in shown for each in sweep.optima]
        yield head
        wide = _table(items, several)
        stacked = [_stacked(each, several) for each in shown]
        if width(wide) <= room:
            yield wide
        elif all(width(each) <= room for each in stacked):
            yield from stacked
        else:
            yield from (Text(_sentence(each)) for each in items)
        yield from about(dict.fromkeys(
            (text, "yellow" if warns else "dim", f"{each.series}: {each.approach}" if several else each.approach)
             for each in self.items
             for text, warns in ((each.reason, each.params is None), *((text, True) for text in each.warnings))),
            len(self.items), "optima")
        for sweep in shown:
            yield from about(((note, "yellow", sweep.series) for note in sweep.notes), 1 if not several else 0)


@verb
def optimum(runs: Readable, flops: float | Sequence[float], law: AnyLaw = "chinchilla", *, y: str | None = None,
            by: str | Sequence[str] | None = None, where: str | None = None, map: Mapping[str, str] | None = None,
            weights: str | None = None, options: Mapping[str, Scalar | None] | None = None, convention: str = SIX_N_D,
            constraints: str | Sequence[str] = (), inference_tokens: float = 0.0) -> Optima:
    """The compute-optimal model for budgets of FLOPs, by envelope, isoFLOP sweeps and a law of both sizes.

    runs: what `read` takes or gave. law: of params and train_tokens. by: columns that tell series apart; by default
    those of series, where sizes suffice. convention: how FLOPs are counted: `6ND`, `6ND-non-embedding`, or a column.
    constraints: limits such as `params<=3e9` or `train_tokens<=2e11`. inference_tokens: tokens that will be served,
    paid for by the budget too.

        cvfp.optimum("sweep.csv", 1e21, constraints="params<=3e9")
    """
    question = ask(runs, y=y, by=by, where=where, map=map, weights=weights, options=options)
    return optima_of(question, [flops] if isinstance(flops, int | float) else flops, law, convention=convention,
                     constraints=[constraints] if isinstance(constraints, str) else constraints,
                     inference_tokens=inference_tokens)


def optima_of(asked: Asked, flops: Sequence[float], law: AnyLaw = "chinchilla", *, convention: str = SIX_N_D,
              constraints: Sequence[str] = (), inference_tokens: float = 0.0) -> Optima:
    """The optima of what was asked for these budgets."""
    if not flops:
        raise UsageError("no budget; give --flops, such as --flops 1e21")
    if not 0 <= inference_tokens < float("inf"):
        raise UsageError(f"--inference-tokens must be a number of tokens, not {inference_tokens:g}")
    limits: list[Constraint] = [constraint(each) for each in constraints]
    chosen = asked.law(law)
    check_options([chosen], asked.options)
    parted = asked.together([chosen])
    sweeps = optima(asked.runs.records, flops, chosen, registry=asked.runs.registry, by=parted.by[chosen.name],
                    convention=convention, constraints=limits, inference_tokens=inference_tokens)
    return Optima(items=tuple(each for sweep in sweeps for each in sweep.optima), sweeps=sweeps,
                  together=parted.lines)


def _ends(low: float | None, high: float | None, value: float | None) -> str:
    if value is None or (low is None and high is None):
        return "-"
    return "fixed" if low == high == value else interval(low, high, method="", value=value)


def _budget(flops: float) -> str:
    return f"{flops:.3g}".replace("e+", "e")


def _row(each: Optimum) -> list[tuple[str, str]]:
    """Value and interval of params, tokens, their ratio and the response."""
    sizes = ("params", "train_tokens", "tokens_per_param")
    return [(short(getattr(each, name)), _ends(getattr(each, f"{name}_low"), getattr(each, f"{name}_high"),
                                               getattr(each, name))) for name in sizes]


_SIZES = ("params", "train_tokens", "tokens/param")


def _table(items: Sequence[Optimum], several: bool) -> Table:
    """A row an optimum, each interval beside its value."""
    head = [(text, side) for name in _SIZES for text, side in ((name, "r"), ("95 %", "l"))]
    made = table([*([("series", "l")] if several else []), ("FLOPs", "r"), ("approach", "l"), *head,
                  (items[0].response, "r"), ("95 % mean", "l"), ("95 % new run", "l")])
    for each in items:
        made.add_row(*([each.series] if several else []), _budget(each.flops), each.approach,
                     *(part for pair in _row(each) for part in pair), told(each), *_of_loss(each))
    for column in made.columns:
        column.no_wrap = True
    return made


def _stacked(sweep: Sweep, several: bool) -> Table:
    """As `_table`, of one series for a narrow terminal: intervals below values, that of a new run below the mean's."""
    made = table([("FLOPs", "r"), ("approach", "l"), *((name, "l") for name in _SIZES),
                  (sweep.optima[0].response, "l")], title=Text(sweep.series) if several else None, gap=1)
    for each in sweep.optima:
        if each.params is None:
            made.add_row(_budget(each.flops), each.approach, *"----")
            continue
        made.add_row(_budget(each.flops), Text.assemble(each.approach, ("\n  95 %\n  new run", "dim")),
                     *("\n".join(pair) for pair in _row(each)), "\n".join((told(each), *_of_loss(each))))
    for column in made.columns:
        column.no_wrap = True
    return made


def _of_loss(each: Optimum) -> tuple[str, str]:
    return (_ends(each.mean_low, each.mean_high, each.value), _ends(each.run_low, each.run_high, each.value))


def _minima(sweep: Sweep, several: bool) -> Table:
    degree = "cubic" if sweep.isoflops.degree == 3 else "parabola"
    made = table([("FLOPs", "r"), ("runs", "r"), ("best params", "r"), ("95 %", "l"), ("loss", "r"), ("place", "r")],
                 title=Text(f"{f'{sweep.series}: ' if several else ''}isoFLOP minima, {degree} in log params"))
    for each in sweep.isoflops.minima:
        made.add_row(_budget(each.flops), str(each.n), short(each.params), _ends(each.low, each.high, each.params),
                     short(each.loss), "-" if each.place is None else f"{each.place:.0%}")
    return made


def _nothing(sweep: Sweep) -> str:
    """A line for a series of which no approach says anything: why not, and what each needs."""
    budgets = ", ".join(dict.fromkeys(_budget(each.flops) for each in sweep.optima))
    why = dict.fromkeys(f"{each.approach}: {each.reason}" for each in sweep.optima)
    return "; ".join([f"{sweep.series}: no best size for {budgets} FLOPs by {sweep.runs} runs", *why, *sweep.notes])


def _sentence(each: Optimum) -> str:
    head = f"{each.series}, {each.flops:.3g} FLOPs, {each.approach}: "
    if each.params is None:
        return head + each.reason
    parts = [f"{name} {value} {ends}" for name, (value, ends) in
             zip(_SIZES, _row(each), strict=True)]
    return head + ", ".join([*parts, f"{each.response} {told(each)}",
                             f"mean {_ends(each.mean_low, each.mean_high, each.value)}",
                             f"new run {_ends(each.run_low, each.run_high, each.value)}"])
