"""Paths a user gives -> records: a store, or anything an ingester knows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from cvfp_core import store
from cvfp_core.errors import CvfpError
from cvfp_core.registry import Registry, installed


def read_records(paths: Sequence[Path], registry: Registry | None = None) -> pl.DataFrame:
    """The records of all paths, in the record schema; each run once, whichever way it was reached.

    Raises CvfpError if a path has no runs, or something in it that looks like data cannot be read: an analysis of what
    is left over would be of other runs than asked for. `cvfp ingest PATH --into STORE` goes on without it.
    """
    frames = [store.read(path) for path in paths if store.is_store(path)]
    logs = [path for path in paths if not store.is_store(path)]
    if logs:
        from cvfp_core.ingesting.run import ingest

        made = ingest(logs, registry or installed())
        for file in made.failed:
            reason = file.problem or file.messages[-1]
            raise CvfpError(f"{reason}; to go on without it: cvfp ingest {' '.join(map(str, logs))} --into STORE")
        if made.records.is_empty():
            what = made.skipped[0] if made.skipped else "nothing in it is a run"
            raise CvfpError(f"no runs in '{logs[0]}': {what}")
        frames.append(made.records)
    records = pl.concat(frames, how="diagonal_relaxed")
    if "content" in records.columns:
        again = pl.col("content").is_not_null() & ~pl.col("content").is_first_distinct()
        records = records.filter(~again)
    return records.unique("run_id", keep="first", maintain_order=True)
