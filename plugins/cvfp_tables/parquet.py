"""Parquet: one row a run, read in slices."""

from __future__ import annotations

import os
import sys
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
    height = _collected(pl.scan_parquet(path).select(pl.len()), at).item()
    if height > _MOST:
        raise IngestError(1, f"at most {_MOST:,} runs in a file", f"{height:,}")
    while True:
        rows = _collected(pl.scan_parquet(path).slice(at, _SLICE), at)
        for index, row in enumerate(rows.to_dicts()):
            yield run(at + index + 1, flat(row, options), path.stem, options)
        at += rows.height
        if rows.height < _SLICE:
            yield Tally(record=at)
            return


def _collected(query: pl.LazyFrame, at: int) -> pl.DataFrame:
    """What the query gives, from row `at` on. Raises IngestError for a damaged file, without polars' own words on it.

    Where polars panics it writes to the process's standard error itself.
    """
    sys.stderr.flush()
    errors, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        return query.collect()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        why = "damage" if isinstance(error, pl.exceptions.PanicException) else " ".join(str(error).split())[:200]
        raise IngestError(at + 1, "a Parquet file", why) from None
    finally:
        os.dup2(errors, 2)
        os.close(errors)
        os.close(nowhere)
