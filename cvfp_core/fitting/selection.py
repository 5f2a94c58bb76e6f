"""Which law: what the points tell apart, and what each law would have predicted before the largest sizes were run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from scipy import special

from cvfp_core.fitting.curve_fit import in_space, root_weights
from cvfp_core.fitting.curves import Curve
from cvfp_core.fitting.linear import aicc, bic
from cvfp_core.fitting.points import by_group, place
from cvfp_core.fitting.profiles import linear_ends, run_ends
from cvfp_core.fitting.scales import as_loss, jacobian, logarithmic, nats, on_scale
from cvfp_core.fitting.search import ROOM, Solution, joined, solve
from cvfp_core.registry import culprits
from cvfp_core.registry.kinds import Law
from cvfp_core.schema import expressions, quantities
from cvfp_core.schema.expressions import UnknownColumn
from cvfp_core.schema.fits import Array, Points
from cvfp_core.schema.quantities import Quantity
from cvfp_core.schema.series import evenly

SIGNIFICANT = 0.05
"""A law with more parameters is taken if the F test against the simpler one is below this."""
FOLDS = 8
"""Of a back-test of a surface."""
MOST_FOLDS = 32
"""Of a back-test of a curve; of more they are `FOLDS`, spread evenly over the sizes."""
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
    """(B, F) error of the next size, in the fold that ends before it; NaN where the law cannot be fitted yet. Of the
    logarithm, or of the loss where the response is a loss or its perplexity."""
    aicc: Array
    """(B,) NaN where it does not exist."""
    bic: Array
    """(B,)"""
    level: Array
    """(B, F) the loss that was to be predicted, where there is one."""


@np.errstate(all="ignore")
def score(law: Law, inputs: Mapping[str, Array], targets: Array, along: str | None = None,
          roots: Array | float = 1.0, scale: Quantity | None = None) -> Scores:
    """The law's scores on (B, n) responses, in the space of its residuals, at the same inputs.

    The back-test is rolling-origin along an input, by default the first: for every m, the law is fitted to the m
    smallest sizes and predicts the next one; along a quantity that follows from the inputs as well. roots: (B, n) of
    the weights of the runs in what is minimised. Folds start at three sizes and at as many as the law has parameters;
    sizes of a surface that are many are taken together, to at most `FOLDS` folds; of a curve's, see `MOST_FOLDS`.
    scale: what the responses are; sums of squares and errors of a loss are in its unit, as those of its perplexity are.
    """
    scale = scale or quantities.of(law.response)
    curve = Curve(law, inputs)
    count, n = len(law.parameters), targets.shape[1]
    first = steps(inputs, along, surface=len(inputs) > 1)
    sizes = np.unique(first)
    folds = spread_folds(3, len(sizes))
    seen = np.array([np.ones(n, dtype=bool), *(first <= sizes[m - 1] for m in folds)])
    able = [0, *(fold for fold, m in enumerate(folds, 1)
                 if (m if len(inputs) == 1 else int(seen[fold].sum()) - 1) >= count)]
    fits = _solved(curve, targets, seen[able], roots)
    unit = jacobian(targets, law, scale)
    rss = np.square(roots * (curve.fitted(fits[0].parameters) - targets)).sum(axis=1) * unit**2
    errors = np.full((len(targets), len(folds)), np.nan)
    level = np.full_like(errors, np.nan)
    for fold, past in zip(able[1:], fits[1:], strict=True):
        ahead = first == sizes[folds[fold - 1]]
        error = nats(curve.fitted(past.parameters)[:, ahead], targets[:, ahead], law, scale)
        errors[:, fold - 1] = error.mean(axis=1) if len(inputs) == 1 else np.abs(error).mean(axis=1)
        level[:, fold - 1] = as_loss(targets[:, ahead], law, scale).mean(axis=1)
    criteria = [[np.nan if (value := each(float(squares), n, count)) is None else value for squares in rss]
                for each in (aicc, bic)]
    return Scores(parameters=count, rss=rss, dof=n - count, errors=errors, aicc=np.array(criteria[0]),
                  bic=np.array(criteria[1]), level=level)


def _solved(curve: Curve, targets: Array, seen: Array, roots: Array | float) -> list[Solution]:
    """Fits of the (B, n) targets to the runs that each row of (F, n) `seen` marks, all at once."""
    if not len(seen):
        return []
    rows = np.arange(len(seen) * len(targets)).reshape(len(seen), -1)
    weights = np.broadcast_to(seen[:, None, :] * roots, (len(seen), *targets.shape)).reshape(-1, targets.shape[1])
    parts = np.array_split(rows.ravel(), -(-weights.size // ROOM))
    made = joined([solve(curve, targets[part % len(targets)], weights=weights[part]) for part in parts])
    return [made.rows(own) for own in rows]


def spread_folds(least: int, sizes: int) -> list[int]:
    """How many of the smallest sizes each fold of a back-test sees: `least` and more, all but the largest at most."""
    every = range(least, sizes)
    return list(every) if len(every) <= MOST_FOLDS else [every[place] for place in evenly(len(every), FOLDS)]


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

    roots: (B, n) of the weights of the runs. Where there are more folds than are made, runs are so many that the ends
    of intervals are those of the linearised law.
    """
    curve = Curve(law, inputs)
    first = next(iter(inputs.values()))
    sizes = np.unique(first)
    factor = np.ones(len(targets))
    least = len(law.parameters) + 1
    folds, ends = spread_folds(least, len(sizes)), run_ends if len(sizes) - least <= MOST_FOLDS else linear_ends
    every = np.array([first <= sizes[m - 1] for m in folds], dtype=bool).reshape(len(folds), len(first))
    for m, seen, past in zip(folds, every, _solved(curve, targets, every, roots), strict=True):
        ahead, weights = first == sizes[m], np.broadcast_to(seen * roots, targets.shape)
        dof = int(seen.sum()) - len(law.parameters)
        at = {name: values[ahead][:1] for name, values in inputs.items()}
        centre, low, high = ends(curve, targets, weights, past, at, variance=past.rss / dof, dof=dof)
        miss = targets[:, ahead].mean(axis=1) - centre
        factor = np.maximum(factor, np.maximum(miss / (high - centre), miss / (low - centre)))
    return factor


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A law as a candidate: its scores over all series it was tried on."""

    law: str
    """Its name."""
    scale: str
    """The quantity it is a function for: `val_loss`, or `val_ppl`."""
    parameters: int
    """Of one series."""
    series: int
    """Series it could be fitted to with a degree of freedom left."""
    aicc: float | None = None
    """Summed over the series; None if it does not exist for one of them."""
    bic: float | None = None
    """Summed over the series: what is compared where AICc does not exist for every law."""
    weight: float | None = None
    """In the average that is forecast, over the series; None where it is not one of it."""
    backtest: float | None = None
    """Mean absolute error of the next size, as a fraction; None without a fold."""
    folds: int = 0
    """Predictions the back-test made."""
    p_value: float | None = None
    """F test of the chosen law against this one, or of this one against it, whichever has more parameters; None for a
    law on another scale, which is none within it."""
    verdict: str = ""
    """`chosen`, `ruled out`, `not distinguishable`, `too few sizes`, or how it failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The law chosen, and which others the points do not rule out."""

    law: str
    """The law chosen."""
    scale: str
    """The quantity it is a function for: a perplexity may be `exp(E + A * tokens^alpha)`."""
    distinguishable: bool
    """Whether all others are ruled out."""
    reason: str
    """Why, in words."""
    candidates: tuple[Candidate, ...]
    """All laws that were tried, on every scale."""

    criterion: str = "AICc"
    """That of the candidates which exists for all that were fitted: AICc, or BIC."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON and templates."""
        plain: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        plain["candidates"] = [{name: getattr(each, name) for name in Candidate.__slots__} for each in self.candidates]
        return plain


Key = tuple[str, str]
"""Of a candidate: the law's name, and the quantity it is a function for."""


def key(law: Law) -> Key:
    """What tells the law from others, and from itself on another scale."""
    return law.name, law.response


def choose(laws: Sequence[Law], groups: Sequence[Points], along: str | None = None,
           declared: Mapping[str, Quantity] | None = None) -> Choice:
    """The law for these series, and the scale it is a function on; they share it, with parameters of their own.

    A law that cannot be computed, such as a stranger's that raises, is no candidate and said to have failed.
    From the law with the fewest parameters up, a richer one is taken if the F test over all series calls for it and its
    back-test does not speak against it; of two equally rich ones, that with the smaller back-test error.
    """
    scores: dict[Key, list[Scores]] = {}
    failed: dict[Key, str] = {}
    scales = {law.response: quantities.of(law.response, declared) for law in laws}
    for law in laws:
        known = scales[law.response]
        usable = [points for points in (on_scale(each, known) for each in groups) if _enough(law, points)]
        try:
            scores[key(law)] = by_group(usable, place, partial(_scores, law, along, known))
        except culprits.PASSING:
            raise
        except BaseException as error:  # a stranger's function
            scores[key(law)] = []
            failed[key(law)] = f"failed: {type(error).__name__}"
    fitted = {name: each for name, each in scores.items() if each}
    if not fitted:
        simplest = min(laws, key=lambda law: len(law.parameters))
        return Choice(law=simplest.name, scale=simplest.response, distinguishable=False, candidates=(),
                      reason="too few sizes to compare laws; the simplest is shown")
    series = max(len(each) for each in fitted.values())
    # a law that fits fewer series than another is compared on those alone, so it cannot win for all
    full = {name: each for name, each in fitted.items() if len(each) == series}
    totals = {name: _total(each) for name, each in full.items()}
    chosen = decide(totals, [key(law) for law in laws if logarithmic(scales[law.response])])
    candidates = []
    rivals: list[str] = []
    for name, each in scores.items():
        nested = name in totals and name[1] == chosen[1]
        p = compare(totals[chosen], totals[name]) if nested and name != chosen else None
        verdict = "chosen" if name == chosen else failed.get(name, "too few sizes") if name not in totals else _verdict(
            totals[chosen], totals[name], p)
        if verdict == "not distinguishable":
            rivals.append(f"{name[0]} of {name[1]}" if len(scales) > 1 else name[0])
        aiccs, bics = ([float(getattr(s, which)[0]) for s in each] for which in ("aicc", "bic"))
        candidates.append(Candidate(
            law=name[0], scale=name[1], parameters=next(len(law.parameters) for law in laws if key(law) == name),
            series=len(each), aicc=_number(sum(aiccs)) if each else None, bic=_number(sum(bics)) if each else None,
            backtest=_error(each, loss=logarithmic(groups[0].quantity(groups[0].name))),
            folds=int(sum(np.isfinite(s.errors).sum() for s in each)), p_value=p, verdict=verdict,
        ))
    over = f" over {series} series" if series > 1 else ""
    untried = list(dict.fromkeys(each.law for each in candidates if each.verdict == "too few sizes"))
    if len({name for name, _ in totals}) == 1:
        reason = "the only law that could be fitted" + (f"; too few sizes for {', '.join(untried)}" if untried else "")
    elif rivals:
        reason = f"not distinguishable from {', '.join(rivals)}"
    else:
        reason = "preferred to laws with fewer parameters" if any(
            each.parameters < totals[chosen].parameters for each in totals.values()) else "fits best"
    return Choice(law=chosen[0], scale=chosen[1], distinguishable=not rivals and len(totals) > 1, reason=reason + over,
                  candidates=tuple(candidates),
                  criterion="AICc" if all(each.aicc is not None for each in candidates if each.series) else "BIC")


def _scores(law: Law, along: str | None, scale: Quantity, alike: Sequence[Points]) -> list[Scores]:
    """The scores on each of these points, which are at the same inputs."""
    whole = score(law, alike[0].inputs, np.stack([in_space(law, points.response) for points in alike]), along,
                  np.stack([root_weights(points) for points in alike]), scale)
    return [replace(whole, **{name: getattr(whole, name)[[row]] for name in ("rss", "errors", "aicc", "bic", "level")})
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

    @property
    def aic(self) -> float:
        """Akaike's criterion, but for a constant."""
        n = self.parameters + self.dof
        return float(n * np.log(max(self.rss, 1e-300) / n)) + 2 * self.parameters


def _total(scores: Sequence[Scores]) -> Total:
    return Total(parameters=sum(s.parameters for s in scores), rss=float(sum(s.rss[0] for s in scores)),
                 dof=sum(s.dof for s in scores), errors=np.concatenate([s.errors[0] for s in scores]))


def decide(totals: Mapping[Key, Total], losses: Collection[Key] = ()) -> Key:
    """The law chosen; totals in any order.

    losses: those fitted as losses. Another scale is taken only if the best law there scatters significantly less, or
    has fewer parameters and the smaller AIC; where one degree of freedom is left, the back-test speaks and no AIC.
    """
    ours = {name: total for name, total in totals.items() if name in losses}
    others = {name: total for name, total in totals.items() if name not in losses}
    if not ours or not others:
        return _richest(totals)
    loss, other = _richest(ours), _richest(others)
    one, two = ours[loss], others[other]
    error, theirs = _common(one.errors, two.errors)
    likelier = two.aic < one.aic if one.dof > 1 else theirs < error
    simpler = two.parameters < one.parameters and likelier
    return other if simpler or _scatters_more(one, two) else loss


def _richest(totals: Mapping[Key, Total]) -> Key:
    """The richest law that the points call for, from the one with the fewest parameters up."""
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
    if p is not None and other.parameters > chosen.parameters:
        return "not distinguishable"  # it contains what was chosen, or explains no more
    if p is not None and other.parameters < chosen.parameters:
        return "ruled out" if p < SIGNIFICANT else "not distinguishable"
    return "ruled out" if _scatters_more(other, chosen) else "not distinguishable"


def _scatters_more(one: Total, other: Total) -> bool:
    """Whether the residual variance of one is larger than that of the other, which need not contain it."""
    ratio = (one.rss / max(one.dof, 1)) / max(other.rss / max(other.dof, 1), 1e-300)
    return float(special.fdtrc(max(one.dof, 1), max(other.dof, 1), ratio)) < SIGNIFICANT


def _common(one: Array, other: Array) -> tuple[float, float]:
    """Mean absolute errors of two laws over the folds that both have; NaN without any."""
    both = np.isfinite(one) & np.isfinite(other)
    if not both.any():
        return float("nan"), float("nan")
    return float(np.abs(one[both]).mean()), float(np.abs(other[both]).mean())


def _error(scores: Sequence[Scores], *, loss: bool) -> float | None:
    """Mean absolute error as a fraction of what was to be predicted: of the loss where that is asked for."""
    if not scores:
        return None
    errors, level = (np.concatenate([getattr(s, name)[0] for s in scores]) for name in ("errors", "level"))
    told = np.isfinite(errors)
    if not told.any():
        return None
    return float(np.abs(errors[told] / level[told] if loss else np.expm1(errors[told])).mean())


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
