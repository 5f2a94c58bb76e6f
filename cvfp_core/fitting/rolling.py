"""By how much a surface missed what came next, when it had seen the smaller runs only."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy import special

from cvfp_core.fitting.curve_fit import Solved, optima
from cvfp_core.fitting.curves import Goal
from cvfp_core.fitting.search import sensitivities, solve
from cvfp_core.fitting.selection import SIGNIFICANT, steps
from cvfp_core.schema.fits import Array, Points


@np.errstate(all="ignore")
def stretch(alike: Sequence[Solved], points: Points) -> Array:
    """(B,) factor, at least 1, that would have made new-run intervals hold every next run of the rolling back-test.

    alike: of one curve; points: those of any, for their inputs. The back-test walks along the product of the sizes
    among the inputs, so along compute where these are params and tokens, from half of the runs on. 1 unless the misses
    are larger than chance explains (F test): where the law holds they say nothing. Runs that lie off the law are left
    out.
    """
    curve, optimum, factor = alike[0].curve, optima(alike), np.ones(len(alike))
    sizes = [np.log(values) for name, values in points.inputs.items() if points.quantity(name).kind == "size"]
    scatter = np.array([solved.variance.new_run or 0.0 for solved in alike])
    if not sizes or not np.isfinite(sizes).all():
        return factor
    targets, weights = (np.concatenate(each) for each in zip(*((s.target, s.weights) for s in alike), strict=True))
    delta, use, k = np.array([solved.delta for solved in alike]), weights > 0, len(curve.names)
    place = steps({"size": np.exp(np.round(np.sum(sizes, axis=0), 8))}, "size", surface=True)
    dof, squares, misses = use.sum(axis=1) - k, np.zeros(len(alike)), np.zeros(len(alike), dtype=int)
    for end, following in pairwise(np.unique(place)):
        seen, ahead = use & (place <= end), use & (place == following)
        rows = np.flatnonzero((seen.sum(axis=1) > max(k, points.n / 2)) & ahead.any(axis=1) & (scatter > 0))
        if not len(rows):
            continue
        seen, ahead = seen[rows], ahead[rows]
        past = solve(curve, targets[rows], weights=weights[rows] * seen, delta=delta[rows], tries=1,
                     near=optimum.parameters[rows, None], precision=1e-9)
        about = Goal(target=np.zeros(len(rows)), weight=np.ones(len(rows)), parameter=np.zeros(len(rows), dtype=int),
                     log=np.zeros(len(rows), dtype=bool))
        slope = np.nan_to_num(sensitivities(curve, past.parameters, about)[0])
        known = slope * (weights[rows] * seen)[..., None]
        spread = np.linalg.pinv(known.transpose(0, 2, 1) @ known, rcond=1e-14, hermitian=True)
        miss = curve.fitted(past.parameters) - targets[rows]
        expected = scatter[rows, None] * (1 + ((slope @ spread) * slope).sum(axis=2))
        ratio = np.where(ahead, miss**2 / expected, 0.0)
        squares[rows] += ratio.sum(axis=1)
        misses[rows] += ahead.sum(axis=1)
        # an interval made then had the scatter and the degrees of freedom of the runs seen
        left = seen.sum(axis=1) - k
        own = (past.rss / left) / (optimum.rss[rows] / dof[rows])
        factor[rows] = np.maximum(factor[rows], np.sqrt(ratio.max(axis=1) / own) / special.stdtrit(left, 0.975))
    chance = special.fdtrc(np.maximum(misses, 1), np.maximum(dof, 1), squares / np.maximum(misses, 1))
    return np.where((misses > 0) & (chance < SIGNIFICANT), factor, 1.0)
