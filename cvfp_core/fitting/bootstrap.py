"""Fits to runs drawn with replacement: where intervals come from for a loss that has no likelihood."""

from __future__ import annotations

import numpy as np

from cvfp_core.fitting.curves import Curve
from cvfp_core.fitting.search import Solution, solve
from cvfp_core.schema.fits import Array

COUNT = 1000
PRECISION = 1e-7
"""Of what is minimised, relative; the scatter of resamples is a million times that."""


def resampled(curve: Curve, target: Array, optimum: Solution, *, count: int = COUNT, seed: int = 0) -> Array:
    """(count, k) parameters of fits to resamples of the (1, n) targets, each searched from the optimum of all.

    A resample that the law cannot be fitted to is left out, so there may be fewer.
    """
    n = target.shape[1]
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=count)
    made = solve(curve, np.repeat(target, count, axis=0), weights=np.sqrt(drawn), tries=0, precision=PRECISION,
                 near=np.repeat(optimum.parameters[:, None, :], count, axis=0))
    return np.asarray(made.parameters[np.isfinite(made.rss)])
