"""Ingested records -> a store: only what is not there yet, each record whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from cvfp_core.ingesting.content import Duplicate, contradicts, stated, under
from cvfp_core.ingesting.run import Ingested
from cvfp_core.schema import store
from cvfp_core.schema.records import CURVE_SCHEMA

_TOLD_BY = ("run_id", "content", "settings", "settings_source", "source")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """How many records were written, and those whose content the store had before."""

    written: int
    known: tuple[Duplicate, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _New:
    """What a store does not hold yet of records, and what it holds."""

    records: pl.DataFrame
    known: tuple[Duplicate, ...] = ()
    renamed: Mapping[str, str] | None = None
    """Run ids that the store has given to a run of other settings: old -> new."""


def into(folder: Path, made: Ingested) -> Stored:
    """Writes the records and their curves; content that the store holds already, under any label, is left alone."""
    new = _new(made.records, store.read(folder)) if store.is_store(folder) else _New(records=made.records)
    left = set(new.records["run_id"].to_list())
    for part in made.curve_parts():
        named = part.with_columns(pl.col("run_id").replace(new.renamed or {}))
        mine = named.filter(pl.col("run_id").is_in(list(left)))
        runs = set(mine["run_id"].unique().to_list())
        left -= runs
        if runs:
            store.write_many(folder, new.records.filter(pl.col("run_id").is_in(list(runs))), mine)
    store.write_many(folder, new.records.filter(pl.col("run_id").is_in(list(left))), pl.DataFrame(schema=CURVE_SCHEMA))
    return Stored(written=new.records.height, known=new.known)


def _new(records: pl.DataFrame, before: pl.DataFrame) -> _New:
    """Those of the records that are not there before; the figures of another under other settings are another run."""
    rows = _told_by(before)
    ids = {row["run_id"]: row for row in rows}
    there = {content: row for row in rows for content in _contents(row)}
    known: dict[str, Duplicate] = {}
    renamed: dict[str, str] = {}
    contents: dict[str, str] = {}
    for row in _told_by(records):
        run_id = row["run_id"]
        alike = [there[content] for content in _contents(row) if content in there]
        same = next((each for each in alike if not contradicts(each, row)), None if alike else ids.get(run_id))
        if same is not None:
            known[run_id] = Duplicate(run_id=same["run_id"], also=row["source"] or "?", kept=same["source"] or "?")
        elif alike:
            contents[run_id] = under(row["content"], stated(row))
            renamed[run_id] = f"{run_id}-{contents[run_id]}"
    left = records.filter(~pl.col("run_id").is_in(list(known)))
    return _New(known=tuple(known.values()), renamed=renamed, records=left.with_columns(
        content=pl.coalesce(pl.col("run_id").replace_strict(contents, default=None, return_dtype=pl.String), "content"),
        run_id=pl.col("run_id").replace(renamed)) if renamed else left)


def _told_by(records: pl.DataFrame) -> list[dict[str, Any]]:
    return records.select(name for name in _TOLD_BY if name in records.columns).to_dicts()


def _contents(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The content of a record, also as that of a run told apart from another by its settings; none of one made here."""
    content = row.get("content")
    return () if content is None else (content, under(content, stated(row)))
