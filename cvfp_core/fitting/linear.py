"""Least squares on a design matrix, with what repeats at a size tell about the residual variance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from cvfp_core.schema.fits import Array

POOLING_P = 0.5
"""Lack of fit at least this likely by chance is pooled with the scatter of seeds. At the customary 0.25 (Bancroft 1964)
intervals cover 92.5 % where seeds share an error as large as their own; at 0.5 they cover 94.7 % or more."""
CACHED = 16_000
"""Numbers that are worked on at once, so that they stay in the cache."""
LONG = 50
"""Degrees of freedom from which an expansion is as good as the sum."""


def t_share(dof: Array, t: Array) -> Array:
    """(B, K) share of Student's t distribution below t, for (B, 1) whole degrees of freedom.

    `special.stdtr` to 2e-12, several times as fast: a finite sum (Abramowitz & Stegun 26.7.3-4), or where that is long
    the normal share of an expansion (Hill 1970, algorithm 395).
    """
    made = np.empty_like(t)
    for n in np.unique(dof):
        rows = np.flatnonzero(dof[:, 0] == n)
        for part in np.array_split(rows, min(len(rows), -(-len(rows) * t.shape[1] // CACHED))):
            made[part] = _share(int(n), np.clip(t[part], -1e100, 1e100))
    return made


def _share(n: int, t: Array) -> Array:
    square = t * t
    if n >= LONG:
        a = n - 0.5
        b = 48 * a * a
        s = np.log1p(square / n, out=square)
        s *= a
        w = np.copysign(np.sqrt(s), t)
        w += w * ((s + 3) / b - (((0.4 * s + 3.3) * s + 24) * s + 85.5) / (b * (0.8 * s * s + 100 + b)))
        return np.asarray(special.ndtr(w, out=w))
    square += n
    cosine, odd, total = n / square, n % 2, np.full_like(t, n > 1)  # the cosine squared
    for j in range((n - odd) // 2 - 1, 0, -1):
        total *= cosine
        total *= (2 * j - 1 + odd) / (2 * j + odd)
        total += 1
    total *= t / np.sqrt(square)
    return 0.5 + (np.arctan(t / np.sqrt(n)) + np.sqrt(cosine) * total) / np.pi if odd else 0.5 + total / 2


def t_quantile(dof: float, confidence: float = 0.95) -> float:
    """Student's two-sided critical value."""
    return float(special.stdtrit(dof, 0.5 + confidence / 2))


def t_p_value(estimate: float, stderr: float, dof: float) -> float:
    """Two-sided p of a t statistic: the chance of an estimate this far from 0 if the truth is 0."""
    if stderr == 0:
        return float(estimate == 0)
    return float(2 * special.stdtr(dof, -abs(estimate) / stderr))


@dataclass(frozen=True, slots=True, kw_only=True)
class Variance:
    """Residual variance with its degrees of freedom, and the test of the law against the scatter of seeds."""

    value: float | None
    """What parameters vary with."""
    dof: int
    new_run: float | None = None
    """Variance of one further run about the law: seed scatter and the law's own misfit."""
    lack_of_fit_p: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Line:
    """A linear least-squares solution: (p,) coefficients, (p, p) inverse of X'X, residual sum of squares."""

    coefficients: Array
    inverse: Array
    residuals: Array
    rss: float
    r_squared: float | None
    variance: Variance

    def stderr(self, column: int) -> float | None:
        """Standard error of a coefficient, None without residual degrees of freedom."""
        if self.variance.value is None:
            return None
        return float(np.sqrt(self.variance.value * max(self.inverse[column, column], 0.0)))

    def interval(self, column: int) -> tuple[float, float] | None:
        """Student-t 95 % interval of a coefficient."""
        error = self.stderr(column)
        if error is None:
            return None
        half = t_quantile(self.variance.dof) * error
        return float(self.coefficients[column] - half), float(self.coefficients[column] + half)


def pooled_variance(residuals: Array, parameters: int, cells: Array) -> Variance:
    """The variance of one run about a law with that many parameters.

    cells: (n,) label of the size each run was made at. With repeats, the scatter of size means about the law is tested
    against the scatter of seeds; if it is larger than chance explains, seeds are no evidence about the law, and the
    variance is that of size means with (sizes - parameters) degrees of freedom.
    """
    n = len(residuals)
    labels, index = np.unique(cells, return_inverse=True)
    sizes, dof = len(labels), n - parameters
    rss = float(residuals @ residuals)
    if dof <= 0:
        return Variance(value=None, dof=0)
    pooled = rss / dof
    if sizes == n or sizes < parameters:
        return Variance(value=pooled, dof=dof, new_run=pooled)
    means = np.bincount(index, residuals) / np.bincount(index)
    misfit_dof, pure_dof = sizes - parameters, n - sizes
    pure = float(np.square(residuals - means[index]).sum()) / pure_dof
    if misfit_dof == 0:
        return Variance(value=pure, dof=pure_dof, new_run=pure)
    misfit = max(rss - pure * pure_dof, 0.0) / misfit_dof
    p = float(special.fdtrc(misfit_dof, pure_dof, misfit / pure)) if pure > 0 else float(misfit == 0)
    if p >= POOLING_P:
        return Variance(value=pooled, dof=dof, new_run=pooled, lack_of_fit_p=p)
    new_run = pure + max(misfit - pure, 0.0) * sizes / n
    return Variance(value=misfit, dof=misfit_dof, new_run=new_run, lack_of_fit_p=p)


def least_squares(design: Array, target: Array, cells: Array) -> Line | None:
    """The solution for design (n, p) and target (n,); None if the columns cannot be told apart.

    Columns are scaled to unit length first, so that units do not decide what is singular.
    """
    length = np.sqrt(np.square(design).sum(axis=0))
    if design.shape[0] < design.shape[1] or (length == 0).any():
        return None
    left, singular, right = np.linalg.svd(design / length, full_matrices=False)
    if singular[-1] < 1e-10 * singular[0]:
        return None
    coefficients = (right.T @ ((left.T @ target) / singular)) / length
    inverse = (right.T / singular**2) @ right / np.outer(length, length)
    residuals = target - design @ coefficients
    rss = float(residuals @ residuals)
    total = float(np.square(target - target.mean()).sum())
    return Line(
        coefficients=coefficients, inverse=inverse, residuals=residuals, rss=rss,
        r_squared=1 - rss / total if total > 0 else None,
        variance=pooled_variance(residuals, design.shape[1], cells),
    )


def aicc(rss: float, n: int, parameters: int) -> float | None:
    """Corrected Akaike criterion; None where n is too small for it to exist. The variance counts as a parameter."""
    k = parameters + 1
    if n - k - 1 <= 0 or rss <= 0:
        return None
    return float(n * np.log(rss / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1))


def bic(rss: float, n: int, parameters: int) -> float | None:
    """Bayesian information criterion (Schwarz 1978), which exists for any n; None without a residual."""
    return float(n * np.log(rss / n) + (parameters + 1) * np.log(n)) if rss > 0 else None
