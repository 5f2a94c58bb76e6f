"""What changing one part of a variant does to rank and perplexity, with everything else the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from cvfp_analyses.words import assumed, differing
from cvfp_core.claims import inference, verdicts
from cvfp_core.claims.findings import finding
from cvfp_core.claims.matched import (
    IDENTITY,
    Difference,
    Group,
    differences,
    distances,
    groups,
    paired,
    series_effects,
    strata,
    with_contexts,
)
from cvfp_core.claims.verdicts import Direction, Judged
from cvfp_core.fitting import Fit
from cvfp_core.schema.claims import Caveat, Finding, Measured, Table
from cvfp_core.schema.fits import Array

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
    over, caveats = "series as points, compared only where nothing else differs", []
    if measured.p_value is None and len(clean) == 1 and len(clean[0]) == 2:
        measured = _pair(clean[0][0], clean[0][1], factor, column)
        over = ""
        caveats.append(Caveat(text="One pair of configurations: the scatter between runs is only seen over sizes."))
    names = {row[1] for row in table}
    apart = [each.label for each in every if each.label not in names]
    if apart:
        caveats.append(Caveat(text="Left out, as no other configuration differs from them in {factor} alone: {series}.",
                              values={"factor": factor, "series": ", ".join(apart)}))
    unit = PERPLEXITY if column == "val_ppl" else RANK
    return finding(
        measured, verdicts.of_direction(measured, claimed), key=column, question=question, claim=claim, unit=unit,
        values={"factor": factor, "groups": len(clean), "confounded_with": None}, over=over, caveats=caveats,
        of_phase2=column == "val_ppl",
        table=Table(columns=("group", "series", factor, f"difference from the group's mean ({_difference(column)})"),
                    rows=tuple(table)),
    )


def _difference(column: str) -> str:
    return "log PPL" if column == "val_ppl" else "points"


def _pair(left: Group, right: Group, factor: str, column: str) -> Measured:
    """Two groups at matched sizes, per doubling of the factor."""
    _, values = paired(left, right, column, log=column == "val_ppl")
    doublings = np.log2(float(right.traits[factor]) / float(left.traits[factor]))
    scaled: Array = values * (1 if column == "val_ppl" else 100) / doublings
    return inference.mean(scaled, method="paired differences at matched sizes, t interval")


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
    measured = _pair(low, high, factor, column)
    confounded = Judged(verdict="confounded", p_value=measured.p_value)
    return finding(
        measured, confounded, key=column, question=question, claim=claim, unit=unit,
        values={"factor": factor, "groups": 0, "left": low.label, "right": high.label,
                "confounded_with": differing(others)},
        of_phase2=column == "val_ppl", caveats=[Caveat(
            text="{left} and {right}, the nearest pair, also differ in: {names}.",
            values={"left": low.label, "right": high.label, "names": differing(others)}), *assumed(others)],
        table=Table(
            columns=("series", "compared with", "matched sizes", f"difference ({_difference(column)})",
                     "also differ in"),
            rows=tuple((low.label, high.label, count, value * (1 if column == "val_ppl" else 100), differing(others))
                       for low, high, others, count, value in pairs)),
    )
