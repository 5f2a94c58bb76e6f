"""Parquet: one row a run, read in slices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from cvfp_core.errors import IngestError
from cvfp_core.registry.kinds import IngestOptions
from cvfp_core.schema.found import Found, Tally
from cvfp_tables.delimited import run
from cvfp_tables.objects import flat

_SLICE = 20_000
_MOST = 2_000_000
"""Runs in a file, at most: 20 million equal ones fit in 200 kB and not in memory."""


def read(path: Path, options: IngestOptions) -> Iterator[Found]:
    """One run a row."""
    at = 0
    while True:
        try:
            height = pl.scan_parquet(path).select(pl.len()).collect().item()
            if height > _MOST:
                raise IngestError(1, f"at most {_MOST:,} runs in a file", f"{height:,}")
            rows = pl.scan_parquet(path).slice(at, _SLICE).collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise IngestError(at + 1, "a Parquet file", " ".join(str(error).split())[:200]) from None
        for index, row in enumerate(rows.to_dicts()):
            yield run(at + index + 1, flat(row), path.stem, options)
        at += rows.height
        if rows.height < _SLICE:
            yield Tally(record=at)
            return
