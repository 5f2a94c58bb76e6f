"""Where a law is asked so that it can be drawn as a smooth line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cvfp_core.schema.fits import Array
from cvfp_core.schema.quantities import Quantity

PLACES = 7


def way_to(sizes: Array, ends: Sequence[float], x: Quantity) -> list[float]:
    """Places from the smallest size to the largest of sizes and ends, evenly on the scale of x; none for one size."""
    known = np.concatenate([sizes, np.asarray(ends, dtype=float)])
    known = known[np.isfinite(known) & ((known > 0) | (x.scale != "log"))]
    if not known.size or known.min() == known.max():
        return []
    scale = np.geomspace if x.scale == "log" else np.linspace
    places: Array = scale(known.min(), known.max(), PLACES)
    return [float(each) for each in places]
