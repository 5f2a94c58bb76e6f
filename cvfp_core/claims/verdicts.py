"""The rules by which a claim gets its verdict, and the correction for asking many questions of the same runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

from cvfp_core.fitting.linear import t_p_value
from cvfp_core.schema.claims import Measured, Verdict

Direction = Literal["rises", "falls", "differs"]
LEVEL = 0.05
"""Share of wrong ones among the verdicts `supported` and `contradicted` that are tolerated, on average."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A verdict and the p value of the test it rests on."""

    verdict: Verdict
    p_value: float | None


def of_direction(measured: Measured, claimed: Direction) -> Judged:
    """Whether the estimate lies on the claimed side of zero: a two-sided test, so either answer can come out."""
    p = measured.p_value
    if p is None or measured.estimate is None or p > LEVEL:
        return Judged(verdict="inconclusive", p_value=p)
    agrees = claimed == "differs" or (measured.estimate > 0) == (claimed == "rises")
    return Judged(verdict="supported" if agrees else "contradicted", p_value=p)


def of_range(measured: Measured, low: float, high: float) -> Judged:
    """Whether the truth lies between low and high (either may be infinite): t tests against the ends.

    Supported: the 95 % interval lies inside. Contradicted: it lies outside. So p is that of two-sided tests.
    """
    if measured.estimate is None or measured.stderr is None:
        return Judged(verdict="inconclusive", p_value=None)
    inside = max(
        (_beyond(end - measured.estimate if side > 0 else measured.estimate - end, measured)
         for end, side in ((low, -1), (high, 1)) if isfinite(end)),
        default=0.0,
    )
    outside = min(
        (_beyond(measured.estimate - end if side > 0 else end - measured.estimate, measured)
         for end, side in ((low, -1), (high, 1)) if isfinite(end)),
        default=1.0,
    )
    if inside <= outside:
        return Judged(verdict="supported" if inside <= LEVEL else "inconclusive", p_value=inside)
    return Judged(verdict="contradicted" if outside <= LEVEL else "inconclusive", p_value=outside)


def _beyond(distance: float, measured: Measured) -> float:
    """Two-sided p of an estimate that far on the right side of a limit; 1 on the wrong side."""
    if not measured.stderr:
        return float(distance < 0)
    return t_p_value(distance, measured.stderr, measured.dof) if distance > 0 else 1.0


def rests_on_p(verdict: Verdict) -> bool:
    """Whether a finding takes part in the correction: confounded ones are no tests of their claims."""
    return verdict != "confounded"


def adjusted(p_values: Sequence[float | None]) -> list[float | None]:
    """Corrected p values, Benjamini-Hochberg 1995, in the order given; None stays None.

    Among the verdicts that rest on a corrected p up to LEVEL, the share of wrong ones is LEVEL on average; if no claim
    at all is true, the chance of a single one is LEVEL. Holm's correction, which bounds that chance always, would with
    the many pairs of groups in a data set leave hardly any of them a verdict.
    """
    order = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    made: list[float | None] = [None] * len(p_values)
    least = 1.0
    for rank in range(len(order), 0, -1):
        p, index = order[rank - 1]
        least = min(least, p * len(order) / rank)
        made[index] = least
    return made
