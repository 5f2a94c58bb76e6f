"""Two steps: a law of what another law forecasts, such as the accuracy at a loss that was not measured."""

from __future__ import annotations

from dataclasses import replace
from math import hypot

import numpy as np

from cvfp_core.fitting.curve_fit import pinned_as
from cvfp_core.fitting.curves import Curve
from cvfp_core.fitting.predict import Prediction, predict
from cvfp_core.registry.kinds import Law
from cvfp_core.schema.fits import Fit, Reason

STEPS = ", then "
"""Between the names of two laws, of which the second is of what the first forecasts."""


def chained(first: Prediction, second: Fit, law: Law) -> Prediction:
    """What the second law, as fitted, says of the first one's forecast, with both intervals in it.

    On each side the distance to the end of the second law's own interval, and how far that law moves over the first
    one's interval, are added in quadrature, as errors of two fits are independent. The mean interval takes those of the
    means; that of a new run takes those of new runs, as its loss is one of a new run too.
    """
    (x,) = law.inputs
    made = replace(first, law=f"{first.law}{STEPS}{second.law}", response=second.response, value=None, mean_low=None,
                   mean_high=None, run_low=None, run_high=None)
    if first.value is None:
        return made
    own = predict(second, law, {x: first.value})
    if own.value is None or second.points is None:
        return replace(made, reason=own.reason)
    cautions = tuple(dict.fromkeys((*first.warnings, *own.warnings)))
    ends = {}
    curve = Curve(pinned_as(second, law), second.points.inputs)
    parameters = np.array([[second.value(parameter.name) for parameter in curve.law.parameters]])
    for kind in ("mean", "run"):
        places = [getattr(first, f"{kind}_low"), getattr(first, f"{kind}_high")]
        if None in places:
            continue
        moved = curve.values(parameters, {x: np.array(places)})[0]
        for side, far in (("low", moved.min()), ("high", moved.max())):
            end = getattr(own, f"{kind}_{side}")
            if end is not None:
                off = hypot(end - own.value, far - own.value)
                ends[f"{kind}_{side}"] = own.value + (off if side == "high" else -off)
    lacks = "" if len(ends) == 4 else Reason("no interval of one of the two steps, so none of both")
    return replace(made, value=own.value, warnings=cautions, reason=lacks or own.reason or first.reason,
                   **(ends if len(ends) == 4 else {}))  # type: ignore[arg-type]
