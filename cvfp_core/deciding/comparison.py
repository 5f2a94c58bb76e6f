"""Arms compared: is one better than the baseline, by how much data or compute, and how sure is that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import polars as pl

from cvfp_core.claims import matched
from cvfp_core.deciding import multiplier
from cvfp_core.deciding.pairs import Belief, Pairs, log_ratios, paired, ratio, settled_by, usable
from cvfp_core.errors import UsageError
from cvfp_core.fitting.linear import t_quantile
from cvfp_core.fitting.points import gather
from cvfp_core.fitting.predict import FAR, far_out
from cvfp_core.registry import Registry
from cvfp_core.registry.kinds import Law
from cvfp_core.schema.claims import Measured
from cvfp_core.schema.fits import Points, Reason
from cvfp_core.schema.plain import AsDict
from cvfp_core.schema.quantities import QUANTITIES, Quantity

MARGIN = 0.01
"""Ratio of the metric that does not matter, where none is said: one percent."""
SIGNIFICANT = 0.05
Verdict = Literal["better", "worse", "equivalent", "not settled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span(AsDict):
    """A factor with its 95 % interval and the two-sided p of 1."""

    value: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Against(AsDict):
    """One arm against the baseline."""

    arm: str
    baseline: str
    x: str
    """The size that a multiplier is of: `train_tokens`, `flops`."""
    response: str
    runs: tuple[int, int]
    """Usable runs of the baseline and of the arm."""
    pairs: int
    unmatched: tuple[int, int]
    """Usable runs of either that are in no pair."""
    matched_by: tuple[str, ...]
    level: str
    """What the interval is over: configurations, seeds, or sizes, which are no replicates."""
    units: int
    ratio: Span | None = None
    """Of the response, arm over baseline, at equal size and seed: geometric mean."""
    multiplier: Span | None = None
    """How many times its data or compute the baseline needs for as much, by a law both share."""
    free: Span | None = None
    """The same at `free_at`, by a law for each."""
    free_at: float | None = None
    shape_p: float | None = None
    """F test of a shared shape; small: the multiplier depends on size."""
    crossing: float | None = None
    """Where their own laws cross, between the smallest size and ten times the largest, if shapes differ."""
    verdict: Verdict = "not settled"
    margin: float = MARGIN
    needed: Mapping[str, int | None] = field(default_factory=dict)
    """Units, in all, that would tell the ratio from 1 (`different`) or hold it within the margin (`equivalent`)."""
    differences: tuple[matched.Difference, ...] = ()
    """What else differs between them."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chance(AsDict):
    """How likely each arm is the best at a size."""

    size: float
    distance: float
    """As a multiple of the largest size run."""
    best: Mapping[str, float]
    warning: str = ""


def compare(arms: Mapping[str, pl.DataFrame], law: Law, *, registry: Registry, x: str, y: str, at: Sequence[float] = (),
            margin: float = MARGIN, by: Sequence[str] = ()) -> tuple[tuple[Against, ...], tuple[Chance, ...]]:
    """Every further arm against the first, and the chance of each to be the best at the sizes.

    arms: records by name. law: a curve of x. at: sizes; by default ten times the largest. by: columns that tell arms
    apart, which are no confounders. Raises UsageError for fewer than two arms, an arm without usable runs, or no size
    in common.
    """
    if len(arms) < 2:
        raise UsageError(f"one arm, {', '.join(arms) or 'none'}: two or more are compared; give another path, or the "
                         "column that tells arms apart: --by COLUMN")
    if not 0 < margin < 1:
        raise UsageError(f"--margin must be a ratio that does not matter, between 0 and 1 such as 0.01, not {margin}")
    runs = {name: usable(each, x, y) for name, each in arms.items()}
    if empty := [name for name, each in runs.items() if each.is_empty()]:
        raise UsageError(f"arm '{empty[0]}' has no finished run with {x} and {y} (of {arms[empty[0]].height} runs); "
                         f"map them: --map {y}=COLUMN")
    lost = [Reason("{count} of {all} runs of {name} are not used: not finished, without {x} or {y}, or another's copy",
                   count=arms[name].height - each.height, all=arms[name].height, name=name, x=x, y=y)
            for name, each in runs.items() if each.height < arms[name].height]
    points = {name: gather(each, (x,), y, ("experiment",), registry.items(Quantity)) for name, each in runs.items()}
    first, *others = runs
    made, offsets, shapes = [], [], []
    for name in others:
        against, offset, free = _against(first, name, runs, points, law, x, y, margin, by, registry)
        made.append(replace(against, notes=(*against.notes, *lost)))
        offsets.append(offset)
        shapes.append(free)
    largest = max(float(each.inputs[x].max()) for each in points.values())
    chances = tuple(_chance(float(size), largest, x, [first, *others], offsets, shapes, points, law)
                    for size in at or [FAR * largest])
    return tuple(made), chances


def _against(first: str, name: str, runs: Mapping[str, pl.DataFrame], points: Mapping[str, Points], law: Law, x: str,
             y: str, margin: float, by: Sequence[str], registry: Registry) -> tuple[Against, Belief | None, bool]:
    """The comparison, the offset by which the chance of being best is computed, and whether shapes differ."""
    left, right = runs[first], runs[name]
    pairs = paired(left, right, x)
    if not pairs.items:
        if both := sorted(set(left[x]) & set(right[x])):
            raise UsageError(f"{first} and {name} have {x} {both[0]:g} in common, but no runs of one "
                             f"{' and '.join(each for each in pairs.matched_by if each != x)} there; name the column "
                             "that tells arms apart: --by COLUMN")
        ends = [f"{each} has {', '.join(f'{size:g}' for size in sorted(set(runs[each][x]))[:6])}"
                for each in (first, name)]
        raise UsageError(f"no {x} in common: {'; '.join(ends)}; run both arms at one size, or compare over another: "
                         "--x COLUMN")
    logs = log_ratios(pairs.items, left, right, y)
    if not np.isfinite(logs).all():
        raise UsageError(f"{y} must be positive in every run, as arms are compared by its ratio; map one that is: "
                         "--map NAME=EXPR --y NAME")
    mean = ratio(pairs, logs)
    notes = list(_of_pairs(pairs, runs[first], runs[name]))
    shared = multiplier.shared(law, points[first], points[name], pairs, logs)
    bent = shared is not None and shared.p_value is not None and shared.p_value < SIGNIFICANT
    top = min(float(points[each].inputs[x].max()) for each in (first, name))
    free = multiplier.free(law, points[first], points[name], top, pairs, logs)
    if shared is None:
        sizes, least = len({*points[first].sizes, *points[name].sizes}), len(law.parameters)
        notes.append(Reason("no multiplier: law '{law}' needs {least} sizes and two pairs, found {n} and {pairs}",
                            law=law.name, least=least, pairs=len(pairs.items), n=sizes)
                     if sizes < least or len(pairs.items) < 2 else
                     Reason("no multiplier: law '{law}' shows no trend that both arms share", law=law.name))
    elif bent:
        notes.append(Reason("the arms' curves differ in shape (p = {p:.2g}), so the multiplier depends on size; read "
                            "it at {size:.3g} {x}", p=shared.p_value or 0.0, size=top, x=x))
    cross = None
    if bent:
        low = min(float(points[each].inputs[x].min()) for each in (first, name))
        cross = multiplier.crossing(law, points[first], points[name], low, FAR * top)
    made = Against(
        arm=name, baseline=first, x=x, response=y, runs=(left.height, right.height), pairs=len(pairs.items),
        unmatched=pairs.unmatched, matched_by=pairs.matched_by, level=pairs.level, units=mean.n, ratio=_span(mean),
        multiplier=None if shared is None else _span(shared.measured), free=None if free is None else _span(free),
        free_at=None if free is None else top, shape_p=None if shared is None else shared.p_value, crossing=cross,
        verdict=verdict(mean, margin, points[first].quantity(y).better or "lower"), margin=margin,
        needed=settled_by(mean, margin),
        differences=tuple(each for each in _differences(first, name, left, right, registry) if each.name not in (x, *by)
                          and (each.left, each.right) != (first, name)), notes=tuple(notes))
    apart = multiplier.alone(free) if bent and free is not None else None
    return made, apart or (None if shared is None else shared.belief), bent


def _differences(first: str, name: str, left: pl.DataFrame, right: pl.DataFrame, registry: Registry
                 ) -> tuple[matched.Difference, ...]:
    """In which settings, traits of the model and of the data, and other words, the arms differ."""
    groups = [matched.group(runs.with_columns(series=pl.lit(each))) for each, runs in ((first, left), (name, right))]
    known = matched.differences(*groups)
    made = []
    for column in left.columns:
        word = column not in QUANTITIES and left[column].dtype == pl.String == right[column].dtype
        if column.startswith("_") or column in (*matched.IDENTITY, *matched.DATA, "settings", "content") or not (
                word or registry.quantity(column).kind == "setting"):
            continue
        values = [runs[column].unique().sort().to_list() for runs in (left, right)]
        if values[0] != values[1]:
            told = [" / ".join(map(str, each)) if len(each) > 1 else each[0] for each in values]
            made.append(matched.Difference(name=column, left=told[0], right=told[1]))
    return (*known, *made)


def verdict(mean: Measured, margin: float, better: str) -> Verdict:
    """What the log-ratio says: equivalent where its 90 % interval lies within the margin (two one-sided tests)."""
    if mean.estimate is None or mean.stderr is None or mean.low is None or mean.high is None:
        return "not settled"
    near = t_quantile(mean.dof, 0.9) * mean.stderr
    if abs(mean.estimate) + near < np.log1p(margin):
        return "equivalent"
    if mean.low > 0 or mean.high < 0:
        return "better" if (mean.high < 0) == (better == "lower") else "worse"
    return "not settled"


def _span(measured: Measured) -> Span | None:
    value, low, high = (None if end is None else float(np.exp(np.clip(end, -700, 700)))
                        for end in (measured.estimate, measured.low, measured.high))
    return None if value is None else Span(value=value, low=low, high=high, p_value=measured.p_value)


def _of_pairs(pairs: Pairs, left: pl.DataFrame, right: pl.DataFrame) -> list[str]:
    notes: list[str] = []
    if any(pairs.unmatched):
        notes.append(Reason("{a} of {left} runs and {b} of {right} have no partner of their size and seed",
                            a=pairs.unmatched[0], b=pairs.unmatched[1], left=left.height, right=right.height))
    if pairs.level == "sizes":
        notes.append(Reason("one configuration and fewer than two seeds in common: sizes are taken for "
                            "independent, and are no replicates"))
    elif pairs.level == "configurations" and (count := int(pairs.units.max()) + 1) < 4:
        notes.append(Reason("{count} configurations only, and their sizes are no replicates: the interval rests on "
                            "{count} values", count=count))
    return notes


def _chance(size: float, largest: float, x: str, names: Sequence[str], offsets: Sequence[Belief | None],
            bent: Sequence[bool], points: Mapping[str, Points], law: Law) -> Chance:
    """The chance of each arm to be the best; by each arm's own law at that size where shapes differ."""
    free = [multiplier.free(law, points[names[0]], points[name], size) if apart else None
            for name, apart in zip(names[1:], bent, strict=True)]
    there = [offset if own is None else multiplier.alone(own) or offset
             for own, offset in zip(free, offsets, strict=True)]
    told = [each for each in there if each is not None]
    best = multiplier.chances(told) if len(told) == len(there) else ()
    return Chance(size=size, distance=size / largest, best=dict(zip(names, best, strict=False)),
                  warning=far_out(x, size / largest) if size > FAR * largest * (1 + 1e-9) else "")


def arms_of(records: pl.DataFrame, by: Sequence[str], names: Any = None) -> dict[str, pl.DataFrame]:
    """The records of each arm: by the values of the columns, in order of first appearance, or those named."""
    made: dict[str, pl.DataFrame] = {}
    for key, each in records.group_by(by, maintain_order=True):
        if not all(part is None for part in key):
            made[":".join("?" if part is None else str(part) for part in key)] = each
    for name in names or ():
        if name not in made:
            raise UsageError(f"no arm '{name}' by {', '.join(by)}; there are: {', '.join(made)}")
    return {name: made[name] for name in names} if names else made
