"""Ingested records -> a store: only what is not there yet, each record whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from cvfp_core.ingesting.content import Duplicate
from cvfp_core.ingesting.run import Ingested
from cvfp_core.schema import store
from cvfp_core.schema.records import CURVE_SCHEMA


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """How many records were written, and those whose content the store had before."""

    written: int
    known: tuple[Duplicate, ...]


def into(folder: Path, made: Ingested) -> Stored:
    """Writes the records and their curves; content that the store holds already, under any label, is left alone."""
    records = made.records
    known: tuple[Duplicate, ...] = ()
    if store.is_store(folder):
        before = store.read(folder)
        records, known = _new(records, before)
    left = set(records["run_id"].to_list())
    for part in made.curve_parts():
        mine = part.filter(pl.col("run_id").is_in(list(left)))
        runs = set(mine["run_id"].unique().to_list())
        left -= runs
        if runs:
            store.write_many(folder, records.filter(pl.col("run_id").is_in(list(runs))), mine)
    store.write_many(folder, records.filter(pl.col("run_id").is_in(list(left))), pl.DataFrame(schema=CURVE_SCHEMA))
    return Stored(written=records.height, known=known)


def _new(records: pl.DataFrame, before: pl.DataFrame) -> tuple[pl.DataFrame, tuple[Duplicate, ...]]:
    contents = dict(before.select("content", "run_id").drop_nulls().iter_rows()) if "content" in before.columns else {}
    sources = dict(before.select("run_id", "source").iter_rows())
    there = records.filter(pl.col("content").is_in(list(contents)) | pl.col("run_id").is_in(list(sources)))
    known = tuple(
        Duplicate(run_id=contents.get(content, run_id), also=source or "?",
                  kept=sources[contents.get(content, run_id)] or "?")
        for content, run_id, source in there.select("content", "run_id", "source").iter_rows()
    )
    return records.filter(~pl.col("run_id").is_in(there["run_id"].to_list())), known
