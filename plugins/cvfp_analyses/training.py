"""What the course of training says of validation perplexity: iterations of Phase 1, training perplexity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from cvfp_analyses.words import left_out, several
from cvfp_core.claims import inference, verdicts
from cvfp_core.claims.findings import finding
from cvfp_core.claims.matched import series_effects
from cvfp_core.fitting import Fit
from cvfp_core.schema.claims import Caveat, Finding, Table

MATCHED = "over series, the effect of size taken off"


def iterations_and_perplexity(runs: pl.DataFrame, fits: Sequence[Fit]) -> list[Finding]:  # noqa: ARG001
    """Rank correlation over series of iterations and perplexity; runs that hit the limit stand apart."""
    counted = runs.drop_nulls("phase1_iterations")
    censored = counted["phase1_censored"].fill_null(False)
    effects = series_effects(counted.filter(~censored), {"phase1_iterations": True, "val_ppl": True})
    steps, ppl = effects.values["phase1_iterations"], effects.values["val_ppl"]
    measured = inference.spearman(steps, ppl)
    raw = inference.spearman(counted["phase1_iterations"].to_numpy().astype(float), counted["val_ppl"].to_numpy())
    caveats: list[str | Caveat] = [*several(counted), *left_out(effects)]
    if censored.any():
        caveats.append(Caveat(
            text="{count} of {runs} runs reached the limit of iterations: their counts are lower bounds, left out.",
            values={"count": int(censored.sum()), "runs": counted.height}))
    made = dict(zip(effects.series, np.expm1(ppl).tolist(), strict=True))
    rows = counted.group_by("series", maintain_order=True).agg(
        pl.col("phase1_iterations").min().alias("fewest"), pl.col("phase1_iterations").max().alias("most"),
        pl.col("phase1_censored").fill_null(False).sum().alias("censored"))
    return [finding(
        measured, verdicts.of_direction(measured, "rises"), key="matched",
        question="Do configurations that converge earlier end with lower perplexity?",
        claim="At equal data, the fewer P1 iterations until convergence, the lower Val PPL.",
        values={"rho_runs": raw.estimate, "p_runs": raw.p_value, "runs": counted.height,
                "censored": int(censored.sum())},
        unit="rank correlation", over=MATCHED, caveats=caveats,
        table=Table(columns=("series", "fewest", "most", "runs at the limit", "Val PPL, relative to mean"), rows=tuple(
            (row["series"], row["fewest"], row["most"], row["censored"], made.get(row["series"]))
            for row in rows.to_dicts())),
    )]


def train_and_val_perplexity(runs: pl.DataFrame, fits: Sequence[Fit]) -> list[Finding]:  # noqa: ARG001
    """Correlation over series of training and validation perplexity."""
    rows = runs.drop_nulls("train_ppl")
    effects = series_effects(rows, {"train_ppl": True, "val_ppl": True})
    train, val = effects.values["train_ppl"], effects.values["val_ppl"]
    measured = inference.pearson(train, val)
    raw = inference.pearson(np.log(rows["train_ppl"].to_numpy()), np.log(rows["val_ppl"].to_numpy()))
    return [finding(
        measured, verdicts.of_direction(measured, "rises"), key="matched",
        question="Does training perplexity tell validation perplexity?",
        claim="At equal data, the lower Train PPL, the lower Val PPL.",
        values={"r_unmatched": raw.estimate, "p_unmatched": raw.p_value, "runs": effects.runs},
        unit="correlation", over=MATCHED, caveats=[*several(rows), *left_out(effects)],
        table=Table(columns=("series", "Train PPL, relative to mean", "Val PPL, relative to mean"), rows=tuple(
            (name, float(np.expm1(a)), float(np.expm1(b)))
            for name, a, b in zip(effects.series, train, val, strict=True))),
    )]
