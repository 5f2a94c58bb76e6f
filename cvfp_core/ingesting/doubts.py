"""Quantities of a table whose values are hardly in their unit: a line each, nothing is changed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import polars as pl

LARGEST = 15.0
"""Loss in nat a token that no model starts above, whose vocabulary is below three million."""
SMALLEST = 1000.0
"""Sizes below which no model and no corpus is."""
SCALES = {"params": ("millions", "1e6"), "params_non_embedding": ("millions", "1e6"),
          "train_tokens": ("billions", "1e9"), "tokens_seen": ("billions", "1e9")}
"""What such sizes are counted in where they are small."""
LOSSES = ("val_loss", "train_loss")


def doubts(records: pl.DataFrame, sources: Mapping[str, str]) -> Iterator[str]:
    """A line for each quantity whose values are hardly in its unit.

    sources: quantity -> the expression it was read by.
    """
    for name, (unit, factor) in SCALES.items():
        if (ends := _ends(records, name)) is not None and ends[1] < SMALLEST:
            yield (f"{name} {ends[0]:g} to {ends[1]:g}: all below 1,000; {unit}? "
                   f"--map '{name}={sources.get(name, name)} * {factor}'")
    for name in LOSSES:
        ends = _ends(records, name)
        if ends is None or ends[1] <= _chance(records):
            continue
        middle = records[name].cast(pl.Float64).median()
        if isinstance(middle, float) and middle > _chance(records):
            vocabulary = _chance(records) < LARGEST
            more = f"ln(vocab_size), {_chance(records):.3g}" if vocabulary else f"{LARGEST:g}"
            yield (f"{name} {ends[0]:.4g} to {ends[1]:.4g}: mostly above {more} nat a token; perplexities? "
                   f"--map '{name}=log({sources.get(name, name)})'")


def _chance(records: pl.DataFrame) -> float:
    """Loss of a model that knows nothing: the logarithm of the largest vocabulary, or the largest loss there is."""
    largest = records["vocab_size"].cast(pl.Float64).max() if records["vocab_size"].is_not_null().all() else None
    return math.log(largest) if isinstance(largest, float) and largest > 1 else LARGEST


def _ends(records: pl.DataFrame, name: str) -> tuple[float, float] | None:
    """Least and largest value that was measured."""
    rows = records.filter(~pl.col("derived").fill_null("").str.contains(rf"(?:^|; ){name} = "))
    values = rows[name].cast(pl.Float64).drop_nulls()
    return (float(values.min()), float(values.max())) if len(values) else None  # type: ignore[arg-type]


def expression(column: str) -> str:
    """A column as `--map` takes it, with the factor of its unit: `params (M) * 1e+06`."""
    name, times, factor = column.rpartition(" * ")
    name = name or factor
    quoted = name if name.isidentifier() else f"`{name}`"
    return f"{quoted} * {factor}" if times else quoted
