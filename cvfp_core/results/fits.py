"""Laws fitted to series: the fits as a value that prints as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl
from rich.table import Table
from rich.text import Text

from cvfp_core.fitting import Fit, Variation
from cvfp_core.fitting.auto import At
from cvfp_core.reporting.numbers import p_is
from cvfp_core.results.arguments import verb
from cvfp_core.results.forecasts import Forecasts, forecast
from cvfp_core.results.numbers import of, short
from cvfp_core.results.printed import WIDE, Block, Listed, about, table, width
from cvfp_core.results.runs import AnyLaw, Asked, Readable, ask, listed
from cvfp_core.schema.settings import Scalar

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

ACROSS = 4
"""Parameters that a row has room for; a law of more has a row for each."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Fits(Listed[Fit]):
    """One fit for each series and law, in the order of the laws."""

    items: tuple[Fit, ...]
    laws: tuple[AnyLaw, ...]
    asked: Asked

    @verb
    def predict(self, at: At, *, law: AnyLaw | None = None) -> Forecasts:
        """What the law says at other inputs; see `cvfp.predict`. law: one of those fitted, by default the first."""
        return forecast(self.asked, at, law or self.laws[0])

    @verb
    def plot(self, path: str | Path | None = None) -> Figure:
        """The points and the laws through them; see `cvfp.plot`."""
        from cvfp_core.results.plots import draw

        return draw(self.items, path=path)

    def to_frame(self) -> pl.DataFrame:
        """One row an estimate: law, series, parameter, value, low, high, and the fit's n and status."""
        return pl.DataFrame([
            {"law": fit.law, "series": fit.series, "response": fit.response, "status": fit.status, "n": fit.n,
             "parameter": each.name, **{name: getattr(each, name) for name in ("value", "low", "high", "stderr")},
             "method": each.method, "unit": each.unit}
            for fit in self.items for each in fit.estimates
        ], schema=_SCHEMA)

    def summary(self) -> str:
        """A line for each fit: its law, its series, its parameters with intervals, or why there are none."""
        return "\n".join(map(_sentence, self.items))

    def blocks(self, room: int = WIDE) -> Iterator[Block]:
        """For each law its form, a table of the parameters, and what is to be said of single fits."""
        for index, law in enumerate(dict.fromkeys(fit.law for fit in self.items)):
            if index:
                yield Text()
            yield from of_law(law, [fit for fit in self.items if fit.law == law], room)


_SCHEMA = {"law": pl.String, "series": pl.String, "response": pl.String, "status": pl.String, "n": pl.Int64,
           "parameter": pl.String, "value": pl.Float64, "low": pl.Float64, "high": pl.Float64, "stderr": pl.Float64,
           "method": pl.String, "unit": pl.String}


@verb
def fit(runs: Readable, law: AnyLaw | Sequence[AnyLaw] = "power-law", *, x: str | None = None, y: str | None = None,
        by: str | Sequence[str] | None = None, where: str | None = None, map: Mapping[str, str] | None = None,
        weights: str | None = None, options: Mapping[str, Scalar | None] | None = None) -> Fits:
    """Laws fitted to every series of the runs, with 95 % intervals.

    runs: what `read` takes or gave. law: a name (see `cvfp laws`), a `Law`, a model of lmfit, or several. x, y: what a
    curve is a function of and what it explains, if not what the law declares. by: the columns that tell series apart,
    by default `experiment` and `variant`. weights: the column of the runs' weights in what is minimised. options: of
    the laws, such as `{"E": 20}`.

        fits = cvfp.fit("runs.csv", "saturating", x="flops", y="val_loss")
    """
    return fits_of(ask(runs, x=x, y=y, by=by, where=where, map=map, weights=weights, options=options), listed(law))


def fits_of(asked: Asked, laws: Sequence[AnyLaw]) -> Fits:
    """The fits of what was asked, with these laws, each once."""
    every = tuple(laws[i] for i in range(len(laws)) if laws[i] not in laws[:i])
    return Fits(items=tuple(asked.fit(every)), laws=every, asked=asked)


def of_law(law: str, fits: Sequence[Fit], room: int) -> Iterator[Block]:
    """The form of the law, a table of its fits, and the reasons and cautions below it."""
    if not fits:
        return
    yield Text.assemble((law, "bold"), f"  {fits[0].form}")
    fullest = sorted(fits, key=lambda each: -len(each.estimates))
    names = list(dict.fromkeys(e.name for each in fullest for e in each.estimates))
    if len(names) <= ACROSS or (len(fits) > 1 and len(names) <= 6):
        wide = _by_series(fits, names, beside=True)
        yield wide if width(wide) <= room else _by_series(fits, names, beside=False)
    else:
        for each in fits:
            yield from _by_parameter(each)
    yield from _reasons(fits)


def of_sensitivity(fit: Fit, varied: Sequence[Variation]) -> Iterator[Block]:
    """How the parameters come out if other things are minimised, and without each size."""
    made = table([(f"{fit.law}, {fit.series}, fitted otherwise", "l"), *((name, "r") for name in varied[0].parameters)])
    for each in varied:
        made.add_row(Text(each.name), *(short(value) for value in each.values))
    yield Text()
    yield made


def _by_series(fits: Sequence[Fit], names: list[str], *, beside: bool) -> Table:
    """A row for each fit, a column for each estimate, with its interval beside or below it."""
    names = sorted(names, key=lambda name: (not name.startswith("alpha"), names.index(name)))  # what people look for
    marks = beside and any(each.status != "converged" for each in fits)  # if narrow, the lines below the table say it
    squares = any(each.r_squared is not None for each in fits)
    made = table([("series", "l"), ("n", "r"), *((name, "l") for name in names), *([("R²", "r")] if squares else []),
                  *([("status", "l")] if marks else [])], gap=2 if beside else 1)
    between = " " if beside else "\n"
    for each in fits:
        known = {estimate.name: estimate for estimate in each.estimates}
        cells = [of(known.get(name)) for name in names]
        good = each.status == "converged"
        made.add_row(
            Text(each.series), f"{each.n}{each.marks}",
            *(Text.assemble(value, (f"{between}{ends}" if ends else "", "dim")) for value, ends in cells),
            *(["-" if each.r_squared is None else f"{each.r_squared:.4f}"] if squares else []),
            *([Text("ok" if good else each.status, style="dim" if good else "yellow")] if marks else []),
        )
    return made


def _by_parameter(fit: Fit) -> Iterator[Block]:
    """A row for each estimate of one fit."""
    head = [fit.series, f"n {fit.n}{fit.marks}", f"{fit.dof} degrees of freedom" if fit.dof else "",
            "" if fit.r_squared is None else f"R² {fit.r_squared:.4f}",
            "" if fit.p_value is None else p_is(fit.p_value)]
    yield Text(", ".join(part for part in head if part), style="dim")
    made = table([("", "l"), ("value", "r"), ("95 % interval", "l"), ("", "l")])
    for estimate in fit.estimates:
        value, ends = of(estimate)
        unit = "" if estimate.unit == "fraction" else estimate.unit
        made.add_row(Text(estimate.name), value, Text(ends, no_wrap=True), Text(estimate.note or unit, style="dim"))
    if fit.estimates:
        yield made


def _reasons(fits: Sequence[Fit]) -> Iterator[Text]:
    """Why fits are not plain, and what was left out."""
    said: list[tuple[str, str, str]] = []
    for each in fits:
        good = each.status == "converged"
        said.append((each.reason and (each.reason if good else f"{each.status}: {each.reason}"),
                     "dim" if good else "yellow", each.series))
        if each.left_out and each.status != "too few points":
            said.append((f"left out: {', '.join(each.left_out)}", "dim", each.series))
        said += [(caveat, "yellow", each.series) for caveat in each.caveats]
        if each.lack_of_fit_p is not None and each.lack_of_fit_p < 0.05:
            said.append((f"runs of one size agree better than the law fits them ({p_is(each.lack_of_fit_p)})",
                         "yellow", each.series))
    return about(said, len(fits))


def _sentence(fit: Fit) -> str:
    head = f"{fit.law}, {fit.series}, n {fit.n}: "
    if not fit.usable:
        return f"{head}{fit.status}: {fit.reason}"
    parts = [" ".join(filter(None, (each.name, *of(each)))) for each in fit.estimates]
    return head + ", ".join(parts) + ("" if fit.status == "converged" else f" ({fit.status}: {fit.reason})")
