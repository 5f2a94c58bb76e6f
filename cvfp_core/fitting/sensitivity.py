"""How far a fit depends on what is minimised and on single sizes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cvfp_core.fitting.curve_fit import pinned_as
from cvfp_core.fitting.curves import Curve
from cvfp_core.fitting.search import solve
from cvfp_core.registry.kinds import Huber, Law, LeastSquares
from cvfp_core.schema.fits import Fit

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


def sensitivity(fit: Fit, law: Law) -> list[Variation]:
    """The fitted curve under raw and log least squares and Huber, and without each size in turn; [] for other laws."""
    if fit.points is None or not fit.usable or law.function is None \
            or (fit.points.response <= 0).any():
        return []
    law = replace(pinned_as(fit, law), loss=LeastSquares())
    curve = Curve(law, fit.points.inputs, space="log")
    target = np.log(fit.points.response)[None, :]
    first = next(iter(fit.points.inputs.values()))
    sizes = fit.points.sizes
    roots = np.ones_like(target) if fit.points.weights is None else np.sqrt(fit.points.weights)[None, :]
    best = solve(curve, target, weights=roots).parameters
    raw = solve(Curve(law, fit.points.inputs, space="raw"), fit.points.response[None, :],
                weights=roots).parameters
    robust = Curve(replace(law, loss=Huber(HUBER_DELTA)), fit.points.inputs, space="log")
    huber = solve(robust, target, near=best[:, None, :], weights=roots).parameters
    made = [
        ("log least squares", best[0]),
        ("raw least squares", raw[0]),
        (f"Huber, delta {HUBER_DELTA:g}", huber[0]),
    ]
    if len(sizes) - 1 >= law.least_points:
        weights = np.stack([roots[0] * (first != size) for size in sizes])
        without = solve(curve, np.repeat(target, len(sizes), axis=0), weights=weights)
        made += [(f"without {size:,.0f}", row) for size, row in zip(sizes, without.parameters, strict=True)]
    names = tuple(parameter.name for parameter in law.parameters)
    return [Variation(name=name, parameters=names, values=tuple(float(v) for v in row)) for name, row in made]
