"""Objectives of Phase 1 side by side, as a template gets them."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from cvfp_core.claims.matched import usable
from cvfp_core.claims.objectives import Standing, study
from cvfp_core.schema.claims import Measured
from cvfp_core.schema.plain import plain


def objectives(records: pl.DataFrame) -> dict[str, Any] | None:
    """The `ObjectivesView` of the records; None where no two objectives share a size and a seed."""
    found = study(usable(records))
    if found is None:
        return None
    by_ppl = sorted(found.standings, key=lambda each: each.log_ratio.estimate or 0.0)
    return {
        "reference": found.reference, "seeds": list(found.seeds), "sizes": list(found.sizes),
        "left_out": list(found.left_out), "by_er": [_row(each) for each in found.standings],
        "by_ppl": [_row(each) for each in by_ppl], "controls": [_row(each) for each in found.controls],
    }


def _row(standing: Standing) -> dict[str, Any]:
    made: dict[str, Any] = plain(standing)
    del made["log_ratio"]
    return made | {"val_er": _ends(standing.val_er), "er_difference": _ends(standing.er_difference),
                   "ratio": _ends(standing.log_ratio, logarithm=True)}


def _ends(measured: Measured, *, logarithm: bool = False) -> dict[str, float | None]:
    ends = {"value": measured.estimate, "low": measured.low, "high": measured.high}
    return {name: None if end is None else float(np.exp(end)) if logarithm else end for name, end in ends.items()}
