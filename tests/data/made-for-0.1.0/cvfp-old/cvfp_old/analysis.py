"""Whether small samples are learned by heart: predicted better in training than larger ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from cvfp_core import inference, verdicts
from cvfp_core.findings import Finding, finding
from cvfp_core.fitting.values import Fit


def by_heart(runs: pl.DataFrame, fits: Sequence[Fit]) -> list[Finding]:
    """The slope of log Train PPL over log size, common to all series."""
    del fits
    rows = runs.drop_nulls("train_ppl")
    measured = inference.slope(
        np.log(rows["size"].to_numpy()), np.log(rows["train_ppl"].to_numpy()), strata=rows["series"].to_numpy()
    )
    return [finding(
        measured, verdicts.of_direction(measured, "rises"), key="slope",
        question="Are small samples learned by heart?",
        claim="The less data, the lower Train PPL.",
        unit="log PPL per log token", over="over runs",
    )]
