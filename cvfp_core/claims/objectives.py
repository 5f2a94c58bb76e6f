"""Objectives of Phase 1 compared where all else is equal: their ranks, perplexities and costs, and whether ranks tell.

Equal are variant, data, size, seed and every setting but the objective. Seeds are what counts as independent: sizes of
one seed share its weights and noise, so a seed enters by its mean over sizes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from cvfp_core.claims import inference
from cvfp_core.claims.matched import learned
from cvfp_core.schema.claims import Measured
from cvfp_core.schema.fits import Array
from cvfp_core.schema.settings import DEFAULT_OBJECTIVE, by_name

_Place: TypeAlias = tuple[str, float]
"""(all that is equal but the seed, size)."""
_Runs: TypeAlias = Mapping[tuple[int, _Place], Mapping[str, Any]]
"""Runs of an objective or control by seed and place."""
_SEEDS = "mean over sizes of each seed, t interval over seeds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An objective, or a control of Phase 1, at the sizes and seeds that all objectives have."""

    name: str
    runs: int
    val_er: Measured
    """A fraction; of a control without contexts there is none."""
    er_difference: Measured
    """Val ER minus that under the reference."""
    log_ratio: Measured
    """Logarithm of Val PPL over that under the reference."""
    seconds: float | None
    """Of an iteration of Phase 1, geometric mean over runs; None: not measured."""
    cost: float | None
    """The same as a multiple of the reference's, geometric mean over pairs of runs."""
    iterations: float | None
    """Mean over runs."""
    censored: int
    """Runs whose Phase 1 ended before it converged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """Objectives side by side, the highest Val ER first."""

    reference: str
    """The published objective, or the first."""
    standings: tuple[Standing, ...]
    controls: tuple[Standing, ...]
    seeds: tuple[int, ...]
    sizes: tuple[float, ...]
    left_out: tuple[str, ...]
    """Objectives that share no size and seed with the others."""
    between: Measured
    """Rank correlation of Val ER and Val PPL over objectives."""
    within: Measured
    """Slope of log Val PPL over Val ER, in points, between seeds under one objective; what a seed does to all
    objectives alike is taken off."""


def study(runs: pl.DataFrame) -> Study | None:
    """The objectives of usable runs, controls among them; None where fewer than two share a size and a seed."""
    if not {"objective", "val_er"} <= set(runs.columns):
        return None
    rows = runs.drop_nulls("seed").with_columns(pl.Series("_equal", [_equal(row) for row in runs.drop_nulls(
        "seed").to_dicts()], dtype=pl.String))
    arms = _by_place(learned(rows).drop_nulls(["objective", "val_er"]), "objective")
    names, seeds, places = _shared(arms)
    if len(names) < 2:
        return None
    reference = DEFAULT_OBJECTIVE if DEFAULT_OBJECTIVE in names else names[0]
    base = arms[reference]
    ranks, logs = (np.stack([_means(arms[name], column, seeds, places) for name in names])
                   for column in ("val_er", "val_ppl"))  # (objectives, seeds)
    controls = _by_place(rows.drop_nulls("control"), "control")
    return Study(
        reference=reference, seeds=tuple(seeds), sizes=tuple(sorted({size for _, size in places})),
        standings=tuple(sorted((_standing(name, arms[name], base, seeds, places) for name in names),
                               key=lambda each: -(each.val_er.estimate or 0.0))),
        controls=tuple(_standing(name, own, base, seeds, places) for name, own in controls.items()
                       if all((seed, place) in own for seed in seeds for place in places)),
        left_out=tuple(name for name in arms if name not in names),
        between=inference.spearman(ranks.mean(axis=1), logs.mean(axis=1)), within=_within(100 * ranks, logs),
    )


def _equal(row: Mapping[str, Any]) -> str:
    """What runs that are compared have in common: variant, data and settings, but for objective and control."""
    settings = by_name(json.loads(row["settings"])) if row["settings"] else {}
    rest = {name: value for name, value in settings.items() if name not in ("phase1.objective", "phase1.mode")}
    return json.dumps([row["variant"], row["corpus_hash"] or row["corpus"], rest], sort_keys=True)


def _by_place(rows: pl.DataFrame, column: str) -> dict[str, _Runs]:
    """By value of the column, its runs; of several at one seed and place the first."""
    found: dict[str, dict[tuple[int, _Place], Mapping[str, Any]]] = {}
    for row in rows.to_dicts():
        found.setdefault(row[column], {}).setdefault((row["seed"], (row["_equal"], row["size"])), row)
    return dict(found)


def _shared(arms: Mapping[str, _Runs]) -> tuple[list[str], list[int], list[_Place]]:
    """Objectives, seeds and places such that there is a run of each: of as many runs as can be.

    Objectives of the fewest runs are those that may be left out, such as one that has only begun.
    """
    order = sorted(arms, key=lambda name: -len(arms[name]))
    best: tuple[list[str], list[int], list[_Place]] = [], [], []
    for count in range(2, len(order) + 1):
        both = set.intersection(*(set(arms[name]) for name in order[:count]))
        seeds = sorted({seed for seed, _ in both})
        places = sorted({place for _, place in both if all((seed, place) in both for seed in seeds)})
        if places and count * len(seeds) * len(places) >= len(best[0]) * len(best[1]) * len(best[2]):
            best = [name for name in arms if name in order[:count]], seeds, places
    return best


def _means(runs: _Runs, column: str, seeds: Sequence[int], places: Sequence[_Place]) -> Array:
    """(seeds,) the column's mean over places, of a perplexity that of its logarithm; NaN where a run has none."""
    values = np.array([[np.nan if (value := runs[seed, place][column]) is None else value for place in places]
                       for seed in seeds], dtype=float)
    return np.asarray((np.log(values) if column == "val_ppl" else values).mean(axis=1))


def _standing(name: str, runs: _Runs, base: _Runs, seeds: Sequence[int], places: Sequence[_Place]) -> Standing:
    own = [runs[seed, place] for seed in seeds for place in places]
    pace, paces = (np.array([each.get("seconds_iteration") or np.nan for each in rows], dtype=float)
                   for rows in (own, [base[seed, place] for seed in seeds for place in places]))
    counts = [each["phase1_iterations"] for each in own if each["phase1_iterations"] is not None]
    rank, log = (_means(runs, column, seeds, places) for column in ("val_er", "val_ppl"))
    return Standing(
        name=name, runs=len(own), val_er=_over_seeds(rank), log_ratio=_over_seeds(
            log - _means(base, "val_ppl", seeds, places)),
        er_difference=_over_seeds(rank - _means(base, "val_er", seeds, places)),
        seconds=_geometric_mean(pace), cost=_geometric_mean(pace / paces),
        iterations=float(np.mean(counts)) if counts else None,
        censored=sum(bool(each["phase1_censored"]) for each in own),
    )


def _geometric_mean(values: Array) -> float | None:
    """None where any is NaN: not measured."""
    return float(np.exp(np.log(values).mean())) if np.isfinite(values).all() else None


def _over_seeds(values: Array) -> Measured:
    return inference.mean(values[np.isfinite(values)], method=_SEEDS)


def _within(ranks: Array, logs: Array) -> Measured:
    """The common slope of logs over ranks, both (objectives, seeds), objectives and seeds taken off both."""
    def centred(values: Array) -> Array:
        return np.asarray(values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean())

    method = "least squares within objectives, what a seed does to all of them taken off, t interval"
    count, seeds = ranks.shape
    left, right, dof = centred(ranks), centred(logs), (count - 1) * (seeds - 1) - 1
    spread = float((left**2).sum())
    if dof < 1 or spread <= 0:
        return Measured(estimate=None, n=seeds, method=method, least=2)
    slope = float((left * right).sum() / spread)
    rest = right - slope * left
    return inference.student(slope, float(np.sqrt((rest**2).sum() / dof / spread)), dof, n=count * seeds, method=method)
