"""Which runs belong together: usable runs, the same run, equal data, series and controls. One home for the rules."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from cvfp_core.schema import quantities

SERIES = ("experiment", "variant")
"""Columns that say which series a record is of, beside the control it is of."""


def control(records: pl.DataFrame) -> pl.Series:
    """Which control each record is of, by its Phase 1; null for what was trained, or does not say."""
    if "phase1_mode" not in records.columns:
        return pl.Series("control", [None] * records.height, dtype=pl.String)
    modes = records["phase1_mode"].cast(pl.String)
    return modes.to_frame().select(
        control=pl.when(pl.col("phase1_mode") != "trained").then(pl.col("phase1_mode"))
    )["control"]


def without_controls(records: pl.DataFrame) -> pl.DataFrame:
    """The records without those of controls; all of them if there is nothing else."""
    studied = records.filter(control(records).is_null())
    return studied if studied.height else records


def label(parts: Sequence[object], control: str | None) -> str:
    """The name of a series: its parts, and which control it is of if it is of one, joined by colons.

    Parts at the end that are null are left out: a series without a variant is called by its experiment alone.
    """
    named = list(parts)
    while len(named) > 1 and named[-1] is None:
        named.pop()
    return ":".join(["?" if part is None else str(part) for part in named] + ([control] if control else []))


def labels(records: pl.DataFrame, by: Sequence[str] = SERIES) -> pl.Series:
    """The label of the series that each record is of."""
    rows = zip(records.select(by).iter_rows(), control(records), strict=True)
    return pl.Series("series", [label(parts, mode) for parts, mode in rows], dtype=pl.String)


def series(records: pl.DataFrame) -> list[pl.DataFrame]:
    """The records of each (experiment, variant) and control, by training tokens, then seed; what alpha is fitted to."""
    told = records.with_columns(control(records).alias("_control"))
    return [
        group.drop("_control").sort("train_tokens", "seed", nulls_last=True)
        for _, group in told.group_by(*SERIES, "_control", maintain_order=True)
    ]


def distinct(runs: pl.DataFrame, by: Sequence[str] = SERIES) -> pl.DataFrame:
    """The runs without those of which everything but their name, label, cost and source is equal to another's.

    The same measurements under another label are no further evidence, so the experiment is not looked at.
    """
    names = ("run_id", "experiment", "content")
    said = [name for name in runs.columns if not name.startswith("_") and name not in names and (
            name in by or quantities.of(name).kind not in ("provenance", "cost"))]
    return runs.unique(said, keep="first", maintain_order=True) if said else runs


def last_checkpoints(runs: pl.DataFrame, by: Sequence[str] = SERIES) -> pl.DataFrame:
    """The runs with the largest size alone of those that share a run id within a series: a step of a run is no run."""
    if "run_id" not in runs.columns or not runs["run_id"].is_duplicated().any():
        return runs
    sized = next((name for name in ("train_tokens", "num_samples", "flops") if name in runs.columns), None)
    ordered = runs if sized is None else runs.sort(sized, maintain_order=True)
    mode = ["phase1_mode"] if "phase1_mode" in runs.columns else []
    return ordered.unique([*dict.fromkeys([*by, *mode, "run_id"])], keep="last", maintain_order=True)
