"""Best sizes from runs of equal compute: the minimum of each budget, and the line through the minima.

Approach 2 of arXiv:2203.15556. The loss is no parabola in log N, so a parabola misses the minimum of a sweep that is
not symmetric about it. Where all budgets together call for a cubic term, it is fitted, and what the parabola would have
said is kept beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy import special

from cvfp_core.fitting.linear import POOLING_P, t_quantile
from cvfp_core.schema.fits import Array, Reason
from cvfp_core.schema.plain import AsDict

SAME = 1.2
"""Runs whose FLOPs are within this factor are of one budget."""
LEAST = 4
"""Sizes that a parabola with an interval needs."""
BUDGETS = 3
"""Minima that a line with an interval needs."""
SIGNIFICANT = 0.05
ROUNDING = 1e-12
"""Scatter of the logarithm of the loss below which it is rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget(AsDict):
    """The runs of one budget and where their loss is lowest. No minimum: the reason says why."""

    flops: float
    """Geometric mean of its runs."""
    n: int
    params: float | None = None
    """Of the minimum."""
    low: float | None = None
    """Of its 95 % interval."""
    high: float | None = None
    loss: float | None = None
    """At the minimum."""
    parabola: float | None = None
    """Params of the minimum of a plain parabola."""
    place: float | None = None
    """Where the minimum lies between the smallest (0) and the largest (1) size of the sweep, in logarithms."""
    reason: str = ""
    coefficients: tuple[float, ...] = ()
    """Of the logarithm of the loss, by rising powers of log N minus `centre`."""
    centre: float = 0.0
    error: float = 0.0
    """Standard error of the logarithm of the minimum's params."""
    rows: Array = field(default_factory=lambda: np.zeros(0, dtype=int), repr=False)
    """Of its runs."""

    def loss_at(self, params: Array) -> Array:
        """The fitted loss for models of these sizes."""
        powers = (np.log(params) - self.centre)[:, None] ** np.arange(len(self.coefficients))
        return np.asarray(np.exp(powers @ np.array(self.coefficients)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Isoflops(AsDict):
    """The budgets of a sweep, and what they were fitted with."""

    budgets: tuple[Budget, ...]
    degree: int = 2
    """3: a cubic term is fitted."""
    p_value: float | None = None
    """Of the cubic terms, over all budgets (F test); None where none can be fitted."""
    sigma: float = 0.0
    """Residual standard deviation of the logarithm of a run's loss."""
    dof: int = 0

    @property
    def minima(self) -> tuple[Budget, ...]:
        """Those budgets that have one."""
        return tuple(each for each in self.budgets if each.params is not None)


def by_budget(flops: Array) -> list[Array]:
    """Rows of the runs of each budget with two runs or more, the most crowded taken first; by rising budget."""
    left, found = np.argsort(flops, kind="stable"), []
    while len(left):
        values = flops[left]
        ends = np.searchsorted(values, values * SAME, side="right")
        start = int(np.argmax(ends - np.arange(len(values))))
        if ends[start] - start < 2:
            break
        found.append(left[start : ends[start]])
        left = np.delete(left, np.s_[start : ends[start]])
    return sorted(found, key=lambda rows: float(flops[rows].mean()))


def isoflops(params: Array, loss: Array, flops: Array) -> Isoflops:
    """The minimum of each budget among the runs. params, loss, flops: (n,), positive."""
    groups = by_budget(flops)
    able = [rows for rows in groups if len(np.unique(params[rows])) >= LEAST]
    logs, x = np.log(loss), np.log(params)
    rss, dof = _residual(able, x, logs, 2)
    degree, p_value = 2, None
    bent, rest = _residual(able, x, logs, 3)
    if rest > 0 and dof > rest:
        p_value = float(special.fdtrc(dof - rest, rest, max(rss - bent, 0.0) / (dof - rest)
                                       / max(bent / rest, 1e-300)))
        if p_value < SIGNIFICANT:
            degree, rss, dof = 3, bent, rest
    sigma = max(float(np.sqrt(rss / dof)), ROUNDING) if dof > 0 else 0.0
    budgets = tuple(_budget(rows, params, loss, flops, degree, sigma, dof) for rows in groups)
    return Isoflops(budgets=budgets, degree=degree, p_value=p_value, sigma=sigma, dof=dof)


def _powers(x: Array, degree: int) -> Array:
    """(n, degree + 1); a cubic needs one more size than a parabola, and fewer sizes get that."""
    return np.asarray((x - x.mean())[:, None] ** np.arange(min(degree, len(np.unique(x)) - 2) + 1))


def _residual(groups: list[Array], x: Array, logs: Array, degree: int) -> tuple[float, int]:
    """Residual sum of squares and degrees of freedom over all budgets."""
    rss, dof = 0.0, 0
    for rows in groups:
        design = _powers(x[rows], degree)
        rest = logs[rows] - design @ np.linalg.lstsq(design, logs[rows], rcond=None)[0]
        rss, dof = rss + float(rest @ rest), dof + len(rows) - design.shape[1]
    return rss, dof


def _budget(rows: Array, params: Array, loss: Array, flops: Array, degree: int, sigma: float, dof: int) -> Budget:
    x, logs = np.log(params[rows]), np.log(loss[rows])
    blank = Budget(flops=float(np.exp(np.log(flops[rows]).mean())), n=len(rows), rows=rows)
    sizes = len(np.unique(x))
    if sizes < LEAST:
        return replace(blank, reason=Reason("{n} sizes, needs {least}", n=sizes, least=LEAST))
    design, centre = _powers(x, degree), float(x.mean())
    inverse = np.linalg.pinv(design.T @ design)
    beta = inverse @ design.T @ logs
    d = _minimum(beta)
    plain = _minimum(np.linalg.lstsq(_powers(x, 2), logs, rcond=None)[0])
    known = replace(blank, coefficients=tuple(map(float, beta)), centre=centre,
                    parabola=None if plain is None else float(np.exp(centre + plain)))
    if d is None or not x.min() < centre + d < x.max():
        return replace(known, reason=Reason("no minimum between its sizes"))
    power = np.arange(len(beta))
    bend = float(sum(k * (k - 1) * beta[k] * d ** (k - 2) for k in power[2:]))
    slope = np.where(power > 0, power * d ** np.maximum(power - 1, 0), 0.0)
    curve = np.where(power > 1, power * (power - 1) * d ** np.maximum(power - 2, 0), 0.0)
    t = t_quantile(dof)
    if bend < t * sigma * np.sqrt(curve @ inverse @ curve):
        return replace(known, reason=Reason("its curvature is not told from 0"))
    error = sigma * float(np.sqrt(slope @ inverse @ slope)) / bend
    return replace(
        known, params=float(np.exp(centre + d)), low=float(np.exp(centre + d - t * error)),
        high=float(np.exp(centre + d + t * error)), loss=float(np.exp(d**power @ beta)), error=error,
        place=float((centre + d - x.min()) / np.ptp(x)))


def _minimum(beta: Array) -> float | None:
    """Where the polynomial with these coefficients, by rising powers up to 3, has its minimum; None: it has none."""
    if len(beta) == 3 or abs(beta[3]) < 1e-12:
        return float(-beta[1] / (2 * beta[2])) if beta[2] > 0 else None
    under = beta[2] ** 2 - 3 * beta[3] * beta[1]
    return float((-beta[2] + np.sqrt(under)) / (3 * beta[3])) if under > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Line:
    """A straight line through estimates of unequal error: value and 95 % interval anywhere on it."""

    intercept: float
    slope: float
    centre: float
    covariance: Array
    """(2, 2) at the centre."""
    dof: int

    def at(self, x: float) -> tuple[float, float]:
        """The value, and half of the interval."""
        design = np.array([1.0, x - self.centre])
        half = t_quantile(self.dof) * float(np.sqrt(design @ self.covariance @ design))
        return self.intercept + self.slope * (x - self.centre), half


def line(x: Array, y: Array, error: Array | None = None, dof: int = 0) -> Line:
    """The line through (n,) y over (n,) x, three or more.

    error: (n,) standard errors, from a residual variance with `dof` degrees of freedom; the scatter about the line is
    pooled with it, or taken in its place where it is larger than chance explains.
    """
    weight = np.ones(len(x)) if error is None else 1 / np.maximum(error, 1e-12)
    centre = float((weight**2 @ x) / (weight**2).sum())
    design = np.stack([np.ones(len(x)), x - centre], axis=1) * weight[:, None]
    beta = np.linalg.lstsq(design, y * weight, rcond=None)[0]
    rest, own = y * weight - design @ beta, len(x) - 2
    scatter = float(rest @ rest) / own
    if error is not None and dof and special.fdtrc(own, dof, scatter) >= POOLING_P:
        scatter, own = (scatter * own + dof) / (own + dof), own + dof
    return Line(intercept=float(beta[0]), slope=float(beta[1]), centre=centre, dof=own,
                covariance=scatter * np.linalg.inv(design.T @ design))
