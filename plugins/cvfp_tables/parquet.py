"""Parquet: one row a run, read in slices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from cvfp_core.errors import IngestError
from cvfp_core.registry.kinds import IngestOptions
from cvfp_core.schema.found import Found, Tally
from cvfp_tables.delimited import run

_SLICE = 20_000


def read(path: Path, options: IngestOptions) -> Iterator[Found]:
    """One run a row."""
    at = 0
    while True:
        try:
            rows = pl.scan_parquet(path).slice(at, _SLICE).collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise IngestError(at + 1, "a Parquet file", " ".join(str(error).split())[:200]) from None
        for index, row in enumerate(rows.to_dicts()):
            yield run(at + index + 1, row, path, options)
        at += rows.height
        if rows.height < _SLICE:
            yield Tally(record=at)
            return
