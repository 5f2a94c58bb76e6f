"""What a threshold on a metric of Phase 1 costs: perplexity lost against time saved, and the best rule in hindsight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from cvfp_core.claims.decisions import best_lost, metric_columns
from cvfp_core.claims.matched import learned, usable
from cvfp_core.registry.kinds import Light
from cvfp_core.schema.plain import AsDict

SHARES = (0.25, 0.5, 0.75)
"""Shares of the runs that the rules of a curve stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price(AsDict):
    """What a rule `stop beyond this value of the light's metric` would have saved and lost."""

    light: str
    """Name of the light."""
    threshold: float
    """Of its metric."""
    judged: int
    """Runs with a value."""
    stopped: int
    """Runs beyond the threshold."""
    seconds_saved: float | None
    """As a fraction of the time of the judged runs; None: times are not known."""
    ratio: float
    """Perplexity of stopped over kept runs, each over the median at its size; above 1: worse ones are stopped."""
    best_lost: float
    """As that of `Backtest`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hindsight(AsDict):
    """The rule that in hindsight stops the worst runs, and what it is worth for series it was not chosen on."""

    best: Price
    """What it would have saved and lost."""
    left_out: float | None
    """Its `ratio`, where each series is judged by the rule chosen on the others; None: all or none would be stopped."""
    stopped: int
    """Runs that the rules chosen on other series would have stopped."""


def prices(records: pl.DataFrame, lit: Sequence[Light]) -> list[Price]:
    """The curve of each light: rules that would have stopped about a quarter, a half and three quarters of the runs.

    Lower bounds are taken as they were read. Sizes with one run say nothing and are left out.
    """
    made = []
    for light, runs in _relative(records, lit):
        values = np.sort(runs["value"].to_numpy())[::1 if light.better == "higher" else -1]
        ends = dict.fromkeys(float(values[min(round(share * len(values)), len(values) - 1)]) for share in SHARES)
        made += [each for end in ends if (each := _price(runs, light, end)) is not None]
    return made


def hindsight(records: pl.DataFrame, lit: Sequence[Light]) -> Hindsight | None:
    """The best of all rules that stop between a quarter and three quarters of the runs; None where there is none."""
    every = list(_relative(records, lit))
    best = _best(every)
    if best is None:
        return None
    stopped: list[float] = []
    kept: list[float] = []
    for name in dict.fromkeys(name for _, runs in every for name in runs["series"]):
        rule = _best([(light, runs.filter(pl.col("series") != name)) for light, runs in every])
        light, runs = next(((light, runs) for light, runs in every if rule is not None and light.name == rule.light),
                           (None, None))
        if rule is None or light is None or runs is None:
            continue
        mine = runs.filter(pl.col("series") == name)
        for log, beyond in zip(mine["log"], _beyond(mine, light, rule.threshold), strict=True):
            (stopped if beyond else kept).append(log)
    left_out = float(np.exp(np.mean(stopped) - np.mean(kept))) if stopped and kept else None
    return Hindsight(best=best, left_out=left_out, stopped=len(stopped))


def _relative(records: pl.DataFrame, lit: Sequence[Light]) -> list[tuple[Light, pl.DataFrame]]:
    """For each light the runs with a value of its metric: `series`, `size`, `value`, times, `log` of the perplexity
    over the median at that size."""
    runs = learned(usable(records)).filter(pl.len().over("size") > 1)
    log = (pl.col("val_ppl") / pl.col("val_ppl").median().over("size")).log()
    made = []
    for light in lit:
        left, *right = metric_columns(light)
        if not {left, *right} <= set(runs.columns):
            continue
        value = pl.col(left).cast(pl.Float64) - (pl.col(right[0]) if right else 0.0)
        rows = runs.select("series", "size", "val_ppl", "seconds_phase1", "seconds_phase2", log=log, value=value)
        rows = rows.drop_nulls("value")
        if rows.height:
            made.append((light, rows))
    return made


def _beyond(runs: pl.DataFrame, light: Light, threshold: float) -> list[bool]:
    """Which runs a rule at that value would stop."""
    value = pl.col("value")
    return runs.select(value < threshold if light.better == "higher" else value > threshold).to_series().to_list()


def _price(runs: pl.DataFrame, light: Light, threshold: float) -> Price | None:
    """None where all or none would be stopped."""
    told = runs.with_columns(pl.Series("stopped", _beyond(runs, light, threshold), dtype=pl.Boolean))
    count = int(told["stopped"].sum())
    if count in (0, runs.height):
        return None
    timed = told.drop_nulls(["seconds_phase1", "seconds_phase2"])
    total = float(timed.select("seconds_phase1", "seconds_phase2").to_numpy().sum())
    means = {stopped: float(group["log"].mean())  # type: ignore[arg-type]
             for (stopped,), group in told.group_by("stopped")}
    return Price(
        light=light.name, threshold=threshold, judged=runs.height, stopped=count,
        seconds_saved=float(timed.filter("stopped")["seconds_phase2"].sum()) / total if total else None,
        ratio=float(np.exp(means[True] - means[False])), best_lost=best_lost(told) or 0.0)


def _best(every: Sequence[tuple[Light, pl.DataFrame]]) -> Price | None:
    """Of the rules that stop between the first and the last of `SHARES`, that of the highest ratio."""
    best: tuple[float, Light, float, pl.DataFrame] | None = None
    for light, runs in every:
        order = np.argsort(runs["value"].to_numpy() * (1 if light.better == "higher" else -1), kind="stable")
        values, logs = runs["value"].to_numpy()[order], runs["log"].to_numpy()[order]
        count, total = np.arange(1, len(logs)), logs.cumsum()
        ratio = total[:-1] / count - (total[-1] - total[:-1]) / (len(logs) - count)
        allowed = (np.diff(values) != 0) & (count >= SHARES[0] * len(logs)) & (count <= SHARES[-1] * len(logs))
        if allowed.any():
            at = int(np.flatnonzero(allowed)[ratio[allowed].argmax()])
            if best is None or ratio[at] > best[0]:
                best = (float(ratio[at]), light, float(values[at + 1]), runs)
    return None if best is None else _price(best[3], best[1], best[2])
