"""Decisions before Phase 2 is paid for: lights, stop rules on curves, and what either would have cost and saved."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import polars as pl

from cvfp_core.claims import inference
from cvfp_core.claims.matched import learned, usable
from cvfp_core.errors import UsageError, suggestion
from cvfp_core.registry.kinds import Iteration, Light, StopRule
from cvfp_core.schema.plain import AsDict
from cvfp_core.schema.records import SCHEMA, plain

Colour = Literal["green", "yellow", "red"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One light on one run. colour None: the metric was not measured, or its lower bound settles nothing."""

    run_id: str
    series: str
    num_samples: int | None
    light: str
    value: float | None
    censored: bool
    """The value is a lower bound: the run stopped at the limit."""
    colour: Colour | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtest(AsDict):
    """What stopping runs would have meant for the runs that were made."""

    rule: str
    judged: int
    """Runs the rule could be applied to."""
    stopped: int
    ranked: int
    """Stopped runs at a size where others can be compared with them; worse + lost + those in the middle."""
    worse: int
    """Stopped runs in the worse half at their size."""
    lost: int
    """Stopped runs in the better half at their size."""
    good: int
    """Judged runs in the better half at their size, stopped or not."""
    p_value: float | None
    """Of stopping worse series only by chance: one-sided, over the orders of whole series."""
    series: int
    """Series judged: what counts as independent."""
    seconds_saved: float | None
    seconds_total: float | None
    """Of the judged runs whose times are known."""
    timed: int
    """Stopped runs whose times are known."""
    ratio_stopped: float | None
    """Geometric mean of the perplexity of stopped runs, over the median at their size."""
    ratio_kept: float | None
    """The same of runs that were judged and not stopped."""
    best_lost: float | None
    """How much higher the lowest perplexity at a size is without the stopped runs: mean over sizes where some are kept,
    as a fraction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Where a stop rule would have ended a run; iteration None: nowhere."""

    run_id: str
    series: str
    num_samples: int | None
    rule: str
    iteration: int | None
    iterations: int
    reason: str | None


def with_thresholds(lights: Mapping[str, Light], given: Mapping[str, Any]) -> list[Light]:
    """The lights with thresholds replaced: `val_er.red` -> 0.7. Raises UsageError naming those there are."""
    known = [f"{name}.{end}" for name in lights for end in ("green", "red")]
    for key, value in given.items():
        if key not in known:
            raise UsageError(f"unknown threshold '{key}'{suggestion(key, known)}; known: {', '.join(known)}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UsageError(f"threshold {key} must be a number, not {value!r}")
    try:
        return [replace(light, green=float(given.get(f"{name}.green", light.green)),
                        red=float(given.get(f"{name}.red", light.red))) for name, light in lights.items()]
    except ValueError as error:
        raise UsageError(str(error)) from None


def metric_columns(light: Light) -> tuple[str, ...]:
    """The record columns a light looks at: one, or two whose difference it is of."""
    return tuple(part.strip() for part in light.metric.split(" - ", 1))


def never_lit(lit: Sequence[Light], records: pl.DataFrame) -> dict[str, str]:
    """By the name of a light that no record can light, why: its metric is no column of the schema or of these."""
    known = {*SCHEMA, *records.columns}
    return {light.name: f"there is no record column '{column}'{suggestion(column, known)}"
            for light in lit for column in metric_columns(light) if column not in known}


def lights(records: pl.DataFrame, lit: Sequence[Light]) -> list[Judgement]:
    """Every light on every usable run whose Phase 1 learned contexts, in the order of the runs."""
    runs = learned(usable(records))
    return [_judge(row, light) for row in plain(runs) for light in lit]


def _judge(row: Mapping[str, Any], light: Light) -> Judgement:
    left, *right = metric_columns(light)
    value = row.get(left)
    if right and value is not None:
        value = None if row.get(right[0]) is None else value - row[right[0]]
    censored = left == "phase1_iterations" and bool(row.get("phase1_censored"))
    return Judgement(run_id=row["run_id"], series=row["series"], num_samples=row["num_samples"], light=light.name,
                     value=value, censored=censored, colour=colour(light, value, censored=censored))


def colour(light: Light, value: float | None, *, censored: bool = False) -> Colour | None:
    """The light's colour at that value; of a lower bound only what any larger value would give too."""
    if value is None:
        return None
    if light.better == "higher":
        if censored and value <= light.green:
            return None
        return "green" if value > light.green else "red" if value < light.red else "yellow"
    if censored and value <= light.red:
        return None
    return "green" if value <= light.green else "red" if value > light.red else "yellow"


def backtest(records: pl.DataFrame, lit: Sequence[Light]) -> list[Backtest]:
    """Of every light, and of all together: had the runs it shows red been stopped before Phase 2."""
    judged = lights(records, lit)
    tests = []
    for name in (light.name for light in lit):
        mine = [each for each in judged if each.light == name and each.colour is not None]
        tests.append(_backtest(records, name, {each.run_id for each in mine},
                               {each.run_id: 0.0 for each in mine if each.colour == "red"}))
    if len(lit) > 1:
        shown = [each for each in judged if each.colour is not None]
        tests.append(_backtest(records, "any", {each.run_id for each in shown},
                               {each.run_id: 0.0 for each in shown if each.colour == "red"}))
    return tests


def stops(records: pl.DataFrame, curves: pl.DataFrame, rules: Sequence[StopRule]) -> list[Stop]:
    """Where each rule of Phase 1 would have ended each usable run with a curve of it; rules see what curves hold."""
    made = []
    rules = [rule for rule in rules if rule.stops]
    known = {name: [Iteration(**row) for row in rows] for name, rows in _iterations(curves).items()}
    for row in plain(learned(usable(records))):
        seen = known.get(row["run_id"], [])
        for rule in rules if seen else ():
            if rule.val_er_at and not any(each.val_er is not None for each in seen):
                continue
            assert rule.stops is not None
            found = next(((i, why) for i in range(1, len(seen) + 1) if (why := rule.stops(seen[:i]))), None)
            made.append(Stop(
                run_id=row["run_id"], series=row["series"], num_samples=row["num_samples"], rule=rule.name,
                iteration=seen[found[0] - 1].iteration if found else None, iterations=seen[-1].iteration,
                reason=found[1] if found else None,
            ))
    return made


def backtest_stops(records: pl.DataFrame, curves: pl.DataFrame, rules: Sequence[StopRule]) -> list[Backtest]:
    """Of every rule: had it ended the runs whose curves it could see."""
    found = stops(records, curves, rules)
    tests = []
    for rule in (rule for rule in rules if rule.stops):
        mine = [each for each in found if each.rule == rule.name]
        ended = {each.run_id: 1 - each.iteration / each.iterations for each in mine if each.iteration is not None}
        tests.append(_backtest(records, rule.name, {each.run_id for each in mine}, ended))
    return tests


def _iterations(curves: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Phase 1 of each run, iteration by iteration, in the fields an Iteration has."""
    names = {each.name for each in fields(Iteration)} - {"iteration"}
    rows = curves.filter((pl.col("phase") == 1) & pl.col("metric").is_in(names)).sort("run_id", "step")
    made: dict[str, dict[int, dict[str, Any]]] = {}
    for run_id, step, metric, value in rows.select("run_id", "step", "metric", "value").iter_rows():
        made.setdefault(run_id, {}).setdefault(step, {"iteration": step})[metric] = value
    return {run_id: list(steps.values()) for run_id, steps in made.items()}


def _backtest(records: pl.DataFrame, rule: str, judged: Collection[str], ended: Mapping[str, float]) -> Backtest:
    """ended: run -> share of Phase 1 it would not have had to pay for."""
    runs = learned(usable(records))
    median = pl.col("val_ppl").median().over("size")
    runs = runs.with_columns(
        ((pl.col("val_ppl") > median).cast(pl.Int64) - (pl.col("val_ppl") < median).cast(pl.Int64)).alias("half"),
        (pl.col("val_ppl") / median).log().alias("log"), (pl.len().over("size") > 1).alias("ranked"),
        pl.col("run_id").is_in(list(ended)).alias("stopped"),
    ).filter(pl.col("run_id").is_in(list(judged)))
    stopped = runs.filter(pl.col("stopped") & pl.col("ranked"))
    by_series = runs.filter(pl.col("ranked")).group_by("series", maintain_order=True).agg(
        pl.col("stopped").cast(pl.Float64).mean(), pl.col("half").cast(pl.Float64).mean())
    timed = runs.drop_nulls(["seconds_phase1", "seconds_phase2"])
    costs = timed.select("seconds_phase1", "seconds_phase2")
    saved = [ended[row["run_id"]] * row["seconds_phase1"] + row["seconds_phase2"]
             for row in timed.filter(pl.col("stopped")).to_dicts()]
    return Backtest(
        rule=rule, judged=runs.height, stopped=int(runs["stopped"].sum()), ranked=stopped.height,
        worse=int((stopped["half"] > 0).sum()), lost=int((stopped["half"] < 0).sum()),
        good=int(((runs["half"] < 0) & runs["ranked"]).sum()),
        p_value=inference.order_test(by_series["stopped"].to_numpy(), by_series["half"].to_numpy()),
        series=runs["series"].n_unique(), seconds_saved=float(np.sum(saved)) if timed.height else None,
        seconds_total=float(costs.to_numpy().sum()) if timed.height else None,
        timed=len(saved), **_ratios(runs),
    )


def _ratios(runs: pl.DataFrame) -> dict[str, float | None]:
    """Of stopped and of kept runs, each over the median of all at its size."""
    ranked = runs.filter(pl.col("ranked"))
    means = {stopped: float(np.exp(group["log"].to_numpy().mean())) for (stopped,), group in ranked.group_by("stopped")}
    return {"ratio_stopped": means.get(True), "ratio_kept": means.get(False), "best_lost": best_lost(ranked)}


def best_lost(told: pl.DataFrame) -> float | None:
    """told: runs with `size`, `val_ppl`, `stopped`."""
    best = told.group_by("size").agg(pl.col("val_ppl").min().alias("all"),
                                     pl.col("val_ppl").filter(~pl.col("stopped")).min().alias("kept"))
    value = best.drop_nulls("kept").select((pl.col("kept") / pl.col("all") - 1).mean()).item()
    return None if value is None else float(value)
