"""What was ingested, as tables and lines: the runs by series, and what became of every file and line."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl
from rich.text import Text

from cvfp_core.fitting import Fit
from cvfp_core.ingesting.run import FileReport, Ingested
from cvfp_core.ingesting.storing import Stored
from cvfp_core.registry import Registry
from cvfp_core.registry.kinds import Ingester
from cvfp_core.results.numbers import meanings
from cvfp_core.results.printed import Block, table
from cvfp_core.schema import series
from cvfp_core.schema.quantities import QUANTITIES

_MESSAGES, _FILES, _SKIPPED = 10, 30, 5
"""Lines of each kind that are shown; the others are counted."""
_WIDE = 98
"""Columns of a terminal from which on all metrics are shown."""
_OF_PROTOCOL = ("num_samples", "phase1_iterations", "val_er")
"""Of documents or contexts, as records of the protocol are."""


def runs(records: pl.DataFrame, room: int) -> Iterator[Block]:
    """One row a series: runs of the protocol with their exponents, others with every size and metric they have."""
    of_protocol = pl.any_horizontal(pl.col(name).is_not_null() for name in _OF_PROTOCOL)
    for group, blocks in ((records.filter(of_protocol), _of_protocol), (records.filter(~of_protocol), _of_others)):
        if not group.is_empty():
            yield from blocks(group, room)


def _of_protocol(records: pl.DataFrame, room: int) -> Iterator[Block]:
    """The ranges of the metrics of each series over sample sizes, and its exponents, stated and fitted."""
    wide = room >= _WIDE
    cut_short = bool(records["phase2_censored"].any())
    fits = _exponents(records)
    headings = ["samples", "alpha\npublished", "alpha\nfitted", "P1 iter", *(["train ER\n%"] if wide else []),
                "val ER\n%", *(["train PPL"] if wide else []), "val PPL", "acc\n%"]
    made = table([("series", "l"), *((heading, "r") for heading in headings)], gap=2 if room >= 108 else 1)
    for column in made.columns:
        column.no_wrap = True
    for group in series.series(records):
        experiment, variant = group["experiment"][0], group["variant"][0]
        published = group["published_alpha"][0] if "published_alpha" in group.columns else None
        censored = bool(group["phase1_censored"].fill_null(False).any())
        ok = group.filter(group["status"] == "ok")
        made.add_row(
            Text(f"{experiment} {variant}"), _range(group, "num_samples", 0), _alpha(published),
            _fitted(fits.get(series.labels(group)[0])),
            _range(group, "phase1_iterations", 0) + ("+" if censored else " "),
            *([_range(group, "train_er", 1, 100)] if wide else []), _range(group, "val_er", 1, 100),
            *([_range(ok, "train_ppl", 0)] if wide else []),
            _range(ok, "val_ppl", 0) + ("†" if ok["phase2_censored"].any() else " " * cut_short),
            _range(ok, "val_acc", 0, 100),
        )
    yield made
    if records["phase1_censored"].fill_null(False).any():
        yield Text("+ stopped before converging: a lower bound", style="dim")
    yield from meanings("†" * cut_short + "".join(fit.marks for fit in fits.values()))
    if not wide:
        yield Text(f"train ER and PPL: with --json, or {_WIDE} columns", style="dim")


def _of_others(records: pl.DataFrame, _room: int) -> Iterator[Block]:
    """How many runs each series has, and the range of every size and metric that was not derived."""
    derived = {part.partition(" = ")[0] for text in set(records["derived"].drop_nulls()) for part in text.split("; ")}
    names = [name for kind in ("size", "metric") for name, each in QUANTITIES.items() if each.kind == kind
             and each.dtype != "bool" and name not in derived and records[name].is_not_null().any()]
    if not any(QUANTITIES[name].kind == "metric" for name in names):
        names += [name for name, dtype in records.schema.items() if name not in QUANTITIES and dtype.is_numeric()]
    fits = _exponents(records) if "val_ppl" in names else {}
    made = table([("series", "l"), *((heading, "r") for heading in ("runs", *names, *(["alpha"] if fits else [])))])
    made.columns[0].no_wrap = False
    for group in series.series(records):
        label = series.labels(group)[0]
        made.add_row(Text(label.replace(":", " ", 1)), f"{group.height:,}", *(_ends(group[name]) for name in names),
                     *([_fitted(fits.get(label))] if fits else []))
    yield made
    yield from meanings("".join(fit.marks for fit in fits.values()))


def account(made: Ingested, stored: Stored | None, into: Path | None) -> Iterator[Block]:
    """What became of every file and line."""
    headings = ("runs", "record", "curve", "noise", "reported")
    files = table([("input", "l"), ("read as", "l"), *((heading, "r") for heading in headings)])
    for index, column in enumerate(files.columns):
        column.no_wrap = index > 0
    for file in made.files[:_FILES]:
        files.add_row(Text(file.name), *_counts(file))
    yield Text()
    yield files
    yield Text("lines or rows: record, of what a run is and ends with; curve, of its course; noise, that say nothing "
               "of runs, such as headings; reported, not understood", style="dim")
    if len(made.files) > _FILES:
        yield Text(f"and {len(made.files) - _FILES:,} more", style="dim")
    for skipped in made.skipped[:_SKIPPED]:
        yield Text(f"skipped: {skipped}", style="dim")
    if len(made.skipped) > _SKIPPED:
        yield Text(f"and {len(made.skipped) - _SKIPPED:,} more files that no ingester knows", style="dim")
    for note in made.notes:
        yield Text(note, style="dim")
    alphas = f", {made.published.height} published exponents" if made.published.height else ""
    yield Text(f"\n{_plural(made.records.height, 'run')}{alphas} from {_plural(len(made.files), 'input')}")
    pairs: Counter[tuple[str, str]] = Counter()
    for each in (*made.duplicates, *(stored.known if stored else ())):
        pairs[_file(each.kept), _file(each.also)] += each.runs
    for (kept, also), count in pairs.items():
        yield Text(f"{_plural(count, 'run')} of {also} are in {kept} already: kept once", style="yellow")
    if stored is not None:
        yield Text.assemble(f"{stored.written:,} stored in {into}\nnext: ",
                            (f"cvfp report {shlex.quote(str(into))} -o report.html --embed", "bold"))
    elif made.records.height:
        yield Text("to keep them: add --into STORE", style="dim")


def messages(made: Ingested) -> Iterator[Block]:
    """What was refused or not understood, files that failed first."""
    for problem in (*made.faults, *(file.problem for file in made.files if file.problem)):
        yield Text(f"cvfp: {problem}", style="red")
    for message in made.messages[:_MESSAGES]:
        yield Text(f"reported: {message}", style="yellow")
    if len(made.messages) > _MESSAGES:
        reported = sum(file.reported for file in made.files)
        yield Text(f"and others: {reported:,} lines or rows were reported", style="dim")


def explanation(made: Ingested, registry: Registry, format_: str | None, mapping: Mapping[str, str]) -> Iterator[Block]:
    """What each file and each of its columns was taken for, and why."""
    for file in made.files:
        if file.problem or file.ingester is None:
            yield Text(str(file.problem))
            continue
        ingester = registry.get(Ingester, file.ingester)
        why = "as --format asks" if format_ else "a general form; no ingester for one program knows it" if \
            ingester.general else "its content is of this form"
        yield Text(f"{file.name}: {ingester.title} ({file.ingester}; {why}): {_plural(file.runs, 'run')}")
        taken = {column.partition(" * ")[0]: f"{name} = {column}" for name, column in file.taken.items()}
        for column in (column for column in file.columns if column != "experiment"):
            own = "a quantity of this name" if column in QUANTITIES else "kept under its own name"
            yield Text(f"  {column}: {f'by its name, {taken[column]}' if column in taken else own}")
        for target, source in mapping.items():
            yield Text(f"  {target}: mapped, {source}")
        for line in (*file.remarks, *file.messages):
            yield Text(f"  {line}")
    for skipped in (*made.skipped, *made.faults):
        yield Text(f"skipped: {skipped}")


def _exponents(records: pl.DataFrame) -> dict[str, Fit]:
    from cvfp_core.fitting import fit_series

    return {fit.series: fit for fit in fit_series(records)}


def _counts(file: FileReport) -> list[str]:
    if file.problem:
        return [file.ingester or "-", "failed", "", "", "", ""]
    counts = (file.runs, file.lines.record, file.lines.curve, file.lines.noise, file.reported)
    return [file.ingester or "-", *(f"{count:,}" for count in counts)]


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


def _fitted(fit: Fit | None) -> str:
    return "-" if fit is None else _alpha(fit.value("alpha")) + fit.marks.replace("†", "")


def _file(place: str) -> str:
    """The file of a place such as `logs/a.txt:12`, or of a record's source."""
    return re.sub(r"(?::\d+| \(.*)$", "", place)


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
