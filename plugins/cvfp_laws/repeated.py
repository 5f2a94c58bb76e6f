"""Laws of repeated data: fitted to runs whose unique tokens are no more than the tokens they saw."""

from __future__ import annotations

from collections.abc import Mapping

from cvfp_core.fitting.curve_fit import fit_curve
from cvfp_core.schema.fits import Fit, Points, Reason
from cvfp_core.schema.settings import Scalar
from cvfp_laws.published import CONSTRAINED, REPEATED


def fit_constrained(points: Points, options: Mapping[str, Scalar | None]) -> list[Fit]:  # noqa: ARG001
    """The published law."""
    return [_refused(points) or fit_curve(CONSTRAINED, points)]


def fit_repeated(points: Points, options: Mapping[str, Scalar | None]) -> list[Fit]:  # noqa: ARG001
    """The law without a term of excess parameters."""
    return [_refused(points) or fit_curve(REPEATED, points)]


def _refused(points: Points) -> Fit | None:
    """Why these are no runs of repeated data: some saw fewer tokens than they have unique ones."""
    more = int((points.inputs["unique_tokens"] > points.inputs["tokens_seen"] * (1 + 1e-9)).sum())
    if not more:
        return None
    return Fit(status="bad data", reason=Reason(
        "unique_tokens exceeds tokens_seen in {n} of {all} runs, and no run sees more distinct tokens than tokens; if "
        "the columns are swapped, map each to the other; if unique_tokens is the size of the corpus, "
        "--map 'unique_tokens=min(unique_tokens, tokens_seen)'", n=more, all=points.n))
