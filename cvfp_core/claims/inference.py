"""Estimates with honest small-sample intervals: means, correlations, slopes. Arrays in, `Measured` out."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import permutations

import numpy as np

from cvfp_core.fitting.linear import t_p_value, t_quantile
from cvfp_core.schema.claims import Measured
from cvfp_core.schema.fits import Array

EXACT = 8
"""Rank correlations of up to so many pairs get the exact p, from all orders."""
LEAST_PAIRS = 4
"""Pairs from which on a correlation has an interval: Fisher's z has the standard error 1 / sqrt(n - 3)."""
LEAST_RANKED = 5
"""Pairs from which on an exact p can be below 5 %: of 4 pairs, 2 of 24 orders are perfect."""


def student(estimate: float, stderr: float, dof: float, *, n: int, method: str) -> Measured:
    """The estimate with the t interval of that standard error."""
    half = t_quantile(dof) * stderr
    return Measured(estimate=estimate, low=estimate - half, high=estimate + half, stderr=stderr, dof=dof,
                    p_value=t_p_value(estimate, stderr, dof), n=n, method=method)


def mean(values: Array, *, method: str = "mean, t interval") -> Measured:
    """The mean of independent values; one value has no interval."""
    n = len(values)
    if n == 0:
        return Measured(estimate=None, method=method, least=2)
    if n == 1:
        return Measured(estimate=float(values[0]), n=1, method=method, least=2)
    return student(float(values.mean()), float(values.std(ddof=1) / np.sqrt(n)), n - 1, n=n, method=method)


def another(values: Array, *, method: str = "mean, t interval of one more") -> Measured:
    """The mean of independent values with the interval in which one more of them lies."""
    made, n = mean(values, method=method), len(values)
    if made.stderr is None or made.estimate is None:
        return made
    return student(made.estimate, made.stderr * float(np.sqrt(n + 1)), n - 1, n=n, method=method)


def pearson(x: Array, y: Array) -> Measured:
    """The correlation of independent pairs; p by t, and the interval that belongs to that test: see `_correlated`.

    Three pairs have no interval, so nothing is tested on them.
    """
    method = "Pearson correlation, t test and its interval"
    found = _correlation(x, y)
    if found is None:
        return Measured(estimate=None, n=len(x), method=method, least=LEAST_PAIRS)
    if len(x) < LEAST_PAIRS:
        return Measured(estimate=found[0], n=len(x), method=method, least=LEAST_PAIRS)
    return _correlated(*found, len(x), factor=lambda _: 1.0, method=method)


def spearman(x: Array, y: Array) -> Measured:
    """The rank correlation of independent pairs; p exact for up to 8, without an interval, else by t.

    The interval is that of Bonett and Wright 2000, scaled to belong to the t test.
    """
    n, left, right = len(x), ranks(x), ranks(y)
    method = f"Spearman rank correlation, {'exact test' if n <= EXACT else 't test and its interval'}"
    found = _correlation(left, right)
    if found is None:
        return Measured(estimate=None, n=n, method=method, least=LEAST_RANKED)
    rho = found[0]
    made = _correlated(*found, n, factor=lambda r: 1 + r**2 / 2, method=method)
    if n > EXACT:
        return made
    every = (right[_orders(n)] - right.mean()) @ (left - left.mean())
    seen = abs((right - right.mean()) @ (left - left.mean()))
    p = float((np.abs(every) >= seen * (1 - 1e-12) - 1e-12).mean())
    return Measured(estimate=rho, dof=made.dof, p_value=p, n=n, method=method, least=LEAST_RANKED)


def ranks(values: Array) -> Array:
    """Ranks from 1, ties sharing their mean; values that differ by rounding alone are ties."""
    values = np.round(values / max(float(np.abs(values).max(initial=0.0)), 1e-300), 12)
    ordered = np.sort(values)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right") + 1) / 2


def _correlation(x: Array, y: Array) -> tuple[float, float] | None:
    """The correlation r and 1 - r^2, which near a perfect correlation has digits that r has not."""
    if len(x) < 3:
        return None
    left, right = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((left @ left) * (right @ right)))
    floor = 1e-12 * len(x) * max(float(np.abs(x).max()), 1e-300) * max(float(np.abs(y).max()), 1e-300)
    if scale <= floor:
        return None
    r = float(np.clip(left @ right / scale, -1, 1))
    apart = left / np.sqrt(left @ left) - np.sign(r) * right / np.sqrt(right @ right)
    return r, float(apart @ apart) / 2 * (1 + abs(r))


def _correlated(r: float, rest: float, n: int, *, factor: Callable[[float], float], method: str) -> Measured:
    """p by t, and an interval on Fisher's z that leaves out 0 where, and only where, that p is below 5 %.

    Its half-width is that of the correlation at which p is 5 %, in place of 1.96 / sqrt(n - 3): 0.881 for 0.877 of 8.
    """
    dof = n - 2
    low = high = None
    if n > 3 and abs(r) < 1 - 1e-12:  # of a perfect correlation the interval would be a point
        t = t_quantile(dof)
        limit = float(t / np.sqrt(dof + t**2))
        half = float(np.arctanh(limit) * np.sqrt(factor(r) / factor(limit)))
        z = float(np.arctanh(r))
        low, high = float(np.tanh(z - half)), float(np.tanh(z + half))
    return Measured(estimate=r, low=low, high=high, dof=dof, p_value=t_p_value(r, float(np.sqrt(rest / dof)), dof), n=n,
                    method=method)


def slope(x: Array, y: Array, strata: Array | None = None) -> Measured:
    """The common slope of y over x, with an intercept for each stratum; points are independent."""
    labels, index = np.unique(np.zeros(len(x), dtype=int) if strata is None else strata, return_inverse=True)
    within = "" if len(labels) == 1 else f" within {len(labels)} strata"
    method = f"least squares{within}, t interval"
    counts = np.bincount(index)
    left = x - (np.bincount(index, x) / counts)[index]
    right = y - (np.bincount(index, y) / counts)[index]
    spread, dof = float(left @ left), len(x) - len(labels) - 1
    if spread <= 1e-24 * max(float(x @ x), 1e-300):
        return Measured(estimate=None, n=len(x), method=method, least=len(labels) + 2)
    value = float(left @ right / spread)
    if dof < 1:
        return Measured(estimate=value, n=len(x), method=method, least=len(labels) + 2)
    rest = right - value * left
    return student(value, float(np.sqrt(rest @ rest / dof / spread)), dof, n=len(x), method=method)


def order_test(x: Array, y: Array, *, draws: int = 5000) -> float | None:
    """One-sided p of x and y rising together, from the orders y may have; all of them for up to 8 pairs, else `draws`.

    None where either does not vary. The draws are always the same.
    """
    left = x - x.mean() if len(x) else x
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    if len(x) <= EXACT:
        return float(((y[_orders(len(y))] @ left) >= y @ left - 1e-12).mean())
    random = np.random.default_rng(0)
    every = np.array([random.permutation(y) for _ in range(draws)]) @ left
    return float((1 + (every >= y @ left - 1e-12).sum()) / (draws + 1))


@cache
def _orders(n: int) -> Array:
    """(n!, n) every order of n things."""
    return np.array(list(permutations(range(n))))
