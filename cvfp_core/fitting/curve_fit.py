"""One law given by its function, fitted to one set of points: estimates, intervals, status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from cvfp_core.fitting.bootstrap import resampled
from cvfp_core.fitting.curves import Curve, Goal
from cvfp_core.fitting.linear import Variance, aicc, pooled_variance, t_quantile
from cvfp_core.fitting.points import by_group, place
from cvfp_core.fitting.profiles import profile_ends
from cvfp_core.fitting.robust import robust
from cvfp_core.fitting.search import Solution, joined, sensitivities, solve
from cvfp_core.registry.kinds import Huber, Law, LeastSquares
from cvfp_core.schema.fits import Array, Estimate, Fit, Points, Reason, Status

PROFILES = ("profile F", "robust profile")
"""Methods whose intervals say that they have no end."""
CONSTRAINT = 10.0
"""How much stiffer than the points what pulls at a law is, whose profile is traced."""
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
    stretch: float | None = None
    """Times as wide as the rolling back-test wants intervals (`rolling.stretch`); None: it was not asked yet."""

    @property
    def found(self) -> bool:
        """Whether the law has values at the points for some parameters."""
        return bool(np.isfinite(self.optimum.rss[0]) and np.isfinite(self.optimum.parameters).all())

    @property
    def delta(self) -> float:
        """Of the Huber loss that is profiled; infinite: least squares."""
        if self.corner is not None:
            return float(self.corner[0])
        loss = self.curve.law.loss
        return loss.delta if isinstance(loss, Huber) else np.inf

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
    optimum, weights = optima(each), np.concatenate([solved.weights for solved in each])
    sigma = np.array([solved.sigma for solved in each])
    error = standard_errors(each, goal)
    scatter = np.sqrt(np.maximum([solved.variance.new_run or 0.0 for solved in each], 1e-20))
    weight = np.where(run, sigma / scatter, CONSTRAINT * sigma / error)
    error = np.where(run, np.hypot(error, scatter), error)
    t = np.array([t_quantile(solved.variance.dof) for solved in each])
    both = np.tile(np.arange(count), 2)
    targets = np.concatenate([solved.target for solved in each])
    ends = profile_ends(
        curve, targets[both], weights[both], optimum.rows(both), replace(goal, weight=weight).rows(both),
        step=(t * error)[both], allowed=(t**2 * sigma**2)[both], sign=np.repeat([-1.0, 1.0], count),
        limit=np.concatenate([low, high]), soft=(~run & (goal.parameter < 0))[both],
        delta=np.array([solved.delta for solved in each])[both],
    )
    return list(zip(ends[:count].tolist(), ends[count:].tolist(), strict=True))


def standard_errors(each: Sequence[Solved], goal: Goal) -> Array:
    """(B,) of each goal's quantity, from the curvature at the optimum beside it; a guess where there is none."""
    curve, optimum = each[0].curve, optima(each)
    sigma, weights = np.array([solved.sigma for solved in each]), np.concatenate([solved.weights for solved in each])
    law, slope = sensitivities(curve, optimum.parameters, goal)
    value = np.abs(goal.quantity(curve, optimum.parameters))
    law = np.where(np.isfinite(law), law, 0.0) * weights[..., None]
    spread = np.linalg.pinv(np.einsum("bni,bnj->bij", law, law), rcond=1e-14, hermitian=True)
    error = sigma * np.sqrt(np.maximum(np.einsum("bi,bij,bj->b", slope, spread, slope), 0.0))
    ceiling = np.where(goal.log | (goal.parameter < 0), 1.0, 10 * np.maximum(value, 1e-3))
    guess = np.maximum(value, 1e-6) * 0.1
    return np.asarray(np.where(error > 1e-12 * np.maximum(value, 1e-300), np.minimum(error, ceiling), guess))


def optima(each: Sequence[Solved]) -> Solution:
    """The optima of solutions of one curve, as one."""
    return joined([solved.optimum for solved in each])


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
    weights = np.stack([root_weights(points) for points in alike])
    optimum = solve(curve, targets, weights=weights, tries=2 if len(inputs) > 1 and law.starts else 8)
    lost = np.flatnonzero(~optimum.converged)
    if len(inputs) > 1 and len(lost):
        again = solve(curve, targets[lost], weights=weights[lost], tries=48)
        optimum.parameters[lost], optimum.rss[lost] = again.parameters, again.rss
        optimum.converged[lost] = again.converged
    residuals = weights * (targets - curve.fitted(optimum.parameters))
    return [Solved(curve=curve, target=targets[[row]], weights=weights[[row]], optimum=optimum.rows(np.array([row])),
                   variance=pooled_variance(rest, len(law.parameters), cells), rss=float(rest @ rest))
            for row, rest in enumerate(residuals)]


def root_weights(points: Points) -> Array:
    """(n,) what residuals are multiplied by."""
    return np.ones(points.n) if points.weights is None else np.sqrt(points.weights)


def for_intervals(alike: Sequence[Solved], points: Points) -> list[Solved]:
    """What intervals are profiles of: each solution itself, or for a loss that is not squares its robust one.

    The solutions are of one curve; points: those of any, for their inputs.
    """
    curve = alike[0].curve
    if curve.law.loss == LeastSquares() or alike[0].variance.value is None:
        return list(alike)
    targets, weights = (np.concatenate(each) for each in zip(*((s.target, s.weights) for s in alike), strict=True))
    return [solved if made is None else
            replace(solved, optimum=made.optimum, weights=made.weights, variance=made.variance, corner=made.corner)
            for solved, made in zip(alike, robust(curve, targets, weights, optima(alike), _cells(points)), strict=True)]


def fit_curve(law: Law, points: Points, *, given: Mapping[str, float] | None = None, intervals: bool = True) -> Fit:
    """The law's function fitted to the points; see `fit_curves`."""
    return fit_curves(law, [points], given=given, intervals=intervals)[0]


def fit_curves(law: Law, every: Sequence[Points], *, given: Mapping[str, float] | None = None,
               intervals: bool = True) -> list[Fit]:
    """The law's function fitted to each of these points, with intervals by profiles; those at the same inputs at once.

    given: parameters that are not fitted but known. intervals: False where only the curve is wanted, which is faster.
    Profiles are on a robust scale for a Huber loss.
    """
    free = pin(law, given or {})

    def fit_alike(alike: list[Points]) -> list[Fit]:
        solved = solve_alike(free, alike)
        found = [each for each in solved if each.found] if intervals else []
        own = iter(for_intervals(found, alike[0]) if found else [])
        held = [next(own) if intervals and each.found else None for each in solved]
        return [_fit(law, points, each, basis, fitted, given or {})
                for points, each, basis, fitted in zip(alike, solved, held, _estimates(solved, held), strict=True)]

    return by_group(every, place, fit_alike)


def _fit(whole: Law, points: Points, solved: Solved, held: Solved | None, fitted: Mapping[str, Estimate],
         given: Mapping[str, float]) -> Fit:
    """held: what the intervals are profiles of; None: there are none."""
    law, optimum, variance = solved.curve.law, solved.optimum, solved.variance
    blank = Fit(law=whole.name, form=whole.form, series=points.label, status="failed", floor=whole.floor, n=points.n,
                sizes=len(points.sizes), left_out=points.left_out, points=points, space=law.space,
                fitted_range=(float(points.sizes[0]), float(points.sizes[-1])))
    if not solved.found:
        where = "positive and finite" if law.space == "log" else "finite"
        return replace(blank, reason=Reason("the law is not {where} at the points for any parameters tried",
                                            where=where))
    squares = law.loss == LeastSquares()
    draws = resampled(solved.curve, solved.target, optimum, weights=solved.weights) \
        if not squares and held is not None and variance.value else None
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


def _estimates(alike: Sequence[Solved], held: Sequence[Solved | None]) -> list[dict[str, Estimate]]:
    """An estimate for each parameter of each solution of one curve.

    held: what is profiled; None: no intervals are asked for. An interval holds the estimate, whose loss may be another.
    """
    fitted = [{p.name: Estimate(name=p.name, value=float(value), unit=p.unit) for p, value in
               zip(each.curve.law.parameters, each.optimum.parameters[0], strict=True)} for each in alike]
    traced = {row: each for row, each in enumerate(held) if each is not None and each.variance.value is not None}
    for (row, each), ends in zip(traced.items(), _profiled(list(traced.values())), strict=True):
        method = PROFILES[each.corner is not None]
        fitted[row] = {name: replace(estimate, low=None if low is None else min(low, cast(float, estimate.value)),
                                     high=None if high is None else max(high, cast(float, estimate.value)),
                                     method=method)
                       for (name, estimate), (low, high) in zip(fitted[row].items(), ends, strict=True)}
    return fitted


def _profiled(alike: Sequence[Solved]) -> list[list[tuple[float | None, float | None]]]:
    """Both ends of each solution's parameters. Positive ones, but for the floor, are profiled by their logarithm."""
    if not alike:
        return []
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
