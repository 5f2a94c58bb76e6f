"""Fits to runs drawn with replacement: where standard errors come from for a loss that has no likelihood."""

from __future__ import annotations

import numpy as np

from cvfp_core.fitting.curves import Curve
from cvfp_core.fitting.search import ROOM, Solution, solve
from cvfp_core.schema.fits import Array

COUNT = 1000
PRECISION = 1e-7
"""Of what is minimised, relative; the scatter of resamples is a million times that."""
TURNS = 20
"""Resamples that cannot be fitted are drawn again, this many times at most."""


def resampled(curve: Curve, target: Array, optimum: Solution, *, weights: Array | None = None, count: int = COUNT,
              seed: int = 0) -> Array:
    """(count, k) parameters of fits to resamples of the (1, n) targets, each searched from the optimum of all.

    weights: (1, n), multiply residuals. A resample with fewer distinct runs than parameters, or that the law cannot be
    fitted to, is drawn again; there are fewer only if hardly any can be.
    """
    n, k = target.shape[1], len(curve.law.parameters)
    rng, made, together = np.random.default_rng(seed), np.empty((0, k)), max(1, ROOM // n)
    for _ in range(TURNS):
        left = count - len(made)
        for first in range(0, left, together):
            drawn = rng.multinomial(n, np.full(n, 1 / n), size=min(together, left - first))
            drawn = drawn[(drawn > 0).sum(axis=1) >= k]
            fits = solve(curve, np.repeat(target, len(drawn), axis=0), tries=0, precision=PRECISION,
                         weights=np.sqrt(drawn) if weights is None else np.sqrt(drawn) * weights,
                         near=np.repeat(optimum.parameters[:, None, :], len(drawn), axis=0))
            made = np.concatenate([made, fits.parameters[np.isfinite(fits.rss)]])
        if len(made) == count:
            break
    return made
