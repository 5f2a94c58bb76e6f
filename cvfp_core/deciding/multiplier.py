"""How many times the data or compute one arm is worth to another: by a law that both share, and by one for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import special

from cvfp_core.claims.inference import student
from cvfp_core.deciding.pairs import ROUNDING, Belief, Pairs, belief, measured
from cvfp_core.fitting.curve_fit import Solved, solve_points
from cvfp_core.registry.kinds import Law, LeastSquares, Parameter
from cvfp_core.schema.claims import Measured
from cvfp_core.schema.fits import Array, Points

ARM = "_arm"
OFFSET = "_offset"
WIDEST = float(np.log(1e3))
"""Logarithm of the largest multiplier looked for."""


def shifted(law: Law) -> Law:
    """The curve law of two arms that differ by a factor of the input: f(x exp(offset)) for the second."""
    (x,) = law.inputs
    function = law.function
    assert function is not None

    def both(**values: Any) -> Any:
        arm, offset = values.pop(ARM), values.pop(OFFSET)
        return function(**(values | {x: values[x] * np.exp(offset * arm)}))

    def starts(**inputs: Any) -> Mapping[str, Any]:
        given = dict(law.starts(**{x: inputs[x]})) if law.starts else {}
        return {name: np.asarray(values)[:: max(1, len(values) // 20)] for name, values in given.items()} | {
            OFFSET: np.linspace(-2, 2, 9)}

    return replace(law, function=both, inputs=(x, ARM), starts=starts, loss=LeastSquares(), fit=None,
                   parameters=(*law.parameters, Parameter(name=OFFSET, minimum=-WIDEST, maximum=WIDEST)))


def covariance(solved: Solved) -> Array:
    """(k, k) of the parameters, from the curvature at the optimum."""
    slope = solved.curve.expand(solved.optimum.parameters).slope[0] * solved.weights[0][:, None]
    length = np.maximum(np.sqrt(np.square(slope).sum(axis=0)), 1e-300)
    inverse = np.linalg.pinv((slope / length).T @ (slope / length), rcond=1e-14, hermitian=True)
    return np.asarray(solved.sigma**2 * inverse / length[:, None] / length)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shared:
    """The multiplier by a shared law: its logarithm, and what the law's fits say of sharing it."""

    measured: Measured
    """Of the logarithm."""
    belief: Belief | None
    """Of the logarithm."""
    p_value: float | None
    """F test of one law with an offset against a law for each arm."""


def shared(law: Law, left: Points, right: Points, pairs: Pairs, logs: Array) -> Shared | None:
    """The multiplier of the right arm by a law both share; None where the law cannot be fitted to both.

    left, right: runs of the arms over one input. The offset is what makes the pairs' log-ratios those of the law, so
    what the runs of a pair share does not count; the error of the law's shape is added.
    """
    (x,) = law.inputs
    both = left.followed_by(right)
    both = replace(both, inputs={x: both.inputs[x], ARM: np.repeat([0.0, 1.0], [left.n, right.n])}, weights=None)
    wide = shifted(law)
    if both.n <= len(wide.parameters) or len(np.unique(both.inputs[x])) < len(law.parameters):
        return None
    solved = solve_points(wide, both)
    if not solved.found:
        return None
    names = [each.name for each in wide.parameters]
    theta = solved.optimum.parameters[0]
    sizes = np.array([each.size for each in pairs.items])
    first = float(theta[names.index(OFFSET)])
    offset, slope, rest = _offset(law, theta[:-1], sizes, logs, first)
    own = measured(offset, rest, pairs, slope)
    if own.stderr is None or not np.isfinite(offset):
        return None
    spread = covariance(solved)[:-1, :-1]
    change = np.zeros(len(theta) - 1)
    for index, (value, variance) in enumerate(zip(theta[:-1], np.diag(spread), strict=True)):
        step = 0.05 * float(np.sqrt(max(variance, 0.0))) or 1e-6 * max(abs(value), 1e-6)
        moved = theta[:-1].copy()
        moved[index] = value + step
        change[index] = (_offset(law, moved, sizes, logs, offset)[0] - offset) / step
    shape = float(change @ spread @ change) if np.isfinite(change).all() else 0.0
    error = float(np.hypot(own.stderr, np.sqrt(max(shape, 0.0))))
    made = student(offset, error, own.dof, n=own.n, method=own.method)
    return Shared(measured=made, belief=belief(offset, rest, pairs, slope, max(shape, 0.0)),
                  p_value=_separate(law, left, right, solved))


def _says(law: Law, theta: Array, sizes: Array) -> Array:
    """(n,) logarithm of a curve law of these parameters at the sizes."""
    given = {each.name: value for each, value in zip(law.parameters, theta, strict=True)}
    function, (x,) = law.function, law.inputs
    assert function is not None
    with np.errstate(all="ignore"):
        return np.asarray(np.log(np.asarray(function(**{x: sizes}, **given), dtype=np.float64)))


def _offset(law: Law, theta: Array, sizes: Array, logs: Array, start: float) -> tuple[float, Array, Array]:
    """The offset that fits (n,) log-ratios by least squares, its slopes (n,) and the residuals (n,)."""
    def at(offset: float) -> Array:
        return np.asarray(_says(law, theta, sizes * np.exp(offset)) - _says(law, theta, sizes))

    offset, step = start, 1e-4
    for _ in range(30):
        slope = (at(offset + step) - at(offset - step)) / (2 * step)
        total = float(slope @ slope)
        if not np.isfinite(total) or total <= 0:
            break
        move = float(slope @ (logs - at(offset)) / total)
        offset = float(np.clip(offset + np.clip(move, -1, 1), -WIDEST, WIDEST))
        if abs(move) < 1e-10:
            break
    return offset, slope, logs - at(offset)


def _separate(law: Law, left: Points, right: Points, solved: Solved) -> float | None:
    """p of the F test of one law with an offset against a law for each arm; None without degrees of freedom."""
    k = len(law.parameters)
    if min(len(left.sizes), len(right.sizes)) < k or (dof := left.n + right.n - 2 * k) < 1:
        return None
    apart = sum(solve_points(replace(law, loss=LeastSquares(), fit=None), each).rss for each in (left, right))
    if k < 2 or apart <= 0:
        return None
    return float(special.fdtrc(k - 1, dof, max(solved.rss - apart, 0.0) / (k - 1) / (apart / dof)))


def free(law: Law, left: Points, right: Points, at: float, pairs: Pairs | None = None, logs: Array | None = None
         ) -> Measured | None:
    """The logarithm of the multiplier at a size by a law for each arm: how much more the left needs for as much.

    pairs, logs: runs of one size and seed with their (n,) log-ratios; noise that the runs of a pair share does not
    count. None where a law cannot be fitted, or the left's never gets there.
    """
    from scipy import optimize

    (x,), own = law.inputs, replace(law, loss=LeastSquares(), fit=None)
    if min(len(left.sizes), len(right.sizes)) <= len(law.parameters):
        return None
    solved = [solve_points(own, each) for each in (left, right)]
    if not all(each.found and each.variance.value is not None for each in solved):
        return None
    theta = [each.optimum.parameters[0] for each in solved]

    def multiplier(a: Array, b: Array) -> float:
        def ahead(u: float) -> float:
            return float((_says(law, a, np.array([at * np.exp(u)])) - _says(law, b, np.array([at])))[0])

        ends = [ahead(end) for end in (-WIDEST, WIDEST)]
        if not np.isfinite(ends).all() or ends[0] * ends[1] > 0:
            return float("nan")
        return float(optimize.brentq(ahead, -WIDEST, WIDEST))

    value, variance, pulls = multiplier(*theta), 0.0, []
    for side, (each, points) in enumerate(zip(solved, (left, right), strict=True)):
        spread, change = covariance(each), np.zeros(len(theta[side]))
        for index, error in enumerate(np.sqrt(np.maximum(np.diag(spread), 0.0))):
            step = 0.05 * error or 1e-6
            moved = [values.copy() for values in theta]
            moved[side][index] += step
            change[index] = (multiplier(*moved) - value) / step
        variance += float(change @ spread @ change)
        slope = each.curve.expand(each.optimum.parameters).slope[0] * each.weights[0][:, None]
        pulls.append(dict(zip(points.inputs[x], slope @ spread @ change / each.sigma, strict=True)))
    if pairs is not None and logs is not None and law.space == "log":
        share, counts = _in_common([each.sigma for each in solved], pairs, logs)
        variance += 2 * share * sum(n * pulls[0].get(size, 0.0) * pulls[1].get(size, 0.0) for size, n in counts.items())
    if not np.isfinite(value) or not 0 <= variance < np.inf:
        return None
    return student(value, float(np.sqrt(variance)), sum(each.variance.dof for each in solved), n=left.n + right.n,
                   method="a law for each arm, t interval")


def _in_common(sigma: Sequence[float], pairs: Pairs, logs: Array) -> tuple[float, Counter[float]]:
    """The correlation of the noise of runs of one size and seed, 0 to 1, and how many such pairs each size has.

    sigma: of the arms' runs; the (n,) log-ratios would scatter by both, had the runs nothing in common.
    """
    rows = [row for row, each in enumerate(pairs.items) if each.seed is not None]
    sizes = np.array([pairs.items[row].size for row in rows])
    counts = Counter(sizes.tolist())
    if len(rows) <= len(counts):
        return 0.0, counts
    _, index = np.unique(sizes, return_inverse=True)
    rest = logs[rows] - (np.bincount(index, logs[rows]) / np.bincount(index))[index]
    scatter = float(rest @ rest) / (len(rows) - len(counts))
    return float(np.clip((sum(each**2 for each in sigma) - scatter) / (2 * np.prod(sigma)), 0, 1)), counts


def crossing(law: Law, left: Points, right: Points, low: float, high: float) -> float | None:
    """The size between two at which the arms' own laws say the same; None: nowhere."""
    own = replace(law, loss=LeastSquares(), fit=None)
    if min(len(left.sizes), len(right.sizes)) < len(law.parameters):
        return None
    theta = [solve_points(own, each).optimum.parameters[0] for each in (left, right)]
    sizes = np.geomspace(low, high, 400)
    change = np.flatnonzero(np.diff(np.sign(_says(law, theta[0], sizes) - _says(law, theta[1], sizes))) != 0)
    return float(np.sqrt(sizes[change[0]] * sizes[change[0] + 1])) if len(change) else None


def alone(measure: Measured) -> Belief | None:
    """What an estimate with a t interval says by itself."""
    if measure.estimate is None or measure.stderr is None:
        return None
    return Belief(values=np.array([measure.estimate]), errors=np.array([max(measure.stderr, ROUNDING)]),
                  weights=np.ones(1), dof=max(measure.dof, 1.0))


def chances(offsets: Sequence[Belief], *, draws: int = 20_000) -> tuple[float, ...]:
    """The chance of each arm to be the best by its offset against the first, which is the first of them.

    The offsets share the first arm's error: half of the variance of each, as where arms have as many runs.
    """
    if len(offsets) == 1:
        p = offsets[0].above()
        return 1 - p, p
    rng = np.random.default_rng(0)
    base = rng.standard_normal(draws)
    values = np.zeros((len(offsets) + 1, draws))
    for row, offset in enumerate(offsets, start=1):
        centres, errors = offset.draw(rng, draws)
        values[row] = centres + errors * np.sqrt(0.5) * (rng.standard_normal(draws) - base)
    best = np.argmax(values, axis=0)
    return tuple(float((best == row).mean()) for row in range(len(values)))
