"""Figures of a run that stand in another file than the run: they join its record by its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from cvfp_core.schema.records import SCHEMA

_STEPS = ("trainer_steps", "step")
"""Columns that say which step a record is of, the surest first."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Joined:
    """Records with the figures that joined them, and (file, remark) of the others, which are records of their own."""

    records: pl.DataFrame
    alone: tuple[tuple[str, str], ...]


def by_name(records: pl.DataFrame) -> Joined:
    """Each row that `_joins` in the one run of its `run_id`, unless it is of another step.

    What a run has itself counts.
    """
    if not records["_joins"].any():
        return Joined(records=records, alone=())
    names = [name for name in records.columns if name not in SCHEMA and name != "content" and name not in _STEPS
             and not name.startswith("_")]
    steps = [name for name in _STEPS if name in records.columns]
    runs: dict[str, list[dict[str, Any]]] = {}
    for row in records.filter(~pl.col("_joins")).select("run_id", "_run", *steps).to_dicts():
        runs.setdefault(row["run_id"], []).append(row)
    new: dict[int, dict[str, Any]] = {}
    alone, joined = [], []
    for row in records.filter("_joins").to_dicts():
        problem = _problem(row, runs.get(row["run_id"], []))
        if problem:
            alone.append((str(row["_name"]), problem))
            continue
        joined.append(row["_run"])
        said = new.setdefault(runs[row["run_id"]][0]["_run"], {"sources": []})
        said["sources"].append(row["source"])
        for name in (name for name in names if row[name] is not None):
            said.setdefault(name, row[name])
    if not new:
        return Joined(records=records, alone=tuple(alone))
    schema = {"_run": pl.UInt64(), "sources": pl.String(), **records.select(names).schema}
    figures = pl.DataFrame([{"_run": run, **said, "sources": "; also ".join(said["sources"])}
                            for run, said in new.items()], schema=schema)
    records = records.filter(~pl.col("_run").is_in(joined)).join(
        figures, on="_run", how="left", suffix=" joined", maintain_order="left")
    return Joined(alone=tuple(alone), records=records.with_columns(
        pl.concat_str("source", "sources", separator="; also ", ignore_nulls=True).alias("source"),
        *(pl.coalesce(name, f"{name} joined").alias(name) for name in names)).drop(
            "sources", *(f"{name} joined" for name in names)))


def _problem(row: dict[str, Any], runs: list[dict[str, Any]]) -> str | None:
    """Why a row joins no run."""
    if len(runs) != 1:
        return (f"its run '{row['run_id']}' is not read beside it" if not runs else
                f"{len(runs)} runs are called '{row['run_id']}'") + ": kept as a run of its own"
    own, other = (next((each[name] for name in _STEPS if isinstance(each.get(name), int | float)), None)
                  for each in (row, runs[0]))
    if own is not None and other is not None and own != other:
        return (f"of step {own:g} of '{row['run_id']}', whose record is of step {other:g}: kept as a run of its own; "
                f"--take step={own:g} takes that record")
    return None
