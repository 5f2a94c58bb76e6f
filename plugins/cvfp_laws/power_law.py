"""The power law: a straight line on log-log axes, so its intervals are exact."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cvfp_core.fitting.linear import aicc, least_squares, t_p_value
from cvfp_core.fitting.points import wrong_way
from cvfp_core.schema.fits import Estimate, Fit, Points
from cvfp_core.schema.settings import Scalar

FORM = "PPL = A * tokens^alpha"
FLATTENS = "the log-log curve flattens (p < 0.05), so alpha changes with size; compare laws before extrapolating"
STEEPENS = "the log-log curve steepens (p < 0.05), so alpha changes with size; compare laws before extrapolating"


def fit(points: Points, options: Mapping[str, Scalar | None]) -> list[Fit]:  # noqa: ARG001
    """The line through log PPL over log tokens, with Student-t intervals (n - 2 degrees of freedom)."""
    sizes = np.log(next(iter(points.inputs.values())))
    centre = sizes.mean()
    line = least_squares(np.stack([sizes - centre, np.ones_like(sizes)], axis=1), np.log(points.response), sizes)
    common = {"law": "power-law", "form": FORM, "series": str(points.series[0])}
    if line is None:
        return [Fit(**common, status="not identifiable", reason="sizes are too close to tell alpha; add another size")]
    alpha = float(line.coefficients[0])
    log_a = float(line.coefficients[1] - alpha * centre)
    error, ends = line.stderr(0), line.interval(0)
    status, reason, p_value, a_ends = "converged", "", None, None
    if error is None:
        status, reason = "no interval", "2 points give a line and no interval; add a third size"
    else:
        p_value = t_p_value(alpha, error, line.variance.dof)
        half = (ends[1] - alpha) / error * np.hypot(line.stderr(1), error * centre) if error > 0 else 0.0
        a_ends = (float(np.exp(log_a - half)), float(np.exp(log_a + half)))
        reason = _bend(sizes, points)
    if (wrong := wrong_way(points)) is not None:
        status, reason = wrong
    return [Fit(
        **common, status=status, reason=reason, n=points.n, sizes=len(points.sizes), dof=line.variance.dof,
        rss=line.rss, sigma=None if line.variance.value is None else float(np.sqrt(line.variance.value)),
        r_squared=line.r_squared, p_value=p_value, aicc=aicc(line.rss, points.n, 2),
        lack_of_fit_p=line.variance.lack_of_fit_p, left_out=points.left_out, points=points,
        fitted_range=(float(points.sizes[0]), float(points.sizes[-1])),
        estimates=(
            Estimate(name="A", value=float(np.exp(log_a)), **_ends(a_ends)),
            Estimate(name="alpha", value=alpha, stderr=error, **_ends(ends)),
        ),
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


def _ends(ends: tuple[float, float] | None) -> dict[str, float | str]:
    return {} if ends is None else {"low": ends[0], "high": ends[1], "method": "t"}
