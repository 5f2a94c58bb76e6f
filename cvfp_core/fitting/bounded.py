"""Least squares whose coefficients may not fall below 0, for many small problems at once, exactly."""

from __future__ import annotations

from itertools import product

import numpy as np

from cvfp_core.schema.fits import Array


def bounded_least_squares(columns: Array, values: Array, squares: Array, low: Array,
                          rest: Array | None = None) -> tuple[Array, Array]:
    """(B, G, p) coefficients and (B, G) weighted sums of squares of (B, n) values on (G, n, p) columns.

    rest: (G, n) what is taken off the values first. squares: (B, n) weights of squared residuals; with 1 / values^2
    they are those of logarithms to first order. low: (p,) 0 or -inf; all choices of coefficients held at 0 are tried,
    which finds the constrained optimum exactly.
    """
    grid, n, p = columns.shape
    at_points = np.ascontiguousarray(columns.transpose(1, 0, 2))  # (n, G, p)
    crossed = (at_points[:, :, :, None] * at_points[:, :, None, :]).reshape(n, -1)
    gram = product_by_row(squares, crossed).reshape(-1, grid, p, p)
    right = product_by_row(squares * values, at_points.reshape(n, -1)).reshape(-1, grid, p)
    total = (squares * values**2).sum(axis=1)[:, None]
    if rest is not None:
        taken = product_by_row(squares, (rest.T[:, :, None] * at_points).reshape(n, -1))
        right = right - taken.reshape(-1, grid, p)
        total = total - 2 * product_by_row(squares * values, rest.T) + product_by_row(squares, (rest**2).T)
    return bounded_normal_equations(gram, right, total, low)


def product_by_row(rows: Array, matrix: Array) -> Array:
    """(B, m) rows @ matrix. The library rounds a row as its number of rows has it; here a row is alone."""
    return np.asarray((rows[:, None, :] @ matrix)[:, 0])


def bounded_normal_equations(gram: Array, right: Array, total: Array, low: Array) -> tuple[Array, Array]:
    """(B, G, p) coefficients and (B, G) sums of squares from (B, G, p, p) X'X, (B, G, p) X'y and (B, 1 or G) y'y."""
    p = right.shape[-1]
    best = np.zeros_like(right)
    rss = np.broadcast_to(total, right.shape[:-1]).astype(float)
    for held in product(*[(False, True) if bound == 0 else (False,) for bound in low]):
        keep = [i for i in range(p) if not held[i]]
        if not keep:
            continue
        g = gram[..., keep, :][..., keep]
        r = right[..., keep]
        part = _small_solve(g, r)
        feasible = np.isfinite(part).all(axis=2) & np.all(
            (part >= 0) | ~np.isfinite(low[keep]), axis=2)
        this = total - (r * np.where(feasible[..., None], part, 0.0)).sum(axis=2)
        better = feasible & (this < rss)
        rss = np.where(better, this, rss)
        full = np.zeros_like(best)
        full[..., keep] = part
        best = np.where(better[..., None], full, best)
    return best, np.maximum(rss, 0.0)


def _small_solve(gram: Array, right: Array) -> Array:
    """gram^-1 right for (..., p, p) of p = 1, 2 in closed form, else by LAPACK; NaN or huge where singular."""
    with np.errstate(all="ignore"):
        if gram.shape[-1] == 1:
            return np.asarray(right / gram[..., 0])
        if gram.shape[-1] == 2:
            det = gram[..., 0, 0] * gram[..., 1, 1] - gram[..., 0, 1] ** 2
            det = np.where(det > 1e-13 * gram[..., 0, 0] * gram[..., 1, 1], det, np.nan)
            first = gram[..., 1, 1] * right[..., 0] - gram[..., 0, 1] * right[..., 1]
            second = gram[..., 0, 0] * right[..., 1] - gram[..., 0, 1] * right[..., 0]
            return np.stack([first, second], axis=-1) / det[..., None]
        size = np.einsum("...ii->...i", gram).max(axis=-1)[..., None, None]
        ridge = np.where(np.isfinite(size) & (size > 0), size, 1.0) * 1e-13 * np.eye(gram.shape[-1])
        usable = np.isfinite(gram).all(axis=(-1, -2), keepdims=True)
        return np.asarray(np.linalg.solve(np.where(usable, gram, 0.0) + ridge, right[..., None])[..., 0])
