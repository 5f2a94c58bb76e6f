"""Paths a user gives -> records: a store, or anything an ingester knows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import polars as pl
import polars.selectors as columns

from cvfp_core.errors import CvfpError, UsageError, suggestion
from cvfp_core.registry import Registry, installed
from cvfp_core.registry.kinds import Quantity
from cvfp_core.schema import damaged, expressions, store
from cvfp_core.schema.found import Take
from cvfp_core.schema.records import CURVE_SCHEMA, REQUIRED, conform, derive, frame

if TYPE_CHECKING:
    import pandas as pd

One: TypeAlias = "str | Path | pl.DataFrame | pd.DataFrame"
"""What holds runs: a path, or a frame."""


_TOLD = 5
"""Reasons for which rows of a file are no records that are told at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """A file the records come from, by content."""

    name: str
    """From the path given on."""
    ingester: str | None
    """What read it."""
    sha256: str
    """Of its content."""
    size: int
    """In bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSource:
    """A store, file or folder of logs, with the runs found in it."""

    name: str
    """From the path given on."""
    ingester: str | None
    """What read it; None: nothing did."""
    runs: int = 0
    """Found in it."""
    problem: str | None = None
    """Why nothing of it was taken."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inputs:
    """Records with an account of where they come from."""

    records: pl.DataFrame
    sources: tuple[InputSource, ...]
    duplicates: int
    """Runs that were read more than once."""
    files: Callable[[], list[InputFile]]
    """The files, hashed when asked for."""
    curves: Callable[[], pl.DataFrame]
    """All curves in `records.CURVE_SCHEMA`, read when asked for."""
    left_out: int = 0
    """Runs for which `where` is not true."""
    notes: tuple[str, ...] = ()
    """What was taken for what: `runs.csv: N is read as params`."""
    stores: tuple[Path, ...] = ()
    """Folders that `cvfp run` or `cvfp ingest --into` made."""

    def running(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Records and curves, so far, of the runs of the stores that have begun and have no record."""
        found = [store.read_running(path) for path in self.stores]
        return (pl.concat([frame([]), *(records for records, _ in found)], how="diagonal_relaxed"),
                pl.concat([pl.DataFrame(schema=CURVE_SCHEMA), *(curves for _, curves in found)]))


def read_records(given: One | Sequence[One], registry: Registry | None = None, *,
                 mapping: Mapping[str, str] | None = None, where: str | None = None) -> pl.DataFrame:
    """The records of all that is given, in the record schema; each run once, whichever way it was reached.

    Raises CvfpError if there are no runs in one of them, or something in it that looks like data cannot be read: an
    analysis of what is left over would be of other runs than asked for. `cvfp ingest PATH --into STORE` goes on
    without it.
    """
    return read(given, registry, mapping=mapping, where=where).records


def read(given: One | Sequence[One], registry: Registry | None = None, *,
         mapping: Mapping[str, str] | None = None, where: str | None = None, take: Take | None = None) -> Inputs:
    """The records as `read_records` gives them, their curves, and the files behind them.

    given: a path, a frame of polars or pandas, or several of them. mapping: record column -> expression over the
    columns of the input, as `--map` takes it. where: an expression that is true for the records to keep. take:
    which point of its curves the record of a foreign run is of, by default the last.
    """
    registry = registry or installed()
    every = [given] if isinstance(given, str | Path) or _is_frame(given) else list(given)
    paths = [Path(each) for each in every if isinstance(each, str | Path)]
    tables = [_as_polars(each) for each in every if not isinstance(each, str | Path)]
    for path in paths:
        if not path.exists():
            there = path.parent.iterdir() if path.parent.is_dir() else ()
            near = suggestion(path.name, (each.name for each in there))
            raise CvfpError(f"'{path}' does not exist{near}; give a folder that `cvfp run` made, logs, or tables")
    stores = [path for path in paths if store.is_store(path)]
    logs = [path for path in paths if not store.is_store(path)]
    loose = [table for table in tables if not set(REQUIRED) <= set(table.columns)]
    frames = [_conformed(table) for table in tables if set(REQUIRED) <= set(table.columns)]
    reads = [_survey(path) for path in stores]
    frames = [mapped(derive(frame, registry.items(Quantity)), mapping or {})
              for frame in (*(each.records for each in reads), *frames)]
    found = [InputSource(name=_name(path), ingester="store", runs=frame.height)
             for path, frame in zip(stores, frames, strict=False)]
    found += [InputSource(name=_in_store(damage.file, path), ingester=None, problem=damage.reason)
              for path, each in zip(stores, reads, strict=True) for damage in each.damages]
    without = {damage.file for each in reads for damage in each.damages}
    curves: list[Callable[[], pl.DataFrame]] = [lambda path=path: store.read_curves(path) for path in stores]  # type: ignore[misc]
    duplicates = 0
    notes: tuple[str, ...] = ()
    if take is not None and not logs and not loose:
        take.require_last("records")
    if logs or loose:
        from cvfp_core.ingesting.run import ingest

        made = ingest(logs, registry, mapping=mapping, tables=loose, take=take)
        for reason in (*made.faults, *(file.problem or "; ".join(file.refusals[:_TOLD]) for file in made.failed)):
            if not logs or made.records.is_empty():
                raise CvfpError(reason)
            raise CvfpError(f"{reason}; to go on without: cvfp ingest {' '.join(map(str, logs))} --into STORE, then "
                            "name STORE here")
        made.require_runs(logs)
        frames.append(made.records)
        curves.append(lambda: made.curves)
        found += [InputSource(name=file.name, ingester=file.ingester, runs=file.runs) for file in made.files]
        found += [InputSource(name=name, ingester=None, problem=problem)
                  for name, _, problem in (text.partition(": ") for text in made.skipped)]
        duplicates = sum(file.runs for file in made.files) - made.records.height
        notes = made.notes
    if not frames:
        raise UsageError("no runs given; name a folder of runs, a log or a table, or give a frame")
    together = pl.concat(frames, how="diagonal_relaxed")
    records = together
    if "content" in records.columns:
        again = pl.col("content").is_not_null() & ~pl.col("content").is_first_distinct()
        records = records.filter(~again)
    records = records.unique("run_id", keep="first", maintain_order=True)
    duplicates += together.height - records.height
    if duplicates:
        notes += (f"{duplicates:,} {'run is' if duplicates == 1 else 'runs are'} repeated and "
                  f"{'counts' if duplicates == 1 else 'count'} once",)
    chosen = records if where is None else kept(records, where)
    return Inputs(
        records=chosen, sources=tuple(found), duplicates=duplicates,
        left_out=records.height - chosen.height, notes=notes, stores=tuple(stores),
        files=lambda: [_hashed(*each) for each in _files(stores, logs, registry) if each[0] not in without],
        curves=lambda: _once(pl.concat([pl.DataFrame(schema=CURVE_SCHEMA), *(each() for each in curves)]), chosen),
    )


def _survey(path: Path) -> store.Read:
    """The records of a store; files that are damaged are said. Raises CvfpError where nothing else is there."""
    made = store.survey(path)
    if made.damages and made.records.is_empty():
        raise CvfpError(f"{made.damages[0]}; {damaged.way_on(path, mendable=made.damages[0].mendable)}")
    damaged.warn(made.damages, path)
    return made


def kept(records: pl.DataFrame, where: str) -> pl.DataFrame:
    """The records for which the expression is true. Raises UsageError if it is for none."""
    chosen = expressions.filter(records, where)
    if chosen.is_empty():
        raise UsageError(f"--where {where}: is true for none of {records.height} runs")
    return chosen


def _is_frame(given: object) -> bool:
    return hasattr(given, "columns") or hasattr(given, "__arrow_c_stream__")


def _as_polars(frame: Any) -> pl.DataFrame:
    """A frame of polars, pandas or anything that hands over Arrow; NaN of pandas is a value that is missing."""
    if isinstance(frame, pl.DataFrame):
        return frame
    if hasattr(frame, "to_dict"):
        names = list(frame.columns)
        if twice := [repr(name) for name in dict.fromkeys(names) if names.count(name) > 1]:
            raise UsageError(f"the frame has several columns {', '.join(twice)}; give each a name of its own")
        index = getattr(getattr(frame, "index", None), "names", ())
        if named := [name for name in index if name is not None and name not in names]:
            frame = frame.reset_index(named)
        return pl.DataFrame({str(name): values for name, values in frame.to_dict("list").items()}, strict=False
                            ).with_columns(columns.float().fill_nan(None))
    if hasattr(frame, "__arrow_c_stream__"):
        return pl.DataFrame(frame)
    raise UsageError(f"cannot read runs from a {type(frame).__name__}; give a path, or a frame of polars or pandas")


def _conformed(frame: pl.DataFrame) -> pl.DataFrame:
    """A frame of records, through the gate."""
    made = conform(frame)
    for bad in made.rejected[:1]:
        raise CvfpError(f"row {bad.row + 1} of the frame: '{bad.column}' {bad.reason}, found {bad.value!r:.60}")
    return made.records


def mapped(records: pl.DataFrame, mapping: Mapping[str, str]) -> pl.DataFrame:
    """The records with columns made from others. Raises UsageError for what is not understood or out of range."""
    if not mapping:
        return records
    made = {}
    for target, source in mapping.items():
        expression = expressions.parse(source, records.columns, asked=f"--map {target}={source}")
        expressions.require_numbers(expression, records.schema, f"--map {target}={source}")
        made[target] = expression.polars
    conformed = conform(records.with_columns(**made))
    for bad in conformed.rejected[:1]:
        raise UsageError(f"--map {bad.column}={mapping.get(bad.column, '')}: {bad.reason}, found {bad.value!r:.60}")
    return conformed.records


def _once(curves: pl.DataFrame, records: pl.DataFrame) -> pl.DataFrame:
    """The curves of the records, each point once."""
    mine = curves.filter(pl.col("run_id").is_in(records["run_id"].implode()))
    return mine.unique(["run_id", "phase", "step", "metric"], keep="first", maintain_order=True)


def _files(stores: Sequence[Path], logs: Sequence[Path], registry: Registry) -> Iterator[tuple[Path, str, str]]:
    """(path, name, ingester) of every file the records were read from, in order."""
    for path in stores:
        for file in sorted(path.glob("records/*.json")) or sorted(path.glob("*/records/*.json")):
            yield file, _in_store(file, path), "store"
    from cvfp_core.ingesting import sources

    for source in sources.find(logs, registry):
        if source.ingester is None:
            continue
        if source.path.is_file():
            yield source.path, source.name, source.ingester.name
            continue
        for file in sorted(source.path.rglob("*")):
            if file.is_file() and not file.is_symlink():
                yield file, f"{source.name}/{file.relative_to(source.path).as_posix()}", source.ingester.name


def _hashed(path: Path, name: str, ingester: str) -> InputFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return InputFile(name=name, ingester=ingester, sha256=digest, size=path.stat().st_size)


def _in_store(file: Path, path: Path) -> str:
    return f"{_name(path)}/{file.relative_to(path).as_posix()}"


def _name(path: Path) -> str:
    return path.name or path.absolute().name or "."
