"""The mixed model over configurations as a law: its parameters, how configurations differ, how they are predicted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from cvfp_core.fitting import mixed
from cvfp_core.fitting.linear import t_quantile
from cvfp_core.schema.fits import Estimate, Fit, Points
from cvfp_core.schema.settings import Scalar


def fit(points: Points, options: Mapping[str, Scalar | None]) -> list[Fit]:  # noqa: ARG001
    """One fit over all configurations: the runs of a variant, in whatever experiment they stand."""
    variants = np.array([str(label).rpartition(":")[2] for label in points.series], dtype=object)
    named = replace(points, series=variants)
    count = f"{len(set(variants))} configurations"
    if (reason := mixed.refused(named)) is not None:
        return [Fit(series=count, status="not identifiable", reason=reason)]
    made = mixed.fit(named)
    values, errors = made.effects
    half = t_quantile(len(made.labels) - 1) * errors
    names = ["alpha", *(["curvature"] if made.degree == 2 else []), "beta"]
    estimates = [Estimate(name=name, value=float(values[i]), low=float(values[i] - half[i]), stderr=float(errors[i]),
                          high=float(values[i] + half[i]), method="jackknife")
                 for i, name in enumerate(names, start=1)]
    bare = mixed.fit(replace(named, inputs={made.size: points.inputs[made.size]}), made.degree)
    for name, value, note in (
        ("between", float(np.sqrt(made.variance * made.ratio)), "standard deviation between configurations"),
        ("within", float(np.sqrt(made.variance)), "standard deviation of the runs of one"),
        ("beta kept", made.kept, "share of beta that forecasts use; the rest is what chance adds"),
        ("left out", made.left_out, "mean error of configurations left out"),
        ("left out, no covariate", bare.left_out, ""),
    ):
        estimates.append(Estimate(name=name, value=value, unit="fraction", note=note))
    return [Fit(series=count, status="converged", estimates=tuple(estimates), dof=len(made.labels) - 1,
                sigma=float(np.sqrt(made.variance)), points=points,
                reason="beta is fitted in full; intervals are the jackknife's over configurations")]
