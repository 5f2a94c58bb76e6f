"""The optimum of a curve, for many responses at once and without start values.

Over a grid of the parameters a law is not linear in, the linear ones are solved for (variable projection, Golub &
Pereyra 1973); the best grid points are polished by Levenberg-Marquardt steps with exact derivatives; of a Huber
loss, which has few residuals near its centre, by damped Newton steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cvfp_core.fitting.bounded import bounded_least_squares, product_by_row
from cvfp_core.fitting.curves import Curve, Frame, Goal
from cvfp_core.registry.kinds import Huber
from cvfp_core.schema.fits import Array

STEPS = 100
CACHED = 150_000
"""Numbers in one array of derivatives, so that a step's arrays stay in the cache."""
ROOM = 4_000_000
"""Numbers in one array of the points of many rows: more rows are searched one part after the other."""
BEHIND = 10
"""Steps that a start is left which is behind another of the same fit that has settled."""
WIDE = (30.0, 3.0)
"""Times the delta of a Huber loss: a search from the grid begins where it is nearly convex, and narrows it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solution:
    """(B, k) parameters, (B,) residual sums of squares with the goal's, (B,) whether the last step was small.

    Of a Huber loss `rss` is twice the sum of the losses, which is a sum of squares where all residuals are small.
    """

    parameters: Array
    rss: Array
    converged: Array

    def rows(self, index: Array) -> Solution:
        """The solutions of some of the batch."""
        return Solution(parameters=self.parameters[index], rss=self.rss[index], converged=self.converged[index])


def joined(parts: Sequence[Solution]) -> Solution:
    """Solutions of one curve, as one."""
    return Solution(parameters=np.concatenate([each.parameters for each in parts]),
                    rss=np.concatenate([each.rss for each in parts]),
                    converged=np.concatenate([each.converged for each in parts]))


@np.errstate(all="ignore")  # the search looks where a law overflows; what is not finite is refused there
def solve(curve: Curve, targets: Array, *, weights: Array | None = None, goal: Goal | None = None,
          near: Array | None = None, tries: int = 3, precision: float = 1e-13,
          delta: Array | None = None) -> Solution:
    """The fit of the curve to each row of (B, n) targets, which are logarithms in log space, by the law's loss.

    weights: (B, n), multiply residuals; 0 leaves a point out. near: (B, m, k) parameters to search from as well.
    tries: grid points polished; 0: search from `near` alone. precision: relative, of the sum of squares. delta: (B,)
    of a Huber loss in place of the law's; infinite: least squares.
    """
    batch = len(targets)
    weights = np.ones_like(targets) if weights is None else np.broadcast_to(weights, targets.shape)
    pieces = [_from_grid(curve, targets, weights, goal, tries)] if tries else []
    starts = np.concatenate(pieces if near is None else [*pieces, near], axis=1)
    count = starts.shape[1]
    index = np.repeat(np.arange(batch), count)
    at, goals, loss = starts.reshape(batch * count, -1), goal.rows(index) if goal else None, curve.law.loss
    if delta is None:
        delta = np.full(batch, loss.delta if isinstance(loss, Huber) else np.inf)
    corner = delta[index, None]
    for factor in WIDE if tries and np.isfinite(delta).all() else ():
        at, _, _ = _polish(curve, targets[index], weights[index], goals, at, 5e-2, factor * corner, 15)
    at, rss, done = _polish(curve, targets[index], weights[index], goals, at, precision, corner, starts=count)
    rss = rss.reshape(batch, count)
    best = np.argmin(rss, axis=1)
    row = np.arange(batch) * count + best
    return Solution(parameters=at[row], rss=rss[np.arange(batch), best], converged=done[row])


def _from_grid(curve: Curve, targets: Array, weights: Array, goal: Goal | None, tries: int) -> Array:
    """(B, tries, k) parameters of the grid points that fit best."""
    grid = curve.grid()
    return np.concatenate([
        _rank(curve, grid, targets[chunk], weights[chunk], goal.rows(chunk) if goal else None, tries)
        for chunk in _chunks(len(targets), len(grid))
    ])


def _chunks(batch: int, grid: int) -> Iterator[Array]:
    step = max(1, 400_000 // grid)
    for first in range(0, batch, step):
        yield np.arange(first, min(first + step, batch))


def _rank(curve: Curve, grid: Array, targets: Array, weights: Array, goal: Goal | None, tries: int) -> Array:
    squares = weights**2
    penalty = _grid_penalty(curve, grid, goal) if goal is not None else 0.0
    at_goal = goal is not None and goal.inputs is not None
    if at_goal:
        assert goal is not None
        targets = np.concatenate([targets, np.where(goal.parameter < 0, goal.target, 0.0)[:, None]], axis=1)
        weight = np.where(goal.parameter < 0, np.minimum(goal.weight, 30.0), 0.0)
        squares = np.concatenate([squares, weight[:, None] ** 2], axis=1)
    if not curve.linear:
        logs = curve.fitted(grid)
        if at_goal:
            logs = np.concatenate([logs, curve.fitted(grid, goal.inputs)], axis=1)  # type: ignore[union-attr]
        known = np.isfinite(logs).all(axis=1)
        logs = np.where(known[:, None], logs, 0.0)
        rss = (squares * targets**2).sum(1)[:, None] - 2 * product_by_row(squares * targets, logs.T) \
            + product_by_row(squares, (logs**2).T)
        rank = np.where(known, rss + penalty, np.inf)
        order = np.argsort(rank, axis=1, kind="stable")[:, :tries]
        return grid[order]
    columns, rest = curve.basis(grid), curve.rest(grid)
    scale = curve.centre(columns)
    if at_goal:
        columns = np.concatenate([columns, curve.basis(grid, goal.inputs)], axis=1)  # type: ignore[union-attr]
        rest = np.concatenate([rest, curve.rest(grid, goal.inputs)], axis=1)  # type: ignore[union-attr]
    values, squares = (np.exp(targets), squares * np.exp(-2 * targets)) if curve.space == "log" else (targets, squares)
    coefficients, rss = bounded_least_squares(columns / scale[:, None, :], values, squares, curve.low[curve.linear],
                                              rest if rest.any() else None)
    rank = rss + penalty
    if len(curve.free) == 1:  # neighbours of the best are no second opinion: take the two best local minima
        ends = np.pad(rank, ((0, 0), (1, 1)), constant_values=np.inf)
        rank = np.where((rank <= ends[:, :-2]) & (rank <= ends[:, 2:]), rank, rank + 1e100)
        tries = min(tries, 2)
    order = np.argsort(rank, axis=1, kind="stable")[:, :tries]
    at = grid[order]
    at[:, :, curve.linear] = coefficients[np.arange(len(targets))[:, None], order] / scale[order]
    return np.asarray(np.clip(at, curve.low, curve.high))


def _grid_penalty(curve: Curve, grid: Array, goal: Goal) -> Array:
    """(B, G) how far each grid point misses a goal about a parameter that is not solved for."""
    value = grid[:, np.maximum(goal.parameter, 0)].T
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(goal.log[:, None], np.log(np.where(goal.log[:, None], value, 1.0)), value)
        miss = np.square(goal.target[:, None] - value) * 1e6
    searched = np.isin(goal.parameter, curve.free)[:, None]
    return np.where(searched & np.isfinite(miss), miss, 0.0)


@np.errstate(all="ignore")
def sensitivities(curve: Curve, parameters: Array, goal: Goal) -> tuple[Array, Array]:
    """Derivatives in local coordinates, at (B, k) parameters: (B, n, k) of the law, (B, k) of each goal's quantity."""
    about = curve.expand(parameters, replace(goal, parameter=np.full(len(parameters), -1)))
    move = curve.local(about.frame, np.zeros_like(parameters), np.zeros((*parameters.shape, parameters.shape[1])))[0]
    slope = about.slope @ move
    rows, which = np.arange(len(parameters)), np.maximum(goal.parameter, 0)
    own = move[rows, which] / np.where(goal.log, about.frame.parameters[rows, which], 1.0)[:, None]
    n = len(next(iter(curve.inputs.values())))
    quantity = own if goal.inputs is None else np.where(goal.parameter[:, None] < 0, slope[:, n], own)
    return slope[:, :n], np.where(np.isfinite(quantity), quantity, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Local:
    """What is minimised about (B, k) parameters, and half its gradient and Hessian in local coordinates."""

    frame: Frame
    value: Array
    """(B,) sum of squares, or twice the sum of Huber losses; infinite where the law is not defined at a point."""
    gradient: Array
    """(B, k)"""
    hessian: Array
    """(B, k, k)"""
    gauss: Array
    """(B, k, k) without second derivatives of the law, so that it never leads uphill."""

    def rows(self, index: Array) -> _Local:
        return _Local(frame=self.frame.rows(index), value=self.value[index], gradient=self.gradient[index],
                      hessian=self.hessian[index], gauss=self.gauss[index])

    def with_rows(self, chosen: Array, other: _Local) -> _Local:
        """This with the chosen rows of another, in place."""
        for mine, theirs in ((self, other), (self.frame, other.frame)):
            for name in mine.__slots__:
                if name != "frame":
                    getattr(mine, name)[chosen] = getattr(theirs, name)[chosen]
        return self


def _local(curve: Curve, targets: Array, weights: Array, goal: Goal | None, at: Array, delta: Array) -> _Local:
    """The objective about (B, k) parameters. delta: (B, 1) of the Huber loss; infinite: least squares.

    A goal's own residual is squared whatever the loss: it is a condition, or a run that may be anywhere.
    """
    about = curve.expand(at, goal)
    squares = np.square(weights)
    if goal is not None and goal.inputs is not None:
        targets = np.concatenate([targets, goal.target[:, None]], axis=1)
        own = np.where(goal.parameter < 0, np.square(goal.weight), 0.0)
        squares = np.concatenate([squares, own[:, None]], axis=1)
        delta = np.concatenate([np.broadcast_to(delta, (len(at), targets.shape[1] - 1)),
                                np.full((len(at), 1), np.inf)], axis=1)
    residual = about.fitted - targets
    if not np.isfinite(residual).all():
        residual = np.where(squares > 0, residual, 0.0)
    if curve.law.loss.above < 1:  # the goal's own residual, behind the points, has no side
        side = (residual < 0) & (np.arange(residual.shape[1]) < weights.shape[1])
        squares = np.where(side, curve.law.loss.above * squares, squares)
    huber = bool(np.isfinite(delta).any())
    if huber:
        size, clipped = np.abs(residual), np.clip(residual, -delta, delta)
        value = (squares * clipped * (2 * residual - clipped)).sum(axis=1)
        inner, pull = squares * (size <= delta), squares * clipped
        soft = squares * np.minimum(1.0, delta / np.maximum(size, 1e-300))
    else:
        value, inner, pull, soft = (squares * residual**2).sum(axis=1), squares, squares * residual, squares
    slope = about.slope
    if not np.isfinite(slope.sum()):  # at a point that does not count, or where the law is not defined
        slope = np.where(np.isfinite(slope) & (squares > 0)[:, :, None], slope, 0.0)
        pull = np.where(np.isfinite(pull), pull, 0.0)
    turned = slope.transpose(0, 2, 1)
    gauss = turned @ (soft[:, :, None] * slope)
    if about.second and huber:  # of least squares the valleys are better followed without
        bent = inner - pull if curve.space == "log" else inner  # the logarithm's own second derivative
        matrix = turned @ (bent[:, :, None] * slope)
        scaled = pull * about.scale
        for (i, j), part in about.second.items():
            each = (scaled * part).sum(axis=1)
            matrix[:, i, j] += each
            if i != j:
                matrix[:, j, i] += each
        matrix = np.where(np.isfinite(matrix).all(axis=(1, 2))[:, None, None], matrix, gauss)
    else:
        matrix = gauss
    gradient = (turned @ pull[:, :, None])[:, :, 0]
    move, gradient, hessian = curve.local(about.frame, gradient, matrix)
    return _Local(frame=about.frame, value=np.where(np.isfinite(value), value, np.inf), gradient=gradient,
                  hessian=hessian, gauss=move.transpose(0, 2, 1) @ gauss @ move)


def _polish(curve: Curve, targets: Array, weights: Array, goal: Goal | None, at: Array, precision: float,
            delta: Array, limit: int = STEPS, starts: int = 1) -> tuple[Array, Array, Array]:
    """The end of damped Newton steps from (B, k) parameters, what is minimised there, whether it settled.

    A part of the batch at a time, so that its arrays stay in the cache. starts: rows in turn that are of one fit, of
    which the least is asked for; those that will hardly be it are given up.
    """
    size = starts * max(1, CACHED // (targets.shape[1] * at.shape[1] * starts))
    parts = [_polish_part(curve, targets[i : i + size], weights[i : i + size],
                          goal.rows(np.arange(i, min(i + size, len(at)))) if goal is not None else None,
                          at[i : i + size], precision, delta[i : i + size], limit, starts)
             for i in range(0, len(at), size)]
    return parts[0] if len(parts) == 1 else tuple(map(np.concatenate, zip(*parts, strict=True)))  # type: ignore[return-value]


def _polish_part(curve: Curve, targets: Array, weights: Array, goal: Goal | None, at: Array, precision: float,
                 delta: Array, limit: int, starts: int) -> tuple[Array, Array, Array]:
    count, k = at.shape
    here = _local(curve, targets, weights, goal, np.clip(at, curve.low, curve.high), delta)
    parameters, value, settled = here.frame.parameters.copy(), here.value.copy(), np.zeros(count, dtype=bool)
    damping, active = np.full(count, 1e-3), np.arange(count)
    least, until = np.full(count // starts, np.inf), np.full(count // starts, limit)  # of each fit
    small = ~np.isfinite(value)
    for turn in range(limit):
        if small.any():  # those that are done are put down
            going = np.flatnonzero(~small)
            here, damping, active, targets, weights, delta = (
                here.rows(going), damping[going], active[going], targets[going], weights[going], delta[going])
            goal = goal.rows(going) if goal is not None else None
        if not len(active):
            break
        u, low, high = curve.position(here.frame)
        held = ((u <= low) & (here.gradient > 0)) | ((u >= high) & (here.gradient < 0))
        if goal is not None:
            held |= np.arange(k) == goal.parameter[:, None]
        step = _step(here, held, damping)
        outward = ((u <= low) & (step < 0)) | ((u >= high) & (step > 0))
        if outward.any():
            held |= outward
            step = _step(here, held, damping)
        trial, cut = _within(u, step, low, high)
        new = _local(curve, targets, weights, goal, curve.moved(here.frame, trial), delta)
        # a step cut short ends on a bound, and says nothing of how far it is to the optimum along it
        better = (new.value < here.value) | (cut & (new.value <= here.value * (1 + 1e-12)))
        expected = np.abs((here.gradient * (trial - u) * ~held).sum(axis=1))
        small = (expected <= precision * here.value + 1e-24) & ~cut | (damping > 1e12)
        # less where the step led as far down as was expected (Nielsen 1999), or one in two would be refused
        kept = np.clip((here.value - new.value) / np.maximum(expected, 1e-300), 0, 1)
        damping = np.where(better, np.maximum(damping * np.clip(1 - (2 * kept - 1)**3, 0.5, 2), 1e-12), damping * 10)
        here = new if better.all() else here.with_rows(better, new)
        parameters[active], value[active], settled[active] = here.frame.parameters, here.value, small
        fit = active // starts
        np.minimum.at(least, fit[small], here.value[small])
        np.minimum.at(until, fit[small], turn + BEHIND)
        small |= (turn > until[fit]) & (here.value > least[fit])
    return parameters, value, settled


def _step(local: _Local, held: Array, damping: Array) -> Array:
    """(B, k) step of the coordinates that are not held; without second derivatives where those lead uphill."""
    step = _damped(local.hessian, local, held, damping)
    uphill = np.flatnonzero(~((step * local.gradient).sum(axis=1) < 0))
    if len(uphill):
        some = local.rows(uphill)
        step[uphill] = _damped(some.gauss, some, held[uphill], damping[uphill])
    return step


def _damped(matrix: Array, local: _Local, held: Array, damping: Array) -> Array:
    slope = np.where(held, 0.0, local.gradient)
    index = np.arange(matrix.shape[1])
    scale = np.where(held, 0.0, local.gauss[:, index, index])
    damped = np.where(held[:, :, None] | held[:, None, :], 0.0, matrix)
    damped[:, index, index] += damping[:, None] * scale + np.where(scale > 0, 1e-15 * scale, 1.0)
    try:
        step = -np.linalg.solve(damped, slope[..., None])[..., 0]
    except np.linalg.LinAlgError:
        if len(matrix) > 1:  # one that is singular must not change the steps of the others
            rows = np.arange(len(matrix))[:, None]
            return np.concatenate([_damped(matrix[i], local.rows(i), held[i], damping[i]) for i in rows])
        step = -slope / np.where(scale > 0, scale, 1.0)
    return np.where(np.isfinite(step), step, 0.0)


def _within(u: Array, step: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """(B, k) the step's end, cut short where it first meets a bound, so that its direction is kept; (B,) whether it is.

    Clipping each parameter by itself would leave the valley that a stiff goal makes.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        room = np.where(step < 0, (low - u) / step, np.where(step > 0, (high - u) / step, np.inf))
    room = np.where(np.isfinite(room) & (room > 0), room, np.inf)
    share = room.min(axis=1)
    end = np.clip(u + np.minimum(share, 1.0)[:, None] * step, low, high)
    met = (room <= share[:, None]) & (share < 1)[:, None]  # exactly, as the sum is rounded
    return np.where(met, np.where(step < 0, low, high), end), share < 1
