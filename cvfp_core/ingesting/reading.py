"""Paths a user gives -> records: a store, or anything an ingester knows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from cvfp_core.errors import CvfpError, UsageError
from cvfp_core.registry import Registry, installed
from cvfp_core.schema import expressions, store
from cvfp_core.schema.records import CURVE_SCHEMA, conform


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """A file the records come from, by content."""

    name: str
    ingester: str | None
    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSource:
    """A store, file or folder of logs, with the runs found in it; `problem`: why nothing of it was taken."""

    name: str
    ingester: str | None
    runs: int = 0
    problem: str | None = None


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


def read_records(paths: Sequence[Path], registry: Registry | None = None) -> pl.DataFrame:
    """The records of all paths, in the record schema; each run once, whichever way it was reached.

    Raises CvfpError if a path has no runs, or something in it that looks like data cannot be read: an analysis of what
    is left over would be of other runs than asked for. `cvfp ingest PATH --into STORE` goes on without it.
    """
    return read(paths, registry).records


def read(paths: Sequence[Path], registry: Registry | None = None, *, mapping: Mapping[str, str] | None = None
         ) -> Inputs:
    """The records of all paths as `read_records` gives them, their curves, and the files behind them.

    mapping: record column -> expression over the columns of the input, as `--map` takes it.
    """
    registry = registry or installed()
    for path in paths:
        if not path.exists():
            raise CvfpError(f"'{path}' does not exist; give a folder that `cvfp run` made, or logs")
    stores = [path for path in paths if store.is_store(path)]
    logs = [path for path in paths if not store.is_store(path)]
    frames = [mapped(store.read(path), mapping or {}) for path in stores]
    found = [InputSource(name=_name(path), ingester="store", runs=frame.height)
             for path, frame in zip(stores, frames, strict=True)]
    curves: list[Callable[[], pl.DataFrame]] = [lambda path=path: store.read_curves(path) for path in stores]  # type: ignore[misc]
    duplicates = 0
    if logs:
        from cvfp_core.ingesting.run import ingest

        made = ingest(logs, registry, mapping=mapping)
        for reason in (*made.faults, *(file.problem or file.messages[-1] for file in made.failed)):
            raise CvfpError(f"{reason}; to go on without it: cvfp ingest {' '.join(map(str, logs))} --into STORE")
        made.require_runs(logs)
        frames.append(made.records)
        curves.append(lambda: made.curves)
        found += [InputSource(name=file.name, ingester=file.ingester, runs=file.runs) for file in made.files]
        found += [InputSource(name=name, ingester=None, problem=problem)
                  for name, _, problem in (text.partition(": ") for text in made.skipped)]
        duplicates = sum(file.runs for file in made.files) - made.records.height
    together = pl.concat(frames, how="diagonal_relaxed")
    records = together
    if "content" in records.columns:
        again = pl.col("content").is_not_null() & ~pl.col("content").is_first_distinct()
        records = records.filter(~again)
    records = records.unique("run_id", keep="first", maintain_order=True)
    return Inputs(
        records=records, sources=tuple(found), duplicates=duplicates + together.height - records.height,
        files=lambda: [_hashed(*each) for each in _files(stores, logs, registry)],
        curves=lambda: _once(pl.concat([pl.DataFrame(schema=CURVE_SCHEMA), *(each() for each in curves)]), records),
    )


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
            yield file, f"{_name(path)}/{file.relative_to(path).as_posix()}", "store"
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


def _name(path: Path) -> str:
    return path.name or path.absolute().name or "."
