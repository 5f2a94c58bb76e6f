"""alpha over windows of consecutive sizes, its change, and whether log-log curves bend, over all series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from cvfp_core.fitting.linear import least_squares, t_quantile
from cvfp_core.schema.fits import Array, Estimate, Fit, Points, Reason
from cvfp_core.schema.settings import Scalar

EVERY = "all series"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Bend:
    """The quadratic coefficient of log PPL over log tokens, and the residual variance about that parabola."""

    value: float
    stderr: float | None
    interval: tuple[float, float] | None
    variance: float | None
    dof: int


def fit(points: Points, options: Mapping[str, Scalar | None]) -> list[Fit]:
    """A fit for each series, and one for all: the test whether their curvatures share a sign."""
    width = int(options["window"] or 4)
    rows: dict[str, list[int]] = {}
    for row, label in enumerate(points.series):
        rows.setdefault(str(label), []).append(row)
    fits = [_one(points.take(np.array(own)), width) for own in rows.values()]
    bends = np.array([value for each in fits if (value := each.value("curvature")) is not None])
    return [*fits, _all(bends)] if len(rows) > 1 else fits


def _one(points: Points, width: int) -> Fit:
    sizes = points.sizes
    if len(sizes) < width:
        return Fit(points=points, status="too few points", reason=Reason(
            "{n} sizes, a window needs {width}; add sizes, or take a smaller window", n=len(sizes), width=width))
    first = next(iter(points.inputs.values()))
    x, y = np.log(first), np.log(points.response)
    estimates: list[Estimate] = []
    slopes: list[Array] = []
    for start in range(len(sizes) - width + 1):
        inside = (first >= sizes[start]) & (first <= sizes[start + width - 1])
        centred = np.where(inside, x - x[inside].mean(), 0.0)
        slope = centred / (centred @ centred)
        slopes = [*slopes[:1], slope]  # the first and the last
        line = least_squares(np.stack([x[inside] - x[inside].mean(), np.ones(inside.sum())], axis=1), y[inside],
                             x[inside])
        ends = line.interval(0) if line else None
        estimates.append(Estimate(
            name=f"alpha {start + 1}", value=float(slope @ y), low=ends[0] if ends else None,
            high=ends[1] if ends else None, stderr=line.stderr(0) if line else None, method="t" if ends else None,
            note=f"{sizes[start]:,.0f}–{sizes[start + width - 1]:,.0f}",
        ))
    bend = _bend(x, y)
    count = len(sizes) - width + 1
    if count > 1:
        estimates.append(_change(slopes, y, bend, shared=max(width - (count - 1), 0), width=width))
    ends = bend.interval
    estimates.append(Estimate(name="curvature", value=bend.value, low=ends[0] if ends else None, stderr=bend.stderr,
                              high=ends[1] if ends else None, method="t" if ends else None,
                              note="quadratic term of log PPL over log tokens; above 0: flattens"))
    reason = ""
    if count == 1:
        reason = Reason("{n} sizes give one window of {width}: no change of alpha; add a size", n=len(sizes),
                        width=width)
    return Fit(points=points, status="converged", reason=reason, estimates=tuple(estimates), dof=bend.dof,
               sigma=None if bend.variance is None else float(np.sqrt(bend.variance)))


def _change(slopes: Sequence[Array], y: Array, bend: _Bend, *, shared: int, width: int) -> Estimate:
    """Last minus first alpha. As both are sums over the same runs, the variance of the difference is exact."""
    weights = slopes[-1] - slopes[0]
    value = float(weights @ y)
    note = f"first and last window share {shared} of {width} sizes"
    if bend.variance is None:
        return Estimate(name="change", value=value, note=note)
    error = float(np.sqrt(bend.variance * (weights @ weights)))
    half = t_quantile(bend.dof) * error
    return Estimate(name="change", value=value, low=value - half, high=value + half, stderr=error, method="t",
                    note=note)


def _bend(x: Array, y: Array) -> _Bend:
    centred = x - x.mean()
    line = least_squares(np.stack([centred**2, centred, np.ones_like(x)], axis=1), y, x)
    if line is None:
        return _Bend(value=float("nan"), stderr=None, interval=None, variance=None, dof=0)
    return _Bend(value=float(line.coefficients[0]), stderr=line.stderr(0), interval=line.interval(0),
                 variance=line.variance.value, dof=line.variance.dof)


def _all(bends: Array) -> Fit:
    """Do the curvatures of all series share a sign? Two-sided sign test, exact, and their mean with a t interval."""
    count, up = len(bends), int((bends > 0).sum())
    if count < 2:
        return Fit(series=EVERY, status="too few points", reason="a test over series needs 2 series with enough sizes")
    p = min(1.0, 2 * float(special.bdtr(min(up, count - up), count, 0.5)))
    error = float(bends.std(ddof=1) / np.sqrt(count))
    half = t_quantile(count - 1) * error
    mean = float(bends.mean())
    return Fit(series=EVERY, status="converged", p_value=p, dof=count - 1, estimates=(
        Estimate(name="curvature", value=mean, low=mean - half, high=mean + half, stderr=error, method="t",
                 note=f"mean over {count} series, each counted once"),
        Estimate(name="bend upwards", value=float(up), note=f"of {count} series; exact sign test p = {p:.3g}"),
    ), reason="the test takes series as independent, which those with the same sizes or validation text are not quite")
