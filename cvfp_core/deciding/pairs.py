"""Runs of two arms paired by size and seed, and what the pairs say together, at the level that was replicated."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np
import polars as pl
from scipy import special

from cvfp_core.claims.inference import student
from cvfp_core.fitting.linear import pooled_variance, t_quantile
from cvfp_core.schema import series
from cvfp_core.schema.claims import Measured
from cvfp_core.schema.fits import Array

Level = Literal["configurations", "seeds", "sizes"]
SHARED = np.concatenate([[0.0], np.square(0.5 * np.tan((np.arange(24) + 0.5) / 24 * np.pi / 2))])
"""Variances that a unit's pairs may share, over a pair's own: none, or their roots by a half-Cauchy of scale 1/2."""
ODDS = np.concatenate([[0.5], np.full(24, 0.5 / 24)])
"""The weight of each before the data: half for none."""
ROUNDING = 1e-12
"""Scatter of log-ratios below which they differ by rounding alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Runs of both arms at one size, of one seed where both have it; without one in common, all of that size."""

    configuration: tuple[Hashable, ...]
    size: float
    seed: Hashable
    left: tuple[int, ...]
    """Rows of the first arm's runs."""
    right: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """The pairs of two arms."""

    items: tuple[Pair, ...]
    matched_by: tuple[str, ...]
    """Columns that the runs of a pair share."""
    unmatched: tuple[int, int]
    """Runs of either arm that are in no pair."""

    @property
    def level(self) -> Level:
        """What was replicated: configurations, else seeds, else sizes, which are no replicates."""
        if len({each.configuration for each in self.items}) > 1:
            return "configurations"
        return "seeds" if len({each.seed for each in self.items} - {None}) > 1 else "sizes"

    @property
    def units(self) -> Array:
        """(n,) number of the unit of that level which each pair is of."""
        name = {"configurations": "configuration", "seeds": "seed", "sizes": "size"}[self.level]
        numbers: dict[Hashable, int] = {}
        return np.array([numbers.setdefault(getattr(each, name), len(numbers)) for each in self.items], dtype=int)


def usable(runs: pl.DataFrame, x: str, y: str) -> pl.DataFrame:
    """The finished runs that have both, each once; of checkpoints of one run the last."""
    rows = runs.filter((pl.col("status") == "ok") & pl.col(x).is_not_null() & pl.col(y).is_not_null())
    return series.last_checkpoints(series.distinct(rows))


def paired(left: pl.DataFrame, right: pl.DataFrame, x: str = "train_tokens") -> Pairs:
    """The pairs of usable runs: of one size x and, where the arms do not say it, of one experiment and variant.

    Runs that differ in params within an arm, at one size, pair by these too.
    """
    shared = [name for name in ("experiment", "variant")
              if left[name].n_unique() > 1 or right[name].n_unique() > 1
              or left[name].head(1).equals(right[name].head(1))]
    several = any(runs["params"].null_count() == 0 and runs.group_by([*shared, x])
                  .agg(pl.col("params").n_unique())["params"].max() not in (1, None) for runs in (left, right))
    by = [*shared, *(["params"] if several and x != "params" else [])]
    sides: list[dict[tuple[Any, ...], dict[Any, list[int]]]] = []
    for runs in (left, right):
        side: dict[tuple[Any, ...], dict[Any, list[int]]] = {}
        for row, values in enumerate(runs.select(*by, x, "seed").iter_rows()):
            side.setdefault(values[:-1], {}).setdefault(values[-1], []).append(row)
        sides.append(side)
    items: list[Pair] = []
    for key, own in sides[0].items():
        other = sides[1].get(key)
        if other is None:
            continue
        common = [(seed, own[seed], other[seed]) for seed in own if seed in other and seed is not None]
        whole = [(None, list(chain(*own.values())), list(chain(*other.values())))]
        items += [Pair(configuration=key[:-1], size=float(key[-1]), seed=seed, left=tuple(a), right=tuple(b))
                  for seed, a, b in common or whole]
    return Pairs(items=tuple(items), matched_by=(*by, x),
                 unmatched=(left.height - sum(len(each.left) for each in items),
                            right.height - sum(len(each.right) for each in items)))


def log_ratios(pairs: Sequence[Pair], left: pl.DataFrame, right: pl.DataFrame, y: str) -> Array:
    """(n,) logarithm of the right's metric over the left's, geometric means over the runs of a pair."""
    a, b = (np.log(runs[y].cast(pl.Float64).to_numpy()) for runs in (left, right))
    return np.array([b[list(each.right)].mean() - a[list(each.left)].mean() for each in pairs])


def measured(value: float, rest: Array, pairs: Pairs, slope: Array | None = None) -> Measured:
    """The interval of an estimate that solves `observed = slope * value` for the pairs, with residuals (n,).

    Configurations are independent, not their runs; of one configuration, seeds are, and of one seed sizes are taken to
    be. Two seeds are too few to be all there is: their pairs count, unless seeds differ by more than chance explains.
    """
    slope = np.ones(len(rest)) if slope is None else slope
    level, units, n = pairs.level, pairs.units, len(rest)
    count, total = int(units.max(initial=-1)) + 1, float(slope @ slope)
    method = f"paired log-ratios, t interval over {level}"
    if n < 2 or total <= 0:
        return Measured(estimate=value, n=count, method=method)
    if level == "configurations" or (level == "seeds" and count > 2):
        sums = np.bincount(units, slope * rest)
        variance, dof = count / (count - 1) * float(sums @ sums) / total**2, count - 1
    else:
        pooled = pooled_variance(rest, 1, units if level == "seeds" else np.arange(n))
        variance, dof = (pooled.value or 0.0) / total, pooled.dof
    return student(value, float(np.sqrt(variance)), dof, n=count, method=method)


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """What is believed of a value: a mixture of t distributions."""

    values: Array
    """(m,)"""
    errors: Array
    """(m,) standard errors."""
    weights: Array
    """(m,), their sum is 1."""
    dof: float

    def draw(self, rng: np.random.Generator, draws: int) -> tuple[Array, Array]:
        """(draws,) centres and standard errors, to which normal noise is added."""
        which = rng.choice(len(self.weights), draws, p=self.weights)
        return self.values[which], self.errors[which] * np.sqrt(self.dof / rng.chisquare(self.dof, draws))

    def above(self, limit: float = 0.0) -> float:
        """The chance that the value is larger."""
        return float(np.clip(self.weights @ special.stdtr(self.dof, (self.values - limit) / self.errors), 0, 1))


def belief(value: float, rest: Array, pairs: Pairs, slope: Array | None = None, shape: float = 0.0) -> Belief | None:
    """What is believed of an estimate by the pairs, however much of the scatter the pairs of a unit share.

    Where `measured` has to decide whether seeds differ, each share has the weight of its marginal likelihood (flat
    prior of the value, Jeffreys prior of the scale), so that a chance is neither too bold nor too cautious.
    rest: (n,) residuals of `observed = slope * value`. shape: variance to be added. None for one pair.
    """
    slope = np.ones(len(rest)) if slope is None else slope
    units, n = pairs.units, len(rest)
    size = np.bincount(units)
    shares, odds = (SHARED, ODDS) if (size > 1).any() and len(size) > 1 else (np.zeros(1), np.ones(1))
    if n < 2 or not float(slope @ slope) > 0:
        return None
    pull = shares[:, None] / (1 + shares[:, None] * size)
    slopes, rests = np.bincount(units, slope), np.bincount(units, rest)
    total = slope @ slope - pull @ slopes**2
    moved = (slope @ rest - pull @ (slopes * rests)) / total
    rss = np.maximum(rest @ rest - pull @ rests**2 - moved**2 * total, (n - 1) * ROUNDING**2)
    likelihood = -0.5 * (np.log1p(shares[:, None] * size).sum(axis=1) + np.log(total) + (n - 1) * np.log(rss))
    weights = odds * np.exp(likelihood - likelihood.max())
    return Belief(values=value + moved, errors=np.sqrt(rss / (n - 1) / total + shape), weights=weights / weights.sum(),
                  dof=n - 1)


def ratio(pairs: Pairs, logs: Array) -> Measured:
    """The mean log-ratio of the pairs."""
    if not len(logs):
        return Measured(estimate=None)
    mean = float(logs.mean())
    return measured(mean, logs - mean, pairs)


def settled_by(measure: Measured, margin: float) -> Mapping[str, int | None]:
    """Units that would settle it at the scatter seen: to tell the ratio from 1, and to hold it within the margin.

    None: more than 10,000, or the scatter is not known.
    """
    if measure.estimate is None or not measure.stderr:
        return {"different": None, "equivalent": None}
    spread = measure.stderr * np.sqrt(measure.n)
    counts = np.unique(np.round(np.geomspace(2, 10_000, 400)).astype(int))
    half = np.array([t_quantile(int(n) - 1) for n in counts]) * spread / np.sqrt(counts)
    near = np.array([t_quantile(int(n) - 1, 0.9) for n in counts]) * spread / np.sqrt(counts)
    room = np.log1p(margin) - abs(measure.estimate)

    def first(enough: Array) -> int | None:
        return int(counts[np.argmax(enough)]) if enough.any() else None

    return {"different": first(half < abs(measure.estimate)), "equivalent": first(near < room)}
