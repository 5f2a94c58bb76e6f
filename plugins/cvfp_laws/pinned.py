"""The saturating law with its floor given, or shared by the series of an experiment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from cvfp_core.fitting.axes import on_axes
from cvfp_core.fitting.curve_fit import fit_curve, fit_curves
from cvfp_core.fitting.curves import Curve, Goal
from cvfp_core.fitting.linear import t_quantile
from cvfp_core.fitting.points import by_group, place, wrong_way
from cvfp_core.fitting.search import solve
from cvfp_core.registry.kinds import Law
from cvfp_core.schema.fits import Array, Estimate, Fit, Points, Reason, Status
from cvfp_core.schema.settings import Scalar

BELOW = 0.9999
"""The floor is searched up to this share of the smallest perplexity."""


def fit(fitter: Law, points: Points, options: Mapping[str, Scalar | None]) -> list[Fit]:
    """A fit for each series of the experiment, all with the same floor."""
    fitter = on_axes(fitter, next(iter(points.inputs)), points.name)
    labels = list(dict.fromkeys(str(label) for label in points.series))
    groups = [points.take(points.series == label) for label in labels]
    floor = options["E"]
    if floor is not None:
        return [_given(fitter, group, float(floor)) for group in groups]
    usable = [group for group in groups if len(group.sizes) > 1 and wrong_way(group) is None]
    if not usable:
        return [_unusable(fitter, group) for group in groups]
    if sum(group.n for group in usable) <= 2 * len(usable) + 1:
        return [_refused(fitter, group, "too few points", "the shared floor leaves no residual; add sizes or give E")
                for group in groups]
    return _shared(fitter, groups, usable)


def _refused(fitter: Law, points: Points, status: Status, reason: str) -> Fit:
    return Fit(form=fitter.form, status=status, reason=reason, points=points)


def _given(fitter: Law, points: Points, floor: float) -> Fit:
    lowest = float(points.response.min())
    if not 0 <= floor < lowest:
        return _refused(fitter, points, "bad data", Reason("E {given:g} must be at least 0 and below the lowest value "
                                                          "{lowest:g}", given=floor, lowest=lowest))
    if len(points.sizes) < 2 or wrong_way(points):
        return _unusable(fitter, points)
    return fit_curve(fitter, points, given={"E": floor})


def _shared(fitter: Law, groups: list[Points], usable: list[Points]) -> list[Fit]:
    ceiling = BELOW * min(float(group.response.min()) for group in usable)

    def total(floors: Array) -> Array:
        return np.asarray(np.sum(by_group(usable, place, lambda alike: _rss(fitter, alike, floors)), axis=0))

    low, high = 0.0, ceiling
    for _ in range(6):  # each round keeps the neighbours of the best of 33
        grid = np.linspace(low, high, 33)
        at = int(np.argmin(total(grid)))
        low, high = grid[max(at - 1, 0)], grid[min(at + 1, 32)]
    best = float(grid[at])
    rss = float(total(np.array([best]))[0])
    runs = sum(group.n for group in usable)
    dof = runs - 2 * len(usable) - 1
    variance = rss / dof
    allowed = t_quantile(dof) ** 2 * max(variance, 1e-20)

    ends = _ends(total, best, ceiling, rss + allowed)
    floor = Estimate(name="E", value=best, low=ends[0], high=ends[1], method="profile F",
                     note=f"shared by {len(usable)} series, {dof} degrees of freedom")
    fits = fit_curves(fitter, usable, given={"E": best})
    errors = _errors(fits, best, variance)
    made = {each.series: _shared_fit(each, floor, error, dof) for each, error in zip(fits, errors, strict=True)}
    return [made.get(str(group.series[0])) or _unusable(fitter, group) for group in groups]


def _unusable(fitter: Law, points: Points) -> Fit:
    """A series that has no part in the shared floor, and why."""
    if len(points.sizes) < 2:
        reason = Reason("{n} sizes, needs {least}; add {more}", n=1, least=2, more=1)
        return _refused(fitter, points, "too few points", reason)
    return _refused(fitter, points, *(wrong_way(points) or ("failed", "")))


def _errors(fits: list[Fit], floor: float, variance: float) -> list[tuple[float, float]]:
    """Standard errors of log A and alpha of each series when all share an unknown floor, from the joint curvature."""
    blocks = []
    for each in fits:
        assert each.points is not None
        x = np.log(next(iter(each.points.inputs.values())))
        above = (each.value("A") or 0.0) * np.exp((each.value("alpha") or 0.0) * x)
        total = floor + above
        share = above / total
        blocks.append(np.stack([1 / total, share, share * (x - x.mean()), np.full_like(x, x.mean())], axis=1))
    runs = sum(len(block) for block in blocks)
    design = np.zeros((runs, 1 + 2 * len(fits)))
    row = 0
    for index, block in enumerate(blocks):
        rows = slice(row, row + len(block))
        design[rows, 0] = block[:, 0]
        design[rows, 1 + 2 * index : 3 + 2 * index] = block[:, 1:3]
        row += len(block)
    length = np.sqrt(np.square(design).sum(axis=0))
    spread = variance * np.linalg.pinv((design / length).T @ (design / length)) / np.outer(length, length)
    errors = []
    for index, block in enumerate(blocks):
        at, centre = 1 + 2 * index, block[0, 3]
        to_log_a = np.array([1.0, -centre])  # A is at one token, the level was at the centre
        level = to_log_a @ spread[at : at + 2, at : at + 2] @ to_log_a
        errors.append((float(np.sqrt(max(level, 0.0))), float(np.sqrt(max(spread[at + 1, at + 1], 0.0)))))
    return errors


def _shared_fit(fit: Fit, floor: Estimate, errors: tuple[float, float], dof: int) -> Fit:
    """The series' fit with the shared floor, and t intervals that know the floor is uncertain."""
    t = t_quantile(dof)
    a, alpha = fit.value("A") or 0.0, fit.value("alpha") or 0.0
    factor = float(np.exp(np.minimum(t * errors[0], 700)))
    reached = floor.low is not None and floor.value == floor.low
    return replace(fit, dof=dof, status="at a bound" if reached else "converged",
                   reason="the shared E is at its bound 0: the points show no floor" if reached else "",
                   estimates=(
        floor,
        Estimate(name="A", value=a, low=a / factor, high=a * factor, method="t"),
        Estimate(name="alpha", value=alpha, low=alpha - t * errors[1], high=alpha + t * errors[1], stderr=errors[1],
                 method="t"),
    ))


def _ends(total: Callable[[Array], Array], best: float, ceiling: float, most: float) -> list[float]:
    """The next floors below and above the best at which the sum of squares is the most allowed; the bound if none is.

    Each round keeps one of 16 sections; what is left is nearly straight.
    """
    bounds, rows = np.array([0.0, ceiling]), np.arange(2)
    inside, outside = np.full(2, best), bounds
    for _ in range(3):
        floors = np.linspace(inside, outside, 17, axis=1)
        excess = total(floors.ravel()).reshape(floors.shape) - most
        first = np.maximum(np.argmax(excess > 0, axis=1), 1)
        inside, outside = floors[rows, first - 1], floors[rows, first]
    low, high = excess[rows, first - 1], excess[rows, first]
    crossed = (low <= 0) & (high > 0)
    share = np.where(crossed, low / np.where(crossed, low - high, 1.0), 0.0)
    return [float(end) for end in np.where(crossed, inside + share * (outside - inside), bounds)]


def _rss(fitter: Law, alike: list[Points], floors: Array) -> list[Array]:
    """(B,) sums of squares of the power law above each floor, of each of the series at the same inputs."""
    floor = np.tile(floors, len(alike))
    goal = Goal(target=floor, weight=np.ones(len(floor)), parameter=np.zeros(len(floor), dtype=int),
                log=np.zeros(len(floor), dtype=bool))
    targets = np.repeat([np.log(points.response) for points in alike], len(floors), axis=0)
    return list(solve(Curve(fitter, alike[0].inputs), targets, goal=goal, tries=2).rss.reshape(len(alike), len(floors)))
