"""Whether the GRU has lower perplexity than other families' models of the same shape."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from cvfp_core.claims import verdicts
from cvfp_core.claims.findings import finding
from cvfp_core.claims.matched import Comparison, Group, compare, groups
from cvfp_core.claims.verdicts import Judged
from cvfp_core.schema.claims import Caveat, Finding, Table
from cvfp_core.schema.fits import Fit

_SHAPE = ("num_layers", "context_dim", "num_input_tokens", "embed_dim", "corpus_hash")
_QUESTION = "Has the GRU {gru} lower perplexity than {other}, at equal data?"


def families(runs: pl.DataFrame, fits: Sequence[Fit]) -> list[Finding]:  # noqa: ARG001
    """A finding for every pair of a GRU and another family's model of the same shape, on the same text."""
    every = groups(runs)
    return [
        _finding(compare(other, gru))
        for gru in every if gru.traits.get("family") == "gru"
        for other in every if other.traits.get("family") not in (None, "gru") and _same_shape(gru, other)
    ]


def _same_shape(gru: Group, other: Group) -> bool:
    return all(gru.traits.get(name) == other.traits.get(name) for name in _SHAPE)


def _finding(made: Comparison) -> Finding:
    """The verdict on one pair: what differs beside the family and its own options confounds it."""
    own = [each.name for each in made.differences if each.name == "family" or each.name.startswith("model.")]
    besides = [each.name for each in made.differences if each.name not in own]
    judged = verdicts.of_direction(made.measured, "falls")
    caveats: list[str | Caveat] = ["One model of either family: their numbers of parameters differ."]
    if besides:
        judged = Judged(verdict="confounded", p_value=judged.p_value)
        caveats.append(Caveat(text="They differ in more than the family: {names}.",
                              values={"names": ", ".join(besides)}))
    return finding(
        made.measured, judged, key=f"{made.right} {made.left}", question=_QUESTION,
        claim="{gru} has lower Val PPL than {other} at equal data.",
        values={"gru": made.right, "other": made.left}, unit="log of PPL over PPL", caveats=caveats,
        table=Table(columns=("tokens", "Val PPL, GRU over other"),
                    rows=tuple((int(size), float(ratio)) for size, ratio in
                               zip(made.sizes, made.ratios, strict=True))),
    )
