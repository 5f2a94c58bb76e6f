"""By how much a surface missed what came next, when it had seen the smaller runs only."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy import special

from cvfp_core.fitting.curve_fit import Solved
from cvfp_core.fitting.curves import Goal
from cvfp_core.fitting.linear import t_quantile
from cvfp_core.fitting.search import sensitivities, solve
from cvfp_core.fitting.selection import SIGNIFICANT, steps
from cvfp_core.schema.fits import Points


@np.errstate(all="ignore")
def stretch(solved: Solved, points: Points) -> float:
    """Factor, at least 1, that would have made new-run intervals hold every next run of the rolling back-test.

    It walks along the product of the sizes among the inputs, so along compute where these are params and tokens, from
    half of the runs on. 1 unless the misses are larger than chance explains (F test): where the law holds they say
    nothing. Runs that lie off the law are left out.
    """
    sizes = [np.log(values) for name, values in points.inputs.items() if points.quantity(name).kind == "size"]
    scatter = solved.variance.new_run
    if not sizes or not scatter or not np.isfinite(sizes).all():
        return 1.0
    use, k = solved.weights[0] > 0, len(solved.curve.names)
    place = steps({"size": np.exp(np.round(np.sum(sizes, axis=0), 8))}, "size", surface=True)
    about = Goal(target=np.zeros(1), weight=np.ones(1), parameter=np.zeros(1, dtype=int), log=np.zeros(1, dtype=bool))
    dof, squares, factor = int(use.sum()) - k, list[float](), 1.0
    for end, following in pairwise(np.unique(place)):
        seen, ahead = use & (place <= end), use & (place == following)
        if seen.sum() <= max(k, points.n / 2) or not ahead.any():
            continue
        past = solve(solved.curve, solved.target, weights=solved.weights * seen, delta=solved.corner, tries=1,
                     near=solved.optimum.parameters[:, None, :], precision=1e-9)
        slope = np.nan_to_num(sensitivities(solved.curve, past.parameters, about)[0][0])
        known = slope[seen] * solved.weights[0, seen, None]
        spread = np.linalg.pinv(known.T @ known, rcond=1e-14, hermitian=True)
        miss = (solved.curve.fitted(past.parameters) - solved.target)[0, ahead]
        expected = scatter * (1 + np.einsum("ni,ij,nj->n", slope[ahead], spread, slope[ahead]))
        squares += list(miss**2 / expected)
        # an interval made then had the scatter and the degrees of freedom of the runs seen
        own = (past.rss[0] / (seen.sum() - k)) / (solved.optimum.rss[0] / dof)
        factor = max(factor, float(np.sqrt((miss**2 / expected).max() / own)) / t_quantile(int(seen.sum()) - k))
    return factor if squares and special.fdtrc(len(squares), dof, np.mean(squares)) < SIGNIFICANT else 1.0
