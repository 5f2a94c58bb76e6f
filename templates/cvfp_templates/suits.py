"""Which template suits which runs, where none is named."""

from __future__ import annotations

import polars as pl

from cvfp_core.reporting.sweep import axes
from cvfp_core.schema import series

CONFIGURATIONS = 3
"""Configurations between which Phase 1 can be held against Phase 2."""


def phases(records: pl.DataFrame) -> bool:
    """Runs of two phases in several configurations: what Phase 1 says of Phase 2 can be asked."""
    measured = series.without_controls(records).drop_nulls(["val_er", "val_ppl"])
    return len(set(series.labels(measured))) >= CONFIGURATIONS


def sweep(records: pl.DataFrame) -> bool:
    """Runs over sizes without a Phase 1."""
    return bool(records["val_er"].is_null().all()) and None not in axes(records)


def any_runs(records: pl.DataFrame) -> bool:  # noqa: ARG001
    """Whatever there is can be listed."""
    return True
