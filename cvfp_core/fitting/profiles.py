"""Intervals by profiling: all values of a quantity that the points do not contradict, the rest fitted anew for each.

For a law that is linear in its parameters these are Student's intervals exactly; for others they follow the bend, and
say so when they have no end (Bates & Watts 1988, section 6.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from cvfp_core.fitting.curves import Curve, Goal
from cvfp_core.fitting.linear import t_quantile
from cvfp_core.fitting.search import Solution, solve
from cvfp_core.schema.fits import Array

EXPANSIONS = 14
REFINEMENTS = 30
PRECISION = 1e-8
"""Of sums of squares; the ends of an interval move by half of it."""


@np.errstate(all="ignore")
def profile_ends(curve: Curve, targets: Array, weights: Array, optimum: Solution, goal: Goal, *, step: Array,
                 allowed: Array, sign: Array, limit: Array, tolerance: float = 1e-4) -> Array:
    """(B,) the value where the sum of squares is `allowed` above its minimum; infinite if it never gets there.

    goal: of each row, its target is not used. step: first guess at the distance. sign: -1 for lower, +1 for upper ends.
    limit: values beyond which the quantity cannot go. tolerance: of the end, as a fraction of its distance.
    """
    centre = goal.quantity(curve, optimum.parameters)
    batch = len(centre)
    inside, outside = centre.copy(), sign * np.inf
    at_inside, at_outside = np.zeros(batch), np.full(batch, np.inf)
    near = np.repeat(optimum.parameters[:, None, :], 2, axis=1)

    def excess(rows: Array, values: Array, tries: int) -> Array:
        some = solve(curve, targets[rows], weights=weights[rows], goal=replace(goal.rows(rows), target=values),
                     near=near[rows], tries=tries, precision=PRECISION)
        ratio = np.maximum(some.rss - optimum.rss[rows], 0.0) / allowed[rows]
        good = ratio < 1.5  # a search that failed outside is no place to start from
        near[rows[good], 0] = some.parameters[good]
        return np.asarray(ratio)

    def note(rows: Array, trial: Array, ratio: Array) -> Array:
        over = ratio > 1
        outside[rows], at_outside[rows] = np.where(over, trial, outside[rows]), np.where(over, ratio, at_outside[rows])
        inside[rows], at_inside[rows] = np.where(over, inside[rows], trial), np.where(over, at_inside[rows], ratio)
        return over

    reach, closed, todo = step.copy(), np.zeros(batch, dtype=bool), np.arange(batch)
    for _ in range(EXPANSIONS):
        if not len(todo):
            break
        trial = inside[todo] + sign[todo] * reach[todo]
        trial = np.where(sign[todo] < 0, np.maximum(trial, limit[todo]), np.minimum(trial, limit[todo]))
        ratio = excess(todo, trial, tries=2)
        over = note(todo, trial, ratio)
        reach[todo] *= np.clip(1.2 / np.sqrt(np.maximum(ratio, 1e-3)), 1.5, 6.0)
        closed[todo] = ~over & (trial == limit[todo])
        todo = todo[~over & ~closed[todo]]
    found = np.isfinite(outside)
    todo = np.flatnonzero(found)
    for _ in range(REFINEMENTS):
        todo = todo[np.abs(outside[todo] - inside[todo]) > tolerance * np.abs(outside[todo] - centre[todo])]
        if not len(todo):
            break
        # the root of the ratio is nearly straight: regula falsi on it, pushed past the end so that both sides close in
        a, b = np.sqrt(at_inside[todo]), np.sqrt(np.minimum(at_outside[todo], 1e6))
        share = (1 - a) / np.maximum(b - a, 1e-12)
        share = np.where(share < 0.5, share * 1.02 + 1e-6, 1 - (1 - share) * 1.02 - 1e-6)
        keep_off = np.where(at_outside[todo] > 9, 0.1, 1e-3)
        share = np.clip(share, keep_off, 1 - keep_off)
        trial = inside[todo] + share * (outside[todo] - inside[todo])
        note(todo, trial, excess(todo, trial, tries=1))
    with np.errstate(invalid="ignore"):
        return np.where(found, outside, np.where(closed, limit, sign * np.inf))


def run_ends(curve: Curve, targets: Array, weights: Array, optimum: Solution, at: Mapping[str, Array], *,
             variance: Array, dof: int) -> tuple[Array, Array, Array]:
    """(B,) values of the law at one further input, and both 95 % limits of one further run there, in residual space."""
    batch = len(targets)
    goal = Goal(target=np.zeros(batch), weight=np.ones(batch), parameter=np.full(batch, -1),
                log=np.zeros(batch, dtype=bool), inputs=at)
    allowed = t_quantile(dof) ** 2 * np.maximum(variance, 1e-20)
    ends = [
        profile_ends(curve, targets, weights, optimum, goal, step=1.5 * np.sqrt(allowed), allowed=allowed,
                     sign=np.full(batch, sign), limit=np.full(batch, sign * np.inf), tolerance=1e-3)
        for sign in (-1.0, 1.0)
    ]
    return goal.quantity(curve, optimum.parameters), ends[0], ends[1]
