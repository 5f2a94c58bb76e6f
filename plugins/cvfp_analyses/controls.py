"""What a result is worth: trained runs against the controls of Phase 1, and against the unigram model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import polars as pl

from cvfp_core.claims import inference, verdicts
from cvfp_core.claims.findings import finding
from cvfp_core.claims.matched import learned
from cvfp_core.claims.verdicts import Judged
from cvfp_core.fitting import Fit
from cvfp_core.fitting.linear import t_quantile
from cvfp_core.schema.claims import Caveat, Finding, Measured, Table
from cvfp_core.schema.fits import Array
from cvfp_core.schema.settings import Phase1Mode

QUESTION = "Does training Phase 1 lower the perplexity?"
MOST_SEEDS = 100
"""Beyond so many seeds the number that a ratio would take is not given."""


def against_controls(runs: pl.DataFrame, fits: Sequence[Fit]) -> list[Finding]:  # noqa: ARG001
    """Each series with a trained Phase 1 against each of its controls; those without one are named.

    A control is a run of the same variant, corpus and settings but `phase1.mode`, whatever its experiment is called.
    """
    keyed = runs.with_columns(pl.Series("_made", [_made_with(row) for row in runs.to_dicts()], dtype=pl.String))
    found: list[Finding] = []
    missing: list[tuple[str, str]] = []
    for (series,), mine in learned(keyed).group_by("series", maintain_order=True):
        for control in [mode for mode in get_args(Phase1Mode) if mode != "trained"]:
            others = keyed.filter((pl.col("control") == control) & pl.col("_made").is_in(mine["_made"].to_list()))
            if others.is_empty():
                missing.append((str(series), control))
            else:
                found.append(_against(str(series), control, mine, others))
    return [*found, *([_not_tested(missing)] if missing else [])]


def _made_with(run: dict[str, object]) -> str:
    """What a run and its control have in common; of runs that do not state their settings, the experiment."""
    stated = run["settings"]
    settings: dict[str, Any] = json.loads(str(stated)) if stated else {"experiment": run["experiment"]}
    if isinstance(settings.get("phase1"), dict):
        settings["phase1"].pop("mode", None)
    return json.dumps([run["variant"], run["corpus_hash"] or run["corpus"], settings], sort_keys=True)


def _against(series: str, control: str, mine: pl.DataFrame, others: pl.DataFrame) -> Finding:
    """Paired on settings, size and seed; seeds count as independent, each by its mean over sizes that all have."""
    seeds, sizes, logs = _paired(mine, others)
    each = logs.mean(axis=1) if logs.size else np.zeros(0)
    measured = inference.mean(each, method="paired log-ratios, mean over sizes of each seed, t interval over seeds")
    caveats: list[str | Caveat] = []
    made, paired = mine["_made"].unique(), others["_made"].unique()
    if len(made) > 1:
        caveats.append(Caveat(
            text="The series is of {made} different settings. Each is compared with controls of equal settings only; "
                 "there are such for {paired}.", values={"made": len(made), "paired": len(paired)}))
    if not sizes:
        caveats.append("They have no size in common: anything said of them would be an unmatched comparison.")
    elif not seeds:
        caveats.append("They have no seed in common, so nothing is known of what seeds differ by.")
    elif len(seeds) == 1:
        caveats.append("One seed: what is due to the seed cannot be told from what is due to Phase 1; it takes 2 seeds "
                       "or more.")
    judged = verdicts.of_direction(measured, "falls")
    if judged.verdict == "inconclusive":
        caveats += _needed(measured.estimate, each, logs)
    if len(sizes) > 2 and len(seeds) > 1:
        trend = inference.mean(np.array([inference.slope(np.log(sizes), row).estimate for row in logs]))
        if trend.p_value is not None and trend.p_value <= verdicts.LEVEL:
            ratios = np.exp(logs.mean(axis=0))
            caveats.append(Caveat(text="The ratio changes with size, from {first:.3f} to {last:.3f}.",
                                  values={"first": float(ratios[0]), "last": float(ratios[-1])}))
    ends = {name: None if log is None else float(np.exp(log))
            for name, log in (("ratio", measured.estimate), ("low", measured.low), ("high", measured.high))}
    relative = Measured(
        estimate=_less(ends["ratio"]), low=_less(ends["low"]), high=_less(ends["high"]), p_value=measured.p_value,
        n=len(seeds) or int(bool(sizes)), method=measured.method,
    )
    return finding(
        relative, judged, key=f"{series} vs {control}", question=QUESTION,
        claim="Training Phase 1 lowers the Val PPL of {series}, against its control {control}.",
        values={"series": series, "control": control, "sizes": len(sizes), "seeds": len(seeds), **ends},
        unit="relative", caveats=caveats,
        table=Table(columns=("training tokens", "ratio of Val PPL"), rows=tuple(
            (size, float(ratio)) for size, ratio in zip(sizes, np.exp(logs.mean(axis=0)), strict=True)
        )) if sizes else None,
    )


def _paired(mine: pl.DataFrame, others: pl.DataFrame) -> tuple[list[int], list[float], Array]:
    """(seeds, sizes, log-ratios (seeds, sizes)) of the runs that both have, only sizes that every seed has.

    Without a seed in common: no seeds, and one row of ratios of means over seeds.
    """
    pairs = _log_ratios(mine.drop_nulls("seed"), others.drop_nulls("seed"), "seed", "size")
    found = {(seed, size): ratio for seed, size, ratio in pairs.iter_rows()}
    seeds = sorted({seed for seed, _ in found})
    if not seeds:
        means = _log_ratios(mine, others, "size")
        row = means["_ratio"].to_numpy()
        return [], means["size"].to_list(), row[None, :] if means.height else np.zeros((0, 0))
    while True:
        sizes = sorted({size for _, size in found if all((seed, size) in found for seed in seeds)})
        if sizes:
            return seeds, sizes, np.array([[found[seed, size] for size in sizes] for seed in seeds])
        seeds.remove(min(seeds, key=lambda seed: sum(each == seed for each, _ in found)))


def _log_ratios(mine: pl.DataFrame, others: pl.DataFrame, *by: str) -> pl.DataFrame:
    """(by, _ratio): only runs of equal settings make a ratio; where there are several settings, the mean of theirs."""
    keys = ["_made", *by]
    log = pl.col("val_ppl").log().mean().alias("_log")
    pairs = mine.group_by(keys).agg(log).join(others.group_by(keys).agg(log), on=keys).sort(keys)
    return pairs.group_by(by).agg((pl.col("_log") - pl.col("_log_right")).mean().alias("_ratio")).sort(by)


def _needed(estimate: float | None, each: Array, logs: Array) -> list[str | Caveat]:
    """A caveat saying how many seeds a ratio of this size would take; of one seed, by its scatter over sizes."""
    if estimate is None or not estimate or logs.size < 3:
        return []
    spread = float(each.std(ddof=1)) if len(each) > 1 else float(logs.std(ddof=1) / np.sqrt(logs.size))
    first = len(each) + 1
    count = next((n for n in range(first, MOST_SEEDS + 1) if t_quantile(n - 1) * spread / np.sqrt(n) < abs(estimate)),
                 None)
    if count is None:
        return [Caveat(text="To tell a ratio of this size from 1 would take more than {seeds} seeds.",
                       values={"seeds": MOST_SEEDS})]
    if len(each) == 1:  # of which the part that a seed does at all sizes is not seen
        return [Caveat(text="By the scatter over sizes, to tell a ratio of this size from 1 would take {seeds} seeds "
                            "or more.", values={"seeds": count})]
    return [Caveat(text="To tell a ratio of this size from 1 would take about {seeds} seeds.", values={"seeds": count})]


def _less(ratio: float | None) -> float | None:
    return None if ratio is None else ratio - 1


def _not_tested(missing: Sequence[tuple[str, str]]) -> Finding:
    by_series: dict[str, list[str]] = {}
    for series, control in missing:
        by_series.setdefault(series, []).append(control)
    alike: dict[str, list[str]] = {}
    for series, controls in by_series.items():
        alike.setdefault(", ".join(controls), []).append(series)
    names = "; ".join(f"{', '.join(every)} ({controls})" for controls, every in alike.items())
    return finding(
        Measured(estimate=None), Judged(verdict="inconclusive", p_value=None), key="not tested", question=QUESTION,
        claim="Training Phase 1 lowers the Val PPL, against a control.", values={"series": names}, unit="relative",
        caveats=[Caveat(text="Not tested: no control run of {series}. `cvfp run --controls` makes them.",
                        values={"series": names})],
    )


def against_unigram(runs: pl.DataFrame, fits: Sequence[Fit]) -> list[Finding]:  # noqa: ARG001
    """Whether every run has a lower perplexity than the unigram model: a count, not a test."""
    rows = runs.drop_nulls("unigram_ppl").with_columns((pl.col("val_ppl") / pl.col("unigram_ppl")).alias("_ratio"))
    by_series = rows.group_by("series", maintain_order=True).agg(
        pl.len().alias("runs"), (pl.col("_ratio") >= 1).sum().alias("above"), pl.col("_ratio").min().alias("least"),
        pl.col("_ratio").max().alias("most"),
    ).to_dicts()
    above = [row for row in by_series if row["above"]]
    names = ", ".join(f"{row['series']} ({row['above']} / {row['runs']})" for row in above)
    count = sum(row["above"] for row in above)
    return [finding(
        Measured(estimate=float(count), n=rows.height, method="count"),
        Judged(verdict="contradicted" if above else "supported", p_value=None), key="unigram",
        question="Has anything of the order of tokens been learned?",
        claim="Every run has a lower Val PPL than the unigram model of its training tokens.",
        values={"runs": rows.height, "above": count, "series": names}, unit="runs",
        caveats=[Caveat(text="Not below it, of all runs: {series}. There nothing of order has been learned, however "
                             "straight the line: R² alone shows nothing.", values={"series": names})] if above else [],
        table=Table(columns=("series", "runs", "not below the unigram model", "lowest ratio", "highest ratio"),
                    rows=tuple(tuple(row.values()) for row in by_series)),
    )]
