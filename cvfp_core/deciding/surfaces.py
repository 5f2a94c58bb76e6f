"""The best size for a budget by a law of N and D, with the sizes that the runs do not contradict.

Approach 3 of arXiv:2203.15556, for any law of the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from cvfp_core.deciding.budgets import PARAMS, TOKENS, Cost
from cvfp_core.fitting.curve_fit import Solved
from cvfp_core.fitting.curves import Goal
from cvfp_core.fitting.linear import t_quantile
from cvfp_core.schema.fits import Array

GRID = 1201
STEP = 1e-3
"""Of log N, for the slope of the loss along a budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """log N of the optimum and of the ends of its 95 % interval; an infinite end: there is none."""

    value: float
    low: float
    high: float
    edge: bool = False
    """It is the least or most that is allowed, not a minimum."""


def minimum(loss: Callable[[Array, Array], Array], cost: Cost, flops: float, ends: tuple[float, float]
            ) -> tuple[float, bool]:
    """log N of the least loss along the budget, and whether it is an end of what is allowed. loss: of (n,) N and D."""
    from scipy import optimize

    def along(u: Array) -> Array:
        return loss(np.exp(u), cost.tokens(flops, np.exp(u)))

    grid = np.linspace(*ends, GRID)
    values = along(grid)
    best = int(np.nanargmin(values))
    if best in (0, GRID - 1):
        return float(grid[best]), True
    found = optimize.minimize_scalar(lambda u: float(along(np.array([u]))[0]), method="bounded",
                                     bounds=(grid[best - 1], grid[best + 1]), options={"xatol": 1e-9})
    return float(found.x), False


def limits(solved: Solved, cost: Cost, flops: float, best: float, ends: tuple[float, float], *, factor: float = 1.0
           ) -> tuple[float, float]:
    """The log N about the best at which the slope of the loss along the budget may be 0 (Fieller 1954).

    solved: what intervals of the law are made from. factor: how many times wider a back-test wants intervals. The
    slope's error is that of the law's parameters, to first order.
    """
    u = np.unique(np.append(np.linspace(*ends, GRID), best))
    at = np.concatenate([u + STEP, u - STEP])
    given = _inputs(at, cost, flops)
    goal = Goal(target=np.zeros(1), weight=np.ones(1), parameter=np.full(1, -1), log=np.zeros(1, dtype=bool),
                inputs=given)
    wide = solved.curve.expand(solved.optimum.parameters, goal)
    n = solved.target.shape[1]
    known = wide.slope[0, :n] * solved.weights[0][:, None]
    length = np.maximum(np.sqrt(np.square(known).sum(axis=0)), 1e-300)
    spread = np.linalg.pinv((known / length).T @ (known / length), rcond=1e-14, hermitian=True)
    rise = (wide.slope[0, n : n + len(u)] - wide.slope[0, n + len(u) :]) / length
    slope = wide.fitted[0, n : n + len(u)] - wide.fitted[0, n + len(u) :]
    error = solved.sigma * np.sqrt(np.einsum("ni,ij,nj->n", rise, spread, rise))
    ratio = np.abs(slope) / np.maximum(factor * t_quantile(solved.variance.dof) * error, 1e-300)
    middle = int(np.searchsorted(u, best))
    low = _crossing(u[middle::-1], ratio[middle::-1])
    high = _crossing(u[middle:], ratio[middle:])
    return -np.inf if low is None else low, np.inf if high is None else high


def _inputs(u: Array, cost: Cost, flops: float) -> Mapping[str, Array]:
    return {PARAMS: np.exp(u), TOKENS: np.maximum(cost.tokens(flops, np.exp(u)), 1e-6)}


def _crossing(u: Array, ratio: Array) -> float | None:
    """Where the ratio first exceeds 1, from the first value on; None: nowhere."""
    over = np.flatnonzero(~(ratio <= 1))
    if not len(over):
        return None
    end = int(over[0])
    if end == 0:
        return float(u[0])
    share = (1 - ratio[end - 1]) / (ratio[end] - ratio[end - 1])
    return float(u[end - 1] + share * (u[end] - u[end - 1]))
