"""One law given by its function, fitted to one set of points: estimates, intervals, status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from cvfp_core.fitting.bootstrap import resampled
from cvfp_core.fitting.curves import Curve, Goal
from cvfp_core.fitting.linear import Variance, aicc, pooled_variance, t_quantile
from cvfp_core.fitting.points import place, together
from cvfp_core.fitting.profiles import profile_ends
from cvfp_core.fitting.search import Solution, sensitivities, solve
from cvfp_core.registry.kinds import Huber, Law
from cvfp_core.schema.fits import Array, Estimate, Fit, Points, Reason, Status

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
    optimum: Solution
    variance: Variance
    rss: float
    """Sum of squared residuals, whatever was minimised."""

    @property
    def found(self) -> bool:
        """Whether the law has values at the points for some parameters."""
        return bool(np.isfinite(self.optimum.rss[0]) and np.isfinite(self.optimum.parameters).all())

    @property
    def sigma(self) -> float:
        """Scale of residuals, never 0."""
        return float(np.sqrt(max(self.variance.value or 0.0, 1e-20)))

    def limits(self, goal: Goal, *, run: Array, low: Array, high: Array) -> list[tuple[float, float]]:
        """95 % limits of each goal's quantity; of one further run of it where `run`. All are traced at once."""
        return limits([self] * len(run), goal, run=run, low=low, high=high)


def limits(each: Sequence[Solved], goal: Goal, *, run: Array, low: Array, high: Array) -> list[tuple[float, float]]:
    """95 % limits of each goal's quantity about the solution beside it; of one further run of it where `run`.

    The solutions are of one curve; all limits are traced at once.
    """
    count, curve = len(run), each[0].curve
    optimum = Solution(parameters=np.concatenate([solved.optimum.parameters for solved in each]),
                       rss=np.concatenate([solved.optimum.rss for solved in each]),
                       converged=np.concatenate([solved.optimum.converged for solved in each]))
    sigma = np.array([solved.sigma for solved in each])
    error = _errors(curve, optimum, goal, sigma)
    scatter = np.sqrt(np.maximum([solved.variance.new_run or 0.0 for solved in each], 1e-20))
    weight = np.where(run, sigma / scatter, CONSTRAINT * sigma / error)
    error = np.where(run, np.hypot(error, scatter), error)
    t = np.array([t_quantile(solved.variance.dof) for solved in each])
    both = np.tile(np.arange(count), 2)
    targets = np.concatenate([solved.target for solved in each])[both]
    ends = profile_ends(
        curve, targets, np.ones_like(targets), optimum.rows(both), replace(goal, weight=weight).rows(both),
        step=(t * error)[both], allowed=(t**2 * sigma**2)[both], sign=np.repeat([-1.0, 1.0], count),
        limit=np.concatenate([low, high]),
    )
    return list(zip(ends[:count].tolist(), ends[count:].tolist(), strict=True))


def _errors(curve: Curve, optimum: Solution, goal: Goal, sigma: Array) -> Array:
    """(B,) standard error of each quantity from the curvature at the optimum; a guess where there is none."""
    law, slope = sensitivities(curve, optimum.parameters, goal)
    value = np.abs(goal.quantity(curve, optimum.parameters))
    law = np.where(np.isfinite(law), law, 0.0)
    spread = np.linalg.pinv(np.einsum("bni,bnj->bij", law, law), rcond=1e-14, hermitian=True)
    error = sigma * np.sqrt(np.maximum(np.einsum("bi,bij,bj->b", slope, spread, slope), 0.0))
    ceiling = np.where(goal.log | (goal.parameter < 0), 1.0, 10 * np.maximum(value, 1e-3))
    guess = np.maximum(value, 1e-6) * 0.1
    return np.asarray(np.where(error > 1e-12 * np.maximum(value, 1e-300), np.minimum(error, ceiling), guess))


def in_space(law: Law, response: Array) -> Array:
    """The response in the space the law's residuals are taken in."""
    return np.log(response) if law.space == "log" else np.asarray(response, dtype=float)


def solve_points(law: Law, points: Points) -> Solved:
    """The optimum of the law's function for these points."""
    return solve_alike(law, [points])[0]


def solve_alike(law: Law, alike: Sequence[Points]) -> list[Solved]:
    """The optimum of the law's function for each of these points, which are at the same inputs."""
    inputs = alike[0].inputs
    curve, cells = Curve(law, inputs), _cells(alike[0])
    targets = np.stack([in_space(law, points.response) for points in alike])
    optimum = solve(curve, targets, tries=2 if len(inputs) > 1 and law.starts else 8)
    lost = np.flatnonzero(~optimum.converged)
    if len(inputs) > 1 and len(lost):
        again = solve(curve, targets[lost], tries=48)
        optimum.parameters[lost], optimum.rss[lost] = again.parameters, again.rss
        optimum.converged[lost] = again.converged
    residuals = targets - curve.fitted(optimum.parameters)
    return [Solved(curve=curve, target=targets[row : row + 1], optimum=optimum.rows(np.array([row])),
                   variance=pooled_variance(rest, len(law.parameters), cells), rss=float(rest @ rest))
            for row, rest in enumerate(residuals)]


def fit_curve(law: Law, points: Points, *, given: Mapping[str, float] | None = None, intervals: bool = True) -> Fit:
    """The law's function fitted to the points; see `fit_curves`."""
    return fit_curves(law, [points], given=given, intervals=intervals)[0]


def fit_curves(law: Law, every: Sequence[Points], *, given: Mapping[str, float] | None = None,
               intervals: bool = True) -> list[Fit]:
    """The law's function fitted to each of these points, with profile-F intervals; a bootstrap's for a Huber loss.

    given: parameters that are not fitted but known. intervals: False where only the curve is wanted, which is faster.
    Points at the same inputs are fitted at once.
    """
    free = pin(law, given or {})

    def fit_alike(alike: list[Points]) -> list[Fit]:
        solved = solve_alike(free, alike)
        return [_fit(law, points, each, fitted, draws, given or {})
                for points, each, fitted, draws in zip(alike, solved, *_estimated(solved, intervals), strict=True)]

    return together(every, place, fit_alike)


def _fit(whole: Law, points: Points, solved: Solved, fitted: Mapping[str, Estimate], draws: Array | None,
         given: Mapping[str, float]) -> Fit:
    law, optimum, variance = solved.curve.law, solved.optimum, solved.variance
    blank = Fit(law=whole.name, form=whole.form, series=points.label, status="failed", floor=whole.floor, n=points.n,
                sizes=len(points.sizes), left_out=points.left_out, points=points, space=law.space,
                fitted_range=(float(points.sizes[0]), float(points.sizes[-1])))
    if not solved.found:
        where = "positive and finite" if law.space == "log" else "finite"
        return replace(blank, reason=Reason("the law is not {where} at the points for any parameters tried",
                                            where=where))
    estimates = [fitted[p.name] if p.name not in given else
                 Estimate(name=p.name, value=float(given[p.name]), method="given", unit=p.unit, note="not fitted")
                 for p in whole.parameters]
    status, reason = _status(solved, estimates)
    target = solved.target[0]
    total = float(np.square(target - target.mean()).sum())
    return replace(
        blank, status=status, reason=reason, estimates=tuple(estimates), dof=variance.dof, rss=solved.rss, draws=draws,
        minimum=float(optimum.rss[0]) / 2,
        loss=f"Huber, delta {law.loss.delta:g}" if isinstance(law.loss, Huber) else "least squares",
        sigma=None if variance.value is None else float(np.sqrt(variance.value)),
        r_squared=1 - solved.rss / total if total > 0 else None,
        aicc=None if isinstance(law.loss, Huber) else aicc(solved.rss, points.n, len(law.parameters)),
        lack_of_fit_p=variance.lack_of_fit_p,
    )


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


def _estimated(alike: Sequence[Solved], intervals: bool) -> tuple[list[dict[str, Estimate]], list[Array | None]]:
    """An estimate for each parameter of each solution of one curve, with its interval; resamples that it comes from."""
    wanted = [intervals and each.found and each.variance.value is not None for each in alike]
    if isinstance(alike[0].curve.law.loss, Huber):
        draws = [resampled(each.curve, each.target, each.optimum) if want and each.variance.value else None
                 for each, want in zip(alike, wanted, strict=True)]
        return [_drawn(each, own) for each, own in zip(alike, draws, strict=True)], draws
    fitted = [_drawn(each, None) for each in alike]
    traced = [row for row, want in enumerate(wanted) if want]
    for row, ends in zip(traced, _profiled([alike[row] for row in traced]) if traced else (), strict=True):
        fitted[row] = {name: replace(estimate, low=low, high=high, method="profile F")
                       for (name, estimate), (low, high) in zip(fitted[row].items(), ends, strict=True)}
    return fitted, [None] * len(alike)


def _profiled(alike: Sequence[Solved]) -> list[list[tuple[float | None, float | None]]]:
    """Both ends of each solution's parameters. Positive ones, but for the floor, are profiled by their logarithm."""
    curve, parameters = alike[0].curve, alike[0].curve.law.parameters
    values = np.concatenate([each.optimum.parameters for each in alike])
    log = np.array([p.minimum >= 0 and p.name != curve.law.floor for p in parameters]) & (values > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = (np.where(log, np.clip(np.log(np.maximum(b, 0)), -700, 700), b) for b in (curve.low, curve.high))
    goal = Goal(target=np.zeros(log.size), weight=np.ones(log.size), log=log.ravel(),
                parameter=np.tile(np.arange(len(parameters)), len(alike)))
    ends = limits([each for each in alike for _ in parameters], goal, run=np.zeros(log.size, dtype=bool),
                  low=low.ravel(), high=high.ravel())
    natural = [(_natural(a, own), _natural(b, own)) for (a, b), own in zip(ends, goal.log, strict=True)]
    return [natural[i : i + len(parameters)] for i in range(0, log.size, len(parameters))]


def _drawn(solved: Solved, draws: Array | None) -> dict[str, Estimate]:
    """An estimate for each parameter, with the central 95 % of the resamples."""
    made = {}
    for i, (p, value) in enumerate(zip(solved.curve.law.parameters, solved.optimum.parameters[0], strict=True)):
        estimate = Estimate(name=p.name, value=float(value), unit=p.unit)
        if draws is not None:
            low, high = np.quantile(draws[:, i], [0.025, 0.975])
            estimate = replace(estimate, low=float(low), high=float(high), stderr=float(draws[:, i].std(ddof=1)),
                               method="bootstrap")
        made[p.name] = estimate
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
    open_ended = [e.name for e in estimates if e.method == "profile F" and (e.low is None or e.high is None)]
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
