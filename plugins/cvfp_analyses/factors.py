"""What changing one part of a variant does to rank and perplexity, with everything else the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from scipy import special

from cvfp_analyses.words import ONE_SEED, assumed, differing
from cvfp_core.claims import inference, verdicts
from cvfp_core.claims.findings import finding
from cvfp_core.claims.matched import (
    IDENTITY,
    Difference,
    Group,
    by_seed,
    differences,
    distances,
    groups,
    over_pairs,
    paired,
    series_effects,
    strata,
    with_contexts,
)
from cvfp_core.claims.verdicts import Direction, Judged
from cvfp_core.fitting import Fit
from cvfp_core.schema.claims import Caveat, Finding, Measured, Table

RANK = "points per doubling"
PERPLEXITY = "log PPL per doubling"
ROWS = 20
"""Most pairs that a table of confounded ones has."""


def context_dim(runs: pl.DataFrame, fits: Sequence[Fit]) -> list[Finding]:  # noqa: ARG001
    """Width of the context against rank and perplexity; a model without contexts has none."""
    return _both(with_contexts(runs), "context_dim", (
        "falls", "What does a wider context do to effective rank?", "The larger context_dim, the lower Val ER.",
    ), (
        "rises", "What does a wider context do to perplexity?", "The larger context_dim, the higher Val PPL.",
    ))


def num_input_tokens(runs: pl.DataFrame, fits: Sequence[Fit]) -> list[Finding]:  # noqa: ARG001
    """Tokens in the input window against rank and perplexity."""
    return _both(runs, "num_input_tokens", (
        "rises", "What do more input tokens do to effective rank?", "The more input tokens, the higher Val ER.",
    ), (
        "falls", "What do more input tokens do to perplexity?", "The more input tokens, the lower Val PPL.",
    ))


def num_layers(runs: pl.DataFrame, fits: Sequence[Fit]) -> list[Finding]:  # noqa: ARG001
    """Layers against rank and perplexity."""
    return _both(runs, "num_layers", (
        "rises", "What do more layers do to effective rank?", "The more layers, the higher Val ER.",
    ), (
        "falls", "What do more layers do to perplexity?", "The more layers, the lower Val PPL.",
    ))


_Claim = tuple[Direction, str, str]


def _both(runs: pl.DataFrame, factor: str, rank: _Claim, perplexity: _Claim) -> list[Finding]:
    found = []
    for column, (claimed, question, claim) in (("val_er", rank), ("val_ppl", perplexity)):
        rows = runs.drop_nulls([factor, column])
        every = groups(rows)
        clean = strata(every, factor)
        made = _clean(every, clean, factor, column, claimed, question, claim) if clean else \
            _confounded(every, factor, column, question, claim)
        found.append(made)
    return found


def _clean(
    every: list[Group], clean: list[list[Group]], factor: str, column: str, claimed: Direction, question: str,
    claim: str,
) -> Finding:
    """Among series that differ in nothing else: slope over the factor's logarithm, series as points."""
    x: list[float] = []
    y: list[float] = []
    stratum: list[int] = []
    table: list[tuple[str | int | float | None, ...]] = []
    for number, group in enumerate(clean):
        effects = series_effects(pl.concat([each.runs for each in group]), {column: column == "val_ppl"})
        for name, value in zip(effects.series, effects.values[column], strict=True):
            level = next(float(each.traits[factor]) for each in group if each.label == name)
            x.append(float(np.log2(level)))
            y.append(float(value) * (1 if column == "val_ppl" else 100))
            stratum.append(number)
            table.append((number + 1, name, level, y[-1]))
    measured = inference.slope(np.array(x), np.array(y), np.array(stratum))
    over = "series as points, compared only where nothing else differs"
    one_slope, caveats = _apart(x, y, stratum, clean)
    if measured.p_value is None and len(clean) == 1 and len(clean[0]) == 2:
        measured, caveats = _pair(clean[0][0], clean[0][1], factor, column)
        over = ""
    judged = verdicts.of_direction(measured, claimed)
    if one_slope is not None and one_slope <= verdicts.LEVEL:
        judged = Judged(verdict="inconclusive", p_value=judged.p_value)
    names = {row[1] for row in table}
    apart = [each.label for each in every if each.label not in names]
    if apart:
        caveats.append(Caveat(text="Left out, as no other configuration differs from them in {factor} alone: {series}.",
                              values={"factor": factor, "series": ", ".join(apart)}))
    unit = PERPLEXITY if column == "val_ppl" else RANK
    return finding(
        measured, judged, key=column, question=question, claim=claim, unit=unit,
        values={"factor": factor, "groups": len(clean), "confounded_with": None}, over=over, caveats=caveats,
        of_phase2=column == "val_ppl",
        table=Table(columns=("group", "series", factor, f"difference from the group's mean ({_difference(column)})"),
                    rows=tuple(table)),
    )


def _difference(column: str) -> str:
    return "log PPL" if column == "val_ppl" else "points"


def _apart(x: Sequence[float], y: Sequence[float], stratum: Sequence[int], clean: Sequence[Sequence[Group]]
           ) -> tuple[float | None, list[str | Caveat]]:
    """The p of the F test of one slope in all strata, and a caveat with each where they disagree in sign or by it."""
    a, b, which = np.array(x), np.array(y), np.array(stratum)
    slopes = [(group, made.estimate) for number, group in enumerate(clean)
              if (made := inference.slope(a[which == number], b[which == number])).estimate is not None]
    if len(slopes) < 2:
        return None, []
    design = np.column_stack([*(np.where(which == each, a, 0.0) for each in set(stratum)),
                              *(which == each for each in set(stratum))]).astype(float)
    pooled = np.column_stack([a, design[:, len(set(stratum)):]])
    squares = [float(np.square(b - each @ np.linalg.lstsq(each, b, rcond=None)[0]).sum()) for each in (pooled, design)]
    more, dof = len(slopes) - 1, len(b) - np.linalg.matrix_rank(design)
    p = float(special.fdtrc(more, dof, (squares[0] - squares[1]) / more / (squares[1] / dof))) \
        if dof > 0 and squares[1] > 0 else None
    if min(each for _, each in slopes) * max(each for _, each in slopes) > 0 and (p is None or p > verdicts.LEVEL):
        return p, []
    named = ", ".join(f"{_named(group)} {slope:+.3g}" for group, slope in slopes)
    if p is None:
        return None, [Caveat(text="The slopes differ in sign between the groups that are pooled: {slopes}.",
                             values={"slopes": named})]
    return p, [Caveat(text="The slopes disagree between the groups that are pooled: {slopes} (F test of one slope, p = "
                           "{p:.2g}).", values={"slopes": named, "p": p})]


def _named(group: Sequence[Group]) -> str:
    """What the series of a stratum have in common in their labels: the experiment, or the first of them."""
    experiments = list(dict.fromkeys(each.label.partition(":")[0] for each in group))
    return experiments[0] if len(experiments) == 1 else group[0].label


def _pair(left: Group, right: Group, factor: str, column: str) -> tuple[Measured, list[str | Caveat]]:
    """Two groups at matched sizes, per doubling of the factor."""
    log = column == "val_ppl"
    scale = (1 if log else 100) / np.log2(float(right.traits[factor]) / float(left.traits[factor]))
    _, values = paired(left, right, column, log=log)
    seeds = by_seed(left, right, column, log=log)
    measured = over_pairs(scale * values, scale * seeds, "differences")
    return measured, [] if len(seeds) > 1 else [Caveat(text=ONE_SEED, values={"sizes": len(values)})]


def _confounded(every: list[Group], factor: str, column: str, question: str, claim: str) -> Finding:
    """No two series differ in the factor alone: the nearest pair, marked, with what else differs; all pairs as a table.

    Nearest: first the fewest other differences in the variant, then the fewest in all.
    """
    level = np.array([float(each.traits[factor]) for each in every])
    a, b = np.triu_indices(len(every), 1)
    a, b = (side[level[a] != level[b]] for side in (a, b))
    variant, rest = (distances(every, traits, but=factor)[a, b] for traits in (IDENTITY, None))
    pairs: list[tuple[Group, Group, tuple[Difference, ...], int, float]] = []
    for index in np.lexsort((rest, variant)):
        low, high = sorted((every[a[index]], every[b[index]]), key=lambda each: each.traits[factor])
        sizes, values = paired(low, high, column, log=column == "val_ppl")
        if len(sizes):
            others = tuple(each for each in differences(low, high) if each.name != factor)
            pairs.append((low, high, others, len(sizes), float(values.mean())))
        if len(pairs) == ROWS:
            break
    unit = PERPLEXITY if column == "val_ppl" else RANK
    if not pairs:
        levels = ", ".join(map(str, sorted({each.traits[factor] for each in every}))) or "none"
        return finding(
            Measured(estimate=None), Judged(verdict="inconclusive", p_value=None), key=column, question=question,
            claim=claim, values={"factor": factor, "groups": 0, "confounded_with": None}, unit=unit,
            caveats=[Caveat(text="No two groups of runs of equal size differ in {factor} (there is: {levels}).",
                            values={"factor": factor, "levels": levels})],
        )
    low, high, others, _, _ = pairs[0]
    measured, caveats = _pair(low, high, factor, column)
    confounded = Judged(verdict="confounded", p_value=measured.p_value)
    return finding(
        measured, confounded, key=column, question=question, claim=claim, unit=unit,
        values={"factor": factor, "groups": 0, "left": low.label, "right": high.label,
                "confounded_with": differing(others)},
        of_phase2=column == "val_ppl", caveats=[Caveat(
            text="{left} and {right}, the nearest pair, also differ in: {names}.",
            values={"left": low.label, "right": high.label, "names": differing(others)}), *assumed(others), *caveats],
        table=Table(
            columns=("series", "compared with", "matched sizes", f"difference ({_difference(column)})",
                     "also differ in"),
            rows=tuple((low.label, high.label, count, value * (1 if column == "val_ppl" else 100), differing(others))
                       for low, high, others, count, value in pairs)),
    )
