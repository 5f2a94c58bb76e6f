"""Whether metrics of Phase 1 tell the outcome of a configuration that was not fitted, beyond what its size tells.

The best model over sizes alone (`fitting.mixed`, straight or curved) predicts each configuration from all others; so
does the same model with each metric, and with those that the other configurations choose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np
import polars as pl

from cvfp_core.claims import inference, verdicts
from cvfp_core.fitting import mixed
from cvfp_core.fitting.linear import t_quantile
from cvfp_core.fitting.points import gather, refusal
from cvfp_core.schema import series
from cvfp_core.schema.claims import Measured
from cvfp_core.schema.fits import Array
from cvfp_core.schema.plain import AsDict
from cvfp_core.schema.quantities import Quantity

MARGIN = 0.01
"""Change of the left-out error that does not matter, where none is said: one percentage point."""
TOGETHER = 2
"""Metrics that one model may have; more would be chosen among configurations as few as there are."""
NOT_MEASURED = "not measured"
NONE = "no metric of Phase 1 was measured in all runs"
MOST = 1000
"""Configurations beyond which it is not said how many more it would take."""
Worthy = Literal["helps", "harms", "adds nothing that matters", "inconclusive"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain(AsDict):
    """What metrics do to the error for a configuration left out, as a fraction of the outcome; means over these."""

    metrics: tuple[str, ...]
    """One; or all those there were to choose from."""
    runs: int
    """That have the metrics."""
    configurations: int
    """That these are of."""
    without: float
    """Mean absolute relative error with the size alone."""
    error: float
    """The same with the metrics."""
    change: float
    """Error with less error without; negative: the metrics help."""
    low: float | None
    """95 % interval of the change: Student t over configurations."""
    high: float | None
    """Its upper end."""
    p_value: float | None
    """Of the test the verdict rests on."""
    verdict: Worthy
    """`helps`, `harms`, `adds nothing that matters` (the interval lies inside the margin) or `inconclusive`."""
    more: int | None
    """Configurations more that would tell, were the change and its scatter to stay; None: no number up to `MOST`."""
    used: Mapping[str, int]
    """In how many of the models, each without one configuration, a metric has any weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(AsDict):
    """Whether Phase 1 tells the outcome."""

    verdict: Literal["yes", "no", "worse", "cannot tell"] | None
    """`yes` and `worse`: the chosen metrics say so. `no`: neither they nor any single one changes anything that
    matters. None: there is no answer."""
    more: int | None
    """Configurations more that would tell; None: no number up to `MOST`; 0: it is not known, or not needed."""
    margin: float
    degree: int
    """Of the best model over sizes alone, in the logarithm of the size: 1 straight, 2 curved; 0: there is none."""
    singly: tuple[Gain, ...]
    """Each metric."""
    chosen: Gain | None
    """Those chosen, for each configuration by the others alone."""
    reason: str
    """Why there is no answer; empty if there is one."""
    refused: Mapping[str, str]
    """Metrics that could not be tried, and why."""


def answer(records: pl.DataFrame, metrics: Sequence[str], *, x: str = "train_tokens", y: str = "val_ppl",
           by: Sequence[str] = series.SERIES, margin: float = MARGIN,
           declared: Mapping[str, Quantity] | None = None) -> Answer:
    """The answer of the runs that have contexts and are no controls. A configuration is what `by` names."""
    studied = series.without_controls(series.with_contexts(records))
    points = gather(studied, (x,), y, by, declared)
    sound = refusal(points, least=1, what="runs")
    reason = sound[1] if sound else mixed.refused(points)
    blank = Answer(verdict=None, more=0, margin=margin, degree=0, singly=(), chosen=None, reason="", refused={})
    if reason is not None:
        return replace(blank, reason=reason)
    base = min((mixed.fit(points, degree) for degree in ((1, 2) if len(points.sizes) >= mixed.CURVED_FROM else (1,))),
               key=lambda model: model.by_configuration.mean())
    singly: list[Gain] = []
    refused: dict[str, str] = {}
    shared: dict[str, mixed.Mixed] = {}
    for name in metrics:
        if name not in studied.columns or studied[name].null_count() == studied.height:
            refused[name] = NOT_MEASURED
            continue
        mine = gather(studied, (x, name), y, by, declared)
        why = mixed.refused(mine)
        if why is not None:
            refused[name] = why
            continue
        whole = mine.n == points.n
        without = base if whole else mixed.fit(replace(mine, inputs={x: mine.inputs[x]}), base.degree)
        model = mixed.fit(mine, base.degree, without)
        singly.append(_gain((name,), without, model.by_configuration, {name: _weighed(model)}, margin))
        if whole:
            shared[name] = model
    chosen = _chosen(base, shared, margin)
    if chosen is not None:
        blank = replace(blank, **_said(chosen, singly))
    return replace(blank, degree=base.degree, singly=tuple(singly), refused=refused, chosen=chosen,
                   reason="" if chosen else next((why for why in refused.values() if why != NOT_MEASURED), NONE))


def _said(chosen: Gain, singly: Sequence[Gain]) -> dict[str, Any]:
    """The verdict of all gains together, and the configurations more that would tell where they do not.

    A metric that is worth something is often not chosen from few configurations. So "no" asks for the single ones too:
    of 60 sets of 8 configurations where a metric was worth 1.8 points, 1 said "no", against 8 by the chosen alone.
    """
    sides = {"helps": "yes", "harms": "worse"}
    if chosen.verdict in sides:
        return {"verdict": sides[chosen.verdict]}
    if all(each.verdict == "adds nothing that matters" for each in (chosen, *singly)):
        return {"verdict": "no"}
    counts = [each.more for each in (chosen, *singly) if each.verdict == "inconclusive"]
    known = [count for count in counts if count is not None]
    return {"verdict": "cannot tell", "more": max(known, default=0) if len(known) == len(counts) else None}


def verdict(change: Measured, margin: float) -> tuple[Worthy, float | None]:
    """`adds nothing that matters` where the 95 % interval lies inside the margin; else the side of zero it is on."""
    if change.estimate == 0 and not change.stderr:
        return "adds nothing that matters", 0.0
    same = verdicts.of_range(change, -margin, margin)
    if same.verdict == "supported":
        return "adds nothing that matters", same.p_value
    judged = verdicts.of_direction(change, "falls")
    sides: dict[str, Worthy] = {"supported": "helps", "contradicted": "harms"}
    return sides.get(judged.verdict, "inconclusive"), judged.p_value


def _chosen(base: mixed.Mixed, models: Mapping[str, mixed.Mixed], margin: float) -> Gain | None:
    """Each configuration predicted with the metrics, none to two, of the least AICc over the others."""
    if len(models) < 2:
        return next((_gain((name,), base, model.by_configuration, {name: _weighed(model)}, margin)
                     for name, model in models.items()), None)
    tried: dict[tuple[str, ...], mixed.Mixed] = {(): base} | {(name,): model for name, model in models.items()}
    for names in combinations(models, TOGETHER):
        points = replace(base.points, inputs={**base.points.inputs, **{
            name: models[name].points.inputs[name] for name in names}}, declared={
            name: each for one in (base, *(models[name] for name in names))
            for name, each in one.points.declared.items()})
        if mixed.refused(points) is None:
            tried[names] = mixed.fit(points, base.degree, base)
    others = len(base.labels) - 1
    criteria = np.array([_penalty(len(names), others) - 2 * model.fitted.log_likelihood[1:]
                         for names, model in tried.items()])
    best = criteria.argmin(0)
    errors = np.array([model.by_configuration for model in tried.values()])[best, np.arange(len(best))]
    every = list(tried)
    used = {name: sum(name in every[index] for index in best) for name in models}
    return _gain(tuple(models), base, errors, used, margin)


def _penalty(covariates: int, configurations: int) -> float:
    """AICc's, of the level and the covariates, which differ between configurations and hardly within."""
    k = covariates + 1
    return 2 * k + 2 * k * (k + 1) / (configurations - k - 1) if configurations > k + 1 else np.inf


def _weighed(model: mixed.Mixed) -> int:
    """In how many of the models without a configuration the covariates keep any weight."""
    return int((mixed.shares(model) > 0).sum())


def _gain(metrics: tuple[str, ...], base: mixed.Mixed, errors: Array, used: Mapping[str, int], margin: float) -> Gain:
    without = base.by_configuration
    change = inference.mean(errors - without)
    assert change.estimate is not None
    judged, p_value = verdict(change, margin)
    return Gain(metrics=metrics, runs=base.points.n, configurations=len(base.labels), without=float(without.mean()),
                error=float(errors.mean()), change=change.estimate, low=change.low, high=change.high, p_value=p_value,
                verdict=judged, used=used,
                more=_more(change, margin) if judged == "inconclusive" else 0)


def _more(change: Measured, margin: float) -> int | None:
    """Configurations more until the interval would lie inside the margin or on one side of zero."""
    if change.stderr is None or change.estimate is None:
        return None
    spread, least = change.stderr * np.sqrt(change.n), max(margin - abs(change.estimate), abs(change.estimate))
    counts = np.arange(change.n + 1, change.n + MOST + 1)
    enough = np.flatnonzero(np.array([t_quantile(int(n) - 1) for n in counts]) * spread / np.sqrt(counts) < least)
    return int(enough[0]) + 1 if len(enough) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence(AsDict):
    """What there is to answer from: configurations, seeds, sizes, and runs that were cut short."""

    configurations: int
    """Series."""
    runs: int
    """Usable runs, no controls."""
    sizes: int
    """Different ones."""
    smallest: float | None
    """Size, in tokens."""
    largest: float | None
    """The same."""
    seeds: int
    """Most runs of one configuration and size that differ in their seed."""
    cut_phase1: int
    """Runs whose Phase 1 ended at its limit of iterations."""
    cut_phase2: int
    """Runs whose best epoch is the last one allowed."""
    known_phase2: int
    """Runs of which it is known whether Phase 2 was cut short."""
    differ: tuple[str, ...]
    """Settings in which the configurations differ."""
    repeats: int
    """Runs that are the same as another under a different label."""
    missing: int
    """Sizes that configurations lack, of those their experiment has."""


def evidence(records: pl.DataFrame) -> Evidence:
    """Of the usable runs that are no controls."""
    from cvfp_core.claims.matched import groups

    runs = series.usable(records)
    runs = runs.filter(pl.col("control").is_null()) if runs["control"].null_count() else runs
    same = ("variant", "size", "seed", "val_ppl", "train_ppl", "val_er", "val_acc")
    again = runs.filter(pl.struct(same).is_duplicated() & pl.col("train_ppl").is_not_null())
    cells = runs.select("experiment", "series", "size").unique()
    rows, columns = (cells.select("experiment", name).unique() for name in ("series", "size"))
    traits = [each.traits for each in groups(runs)]
    names = dict.fromkeys(name for each in traits for name in each)
    ends = runs.select(pl.col("size").min().alias("low"), pl.col("size").max().alias("high")).row(0, named=True)
    seeds = runs.group_by("series", "size").agg(pl.col("seed").n_unique())
    return Evidence(
        configurations=runs["series"].n_unique(), runs=runs.height, sizes=runs["size"].n_unique(),
        smallest=ends["low"], largest=ends["high"], seeds=seeds["seed"].max() or 0,  # type: ignore[arg-type]
        cut_phase1=int(runs["phase1_censored"].fill_null(False).sum()),
        cut_phase2=int(runs["phase2_censored"].fill_null(False).sum()),
        known_phase2=runs.height - runs["phase2_censored"].null_count(),
        differ=tuple(name for name in names if len({str(each[name]) for each in traits if name in each}) > 1),
        repeats=again.height - again.select(same).n_unique(),
        missing=rows.join(columns, on="experiment").height - cells.height,
    )
