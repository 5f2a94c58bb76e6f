"""Arms compared, as a value that prints as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
from rich.table import Table
from rich.text import Text

from cvfp_core.deciding.comparison import MARGIN, Against, Chance, Span, arms_of, compare
from cvfp_core.errors import UsageError
from cvfp_core.fitting import Fit, fit_all
from cvfp_core.fitting.axes import on_axes
from cvfp_core.fitting.points import require
from cvfp_core.fitting.run import find
from cvfp_core.reporting.sweep import axes
from cvfp_core.results.arguments import verb
from cvfp_core.results.numbers import interval, short
from cvfp_core.results.printed import ROWS, WIDE, Block, Listed, about, beyond, table
from cvfp_core.results.runs import AnyLaw, Readable, Runs, read
from cvfp_core.schema import series

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

NAMED = 20
"""Arms whose chance to be best is printed; of more, the likeliest."""
MOST = 500
"""Arms that are compared, at some hundredths of a second each."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Comparisons(Listed[Against]):
    """Each further arm against the first, and how likely each is the best at sizes that were not run."""

    items: tuple[Against, ...]
    chances: tuple[Chance, ...]
    law: str
    """The curve that multipliers are by."""
    fits: tuple[Fit, ...]
    """That law for each arm, by which `plot` draws it."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"law": self.law, "comparisons": [each.as_dict() for each in self.items],
                "chances": [each.as_dict() for each in self.chances]}

    def to_frame(self) -> pl.DataFrame:
        """One row an arm: ratio and multipliers with intervals, pairs, units, verdict."""
        return pl.DataFrame([
            {"arm": each.arm, "baseline": each.baseline, "response": each.response, "x": each.x, "pairs": each.pairs,
             "level": each.level, "units": each.units,
             **{f"{name}{end}": getattr(span, field) if span else None
                for name, span in (("ratio", each.ratio), ("multiplier", each.multiplier), ("free", each.free))
                for end, field in (("", "value"), ("_low", "low"), ("_high", "high"), ("_p", "p_value"))},
             "shape_p": each.shape_p, "crossing": each.crossing, "verdict": each.verdict} for each in self.items
        ], infer_schema_length=None)

    def summary(self) -> str:
        """A line for each arm."""
        return "\n".join(
            f"{each.arm} against {each.baseline}: {each.verdict}; {each.response} {_value(each.ratio)} "
            f"{_ends(each.ratio)}, {each.x} {_value(each.multiplier)}x {_ends(each.multiplier)}, {each.pairs} pairs, "
            f"{each.units} {each.level}"
            for each in self.items)

    @verb
    def plot(self, path: str | Path | None = None) -> Figure:
        """The runs of every arm with its own curve; see `cvfp.plot`."""
        from cvfp_core.results.plots import draw

        return draw(self.fits, path)

    def blocks(self, room: int = WIDE) -> Iterator[Block]:
        """The table, the chance of each arm to be the best, what would settle it, and what else differs."""
        first = self.items[0]
        yield Text.assemble((first.response, "bold"), " against ", (first.baseline, "bold"),
                            f", at equal {', '.join(first.matched_by)} and seed; multiplier of {first.x} by {self.law}")
        yield _table(self.items[:ROWS], room)
        yield from beyond(len(self.items), "arms")
        for chance in self.chances:
            if chance.best:
                best = sorted(chance.best.items(), key=lambda each: -each[1])[:NAMED] if len(chance.best) > NAMED \
                    else chance.best.items()
                told = ", ".join(f"{name} {p:.1%}" for name, p in best)
                told += f" and {len(chance.best) - NAMED:,} arms less likely" * (len(chance.best) > NAMED)
                yield Text(f"best at {short(chance.size)} {first.x} ({chance.distance:.3g}x the largest): {told}")
        said = [(text, "yellow", each.arm) for each in self.items for text in (
            *each.notes, *_settling(each), *_crossing(each))]
        said += [(caveat, "yellow", fit.series) for fit in self.fits if fit.points for caveat in fit.points.caveats]
        yield from about(said, len(self.items), "arms")
        for each in self.items[:ROWS]:
            if each.differences:
                told = ", ".join(f"{one.name} ({_known(one.left)} / {_known(one.right)})" for one in each.differences)
                more = ": the ratio is not the effect of any single one" if len(each.differences) > 1 else ""
                yield Text(f"{each.arm} differs from {each.baseline} in {told}{more}", style="dim")


def compared(runs: Sequence[Readable], *, by: str | Sequence[str] | None = None, law: AnyLaw = "saturating",
             x: str | None = None, y: str | None = None, at: Sequence[float] = (), margin: float = MARGIN,
             names: Sequence[str] = (), where: str | None = None, map: Mapping[str, str] | None = None,
             take: str = "last") -> Comparisons:
    """The arms in the runs compared; see `cvfp.compare`."""
    if not runs:
        raise UsageError("nothing to compare; give the runs of two arms or more, or of several told apart by columns")
    columns = [by] if isinstance(by, str) else list(by or ())
    whole = [read(each, map=map, where=where, take=take) for each in runs]
    registry = whole[0].registry
    records = pl.concat([each.records for each in whole], how="diagonal_relaxed")
    if columns:
        require(records, columns, "group")
        arms = arms_of(records, columns, names)
    elif len(whole) > 1:
        arms = dict(zip(_names(runs, whole), (each.records for each in whole), strict=True))
    else:
        arms = arms_of(records.with_columns(_arm=series.labels(records)), ["_arm"], names)
        columns = ["experiment", "variant"]
    if len(arms) > MOST:
        raise UsageError(f"{len(arms):,} arms, and at most {MOST} are compared; name some: --arm NAME --arm NAME, keep "
                         "some: --where EXPR, or name other columns that tell arms apart: --by COLUMN")
    curve = find(law, registry)
    curve = on_axes(curve, x, y or (axes(records)[1] if curve.response == "val_ppl" else None))
    if len(curve.inputs) != 1 or curve.function is None:
        raise UsageError(f"arms are compared along one size; law '{curve.name}' is a function of "
                         f"{', '.join(curve.inputs)}; name a curve: --law saturating")
    size, response = curve.inputs[0], curve.response
    require(records, [size, response])
    made, chances = compare(arms, curve, registry=registry, x=size, y=response, at=at, margin=margin, by=columns)
    named = pl.concat([each.with_columns(_arm=pl.lit(name)) for name, each in arms.items()], how="diagonal_relaxed")
    fits = fit_all(named, [law], by=["_arm"], x=size, y=response, registry=registry)
    return Comparisons(items=made, chances=chances, law=curve.name, fits=tuple(fits))


def _names(runs: Sequence[Readable], read: Sequence[Runs]) -> list[str]:
    """A name for each arm: its experiment where it has one, else its path, else a letter."""
    own = [each.records["experiment"].unique().to_list() for each in read]
    names = [str(each[0]) if len(each) == 1 else str(given) if not hasattr(given, "columns") and
             not isinstance(given, Runs) else f"arm {number + 1}"
             for number, (each, given) in enumerate(zip(own, runs, strict=True))]
    if len(set(names)) == len(names):
        return names
    return [f"arm {number + 1}" if names.count(name) > 1 else name for number, name in enumerate(names)]


def _value(span: Span | None) -> str:
    return "-" if span is None else short(span.value)


def _ends(span: Span | None) -> str:
    return "-" if span is None or span.low is None else interval(span.low, span.high, method="", value=span.value)


def _table(items: Sequence[Against], room: int) -> Table:
    made = table([("arm", "l"), ("pairs", "r"), ("over", "l"), ("ratio", "r"), ("95 %", "l"), ("multiplier", "r"),
                  ("95 %", "l"), *([("free", "r"), ("95 %", "l")] if room > 110 else []), ("verdict", "l")],
                 spare=("over",))
    for each in items:
        made.add_row(Text(each.arm), str(each.pairs), f"{each.units} {each.level}", _value(each.ratio),
                     _ends(each.ratio), _value(each.multiplier), _ends(each.multiplier),
                     *([_value(each.free), _ends(each.free)] if room > 110 else []),
                     Text(each.verdict, style="bold" if each.verdict in ("better", "worse") else ""))
    return made


def _settling(each: Against) -> Iterator[str]:
    if each.verdict == "not settled" and each.needed:
        told = [f"{count:,} {each.level} in all would {what}" for what, count in
                (("tell the ratio from 1", each.needed.get("different")),
                 (f"hold it within {each.margin:.2g}", each.needed.get("equivalent"))) if count is not None]
        if told:
            yield f"at the scatter seen, about {'; '.join(told)}"


def _crossing(each: Against) -> Iterator[str]:
    if each.crossing is not None:
        yield f"by a law for each the curves cross near {short(each.crossing)} {each.x}"


def _known(value: Any) -> str:
    return "not known" if value is None else str(value)
