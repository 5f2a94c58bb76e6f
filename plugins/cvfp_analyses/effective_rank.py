"""What effective rank says: of the scaling exponent, of perplexity, of itself on more and on other data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from cvfp_analyses.thresholds import CONSTANT_MARGIN, LARGEST_GAP
from cvfp_analyses.words import OVER, by_runs, by_series, left_out, over_series, several, slope_over_series
from cvfp_core.claims import inference, verdicts
from cvfp_core.claims.findings import finding
from cvfp_core.claims.matched import series_effects
from cvfp_core.claims.verdicts import Judged
from cvfp_core.fitting import Fit
from cvfp_core.schema.claims import Caveat, Finding, Table
from cvfp_core.schema.fits import Array

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
    measured = inference.pearson(np.array([row[4] for row in rows]), np.array([row[1] for row in rows]))
    return [finding(
        measured, verdicts.of_direction(measured, "rises"), key="correlation",
        question="Does alpha depend on effective rank?",
        claim="The higher Val ER, the flatter the scaling: alpha and Val ER are positively correlated.",
        unit="correlation", over=OVER, caveats=[
            *several(runs.drop_nulls("val_er")), *([RANGES] if len(ranges) > 1 else [])],
        table=Table(columns=("series", "alpha", "low", "high", "Val ER"), rows=tuple(rows)),
    )]


def rank_and_perplexity(runs: pl.DataFrame, fits: Sequence[Fit]) -> list[Finding]:  # noqa: ARG001
    """Correlation over series of rank and log perplexity, the effect of size taken off both."""
    effects = series_effects(runs, {"val_er": False, "val_ppl": True})
    er, ppl = 100 * effects.values["val_er"], effects.values["val_ppl"]
    measured, per_point = inference.pearson(er, ppl), inference.slope(er, ppl)
    every = runs.drop_nulls("val_er")
    raw = inference.pearson(every["val_er"].to_numpy(), np.log(every["val_ppl"].to_numpy()))
    rows = tuple((name, float(a), float(np.expm1(b))) for name, a, b in zip(effects.series, er, ppl, strict=True))
    return [finding(
        measured, verdicts.of_direction(measured, "falls"), key="matched",
        question="Does Val ER tell which configuration has the lower perplexity at equal data?",
        claim="At equal training tokens, the higher Val ER, the lower Val PPL.",
        values={"per_point": per_point.estimate, "per_point_low": per_point.low, "per_point_high": per_point.high,
                "runs": effects.runs, "r_unmatched": raw.estimate, "p_unmatched": raw.p_value},
        unit="correlation", over="over series, the effect of size taken off",
        caveats=[*several(every), *left_out(effects)],
        table=Table(columns=("series", "Val ER, points from mean", "Val PPL, relative to mean"), rows=rows),
    )]


def rank_constant(runs: pl.DataFrame, fits: Sequence[Fit]) -> list[Finding]:  # noqa: ARG001
    """Mean over series of the change of Val ER per doubling of data, against a margin."""
    measured, slopes, caveats = slope_over_series(runs, 100 * pl.col("val_er"))
    ends = {name: runs.filter(pl.col("series") == name)["val_er"].drop_nulls() for name in slopes}
    rows = tuple((name, each, float(ends[name].min()), float(ends[name].max()))  # type: ignore[arg-type]
                 for name, each in slopes.items())
    return [finding(
        measured, verdicts.of_range(measured, -CONSTANT_MARGIN, CONSTANT_MARGIN), key="constant",
        question="Does Val ER stay the same when there is more data?",
        claim="Val ER changes by less than {margin} points per doubling of data.",
        values={"margin": CONSTANT_MARGIN, "spread": max((row[3] - row[2] for row in rows), default=None)},
        unit="points per doubling", over=OVER, caveats=caveats, of_phase2=False,
        table=Table(columns=("series", "change per doubling, points", "lowest Val ER", "highest Val ER"), rows=rows),
    )]


def _above(values: Array) -> float | None:
    """p of a series' mean lying above the limit; None where it does not, or has one run."""
    judged = verdicts.of_range(inference.mean(values), -np.inf, LARGEST_GAP)
    return judged.p_value if float(values.mean()) > LARGEST_GAP else None


def rank_gap(runs: pl.DataFrame, fits: Sequence[Fit]) -> list[Finding]:  # noqa: ARG001
    """Training against validation rank: their correlation, their difference, and its change with data."""
    both = runs.drop_nulls(["train_er", "val_er"])
    question = "Does Train ER tell Val ER?"
    names, train = by_series(both, pl.col("train_er"))
    _, val = by_series(both, pl.col("val_er"))
    related = inference.pearson(train, val)
    raw = inference.pearson(both["train_er"].to_numpy(), both["val_er"].to_numpy())
    gap = 100 * (pl.col("train_er") - pl.col("val_er"))
    gaps = both.select(gap.alias("gap"))["gap"]
    each, caveats = over_series(both, gap)
    limit, above = inference.another(each), int((each > LARGEST_GAP).sum())
    judged = verdicts.of_range(limit, -np.inf, LARGEST_GAP)
    if above:  # of "at most", one that is above is the contrary, whatever the mean
        least = min((p for each_gap in by_runs(both, gap) if (p := _above(each_gap)) is not None), default=1.0)
        p_value = min(1.0, least * len(names))
        limit = replace(limit, low=None, high=None, method="mean, least p of a series times their number")
        judged = Judged(verdict="contradicted" if p_value <= verdicts.LEVEL else "inconclusive", p_value=p_value)
        caveats = [*caveats, Caveat(text="{above} of {all} lie above {margin} points, the most by {most:.2g}.", values={
            "above": above, "all": len(each), "margin": LARGEST_GAP, "most": float(each.max()) - LARGEST_GAP})]
    grown, slopes, one = slope_over_series(both, gap)
    table = Table(columns=("series", "Train ER", "Val ER", "gap, points", "change per doubling, points"), rows=tuple(
        (name, float(a), float(b), float(100 * (a - b)), slopes.get(name))
        for name, a, b in zip(names, train, val, strict=True)))
    values = {"gap": limit.estimate, "above": above, "smallest": float(gaps.to_numpy().min()),
              "largest": float(gaps.to_numpy().max()), "runs": both.height,
              "margin": LARGEST_GAP, "within": int((gaps <= LARGEST_GAP).sum())}
    return [
        finding(
            related, verdicts.of_direction(related, "rises"), key="correlation", question=question,
            claim="The higher Train ER, the higher Val ER.",
            values={"r_runs": raw.estimate, "p_runs": raw.p_value, "runs": both.height}, unit="correlation",
            over="over series means", table=table, of_phase2=False,
        ),
        finding(
            limit, judged, key="gap", question="Does Train ER lie at most {margin} points above Val ER?",
            claim="Train ER lies at most {margin} points above Val ER.", values=values, unit="points", over=OVER,
            caveats=caveats, of_phase2=False,
        ),
        finding(
            grown, verdicts.of_direction(grown, "rises"), key="gap over data",
            question="Does the gap between Train ER and Val ER grow with data?",
            claim="The gap between Train ER and Val ER grows with data.", values=values, unit="points per doubling",
            over=OVER, caveats=one, of_phase2=False,
        ),
    ]
