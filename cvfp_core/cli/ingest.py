"""`cvfp ingest`: records from logs and tables of runs made elsewhere."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cvfp_core.cli import asked
from cvfp_core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from cvfp_core.ingesting.run import FileReport, Ingested
    from cvfp_core.ingesting.storing import Stored
    from cvfp_core.registry import Registry

_MESSAGES = 10


def ingest(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Logs, tables, or folders of them.")],
    into: Annotated[
        Path | None, typer.Option("--into", metavar="STORE", help="Store the records in this folder.")
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", metavar="NAME", help="Read with this ingester; else content decides.")
    ] = None,
    experiment: Annotated[
        str | None, typer.Option("--experiment", metavar="LABEL", help="Label of the runs.")
    ] = None,
    map_: asked.Map = None,
    no_map: asked.NoMap = False,
    take: asked.Take = None,
    save_map: Annotated[
        Path | None, typer.Option("--save-map", metavar="FILE", help="Save the mapping, to give as --map FILE.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Make anything not accounted for an error, and store nothing.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Print what each file and column was taken for, and why; store nothing.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print records, counts and messages as JSON.")] = False,
) -> None:
    """Read runs made elsewhere: logs, result folders, tables, trainer states, exports.

    Prints one row a series, then what became of every line. Files are told apart by content; `cvfp plugins` lists the
    ingesters. Exit code 1: there is no run in it, or an ingester failed to look; 3: some files or rows could not be
    taken, the others were.
    """
    from cvfp_core import registry
    from cvfp_core.ingesting import mapping as columns_mapping
    from cvfp_core.ingesting.run import ingest as read
    from cvfp_core.schema.found import Take

    if explain and (into is not None or json_):
        raise UsageError(f"--explain stores nothing and prints no JSON; leave out {'--json' if json_ else '--into'}")
    mapping = asked.mapping(paths, map_, no_map=no_map)
    if save_map is not None:
        columns_mapping.save(save_map, mapping)
    made = read(paths, registry.installed(), format_=format_, experiment=experiment, mapping=mapping,
                take=Take.read(take or "last"))
    if strict:
        made.require_complete()
    if explain:
        _print_explanation(made, registry.installed(), format_, mapping)
        return
    if not made.failed and not made.faults and made.published.is_empty():
        made.require_runs(paths)
    stored = None
    if into is not None and not made.records.is_empty():
        from cvfp_core.ingesting.storing import into as write

        stored = write(into, made)
    if json_:
        print(_as_json(made, stored))
    else:
        _print_messages(made)
        for group, show in ((True, _print_series), (False, _print_tables)):
            show(made.records.filter(_of_protocol() if group else ~_of_protocol()))
        _print_account(made, stored, into)
    if made.failed or made.faults:
        raise typer.Exit(1 if made.records.is_empty() or made.faults else 3)


def _as_json(made: Ingested, stored: Stored | None) -> str:
    from dataclasses import asdict

    from cvfp_core.schema.records import plain

    return json.dumps({
        "records": plain(made.records),
        "published": made.published.to_dicts(),
        "files": [asdict(file) for file in made.files],
        "skipped": list(made.skipped),
        "faults": list(made.faults),
        "duplicates": [asdict(each) for each in (*made.duplicates, *(stored.known if stored else ()))],
        "stored": stored.written if stored else None,
    }, indent=1, ensure_ascii=False, default=str)


def _print_series(records: pl.DataFrame) -> None:
    """One row a series: the ranges of its metrics over sample sizes, and its exponents, stated and fitted."""
    if records.is_empty():
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from cvfp_core.fitting import fit_series
    from cvfp_core.schema.quantities import QUANTITIES
    from cvfp_core.schema.records import series

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=120)
    wide = console.width >= 98
    cut_short = bool(records["phase2_censored"].any())
    fits = {fit.series: fit.value("alpha") for fit in fit_series(records)}
    table = Table(box=None, pad_edge=False, padding=(0, 2 if console.width >= 108 else 1, 0, 0))
    table.add_column("series", header_style="bold", no_wrap=True)
    headings = ["samples", "alpha\npublished", "alpha\nfitted", "P1 iter", *(["train ER\n%"] if wide else []),
                "val ER\n%", *(["train PPL"] if wide else []), "val PPL", "acc\n%"]
    for heading in headings:
        table.add_column(heading, justify="right", header_style="bold", no_wrap=True)
    for group in series(records):
        experiment, variant = group["experiment"][0], group["variant"][0]
        published = group["published_alpha"][0] if "published_alpha" in group.columns else None
        censored = bool(group["phase1_censored"].fill_null(False).any())
        ok = group.filter(group["status"] == "ok")
        table.add_row(
            Text(f"{experiment} {variant}"), _range(group, "num_samples", 0), _alpha(published),
            _alpha(fits.get(f"{experiment}:{variant}")),
            _range(group, "phase1_iterations", 0) + ("+" if censored else " "),
            *([_range(group, "train_er", 1, 100)] if wide else []), _range(group, "val_er", 1, 100),
            *([_range(ok, "train_ppl", 0)] if wide else []),
            _range(ok, "val_ppl", 0) + ("†" if ok["phase2_censored"].any() else " " * cut_short),
            _range(ok, "val_acc", 0, 100),
        )
    console.print(table)
    if records["phase1_censored"].fill_null(False).any():
        console.print("+ stopped before converging: a lower bound", style="dim")
    if cut_short:
        console.print(f"† cut short: {QUANTITIES['phase2_censored'].meaning}", style="dim")
    if not wide:
        console.print("train ER and PPL: with --json, or 98 columns", style="dim")


def _of_protocol() -> pl.Expr:
    """Whether a record is of documents or contexts, as those of the protocol are."""
    import polars as pl

    return pl.any_horizontal(pl.col(name).is_not_null() for name in ("num_samples", "phase1_iterations", "val_er"))


def _print_tables(records: pl.DataFrame) -> None:
    """One row a series of other runs: how many, and the range of every size and metric they have."""
    if records.is_empty():
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from cvfp_core.fitting import fit_series
    from cvfp_core.schema import series
    from cvfp_core.schema.quantities import QUANTITIES

    derived = {part.partition(" = ")[0] for text in set(records["derived"].drop_nulls()) for part in text.split("; ")}
    names = [name for kind in ("size", "metric") for name, each in QUANTITIES.items() if each.kind == kind
             and each.dtype != "bool" and name not in derived and records[name].is_not_null().any()]
    if not any(QUANTITIES[name].kind == "metric" for name in names):
        names += [name for name, dtype in records.schema.items() if name not in QUANTITIES and dtype.is_numeric()]
    fits = {fit.series: fit.value("alpha") for fit in fit_series(records)} if "val_ppl" in names else {}
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=120)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("series", header_style="bold", overflow="fold")
    for heading in ("runs", *names, *(["alpha"] if fits else [])):
        table.add_column(heading, justify="right", header_style="bold", overflow="fold")
    for group in series.series(records):
        label = series.labels(group)[0]
        table.add_row(Text(label.replace(":", " ", 1)), f"{group.height:,}", *(_ends(group[name]) for name in names),
                      *([_alpha(fits.get(label))] if fits else []))
    console.print(table)


def _ends(values: pl.Series) -> str:
    """The least and the largest of the values, in digits that tell them apart."""
    ends = [float(end) for end in (values.min(), values.max()) if end is not None]  # type: ignore[arg-type]
    for digits in range(3, 16):
        low, high = (f"{end:.{digits}g}".replace("e+0", "e").replace("e+", "e") for end in (ends or [0.0] * 2))
        if not ends or low != high or ends[0] == ends[1]:
            break
    return "-" if not ends else low if low == high else f"{low} to {high}"


def _range(group: pl.DataFrame, name: str, digits: int, scale: float = 1.0) -> str:
    values = group[name].drop_nulls()
    if values.is_empty():
        return "-"
    if digits == 0 and values.dtype.is_float() and float(values.max()) * scale < 10:  # type: ignore[arg-type]
        digits = 2
    ends = [f"{float(end) * scale:.{digits}f}" for end in (values.min(), values.max())]  # type: ignore[arg-type]
    return ends[0] if ends[0] == ends[1] else "-".join(ends)


def _alpha(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _print_account(made: Ingested, stored: Stored | None, into: Path | None) -> None:
    """What became of every line and file; messages, so on stderr."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        console = Console(stderr=True, highlight=False, width=120, soft_wrap=True)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("input", header_style="bold", overflow="fold")
    for heading in ("read as", "runs", "record", "curve", "noise", "reported"):
        justify = "left" if heading == "read as" else "right"
        table.add_column(heading, header_style="bold", justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for file in made.files[:30]:
        table.add_row(Text(file.name), *_counts(file))
    console.print()
    console.print(table)
    if len(made.files) > 30:
        console.print(f"and {len(made.files) - 30:,} more", style="dim")
    for skipped in made.skipped[:5]:
        console.print(Text(f"skipped: {skipped}", style="dim"))
    if len(made.skipped) > 5:
        console.print(f"and {len(made.skipped) - 5:,} more files that no ingester knows", style="dim")
    for note in made.notes:
        console.print(Text(note, style="dim"))
    runs = made.records.height
    alphas = f", {made.published.height} published exponents" if made.published.height else ""
    console.print(f"\n{_plural(runs, 'run')}{alphas} from {_plural(len(made.files), 'input')}")
    twice = (*made.duplicates, *(stored.known if stored else ()))
    pairs: Counter[tuple[str, str]] = Counter()
    for each in twice:
        pairs[_file(each.kept), _file(each.also)] += each.runs
    for (kept, also), count in pairs.items():
        console.print(Text(f"{_plural(count, 'run')} of {also} are in {kept} already: kept once", style="yellow"))
    if stored is not None:
        console.print(Text.assemble(
            f"{stored.written:,} stored in {into}\nnext: ", (f"cvfp report {into} -o report.md", "bold")))
    elif runs:
        console.print(Text("to keep them: add --into STORE", style="dim"))


def _counts(file: FileReport) -> list[str]:
    if file.problem:
        return [file.ingester or "-", "failed", "", "", "", ""]
    counts = (file.runs, file.lines.record, file.lines.curve, file.lines.noise, file.reported)
    return [file.ingester or "-", *(f"{count:,}" for count in counts)]


def _print_messages(made: Ingested) -> None:
    """What was refused or not understood, files that failed first."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for problem in (*made.faults, *(file.problem for file in made.files if file.problem)):
        console.print(Text(f"cvfp: {problem}", style="red"))
    for message in made.messages[:_MESSAGES]:
        console.print(Text(f"reported: {message}", style="yellow"))
    reported = sum(file.reported for file in made.files)
    if len(made.messages) > _MESSAGES:
        console.print(f"and others: {reported:,} lines or rows were reported", style="dim")


def _print_explanation(made: Ingested, registry: Registry, format_: str | None, mapping: Mapping[str, str]) -> None:
    """What each file and each of its columns was taken for, and why."""
    from rich.console import Console

    from cvfp_core.registry.kinds import Ingester
    from cvfp_core.schema.quantities import QUANTITIES

    console = Console(highlight=False, soft_wrap=True, markup=False)
    for file in made.files:
        if file.problem or file.ingester is None:
            console.print(file.problem)
            continue
        ingester = registry.get(Ingester, file.ingester)
        why = "as --format asks" if format_ else "a general form; no ingester for one program knows it" if \
            ingester.general else "its content is of this form"
        console.print(f"{file.name}: {ingester.title} ({file.ingester}; {why}): {_plural(file.runs, 'run')}")
        taken = {column.partition(" * ")[0]: f"{name} = {column}" for name, column in file.taken.items()}
        for column in (column for column in file.columns if column != "experiment"):
            own = "a quantity of this name" if column in QUANTITIES else "kept under its own name"
            console.print(f"  {column}: {f'by its name, {taken[column]}' if column in taken else own}")
        for target, source in mapping.items():
            console.print(f"  {target}: mapped, {source}")
        for line in (*file.remarks, *file.messages):
            console.print(f"  {line}")
    for skipped in (*made.skipped, *made.faults):
        console.print(f"skipped: {skipped}")


def _file(place: str) -> str:
    """The file of a place such as `logs/a.txt:12`, or of a record's source."""
    return re.sub(r"(?::\d+| \(.*)$", "", place)


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
