"""Group against group at equal data, and whether the grid of runs is complete and without repeats."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from cvfp_analyses.words import ONE_SEED, assumed, differing
from cvfp_core.claims import verdicts
from cvfp_core.claims.findings import finding
from cvfp_core.claims.matched import Comparison, compare, distances, groups
from cvfp_core.claims.verdicts import Judged
from cvfp_core.fitting import Fit
from cvfp_core.schema.claims import Caveat, Finding, Measured, Table

MOST = 200
"""Pairs above which only those that differ in one setting become findings."""
TOO_MANY = 2000
"""Pairs that differ in one setting above which each series is compared only with the next that does."""
_SAME = ("variant", "size", "seed", "val_ppl", "train_ppl", "val_er", "val_acc")


def pairs(runs: pl.DataFrame, fits: Sequence[Fit]) -> list[Finding]:  # noqa: ARG001
    """Every two series at the sizes both have; of many, see `MOST` and `TOO_MANY`."""
    every = groups(runs)
    left, right = np.triu_indices(len(every), 1)
    caveats: list[str | Caveat] = []
    if len(left) > MOST:
        one = distances(every)[left, right] <= 1
        left, right = left[one], right[one]
    if len(left) > TOO_MANY:
        caveats.append(Caveat(text="{pairs} pairs of series differ in one setting; of each series only that with the "
                                   "next one is tested.", values={"pairs": len(left)}))
        _, first = np.unique(left, return_index=True)
        left, right = left[first], right[first]
    return [_pair(compare(every[a], every[b]), caveats) for a, b in zip(left, right, strict=True)]


def _pair(each: Comparison, caveats: Sequence[str | Caveat]) -> Finding:
    logs = each.measured
    n = len(each.sizes)
    relative = Measured(
        estimate=_relative(logs.estimate), low=_relative(logs.low), high=_relative(logs.high), p_value=logs.p_value,
        n=each.seeds if each.seeds > 1 else n, method=logs.method,
    )
    caveats = list(caveats)
    if each.confounded:
        judged = Judged(verdict="confounded", p_value=logs.p_value)
        caveats += [Caveat(text="They differ in: {names}.", values={"names": differing(each.differences)}),
                    *assumed(each.differences)]
    else:
        judged = verdicts.of_direction(relative, "differs")
    if n and each.seeds == 1:
        caveats.append(Caveat(text=ONE_SEED, values={"sizes": n}))
    if n == 0:
        caveats.append("They have no size in common: anything said of them would be an unmatched comparison.")
    if each.largest[0] != each.largest[1]:
        caveats.append(Caveat(
            text="Unmatched: their lowest Val PPL are {best_left:.1f} and {best_right:.1f}, but their largest sizes "
                 "{largest_left:,.0f} and {largest_right:,.0f} tokens.",
            values={"best_left": each.best[0], "best_right": each.best[1], "largest_left": each.largest[0],
                    "largest_right": each.largest[1]}))
    if each.trend.p_value is not None and each.trend.p_value <= verdicts.LEVEL:
        caveats.append(Caveat(text="The ratio changes with size, from {first:.3f} to {last:.3f}.",
                              values={"first": float(each.ratios[0]), "last": float(each.ratios[-1])}))
    return finding(
        relative, judged, key=f"{each.left} vs {each.right}",
        question="At equal data, which has the lower perplexity: {left} or {right}?",
        claim="{left} and {right} differ in Val PPL at equal data.",
        values={"left": each.left, "right": each.right, "ratio": None if n == 0 else float(np.exp(logs.estimate or 0)),
                "sizes": n, "settings_that_differ": len(each.differences), "names": differing(each.differences)},
        unit="relative", caveats=caveats,
        table=Table(columns=("training tokens", "ratio of Val PPL"), rows=tuple(
            (float(size), float(ratio)) for size, ratio in zip(each.sizes, each.ratios, strict=True))),
    )


def _relative(log: float | None) -> float | None:
    return None if log is None else float(np.expm1(log))


def grid(runs: pl.DataFrame, fits: Sequence[Fit]) -> list[Finding]:  # noqa: ARG001
    """Runs that are the same run under two labels, and sizes that some series of an experiment lack."""
    again = runs.filter(pl.struct(_SAME).is_duplicated() & pl.col("train_ppl").is_not_null())
    repeats = [tuple(group["run_id"]) for _, group in again.group_by(_SAME, maintain_order=True)]
    extra = sum(len(each) - 1 for each in repeats)
    missing: list[tuple[str, str, int]] = []
    cells = 0
    for (experiment,), group in runs.group_by("experiment", maintain_order=True):
        sizes = sorted(set(group["size"]))
        for (series,), mine in group.group_by("series", maintain_order=True):
            cells += len(sizes)
            there = set(mine["size"])
            missing += [(str(experiment), str(series), int(size)) for size in sizes if size not in there]
    common = set.intersection(*(set(group["size"]) for _, group in runs.group_by("series")))
    count = Measured(estimate=float(extra), n=runs.height, method="count")
    holes = Measured(estimate=float(len(missing)), n=cells, method="count")
    return [
        finding(
            count, Judged(verdict="contradicted" if extra else "supported", p_value=None), key="repeats",
            question="Is every run there once?", claim="No two runs are the same run under two labels.",
            values={"runs": runs.height, "repeats": extra}, unit="runs",
            caveats=[Caveat(text="Runs that are the same count twice in whatever is computed over runs.")] if extra
            else [], of_phase2=False,
            table=Table(columns=("run", "the same as"), rows=tuple((each[0], ", ".join(each[1:])) for each in repeats)),
        ),
        finding(
            holes, Judged(verdict="contradicted" if missing else "supported", p_value=None), key="missing",
            question="Is the grid complete?", claim="Every configuration was run at every size of its experiment.",
            values={"cells": cells, "missing": len(missing), "common_sizes": len(common)}, unit="runs",
            of_phase2=False,
            table=Table(columns=("experiment", "series", "training tokens"), rows=tuple(missing)),
        ),
    ]
