"""A law's function at given inputs, for many parameter vectors at once, with its derivatives.

B: batch, n: points, k: parameters, p: those the function is linear in, G: grid points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np

from cvfp_core.fitting.duals import Dual, seeds
from cvfp_core.registry.kinds import Law, Parameter
from cvfp_core.schema.fits import Array

GRID_LIMIT = 2048
"""Starts examined at most; beyond that a fixed random subset of the grid."""
SMALLEST = -300.0
"""Logarithm of what stands for 0 where a parameter's logarithm is searched."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Goal:
    """What one more condition on each fit is about: a parameter held at a value, or one more residual of the law.

    A residual of weight 1 is one more run, of a large weight a constraint; so profiles are traced.
    """

    target: Array
    """(B,) value of the parameter (or its logarithm), or of the law in the space of residuals."""
    weight: Array
    """(B,) of the residual; not used for a parameter."""
    parameter: Array
    """(B,) index of the parameter; -1: the law at `inputs`."""
    log: Array
    """(B,) whether the parameter's logarithm is meant."""
    inputs: Mapping[str, Array] | None = None
    """(1,) each."""

    def rows(self, index: Array) -> Goal:
        """The goals of some of the batch."""
        return Goal(target=self.target[index], weight=self.weight[index], parameter=self.parameter[index],
                    log=self.log[index], inputs=self.inputs)

    def hold(self, parameters: Array) -> Array:
        """(B, k) parameters with those the goals are about at their targets; changed in place."""
        rows = np.flatnonzero(self.parameter >= 0)
        target = self.target[rows]
        parameters[rows, self.parameter[rows]] = np.where(self.log[rows], np.exp(np.minimum(target, 700)), target)
        return parameters

    def quantity(self, curve: Curve, parameters: Array) -> Array:
        """(B,) what each goal is about, at (B, k) parameters."""
        value = parameters[np.arange(len(parameters)), np.maximum(self.parameter, 0)]
        with np.errstate(divide="ignore", invalid="ignore"):
            value = np.where(self.log, np.log(np.where(self.log, value, 1.0)), value)
        if self.inputs is None:
            return value
        return np.where(self.parameter < 0, curve.fitted(parameters, self.inputs)[:, 0], value)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """(B, k) parameters, and the local coordinates fit for a step from there."""

    parameters: Array
    centre: Array
    """(B, k) what a linear parameter of 1 contributes at the central point; 1 for others."""
    drift: Array
    """(B, k, k) derivative of the logarithm of each linear parameter's centre by the other parameters."""

    def rows(self, index: Array) -> Frame:
        return Frame(parameters=self.parameters[index], centre=self.centre[index], drift=self.drift[index])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Expansion:
    """A law about (B, k) parameters: its value and its derivatives by them."""

    frame: Frame
    fitted: Array
    """(B, m) in the space of residuals, at the points and behind them at a goal's input; NaN where not defined."""
    slope: Array
    """(B, m, k) first derivatives of that."""
    second: Mapping[tuple[int, int], Any]
    """(B, m) second derivatives of the law itself by pairs; empty where only differences are known."""
    scale: Array | float
    """(B, m) derivative of the residual by the law."""


class Curve:
    """A law's function at fixed inputs, with residuals of its logarithm or, in raw space, of itself.

    Steps are taken in local coordinates: the contribution of a linear parameter at the central point, the logarithm of
    another parameter that must be positive; so neither the units of inputs nor of the response matter.
    """

    def __init__(self, law: Law, inputs: Mapping[str, Array], *, space: Literal["log", "raw"] | None = None) -> None:
        self.law = law
        self.space = space or law.space
        self.inputs = {name: np.asarray(values, dtype=float) for name, values in inputs.items()}
        self.names = [parameter.name for parameter in law.parameters]
        self.linear = [self.names.index(name) for name in law.linear]
        self.free = [i for i in range(len(self.names)) if i not in self.linear]
        self.logs = np.array([i in self.free and p.minimum >= 0 for i, p in enumerate(law.parameters)], dtype=bool)
        self.low = np.array([p.minimum for p in law.parameters], dtype=float)
        self.high = np.array([p.maximum for p in law.parameters], dtype=float)
        self.exact = True
        """Whether derivatives follow from the function as it is written; else they are differences."""
        with np.errstate(divide="ignore", invalid="ignore"):
            self.low_u = np.where(self.logs, np.maximum(np.log(np.maximum(self.low, 0)), SMALLEST), self.low)
            self.high_u = np.where(self.logs, np.minimum(np.log(np.maximum(self.high, 0)), -SMALLEST), self.high)
        self.central = self._central()
        self.at_centre = {name: values[self.central : self.central + 1] for name, values in self.inputs.items()}

    def values(self, parameters: Array, inputs: Mapping[str, Array] | None = None) -> Array:
        """(B, n) of the law at (B, k) parameters."""
        return self._shaped(self._call(self._columns(parameters), inputs), parameters, inputs)

    def fitted(self, parameters: Array, inputs: Mapping[str, Array] | None = None) -> Array:
        """(B, n) of the law in the space of residuals; NaN where that is not defined."""
        return self._in_space(self.values(parameters, inputs))

    def basis(self, parameters: Array, inputs: Mapping[str, Array] | None = None) -> Array:
        """(B, n, p): what each linear parameter contributes when it is 1."""
        ones = {self.names[i]: np.ones((len(parameters), 1)) for i in self.linear}
        dual = None
        if inputs is not self.at_centre:  # at a single point as many plain calls are faster than one with derivatives
            dual = self._dual({**self._columns(parameters), **seeds(ones)}, inputs)
        if dual is not None:
            parts = [dual.first.get(number, 0.0) for number in range(len(self.linear))]
        else:
            rest, parts = self.rest(parameters, inputs), []
            for index in self.linear:
                unit = parameters.copy()
                unit[:, self.linear] = 0.0
                unit[:, index] = 1.0
                parts.append(self.values(unit, inputs) - rest)
        return np.stack([self._shaped(part, parameters, inputs) for part in parts], axis=2)

    def rest(self, parameters: Array, inputs: Mapping[str, Array] | None = None) -> Array:
        """(B, n): what is left of the law where all linear parameters are 0."""
        none = parameters.copy()
        none[:, self.linear] = 0.0
        return self.values(none, inputs)

    def centre(self, basis: Array) -> Array:
        """(B, p): each basis function of (B, n, p) at the central point; 1 where that is no number to divide by."""
        return _divisor(basis[:, self.central])

    def expand(self, parameters: Array, goal: Goal | None = None) -> Expansion:
        """The law about (B, k) parameters, what goals are about held; the goals' input stands behind the points."""
        parameters, every = parameters.copy(), self.inputs
        if goal is not None:
            parameters = goal.hold(parameters)
            if goal.inputs is not None:
                every = {name: np.concatenate([values, goal.inputs[name]]) for name, values in every.items()}
        dual = self._dual(seeds(self._columns(parameters)), every)
        if dual is None:
            return self._by_differences(parameters, every, goal)
        value = self._shaped(dual.value, parameters, every)
        scale: Array | float = 1 / value if self.space == "log" else 1.0
        slope = np.empty((*value.shape, len(self.names)))
        for i in range(len(self.names)):
            slope[:, :, i] = dual.first.get(i, 0.0) * scale
        centre, drift = self._blank_coordinates(len(parameters))
        for j in self.linear:
            basis = self._at_centre(dual.first.get(j, 0.0), len(parameters))
            centre[:, j] = _divisor(basis)
            for i in self.free:
                part = dual.second.get((min(i, j), max(i, j)))
                if part is not None:
                    drift[:, j, i] = self._at_centre(part, len(parameters)) / basis
        return Expansion(frame=Frame(parameters=parameters, centre=centre, drift=self._still(drift, goal)),
                         fitted=self._in_space(value), slope=slope, second=dual.second, scale=scale)

    def _by_differences(self, parameters: Array, every: Mapping[str, Array], goal: Goal | None) -> Expansion:
        """As `expand`, for a function that takes no duals: central differences, and no second derivatives."""
        batch, k = parameters.shape
        size = 1e-6 * np.where(parameters == 0, 1e-3, np.abs(parameters))
        fitted = self.fitted(parameters, every)
        centre, drift = self._blank_coordinates(batch)
        at = self.at_centre
        basis = np.zeros((batch, k))
        if self.linear:
            basis[:, self.linear] = self.basis(parameters, at)[:, 0]
            centre[:, self.linear] = _divisor(basis[:, self.linear])
            level = np.abs(self.values(parameters, at))
            size[:, self.linear] = 1e-6 * np.maximum(np.abs(parameters[:, self.linear]),
                                                     1e-3 * level / centre[:, self.linear])
        up, down = np.minimum(parameters + size, self.high), np.maximum(parameters - size, self.low)
        slope = np.zeros((*fitted.shape, k))
        for i in range(k):
            above, below = parameters.copy(), parameters.copy()
            above[:, i], below[:, i] = up[:, i], down[:, i]
            width = up[:, i] - down[:, i]
            slope[:, :, i] = (self.fitted(above, every) - self.fitted(below, every)) / width[:, None]
            if i in self.free and self.linear:
                change = (self.basis(above, at) - self.basis(below, at))[:, 0] / width[:, None]
                drift[:, self.linear, i] = change / basis[:, self.linear]
        return Expansion(frame=Frame(parameters=parameters, centre=centre, drift=self._still(drift, goal)),
                         fitted=fitted, slope=slope, second={}, scale=1.0)

    def position(self, frame: Frame) -> tuple[Array, Array, Array]:
        """(B, k) local coordinates of the parameters, and the least and largest they may have."""
        u = np.where(self.logs, np.log(np.where(self.logs, frame.parameters, 1.0)), frame.parameters * frame.centre)
        low = np.where(self.logs, self.low_u, self.low * frame.centre)
        high = np.where(self.logs, self.high_u, self.high * frame.centre)
        return np.clip(u, low, high), low, high

    def moved(self, frame: Frame, u: Array) -> Array:
        """(B, k) parameters at local coordinates; linear ones follow as the others move their centre."""
        out = np.where(self.logs, np.exp(np.where(self.logs, u, 0.0)), u / frame.centre)
        if self.linear and self.free:
            out[:, self.linear] = u[:, self.linear] / _divisor(self.basis(out, self.at_centre)[:, 0])
        return np.clip(out, self.low, self.high)

    def local(self, frame: Frame, gradient: Array, hessian: Array) -> tuple[Array, Array, Array]:
        """(B, k, k) derivatives of the parameters by local coordinates; a gradient and a Hessian in those.

        How the centre of a linear parameter moves is taken to first order, which is exact for powers.
        """
        index = np.arange(len(self.names))
        rate = np.where(self.logs, frame.parameters, 1.0)
        shift = frame.drift * rate[:, None, :]  # (B, linear, other)
        move = -frame.parameters[:, :, None] * shift
        move[:, index, index] += rate / frame.centre
        turned = move.transpose(0, 2, 1)
        second = turned @ hessian @ move
        pull = gradient * frame.parameters
        second += (shift * pull[:, :, None]).transpose(0, 2, 1) @ shift
        second[:, index, index] += np.where(self.logs, pull - (pull[:, None, :] @ shift)[:, 0], 0.0)
        cross = (gradient / frame.centre)[:, :, None] * shift
        second -= cross + cross.transpose(0, 2, 1)
        return move, (turned @ gradient[:, :, None])[:, :, 0], second

    def grid(self) -> Array:
        """(G, k) parameters to search from; linear ones, which are solved for, are 0."""
        given = dict(self.law.starts(**self.inputs)) if self.law.starts else {}
        axes = [
            np.asarray(given[p.name], dtype=float) if p.name in given else _axis(p)
            for p in (self.law.parameters[i] for i in self.free)
        ]
        if np.prod([len(axis) for axis in axes], initial=1.0) <= GRID_LIMIT:
            points = np.array(list(product(*axes)), dtype=float)  # (G, free); one empty row where all are linear
        else:
            rng = np.random.default_rng(0)
            points = np.stack([rng.choice(axis, GRID_LIMIT) for axis in axes], axis=1)
        grid = np.zeros((len(points), len(self.names)))
        grid[:, self.free] = points
        return grid

    def _central(self) -> int:
        """The point nearest to the mean of all, in logarithms where an input is positive."""
        off = 0.0
        for values in self.inputs.values():
            x = np.log(values) if (values > 0).all() else values
            off = off + np.abs(x - x.mean()) / max(float(np.ptp(x)), 1e-300)
        return int(np.argmin(off))

    def _blank_coordinates(self, batch: int) -> tuple[Array, Array]:
        k = len(self.names)
        return np.ones((batch, k)), np.zeros((batch, k, k))

    def _still(self, drift: Array, goal: Goal | None) -> Array:
        """The drift, 0 where it is no number and for a parameter that is held."""
        drift = np.where(np.isfinite(drift), drift, 0.0)
        if goal is not None:
            rows = np.flatnonzero(goal.parameter >= 0)
            drift[rows, goal.parameter[rows]] = 0.0
        return drift

    def _at_centre(self, part: Any, batch: int) -> Array:
        part = np.asarray(part, dtype=float)
        return np.broadcast_to(part[..., self.central] if part.ndim == 2 and part.shape[1] > 1 else part.reshape(-1),
                               (batch,))

    def _columns(self, parameters: Array) -> dict[str, Any]:
        return {name: parameters[:, i : i + 1] for i, name in enumerate(self.names)}

    def _dual(self, columns: Mapping[str, Any], inputs: Mapping[str, Array] | None) -> Dual | None:
        """The law at parameters that are duals; None where its function does not take them."""
        if not self.exact:
            return None
        try:
            out = self._call(columns, inputs)
        except Exception:  # what numpy's rules do not cover, a stranger's function may do; called plainly it is judged
            out = None
        n = len(next(iter((self.inputs if inputs is None else inputs).values())))
        self.exact = isinstance(out, Dual) and np.ndim(out.value) == 2 and np.shape(out.value)[1] == n
        return out if self.exact else None

    def _call(self, columns: Mapping[str, Any], inputs: Mapping[str, Array] | None) -> Any:
        assert self.law.function is not None
        inputs = self.inputs if inputs is None else inputs
        return self.law.function(**{name: values[None, :] for name, values in inputs.items()}, **columns)

    def _shaped(self, out: Any, parameters: Array, inputs: Mapping[str, Array] | None) -> Array:
        n = len(next(iter((self.inputs if inputs is None else inputs).values())))
        if np.iscomplexobj(out):
            raise TypeError("its function returned complex numbers; expected real ones")
        out = np.asarray(out, dtype=float)
        return out if out.shape == (len(parameters), n) else np.broadcast_to(out, (len(parameters), n))

    def _in_space(self, values: Array) -> Array:
        if self.space == "raw":
            return np.where(np.isfinite(values), values, np.nan)
        with np.errstate(all="ignore"):
            logs = np.log(values)
        return logs if np.isfinite(logs.sum()) else np.where(values > 0, logs, np.nan)


def _divisor(size: Array) -> Array:
    size = np.abs(size)
    return np.where(np.isfinite(size) & (size > 1e-280), size, 1.0)


def _axis(parameter: Parameter) -> Array:
    """Values of a parameter to search from, from its bounds alone."""
    low, high = parameter.minimum, parameter.maximum
    if np.isfinite(low) and np.isfinite(high):
        if low > 0 and high > 1e3 * low:
            return np.geomspace(low, high, 25)[1:-1]
        return np.asarray(low + (high - low) * np.linspace(0.02, 0.98, 13))
    sizes = np.logspace(-4, 6, 21)
    if np.isfinite(low):
        return np.asarray(low + sizes)
    if np.isfinite(high):
        return np.asarray(high - sizes)
    return np.concatenate([-sizes[::-1], sizes])
