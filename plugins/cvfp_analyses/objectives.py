"""What the objective of Phase 1 does: does a higher rank under another one mean a lower perplexity?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from cvfp_core.claims import inference, verdicts
from cvfp_core.claims.findings import finding
from cvfp_core.claims.objectives import Study, study
from cvfp_core.fitting import Fit
from cvfp_core.schema.claims import Caveat, Finding, Measured, Table

PUBLISHED = {"sdl": 0.949, "nuc": 0.919, "odcm": 0.892, "mcdl": 0.784, "infonce": 0.769, "unif": 0.752, "ctm": 0.720,
             "due": 0.584, "decorr": 0.474, "wmse": 0.429, "udel": 0.415, "hsic": 0.368}
"""Val ER by a published study of diversity terms: one run each of 6 layers, 200 dimensions, 122,795 tokens, w = 0.9."""
QUESTION = "Does the objective with the higher Val ER have the lower Val PPL?"
WITHIN = "Under one objective, does the seed with the higher Val ER have the lower Val PPL?"
ORDER = "Do objectives stand in the published order of Val ER?"
HIGHER = "Val ER is higher under {objective} than under {reference}, as published."
LOWER = "Val ER is lower under {objective} than under {reference}, as published."


def objectives(runs: pl.DataFrame, fits: Sequence[Fit]) -> list[Finding]:  # noqa: ARG001
    """Between objectives, within each, and against the published ranks; nothing where all runs are of one."""
    found = study(runs)
    return [] if found is None else [_between(found), _within(found), *_published(found)]


def _between(found: Study) -> Finding:
    caveats: list[str | Caveat] = []
    if found.left_out:
        caveats.append(Caveat(text="Left out, as they share no size and seed with the others: {objectives}.",
                              values={"objectives": ", ".join(found.left_out)}))
    return finding(
        found.between, verdicts.of_direction(found.between, "falls"), key="between", question=QUESTION,
        claim="Between objectives, at equal data and seeds: the higher Val ER, the lower Val PPL.",
        values={"objectives": len(found.standings), "seeds": len(found.seeds), "sizes": len(found.sizes)},
        unit="rank correlation", over="over objectives, each by its mean over sizes and seeds", counts="objectives",
        caveats=caveats,
    )


def _within(found: Study) -> Finding:
    return finding(
        found.within, verdicts.of_direction(found.within, "falls"), key="within", question=WITHIN,
        claim="Under one objective, at equal data: the seed with the higher Val ER has the lower Val PPL.",
        values={"objectives": len(found.standings), "seeds": len(found.seeds)},
        unit="log PPL per point", counts="seeds",
    )


def _published(found: Study) -> list[Finding]:
    both = [each for each in found.standings if each.name in PUBLISHED and each.val_er.estimate is not None]
    order = inference.spearman(np.array([PUBLISHED[each.name] for each in both]),
                               np.array([each.val_er.estimate for each in both]))
    names = [each.name for each in both]
    claimed = sorted(names, key=lambda name: -PUBLISHED[name])
    made = [finding(
        order, verdicts.of_direction(order, "rises"), key="order", question=ORDER,
        claim="Objectives stand in the published order of Val ER: their ranks are correlated.",
        values={"objectives": len(both)}, unit="rank correlation", over="over objectives", of_phase2=False,
        counts="objectives", table=Table(
            columns=("objective", "published Val ER", "published place", "Val ER", "place"),
            rows=tuple((each.name, PUBLISHED[each.name], claimed.index(each.name) + 1, each.val_er.estimate, place)
                       for place, each in enumerate(both, 1))),
    )]
    return [*made, *(_against(each.name, found.reference, each.er_difference) for each in both
                     if found.reference in PUBLISHED and each.name != found.reference)]


def _against(objective: str, reference: str, difference: Measured) -> Finding:
    higher = PUBLISHED[objective] > PUBLISHED[reference]
    ends = [None if end is None else 100 * end for end in (difference.estimate, difference.low, difference.high)]
    return finding(
        Measured(estimate=ends[0], low=ends[1], high=ends[2], p_value=difference.p_value, n=difference.n,
                 method=difference.method, least=difference.least),
        verdicts.of_direction(difference, "rises" if higher else "falls"), key=f"published: {objective}",
        question=ORDER, claim=HIGHER if higher else LOWER,
        values={"objective": objective, "reference": reference, "published": PUBLISHED[objective], "higher": higher},
        unit="points",
        of_phase2=False, counts="seeds",
    )
