"""One law given by its function, fitted to one set of points: estimates, intervals, status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from cvfp_core.fitting.bootstrap import resampled
from cvfp_core.fitting.curves import Curve, Goal
from cvfp_core.fitting.linear import Variance, aicc, pooled_variance, t_quantile
from cvfp_core.fitting.profiles import profile_ends
from cvfp_core.fitting.robust import robust
from cvfp_core.fitting.search import Solution, sensitivities, solve
from cvfp_core.registry.kinds import Huber, Law, LeastSquares
from cvfp_core.schema.fits import Array, Estimate, Fit, Points, Reason, Status

PROFILES = ("profile F", "robust profile")
"""Methods whose intervals say that they have no end."""
CONSTRAINT = 3e3
"""How much stiffer than the points a constraint is; the profile is off by its inverse square."""
SINGULAR = 1e-9
"""Smallest over largest singular value of the derivatives, in local coordinates, below which nothing is told apart."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solved:
    """A curve with the optimum of one set of points and the variance about it."""

    curve: Curve
    target: Array
    """(1, n) in the space of residuals."""
    weights: Array
    """(1, n) that multiply residuals."""
    optimum: Solution
    variance: Variance
    rss: float
    """Sum of squared residuals, whatever was minimised."""
    corner: Array | None = None
    """(1,) of the Huber loss that is profiled; None: the law's own loss is."""

    @property
    def sigma(self) -> float:
        """Scale of residuals, never 0."""
        return float(np.sqrt(max(self.variance.value or 0.0, 1e-20)))

    def limits(self, goal: Goal, *, run: Array, low: Array, high: Array) -> list[tuple[float, float]]:
        """95 % limits of each goal's quantity; of one further run of it where `run`. All are traced at once."""
        count = len(run)
        optimum = Solution(parameters=np.repeat(self.optimum.parameters, count, axis=0),
                           rss=np.repeat(self.optimum.rss, count), converged=np.repeat(self.optimum.converged, count))
        error = self.errors(goal, optimum)
        scatter = np.sqrt(max(self.variance.new_run or 0.0, 1e-20))
        weight = np.where(run, self.sigma / scatter, CONSTRAINT * self.sigma / error)
        error = np.where(run, np.hypot(error, scatter), error)
        t = t_quantile(self.variance.dof)
        both = np.tile(np.arange(count), 2)
        targets, weights = (np.repeat(each, 2 * count, axis=0) for each in (self.target, self.weights))
        ends = profile_ends(
            self.curve, targets, weights, optimum.rows(both), replace(goal, weight=weight).rows(both),
            step=(t * error)[both], allowed=np.full(2 * count, t**2 * self.sigma**2),
            sign=np.repeat([-1.0, 1.0], count), limit=np.concatenate([low, high]),
            delta=None if self.corner is None else np.repeat(self.corner, 2 * count),
        )
        return list(zip(ends[:count].tolist(), ends[count:].tolist(), strict=True))

    def errors(self, goal: Goal, optimum: Solution) -> Array:
        """(B,) standard error of each quantity from the curvature at the optimum; a guess where there is none."""
        law, slope = sensitivities(self.curve, optimum.parameters, goal)
        value = np.abs(goal.quantity(self.curve, optimum.parameters))
        law = np.where(np.isfinite(law), law, 0.0) * self.weights[..., None]
        spread = np.linalg.pinv(np.einsum("bni,bnj->bij", law, law), rcond=1e-14, hermitian=True)
        error = self.sigma * np.sqrt(np.maximum(np.einsum("bi,bij,bj->b", slope, spread, slope), 0.0))
        ceiling = np.where(goal.log | (goal.parameter < 0), 1.0, 10 * np.maximum(value, 1e-3))
        guess = np.maximum(value, 1e-6) * 0.1
        return np.asarray(np.where(error > 1e-12 * np.maximum(value, 1e-300), np.minimum(error, ceiling), guess))


def in_space(law: Law, response: Array) -> Array:
    """The response in the space the law's residuals are taken in."""
    return np.log(response) if law.space == "log" else np.asarray(response, dtype=float)


def solve_points(law: Law, points: Points) -> Solved:
    """The optimum of the law's function for these points."""
    curve = Curve(law, points.inputs)
    target = in_space(law, points.response)[None, :]
    weights = np.ones_like(target) if points.weights is None else np.sqrt(points.weights)[None, :]
    optimum = solve(curve, target, weights=weights, tries=2 if len(points.inputs) > 1 and law.starts else 8)
    if len(points.inputs) > 1 and not optimum.converged[0]:
        optimum = solve(curve, target, weights=weights, tries=48)
    residuals = weights[0] * (target[0] - curve.fitted(optimum.parameters)[0])
    variance = pooled_variance(residuals, len(law.parameters), _cells(points))
    return Solved(curve=curve, target=target, weights=weights, optimum=optimum, variance=variance,
                  rss=float(residuals @ residuals))


def for_intervals(solved: Solved, points: Points) -> Solved:
    """What intervals are profiles of: the solution itself, or for a loss that is not squares its robust one."""
    loss = solved.curve.law.loss
    if loss == LeastSquares() or solved.variance.value is None:
        return solved
    made = robust(solved.curve, solved.target, solved.weights, solved.optimum, _cells(points))
    if made is None:
        return solved
    return replace(solved, optimum=made.optimum, weights=made.weights, variance=made.variance, corner=made.corner)


def fit_curve(law: Law, points: Points, *, given: Mapping[str, float] | None = None, intervals: bool = True) -> Fit:
    """The law's function fitted to the points, with intervals by profiles, on a robust scale for a Huber loss.

    given: parameters that are not fitted but known. intervals: False where only the curve is wanted, which is faster.
    """
    whole, given = law, given or {}
    law = pin(law, given)
    solved = solve_points(law, points)
    optimum, variance = solved.optimum, solved.variance
    blank = Fit(law=whole.name, form=whole.form, series=points.label, status="failed", floor=whole.floor, n=points.n,
                sizes=len(points.sizes), left_out=points.left_out, points=points, space=law.space,
                fitted_range=(float(points.sizes[0]), float(points.sizes[-1])))
    if not np.isfinite(optimum.rss[0]) or not np.isfinite(optimum.parameters).all():
        where = "positive and finite" if law.space == "log" else "finite"
        return replace(blank, reason=Reason("the law is not {where} at the points for any parameters tried",
                                            where=where))
    squares = law.loss == LeastSquares()
    draws = resampled(solved.curve, solved.target, optimum, weights=solved.weights) \
        if not squares and intervals and variance.value else None
    held = for_intervals(solved, points) if intervals else None
    fitted = _estimates(solved, held)
    if draws is not None and len(draws) > 1:
        spread = [float(each) if np.isfinite(each) else None for each in draws.std(axis=0, ddof=1)]
        fitted = {name: replace(each, stderr=error) for (name, each), error in
                  zip(fitted.items(), spread, strict=True)}
    estimates = [fitted[p.name] if p.name not in given else
                 Estimate(name=p.name, value=float(given[p.name]), method="given", unit=p.unit, note="not fitted")
                 for p in whole.parameters]
    status, reason = _status(solved, estimates)
    target = solved.target[0]
    total = float(np.square(target - target.mean()).sum())
    return replace(
        blank, status=status, reason=reason, estimates=tuple(estimates), dof=variance.dof, rss=solved.rss, draws=draws,
        basis=held, minimum=float(optimum.rss[0]) / 2, caveats=(*points.caveats, *_off(held)),
        loss=_words(law.loss),
        sigma=None if variance.value is None else float(np.sqrt(variance.value)),
        r_squared=1 - solved.rss / total if total > 0 else None,
        aicc=None if not squares else aicc(solved.rss, points.n, len(law.parameters)),
        lack_of_fit_p=variance.lack_of_fit_p,
    )


def _off(solved: Solved | None) -> tuple[str, ...]:
    """How many runs the intervals leave out, if any."""
    count = 0 if solved is None else int((solved.weights == 0).sum())
    return (Reason("{count} of {n} runs lie off the law by more than chance allows; its intervals leave them out",
                   count=count, n=solved.target.shape[1]),) if solved is not None and count else ()


def pin(law: Law, given: Mapping[str, float]) -> Law:
    """The law with some parameters fixed at known values."""
    if not given:
        return law
    function = law.function
    assert function is not None

    def pinned(**values: Any) -> Any:
        return function(**values, **given)

    return replace(
        law, function=pinned, parameters=tuple(p for p in law.parameters if p.name not in given),
        # with a floor given the law is no longer proportional to its other linear parameters
        linear=(), floor=None if law.floor in given else law.floor, fit=None,
    )


def pinned_as(fit: Fit, law: Law) -> Law:
    """The law with the parameters fixed that were given for the fit."""
    return pin(law, {e.name: e.value for e in fit.estimates if e.method == "given" and e.value is not None})


def _words(loss: LeastSquares | Huber) -> str:
    name = f"Huber, delta {loss.delta:g}" if isinstance(loss, Huber) else "least squares"
    return name if loss.above == 1 else f"{name}, runs above the law weighted {loss.above:g}"


def _estimates(solved: Solved, held: Solved | None) -> dict[str, Estimate]:
    """An estimate for each parameter fitted. Positive ones, but for the floor, are profiled by their logarithm.

    held: what is profiled; None: no intervals are asked for. An interval holds the estimate, whose loss may be another.
    """
    curve, parameters = solved.curve, solved.curve.law.parameters
    values = solved.optimum.parameters[0]
    plain = [Estimate(name=p.name, value=float(v), unit=p.unit) for p, v in zip(parameters, values, strict=True)]
    if solved.variance.value is None or held is None:
        return {estimate.name: estimate for estimate in plain}
    log = np.array([p.minimum >= 0 and p.name != curve.law.floor and v > 0
                    for p, v in zip(parameters, held.optimum.parameters[0], strict=True)])
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = (np.where(log, np.clip(np.log(np.maximum(b, 0)), -700, 700), b) for b in (curve.low, curve.high))
    count = len(parameters)
    goal = Goal(target=np.zeros(count), weight=np.ones(count), parameter=np.arange(count), log=log)
    ends = held.limits(goal, run=np.zeros(count, dtype=bool), low=low, high=high)
    method = PROFILES[held.corner is not None]
    made = {}
    for i, estimate in enumerate(plain):
        lower, upper = _natural(ends[i][0], log[i]), _natural(ends[i][1], log[i])
        made[estimate.name] = replace(estimate, low=None if lower is None else min(lower, values[i]),
                                      high=None if upper is None else max(upper, values[i]), method=method)
    return made


def _natural(end: float, log: bool) -> float | None:
    """An end in the parameter's own units; None: unbounded."""
    if not np.isfinite(end) or (log and abs(end) >= 690):
        return None
    return float(np.exp(end)) if log else end


def _status(solved: Solved, estimates: list[Estimate]) -> tuple[Status, str]:
    law = solved.curve.law
    names = [estimate.name for estimate in estimates]
    if solved.variance.value is None:
        return "no interval", Reason("{n} parameters through {n} points leave no residual; add a size for intervals",
                                     n=len(law.parameters))
    bounds = [
        (p.name, bound)
        for p in law.parameters for bound in (p.minimum, p.maximum)
        if _reaches(cast(float, estimates[names.index(p.name)].value), bound, solved, p.name)
    ]
    if bounds:
        return "at a bound", Reason(
            "{names} at its bound {bounds}: the points do not call for it; fit a law without it or add sizes",
            names=", ".join(name for name, _ in bounds), bounds=", ".join(f"{bound:g}" for _, bound in bounds))
    open_ended = [e.name for e in estimates if e.method in PROFILES and (e.low is None or e.high is None)]
    if open_ended or _singular(solved):
        return "not identifiable", Reason("{names} without a limit: the points do not tell the parameters apart; add "
                                          "larger sizes or repeats, or pin one",
                                          names=", ".join(open_ended or [p.name for p in law.parameters]))
    if not solved.optimum.converged[0]:
        return "failed", "the search did not settle; the values are the best found"
    return "converged", ""


def _singular(solved: Solved) -> bool:
    """Whether some change of the parameters leaves the law as it is at every point. Asked of surfaces."""
    if len(solved.curve.inputs) == 1:
        return False
    goal = Goal(target=np.zeros(1), weight=np.ones(1), parameter=np.zeros(1, dtype=int), log=np.zeros(1, dtype=bool))
    slope, _ = sensitivities(solved.curve, solved.optimum.parameters, goal)
    length = np.sqrt(np.square(slope[0]).sum(axis=0))
    if not np.isfinite(length).all() or (length == 0).any():
        return False  # a part that vanished is at its bound
    sizes = np.linalg.svd(slope[0] / length, compute_uv=False)
    return bool(sizes[-1] < SINGULAR * sizes[0])


def _reaches(value: float, bound: float, solved: Solved, name: str) -> bool:
    """Whether the parameter sits at the bound, relative to what it could be."""
    if not np.isfinite(bound):
        return False
    curve = solved.curve
    level = float(np.abs(curve.values(solved.optimum.parameters)).mean())
    if name == curve.law.floor:
        scale = level
    elif name in curve.law.linear:
        basis = curve.basis(solved.optimum.parameters)[0, :, curve.law.linear.index(name)]
        return abs(value - bound) * float(np.abs(basis).max()) <= 1e-7 * level
    else:
        scale = max(abs(bound), 1e-9)
    return abs(value - bound) <= 1e-7 * scale


def _cells(points: Points) -> Array:
    """(n,) one label for each distinct combination of inputs."""
    stack = np.stack(list(points.inputs.values()), axis=1)
    return np.asarray(np.unique(stack, axis=0, return_inverse=True)[1]).ravel()
