"""Which law: what the points tell apart, and what each law would have predicted before the largest sizes were run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from scipy import special

from cvfp_core.fitting.curve_fit import in_space, root_weights
from cvfp_core.fitting.curves import Curve
from cvfp_core.fitting.linear import aicc
from cvfp_core.fitting.points import by_group, place
from cvfp_core.fitting.profiles import run_ends
from cvfp_core.fitting.search import solve
from cvfp_core.registry import culprits
from cvfp_core.registry.kinds import Law
from cvfp_core.schema import expressions, quantities
from cvfp_core.schema.expressions import UnknownColumn
from cvfp_core.schema.fits import Array, Points

SIGNIFICANT = 0.05
"""A law with more parameters is taken if the F test against the simpler one is below this."""
FOLDS = 8
"""Of a back-test of a surface."""
WORSE_BACKTEST = 1.5
"""...and its back-test error is at most this many times the simpler one's. With one degree of freedom the test is not
asked: the richer law is taken if the simpler one's back-test error is more than this many times its own."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """How a law does on (B, n) targets: sums of squares, and errors of what it would have predicted."""

    parameters: int
    rss: Array
    """(B,)"""
    dof: int
    errors: Array
    """(B, F) log error of the next size, in the fold that ends before it; NaN where the law cannot be fitted yet."""
    aicc: Array
    """(B,) NaN where it does not exist."""


@np.errstate(all="ignore")
def score(law: Law, inputs: Mapping[str, Array], targets: Array, along: str | None = None,
          roots: Array | float = 1.0) -> Scores:
    """The law's scores on (B, n) responses, in the space of its residuals, at the same inputs.

    The back-test is rolling-origin along an input, by default the first: for every m, the law is fitted to the m
    smallest sizes and predicts the next one; along a quantity that follows from the inputs as well. roots: (B, n) of
    the weights of the runs in what is minimised. Folds start at three sizes and at as many as the law has parameters;
    sizes of a surface that are many are taken together, to at most `FOLDS` folds.
    """
    curve = Curve(law, inputs)
    count, n = len(law.parameters), targets.shape[1]
    first = steps(inputs, along, surface=len(inputs) > 1)
    sizes = np.unique(first)
    optimum = solve(curve, targets, weights=np.broadcast_to(roots, targets.shape))
    rss = np.square(roots * (curve.fitted(optimum.parameters) - targets)).sum(axis=1)
    errors = np.full((len(targets), max(len(sizes) - 3, 0)), np.nan)
    for fold, m in enumerate(range(3, len(sizes))):
        seen = first <= sizes[m - 1]
        if (m if len(inputs) == 1 else int(seen.sum()) - 1) >= count:
            past = solve(curve, targets, weights=np.broadcast_to(seen * roots, targets.shape))
            ahead = first == sizes[m]
            error = (curve.fitted(past.parameters) - targets)[:, ahead]
            if curve.space == "raw":
                error = np.log1p(np.maximum(error / np.abs(targets[:, ahead]), -0.999999))
            errors[:, fold] = error.mean(axis=1) if len(inputs) == 1 else np.abs(error).mean(axis=1)
    values = [aicc(float(each), n, count) for each in rss]
    return Scores(parameters=count, rss=rss, dof=n - count, errors=errors,
                  aicc=np.array([np.nan if each is None else each for each in values]))


def steps(inputs: Mapping[str, Array], along: str | None, *, surface: bool) -> Array:
    """(n,) the sizes that a back-test walks along; of a surface's many, the upper ends of equally filled bins."""
    first = walked(inputs, along) if along else next(iter(inputs.values()))
    assert first is not None
    sizes = np.unique(first)
    if not surface or len(sizes) <= FOLDS + 3:
        return first
    edges = np.quantile(first, np.linspace(0, 1, FOLDS + 4)[1:], method="inverted_cdf")
    return np.asarray(edges[np.searchsorted(edges, first)])


def walked(inputs: Mapping[str, Array], along: str) -> Array | None:
    """(n,) an input, or a quantity that follows from the inputs, such as flops from params and train_tokens."""
    if along in inputs:
        return inputs[along]
    for rule in quantities.of(along).follows:
        try:
            expression = expressions.parse(rule.expression, inputs)
        except UnknownColumn:
            continue
        values = pl.DataFrame(dict(inputs)).select(expression.polars)[:, 0].to_numpy()
        return np.asarray([float(f"{value:.9g}") for value in values])  # equal sizes, but for the last bits
    return None


@np.errstate(all="ignore")
def widening(law: Law, inputs: Mapping[str, Array], targets: Array, roots: Array | float = 1.0) -> Array:
    """(B,) factor, at least 1, that would have made every new-run interval of the back-test hold what came next.

    roots: (B, n) of the weights of the runs.
    """
    curve = Curve(law, inputs)
    first = next(iter(inputs.values()))
    sizes = np.unique(first)
    factor = np.ones(len(targets))
    for m in range(len(law.parameters) + 1, len(sizes)):
        seen, ahead = first <= sizes[m - 1], first == sizes[m]
        weights = np.broadcast_to(seen * roots, targets.shape)
        past = solve(curve, targets, weights=weights)
        dof = int(seen.sum()) - len(law.parameters)
        at = {name: values[ahead][:1] for name, values in inputs.items()}
        centre, low, high = run_ends(curve, targets, weights, past, at, variance=past.rss / dof, dof=dof)
        miss = targets[:, ahead].mean(axis=1) - centre
        factor = np.maximum(factor, np.maximum(miss / (high - centre), miss / (low - centre)))
    return factor


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A law as a candidate: its scores over all series it was tried on."""

    law: str
    """Its name."""
    parameters: int
    """Of one series."""
    series: int
    """Series it could be fitted to with a degree of freedom left."""
    aicc: float | None = None
    """Summed over the series; None if it does not exist for one of them."""
    backtest: float | None = None
    """Mean absolute error of the next size, as a fraction; None without a fold."""
    folds: int = 0
    """Predictions the back-test made."""
    p_value: float | None = None
    """F test of the chosen law against this one, or of this one against it, whichever has more parameters."""
    verdict: str = ""
    """`chosen`, `ruled out`, `not distinguishable`, `too few sizes`, or how it failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The law chosen, and which others the points do not rule out."""

    law: str
    """The law chosen."""
    distinguishable: bool
    """Whether all others are ruled out."""
    reason: str
    """Why, in words."""
    candidates: tuple[Candidate, ...]
    """All laws that were tried."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON and templates."""
        plain: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        plain["candidates"] = [{name: getattr(each, name) for name in Candidate.__slots__} for each in self.candidates]
        return plain


def choose(laws: Sequence[Law], groups: Sequence[Points], along: str | None = None) -> Choice:
    """The law for these series, which are taken to share it: each series has parameters of its own.

    A law that cannot be computed, such as a stranger's that raises, is no candidate and said to have failed.
    From the law with the fewest parameters up, a richer one is taken if the F test over all series calls for it and its
    back-test does not speak against it; of two equally rich ones, that with the smaller back-test error.
    """
    scores: dict[str, list[Scores]] = {}
    failed: dict[str, str] = {}
    for law in laws:
        usable = [points for points in groups if _enough(law, points)]
        try:
            scores[law.name] = by_group(usable, place, partial(_scores, law, along))
        except culprits.PASSING:
            raise
        except BaseException as error:  # a stranger's function
            scores[law.name] = []
            failed[law.name] = f"failed: {type(error).__name__}"
    fitted = {name: each for name, each in scores.items() if each}
    if not fitted:
        return Choice(law=min(laws, key=lambda law: len(law.parameters)).name, distinguishable=False, candidates=(),
                      reason="too few sizes to compare laws; the simplest is shown")
    series = max(len(each) for each in fitted.values())
    # a law that fits fewer series than another is compared on those alone, so it cannot win for all
    full = {name: each for name, each in fitted.items() if len(each) == series}
    totals = {name: _total(each) for name, each in full.items()}
    chosen = decide(totals)
    candidates = []
    rivals = []
    for name, each in scores.items():
        p = None if name == chosen or name not in totals else compare(totals[chosen], totals[name])
        verdict = "chosen" if name == chosen else failed.get(name, "too few sizes") if name not in totals else _verdict(
            totals[chosen], totals[name], p)
        if verdict == "not distinguishable":
            rivals.append(name)
        candidates.append(Candidate(
            law=name, parameters=next(len(law.parameters) for law in laws if law.name == name), series=len(each),
            aicc=_number(sum(float(s.aicc[0]) for s in each)) if each else None, backtest=_error(each),
            folds=int(sum(np.isfinite(s.errors).sum() for s in each)), p_value=p, verdict=verdict,
        ))
    over = f" over {series} series" if series > 1 else ""
    untried = [each.law for each in candidates if each.verdict == "too few sizes"]
    if rivals:
        reason = f"not distinguishable from {', '.join(rivals)}"
    elif len(totals) == 1:
        reason = "the only law that could be fitted" + (f"; too few sizes for {', '.join(untried)}" if untried else "")
    else:
        reason = "preferred to laws with fewer parameters" if any(
            each.parameters < totals[chosen].parameters for each in totals.values()) else "fits best"
    return Choice(law=chosen, distinguishable=not rivals and len(totals) > 1, reason=reason + over,
                  candidates=tuple(candidates))


def _scores(law: Law, along: str | None, alike: Sequence[Points]) -> list[Scores]:
    """The scores on each of these points, which are at the same inputs."""
    whole = score(law, alike[0].inputs, np.stack([in_space(law, points.response) for points in alike]), along,
                  np.stack([root_weights(points) for points in alike]))
    return [replace(whole, rss=whole.rss[[row]], errors=whole.errors[[row]], aicc=whole.aicc[[row]])
            for row in range(len(alike))]


def _enough(law: Law, points: Points) -> bool:
    """Whether the points leave the law a degree of freedom and have values it can take."""
    count = len(points.sizes) if len(points.inputs) == 1 else points.n
    return count > len(law.parameters) and bool(law.space == "raw" or (points.response > 0).all())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Total:
    """Sums of a law's scores over series, each with its own parameters."""

    parameters: int
    rss: float
    dof: int
    errors: Array
    """All folds of all series, in one order for every law; NaN where there is none."""


def _total(scores: Sequence[Scores]) -> Total:
    return Total(parameters=sum(s.parameters for s in scores), rss=float(sum(s.rss[0] for s in scores)),
                 dof=sum(s.dof for s in scores), errors=np.concatenate([s.errors[0] for s in scores]))


def decide(totals: Mapping[str, Total]) -> str:
    """The name of the law chosen; totals in any order."""
    order = sorted(totals, key=lambda name: (totals[name].parameters, totals[name].rss, name))
    best = order[0]
    for name in order[1:]:
        if totals[name].dof > 0 and _beats(totals[name], totals[best]):
            best = name
    return best


def _beats(rich: Total, simple: Total) -> bool:
    """Whether a law at least as rich as another is to be taken instead of it."""
    theirs, ours = _common(simple.errors, rich.errors)
    if rich.parameters == simple.parameters:
        return bool(ours < theirs)  # the other one fits better: only what it would have predicted can speak against it
    if rich.dof == 1:  # such a test tells nothing, and never overrules a back-test
        return bool(theirs > WORSE_BACKTEST * ours)
    return compare(simple, rich) < SIGNIFICANT and not ours > WORSE_BACKTEST * theirs


def compare(one: Total, other: Total) -> float:
    """p value of the F test between two laws; 1 where the richer one explains no more or has no degree of freedom."""
    simple, rich = sorted((one, other), key=lambda total: total.parameters)
    extra = rich.parameters - simple.parameters
    if extra == 0 or rich.dof <= 0 or simple.rss <= rich.rss:
        return 1.0
    if rich.rss <= 0:
        return 0.0
    return float(special.fdtrc(extra, rich.dof, (simple.rss - rich.rss) / extra / (rich.rss / rich.dof)))


def _verdict(chosen: Total, other: Total, p: float | None) -> str:
    """What the points say of a law that was not chosen."""
    if other.parameters > chosen.parameters:
        return "not distinguishable"  # it contains what was chosen, or explains no more
    if other.parameters < chosen.parameters:
        return "ruled out" if p is not None and p < SIGNIFICANT else "not distinguishable"
    # of equal richness: as likely within what AIC calls a strong difference
    n = chosen.parameters + chosen.dof
    return "not distinguishable" if n * np.log(max(other.rss, 1e-300) / max(chosen.rss, 1e-300)) < 4 else "ruled out"


def _common(one: Array, other: Array) -> tuple[float, float]:
    """Mean absolute errors of two laws over the folds that both have; NaN without any."""
    both = np.isfinite(one) & np.isfinite(other)
    if not both.any():
        return float("nan"), float("nan")
    return float(np.abs(one[both]).mean()), float(np.abs(other[both]).mean())


def _error(scores: Sequence[Scores]) -> float | None:
    errors = np.concatenate([s.errors[0] for s in scores]) if scores else np.empty(0)
    errors = errors[np.isfinite(errors)]
    return float(np.abs(np.expm1(errors)).mean()) if len(errors) else None


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
