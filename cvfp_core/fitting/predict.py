"""A fitted law at other inputs: value, interval of the mean, interval of one new run."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np

from cvfp_core.fitting.curve_fit import for_intervals, in_space, limits, pinned_as, solve_alike
from cvfp_core.fitting.curves import Curve, Goal
from cvfp_core.fitting.points import by_group, place
from cvfp_core.fitting.ray import Ray, ray
from cvfp_core.fitting.rolling import stretch
from cvfp_core.registry.guard import tidy
from cvfp_core.registry.kinds import Law
from cvfp_core.schema.fits import Fit, Points, Reason
from cvfp_core.schema.plain import AsDict

FAR = 10.0
"""Times the largest value fitted, or below the smallest, beyond which a prediction carries a warning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction(AsDict):
    """What a law says of some inputs. The mean interval is of the law's value, the run interval of one further run."""

    series: str
    law: str
    """Its name, or `average`."""
    inputs: Mapping[str, float]
    response: str = "val_ppl"
    value: float | None = None
    mean_low: float | None = None
    mean_high: float | None = None
    run_low: float | None = None
    run_high: float | None = None
    distance: float | None = None
    """The largest of `distances`."""
    distances: Mapping[str, float] = field(default_factory=dict)
    """Of each input, as a multiple of the largest value fitted."""
    interval_law: str = ""
    """The law whose uncertainty the intervals carry, where that is another."""
    reason: str = ""
    """Why there is no value or no interval, or a caution."""
    warnings: tuple[str, ...] = ()


def predict(fit: Fit, law: Law, at: Mapping[str, float]) -> Prediction:
    """What the fitted law says at the inputs; see `predict_each`."""
    return predict_each(law, [(fit, at)])[0]


@tidy()
@np.errstate(all="ignore")
def predict_each(law: Law, asked: Sequence[tuple[Fit, Mapping[str, float]]], *,
                 intervals: bool = True) -> list[Prediction]:
    """What the law says by each fit at its inputs, with 95 % intervals by profiles.

    Fits to points at the same inputs that are asked for the same place are traced at once. intervals: False where only
    the value is wanted, which is faster.
    """
    predictions = [_value(fit, law, at) for fit, at in asked]
    if not intervals:
        return predictions

    def alike(row: int) -> Hashable:
        fit, at = asked[row]
        given = tuple((e.name, e.value) for e in fit.estimates if e.method == "given")
        return place(cast(Points, fit.points)), tuple(at.items()), given, fit.basis is None

    def trace(rows: list[int]) -> list[Prediction]:
        fits = [asked[row][0] for row in rows]
        return _with_limits([predictions[row] for row in rows], fits, pinned_as(fits[0], law))

    traced = [row for row, (fit, _) in enumerate(asked) if predictions[row].value is not None and fit.usable]
    for row, prediction in zip(traced, by_group(traced, alike, trace), strict=True):
        predictions[row] = prediction
    return predictions


def _value(fit: Fit, law: Law, at: Mapping[str, float]) -> Prediction:
    """The prediction without the limits that have to be traced; without a value where there is none, and why."""
    blank = Prediction(series=fit.series, law=fit.law, inputs=dict(at), response=fit.response, reason=fit.reason)
    if fit.status == "not identifiable" and fit.points is not None and not fit.usable \
            and (line := ray(fit.points)) is not None:
        return _along(line, blank, law, fit)
    if fit.points is None or not fit.usable or law.function is None or fit.status in ("rises", "falls"):
        return replace(blank, reason=fit.reason or f"law '{fit.law}' does not predict")
    points = fit.points
    law = pinned_as(fit, law)
    inputs = {name: np.array([float(at[name])]) for name in law.inputs}
    distances = {name: float(inputs[name][0] / high) if high > 0 else float("nan")
                 for name, (_, high) in points.ranges.items()}
    parameters = np.array([[fit.value(p.name) for p in law.parameters]], dtype=float)
    value = float(Curve(law, points.inputs).values(parameters, inputs)[0, 0])
    blank = replace(blank, distances=distances, distance=max(distances.values()))
    where = {"place": _words(at)}
    if not np.isfinite(value):
        return replace(blank, reason=Reason("the law is not finite at {place}", **where))
    quantity = points.quantity(points.name)
    least, most = quantity.minimum, quantity.maximum
    if (least is not None and value < least) or (most is not None and value > most):
        # what a perplexity or an accuracy cannot be
        name = "perplexity" if points.name.endswith("ppl") else points.name
        side, end = ("below", least) if least is not None and value < least else ("above", most)
        return replace(blank, reason=Reason(
            "{side} {end:g} at {place}, as no {name} can be: the law has left its range; ask nearer", **where,
            name=name, side=side, end=float(end if end is not None else 0.0)))
    return replace(blank, value=value, warnings=(*_warnings(points, at, distances), *fit.caveats))


def _with_limits(bare: Sequence[Prediction], fits: Sequence[Fit], law: Law) -> list[Prediction]:
    """The predictions at one place with the limits of the law there, of fits to points at the same inputs."""
    every = [cast(Points, fit.points) for fit in fits]
    held = [fit.basis for fit in fits if fit.basis is not None] or for_intervals(solve_alike(law, every), every[0])
    if held[0].variance.value is None:
        return [replace(each, reason=Reason("{n} sizes for {parameters} parameters: no interval", n=fit.sizes,
                                            parameters=len(law.parameters)))
                for each, fit in zip(bare, fits, strict=True)]
    count = len(bare)
    goal = Goal(target=np.zeros(2 * count), weight=np.ones(2 * count), parameter=np.full(2 * count, -1),
                log=np.zeros(2 * count, dtype=bool),
                inputs={name: np.array([float(bare[0].inputs[name])]) for name in law.inputs})
    quantity = every[0].quantity(every[0].name)
    least, most = quantity.minimum, quantity.maximum
    low, high = (np.full(2 * count, in_space(law, np.array(end)) if end is not None else side * np.inf)
                 for end, side in ((least if least or law.space == "raw" else None, -1), (most, 1)))
    ends = limits([solved for solved in held for _ in range(2)], goal, run=np.tile([False, True], count), low=low,
                  high=high)
    known = [solved.stretch for solved in held]
    factors = np.array(known, dtype=float) if None not in known else (
        stretch(held, every[0]) if len(law.inputs) > 1 else np.ones(count))
    return [_stretched(each, law, float(factor), (mean, run), (float(low[0]), float(high[0])))
            for each, factor, mean, run in zip(bare, factors, ends[::2], ends[1::2], strict=True)]


def _stretched(bare: Prediction, law: Law, factor: float, ends: Sequence[tuple[float, float]],
               bounds: tuple[float, float]) -> Prediction:
    """The prediction with the ends of the mean and of a new run, in the space of residuals, so many times as far off.

    Those of a loss which is not squares are about another optimum, but hold the value. bounds: of the quantity.
    """
    low, high = bounds
    back = _exp if law.space == "log" else _end
    centre = float(in_space(law, np.array(bare.value)))
    mean_low, run_low = (back(max(low, centre + factor * (min(end, centre) - centre))) for end, _ in ends)
    mean_high, run_high = (back(min(high, centre + factor * (max(end, centre) - centre))) for _, end in ends)
    if factor > 1:
        bare = replace(bare, warnings=(*bare.warnings, stretched(factor)))
    return replace(bare, mean_low=mean_low, mean_high=mean_high, run_low=run_low, run_high=run_high)


def _along(line: Ray, blank: Prediction, law: Law, refused: Fit) -> Prediction:
    """What the curve along the line says there; no value beside it."""
    fit, points, at = refused.basis, cast(Points, refused.points), blank.inputs
    if fit is None:
        return blank
    if not line.holds(at):
        return replace(blank, reason=Reason(
            "{place} is off the line {relation} that all runs lie on, and beside it nothing is known; vary one",
            place=_words(at), relation=line.words))
    made = predict(fit, line.curve(law), {line.one: at[line.one]})
    distances = {name: at[name] / high for name, (_, high) in points.ranges.items()}
    note = Reason("holds along {relation} only", relation=line.words)
    return replace(made, inputs=dict(at), response=blank.response, reason=made.reason or note, distances=distances,
                   distance=max(distances.values()))


def _exp(end: float) -> float | None:
    """A limit on the scale of the response; None where there is none."""
    return float(np.exp(end)) if np.isfinite(end) and abs(end) < 300 else None


def _end(end: float) -> float | None:
    return float(end) if np.isfinite(end) else None


def _words(at: Mapping[str, float]) -> str:
    return ", ".join(f"{value:g} {name}" for name, value in at.items())


def _warnings(points: Points, at: Mapping[str, float], distances: Mapping[str, float]) -> tuple[str, ...]:
    made: list[str] = [points.caution] if points.caution else []
    for name, (low, _) in points.ranges.items():
        if distances[name] > FAR:
            made.append(far_out(name, distances[name]))
        elif 0 < at[name] < low / FAR:
            made.append(Reason("{distance:.3g} of the smallest {name} fitted: no interval covers a change of law down "
                               "there", distance=float(at[name]) / low, name=name))
    if len(points.inputs) > 1 and not inside_hull(points, at):
        made.append(Reason("outside the hull of the points in {names}: no run fitted has such a combination",
                           names=", ".join(points.inputs)))
    return tuple(made)


def far_out(name: str, distance: float) -> str:
    """The warning where an input is that many times the largest fitted."""
    return Reason("{distance:.3g} times the largest {name} fitted: no interval covers a change of law out there",
                  distance=distance, name=name)


def stretched(factor: float) -> str:
    """The warning where intervals are that many times as wide as the law has them."""
    return Reason("intervals are {factor:.2g} times wider, as the back-test missed by so much", factor=factor)


def inside_hull(points: Points, at: Mapping[str, float]) -> bool:
    """Whether the inputs lie within the convex hull of the points, in logarithms where all are positive."""
    from scipy import optimize

    columns, place = [], []
    for name, values in points.inputs.items():
        log = (values > 0).all() and at[name] > 0
        x, here = (np.log(values), np.log(at[name])) if log else (values, at[name])
        spread = max(float(np.ptp(x)), 1e-12)
        columns.append((x - x.mean()) / spread)
        place.append((here - x.mean()) / spread)
    corners = np.unique(np.stack(columns), axis=1)
    conditions = np.concatenate([corners, np.ones((1, corners.shape[1]))])
    solved = optimize.linprog(np.zeros(corners.shape[1]), A_eq=conditions, b_eq=[*place, 1.0], method="highs")
    return bool(solved.status == 0)


