"""A law's function in coordinates fit for searching, for many parameter vectors at once.

B: batch, n: points, k: parameters, p: those the function is linear in, G: grid points.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Literal

import numpy as np

from cvfp_core.registry.kinds import Fitter, Parameter
from cvfp_core.schema.fits import Array

GRID_LIMIT = 2048
"""Starts examined at most; beyond that a fixed random subset of the grid."""


class Curve:
    """A fitter's function at fixed inputs, with residuals of its logarithm or, in raw space, of itself.

    Search coordinates: a linear parameter is what it contributes at the centre of the points, another parameter that
    must be positive is its logarithm; so neither units of tokens nor of loss matter.
    """

    def __init__(self, fitter: Fitter, inputs: Mapping[str, Array], *, space: Literal["log", "raw"] = "log") -> None:
        self.fitter = fitter
        self.space = space
        self.inputs = {name: np.asarray(values, dtype=float) for name, values in inputs.items()}
        self.names = [parameter.name for parameter in fitter.parameters]
        self.linear = [self.names.index(name) for name in fitter.linear]
        self.free = [i for i in range(len(self.names)) if i not in self.linear]
        self.logs = np.array([i in self.free and p.minimum >= 0 for i, p in enumerate(fitter.parameters)])
        self.low = np.array([p.minimum for p in fitter.parameters], dtype=float)
        self.high = np.array([p.maximum for p in fitter.parameters], dtype=float)
        with np.errstate(divide="ignore", invalid="ignore"):
            self.low_u = np.where(self.logs, np.maximum(np.log(np.maximum(self.low, 0)), -300.0), self.low)
            self.high_u = np.where(self.logs, np.minimum(np.log(np.maximum(self.high, 0)), 300.0), self.high)

    def values(self, parameters: Array, inputs: Mapping[str, Array] | None = None) -> Array:
        """(B, n) of the law at (B, k) parameters."""
        inputs = self.inputs if inputs is None else inputs
        assert self.fitter.function is not None
        columns = {name: parameters[:, i : i + 1] for i, name in enumerate(self.names)}
        with np.errstate(all="ignore"):
            out = self.fitter.function(**{name: each[None, :] for name, each in inputs.items()}, **columns)
        return np.broadcast_to(np.asarray(out, dtype=float), (len(parameters), len(next(iter(inputs.values())))))

    def fitted(self, parameters: Array, inputs: Mapping[str, Array] | None = None) -> Array:
        """(B, n) of the law in the space of residuals; NaN where it is not positive."""
        values = self.values(parameters, inputs)
        with np.errstate(all="ignore"):
            return np.where(values > 0, np.log(values) if self.space == "log" else values, np.nan)

    def basis(self, parameters: Array, inputs: Mapping[str, Array] | None = None) -> Array:
        """(B, n, p): what each linear parameter contributes when it is 1 and the other linear ones are 0."""
        columns = []
        for index in self.linear:
            unit = parameters.copy()
            unit[:, self.linear] = 0.0
            unit[:, index] = 1.0
            columns.append(self.values(unit, inputs))
        return np.stack(columns, axis=2)

    def centre(self, parameters: Array) -> Array:
        """(B, p): geometric mean over the points of each basis function; 1 where that is no number."""
        with np.errstate(all="ignore"):
            size = np.exp(np.log(np.abs(self.basis(parameters))).mean(axis=1))
        return np.where(np.isfinite(size) & (size > 1e-280), size, 1.0)

    def natural(self, u: Array) -> Array:
        """(B, k) parameters as the law names them, of search coordinates."""
        out = np.where(self.logs, np.exp(np.where(self.logs, u, 0.0)), u)
        if self.linear:
            out[:, self.linear] = u[:, self.linear] / self.centre(out)
        return out

    def search(self, parameters: Array) -> Array:
        """(B, k) search coordinates of parameters."""
        with np.errstate(divide="ignore"):
            u = np.where(self.logs, np.log(np.where(self.logs, parameters, 1.0)), parameters)
        if self.linear:
            u[:, self.linear] = parameters[:, self.linear] * self.centre(parameters)
        return np.clip(u, self.low_u, self.high_u)

    def grid(self) -> Array:
        """(G, k) parameters to search from; linear ones, which are solved for, are 0."""
        given = dict(self.fitter.starts(**self.inputs)) if self.fitter.starts else {}
        axes = [
            np.asarray(given[p.name], dtype=float) if p.name in given else _axis(p)
            for p in (self.fitter.parameters[i] for i in self.free)
        ]
        if np.prod([len(axis) for axis in axes], initial=1.0) <= GRID_LIMIT:
            points = np.array(list(product(*axes)), dtype=float)  # (G, free); one empty row where all are linear
        else:
            rng = np.random.default_rng(0)
            points = np.stack([rng.choice(axis, GRID_LIMIT) for axis in axes], axis=1)
        grid = np.zeros((len(points), len(self.names)))
        grid[:, self.free] = points
        return grid


def _axis(parameter: Parameter) -> Array:
    """Values of a parameter to search from, from its bounds alone."""
    low, high = parameter.minimum, parameter.maximum
    if np.isfinite(low) and np.isfinite(high):
        return np.asarray(low + (high - low) * np.linspace(0.02, 0.98, 13))
    sizes = np.logspace(-4, 6, 21)
    if np.isfinite(low):
        return np.asarray(low + sizes)
    if np.isfinite(high):
        return np.asarray(high - sizes)
    return np.concatenate([-sizes[::-1], sizes])
