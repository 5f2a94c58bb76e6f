"""L(N, D) = E + A / N^alpha + B / D^beta, by Huber loss on log loss (arXiv:2203.15556, approach 3) or least squares.

log L is the logsumexp of three terms that are linear in (a, alpha, b, beta, e), so gradient and Hessian are exact and
cheap: a grid of exponents with the rest solved for, then damped Newton. Sizes are measured from their geometric means,
so neither units nor the order of rows matter. One fit and 1,000 bootstrap fits run the same arrays. B: batch, n: runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from cvfp_core.fitting.bounded import bounded_normal_equations
from cvfp_core.fitting.linear import aicc
from cvfp_core.schema.fits import Array, Estimate, Fit, Points, Reason, Status
from cvfp_core.schema.settings import Scalar

FORM = "L = E + A / N^alpha + B / D^beta"
DELTA = 1e-3
EXPONENTS = np.geomspace(0.03, 2.0, 12)
NAMES = ("E", "A", "alpha", "B", "beta")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Surface:
    """The optimum: values of E, A, alpha, B, beta; the sum of Huber losses (or half squares); whether it settled."""

    values: Array
    objective: float
    converged: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Data:
    n: Array
    """log of model sizes, from their mean"""
    d: Array
    """log of training tokens, from their mean"""
    target: Array
    """log of losses"""
    centre: tuple[float, float]


def _data(models: Array, tokens: Array, losses: Array) -> _Data:
    n, d = np.log(models), np.log(tokens)
    centre = float(np.sort(n).mean()), float(np.sort(d).mean())
    return _Data(n=n - centre[0], d=d - centre[1], target=np.log(losses), centre=centre)


def fit_surface(models: Array, tokens: Array, losses: Array, *, delta: float = DELTA) -> Surface:
    """The global optimum for (n,) model sizes, training tokens and losses. delta: of Huber; infinite: least squares."""
    data = _data(models, tokens, losses)
    for kept in (2, 48):  # the second time only if the first did not settle
        starts = _starts(data, kept)
        weights = np.ones((len(starts), len(data.n)))
        if np.isfinite(delta):  # a wide Huber loss is nearly convex around the start; then narrow it
            for factor in (30,) if kept == 2 else (100, 30, 10, 3):
                starts, _, _ = _newton(data, starts, weights, factor * delta, steps=15, precision=1e-3)
        u, value, done = _newton(data, starts, weights, delta, steps=60 if kept == 2 else 300)
        if done[np.argmin(value)]:
            break
    best = int(np.argmin(value))
    return Surface(values=_natural(u[best : best + 1], data)[0], objective=float(value[best]),
                   converged=bool(done[best]))


def bootstrap(models: Array, tokens: Array, losses: Array, best: Surface, *, delta: float = DELTA, count: int = 1000,
              seed: int = 0) -> Array:
    """(count, 5) values of fits to the runs drawn with replacement, each searched from the optimum of all."""
    data = _data(models, tokens, losses)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(data.n), np.full(len(data.n), 1 / len(data.n)), size=count).astype(float)
    u, _, _ = _newton(data, np.repeat(_search(best.values, data)[None, :], count, axis=0), weights, delta,
                      precision=1e-7)
    return _natural(u, data)


def _starts(data: _Data, kept: int = 2) -> Array:
    """(kept, 5) search coordinates of a grid's best exponents, with E, A, B by relative least squares, not below 0."""
    # relative residuals: all columns over the losses; sums of products need each exponent once, not each pair
    size = EXPONENTS[:, None]
    relative = np.exp(-data.target)
    model, token = np.exp(-size * data.n) * relative, np.exp(-size * data.d) * relative
    count = len(EXPONENTS)
    gram = np.empty((count, count, 3, 3))
    right = np.empty((count, count, 3))
    gram[..., 0, 0] = relative @ relative
    gram[..., 1, 1], gram[..., 2, 2] = (model**2).sum(axis=1)[:, None], (token**2).sum(axis=1)[None, :]
    gram[..., 0, 1] = gram[..., 1, 0] = (model @ relative)[:, None]
    gram[..., 0, 2] = gram[..., 2, 0] = (token @ relative)[None, :]
    gram[..., 1, 2] = gram[..., 2, 1] = model @ token.T
    right[..., 0], right[..., 1] = relative.sum(), model.sum(axis=1)[:, None]
    right[..., 2] = token.sum(axis=1)[None, :]
    coefficients, rss = bounded_normal_equations(
        gram.reshape(1, -1, 3, 3), right.reshape(1, -1, 3), np.array([[float(len(data.n))]]), np.zeros(3))
    alpha, beta = np.repeat(EXPONENTS, count), np.tile(EXPONENTS, count)
    order = np.argsort(rss[0], kind="stable")[:kept]
    level = np.log(np.maximum(coefficients[0, order], 1e-3 * np.exp(data.target.mean())))
    return np.stack([level[:, 0], level[:, 1], alpha[order], level[:, 2], beta[order]], axis=1)


def _natural(u: Array, data: _Data) -> Array:
    """(B, 5) E, A, alpha, B, beta of search coordinates (e, a, alpha, b, beta) about the centre."""
    with np.errstate(over="ignore", under="ignore"):
        return np.stack([np.exp(u[:, 0]), np.exp(u[:, 1] + u[:, 2] * data.centre[0]), u[:, 2],
                         np.exp(u[:, 3] + u[:, 4] * data.centre[1]), u[:, 4]], axis=1)


def _search(values: Array, data: _Data) -> Array:
    e, a, alpha, b, beta = values
    return np.array([np.log(e), np.log(a) - alpha * data.centre[0], alpha, np.log(b) - beta * data.centre[1], beta])


def _newton(data: _Data, u: Array, weights: Array, delta: float, *, steps: int = 60,
            precision: float = 1e-12) -> tuple[Array, Array, Array]:
    """Damped Newton from (B, 5) coordinates with (B, n) weights: end, objective, whether it settled."""
    u = u.copy()
    value = np.full(len(u), np.inf)
    damping, settled = np.full(len(u), 1e-3), np.zeros(len(u), dtype=bool)
    value, slope, curve, gauss = _expand(data, u, weights, delta)
    for _ in range(steps):
        todo = np.flatnonzero(~settled)
        if not len(todo):
            break
        scale = np.einsum("bii->bi", gauss[todo])
        matrix = curve[todo].copy()
        matrix[:, np.arange(5), np.arange(5)] += damping[todo][:, None] * scale + 1e-18
        step = -np.linalg.solve(matrix, slope[todo][..., None])[..., 0]
        downhill = (step * slope[todo]).sum(axis=1) < 0
        step = np.clip(np.where(np.isfinite(step) & downhill[:, None], step, 0.0), -2.0, 2.0)
        trial = u[todo] + step
        trial[:, [2, 4]] = np.clip(trial[:, [2, 4]], 1e-4, 10.0)
        trial[:, [0, 1, 3]] = np.clip(trial[:, [0, 1, 3]], -60.0, 60.0)
        new = _expand(data, trial, weights[todo], delta)
        better = new[0] < value[todo]
        gain = value[todo] - new[0]
        settled[todo] = (better & (gain <= precision * value[todo])) | (damping[todo] > 1e9)
        rows = todo[better]
        u[rows], value[rows] = trial[better], new[0][better]
        slope[rows], curve[rows], gauss[rows] = new[1][better], new[2][better], new[3][better]
        damping[todo] = np.where(better, damping[todo] / 10, np.maximum(damping[todo], 1e-6) * 10)
    return u, value, settled


def _expand(data: _Data, u: Array, weights: Array, delta: float) -> tuple[Array, Array, Array, Array]:
    """Objective (B,), gradient (B, 5), Hessian (B, 5, 5), and the Hessian's weighted Gauss-Newton part for damping."""
    floor = np.exp(u[:, 0:1])
    model = np.exp(u[:, 1:2] - u[:, 2:3] * data.n)
    token = np.exp(u[:, 3:4] - u[:, 4:5] * data.d)
    total = floor + model + token
    residual = np.log(total) - data.target
    size = np.abs(residual)
    inner = size <= delta
    if np.isfinite(delta):
        value = (weights * np.where(inner, 0.5 * residual**2, delta * (size - 0.5 * delta))).sum(axis=1)
        pull = weights * np.clip(residual, -delta, delta)
        soft = weights * np.minimum(1.0, delta / np.maximum(size, 1e-300))
    else:
        value, pull, soft = 0.5 * (weights * residual**2).sum(axis=1), weights * residual, weights
    share_model, share_token = model / total, token / total
    gradient = np.stack([floor / total, share_model, -data.n * share_model, share_token, -data.d * share_token], axis=2)
    slope = np.einsum("bn,bnk->bk", pull, gradient)
    turned = gradient.transpose(0, 2, 1)
    # Hessian of a logsumexp: Z'(diag(p) - pp')Z, and Z'p is the gradient
    matrix = turned @ ((weights * inner - pull)[..., None] * gradient)
    own = np.zeros_like(matrix)
    own[:, 0, 0] = (pull * gradient[..., 0]).sum(axis=1)
    for first, share, x in ((1, share_model, data.n), (3, share_token, data.d)):
        each = pull * share
        own[:, first, first] = each.sum(axis=1)
        own[:, first, first + 1] = own[:, first + 1, first] = -each @ x
        own[:, first + 1, first + 1] = each @ (x * x)
    gauss = np.zeros_like(matrix)
    gauss[:, np.arange(5), np.arange(5)] = np.einsum("bn,bnk->bk", soft, gradient**2)
    return value, slope, matrix + own, gauss


def fit(points: Points, options: Mapping[str, Scalar | None]) -> list[Fit]:
    """The surface with bootstrap intervals; runs are drawn with replacement, the seed is an option."""
    models, tokens = points.inputs.values()
    logarithm = str(options["loss"]).endswith("ppl")
    losses = np.log(points.response) if logarithm else points.response
    blank = Fit(law="chinchilla", form=FORM, series=_name(points), status="failed", n=points.n, floor="E",
                sizes=len(points.sizes), left_out=points.left_out, points=points,
                fitted_range=(float(tokens.min()), float(tokens.max())))
    if (losses <= 0).any():
        return [replace(blank, status="bad data",
                        reason="the loss must be positive; a perplexity of 1 or less has none")]
    for name, values in points.inputs.items():
        if len(np.unique(values)) < 3:
            return [replace(blank, status="not identifiable",
                            reason=Reason("{name} has {n} distinct value(s), needs 3; add sizes", name=name,
                                          n=len(np.unique(values))))]
    delta = np.inf if options["objective"] == "least-squares" else float(options["delta"] or DELTA)
    best = fit_surface(models, tokens, losses, delta=delta)
    count = int(options["bootstraps"] or 0)
    drawn = bootstrap(models, tokens, losses, best, delta=delta, count=count, seed=int(options["seed"] or 0)) \
        if count else None
    estimates = []
    for index, name in enumerate(NAMES):
        plain = Estimate(name=name, value=float(best.values[index]), unit="nat" if name == "E" else "")
        if drawn is not None:
            column = drawn[:, index]
            low, high = np.quantile(column, [0.025, 0.975])
            plain = Estimate(name=name, value=plain.value, unit=plain.unit, low=float(low), high=float(high),
                             stderr=float(column.std(ddof=1)), method="bootstrap")
        estimates.append(plain)
    e, a, alpha, b, beta = best.values
    residual = np.log(e + a * models**-alpha + b * tokens**-beta) - np.log(losses)
    rss, total = float(residual @ residual), float(np.square(np.log(losses) - np.log(losses).mean()).sum())
    weak = [name for name, part in (("E", e), ("A", (a * models**-alpha).max()), ("B", (b * tokens**-beta).max()))
            if part < 1e-6 * losses.min()]
    status: Status = "converged" if best.converged else "failed"
    reason = "" if best.converged else "the search did not settle; the values are the best found"
    if weak:
        status, reason = "at a bound", Reason("{names} vanished: the points do not call for it; add sizes",
                                        names=", ".join(weak))
    return [replace(
        blank, status=status, reason=reason, estimates=tuple(estimates), dof=points.n - 5, rss=rss,
        sigma=float(np.sqrt(rss / (points.n - 5))), r_squared=1 - rss / total if total > 0 else None,
        aicc=None if np.isfinite(delta) else aicc(rss, points.n, 5),
    )]


def _name(points: Points) -> str:
    labels = list(dict.fromkeys(str(label) for label in points.series))
    return labels[0] if len(labels) == 1 else f"{len(labels)} series"
