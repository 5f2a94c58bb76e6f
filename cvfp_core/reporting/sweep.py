"""A sweep over sizes: what it is about, whether laws of it are of one size or of two, and arms that it compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from cvfp_core.deciding.comparison import arms_of, compare
from cvfp_core.errors import UsageError
from cvfp_core.fitting import predict_all
from cvfp_core.fitting.axes import on_axes
from cvfp_core.registry import Registry
from cvfp_core.registry.kinds import Law
from cvfp_core.schema import series
from cvfp_core.schema.fits import message_of
from cvfp_core.schema.plain import plain
from cvfp_core.schema.quantities import QUANTITIES

BOTH = ("params", "train_tokens")
SIZES = ("train_tokens", "params", "flops", "tokens_seen", "num_samples", "context_dim", "num_layers")
METRICS = ("val_loss", "val_ppl", "val_bpb", "val_acc", "train_loss", "train_ppl")
FEWEST = 3
"""Sizes of which a law can be seen."""
ARMS = 8
"""Most series that are told from each other as arms."""
LAW = "saturating"
"""Of multipliers."""
SURFACE = "chinchilla"
"""Of two sizes."""
STRAIGHT = 0.995
"""Correlation of the logarithms of two sizes above which they vary as one."""


def axes(records: pl.DataFrame) -> tuple[str | None, str | None]:
    """The size that varies and the metric that was measured, the usual ones first; None where there is none.

    The size is that along which series go: compute where params and train_tokens grow together.
    """
    runs = _finished(records)
    known = {part.partition(" = ")[0] for text in runs["derived"].drop_nulls() for part in text.split("; ")} \
        if "derived" in runs.columns else set()
    there = [name for name in METRICS if name in runs.columns and runs[name].is_not_null().any()]
    y = next((name for name in there if name not in known), next(iter(there), None))
    varied = [name for name in SIZES if name in runs.columns and runs[name].drop_nulls().n_unique() >= FEWEST]
    within = [name for name in varied if _within(runs, name)]
    x = next(iter(within or varied), None)
    if {*BOTH, "flops"} <= set(within) and not apart(runs):
        x = "flops"
    return x, y


def about(records: pl.DataFrame) -> dict[str, Any]:
    """What a report of the sweep is about: x and y, and the law of both sizes where both vary.

    The law is of each series where every one of them varies both, else of all together.
    """
    x, y = axes(records)
    every = by_series(records, BOTH)["_apart"]
    if not (apart(records) or every.any()):
        return {"x": x, "y": y}
    by = series.SERIES if len(every) > 1 and every.all() else None
    return {"x": BOTH[1], "y": y, "law": SURFACE, "by": by}


def by_series(records: pl.DataFrame, sizes: Sequence[str], by: Sequence[str] = series.SERIES) -> pl.DataFrame:
    """A row a series of finished runs: its `_label`, how many `_runs` there are, and values of each size, `_num_SIZE`.

    Also whether the sizes are `_apart`, as the function of that name says.
    """
    runs = _finished(records)
    groups = runs.with_columns(_control=series.control(runs)).group_by(*by, "_control", maintain_order=True)
    made = groups.agg(pl.len().alias("_runs"), _apart(runs, sizes).alias("_apart"),
                      *(pl.col(name).n_unique().alias(f"_num_{name}") for name in sizes if name in runs.columns))
    labels = [series.label(parts, control) for *parts, control in made.select(*by, "_control").iter_rows()]
    return made.with_columns(pl.Series("_label", labels, dtype=pl.String))


@dataclass(frozen=True, slots=True, kw_only=True)
class Parted:
    """Whether a law of several sizes is fitted to each series, or to all runs at once."""

    by: tuple[str, ...] | None
    """Columns whose values name series; None: all runs at once, or as the law's scope says."""
    count: int = 0
    """Series there are."""
    small: tuple[str, ...] = ()
    """Those too small for a law of their own, so that all are fitted at once."""


def parted(records: pl.DataFrame, law: Law, registry: Registry) -> Parted:
    """How runs are parted for a law, where no columns are asked for."""
    if len(law.inputs) < 2 or law.scope != "records" or not of_sizes(law, registry):
        return Parted(by=None)
    every = by_series(records, law.inputs)
    if every.height < 2:
        return Parted(by=None)
    small = every.filter((pl.col("_runs") < law.least_points) | ~pl.col("_apart"))["_label"]
    return Parted(by=None if len(small) else series.SERIES, count=every.height, small=tuple(small))


def of_sizes(law: Law, registry: Registry) -> bool:
    """Whether its inputs are sizes, and nothing else."""
    return all(registry.quantity(name).kind == "size" for name in law.inputs)


def apart(records: pl.DataFrame, sizes: Sequence[str] = BOTH) -> bool:
    """Whether the sizes, params and train_tokens, all vary, and no two of them as one."""
    runs = _finished(records)
    return bool(runs.select(_apart(runs, sizes)).item())


def _apart(runs: pl.DataFrame, sizes: Sequence[str]) -> pl.Expr:
    """As `apart`, of the runs or of each group of them."""
    if any(name not in runs.columns for name in sizes):
        return pl.lit(False)
    positive = pl.all_horizontal(pl.col(name).cast(pl.Float64) > 0 for name in sizes)
    logs = [pl.col(name).cast(pl.Float64).filter(positive).log() for name in sizes]
    return pl.all_horizontal(*(each.n_unique() >= FEWEST for each in logs),
                             *(pl.corr(one, other).abs() < STRAIGHT for one, other in combinations(logs, 2)))


def joint(records: pl.DataFrame, y: str, registry: Registry, by: Sequence[str] | None,
          at: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
    """The best law of params and train_tokens with its fit and forecasts; None where they do not vary, or not apart.

    at: where forecasts are made, if of both; else at the largest and at ten times either.
    """
    runs = _finished(records)
    if any(name not in runs.columns or runs[name].drop_nulls().n_unique() < FEWEST for name in (*BOTH, y)):
        return None
    laws = [name for name, law in registry.items(Law).items()
            if set(law.inputs) == set(BOTH) and law.automatic and law.predicts]
    if not laws:
        return None
    at = at if at is not None and set(at) == set(BOTH) else {name: ["1x", "10x"] for name in BOTH}
    made = predict_all(records, at, laws if len(laws) > 1 else laws[0], y=y, by=by, registry=registry)
    law = made.choice.law if made.choice is not None else laws[0]
    return {"law": law, "choice": made.choice.as_dict() if made.choice is not None else None,
            "predictions": made.predictions}


def arms(records: pl.DataFrame, x: str, y: str, registry: Registry) -> list[dict[str, Any]]:
    """Each further series against the first, where series are of the same sizes; nothing where they are no arms."""
    runs = series.without_controls(_finished(records)).drop_nulls([x, y])
    runs = runs.with_columns(_arm=series.labels(runs))
    groups = {name: each.drop("_arm") for name, each in arms_of(runs, ["_arm"]).items()}
    law = registry.items(Law).get(LAW)
    if not 1 < len(groups) <= ARMS or law is None or len({tuple(_shared(each, x)) for each in groups.values()}) > 1:
        return []
    try:
        made, _ = compare(groups, on_axes(law, x, y), registry=registry, x=x, y=y)
    except UsageError:  # arms without a size in common are not compared
        return []
    return [plain(each.as_dict()) | {"notes": [message_of(note) for note in each.notes]} for each in made if each.pairs]


def _shared(runs: pl.DataFrame, x: str) -> list[tuple[str, Any]]:
    """The sizes, other than x, that all runs share; of those that vary, that they do."""
    names = [name for name in runs.columns if name != x and name in QUANTITIES and QUANTITIES[name].kind == "size"
             and name not in ("flops", "tokens_seen", "unique_tokens", "num_samples", "epochs", "val_tokens")]
    return [(name, runs[name][0] if runs[name].n_unique() == 1 else "varies") for name in names]


def _within(runs: pl.DataFrame, name: str) -> bool:
    """Whether it varies within a series."""
    groups = runs.with_columns(_control=series.control(runs)).group_by(*series.SERIES, "_control")
    values = groups.agg(pl.col(name).drop_nulls().n_unique().alias("count"))["count"]
    return bool((values >= FEWEST).any())


def _finished(records: pl.DataFrame) -> pl.DataFrame:
    return records.filter(pl.col("status") == "ok")


def ranges(records: pl.DataFrame, names: Sequence[str]) -> list[Mapping[str, Any]]:
    """Of each quantity: its name, how many runs have it, how many values there are, the smallest and the largest."""
    runs = _finished(records)
    found = [(name, runs[name].drop_nulls().cast(pl.Float64).to_numpy()) for name in dict.fromkeys(names)
             if name in runs.columns]
    return [{"name": name, "runs": len(column), "values": len(np.unique(column)), "low": float(column.min()),
             "high": float(column.max())} for name, column in found if len(column)]
