"""Records as tables: one per variant, then the exponents, then what to type next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cvfp_core.fitting import Fit, fit_series
from cvfp_core.registry import installed
from cvfp_core.registry.kinds import Fitter
from cvfp_core.schema import records as schema

ALPHA_NOTE = "alpha of PPL = A * tokens^alpha, least squares in logarithms, Student-t interval"

CONTROL_NOTE = "a control's Phase 1 was not trained; the report tests, seed by seed, whether training beats it"


def print_records(records: pl.DataFrame, *, path: Path) -> None:
    """Prints the runs of every series, their exponents and the next command, on stdout."""
    console = Console(highlight=False)
    several = records["experiment"].n_unique() > 1
    groups = schema.series(records)
    for group in groups:
        name = f"{group['experiment'][0]}: " if several else ""
        what = _what(group)
        title = Text.assemble((f"{name}{group['variant'][0]}", "bold"), (f"  {what}" if what else "", "italic"))
        console.print(_runs(group, title))
        console.print()
    if records["phase1_censored"].fill_null(False).any():
        console.print("+ stopped at the iteration limit before converging: a lower bound", style="dim")
    for row in records.filter(pl.col("status") != "ok").to_dicts():
        name = row["variant"] if row["phase1_mode"] in (None, "trained") else f"{row['variant']}, {row['phase1_mode']}"
        console.print(Text(f"{name} n={row['num_samples']}: {row['status']}: {row['reason']}", style="red"))
    fits = _alphas(records)
    if fits:
        console.print(_exponents(fits, several))
        console.print(ALPHA_NOTE, style="dim")
    if schema.control(records).is_not_null().any():
        console.print(CONTROL_NOTE, style="dim")
    for fit in fits:
        if fit.status != "converged" and fit.reason:
            console.print(Text(f"{_label(fit, several)}: {fit.status}: {fit.reason}", style="yellow"))
    console.print(Text.assemble("\nnext: ", (f"cvfp report {path} -o report.md", "bold")))


def as_json(records: pl.DataFrame) -> str:
    """The records and their fits as one JSON document."""
    fits = [fit.as_dict() for fit in _alphas(records)]
    return json.dumps({"records": schema.plain(records), "fits": fits}, indent=1, default=str)


def _alphas(records: pl.DataFrame) -> list[Fit]:
    """The power law of every series; none where the plugin that has it is left out."""
    registry = installed()
    return fit_series(records, registry=registry) if "power-law" in registry.items(Fitter) else []


def _what(group: pl.DataFrame) -> str:
    """What is to be known of the Phase 1 of a series that did not train one; empty for one that did."""
    if group["phases"][0] == 1:
        return "one phase: no contexts"
    control = schema.control(group)[0]
    return f"control: {control}" if control else ""


def _runs(group: pl.DataFrame, title: Text) -> Table:
    seeds = group["seed"].n_unique() > 1
    contexts = group["phases"][0] != 1 and schema.control(group)[0] != "zero-context"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    headings = ["samples", "tokens", *(["seed"] if seeds else []),
                *(["P1 iter", "train ER", "val ER"] if contexts else []), "train PPL", "val PPL", "acc", "time"]
    for heading in headings:
        table.add_column(heading, justify="right", header_style="bold")
    for row in group.to_dicts():
        table.add_row(
            _number(row["num_samples"], ",.0f"),
            _number(row["train_tokens"], ",.0f"),
            *([_number(row["seed"], "d")] if seeds else []),
            *([_number(row["phase1_iterations"], "d") + ("+" if row["phase1_censored"] else " "),
               _number(row["train_er"], ".1%"), _number(row["val_er"], ".1%")] if contexts else []),
            _number(row["train_ppl"], ",.1f"),
            _number(row["val_ppl"], ",.1f") if row["status"] == "ok" else row["status"],
            _number(row["val_acc"], ".1%"),
            _seconds(row["seconds_phase1"], row["seconds_phase2"]),
        )
    return table


def _exponents(fits: list[Fit], several: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading, justify in (("series", "left"), ("n", "right"), ("alpha", "right"), ("95 % interval", "left"),
                             ("A", "right"), ("R²", "right")):
        table.add_column(heading, justify=justify, header_style="bold")  # type: ignore[arg-type]
    for fit in fits:
        alpha = next((each for each in fit.estimates if each.name == "alpha"), None)
        interval = "-"
        if alpha is not None and alpha.low is not None and alpha.high is not None:
            interval = f"[{alpha.low:.3f}, {alpha.high:.3f}]"
        table.add_row(
            Text(_label(fit, several)), str(fit.n), _number(fit.value("alpha"), ".3f"), interval,
            _number(fit.value("A"), ",.0f"), _number(fit.r_squared, ".3f"),
        )
    return table


def _label(fit: Fit, several: bool) -> str:
    return fit.series if several else fit.series.partition(":")[2]


def _number(value: Any, form: str) -> str:
    return "-" if value is None else format(value, form)


def _seconds(*parts: float | None) -> str:
    measured = [part for part in parts if part is not None]
    if not measured:
        return "-"
    total = sum(measured)
    return f"{total:.1f} s" if total < 120 else f"{total / 60:.1f} min"
