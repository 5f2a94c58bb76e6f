"""Which runs belong together: usable runs, the same run, equal data, series and controls. One home for the rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import polars as pl

from cvfp_core.schema import quantities
from cvfp_core.schema.settings import DEFAULT_OBJECTIVE

SERIES = ("experiment", "variant")
"""Columns that say which series a record is of, beside the control it is of."""
MODEL = ("family", "num_layers", "context_dim", "num_input_tokens", "embed_dim")
"""Columns that a variant is made of."""
DATA = ("corpus", "corpus_hash", "tokenizer", "vocab_size", "val_tokens")
"""Columns that make perplexities comparable: equal data."""
FIGURES = ("cvfp_loss", "diversity_loss", "objective_loss", "train_er", "val_er", "train_ppl", "val_ppl", "val_acc")
"""What runs of the protocol measure; logs and files keep it to different digits."""
FEWEST = 8
"""Runs of a series that are taken before series are left out."""
ENOUGH = 3
"""Figures that agree to the last digit, from which on no label tells two runs apart."""


def control(records: pl.DataFrame) -> pl.Series:
    """Which control each record is of, by its Phase 1; null for what was trained, or does not say."""
    if "phase1_mode" not in records.columns:
        return pl.Series("control", [None] * records.height, dtype=pl.String)
    modes = records["phase1_mode"].cast(pl.String)
    return modes.to_frame().select(
        control=pl.when(pl.col("phase1_mode") != "trained").then(pl.col("phase1_mode"))
    )["control"]


def control_of(record: Mapping[str, Any]) -> str | None:
    """Which control one record is of, by the rule of `control`."""
    mode = record.get("phase1_mode")
    return None if mode in (None, "trained") else str(mode)


def objective_of(records: Iterable[Mapping[str, Any]]) -> str | None:
    """What Phase 1 of these records minimised; None: only the published objective, or it is not said."""
    names = dict.fromkeys(name for each in records if (name := each.get("objective")))
    return None if set(names) <= {DEFAULT_OBJECTIVE} else " / ".join(names)


def without_controls(records: pl.DataFrame) -> pl.DataFrame:
    """The records without those of controls; all of them if there is nothing else."""
    studied = records.filter(control(records).is_null())
    return studied if studied.height else records


def above_unigram(records: pl.DataFrame) -> pl.Series:
    """Which records have no lower Val PPL than the unigram model of their tokens; false where one is not known."""
    if not {"val_ppl", "unigram_ppl"} <= set(records.columns):
        return pl.Series("above_unigram", [False] * records.height, dtype=pl.Boolean)
    return (records["val_ppl"].cast(pl.Float64) >= records["unigram_ppl"].cast(pl.Float64)).fill_null(False).alias(
        "above_unigram")


def label(parts: Sequence[object], control: str | None) -> str:
    """The name of a series: its parts, and which control it is of if it is of one, joined by colons.

    Parts at the end that are null are left out: a series without a variant is called by its experiment alone.
    """
    named = list(parts)
    while len(named) > 1 and named[-1] is None:
        named.pop()
    return ":".join(["?" if part is None else f"{part:.0f}" if isinstance(part, float) and part.is_integer()
                     else str(part) for part in named] + ([control] if control else []))


def labels(records: pl.DataFrame, by: Sequence[str] = SERIES) -> pl.Series:
    """The label of the series that each record is of."""
    rows = zip(records.select(by).iter_rows(), control(records), strict=True)
    return pl.Series("series", [label(parts, mode) for parts, mode in rows], dtype=pl.String)


def series(records: pl.DataFrame) -> list[pl.DataFrame]:
    """The records of each (experiment, variant) and control, by training tokens, then seed; what alpha is fitted to."""
    named = records.with_columns(control(records).alias("_control"), _row=pl.int_range(pl.len()))
    first = pl.col("_row").min().over(*SERIES, "_control")
    ordered = named.with_columns(first.alias("_first")).sort("_first", "train_tokens", "seed", nulls_last=True,
                                                             maintain_order=True)
    sizes = ordered["_first"].rle().struct.field("len").to_list()
    ordered = ordered.drop("_control", "_row", "_first")
    return [ordered.slice(end - size, size) for size, end in zip(sizes, accumulate(sizes), strict=True)]


def distinct(runs: pl.DataFrame, by: Sequence[str] = SERIES, within: Sequence[str] = ()) -> pl.DataFrame:
    """The runs without those of which everything but their name, label, cost and source is equal to another's.

    The same measurements under another label are no further evidence, so the experiment is not looked at.
    within: columns that name groups, each of which is looked at by itself.
    """
    names = ("run_id", "experiment", "content")
    said = [name for name in runs.columns if not name.startswith("_") and name not in names and (
            name in by or quantities.of(name).kind not in ("provenance", "cost"))]
    return runs.unique([*dict.fromkeys([*within, *said])], keep="first", maintain_order=True) if said else runs


def last_checkpoints(runs: pl.DataFrame, by: Sequence[str] = SERIES, within: Sequence[str] = ()) -> pl.DataFrame:
    """The runs with the largest size alone of those that share a run id within a series: a step of a run is no run.

    within: columns that name groups, each of which is looked at by itself.
    """
    if "run_id" not in runs.columns or not runs["run_id"].is_duplicated().any():
        return runs
    sized = next((name for name in ("train_tokens", "num_samples", "flops") if name in runs.columns), None)
    ordered = runs if sized is None else runs.sort(sized, maintain_order=True)
    mode = ["phase1_mode"] if "phase1_mode" in runs.columns else []
    return ordered.unique([*dict.fromkeys([*within, *by, *mode, "run_id"])], keep="last", maintain_order=True)


def few_figures() -> pl.Expr:
    """Whether a record has too few figures for them to say that two records are one run."""
    return pl.sum_horizontal(pl.col(name).is_not_null().cast(pl.Int8) for name in FIGURES) < ENOUGH


def usable(records: pl.DataFrame) -> pl.DataFrame:
    """The finished runs with a perplexity and a size, each once, with columns `series`, `control` and `size`.

    control: see `control`; it is part of the series. size: training tokens, or training documents where no run has
    tokens. Of checkpoints of one run only the last.
    """
    names = labels(records)
    records = records.with_columns(control(records), names)
    size = "train_tokens" if records["train_tokens"].null_count() < records.height else "num_samples"
    rows = records.filter((pl.col("status") == "ok") & pl.col("val_ppl").is_not_null() & pl.col(size).is_not_null())
    rows = last_checkpoints(distinct(rows, ("series",)), ("series",))
    order = {name: i for i, name in enumerate(dict.fromkeys(names))}
    rank = pl.col("series").replace_strict(order or {"": 0}, default=0, return_dtype=pl.Int64)
    rows = rows.with_columns(pl.col(size).cast(pl.Float64).alias("size"), rank.alias("_rank"))
    return rows.sort("_rank", "size", "seed", "run_id", nulls_last=True).drop("_rank")


def with_contexts(runs: pl.DataFrame) -> pl.DataFrame:
    """The runs of models that have contexts, or do not say; none of one phase."""
    return runs.filter(pl.col("phases").ne_missing(1)) if "phases" in runs.columns else runs


def learned(runs: pl.DataFrame) -> pl.DataFrame:
    """Of usable runs those whose Phase 1 learned contexts, or does not say; no controls and no one-phase models."""
    return with_contexts(runs).filter(pl.col("control").is_null())


def some(records: pl.DataFrame, most: int, by: Sequence[str] = SERIES, along: Sequence[str] = ()) -> pl.DataFrame:
    """The records; of more than `most`, about as many, in their order: see `spread`.

    along: columns of sizes, by which records of a series are ordered, and whose ends stay.
    """
    if records.height <= most:
        return records
    sizes = [name for name in dict.fromkeys(along)
             if name in records.columns and records[name].null_count() < records.height]
    named = records.select(*sizes, pl.struct(*by).rank("dense").alias("_series"), control(records).alias("_control"))
    ordered = named.with_row_index("_row").sort("_series", "_control", *sizes, maintain_order=True)
    counts = ordered.select(pl.struct("_series", "_control").rle().struct.field("len")).to_series().to_numpy()
    ends = [end for name in sizes for end in (ordered[name].arg_min(), ordered[name].arg_max()) if end is not None]
    return records[np.sort(ordered["_row"].to_numpy()[spread(counts, most, ends)])]


def few(records: pl.DataFrame, most: int, by: Sequence[str] = SERIES) -> tuple[pl.DataFrame, int]:
    """All records of at most so many series, spread evenly over them; how many series there are."""
    named = labels(records, by)
    every = named.unique(maintain_order=True)
    return records.filter(named.is_in(every[evenly(len(every), most)].implode())), len(every)


def spread(counts: Sequence[int] | np.ndarray, most: int, ends: Sequence[int | np.intp]) -> np.ndarray:
    """Of rows by series, which stand together, about `most`: those of each spread evenly over its rows.

    counts: rows of each series. Where `FEWEST` of each are too many, series are left out, spread evenly over all.
    ends: rows that stay, with their series.
    """
    counts, stay = np.asarray(counts, dtype=int), np.array(ends, dtype=int)
    starts = np.cumsum(counts) - counts
    left = most - len(np.setdiff1d(stay, [starts, starts + counts - 1]))
    rows = [start + evenly(count, max(FEWEST, left // len(starts))) for start, count in
            zip(starts, counts, strict=True)]
    kept = evenly(len(rows), max(1, left * len(rows) // sum(map(len, rows))))
    kept = np.union1d(kept, np.searchsorted(starts, stay, side="right") - 1)
    return np.union1d(np.concatenate([rows[row] for row in kept]), stay)


def evenly(count: int, most: int) -> np.ndarray:
    """At most `most` of the numbers below `count`, the first and the last among them, as evenly as they can lie."""
    return np.arange(count) if count <= most else np.rint(np.linspace(0, count - 1, most)).astype(int)
