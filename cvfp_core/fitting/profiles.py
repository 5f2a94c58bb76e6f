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
from cvfp_core.fitting.search import Solution, sensitivities, solve
from cvfp_core.schema.fits import Array

EXPANSIONS = 14
REFINEMENTS = 30
ROUNDS = 4
JUMP, LEAP = 1.1, 0.1
"""A profile has none: where both sides of an end close on one, the search beyond it failed, and steps get smaller. What
still leaps by so much in the end has no end that can be told."""
ROUGH = 1e-2
"""Of the distance of an end: how narrowly a jump is bracketed before the search is tried anew, and how far that led."""
FAR = 9.0
"""Times what is allowed beyond which the profile tells little of where its end is."""
FADING, LEFT, FADES = 0.75, 6.0, 3
"""A profile has no end if a step longer than the one before raised it by less than this share of what that one did, so
often in a row, and this many times as much again would leave it below what is allowed."""
LEVEL = 1e-3
"""A rise by less counts twice as fading, in this share of the profile even where no step came before."""
UNBOUNDED = 690.0
"""A logarithm beyond this is that of no bound."""
SLACK = 100.0
"""What a soft goal's own residual may be, in what is allowed, before it counts: the law cannot follow it further."""
PRECISION = 1e-8
"""Of sums of squares; the ends of an interval move by half of it."""


@np.errstate(all="ignore")
def profile_ends(curve: Curve, targets: Array, weights: Array, optimum: Solution, goal: Goal, *, step: Array,
                 allowed: Array, sign: Array, limit: Array, tolerance: float = 1e-4,
                 delta: Array | None = None, soft: Array | None = None) -> Array:
    """(B,) the value where the sum of squares is `allowed` above its minimum; infinite if it never gets there.

    goal: of each row, its target is not used. step: first guess at the distance. sign: -1 for lower, +1 for upper ends.
    limit: values beyond which the quantity cannot go. tolerance: of the end, as a fraction of its distance.
    soft: (B,) whether a goal at an input only pulls at the law: its residual does not count, and the end is what the
    law comes to. The fits are those of a constraint, of which none is stiff.
    """
    centre = goal.quantity(curve, optimum.parameters)
    batch = len(centre)
    soft = np.zeros(batch, dtype=bool) if soft is None else soft
    inside, outside = centre.copy(), sign * np.inf
    end = sign * np.inf
    reached = centre.copy()  # what the quantity came to at the last trial
    at_inside, at_outside = np.zeros(batch), np.full(batch, np.inf)
    path = np.repeat(optimum.parameters[None], 2, axis=0)  # the last two points of the valley the parameters follow
    at = np.repeat(centre[None], 2, axis=0)

    def excess(rows: Array, values: Array, tries: int) -> Array:
        way = at[1, rows] - at[0, rows]
        share = np.where(way == 0, 0.0, (values - at[1, rows]) / np.where(way == 0, 1.0, way))
        held = replace(goal.rows(rows), target=values)
        near = np.stack([path[1, rows], _ahead(curve, held, path[0, rows], path[1, rows], share[:, None])], axis=1)
        some = solve(curve, targets[rows], weights=weights[rows], goal=held, near=near, tries=tries,
                     precision=PRECISION, delta=None if delta is None else delta[rows])
        value = goal.rows(rows).quantity(curve, some.parameters)
        reached[rows] = np.where(soft[rows], value, values)
        pull = np.where(soft[rows], np.square(goal.weight[rows] * (values - value)), 0.0)
        own = np.where(np.isfinite(pull), some.rss - pull + np.maximum(pull - SLACK * allowed[rows], 0.0), np.inf)
        ratio = (own - optimum.rss[rows]) / allowed[rows]
        good = ratio < 1.5  # a search that failed outside is no place to start from
        kept = rows[good]
        path[0, kept], at[0, kept] = path[1, kept], at[1, kept]
        path[1, kept], at[1, kept] = some.parameters[good], values[good]
        return np.asarray(ratio)

    def note(rows: Array, trial: Array, ratio: Array) -> Array:
        over = ratio > 1
        end[rows] = np.where(over, reached[rows], end[rows])
        outside[rows], at_outside[rows] = np.where(over, trial, outside[rows]), np.where(over, ratio, at_outside[rows])
        inside[rows], at_inside[rows] = np.where(over, inside[rows], trial), np.where(over, at_inside[rows], ratio)
        return over

    endless = np.isinf(limit) | (goal.log & (np.abs(limit) > UNBOUNDED))
    reach, closed, todo = step.copy(), np.zeros(batch, dtype=bool), np.arange(batch)
    final = np.zeros(batch, dtype=bool)  # whether an end is looked for where it is bracketed, jump or not
    for turn in range(ROUNDS):
        now, last, gain, faded = todo, at_inside.copy(), np.zeros(batch), np.zeros(batch, dtype=int)
        start, todo = inside.copy(), todo[np.isinf(outside[todo])]
        for _ in range(EXPANSIONS):
            if not len(todo):
                break
            trial = inside[todo] + sign[todo] * reach[todo]
            trial = np.where(soft[todo], trial, np.where(
                sign[todo] < 0, np.maximum(trial, limit[todo]), np.minimum(trial, limit[todo])))
            ratio = excess(todo, trial, tries=2)
            over = note(todo, trial, ratio)
            rise = np.abs(ratio - last[todo])
            fading = (rise < np.maximum(FADING * gain[todo], LEVEL * np.abs(ratio))) & (ratio + LEFT * rise < 1)
            last[todo], gain[todo] = ratio, rise
            faded[todo] = np.where(fading, faded[todo] + 1 + (rise < LEVEL), 0)
            flat = faded[todo] >= FADES
            reach[todo] *= np.clip(1.2 / np.sqrt(np.maximum(ratio, 1e-3)), 1.5, np.where(fading, 2.0, 6.0))
            reach[todo] = np.where(flat, np.abs(limit[todo] - trial), reach[todo])
            closed[todo] = ~over & ((sign[todo] * (reached[todo] - limit[todo]) >= 0) | (flat & (endless | soft)[todo]))
            todo = todo[~over & ~closed[todo]]
        found = np.isfinite(outside)
        todo = now[found[now]]
        spans = [np.full(batch, np.inf)] * 2
        for _ in range(REFINEMENTS):
            span, distance = np.abs(outside - inside), np.abs(outside - centre)
            near = span > np.where((at_outside - at_inside > LEAP) & ~final, ROUGH, tolerance) * distance
            todo = todo[near[todo]]
            if not len(todo):
                break
            # the root of the ratio is nearly straight: regula falsi on it, pushed past the end so that both sides
            # close in; the middle where it is not, and where two trials did not halve what is left
            a, b = np.sqrt(np.maximum(at_inside[todo], 0.0)), np.sqrt(np.minimum(at_outside[todo], 1e6))
            share = (1 - a) / np.maximum(b - a, 1e-12)
            share = np.where(share < 0.5, share * 1.02 + 1e-6, 1 - (1 - share) * 1.02 - 1e-6)
            far = (span[todo] > 0.5 * spans[0][todo]) | (at_outside[todo] > FAR)
            share = np.where(far, 0.5, np.clip(share, 1e-3, 1 - 1e-3))
            spans = [spans[1], span]
            trial = inside[todo] + share * (outside[todo] - inside[todo])
            note(todo, trial, excess(todo, trial, tries=1))
        leaps = (at_outside > JUMP) | (at_outside - at_inside >= LEAP)
        todo = np.flatnonzero(found & leaps & (outside != limit) & ~final)
        if not len(todo):
            break
        stuck = np.abs(inside - start)[todo] <= ROUGH * np.abs(outside - centre)[todo]
        final[todo], again = stuck | (turn == ROUNDS - 2), todo[~stuck]
        outside[again], at_outside[again] = sign[again] * np.inf, np.inf
        reach[again] = 0.1 * np.abs(inside[again] - centre[again])
    # where the search gives out is no end; where the law is not defined any more is one
    found &= (at_outside - at_inside < LEAP) | np.isinf(at_outside) | (outside == limit)
    with np.errstate(invalid="ignore"):
        return np.where(found, np.where(sign < 0, np.maximum(end, limit), np.minimum(end, limit)),
                        np.where(closed, limit, sign * np.inf))


def _ahead(curve: Curve, goal: Goal, before: Array, last: Array, share: Array) -> Array:
    """(B, k) where two points of a valley lead, that share of their distance further; by their ratio if it is one.

    Linear parameters by what they contribute where that is most, which hardly changes where an exponent does.
    """
    before, last = (_scaled(curve, each, 1) for each in (before, last))
    straight = last + share * (last - before)
    ratio = np.where(before * last > 0, last / np.where(before == 0, 1.0, before), 1.0)
    made = np.where(before * last > 0, last * np.exp(np.clip(share * np.log(ratio), -300, 300)), straight)
    made = _scaled(curve, goal.hold(np.where(np.isfinite(made), made, last)), -1)
    return np.asarray(np.clip(made, curve.low, curve.high))


def _scaled(curve: Curve, parameters: Array, power: int) -> Array:
    """(B, k) parameters, linear ones times their largest contribution per unit at a point, to that power."""
    out = parameters.copy()
    if curve.linear:
        size = np.abs(curve.basis(parameters)).max(axis=1)
        out[:, curve.linear] *= np.where(np.isfinite(size) & (size > 1e-280), size, 1.0) ** power
    return out


def run_ends(curve: Curve, targets: Array, weights: Array, optimum: Solution, at: Mapping[str, Array], *,
             variance: Array, dof: int) -> tuple[Array, Array, Array]:
    """(B,) values of the law at one further input, and both 95 % limits of one further run there, in residual space."""
    batch = len(targets)
    goal = Goal(target=np.zeros(batch), weight=np.ones(batch), parameter=np.full(batch, -1),
                log=np.zeros(batch, dtype=bool), inputs=at)
    allowed = t_quantile(dof) ** 2 * np.maximum(variance, 1e-20)
    both, sign = np.tile(np.arange(batch), 2), np.repeat([-1.0, 1.0], batch)
    ends = profile_ends(curve, targets[both], weights[both], optimum.rows(both), goal.rows(both),
                        step=1.5 * np.sqrt(allowed)[both], allowed=allowed[both], sign=sign, limit=sign * np.inf,
                        tolerance=1e-3)
    return goal.quantity(curve, optimum.parameters), ends[:batch], ends[batch:]


def linear_ends(curve: Curve, targets: Array, weights: Array, optimum: Solution, at: Mapping[str, Array], *,
                variance: Array, dof: int) -> tuple[Array, Array, Array]:
    """The same of the law as linear in its parameters about the optimum, which many runs leave little room to bend."""
    batch = len(targets)
    goal = Goal(target=np.zeros(batch), weight=np.ones(batch), parameter=np.full(batch, -1),
                log=np.zeros(batch, dtype=bool), inputs=at)
    law, slope = sensitivities(curve, optimum.parameters, goal)
    known = np.nan_to_num(law) * weights[..., None]
    spread = np.linalg.pinv(known.transpose(0, 2, 1) @ known, rcond=1e-14, hermitian=True)
    lever = ((slope[:, None, :] @ spread) @ slope[..., None])[:, 0, 0]
    half = t_quantile(dof) * np.sqrt(variance * (1 + np.maximum(lever, 0.0)))
    centre = goal.quantity(curve, optimum.parameters)
    return centre, centre - half, centre + half
