"""The power law: a straight line on log-log axes, so its intervals are exact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from cvfp_core.fitting.linear import aicc, least_squares, t_p_value
from cvfp_core.fitting.points import wrong_way
from cvfp_core.schema.fits import Estimate, Fit, Points, Status
from cvfp_core.schema.settings import Scalar

FLATTENS = "the log-log curve flattens (p < 0.05), so alpha changes with size; compare laws before extrapolating"
STEEPENS = "the log-log curve steepens (p < 0.05), so alpha changes with size; compare laws before extrapolating"


def fit(points: Points, options: Mapping[str, Scalar | None]) -> list[Fit]:  # noqa: ARG001
    """The line through log PPL over log tokens, with Student-t intervals (n - 2 degrees of freedom)."""
    sizes = np.log(next(iter(points.inputs.values())))
    centre = sizes.mean()
    line = least_squares(np.stack([sizes - centre, np.ones_like(sizes)], axis=1), np.log(points.response), sizes)
    if line is None:
        return [Fit(status="not identifiable", reason="sizes are too close to tell alpha; add another size")]
    alpha = float(line.coefficients[0])
    log_a = float(line.coefficients[1] - alpha * centre)
    error, ends = line.stderr(0), line.interval(0)
    at_one = Estimate(name="A", value=float(np.exp(log_a)))
    slope = Estimate(name="alpha", value=alpha, stderr=error)
    status: Status = "no interval"
    reason, p_value = "2 points give a line and no interval; add a third size", None
    if error is not None and ends is not None:
        status, reason, p_value = "converged", _bend(sizes, points), t_p_value(alpha, error, line.variance.dof)
        t = (ends[1] - alpha) / error if error > 0 else 0.0
        half = t * float(np.hypot(line.stderr(1) or 0.0, error * centre))
        at_one = replace(at_one, low=float(np.exp(log_a - half)), high=float(np.exp(log_a + half)), method="t")
        slope = replace(slope, low=ends[0], high=ends[1], method="t")
    if (wrong := wrong_way(points)) is not None:
        status, reason = wrong
    return [Fit(
        status=status, reason=reason, estimates=(at_one, slope), dof=line.variance.dof, rss=line.rss,
        sigma=None if line.variance.value is None else float(np.sqrt(line.variance.value)),
        r_squared=line.r_squared, p_value=p_value, aicc=aicc(line.rss, points.n, 2),
        lack_of_fit_p=line.variance.lack_of_fit_p,
    )]


def _bend(sizes: np.ndarray, points: Points) -> str:
    """A caution if the logarithms do not lie on a line (t test of the quadratic term, 5 %)."""
    centred = sizes - sizes.mean()
    design = np.stack([centred**2, centred, np.ones_like(sizes)], axis=1)
    parabola = least_squares(design, np.log(points.response), sizes)
    ends = parabola.interval(0) if parabola else None
    if ends is None or ends[0] <= 0 <= ends[1]:
        return ""
    return FLATTENS if ends[0] > 0 else STEEPENS
