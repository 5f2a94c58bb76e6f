"""How far a fit depends on what is minimised and on single sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cvfp_core.fitting.curve_fit import pin
from cvfp_core.fitting.curves import Curve
from cvfp_core.fitting.search import solve
from cvfp_core.registry.kinds import Fitter
from cvfp_core.schema.fits import Array, Fit

HUBER_DELTA = 1e-3
"""Of log residuals, as for the published compute-optimal fits (arXiv:2203.15556)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """The same law fitted otherwise: what was changed, and the parameters in the order of the law."""

    name: str
    parameters: tuple[str, ...]
    values: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON and templates."""
        return {"name": self.name, "parameters": dict(zip(self.parameters, self.values, strict=True))}


def sensitivity(fit: Fit, fitter: Fitter) -> list[Variation]:
    """The fitted curve under raw and log least squares and Huber, and without each size in turn; [] for other laws."""
    if fit.points is None or not fit.usable or fitter.function is None:
        return []
    given = {e.name: e.value for e in fit.estimates if e.method == "given" and e.value is not None}
    law = pin(fitter, given)
    curve = Curve(law, fit.points.inputs)
    target = np.log(fit.points.response)[None, :]
    first = next(iter(fit.points.inputs.values()))
    sizes = fit.points.sizes
    best = solve(curve, target).parameters
    raw = solve(Curve(law, fit.points.inputs, space="raw"), fit.points.response[None, :]).parameters
    made = [
        ("log least squares", best[0]),
        ("raw least squares", raw[0]),
        (f"Huber, delta {HUBER_DELTA:g}", _huber(curve, target, best)[0]),
    ]
    if len(sizes) - 1 >= law.least_points:
        weights = np.stack([(first != size).astype(float) for size in sizes])
        without = solve(curve, np.repeat(target, len(sizes), axis=0), weights=weights)
        made += [(f"without {size:,.0f}", row) for size, row in zip(sizes, without.parameters, strict=True)]
    names = tuple(parameter.name for parameter in law.parameters)
    return [Variation(name=name, parameters=names, values=tuple(float(v) for v in row)) for name, row in made]


def _huber(curve: Curve, target: Array, best: Array) -> Array:
    """(1, k) by iteratively reweighted least squares, which lowers the Huber loss at every step."""
    for _ in range(50):
        residual = np.abs(target - curve.fitted(best))
        weights = np.sqrt(np.minimum(1.0, HUBER_DELTA / np.maximum(residual, 1e-12)))
        new = solve(curve, target, weights=weights, near=best[:, None, :], tries=1).parameters
        if np.allclose(new, best, rtol=1e-7, atol=1e-12):
            break
        best = new
    return best
