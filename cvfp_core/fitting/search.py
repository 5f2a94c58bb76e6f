"""The optimum of a curve, for many responses at once and without start values.

Over a grid of the parameters a law is not linear in, the linear ones are solved for (variable projection, Golub &
Pereyra 1973); the best grid points are polished by Levenberg-Marquardt on the residuals of the logarithm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from cvfp_core.fitting.bounded import bounded_least_squares
from cvfp_core.fitting.curves import Curve
from cvfp_core.schema.fits import Array

STEPS = 60


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Goal:
    """What one more condition on each fit is about: a parameter held at a value, or one more residual of the law.

    A residual of weight 1 is one more run, of a large weight a constraint; so profiles are traced.
    """

    target: Array
    """(B,) value of the parameter (or its logarithm), or of the law in the space of residuals."""
    weight: Array
    """(B,) of the residual; not used for a parameter."""
    parameter: Array
    """(B,) index of the parameter; -1: the law at `inputs`."""
    log: Array
    """(B,) whether the parameter's logarithm is meant."""
    inputs: Mapping[str, Array] | None = None
    """(1,) each."""

    def rows(self, index: Array) -> Goal:
        """The goals of some of the batch."""
        return Goal(target=self.target[index], weight=self.weight[index], parameter=self.parameter[index],
                    log=self.log[index], inputs=self.inputs)

    def hold(self, parameters: Array) -> Array:
        """(B, k) parameters with those the goals are about at their targets; changed in place."""
        rows = np.flatnonzero(self.parameter >= 0)
        target = self.target[rows]
        parameters[rows, self.parameter[rows]] = np.where(self.log[rows], np.exp(np.minimum(target, 700)), target)
        return parameters

    def quantity(self, curve: Curve, parameters: Array) -> Array:
        """(B,) what each goal is about, at (B, k) parameters."""
        value = parameters[np.arange(len(parameters)), np.maximum(self.parameter, 0)]
        with np.errstate(divide="ignore", invalid="ignore"):
            value = np.where(self.log, np.log(np.where(self.log, value, 1.0)), value)
        if self.inputs is None:
            return value
        return np.where(self.parameter < 0, curve.fitted(parameters, self.inputs)[:, 0], value)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solution:
    """(B, k) parameters, (B,) residual sums of squares with the goal's, (B,) whether the last step was small."""

    parameters: Array
    rss: Array
    converged: Array

    def rows(self, index: Array) -> Solution:
        """The solutions of some of the batch."""
        return Solution(parameters=self.parameters[index], rss=self.rss[index], converged=self.converged[index])


@np.errstate(all="ignore")  # the search looks where a law overflows; what is not finite is refused there
def solve(curve: Curve, targets: Array, *, weights: Array | None = None, goal: Goal | None = None,
          near: Array | None = None, tries: int = 3, precision: float = 1e-13) -> Solution:
    """The least-squares fit of the curve to each row of (B, n) targets, which are logarithms in log space.

    weights: (B, n), multiply residuals; 0 leaves a point out. near: (B, m, k) parameters to search from as well.
    tries: grid points polished; 0: search from `near` alone. precision: relative, of the sum of squares.
    """
    batch = len(targets)
    weights = np.ones_like(targets) if weights is None else np.broadcast_to(weights, targets.shape)
    pieces = []
    if tries:
        pieces.append(_from_grid(curve, targets, weights, goal, tries))
    if near is not None:
        pieces.append(curve.search(near.reshape(-1, near.shape[-1])).reshape(near.shape))
    starts = np.concatenate(pieces, axis=1)
    count = starts.shape[1]
    index = np.repeat(np.arange(batch), count)
    u, rss, done = _polish(curve, targets[index], weights[index], goal.rows(index) if goal else None,
                           starts.reshape(batch * count, -1), precision)
    rss = rss.reshape(batch, count)
    best = np.argmin(rss, axis=1)
    row = np.arange(batch) * count + best
    parameters = curve.natural(u[row])
    if goal is not None:
        parameters = goal.hold(parameters)
    return Solution(parameters=parameters, rss=rss[np.arange(batch), best], converged=done[row])


def _from_grid(curve: Curve, targets: Array, weights: Array, goal: Goal | None, tries: int) -> Array:
    """(B, tries, k) search coordinates of the grid points that fit best."""
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
        rss = (squares * targets**2).sum(1)[:, None] - 2 * (squares * targets) @ logs.T + squares @ (logs**2).T
        rank = np.where(known, rss + penalty, np.inf)
        order = np.argsort(rank, axis=1, kind="stable")[:, :tries]
        return curve.search(grid)[order]
    scale = curve.centre(grid)
    columns = curve.basis(grid)
    if at_goal:
        columns = np.concatenate([columns, curve.basis(grid, goal.inputs)], axis=1)  # type: ignore[union-attr]
    values, squares = (np.exp(targets), squares * np.exp(-2 * targets)) if curve.space == "log" else (targets, squares)
    coefficients, rss = bounded_least_squares(columns / scale[:, None, :], values, squares, curve.low[curve.linear])
    rank = rss + penalty
    if len(curve.free) == 1:  # neighbours of the best are no second opinion: take the two best local minima
        ends = np.pad(rank, ((0, 0), (1, 1)), constant_values=np.inf)
        rank = np.where((rank <= ends[:, :-2]) & (rank <= ends[:, 2:]), rank, rank + 1e100)
        tries = min(tries, 2)
    order = np.argsort(rank, axis=1, kind="stable")[:, :tries]
    u = np.broadcast_to(curve.search(grid), (len(targets), *grid.shape))[np.arange(len(targets))[:, None], order].copy()
    u[:, :, curve.linear] = coefficients[np.arange(len(targets))[:, None], order]
    return u


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
    """Derivatives in search coordinates, at (B, k) parameters: (B, n, k) of the law, (B, k) of each goal's quantity."""
    rows, up, down = _steps(curve, curve.search(parameters))
    law = _differences(lambda some, _: curve.fitted(curve.natural(some)), rows, up, down)
    quantity = _differences(lambda some, index: goal.rows(index).quantity(curve, curve.natural(some))[:, None],
                            rows, up, down)
    return law, quantity[:, 0]


def _polish(curve: Curve, targets: Array, weights: Array, goal: Goal | None, u: Array,
            precision: float) -> tuple[Array, Array, Array]:
    """Levenberg-Marquardt from (B, k) search coordinates: the end, its sum of squares, whether it settled."""
    batch, k = u.shape
    damping = np.full(batch, 1e-3)
    residuals = _residuals(curve, targets, weights, goal, u)
    rss = _sum(residuals)
    done = ~np.isfinite(rss)
    settled = np.zeros(batch, dtype=bool)
    u = u.copy()
    for _ in range(STEPS):
        active = np.flatnonzero(~done)
        if not len(active):
            break
        part = u[active]
        some = goal.rows(active) if goal else None
        slopes = _jacobian(curve, targets[active], weights[active], some, part)
        slope = np.einsum("bni,bn->bi", slopes, residuals[active])
        gram = np.einsum("bni,bnj->bij", slopes, slopes)
        held = ((part <= curve.low_u) & (slope > 0)) | ((part >= curve.high_u) & (slope < 0))
        if some is not None:
            held |= np.arange(k) == some.parameter[:, None]
        step = _damped_step(gram, slope, held, damping[active])
        outward = ((part <= curve.low_u) & (step < 0)) | ((part >= curve.high_u) & (step > 0))
        if outward.any():
            step = _damped_step(gram, slope, held | outward, damping[active])
        trial = _within(part, step, curve.low_u, curve.high_u)
        new_residuals = _residuals(curve, targets[active], weights[active], some, trial)
        new = _sum(new_residuals)
        old = rss[active]
        better = new < old
        expected = np.abs((slope * (trial - part) * ~held).sum(axis=1))
        small = (expected <= precision * old + 1e-24) | (damping[active] > 1e12)
        u[active] = np.where(better[:, None], trial, part)
        rss[active] = np.where(better, new, old)
        residuals[active] = np.where(better[:, None], new_residuals, residuals[active])
        damping[active] = np.where(better, np.maximum(damping[active] / 8, 1e-12), damping[active] * 6)
        settled[active] = small
        done[active] = small
    return u, np.where(np.isfinite(rss), rss, np.inf), settled


def _damped_step(gram: Array, slope: Array, held: Array, damping: Array) -> Array:
    """(B, k) Levenberg-Marquardt step of the parameters that are not held; 0 where it cannot be computed."""
    slope = np.where(held, 0.0, slope)
    gram = np.where(held[:, :, None] | held[:, None, :], 0.0, gram)
    index = np.arange(gram.shape[1])
    diagonal = gram[:, index, index]
    gram[:, index, index] += damping[:, None] * diagonal + np.where(diagonal > 0, 1e-15 * diagonal, 1.0)
    try:
        step = -np.linalg.solve(gram, slope[..., None])[..., 0]
    except np.linalg.LinAlgError:
        step = -slope / gram[:, index, index]
    return np.where(np.isfinite(step), step, 0.0)


def _within(u: Array, step: Array, low: Array, high: Array) -> Array:
    """(B, k) the step's end, cut short where it first meets a bound, so that its direction is kept.

    Clipping each parameter by itself would leave the valley that a stiff goal makes.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        room = np.where(step < 0, (low - u) / step, np.where(step > 0, (high - u) / step, np.inf))
    room = np.where(np.isfinite(room) & (room > 0), room, np.inf)
    share = np.minimum(room.min(axis=1), 1.0)
    return np.asarray(np.clip(u + share[:, None] * step, low, high))


def _residuals(curve: Curve, targets: Array, weights: Array, goal: Goal | None, u: Array) -> Array:
    """(B, n + goal) weighted residuals; infinite where the law is not positive at a point that counts."""
    parameters = curve.natural(u)
    if goal is not None:
        parameters = goal.hold(parameters)
    out = np.where(weights > 0, weights * (curve.fitted(parameters) - targets), 0.0)
    if goal is not None and goal.inputs is not None:
        miss = np.where(goal.parameter < 0, goal.weight * (goal.quantity(curve, parameters) - goal.target), 0.0)
        out = np.concatenate([out, miss[:, None]], axis=1)
    return np.where(np.isfinite(out), out, np.inf)


def _sum(residuals: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(np.square(residuals).sum(axis=1))


def _jacobian(curve: Curve, targets: Array, weights: Array, goal: Goal | None, u: Array) -> Array:
    """(B, n + goal, k) derivatives of the residuals."""
    def residuals(some: Array, index: Array) -> Array:
        return _residuals(curve, targets[index], weights[index], goal.rows(index) if goal else None, some)

    return _differences(residuals, *_steps(curve, u))


def _steps(curve: Curve, u: Array) -> tuple[Array, Array, Array]:
    """(2, k, B, k) search coordinates, each parameter in turn moved up and down within bounds; (B, k) both moves."""
    batch, k = u.shape
    size = 1e-6 * np.maximum(np.abs(u), 1e-2 * np.maximum(np.abs(u).max(axis=0), 1e-3))
    up, down = np.minimum(u + size, curve.high_u), np.maximum(u - size, curve.low_u)
    stack = np.broadcast_to(u, (2, k, batch, k)).copy()
    index = np.arange(k)
    stack[0, index, :, index] = up.T
    stack[1, index, :, index] = down.T
    return stack, up, down


def _differences(function: Callable[[Array, Array], Array], stack: Array, up: Array, down: Array) -> Array:
    """(B, m, k) central differences of function((rows, k) coordinates, (rows,) batch index) -> (rows, m)."""
    _, k, batch, _ = stack.shape
    values = function(stack.reshape(-1, k), np.tile(np.arange(batch), 2 * k)).reshape(2, k, batch, -1)
    width = (up - down).T[:, :, None]
    with np.errstate(all="ignore"):
        slope = (values[0] - values[1]) / np.where(width > 0, width, np.inf)
    return np.asarray(np.where(np.isfinite(slope), slope, 0.0).transpose(1, 2, 0))
