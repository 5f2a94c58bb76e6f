"""What a quantity is at a point, from what it is at points like it: kriging, averaged over how smooth it may be.

A linear trend and a smooth deviation; mean and scale are unknown (ordinary kriging), the covariance's range and noise
are on a grid, each weighted by its marginal likelihood: no setting is picked, so few points are not overfitted.
Source: Rasmussen & Williams 2006, sections 2.7 and 5.4.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from cvfp_core.schema.fits import Array

RANGES = (1.0, 2.0, 4.0, 8.0)
"""Of the smooth deviation, in standard deviations of the points."""
NOISES = (0.01, 0.1, 1.0)
"""Variance of the noise, that of the deviation being 1."""
LEAST = 1e-3
"""Scatter below which nothing is told apart, in units of what is interpolated."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mixture:
    """Student t distributions of one number of degrees of freedom, averaged by weight."""

    weights: Array
    means: Array
    scales: Array
    df: int

    def quantile(self, p: float) -> float:
        """The value below which lies a share `p`; found by halving."""
        wide = special.stdtrit(self.df, max(p, 1 - p)) * self.scales
        low, high = float((self.means - wide).min()), float((self.means + wide).max())
        for _ in range(60):
            middle = (low + high) / 2
            below = self.weights @ special.stdtr(self.df, (middle - self.means) / self.scales)
            low, high = (middle, high) if below < p else (low, middle)
        return (low + high) / 2


def spread(points: Array) -> Array:
    """(f,) standard deviation of each coordinate; 1 of one that does not vary, along which nothing is known."""
    made = points.std(axis=0)
    return np.where(made > 1e-9, made, 1.0)


def krige(points: Array, values: Array, at: Array) -> Mixture:
    """What a new value at a point may be. points: (n, f), n at least 2; values: (n,); at: (f,)."""
    count = len(values)
    centre, scale = points.mean(axis=0), spread(points)
    x, x0 = (points - centre) / scale, (at - centre) / scale
    apart, apart0 = np.square(x[:, None] - x).sum(axis=-1), np.square(x - x0).sum(axis=-1)
    trend, trend0 = x @ x.T, x @ x0
    made = []
    for reach in RANGES:
        for noise in NOISES:
            covariance = np.exp(-apart / (2 * reach**2)) + trend + noise * np.eye(count)
            near = np.exp(-apart0 / (2 * reach**2)) + trend0
            right = np.column_stack([np.ones(count), values, near])
            root = np.linalg.cholesky(covariance)
            ones, y, k = np.linalg.solve(root, right).T  # the products of any two are those by the inverse covariance
            mean = (ones @ y) / (ones @ ones)
            rest = y - mean * ones
            square = rest @ rest + (count - 1) * LEAST**2
            wide = 1 + x0 @ x0 + noise - k @ k + (1 - ones @ k) ** 2 / (ones @ ones)
            likelihood = -np.log(np.diag(root)).sum() - np.log(ones @ ones) / 2 - (count - 1) / 2 * np.log(square)
            made.append((likelihood, mean + k @ rest, np.sqrt(square / (count - 1) * wide)))
    told, means, scales = np.array(made).T
    weights = np.exp(told - told.max())
    return Mixture(weights=weights / weights.sum(), means=means, scales=scales, df=count - 1)
