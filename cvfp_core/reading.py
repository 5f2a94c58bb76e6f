"""Paths a user gives -> records: a store, or anything an ingester knows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from cvfp_core import store
from cvfp_core.registry import Registry


def read_records(paths: Sequence[Path], registry: Registry | None = None) -> pl.DataFrame:  # noqa: ARG001
    """The records of all paths, in the record schema."""
    return pl.concat([store.read(path) for path in paths], how="diagonal_relaxed")
