"""A fitted law at other inputs: value, interval of the mean, interval of one new run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cvfp_core.fitting.curve_fit import pin, solve_points
from cvfp_core.fitting.curves import Curve
from cvfp_core.fitting.search import Goal
from cvfp_core.registry.kinds import Fitter
from cvfp_core.schema.fits import Fit, Reason

FAR = 10.0
"""Times the largest size fitted, beyond which a prediction carries a warning."""
LEAST_PPL = 1.0
"""Of a model that is always certain and right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a law says of a size. The mean interval is of the law's value, the run interval of one further run."""

    series: str
    law: str
    inputs: Mapping[str, float]
    value: float | None = None
    mean_low: float | None = None
    mean_high: float | None = None
    run_low: float | None = None
    run_high: float | None = None
    distance: float | None = None
    """Of the first input, as a multiple of the largest size fitted."""
    interval_law: str = ""
    """The law whose uncertainty the intervals carry, where that is another."""
    reason: str = ""
    """Why there is no value or no interval, or a caution."""
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON and templates."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        return plain | {"inputs": dict(self.inputs), "warnings": list(self.warnings)}


@np.errstate(all="ignore")
def predict(fit: Fit, fitter: Fitter, inputs: Mapping[str, float]) -> Prediction:
    """What the fitted law says at the inputs, with 95 % profile intervals."""
    blank = Prediction(series=fit.series, law=fit.law, inputs=dict(inputs), reason=fit.reason)
    if fit.points is None or not fit.usable or fitter.function is None or fit.status == "rises":
        return replace(blank, reason=fit.reason or f"law '{fit.law}' does not predict")
    given = {e.name: e.value for e in fit.estimates if e.method == "given" and e.value is not None}
    pinned = pin(fitter, given)
    at = {name: np.array([float(inputs[name])]) for name in pinned.inputs}
    first = pinned.inputs[0]
    distance = float(at[first][0] / fit.points.sizes[-1])
    values = np.array([[fit.value(p.name) for p in pinned.parameters]], dtype=float)
    value = float(Curve(pinned, fit.points.inputs).values(values, at)[0, 0])
    warnings = tuple(w for w in (_far(distance, first),) if w)
    if not np.isfinite(value):
        return replace(blank, reason=Reason("the law is not finite at {size:g} {name}", size=float(at[first][0]),
                                            name=first))
    least = LEAST_PPL if fitter.response.endswith("ppl") else 0.0
    if value < least:
        return replace(blank, distance=distance, reason=Reason(
            "below {least:g} at {size:g} {name}, as no perplexity can be: the law has left its range; ask nearer",
            least=least, size=float(at[first][0]), name=first))
    blank = replace(blank, value=value, distance=distance, warnings=warnings)
    solved = solve_points(pinned, fit.points)
    if solved.variance.value is None:
        return replace(blank, reason=Reason("{n} sizes for {parameters} parameters: no interval", n=fit.sizes,
                                            parameters=len(pinned.parameters)))
    goal = Goal(target=np.zeros(2), weight=np.ones(2), parameter=np.full(2, -1), log=np.zeros(2, dtype=bool), inputs=at)
    mean, run = solved.limits(goal, run=np.array([False, True]), low=np.full(2, np.log(least)), high=np.full(2, np.inf))
    return replace(blank, mean_low=_value(mean[0]), mean_high=_value(mean[1]), run_low=_value(run[0]),
                   run_high=_value(run[1]))


def _value(end: float) -> float | None:
    """A limit on the scale of the response; None where there is none."""
    return float(np.exp(end)) if np.isfinite(end) and abs(end) < 300 else None


def _far(distance: float, name: str) -> str:
    if distance <= FAR:
        return ""
    return Reason("{distance:.3g} times the largest {name} fitted: no interval covers a change of law out there",
                  distance=distance, name=name)
