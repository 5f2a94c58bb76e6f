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
from cvfp_core.fitting.search import Solution, solve
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Robust:
    """An optimum with the scale about it."""

    optimum: Solution
    weights: Array
    """(1, n) that multiply residuals; 0 of a run left out."""
    corner: Array
    """(1,) of the Huber loss."""
    variance: Variance


def robust(curve: Curve, target: Array, weights: Array, optimum: Solution, cells: Array) -> Robust | None:
    """The scale of (1, n) targets about the curve, and the optimum by it; None without a degree of freedom.

    cells: (n,) label of each run's inputs. Of a loss that counts runs above the law less, a new run is one that counts
    in full.
    """
    k = len(curve.law.parameters)
    weights = weights * kept(curve, target, weights, optimum)
    count = (weights[0] > 0).sum()
    if count <= k:
        return None
    fit = solve(curve, target, weights=weights, near=optimum.parameters[:, None, :], tries=1, delta=np.full(1, np.inf))
    scale = np.sqrt(fit.rss / (count - k))
    for _ in range(ROUNDS + 2):
        size = np.abs(curve.fitted(fit.parameters) - target)
        for _ in range(30):
            cut = weights * np.minimum(size, CORNER * scale)
            scale = np.sqrt(np.square(cut).sum(axis=1) / (count - k) / CLIPPED)
        scale = np.maximum(scale, 1e-10)
        fit = solve(curve, target, weights=weights, near=fit.parameters[:, None, :], tries=0, delta=CORNER * scale,
                    precision=PRECISION)
    residual = (curve.fitted(fit.parameters) - target)[0]
    use = weights[0] > 0
    share = np.where(residual < 0, curve.law.loss.above, 1.0)[use]
    clipped = (weights[0] * np.clip(residual, -CORNER * scale, CORNER * scale))[use]
    own = pooled_variance(clipped * np.sqrt(share / share.mean() / CLIPPED), k, cells[use])
    assert own.value is not None
    bend = np.square(share * clipped).sum() / max(np.square(clipped) @ share, 1e-300) * CLIPPED / INNER
    return Robust(optimum=fit, weights=weights, corner=CORNER * scale, variance=replace(own, value=own.value * bend))


def kept(curve: Curve, target: Array, weights: Array, optimum: Solution) -> Array:
    """(1, n) 0 for runs that lie off the law through the others, 1 for the rest.

    The F test of a shift of that run alone, corrected for the number of runs (Cook & Weisberg 1982, section 2.2).
    """
    n, k = target.shape[1], len(curve.law.parameters)
    use = weights > 0
    squares = np.full(1, np.inf)
    whole = solve(curve, target, weights=weights * use, near=optimum.parameters[:, None, :], tries=1, delta=squares)
    for _ in range(ROUNDS):
        rows = np.flatnonzero(use[0])
        dof = len(rows) - k - 1
        if dof < 1:
            break
        without = np.repeat(weights * use, len(rows), axis=0)
        without[np.arange(len(rows)), rows] = 0.0
        near = np.repeat(np.stack([whole.parameters, optimum.parameters], axis=1), len(rows), axis=0)
        rss = solve(curve, np.repeat(target, len(rows), axis=0), weights=without, near=near, tries=0,
                    precision=PRECISION, delta=np.repeat(squares, len(rows))).rss
        ratio = np.maximum(whole.rss - rss, 0.0) / np.maximum(rss / dof, 1e-24)
        far = special.fdtrc(1, dof, ratio) * len(rows) < OUTLYING
        if not far.any():
            break
        use[0, rows[far]] = False
        whole = solve(curve, target, weights=weights * use, near=near[:1], tries=1, delta=squares)
    return use.astype(float).reshape(1, n)
