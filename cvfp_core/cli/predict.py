"""`cvfp predict`: what a series will be at more data, and how sure that is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cvfp_core.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from cvfp_core.fitting import Choice, Forecast

_ANY = 10_000
"""Columns no table needs."""

def predict(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Folders of runs, or logs.")],
    tokens: Annotated[
        str, typer.Option("--tokens", metavar="N", help="Training tokens to predict at: 5e6, 10_000_000, 2M.")
    ],
    law: Annotated[
        str, typer.Option("--law", metavar="NAME", help="A law, or auto: chosen from the runs given.")
    ] = "auto",
    by: Annotated[
        list[str] | None,
        typer.Option("--by", metavar="COLUMN", help="Columns that tell series apart. Default: experiment, variant."),
    ] = None,
    options: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="An option of the law, such as E=20.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Predict perplexity at more training tokens, with 95 % intervals of the mean and of one new run."""
    import json

    from rich.console import Console

    from cvfp_core import fitting
    from cvfp_core.cli.fit import settings
    from cvfp_core.ingesting.reading import read_records

    count = number(tokens)
    given = settings(options or [])
    records = read_records(paths)
    forecast = fitting.predict_all(records, count, law, by=tuple(by) if by else fitting.SERIES, options=given)
    if json_:
        print(json.dumps(forecast.as_dict(), indent=1, allow_nan=False))
        return
    _print(Console(highlight=False), forecast, count)


def number(text: str) -> float:
    """The number of tokens written as 5e6, 10_000_000 or 2M. Raises UsageError."""
    import math

    factor = {"k": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12}.get(text[-1:], 1.0)
    try:
        value = float(text.rstrip("kMBGT") if factor > 1 else text) * factor
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise UsageError(f"--tokens must be a positive number such as 5e6 or 2M, not '{text}'")
    return value


def _print(console: Console, forecast: Forecast, tokens: float) -> None:
    from rich.text import Text

    from cvfp_core.cli.fit import about

    console.print(Text.assemble(("val_ppl", "bold"), f" at {tokens:,.0f} training tokens"))
    table = _table(forecast, stacked=False)
    if console.measure(table, options=console.options.update(width=_ANY)).maximum > console.width:
        table = _table(forecast, stacked=True)
    console.print(table)
    lines: dict[tuple[str, str], list[str]] = {}
    for each in forecast.predictions:
        for text, style in ((each.reason, "dim" if each.value else "yellow"), *((w, "yellow") for w in each.warnings)):
            if text:
                lines.setdefault((text, style), []).append(each.series)
    for (text, style), series in lines.items():
        whose = about(series, len(forecast.predictions))
        console.print(Text(f"{whose}{text}", style=style))
    if forecast.choice is not None:
        console.print()
        _print_choice(console, forecast.choice)


def _table(forecast: Forecast, *, stacked: bool) -> Table:
    """A row for each series; stacked, for a narrow terminal: two, the law below its series, one interval a row."""
    from rich.text import Text

    from cvfp_core.cli.numbers import interval, plain_table, short

    table = plain_table([
        *([("series", "l")] if stacked else [("series", "l"), ("law", "l")]), ("val_ppl", "r"),
        *([("95 %", "l"), ("", "l")] if stacked else [("95 % mean", "l"), ("95 % new run", "l")]), ("x data", "r"),
    ])
    for index, column in enumerate(table.columns):
        column.no_wrap = index > 0 or not stacked  # a long name gives way, no number does
    for each in forecast.predictions:
        low, high = (interval(a, b, method="" if each.run_low or each.run_high else None) or "-"
                     for a, b in ((each.mean_low, each.mean_high), (each.run_low, each.run_high)))
        value, distance = short(each.value), "-" if each.distance is None else f"{each.distance:.3g}"
        if stacked:
            table.add_row(Text.assemble(each.series, (f"\n  {each.law}", "dim")), value, Text("mean\nnew run", "dim"),
                          f"{low}\n{high}", distance)
        else:
            table.add_row(Text(each.series), each.law, value, low, high, distance)
    return table


def _print_choice(console: Console, choice: Choice) -> None:
    from rich.text import Text

    from cvfp_core.cli.numbers import plain_table

    console.print(Text.assemble("law: ", (choice.law, "bold"), f", {choice.reason}"))
    if not choice.candidates:
        return
    table = plain_table([("law", "l"), ("parameters", "r"), ("AICc", "r"), ("back-test", "r"), ("folds", "r"),
                         ("F test p", "r"), ("", "l")])
    for each in choice.candidates:
        table.add_row(
            each.law, str(each.parameters), "-" if each.aicc is None else f"{each.aicc:.1f}",
            "-" if each.backtest is None else f"{each.backtest:.1%}", str(each.folds),
            "-" if each.p_value is None else f"{each.p_value:.2g}",
            Text(each.verdict, style="bold" if each.verdict == "chosen" else "dim"),
        )
    console.print(table)
    console.print(Text("back-test: mean error of the next size when the law saw only the smaller ones", style="dim"))
