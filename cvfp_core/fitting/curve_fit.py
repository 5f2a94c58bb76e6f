"""One law given by its function, fitted to one set of points: estimates, intervals, status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from cvfp_core.fitting.curves import Curve
from cvfp_core.fitting.linear import Variance, aicc, pooled_variance, t_quantile
from cvfp_core.fitting.profiles import profile_ends
from cvfp_core.fitting.search import Goal, Solution, sensitivities, solve
from cvfp_core.registry.kinds import Fitter
from cvfp_core.schema.fits import Array, Estimate, Fit, Points, Reason, Status

CONSTRAINT = 3e3
"""How much stiffer than the points a constraint is; the profile is off by its inverse square."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solved:
    """A curve with the optimum of one set of points and the variance about it."""

    curve: Curve
    target: Array
    """(1, n)"""
    optimum: Solution
    variance: Variance

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
        targets = np.repeat(self.target, 2 * count, axis=0)
        ends = profile_ends(
            self.curve, targets, np.ones_like(targets), optimum.rows(both), replace(goal, weight=weight).rows(both),
            step=(t * error)[both], allowed=np.full(2 * count, t**2 * self.sigma**2),
            sign=np.repeat([-1.0, 1.0], count), limit=np.concatenate([low, high]),
        )
        return list(zip(ends[:count].tolist(), ends[count:].tolist(), strict=True))

    def errors(self, goal: Goal, optimum: Solution) -> Array:
        """(B,) standard error of each quantity from the curvature at the optimum; a guess where there is none."""
        law, slope = sensitivities(self.curve, optimum.parameters, goal)
        value = np.abs(goal.quantity(self.curve, optimum.parameters))
        spread = np.linalg.pinv(np.einsum("bni,bnj->bij", law, law), rcond=1e-14, hermitian=True)
        error = self.sigma * np.sqrt(np.maximum(np.einsum("bi,bij,bj->b", slope, spread, slope), 0.0))
        ceiling = np.where(goal.log | (goal.parameter < 0), 1.0, 10 * np.maximum(value, 1e-3))
        guess = np.maximum(value, 1e-6) * 0.1
        return np.asarray(np.where(error > 1e-12 * np.maximum(value, 1e-300), np.minimum(error, ceiling), guess))


def solve_points(fitter: Fitter, points: Points) -> Solved:
    """The optimum of the law's function for these points."""
    curve = Curve(fitter, points.inputs)
    target = np.log(points.response)[None, :]
    optimum = solve(curve, target, tries=6)
    residuals = target[0] - curve.fitted(optimum.parameters)[0]
    variance = pooled_variance(residuals, len(fitter.parameters), _cells(points))
    return Solved(curve=curve, target=target, optimum=optimum, variance=variance)


def fit_curve(fitter: Fitter, points: Points, *, given: Mapping[str, float] | None = None,
              intervals: bool = True) -> Fit:
    """The law's function fitted to the points, with profile-F intervals.

    given: parameters that are not fitted but known. intervals: False where only the curve is wanted, which is faster.
    """
    whole, given = fitter, given or {}
    fitter = pin(fitter, given)
    solved = solve_points(fitter, points)
    optimum, variance = solved.optimum, solved.variance
    rss = float(optimum.rss[0])
    blank = Fit(
        law=whole.name, form=whole.form, series=str(points.series[0]), status="failed", floor=whole.floor,
        n=points.n, sizes=len(points.sizes), left_out=points.left_out, points=points,
        fitted_range=(float(points.sizes[0]), float(points.sizes[-1])),
    )
    if not np.isfinite(rss) or not np.isfinite(optimum.parameters).all():
        return replace(blank, reason="the law is not positive and finite at the points for any parameters tried")
    fitted = _estimates(solved, intervals)
    estimates: list[Estimate] = []
    for parameter in whole.parameters:
        if parameter.name in given:
            estimates.append(Estimate(name=parameter.name, value=float(given[parameter.name]), method="given",
                                      unit=parameter.unit, note="not fitted"))
        else:
            estimates.append(fitted[parameter.name])
    status, reason = _status(solved, estimates)
    target = solved.target[0]
    total = float(np.square(target - target.mean()).sum())
    return replace(
        blank, status=status, reason=reason, estimates=tuple(estimates), dof=variance.dof, rss=rss,
        sigma=None if variance.value is None else float(np.sqrt(variance.value)),
        r_squared=1 - rss / total if total > 0 else None, aicc=aicc(rss, points.n, len(fitter.parameters)),
        lack_of_fit_p=variance.lack_of_fit_p,
    )


def pin(fitter: Fitter, given: Mapping[str, float]) -> Fitter:
    """The law with some parameters fixed at known values."""
    if not given:
        return fitter
    function = fitter.function
    assert function is not None

    def pinned(**values: Any) -> Any:
        return function(**values, **given)

    return replace(
        fitter, function=pinned, parameters=tuple(p for p in fitter.parameters if p.name not in given),
        # with a floor given the law is no longer proportional to its other linear parameters
        linear=(), floor=None if fitter.floor in given else fitter.floor, fit=None,
    )


def _estimates(solved: Solved, intervals: bool) -> dict[str, Estimate]:
    """An estimate for each parameter fitted. Positive ones, but for the floor, are profiled by their logarithm."""
    curve, parameters = solved.curve, solved.curve.fitter.parameters
    values = solved.optimum.parameters[0]
    plain = [Estimate(name=p.name, value=float(v), unit=p.unit) for p, v in zip(parameters, values, strict=True)]
    if solved.variance.value is None or not intervals:
        return {estimate.name: estimate for estimate in plain}
    log = np.array([p.minimum >= 0 and p.name != curve.fitter.floor and v > 0
                    for p, v in zip(parameters, values, strict=True)])
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = (np.where(log, np.clip(np.log(np.maximum(b, 0)), -700, 700), b) for b in (curve.low, curve.high))
    count = len(parameters)
    goal = Goal(target=np.zeros(count), weight=np.ones(count), parameter=np.arange(count), log=log)
    ends = solved.limits(goal, run=np.zeros(count, dtype=bool), low=low, high=high)
    return {
        estimate.name: replace(estimate, low=_natural(ends[i][0], log[i]), high=_natural(ends[i][1], log[i]),
                               method="profile F")
        for i, estimate in enumerate(plain)
    }


def _natural(end: float, log: bool) -> float | None:
    """An end in the parameter's own units; None: unbounded."""
    if not np.isfinite(end) or (log and abs(end) >= 690):
        return None
    return float(np.exp(end)) if log else end


def _status(solved: Solved, estimates: list[Estimate]) -> tuple[Status, str]:
    fitter = solved.curve.fitter
    names = [estimate.name for estimate in estimates]
    if solved.variance.value is None:
        count = len(fitter.parameters)
        return "no interval", Reason("{n} parameters through {n} points leave no residual; add a size for intervals",
                                     n=count)
    bounds = [
        (p.name, bound)
        for p in fitter.parameters for bound in (p.minimum, p.maximum)
        if _reaches(cast(float, estimates[names.index(p.name)].value), bound, solved, p.name)
    ]
    if bounds:
        return "at a bound", Reason(
            "{names} at its bound {bounds}: the points do not call for it; fit a law without it or add sizes",
            names=", ".join(name for name, _ in bounds), bounds=", ".join(f"{bound:g}" for _, bound in bounds))
    open_ended = [e.name for e in estimates if e.method == "profile F" and (e.low is None or e.high is None)]
    if open_ended:
        return "not identifiable", Reason("{names} without a limit: the points do not tell the parameters apart; add "
                                          "larger sizes or repeats, or pin one", names=", ".join(open_ended))
    if not solved.optimum.converged[0]:
        return "failed", "the search did not settle; the values are the best found"
    return "converged", ""


def _reaches(value: float, bound: float, solved: Solved, name: str) -> bool:
    """Whether the parameter sits at the bound, relative to what it could be."""
    if not np.isfinite(bound):
        return False
    scale = float(np.exp(solved.target.mean())) if name == solved.curve.fitter.floor else max(abs(bound), 1e-9)
    return abs(value - bound) <= 1e-7 * scale


def _cells(points: Points) -> Array:
    """(n,) one label for each distinct combination of inputs."""
    stack = np.stack(list(points.inputs.values()), axis=1)
    return np.asarray(np.unique(stack, axis=0, return_inverse=True)[1]).ravel()
