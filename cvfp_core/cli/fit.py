"""`cvfp fit`: laws fitted to series, with intervals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cvfp_core.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from cvfp_core.fitting import Fit, Variation
    from cvfp_core.registry.kinds import Fitter


def fit(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Folders of runs, or logs.")],
    laws: Annotated[
        list[str] | None, typer.Option("--law", metavar="NAME", help="A law to fit; may be repeated. See `cvfp laws`.")
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option("--by", metavar="COLUMN", help="Columns that tell series apart. Default: experiment, variant."),
    ] = None,
    options: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="An option of a law, such as E=20.")
    ] = None,
    sensitivity: Annotated[
        bool, typer.Option("--sensitivity", help="Fit again by raw least squares, Huber, and without each size.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Fit laws to every series and print parameters with 95 % intervals."""
    import json

    from rich.console import Console

    from cvfp_core import fitting
    from cvfp_core.ingesting.reading import read_records
    from cvfp_core.registry import installed
    from cvfp_core.registry.kinds import Fitter

    registry = installed()
    names = laws or ["power-law"]
    fitters = {name: registry.get(Fitter, name) for name in names}
    given = settings(options or [])
    records = read_records(paths)
    fits = fitting.fit_all(records, names, by=tuple(by) if by else fitting.SERIES, options=given, registry=registry)
    varied = {id(each): fitting.sensitivity(each, fitters[each.law]) for each in fits if sensitivity
              and each.law in fitters}
    if json_:
        print(json.dumps([
            each.as_dict() | ({"sensitivity": [v.as_dict() for v in varied[id(each)]]} if id(each) in varied else {})
            for each in fits
        ], indent=1, allow_nan=False))
        return
    console = Console(highlight=False)
    for index, (name, fitter) in enumerate(fitters.items()):
        if index:
            console.print()
        mine = [each for each in fits if each.law == name]
        _print_law(console, fitter, mine)
        for each in mine:
            if varied.get(id(each)):
                _print_sensitivity(console, each, varied[id(each)])


def settings(pairs: list[str]) -> dict[str, Any]:
    """KEY=VALUE pairs; a value is a TOML value, or else a word. Raises UsageError for anything else."""
    import tomllib

    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip() or not text.strip():
            raise UsageError(f"--set takes KEY=VALUE, not '{pair}'")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text.strip()
        if not isinstance(value, str | int | float | bool):
            raise UsageError(f"--set {key.strip()} takes a number or a word, not '{text}'")
        values[key.strip()] = value
    return values


def _print_law(console: Console, fitter: Fitter, fits: list[Fit]) -> None:
    from rich.text import Text

    console.print(Text.assemble((fitter.name, "bold"), f"  {fitter.form}"))
    fullest = sorted(fits, key=lambda each: -len(each.estimates))
    names = list(dict.fromkeys(e.name for each in fullest for e in each.estimates))
    if fitter.function is not None or (len(fits) > 1 and len(names) <= 6):
        _print_series(console, fits, names)
    else:
        for each in fits:
            _print_one(console, each)
    _print_reasons(console, fits)


def _print_series(console: Console, fits: list[Fit], names: list[str]) -> None:
    """A row for each fit, a column for each estimate."""
    from rich.text import Text

    from cvfp_core.cli.numbers import beside, joined, of, plain_table

    known = [{e.name: e for e in each.estimates} for each in fits]
    # exponents are what people look for: first
    names = sorted(names, key=lambda name: (not name.startswith("alpha"), names.index(name)))
    marks = any(each.status != "converged" for each in fits)
    squares = any(each.r_squared is not None for each in fits)
    label = max(6, *(len(each.series) for each in fits)) if fits else 6
    taken = label + 2 + 4 + (8 if squares else 0) + (max(len(each.status) for each in fits) if marks else 0)
    pairs = [[of(each.get(name)) for name in names] for each in known]
    wide = beside(pairs, console, taken)
    cells = joined(pairs, wide=wide)
    marks = marks and wide  # in a narrow terminal the lines below the table say it
    table = plain_table([("series", "l"), ("n", "r"), *((name, "l") for name in names),
                         *([("R²", "r")] if squares else []), *([("status", "l")] if marks else [])],
                        gap=2 if wide else 1)
    for each, row in zip(fits, cells, strict=True):
        good = each.status == "converged"
        table.add_row(
            Text(each.series), str(each.n), *row,
            *(["-" if each.r_squared is None else f"{each.r_squared:.4f}"] if squares else []),
            *([Text("ok" if good else each.status, style="dim" if good else "yellow")] if marks else []),
        )
    console.print(table)


def _print_one(console: Console, fit: Fit) -> None:
    """A row for each estimate of one fit."""
    from rich.text import Text

    from cvfp_core.cli.numbers import of, plain_table

    head = [fit.series, f"n {fit.n}", f"{fit.dof} degrees of freedom" if fit.dof else "",
            "" if fit.r_squared is None else f"R² {fit.r_squared:.4f}",
            "" if fit.p_value is None else f"p {fit.p_value:.3g}"]
    console.print(Text(", ".join(part for part in head if part), style="dim"))
    table = plain_table([("", "l"), ("value", "r"), ("95 % interval", "l"), ("", "l")])
    for estimate in fit.estimates:
        value, ends = of(estimate)
        unit = "" if estimate.unit == "fraction" else estimate.unit
        table.add_row(Text(estimate.name), value, Text(ends, no_wrap=True), Text(estimate.note or unit, style="dim"))
    if fit.estimates:
        console.print(table)


def _print_reasons(console: Console, fits: list[Fit]) -> None:
    """Why fits are not plain, and what was left out: a line for each text, with the series it is about."""
    from rich.text import Text

    lines: dict[tuple[str, str], list[str]] = {}
    for each in fits:
        style = "dim" if each.status == "converged" else "yellow"
        text = each.reason if each.status == "converged" else f"{each.status}: {each.reason}"
        if each.reason:
            lines.setdefault((text, style), []).append(each.series)
        if each.left_out and each.status != "too few points":
            lines.setdefault((f"left out: {', '.join(each.left_out)}", "dim"), []).append(each.series)
        if each.lack_of_fit_p is not None and each.lack_of_fit_p < 0.05:
            text = f"runs of one size agree better than the law fits them (p = {each.lack_of_fit_p:.2g})"
            lines.setdefault((text, "yellow"), []).append(each.series)
    for (text, style), series in lines.items():
        whose = about(series, len(fits))
        console.print(Text(f"{whose}{text}", style=style))


def about(series: list[str], count: int) -> str:
    """Whom a line is about, as its beginning: nothing if all, names if few."""
    if len(series) == count and count > 1:
        return ""
    return f"{', '.join(series)}: " if len(series) <= 3 else f"{len(series)} series: "


def _print_sensitivity(console: Console, fit: Fit, varied: list[Variation]) -> None:
    from rich.text import Text

    from cvfp_core.cli.numbers import plain_table, short

    table = plain_table([(f"{fit.series} fitted otherwise", "l"), *((name, "r") for name in varied[0].parameters)])
    for each in varied:
        table.add_row(Text(each.name), *(short(value) for value in each.values))
    console.print()
    console.print(table)
