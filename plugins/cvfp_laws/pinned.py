"""The saturating law with its floor given, or shared by the series of an experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from scipy import optimize

from cvfp_core.fitting.curve_fit import fit_curve
from cvfp_core.fitting.curves import Curve
from cvfp_core.fitting.linear import t_quantile
from cvfp_core.fitting.search import Goal, solve
from cvfp_core.fitting.values import Array, Estimate, Fit, Points
from cvfp_core.kinds import Fitter
from cvfp_core.settings import Scalar

BELOW = 0.9999
"""The floor is searched up to this share of the smallest perplexity."""


def fit(fitter: Fitter, points: Points, options: Mapping[str, Scalar | None]) -> list[Fit]:
    """A fit for each series of the experiment, all with the same floor."""
    labels = list(dict.fromkeys(str(label) for label in points.series))
    groups = [points.take(points.series == label) for label in labels]
    floor = options["E"]
    if floor is not None:
        return [_given(fitter, group, float(floor)) for group in groups]
    usable = [group for group in groups if len(group.sizes) > 1]
    if sum(group.n for group in usable) <= 2 * len(usable) + 1:
        return [_refused(fitter, group, "too few points", "the shared floor leaves no residual; add sizes or give E")
                for group in groups]
    return _shared(fitter, groups, usable)


def _refused(fitter: Fitter, points: Points, status: str, reason: str) -> Fit:
    return Fit(law=fitter.name, form=fitter.form, series=str(points.series[0]), status=status, reason=reason,
               floor=fitter.floor, n=points.n, sizes=len(points.sizes), left_out=points.left_out, points=points)


def _given(fitter: Fitter, points: Points, floor: float) -> Fit:
    lowest = float(points.response.min())
    if not 0 <= floor < lowest:
        return _refused(fitter, points, "bad data", f"E {floor:g} must be at least 0 and below the lowest value "
                                                    f"{lowest:g}")
    if len(points.sizes) < 2:
        return _refused(fitter, points, "too few points", "1 size, needs 2; add 1")
    return fit_curve(fitter, points, given={"E": floor})


def _shared(fitter: Fitter, groups: list[Points], usable: list[Points]) -> list[Fit]:
    ceiling = BELOW * min(float(group.response.min()) for group in usable)
    curves = [(Curve(fitter, group.inputs), np.log(group.response)) for group in usable]

    def total(floors: Array) -> Array:
        return np.sum([_rss(curve, target, floors) for curve, target in curves], axis=0)

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

    def excess(floor: float) -> float:
        return float(total(np.array([floor]))[0]) - rss - allowed

    ends = [
        bound if best == bound or excess(bound) <= 0
        else float(optimize.brentq(excess, bound, best, xtol=1e-6 * ceiling))
        for bound in (0.0, ceiling)
    ]
    floor = Estimate(name="E", value=best, low=ends[0], high=ends[1], method="profile F",
                     note=f"shared by {len(usable)} series, {dof} degrees of freedom")
    return [
        _one(fitter, group, floor, best) if len(group.sizes) > 1 else
        _refused(fitter, group, "too few points", "1 size, needs 2; add 1")
        for group in groups
    ]


def _one(fitter: Fitter, points: Points, floor: Estimate, best: float) -> Fit:
    """The series' own A and alpha at the shared floor; their intervals take the floor as known, and say so."""
    made = fit_curve(fitter, points, given={"E": best})
    note = "E taken as known"
    return replace(made, estimates=tuple(
        floor if estimate.name == "E" else replace(estimate, note=note) for estimate in made.estimates
    ), reason=made.reason or "intervals of A and alpha take the shared E as known")


def _rss(curve: Curve, target: Array, floors: Array) -> Array:
    """(B,) sums of squares of the series' power laws above each floor."""
    count = len(floors)
    goal = Goal(target=floors, weight=np.ones(count), parameter=np.zeros(count, dtype=int),
                log=np.zeros(count, dtype=bool))
    return solve(curve, np.repeat(target[None, :], count, axis=0), goal=goal, tries=2).rss
