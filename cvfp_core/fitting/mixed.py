"""A configuration nobody trained: a mixed model over configurations, robust, calibrated by leaving each one out.

log y = polynomial of log size + covariates + effect of the configuration + run. The runs of a configuration share a
multivariate t distribution (maximum likelihood), so that one odd configuration among twelve does not move the others:
Lange, Little & Taylor 1989, doi:10.2307/2290063.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from cvfp_core.fitting.linear import t_quantile
from cvfp_core.fitting.predict import FAR, Prediction, far_out
from cvfp_core.schema.fits import Array, Points, Reason

NAME = "new-configuration"
NU = 4.0
"""Degrees of freedom of the t distribution; Lange, Little & Taylor 1989 advise 4 where they are not estimated."""
LOG_RATIO = (-12.0, 8.0)
"""Where the logarithm of the ratio of variances, between configurations to within, is searched."""
CURVED_FROM = 4
"""Sizes from which on a curve in log size is fitted, a line with fewer."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solution:
    """The model fitted to several subsets of the configurations at once: F subsets, p coefficients."""

    coefficients: Array
    """(F, p)."""
    inverse: Array
    """(F, p, p); times `variance` the covariance of the coefficients."""
    variance: Array
    """(F,) within configurations."""
    ratio: Array
    """(F,) of the variance between configurations to that within."""
    log_likelihood: Array
    """(F,) at its maximum."""


def solve(design: Array, target: Array, groups: Array, kept: Array, nu: float = NU) -> Solution:
    """The maximum-likelihood fits for design (n, p), target (n,), groups (n,) 0..K-1, kept (F, K) of 0 and 1.

    For each ratio the likelihood is climbed by expectation and maximisation; the ratio is found by narrowing a grid.
    """
    basis, triangle = np.linalg.qr(design)  # so that neither units nor large means cost digits
    start = basis.T @ target
    rest = target - basis @ start
    rows = [groups == k for k in range(kept.shape[1])]
    n = np.array([row.sum() for row in rows])
    xx = np.array([basis[row].T @ basis[row] for row in rows])
    x, xy = (np.array([basis[row].T @ values[row] for row in rows]) for values in (np.ones(len(rest)), rest))
    y, yy = (np.array([values[row].sum() for row in rows]) for values in (rest, rest**2))
    outer = np.einsum("ki,kj->kij", x, x)

    def at(ratio: Array, kept: Array) -> Solution:
        """(F,) ratios, (F, K) kept."""
        shared = ratio[:, None] / (1 + n * ratio[:, None])  # what the common effect takes off the sum of squares
        weight = kept
        variance = np.zeros(len(kept))
        for _ in range(500):
            normal = np.tensordot(weight, xx, 1) - np.tensordot(weight * shared, outer, 1)
            b = np.linalg.solve(normal, (weight @ xy - (weight * shared * y) @ x)[..., None])[..., 0]
            distance = yy - 2 * b @ xy.T + np.einsum("fi,kij,fj->fk", b, xx, b) - shared * (y - b @ x.T) ** 2
            distance = np.maximum(distance, 0.0)
            before, variance = variance, np.maximum((weight * distance).sum(1) / (kept @ n), 1e-20)
            weight = kept * ((nu + n) / (nu + distance / variance[:, None]) if np.isfinite(nu) else 1.0)
            if (np.abs(variance - before) <= 1e-9 * variance).all():
                break
        scaled = distance / variance[:, None]
        likelihood = -0.5 * (np.log1p(n * ratio[:, None]) + n * np.log(2 * np.pi * variance)[:, None] + scaled)
        if np.isfinite(nu):
            likelihood += special.gammaln((nu + n) / 2) - special.gammaln(nu / 2) - n / 2 * np.log(nu / 2) \
                + scaled / 2 - (nu + n) / 2 * np.log1p(scaled / nu)
        back = np.linalg.inv(triangle)
        return Solution(coefficients=(start + b) @ back.T, inverse=back @ np.linalg.inv(normal) @ back.T,
                        variance=variance, ratio=ratio, log_likelihood=(kept * likelihood).sum(1))

    low, high = (np.full(len(kept), end) for end in LOG_RATIO)
    for _ in range(7):
        grid = np.linspace(low, high, 9)
        tried = at(np.exp(grid.ravel()), np.tile(kept, (9, 1))).log_likelihood.reshape(grid.shape)
        best = tried.argmax(0)
        low, high = (np.take_along_axis(grid, np.clip(best + step, 0, 8)[None], 0)[0] for step in (-1, 1))
    return at(np.exp((low + high) / 2), kept)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mixed:
    """The model of the configurations' runs, and what it says of each configuration that it did not see."""

    points: Points
    """Their `series` are the configurations; the first input is the size, the others are covariates."""
    labels: tuple[str, ...]
    """The configurations."""
    degree: int
    """Of the polynomial in the logarithm of the size."""
    centre: Array
    """What is subtracted from the logarithm of the size and from each covariate."""
    coefficients: Array
    """(1 + degree + covariates,): at the centre, of the size's powers, of the covariates."""
    kept: float
    """Share of the covariates' coefficients, as they were fitted, that predictions use."""
    inverse: Array
    """Times `variance` the covariance of the coefficients."""
    variance: float
    """Within configurations, such that the errors of configurations left out are as large as the model says."""
    ratio: float
    """Of the variance between configurations to that within."""
    fitted: Solution
    """With the covariates in full: of all configurations, then without each."""
    errors: Array
    """(n,) log of prediction over response where the run's configuration was left out."""

    @property
    def size(self) -> str:
        return next(iter(self.points.inputs))

    @property
    def covariates(self) -> tuple[str, ...]:
        return tuple(self.points.inputs)[1:]

    @property
    def dof(self) -> float:
        """Configurations less what is fitted to them: their mean, and the covariates as far as they are kept."""
        return len(self.labels) - 1 - self.kept * len(self.covariates)

    @property
    def left_out(self) -> float:
        """Mean absolute relative error of the runs of a configuration left out."""
        return float(np.abs(np.expm1(self.errors)).mean())

    @property
    def by_configuration(self) -> Array:
        """(K,) the same of each configuration."""
        index = np.searchsorted(self.labels, self.points.series.astype(str))
        return np.bincount(index, np.abs(np.expm1(self.errors))) / np.bincount(index)

    @property
    def effects(self) -> tuple[Array, Array]:
        """(p,) the coefficients, covariates in full, and the jackknife's standard errors over configurations."""
        without = self.fitted.coefficients[1:]
        count = len(without)
        return self.fitted.coefficients[0], np.sqrt((count - 1) / count * np.square(without - without.mean(0)).sum(0))

    def at(self, place: Mapping[str, float]) -> tuple[float, float, float]:
        """The log of the response at a place, and the standard errors of it for the mean and for one new run."""
        inputs = {name: np.array([place[name]]) for name in self.points.inputs}
        row = _rows(self.points, inputs, self.degree, self.centre)
        mean = float(row[0] @ self.inverse @ row[0])
        errors = np.sqrt(self.variance * np.array([mean, mean + 1 + self.ratio]))
        return float(row[0] @ self.coefficients), float(errors[0]), float(errors[1])

    def predict(self, place: Mapping[str, float]) -> Prediction:
        """What a new configuration with these covariates will be at that size.

        The mean interval is of all configurations like it, the run interval of one run of one of them.
        """
        size, quantity = self.size, self.points.quantity(self.points.name)
        distance = place[size] / self.points.ranges[size][1]
        blank = Prediction(
            series=", ".join(f"{name} = {place[name]:g}" for name in self.covariates) or "any configuration", law=NAME,
            inputs={size: place[size]}, response=quantity.name, distance=distance, distances={size: distance})
        if (turn := self.turn) is not None and (place[size] > turn) == (turn > float(np.exp(self.centre[0]))):
            return replace(blank, reason=Reason("the curve through the runs turns at {name} = {turn:,.4g}, and a "
                                                "parabola says nothing beyond; ask nearer", name=size, turn=turn))
        log, *errors = self.at(place)
        half = t_quantile(self.dof)
        value = float(np.exp(log))
        if not quantity.allows(value):
            return replace(blank, reason=Reason("{value:.4g} at {name} = {size:,.4g}, and {response} must {range}; ask "
                                                "nearer", value=value, name=size, size=place[size],
                                                response=quantity.name, range=quantity.range))
        ends = [float(np.clip(np.exp(log + side * half * error), quantity.minimum, quantity.maximum))
                for error in errors for side in (-1, 1)]
        return replace(blank, value=value, mean_low=ends[0], mean_high=ends[1], run_low=ends[2], run_high=ends[3],
                       warnings=self._warnings(place, distance))

    @property
    def turn(self) -> float | None:
        """The size at which the curve turns, if it does."""
        if self.degree < 2 or not self.coefficients[2]:
            return None
        turn = self.centre[0] - self.coefficients[1] / self.coefficients[2] / 2
        return float(np.exp(turn)) if abs(turn) < 600 else None

    def _warnings(self, place: Mapping[str, float], distance: float) -> tuple[str, ...]:
        made = [far_out(self.size, distance)] if distance > FAR else []
        for name in self.covariates:
            low, high = self.points.ranges[name]
            if not low <= place[name] <= high:
                made.append(Reason("{name} = {value:g} is outside the configurations' {low:.4g} to {high:.4g}: the "
                                   "effect is taken to go on as it does inside", name=name, value=place[name], low=low,
                                   high=high))
        return tuple(made)


def fit(points: Points, degree: int | None = None, bare: Mixed | None = None) -> Mixed:
    """The model fitted to the runs of at least `least(covariates)` configurations.

    bare: the model of that degree of the same runs without covariates, where it is there already. degree: by default 2
    where there are sizes enough, else 1. A straight line is no choice of its own there: if it is taken where
    configurations left out are predicted better by it, intervals beyond the sizes hold 86 % of new runs.
    """
    if degree is None:
        degree = 2 if len(points.sizes) >= CURVED_FROM else 1
    labels, groups = np.unique(points.series.astype(str), return_inverse=True)
    centre = np.array([_scaled(points, name).mean() for name in points.inputs])
    design = _rows(points, points.inputs, degree, centre)
    target = np.log(points.response)
    kept = np.vstack([np.ones(len(labels)), 1 - np.eye(len(labels))])
    fitted = solve(design, target, groups, kept)
    without = fitted if len(points.inputs) == 1 else bare.fitted if bare is not None else solve(
        design[:, :1 + degree], target, groups, kept)
    share = _share(fitted, kept.sum(1), len(points.inputs) - 1)
    fewer = design.shape[1] - 1 - degree
    coefficients, inverse = (
        padded + share.reshape(-1, *[1] * (full.ndim - 1)) * (full - padded) for full, padded in (
            (fitted.coefficients, np.pad(without.coefficients, [(0, 0), (0, fewer)])),
            (fitted.inverse, np.pad(without.inverse, [(0, 0), (0, fewer), (0, fewer)]))))
    errors = np.einsum("ni,ni->n", design, coefficients[1 + groups]) - target
    spread = 1 + fitted.ratio[0] + np.einsum("ni,nij,nj->n", design, inverse[1 + groups], design)
    variance = float((np.bincount(groups, errors**2 / spread) / np.bincount(groups)).mean())
    return Mixed(points=points, labels=tuple(labels), degree=degree, centre=centre, coefficients=coefficients[0],
                 kept=float(share[0]), inverse=inverse[0], variance=variance, ratio=float(fitted.ratio[0]),
                 fitted=fitted, errors=errors)


def least(covariates: int) -> int:
    """Configurations needed: when one is left out, two more than what is fitted to them."""
    return covariates + 4


def refused(points: Points) -> str | None:
    """Why the model cannot be fitted to runs whose numbers are sound, with the remedy; None if it can."""
    labels = np.unique(points.series.astype(str))
    size, *covariates = points.inputs
    if len(labels) < least(len(covariates)):
        named = ", ".join(labels[:5])
        return Reason("{n} configuration(s) ({names}), needs {least} for {covariates} covariate(s); add configurations "
                      "or say which column tells them apart: --by COLUMN", n=len(labels), names=named,
                      least=least(len(covariates)), covariates=len(covariates))
    if len(points.sizes) < 2:
        return Reason("all {n} runs have {name} {size:,.0f}; add another size", n=points.n, name=size,
                      size=float(points.sizes[0]))
    for label in (None, *labels):
        rows = points.series.astype(str) != label
        where = "" if label is None else f" without {label}"
        columns = [_scaled(points, name)[rows] for name in covariates]
        for name, values in zip(covariates, columns, strict=True):
            if np.ptp(values) <= 1e-9 * max(float(np.abs(values).max()), 1e-300):
                return Reason("{name} is the same in all configurations{where}, so nothing tells what it is worth; "
                              "leave it out, or add configurations where it differs", name=name, where=where)
        design = np.column_stack([np.ones(rows.sum()), *columns])
        length = np.sqrt(np.square(design - design.mean(0)).sum(0))[1:]
        if np.linalg.matrix_rank((design[:, 1:] - design[:, 1:].mean(0)) / length, tol=1e-8) < len(covariates):
            return Reason("{names} cannot be told apart{where}, as they vary together; leave one out",
                          names=", ".join(covariates), where=where)
    return None


def shares(model: Mixed) -> Array:
    """(K,) the share of the covariates' coefficients that the model without each configuration uses; 1 without any."""
    return _share(model.fitted, np.full(1 + len(model.labels), len(model.labels) - 1.0), len(model.covariates))[1:]


def _share(fitted: Solution, configurations: Array, covariates: int) -> Array:
    """(F,) the share of the covariates' coefficients that is not what chance adds to them; 1 without any.

    That is (X2 - c) / X2 of Wald's statistic X2 of c covariates: van Houwelingen & le Cessie 1990.
    """
    if not covariates:
        return np.ones(len(configurations))
    effects = fitted.coefficients[:, -covariates:, None]
    block = fitted.inverse[:, -covariates:, -covariates:] * fitted.variance[:, None, None]
    wald = (effects * np.linalg.solve(block, effects)).sum((1, 2))
    wald *= (configurations - 1 - covariates) / configurations  # the variance is that of maximum likelihood
    share: Array = np.maximum(1 - covariates / np.maximum(wald, covariates), 0.0)
    return share


def _rows(points: Points, inputs: Mapping[str, Array], degree: int, centre: Array) -> Array:
    """(m, p) of the design: 1, powers of log size, covariates, centred."""
    size, *covariates = (_scaled(points, name, inputs[name]) - middle
                         for name, middle in zip(points.inputs, centre, strict=True))
    return np.column_stack([size**power for power in range(degree + 1)] + covariates)


def _scaled(points: Points, name: str, values: Array | None = None) -> Array:
    """The values of an input on the scale it is taken: the logarithm of sizes, anything else as it is."""
    values = points.inputs[name] if values is None else values
    return np.log(values) if points.quantity(name).kind == "size" else values
