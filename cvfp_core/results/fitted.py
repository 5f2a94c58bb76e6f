"""Tables of fits: a law's form, its parameters with intervals, and what is to be said of single fits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from cvfp_core.fitting import Fit, Variation
from cvfp_core.reporting.numbers import p_is
from cvfp_core.results.numbers import of, short
from cvfp_core.results.printed import ROWS, Block, about, beyond, table, width

NO_TREND = "no trend found: the interval of alpha holds 0"
ACROSS = 4
"""Parameters that a row has room for; a law of more has a row for each."""


def of_law(law: str, fits: Sequence[Fit], room: int) -> Iterator[Block]:
    """The form of the law, a table of its fits, and the reasons and cautions below it."""
    if not fits:
        return
    yield Text.assemble((law, "bold"), f"  {fits[0].form}")
    fullest = sorted(fits, key=lambda each: -len(each.estimates))
    names = list(dict.fromkeys(e.name for each in fullest for e in each.estimates))
    if len(names) <= ACROSS or (len(fits) > 1 and len(names) <= 6):
        wide = _by_series(fits[:ROWS], names, beside=True)
        yield wide if width(wide) <= room else _by_series(fits[:ROWS], names, beside=False)
    else:
        for each in fits[:ROWS]:
            yield from _by_parameter(each)
    yield from beyond(len(fits))
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
        if each.trendless:
            said.append((NO_TREND, "yellow", each.series))
        said += [(caveat, "yellow", each.series) for caveat in each.caveats]
        if each.lack_of_fit_p is not None and each.lack_of_fit_p < 0.05:
            said.append((f"runs of one size agree better than the law fits them ({p_is(each.lack_of_fit_p)})",
                         "yellow", each.series))
    return about(said, len(fits))
