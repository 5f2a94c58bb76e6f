"""Laws over many series at once, with a metric of the run as covariate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from cvfp_core.fitting.linear import Line, aicc, least_squares, t_p_value
from cvfp_core.schema.fits import Array, Estimate, Fit, Points, Reason
from cvfp_core.schema.settings import Scalar


def _covariate(points: Points, column: str) -> tuple[Array, str]:
    """The covariate and its unit: fractions as percentages, as people quote them."""
    values = points.inputs[column]
    return (100 * values, "per point") if points.quantity(column).percent else (values, "per unit")


def fit_log_linear(points: Points, options: Mapping[str, Scalar | None]) -> list[Fit]:
    """The regression over all runs, with errors of leaving each series out, with and without the covariate."""
    column, own = str(options["covariate"]), options["intercepts"] == "series"
    tokens = np.log(points.inputs["train_tokens"])
    covariate, unit = _covariate(points, column)
    target = np.log(points.response)
    labels, index = np.unique(points.series.astype(str), return_inverse=True)
    name = f"{len(labels)} series"
    levels = np.eye(len(labels))[index] if own else np.ones((points.n, 1))
    design = np.column_stack([tokens, covariate, levels])
    line = least_squares(design, target, np.arange(points.n))
    if line is None or line.variance.value is None:
        reason = Reason("{coefficients} coefficients for {n} runs; add series or sizes", n=points.n,
                        coefficients=design.shape[1]) if points.n <= design.shape[1] else \
            Reason("{name} or the sizes do not vary enough to tell the coefficients apart; add series or sizes",
                   name=column)
        return [Fit(series=name, status="not identifiable", reason=reason)]
    estimates = [
        _coefficient(line, 0, "alpha", ""), _coefficient(line, 1, "beta", unit),
        *([Estimate(name=f"gamma {label}", value=float(line.coefficients[2 + i])) for i, label in enumerate(labels)]
          if own else [_coefficient(line, 2, "gamma", "")]),
        Estimate(name="mape", value=_mape(design @ line.coefficients, target), unit="fraction"),
    ]
    if not own and len(labels) > 2:
        for what, columns in (("leave-one-series-out", [0, 1, 2]), ("leave-one-series-out, no covariate", [0, 2])):
            estimates.append(Estimate(name=what, value=_left_out(design[:, columns], target, index), unit="fraction",
                                      note="of series not fitted"))
    beta = line.stderr(1)
    p = t_p_value(float(line.coefficients[1]), beta, line.variance.dof) if beta else None
    return [Fit(series=name, status="converged", estimates=tuple(estimates), dof=line.variance.dof, rss=line.rss,
                sigma=float(np.sqrt(line.variance.value)), r_squared=line.r_squared, p_value=p,
                aicc=aicc(line.rss, points.n, design.shape[1]),
                reason="runs of one series are taken as independent; p_value is of beta")]


def fit_linear(points: Points, options: Mapping[str, Scalar | None]) -> list[Fit]:
    """The straight line in raw perplexity, fitted; or, if a and b are given, how far it is off."""
    column = str(options["covariate"])
    covariate, unit = _covariate(points, column)
    target = points.response
    labels = list(dict.fromkeys(str(label) for label in points.series))
    made = Fit(series=f"{len(labels)} series", status="converged", space="raw",
               fitted_range=(float(covariate.min()), float(covariate.max())))
    a, b = options["a"], options["b"]
    if a is not None and b is not None:
        estimates = [Estimate(name="a", value=float(a), method="given"),
                     Estimate(name="b", value=float(b), method="given", unit=unit)]
        predicted = float(a) + float(b) * covariate
        made = replace(made, reason="a and b were given, nothing was fitted")
    else:
        line = least_squares(np.column_stack([np.ones(points.n), covariate]), target, np.arange(points.n))
        if line is None or line.variance.value is None:
            reason = Reason("{name} does not vary; add runs where it does", name=column)
            return [replace(made, status="not identifiable", reason=reason)]
        estimates = [_coefficient(line, 0, "a", ""), _coefficient(line, 1, "b", unit)]
        predicted = target - line.residuals
        made = replace(made, reason="the law ignores data size; runs of one series are taken as independent",
                       dof=line.variance.dof, rss=line.rss, sigma=float(np.sqrt(line.variance.value)),
                       r_squared=line.r_squared)
    error = predicted / target - 1
    estimates.append(Estimate(name="mape", value=float(np.abs(error).mean()), unit="fraction", note="over all runs"))
    for label in labels:
        rows = np.flatnonzero(points.series == label)
        best = rows[np.argmin(target[rows])]
        estimates.append(Estimate(name=f"error {label}", value=float(error[best]), unit="fraction",
                                  note=f"at its lowest perplexity {target[best]:.1f}, predicted {predicted[best]:.1f}"))
    return [replace(made, estimates=tuple(estimates))]


def _coefficient(line: Line, column: int, name: str, unit: str) -> Estimate:
    low, high = line.interval(column) or (None, None)
    return Estimate(name=name, value=float(line.coefficients[column]), low=low, high=high, unit=unit,
                    stderr=line.stderr(column), method="t")


def _mape(predicted: Array, target: Array) -> float:
    return float(np.abs(np.expm1(predicted - target)).mean())


def _left_out(design: Array, target: Array, index: Array) -> float | None:
    """Mean absolute relative error of each series under the regression on the others."""
    predicted = np.empty_like(target)
    for series in np.unique(index):
        rest = index != series
        line = least_squares(design[rest], target[rest], np.arange(rest.sum()))
        if line is None:
            return None
        predicted[~rest] = design[~rest] @ line.coefficients
    return _mape(predicted, target)
