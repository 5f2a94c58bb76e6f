"""What intervals are made from where a law's loss is none of squares: its scale, the runs that count, the optimum.

A loss with a fixed corner says nothing of how much runs scatter. So intervals are profiles of the Huber loss whose
corner lies at 1.345 scales of the residuals, a scale found with the law (Huber 1981, proposal 2), without the runs that
lie off the law through the others by more than chance allows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from cvfp_core.fitting.curves import Curve
from cvfp_core.fitting.linear import Variance, pooled_variance
from cvfp_core.fitting.search import ROOM, Solution, solve
from cvfp_core.schema.fits import Array

CORNER = 1.345
"""Of the Huber loss, in scales: 95 % as efficient as least squares where noise is normal."""
INNER = float(2 * special.ndtr(CORNER) - 1)
"""Share of normal residuals within the corner."""
CLIPPED = float(INNER - CORNER * np.sqrt(2 / np.pi) * np.exp(-CORNER**2 / 2) + 2 * CORNER**2 * special.ndtr(-CORNER))
"""Variance of normal residuals cut off at the corner."""
OUTLYING = 0.02
"""A run is left out if one of n is as far off by chance less often than this, over all n."""
ROUNDS = 3
"""Of leaving runs out, and of scale and law in turn."""
PRECISION = 1e-9
MANY = 1000
"""Runs of a row from which on not each is left out in turn: at most as many, those that seem furthest off."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Robust:
    """An optimum with the scale about it."""

    optimum: Solution
    """Of one row."""
    weights: Array
    """(1, n) that multiply residuals; 0 of a run left out."""
    corner: Array
    """(1,) of the Huber loss."""
    variance: Variance


def robust(curve: Curve, targets: Array, weights: Array, optimum: Solution, cells: Array) -> list[Robust | None]:
    """The scale of each row of (B, n) targets about the curve, and the optimum by it; None without a degree of freedom.

    cells: (n,) label of each run's inputs. Of a loss that counts runs above the law less, a new run is one that counts
    in full.
    """
    k = len(curve.law.parameters)
    weights = weights * kept(curve, targets, weights, optimum)
    count = (weights > 0).sum(axis=1)
    rows = np.flatnonzero(count > k)
    made: list[Robust | None] = [None] * len(targets)
    if not len(rows):
        return made
    targets, weights, dof = targets[rows], weights[rows], count[rows] - k
    fit = solve(curve, targets, weights=weights, near=optimum.parameters[rows, None], tries=1,
                delta=np.full(len(rows), np.inf))
    scale = np.sqrt(fit.rss / dof)
    for _ in range(ROUNDS + 2):
        size = np.abs(curve.fitted(fit.parameters) - targets)
        for _ in range(30):
            cut = weights * np.minimum(size, CORNER * scale[:, None])
            scale = np.sqrt(np.square(cut).sum(axis=1) / dof / CLIPPED)
        scale = np.maximum(scale, 1e-10)
        fit = solve(curve, targets, weights=weights, near=fit.parameters[:, None], tries=0, delta=CORNER * scale,
                    precision=PRECISION)
    residuals = curve.fitted(fit.parameters) - targets
    for i, row in enumerate(rows):
        variance = _variance(residuals[i], weights[i], float(scale[i]), curve.law.loss.above, k, cells)
        made[row] = Robust(optimum=fit.rows(np.array([i])), weights=weights[[i]], corner=CORNER * scale[[i]],
                           variance=variance)
    return made


def _variance(residual: Array, weights: Array, scale: float, above: float, k: int, cells: Array) -> Variance:
    """Of what parameters vary with, and of a new run, from (n,) residuals cut off at the corner."""
    use = weights > 0
    share = np.where(residual < 0, above, 1.0)[use]
    clipped = (weights * np.clip(residual, -CORNER * scale, CORNER * scale))[use]
    own = pooled_variance(clipped * np.sqrt(share / share.mean() / CLIPPED), k, cells[use])
    assert own.value is not None
    bend = np.square(share * clipped).sum() / max(np.square(clipped) @ share, 1e-300) * CLIPPED / INNER
    return replace(own, value=own.value * bend)


def kept(curve: Curve, targets: Array, weights: Array, optimum: Solution) -> Array:
    """(B, n) 0 for runs that lie off the law through the others of their row, 1 for the rest.

    The F test of a shift of that run alone, corrected for the number of runs (Cook & Weisberg 1982, section 2.2). Of
    more than MANY runs those are tested that the same test of the linearised law finds off by a far weaker standard.
    """
    k, use = len(curve.law.parameters), weights > 0
    whole = solve(curve, targets, weights=weights * use, near=optimum.parameters[:, None], tries=1,
                  delta=np.full(len(targets), np.inf))
    todo = np.arange(len(targets))
    for _ in range(ROUNDS):
        dof = use.sum(axis=1) - k - 1
        todo = todo[dof[todo] >= 1]
        pairs = np.argwhere(_suspects(curve, targets[todo], (weights * use)[todo], whole.rows(todo), dof[todo]))
        if not len(pairs):
            break
        row, run = todo[pairs[:, 0]], pairs[:, 1]
        near, alone = np.stack([whole.parameters, optimum.parameters], axis=1), np.arange(targets.shape[1])
        rss = np.concatenate([
            solve(curve, targets[row[part]], weights=(weights * use)[row[part]] * (alone != run[part, None]),
                  near=near[row[part]], tries=0, precision=PRECISION, delta=np.full(len(part), np.inf)).rss
            for part in np.array_split(np.arange(len(row)), -(-len(row) * len(alone) // ROOM))])
        ratio = np.maximum(whole.rss[row] - rss, 0.0) / np.maximum(rss / dof[row], 1e-24)
        far = special.fdtrc(1, dof[row], ratio) * use.sum(axis=1)[row] < OUTLYING
        use[row[far], run[far]] = False
        todo = np.unique(row[far])
        if not len(todo):
            break
        again = solve(curve, targets[todo], weights=weights[todo] * use[todo], near=near[todo, :1], tries=1,
                      delta=np.full(len(todo), np.inf))
        whole.parameters[todo], whole.rss[todo] = again.parameters, again.rss
    return use.astype(float)


def _suspects(curve: Curve, targets: Array, weights: Array, whole: Solution, dof: Array) -> Array:
    """(B, n) whether a run is to be tested: all that count of MANY or fewer, else the furthest off of a linear law."""
    suspects = weights > 0
    for i in np.flatnonzero(suspects.sum(axis=1) > MANY):
        about = curve.expand(whole.parameters[[i]])
        design = weights[i][:, None] * about.slope[0]  # (n, k)
        leverage = ((design @ np.linalg.pinv(design.T @ design, hermitian=True)) * design).sum(axis=1)
        less = np.square(weights[i] * (about.fitted[0] - targets[i])) / np.maximum(1 - leverage, 1e-9)
        ratio = np.where(suspects[i], less / np.maximum((whole.rss[i] - less) / dof[i], 1e-24), 0.0)
        far = special.fdtrc(1, dof[i], ratio) * suspects[i].sum() < 50 * OUTLYING
        suspects[i] &= far & (ratio >= np.partition(ratio, -MANY)[-MANY])
    return suspects
