"""A fitted law at other inputs: value, interval of the mean, interval of one new run."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np

from cvfp_core.fitting.curve_fit import in_space, limits, pinned_as, solve_alike
from cvfp_core.fitting.curves import Curve, Goal
from cvfp_core.fitting.points import place, together
from cvfp_core.registry.kinds import Law
from cvfp_core.schema.fits import Array, Fit, Points, Reason
from cvfp_core.schema.plain import AsDict

FAR = 10.0
"""Times the largest value fitted, or below the smallest, beyond which a prediction carries a warning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction(AsDict):
    """What a law says of some inputs. The mean interval is of the law's value, the run interval of one further run."""

    series: str
    law: str
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


@np.errstate(all="ignore")
def predict_each(law: Law, asked: Sequence[tuple[Fit, Mapping[str, float]]]) -> list[Prediction]:
    """What the law says by each fit at its inputs, with 95 % intervals: profiles, or for a Huber loss the bootstrap's.

    Fits to points at the same inputs that are asked for the same place are traced at once.
    """
    bare = [_value(fit, law, at) for fit, at in asked]
    traced = [row for row, (fit, _) in enumerate(asked) if bare[row].value is not None and fit.draws is None]

    def alike(row: int) -> Hashable:
        fit, at = asked[row]
        given = tuple((e.name, e.value) for e in fit.estimates if e.method == "given")
        return place(cast(Points, fit.points)), tuple(at.items()), given

    def trace(rows: list[int]) -> list[Prediction]:
        return _with_limits([bare[row] for row in rows], pinned_as(asked[rows[0]][0], law),
                            [cast(Points, asked[row][0].points) for row in rows])

    ends = dict(zip(traced, together(traced, alike, trace), strict=True))
    return [ends.get(row, each) for row, each in enumerate(bare)]


def _value(fit: Fit, law: Law, at: Mapping[str, float]) -> Prediction:
    """The prediction without the limits that have to be traced; without a value where there is none, and why."""
    blank = Prediction(series=fit.series, law=fit.law, inputs=dict(at), response=fit.response, reason=fit.reason)
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
    blank = replace(blank, value=value, warnings=_warnings(points, at, distances))
    if fit.draws is not None:
        return _from_draws(blank, law, points, fit.draws, parameters, inputs)
    return blank


def _with_limits(bare: Sequence[Prediction], law: Law, alike: Sequence[Points]) -> list[Prediction]:
    """The predictions at one place with the limits of the law there, for points at the same inputs."""
    solved = solve_alike(law, alike)
    if solved[0].variance.value is None:
        return [replace(each, reason=Reason("{n} sizes for {parameters} parameters: no interval", n=len(points.sizes),
                                            parameters=len(law.parameters)))
                for each, points in zip(bare, alike, strict=True)]
    count = len(bare)
    goal = Goal(target=np.zeros(2 * count), weight=np.ones(2 * count), parameter=np.full(2 * count, -1),
                log=np.zeros(2 * count, dtype=bool),
                inputs={name: np.array([float(bare[0].inputs[name])]) for name in law.inputs})
    quantity = alike[0].quantity(alike[0].name)
    least, most = quantity.minimum, quantity.maximum
    low, high = (np.full(2 * count, in_space(law, np.array(end)) if end is not None else side * np.inf)
                 for end, side in ((least if least or law.space == "raw" else None, -1), (most, 1)))
    ends = limits([each for each in solved for _ in range(2)], goal, run=np.tile([False, True], count), low=low,
                  high=high)
    back = _exp if law.space == "log" else _end
    return [replace(each, mean_low=back(mean[0]), mean_high=back(mean[1]), run_low=back(run[0]), run_high=back(run[1]))
            for each, mean, run in zip(bare, ends[::2], ends[1::2], strict=True)]


def _from_draws(blank: Prediction, law: Law, points: Points, draws: Array, parameters: Array,
                inputs: Mapping[str, Array]) -> Prediction:
    """The central 95 % of the law over the resamples; of a new run with residuals drawn beside."""
    curve = Curve(law, points.inputs)
    ahead = curve.fitted(draws, inputs)[:, 0]
    ahead = ahead[np.isfinite(ahead)]
    residuals = in_space(law, points.response) - curve.fitted(parameters)[0]
    residuals = residuals * np.sqrt(points.n / max(points.n - len(law.parameters), 1))
    run = ahead + np.random.default_rng(0).choice(residuals, len(ahead))
    ends = [float(end) for values in (ahead, run) for end in np.quantile(values, [0.025, 0.975])]
    back = _exp if law.space == "log" else _end
    low, high, run_low, run_high = map(back, ends)
    return replace(blank, mean_low=low, mean_high=high, run_low=run_low, run_high=run_high)


def _exp(end: float) -> float | None:
    """A limit on the scale of the response; None where there is none."""
    return float(np.exp(end)) if np.isfinite(end) and abs(end) < 300 else None


def _end(end: float) -> float | None:
    return float(end) if np.isfinite(end) else None


def _words(at: Mapping[str, float]) -> str:
    return ", ".join(f"{value:g} {name}" for name, value in at.items())


def _warnings(points: Points, at: Mapping[str, float], distances: Mapping[str, float]) -> tuple[str, ...]:
    made: list[str] = []
    for name, (low, _) in points.ranges.items():
        if distances[name] > FAR:
            made.append(Reason("{distance:.3g} times the largest {name} fitted: no interval covers a change of law out "
                               "there", distance=distances[name], name=name))
        elif 0 < at[name] < low / FAR:
            made.append(Reason("{distance:.3g} of the smallest {name} fitted: no interval covers a change of law down "
                               "there", distance=float(at[name]) / low, name=name))
    if len(points.inputs) > 1 and not inside_hull(points, at):
        made.append(Reason("outside the hull of the points in {names}: no run fitted has such a combination",
                           names=", ".join(points.inputs)))
    return tuple(made)


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


