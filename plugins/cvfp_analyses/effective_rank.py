"""What effective rank says: of the scaling exponent, of perplexity, of itself on other data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from cvfp_core import inference, verdicts
from cvfp_core.findings import Caveat, Figure, FigureSeries, Finding, Table
from cvfp_core.fitting import Fit
from cvfp_core.matched import series_effects

SEVERAL = "The configurations differ in several settings: an association, not the effect of one of them."

RANGES = "The exponents were fitted over different ranges of sizes, and an exponent depends on its range."


def alpha_and_rank(runs: pl.DataFrame, fits: Sequence[Fit]) -> list[Finding]:
    """Pearson correlation over series of alpha and the effective rank of the run with the lowest perplexity."""
    rows, ranges = [], set()
    for fit in fits:
        alpha = next((each for each in fit.estimates if each.name == "alpha"), None)
        mine = runs.filter(pl.col("series") == fit.series).drop_nulls("val_er").sort("val_ppl", maintain_order=True)
        if alpha is None or alpha.value is None or mine.is_empty():
            continue
        rows.append((fit.series, alpha.value, alpha.low, alpha.high, float(mine["val_er"][0])))
        ranges.add(fit.fitted_range)
    alphas, er = np.array([row[1] for row in rows]), np.array([row[4] for row in rows])
    measured = inference.pearson(er, alphas)
    judged = verdicts.of_direction(measured, "rises")
    caveats: list[str | Caveat] = [SEVERAL, *([RANGES] if len(ranges) > 1 else [])]
    return [Finding(
        analysis="alpha-er", key="correlation",
        question="Does alpha depend on effective rank?",
        claim="The higher Val ER, the flatter the scaling: alpha and Val ER are positively correlated.",
        values={"r": measured.estimate, "series": len(rows)},
        verdict=judged.verdict, estimate=measured.estimate, low=measured.low, high=measured.high, unit="correlation",
        n=measured.n, method=f"{measured.method}, over series", p_value=judged.p_value, caveats=tuple(caveats),
        table=Table(columns=("series", "alpha", "low", "high", "Val ER"), rows=tuple(rows)),
        figure=Figure(kind="scatter", x_label="Val ER", y_label="alpha", series=tuple(
            FigureSeries(label=name, x=(rank,), y=(value,), low=(low,), high=(high,))
            for name, value, low, high, rank in rows)),
    )]


def rank_and_perplexity(runs: pl.DataFrame, fits: Sequence[Fit]) -> list[Finding]:  # noqa: ARG001
    """Correlation over series of rank and log perplexity, the effect of size taken off both."""
    effects = series_effects(runs, {"val_er": False, "val_ppl": True})
    er, ppl = 100 * effects.values["val_er"], effects.values["val_ppl"]
    measured = inference.pearson(er, ppl)
    judged = verdicts.of_direction(measured, "falls")
    per_point = inference.slope(er, ppl) if len(er) > 1 else inference.Measured(estimate=None)
    every = runs.drop_nulls(["val_er", "val_ppl"])
    raw = inference.pearson(every["val_er"].to_numpy(), np.log(every["val_ppl"].to_numpy()))
    caveats: list[str | Caveat] = [SEVERAL]
    if effects.left_out:
        caveats.append(Caveat(text="Left out, as they share no size with the others: {series}.",
                              values={"series": ", ".join(effects.left_out)}))
    rows = tuple((name, float(a), float(np.expm1(b))) for name, a, b in zip(effects.series, er, ppl, strict=True))
    return [Finding(
        analysis="er-ppl", key="matched",
        question="Does Val ER tell which configuration has the lower perplexity at equal data?",
        claim="At equal training tokens, the higher Val ER, the lower Val PPL.",
        values={"r": measured.estimate, "per_point": per_point.estimate, "per_point_low": per_point.low,
                "per_point_high": per_point.high, "runs": effects.runs, "r_unmatched": raw.estimate,
                "p_unmatched": raw.p_value},
        verdict=judged.verdict, estimate=measured.estimate, low=measured.low, high=measured.high, unit="correlation",
        n=measured.n, method=f"{measured.method}, over series, effect of size taken off", p_value=judged.p_value,
        caveats=tuple(caveats),
        table=Table(columns=("series", "Val ER, points from mean", "Val PPL, relative to mean"), rows=rows),
        figure=Figure(kind="scatter", x_label="Val ER, points from mean", y_label="Val PPL, relative to mean",
                      series=tuple(FigureSeries(label=name, x=(a,), y=(b,)) for name, a, b in rows)),
    )]
