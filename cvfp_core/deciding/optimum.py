"""The compute-optimal model for a budget, by three approaches side by side: envelope, isoFLOP, surface."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from cvfp_core.deciding import surfaces
from cvfp_core.deciding.budgets import (
    PARAMS,
    SIX_N_D,
    SPREAD,
    TOKENS,
    WITHOUT_EMBEDDINGS,
    Constraint,
    Cost,
    allowed,
    counted,
    sized,
)
from cvfp_core.deciding.isoflops import BUDGETS, LEAST, Isoflops, by_budget, isoflops, line
from cvfp_core.errors import UsageError
from cvfp_core.fitting.axes import on_axes
from cvfp_core.fitting.curve_fit import for_intervals, solve_points
from cvfp_core.fitting.linear import t_quantile
from cvfp_core.fitting.points import refusal, unvaried
from cvfp_core.fitting.predict import FAR, far_out, predict_each
from cvfp_core.fitting.ray import ray
from cvfp_core.fitting.rolling import stretch
from cvfp_core.fitting.run import find, fit_points, grouped
from cvfp_core.registry import Registry
from cvfp_core.registry.kinds import Law
from cvfp_core.schema.fits import Array, Fit, Points, Reason
from cvfp_core.schema.plain import AsDict

ENVELOPE, ISOFLOP, SURFACE = "envelope", "isoFLOP", "surface"
MOST = 300
"""Series whose optima are searched, at tenths of a second each."""
OF_BUDGETS = "saturating"
"""The law that the lowest losses are carried on by, where it is installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimum(AsDict):
    """The compute-optimal model of a series for a budget by one approach. No value: the reason says why.

    Intervals of 95 %: of the best sizes; of the mean loss there, and of one new run. An end that is None is open.
    """

    series: str
    """Its label, or how many were fitted as one."""
    approach: str
    """`envelope`, `isoFLOP` or `surface`."""
    flops: float
    """The budget."""
    response: str = "val_loss"
    """What is least there."""
    params: float | None = None
    """Of the best model."""
    params_low: float | None = None
    """Lower end of its interval."""
    params_high: float | None = None
    """Upper end."""
    train_tokens: float | None = None
    """What the budget leaves to train it on."""
    train_tokens_low: float | None = None
    """Lower end."""
    train_tokens_high: float | None = None
    """Upper end."""
    tokens_per_param: float | None = None
    """Their ratio."""
    tokens_per_param_low: float | None = None
    """Lower end."""
    tokens_per_param_high: float | None = None
    """Upper end."""
    value: float | None = None
    """Of the response."""
    mean_low: float | None = None
    """Lower end of the interval of its mean."""
    mean_high: float | None = None
    """Upper end."""
    run_low: float | None = None
    """Lower end of the interval of one new run."""
    run_high: float | None = None
    """Upper end."""
    distance: float | None = None
    """The budget as a multiple of the largest run's FLOPs."""
    reason: str = ""
    """Why there is no value or no interval, or a caution."""
    warnings: tuple[str, ...] = ()
    """What limits it: how far beyond the runs it is, and how well the law did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep(AsDict):
    """The runs of one series with what the approaches make of them."""

    series: str
    runs: int
    cost: Cost
    law: str
    """Of the surface."""
    isoflops: Isoflops
    frontier: tuple[int, ...]
    """Rows of the runs that no run of as little compute beats."""
    optima: tuple[Optimum, ...]
    notes: tuple[str, ...] = ()
    """Where approaches disagree, and what limits all of them."""
    params: Array = field(repr=False)
    """(n,) of the runs, as are `flops` and `response`."""
    flops: Array = field(repr=False)
    response: Array = field(repr=False)


def optima(records: pl.DataFrame, flops: Sequence[float], law: str | Law = "chinchilla", *, registry: Registry,
           y: str | None = None, by: Sequence[str] | None = None, convention: str = SIX_N_D,
           constraints: Sequence[Constraint] = (), inference_tokens: float = 0.0) -> tuple[Sweep, ...]:
    """The compute-optimal models of each series for the budgets.

    law: of params and train_tokens. convention: how FLOPs are counted, `6ND`, `6ND-non-embedding`, or a column.
    inference_tokens: tokens that will be served, which the budget pays for as well (arXiv:2401.00448).
    Raises UsageError for a law of other inputs, and for a budget that cannot be spent within the constraints.
    """
    given = on_axes(find(law, registry), None, y)
    if set(given.inputs) != {PARAMS, TOKENS} or given.function is None:
        raise UsageError(f"the optimum is of {PARAMS} and {TOKENS}; law '{given.name}' is a function of "
                         f"{', '.join(given.inputs)}; name a law of these two: --law chinchilla")
    column = [] if convention in (SIX_N_D, WITHOUT_EMBEDDINGS) else [convention]
    wide = replace(given, inputs=(*given.inputs, *column))
    series = [each for each in grouped(sized(records, convention), wide, by, registry) if each.n]
    if not series:
        raise UsageError(f"no run has {', '.join(wide.inputs)} and {given.response}; map them: --map {PARAMS}=COLUMN")
    if len(series) > MOST:
        raise UsageError(f"{len(series):,} series, and optima of at most {MOST} are searched; keep some: --where EXPR, "
                         "or name other columns that tell series apart: --by COLUMN")
    return tuple(_sweep(points, given, flops, convention, constraints, inference_tokens, registry)
                 for points in series)


def _sweep(points: Points, law: Law, budgets: Sequence[float], convention: str, constraints: Sequence[Constraint],
           inference_tokens: float, registry: Registry) -> Sweep:
    if (bad := refusal(points, least=1, what="runs")) is not None:
        raise UsageError(f"{points.label}: {bad[1]}")
    cost, flops = counted(convention, points, inference_tokens)
    if wrong := [each for each in budgets if not 0 < each < float("inf")]:  # overflown runs: `counted` refuses those
        raise UsageError(f"--flops takes positive numbers such as 1e21, not {wrong[0]:g}")
    points = replace(points, inputs={name: points.inputs[name] for name in law.inputs})
    params, loss = points.inputs[PARAMS], points.response
    swept, front = isoflops(params, loss, flops), frontier(flops, loss)
    by_law = _Surface(points, law, cost, constraints, registry)
    given = points, cost, constraints, registry
    by_envelope, by_minima = _Lowest.envelope(front, flops, *given), _Lowest.isoflop(swept, *given)
    made: list[Optimum] = []
    notes = [*_of_cost(cost), *_of_runs(points)]
    for budget in budgets:
        ends = allowed(cost, budget, constraints, float(params.min()), float(params.max()))
        three = [by_envelope.at(budget), by_minima.at(budget), by_law.at(budget, ends)]
        made += [_far(each, budget, flops) for each in three]
        notes += disagreements(three, budget)
    return Sweep(series=points.label, runs=points.n, cost=cost, law=law.name, isoflops=swept, frontier=tuple(front),
                 optima=tuple(made), notes=tuple(dict.fromkeys((*notes, *_of_sweeps(swept)))), params=params,
                 flops=flops, response=loss)


def frontier(flops: Array, loss: Array) -> list[int]:
    """Rows of the runs that no run of as little compute beats, by rising compute: the lower envelope."""
    order = np.lexsort([loss, np.round(np.log(flops), 6)])  # equal budgets differ by rounding
    least = np.minimum.accumulate(np.append(np.inf, loss[order]))[:-1]
    return [int(row) for row in order[loss[order] < least]]


def half_step(params: Array, flops: Array) -> float:
    """Half the median step, in logarithms, between neighbouring sizes of runs of one budget; 0 without two of them."""
    steps = [np.diff(np.unique(np.log(params[rows]))) for rows in by_budget(flops)]
    return float(np.median(np.concatenate(steps))) / 2 if any(each.size for each in steps) else 0.0


def _of_cost(cost: Cost) -> Iterator[str]:
    if cost.scatter > SPREAD:
        yield Reason("{column} scatters by a factor of {scatter:.2f} about {form}, by which budgets are spent",
                     column=cost.convention, scatter=cost.scatter, form=cost.form)


def _of_runs(points: Points) -> Iterator[str]:
    if points.left_out:
        yield Reason("left out: {what}", what=points.left_out)


def _of_sweeps(swept: Isoflops) -> Iterator[str]:
    """What is known to bias the minima of parabolas: sweeps that are not symmetric, or off their minimum."""
    minima = swept.minima
    if swept.degree == 3 and minima:
        shifts = [np.log(each.parabola / each.params) for each in minima if each.parabola and each.params]
        yield Reason("isoFLOP sweeps are not symmetric (cubic term, p = {p:.2g}), so cubics are fitted: plain "
                     "parabolas would put the best params {factor:.2f} times as high", p=swept.p_value or 0.0,
                     factor=float(np.exp(np.mean(shifts))))
    off = [each for each in minima if each.place is not None and not 0.25 <= each.place <= 0.75]
    if off:
        yield Reason("{n} of {all} isoFLOP sweeps have their minimum in an outer quarter of their sizes, where it is "
                     "biased; add sizes on the other side", n=len(off), all=len(minima))
    reasons: dict[str, list[str]] = {}
    for each in swept.budgets:
        if each.reason and each.n >= LEAST:
            reasons.setdefault(each.reason, []).append(f"{each.flops:.3g}")
    for reason, left_out in reasons.items():
        yield Reason("isoFLOP sweeps left out, {reason}: {budgets} FLOPs", reason=reason, budgets=tuple(left_out))


def disagreements(three: Sequence[Optimum], budget: float) -> Iterator[str]:
    """A line for every two approaches whose best sizes differ by more than both intervals explain."""
    for one, other in combinations(three, 2):
        small, large = sorted((one, other), key=lambda each: each.params or 0.0)
        if not small.params or not large.params or small.params_high is None or large.params_low is None:
            continue
        reach = np.hypot(np.log(small.params_high / small.params), np.log(large.params / large.params_low))
        if np.log(large.params / small.params) > reach:
            yield Reason("at {flops:.3g} FLOPs {large} says {high:.3g} params and {small} {low:.3g}: further apart "
                         "than their intervals explain", flops=budget, large=large.approach, high=large.params,
                         small=small.approach, low=small.params)


def _far(each: Optimum, budget: float, flops: Array) -> Optimum:
    """The optimum with its distance from the runs, and a warning where it is far."""
    distance = float(budget / flops.max())
    warnings = list(each.warnings)
    if each.params is not None and distance > FAR:
        warnings.append(far_out("flops", distance))
    elif each.params is not None and budget < flops.min():
        warnings.append(Reason("below the smallest budget that was run, {smallest:.3g} FLOPs",
                               smallest=float(flops.min())))
    return replace(each, distance=distance, warnings=tuple(dict.fromkeys(warnings)))


def _sizes(cost: Cost, budget: float, best: float, low: float | None, high: float | None) -> dict[str, Any]:
    """Params, tokens and their ratio with intervals, of log N; larger models get fewer tokens."""
    def n(u: float | None) -> float | None:
        return None if u is None or not np.isfinite(u) else float(np.exp(u))

    def d(u: float | None) -> float | None:
        return None if (size := n(u)) is None else max(float(cost.tokens(budget, size)), 0.0)

    def ratio(u: float | None) -> float | None:
        size, tokens = n(u), d(u)
        return None if size is None or tokens is None else tokens / size

    return {"params": n(best), "params_low": n(low), "params_high": n(high), "train_tokens": d(best),
            "train_tokens_low": d(high), "train_tokens_high": d(low), "tokens_per_param": ratio(best),
            "tokens_per_param_low": ratio(high), "tokens_per_param_high": ratio(low)}


class _Lowest:
    """An approach that takes the lowest losses only: best sizes by a line in logarithms, the loss by a law of FLOPs."""

    def __init__(self, approach: str, points: Points, cost: Cost, constraints: Sequence[Constraint],
                 registry: Registry) -> None:
        self.approach, self.points, self.cost, self.constraints = approach, points, cost, constraints
        self.law = registry.items(Law).get(OF_BUDGETS)
        self.registry = registry
        self.lack = ""
        self.step = 0.0
        """Logarithm of what best sizes are known to within, where they are those of runs."""

    @classmethod
    def envelope(cls, front: Sequence[int], flops: Array, *given: Any) -> _Lowest:
        """Approach 1: the runs on the lower envelope."""
        made, rows = cls(ENVELOPE, *given), list(front)
        if len(rows) < BUDGETS:
            made.lack = Reason("{n} runs on the envelope, needs {least}; add budgets", n=len(rows), least=BUDGETS)
        elif (reason := unvaried(made.points)) is not None:
            made.lack = reason
        elif (along := ray(made.points)) is not None:
            made.lack = Reason("{relation} in all runs; vary one", relation=along.words)
        made.step = half_step(made.points.inputs[PARAMS], flops)
        return made._of(flops[rows], made.points.inputs[PARAMS][rows], made.points.response[rows], None, 0, 0.0)

    @classmethod
    def isoflop(cls, swept: Isoflops, *given: Any) -> _Lowest:
        """Approach 2: the minima of the budgets."""
        made, minima = cls(ISOFLOP, *given), swept.minima
        if len(minima) < BUDGETS:
            made.lack = Reason(
                "{n} budgets have a minimum between their sizes, needs {least}; a budget needs four sizes",
                n=len(minima), least=BUDGETS)
        flops, params, loss, error = (np.array([getattr(each, name) for each in minima], dtype=float)
                                      for name in ("flops", "params", "loss", "error"))
        return made._of(flops, params, loss, error, swept.dof, swept.sigma)

    def _of(self, flops: Array, params: Array, loss: Array, error: Array | None, dof: int, sigma: float) -> _Lowest:
        """Fits the line and the law, once for all budgets."""
        if self.cost.inference_tokens and not self.lack:
            self.lack = Reason("runs at their best for training say nothing of tokens served; see the surface")
        if not self.lack and np.ptp(flops) == 0:
            self.lack = Reason("all runs have one budget; add another")
        if self.lack:
            return self
        self.line, self.dof, self.sigma = line(np.log(flops), np.log(params), error, dof), dof, sigma
        if self.law is not None:
            self.law = on_axes(self.law, "flops", self.points.name)
            order = np.argsort(flops, kind="stable")
            lowest = Points(inputs={"flops": flops[order]}, response=loss[order], name=self.points.name,
                            series=np.full(len(flops), self.points.label, dtype=object), declared=self.points.declared)
            self.fit = fit_points(self.law, lowest, {}, self.registry, intervals=False)[0]
            if self.fit.usable:
                self.fit = replace(self.fit, basis=for_intervals([solve_points(self.law, lowest)], lowest)[0])
        return self

    def at(self, budget: float) -> Optimum:
        """The optimum for the budget."""
        blank = Optimum(series=self.points.label, approach=self.approach, flops=budget, response=self.points.name,
                        reason=self.lack)
        if self.lack:
            return blank
        best, half = self.line.at(float(np.log(budget)))
        half = float(np.hypot(half, self.step))
        sizes = _sizes(self.cost, budget, best, best - half, best + half)
        broken = [str(each) for each in self.constraints if not each.allows(sizes[each.name])]
        if broken:
            return replace(blank, reason=Reason("its best size breaks {limits}, and beside it it knows no loss; see "
                                                "the surface", limits=" and ".join(broken)))
        return replace(blank, **sizes, **self._loss(budget))

    def _loss(self, budget: float) -> dict[str, Any]:
        if self.law is None:
            return {"reason": Reason("no loss, as law '{law}' is not installed", law=OF_BUDGETS)}
        (made,) = predict_each(self.law, [(self.fit, {"flops": budget})])
        ends = {"run_low": made.run_low, "run_high": made.run_high}
        if self.sigma and made.value and made.mean_low and made.mean_high:  # minima scatter less than runs
            t = t_quantile(self.dof) * self.sigma
            ends = {"run_low": made.value * np.exp(-np.hypot(np.log(made.value / made.mean_low), t)),
                    "run_high": made.value * np.exp(np.hypot(np.log(made.mean_high / made.value), t))}
        return {"value": made.value, "mean_low": made.mean_low, "mean_high": made.mean_high, **ends,
                "reason": made.reason}


class _Surface:
    """Approach 3: the law of both sizes, fitted once, and its minimum along each budget."""

    def __init__(self, points: Points, law: Law, cost: Cost, constraints: Sequence[Constraint], registry: Registry
                 ) -> None:
        self.points, self.law, self.cost, self.constraints = points, law, cost, constraints
        self.fit: Fit = fit_points(law, points, {}, registry, intervals=False)[0]
        self.held, self.factor = None, 1.0
        if self.fit.usable:
            (held,) = for_intervals([solve_points(law, points)], points)
            self.factor = float(stretch([held], points)[0]) if held.variance.value is not None else 1.0
            self.held = replace(held, stretch=self.factor)
            self.fit = replace(self.fit, basis=self.held)

    def at(self, budget: float, ends: tuple[float, float]) -> Optimum:
        """The optimum for the budget between these log N."""
        blank = Optimum(series=self.points.label, approach=SURFACE, flops=budget, response=self.points.name,
                        reason=self.fit.reason)
        if self.held is None or self.fit.status == "not identifiable":
            return blank
        values: Mapping[str, Any] = {each.name: each.value for each in self.fit.estimates}

        def loss(n: Array, d: Array) -> Array:
            with np.errstate(all="ignore"):
                return np.asarray(self.law.function(params=n, train_tokens=d, **values), dtype=float)  # type: ignore[misc]

        sign = -1.0 if self.points.quantity(self.points.name).better == "higher" else 1.0
        best, edge = surfaces.minimum(lambda n, d: sign * loss(n, d), self.cost, budget, ends)
        bound = [str(each) for each in self.constraints
                 if edge and np.isclose(np.log(each.value), np.log(self._size(each.name, budget, best)), atol=1e-6)]
        if edge and not bound:
            return replace(blank, reason=Reason(
                "law '{law}' has no best size between {low:.3g} and {high:.3g} params; it gains from one size alone",
                law=self.law.name, low=float(np.exp(ends[0])), high=float(np.exp(ends[1]))))
        low = high = best
        if not edge and self.held.variance.value is not None:
            low, high = surfaces.limits(self.held, self.cost, budget, best, ends, factor=self.factor)
        sizes = _sizes(self.cost, budget, best, low, high)
        (there,) = predict_each(self.law, [(self.fit, {PARAMS: sizes["params"], TOKENS: sizes["train_tokens"]})])
        held_by = Reason("held at {limits}", limits=" and ".join(bound)) if bound else ""
        return replace(blank, **sizes, value=there.value, mean_low=there.mean_low, mean_high=there.mean_high,
                       run_low=there.run_low, run_high=there.run_high, reason=held_by or there.reason,
                       warnings=tuple(each for each in there.warnings if not _of_inputs(each)))

    def _size(self, name: str, budget: float, best: float) -> float:
        return float(np.exp(best)) if name == PARAMS else float(self.cost.tokens(budget, np.exp(best)))


def _of_inputs(warning: str) -> bool:
    """Whether a warning is of one input's distance or of the hull, which every larger budget is beyond."""
    return isinstance(warning, Reason) and ("hull" in warning.message or "fitted:" in warning.message)
