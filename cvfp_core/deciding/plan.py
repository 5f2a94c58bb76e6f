"""The next runs, one after another: each the one that shrinks the interval of a target most per FLOP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from cvfp_core.deciding.beliefs import Beliefs, of_average, of_laws
from cvfp_core.deciding.budgets import PARAMS, SIX_N_D, TOKENS, sized
from cvfp_core.deciding.candidates import SAME, Cells, Prices, box, from_run_file, in_box
from cvfp_core.deciding.comparison import arms_of
from cvfp_core.deciding.multiplier import ARM, shifted
from cvfp_core.deciding.targets import Target, target
from cvfp_core.errors import UsageError, suggestion
from cvfp_core.fitting import averages
from cvfp_core.fitting.auto import AUTO, candidates, predict_all
from cvfp_core.fitting.axes import on_axes
from cvfp_core.fitting.points import gather, refusal, unvaried, wrong_way
from cvfp_core.fitting.predict import FAR, Prediction, inside_hull
from cvfp_core.fitting.ray import ray
from cvfp_core.fitting.run import find, grouped
from cvfp_core.fitting.selection import Choice
from cvfp_core.registry import Registry
from cvfp_core.registry.kinds import Law
from cvfp_core.schema.fits import Array, Points, Reason
from cvfp_core.schema.plain import AsDict
from cvfp_core.schema.quantities import Quantity
from cvfp_core.schema.settings import Scalar

LEAST = 0.02
"""Share of the interval that a run must take away to be worth starting; of many runs what one of them is of all."""
APART = 4.0
"""Times the least and the largest ratio of two sizes, of runs and target, within which cells are offered unasked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned(AsDict):
    """A run to be made, and what is expected of the target's interval with it and those before it."""

    number: int
    """From 1."""
    inputs: Mapping[str, float]
    """Its sizes."""
    arm: str | None = None
    """Which of two arms, for their multiplier."""
    cell: Mapping[str, Scalar] = field(default_factory=dict)
    """As a run file lists it: `variant`, `samples`, `seed`; empty where it comes from no run file."""
    flops: float
    """Its cost."""
    total: float
    """Of it and those before it."""
    seconds: float | None = None
    """On this machine, in one process; none: not known."""
    expected: float | None = None
    """Of the response."""
    low: float | None = None
    """Lower end of the target's 95 % interval then; none while no law is trusted."""
    high: float | None = None
    """Upper end."""
    of_now: float | None = None
    """Its width, in the space of residuals, as a share of what it is now."""
    reason: str = ""
    """Why this run, where it is not for the interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(AsDict):
    """The next runs for one target, and what is known of it now."""

    series: str
    target: Target
    response: str
    inputs: tuple[str, ...]
    """Of the laws."""
    arms: tuple[str, ...] = ()
    """The two whose multiplier is the target."""
    runs: int
    """That it is made from."""
    budget: float
    cost: str
    """How FLOPs follow from sizes."""
    laws: Mapping[str, float]
    """What each law counts."""
    value: float | None = None
    """Of the target, now; none while no law is trusted."""
    low: float | None = None
    """Lower end of its 95 % interval."""
    high: float | None = None
    """Upper end."""
    steps: tuple[Planned, ...]
    notes: tuple[str, ...] = ()
    """Why it ends where it does, and what limits it."""
    points: Points = field(repr=False)
    written: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The run file that the cells come from."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        names = [name for name in self.__slots__ if name not in ("points", "written")]
        return {name: getattr(self, name) for name in names} | {
            "target": self.target.as_dict() | {"text": str(self.target)},
            "steps": [each.as_dict() for each in self.steps]}


def plan(records: pl.DataFrame, given: Mapping[str, float | str] | str, budget: float, *, registry: Registry,
         cells: Mapping[str, tuple[float, float]] | str | Path | None = None, laws: Sequence[str | Law] = (),
         x: str | None = None, y: str | None = None, by: Sequence[str] | None = None, arms: Sequence[str] = (),
         convention: str = SIX_N_D, choice: Choice | None = None) -> Plan:
    """The next runs for the target, at most as dear as the budget of FLOPs together.

    What a place is now, and how well that is known, is its forecast's; runs are chosen by what laws say together.

    given: sizes at which a law is wanted, `optimum:1e22`, or `multiplier` of the two arms that `by` tells apart. cells:
    ranges of sizes, or a run file; by default all between the smallest run and the target. laws: that are averaged; by
    default all of the target's sizes, of one size those that forecasts are made of. choice: as for `predict_all`.
    Raises UsageError, one line, for what cannot be planned.
    """
    if not 0 < budget < float("inf"):
        raise UsageError(f"--budget takes FLOPs, a positive number such as 1e20, not {budget:g}")
    known = [name for name in (given if isinstance(given, Mapping) else ()) if name in records.columns
             and records.schema[name].is_numeric()]
    aim = target(given, dict(zip(known, records.select(pl.col(known).cast(float).max()).row(0), strict=True))
                 if known else {})
    names = aim.names(x or TOKENS)
    if x is not None and x not in names:
        raise UsageError(f"--x {x}: the target is of {', '.join(names)}; leave --x out")
    if names == ("flops",) and convention == SIX_N_D:
        convention = "flops"
    if arms and aim.kind != "multiplier":
        raise UsageError(f"--arm {arms[0]}: arms are those of --target multiplier, and the target is {aim}; leave "
                         "--arm out")
    averaged = _laws(aim, names, laws, y, registry)
    path = Path(cells) if isinstance(cells, Path) or (isinstance(cells, str) and "=" not in cells) else None
    priced = path is None or aim.kind == "optimum"
    columns = [name for name in (Prices.needs(convention) if priced else ()) if name not in names]
    counted = _sized(records, convention, names) if priced else records
    found, told = _points(aim, counted, averaged[0], columns, by, arms, registry)
    points = replace(found, inputs={name: found.inputs[name] for name in averaged[0].inputs})
    _refuse(points, aim)
    prices = Prices.of(convention, found) if priced else None
    if path is not None:
        if told and [*(by or ())] != ["variant"]:
            raise UsageError(f"--cells {path}: what tells arms of a run file apart is their variant, not "
                             f"{', '.join(by or ())}; give --by variant, or ranges: --cells {names[0]}=LOW..HIGH")
        own = records.filter(status="ok")["variant"].drop_nulls().unique().to_list()
        offered = from_run_file(path, records, averaged[0].inputs, registry=registry,
                                variants=told or (own if len(points.inputs) == 1 else None))
    else:
        assert prices is not None
        sides = box(cells) if isinstance(cells, str) else cells if isinstance(cells, Mapping) else None
        offered = _boxed(aim, names, sides, points, prices, told)
        offered = offered.take(_new(offered, points))
        if not len(offered):
            raise UsageError("every cell has its run already; offer others: --cells NAME=LOW..HIGH, or a run file")
    made = planned(points, averaged, aim, offered, budget, registry=registry, prices=prices, arms=told)
    if aim.kind == "place" and made.value is not None:
        curve = len(names) == 1 and not laws
        if not curve and len(averaged) > 1:
            made = replace(made, notes=(*made.notes, Reason(
                "laws are averaged here: `cvfp predict` takes the one that is chosen, so its number differs")))
        else:
            forecast = predict_all(records, aim.inputs, AUTO if curve else averaged[0], by=by, choice=choice,
                                   x=names[0] if curve else None, y=y if curve else None, registry=registry)
            now = next(each for each in forecast.predictions if each.series == made.series)
            made = _as_forecast(made, now, log=averaged[0].space == "log")
    if path is not None or records["phases"].is_null().all():
        return made
    return replace(made, notes=(*made.notes, Reason(
        "these are runs of the protocol: with --cells RUN.toml the next ones are cells that `cvfp run` takes, at the "
        "cost that it counts")))


def _as_forecast(made: Plan, now: Prediction, *, log: bool) -> Plan:
    """The plan with what the forecast says of the target, which becomes as much narrower as laws together have it."""
    if now.value is None or now.mean_low is None or now.mean_high is None:
        return replace(made, notes=(*made.notes, Reason(
            "`cvfp predict` gives no interval ({why}); the one here is to first order", why=now.reason or "no limit")))
    to, back = (np.log, np.exp) if log and now.mean_low > 0 else (float, float)
    centre, low, high = (to(end) for end in (now.value, now.mean_low, now.mean_high))

    def within(share: float | None) -> dict[str, float]:
        width = 1.0 if share is None else share
        ends = {"low": centre - width * (centre - low), "high": centre + width * (high - centre)}
        return {name: float(back(end)) for name, end in ends.items()}

    return replace(made, value=now.value, **within(1.0),  # type: ignore[arg-type]
                   steps=tuple(replace(each, **within(each.of_now)) for each in made.steps))  # type: ignore[arg-type]


def _refuse(points: Points, aim: Target) -> None:
    """Raises UsageError for points that no law fits, however many are added, and for a target among them."""
    if (bad := refusal(points, least=1)) is not None and (points.n == 0 or bad[0] == "bad data"):
        raise UsageError(bad[1])
    if len(points.inputs) == 1 and len(points.sizes) > 1 and (wrong := wrong_way(points)) is not None:
        raise UsageError(wrong[1])
    if aim.kind == "place" and points.n > len(points.inputs) and inside_hull(points, aim.inputs):
        spans = ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in points.ranges.items())
        raise UsageError(f"--target {aim}: lies inside the runs ({spans}), where more runs are no plan; `cvfp predict` "
                         "says what is there, or name a target beyond them")


def planned(points: Points, laws: Sequence[Law], aim: Target, cells: Cells, budget: float, *, registry: Registry,
            prices: Prices | None = None, arms: tuple[str, ...] = (), least: float | None = None) -> Plan:
    """The plan for points of one series, from the cells offered; see `plan`."""
    if cells.flops.min() > budget:
        raise UsageError(f"--budget {budget:.6g} is below the cheapest cell, {cells.flops.min():.3g} FLOPs; raise it, "
                         "or offer smaller cells: --cells")
    blank = Plan(series=points.label, target=aim, response=points.name, arms=arms, runs=points.n, budget=budget,
                 inputs=tuple(name for name in points.inputs if name != ARM), points=points, laws={}, steps=(),
                 written=cells.written,
                 cost=prices.form if prices and not cells.listed else "as `cvfp run --dry-run` counts them, at most")
    notes = [*([Reason("left out: {what}", what=points.left_out)] if points.left_out else []), *points.caveats,
             *([points.caution] if points.caution else []), *_of_target(aim, prices, budget)]
    why = untrusted(points, laws)
    beliefs = None if why is not None else _beliefs(points, laws, aim, cells, prices, registry)
    if why is None and beliefs is None:
        why = Reason("no law that was fitted says anything of {target}", target=str(aim))
    if beliefs is None:
        chosen = list(_filling(points, laws, cells, budget))
        steps = _told(chosen, cells, None, arms, [each for each in cells.inputs if each != ARM])
        notes.insert(0, Reason("no law is trusted yet: {why}; these runs fill space until one is: make them, then plan "
                               "again", why=why or ""))
        return replace(blank, steps=steps, notes=tuple(notes))
    least = min(LEAST, 1 / points.n) if least is None else least
    order, states = [], [beliefs]
    for index, state in _narrowing(beliefs, cells.flops, budget, least):
        order.append(index)
        states.append(state)
    left = budget - float(cells.flops[order].sum())
    notes.append(_end(left, cells.flops[np.setdiff1d(np.arange(len(cells)), order)], least))
    if len(beliefs.weights) == 1:
        notes.append(Reason("one law only, {law}: what it would be by another is in no interval",
                            law=next(iter(beliefs.weights))))
    value, low, high = _ends(beliefs, aim)
    return replace(blank, laws=beliefs.weights, value=value, low=low, high=high, notes=tuple(notes),
                   steps=_told(order, cells, states, arms, blank.inputs, aim))


def untrusted(points: Points, laws: Sequence[Law]) -> str | None:
    """Why no law says anything of a target beyond the points: for the richest there are too few, or they lie on a line.

    Only the points' sizes count.
    """
    least = max(max(len(law.parameters) + 1, law.least_points) for law in laws)
    if len(points.inputs) > 1 and points.n < least:
        return Reason("{n} runs, needs {least}", n=points.n, least=least)
    if len(points.inputs) == 1 or ARM in points.inputs:
        least -= ARM in points.inputs  # whose offset is no matter of sizes
        return None if len(points.sizes) >= least else Reason("{n} sizes, needs {least}", n=len(points.sizes),
                                                              least=least)
    if (reason := unvaried(points)) is not None:
        return reason
    line = ray(points)
    return None if line is None else Reason("{relation} in all runs; vary one", relation=line.words)


def _narrowing(beliefs: Beliefs, flops: Array, budget: float, least: float) -> Iterator[tuple[int, Beliefs]]:
    """Cells and what is believed with them, each the one that narrows the interval most per FLOP.

    By how much is told by 1 / width^2, which adds up over independent runs: a share of the width would call for many
    cheap runs first, that one dear run makes superfluous.
    """
    free = np.ones(len(flops), dtype=bool)
    while (variance := float(beliefs.covariance[-1, -1])) > 0:
        now, rest = beliefs.half(), np.sqrt(np.maximum(1 - beliefs.gains() / variance, 1e-12))
        then = beliefs.half(1) * rest
        able = free & (flops <= budget) & (then <= (1 - least) * now)
        if not able.any():
            return
        best = int(np.argmax(np.where(able, (then**-2.0 - now**-2.0) / flops, -np.inf)))
        free[best], budget, beliefs = False, budget - float(flops[best]), beliefs.after(best)
        yield best, beliefs


def _filling(points: Points, laws: Sequence[Law], cells: Cells, budget: float) -> Iterator[int]:
    """Cells until a law can be trusted: those that suffice at once before others, the farthest from all runs first.

    From the cheaper half of what can be paid: what a law needs first is not the dearest.
    """
    free, design = np.ones(len(cells), dtype=bool), points
    names = list(points.inputs)
    places = _places(cells.inputs, names)
    span = np.maximum(np.ptp(places, axis=0), 1e-9)
    while untrusted(design, laws) is not None:
        able = np.flatnonzero(free & (cells.flops <= budget))
        if not len(able):
            return
        mending = [index for index in able if untrusted(_with(design, cells, int(index)), laws) is None]
        able = np.array(mending) if mending else able
        away = np.linalg.norm((places[able, None] - _places(design.inputs, names)) / span, axis=2).min(axis=1)
        new = away > SAME if (away > SAME).any() else np.ones(len(able), dtype=bool)
        cheap = cells.flops[able] <= np.median(np.unique(cells.flops[able][new]))
        best = int(able[np.argmax(np.where(new & cheap, away, -1.0))])
        free[best], budget, design = False, budget - float(cells.flops[best]), _with(design, cells, best)
        yield best


def _places(inputs: Mapping[str, Array], names: Sequence[str]) -> Array:
    """(n, names) logarithms of sizes."""
    return np.stack([inputs[name] if name == ARM else np.log(inputs[name]) for name in names], axis=1)


def _with(points: Points, cells: Cells, index: int) -> Points:
    """The points with one more, whose response is not known."""
    inputs = {name: np.append(values, cells.inputs[name][index]) for name, values in points.inputs.items()}
    return replace(points, inputs=inputs, response=np.append(points.response, np.nan),
                   series=np.append(points.series, points.label))


def _new(cells: Cells, points: Points) -> Array:
    """(m,) which cells are not made yet."""
    names = list(points.inputs)
    apart = np.abs(_places(cells.inputs, names)[:, None] - _places(points.inputs, names)).max(axis=2)
    return np.asarray((apart > SAME).all(axis=1))


def _laws(aim: Target, names: Sequence[str], given: Sequence[str | Law], y: str | None, registry: Registry
          ) -> list[Law]:
    """The laws that are averaged. Raises UsageError for those of other inputs."""
    (first, *_), curve = names, len(names) == 1
    if given:
        laws = [on_axes(find(law, registry), first if curve else None, y) for law in given]
        if wrong := [law for law in laws if {*law.inputs} != {*names} or law.function is None]:
            raise UsageError(f"the target is of {', '.join(names)}; law '{wrong[0].name}' is a function of "
                             f"{', '.join(wrong[0].inputs)}; see `cvfp laws`")
    elif curve:
        every = candidates(registry, x=first, y=y)
        own = [law for law in every if law.response == every[0].response]
        scales = averages.scales_of(own, registry.quantity)
        laws = [law for law in own if averages.carried([scale.law for scale in scales], law)] or own
    else:
        every = [law for law in registry.items(Law).values() if {*law.inputs} == {*names} and law.function is not None]
        laws = [on_axes(find(law, registry), None, y) for law in every]
        laws = [law for law in laws if law.response == laws[0].response and law.space == laws[0].space]
        if not laws:
            known = sorted({name for law in registry.items(Law).values() for name in law.inputs})
            near = next((suggestion(name, known) for name in names if name not in known), "")
            raise UsageError(f"no law that is installed is of {', '.join(names)}{near}; see `cvfp laws`, or name the "
                             "sizes of one")
    if aim.kind == "multiplier":
        laws = [shifted(law) for law in laws]
    return laws


def _sized(records: pl.DataFrame, convention: str, names: Sequence[str]) -> pl.DataFrame:
    """The records with sizes as the convention counts them. Raises UsageError where runs do not say what they cost."""
    if {PARAMS, TOKENS} <= {*names} or convention != SIX_N_D:
        return sized(records, convention)
    if missing := [name for name in (PARAMS, TOKENS) if name not in records.columns or records[name].is_null().all()]:
        raise UsageError(f"what a run costs is not known, as no run has {' or '.join(missing)}; name a column of "
                         f"FLOPs, --convention COLUMN, or map one: --map {missing[0]}=EXPR")
    return records


def _points(aim: Target, records: pl.DataFrame, law: Law, columns: Sequence[str], by: Sequence[str] | None,
            names: Sequence[str], registry: Registry) -> tuple[Points, tuple[str, ...]]:
    """The runs of one series with further columns, and the names of the arms where there are two."""
    inputs = tuple(name for name in law.inputs if name != ARM)
    if aim.kind == "multiplier":
        if not by:
            raise UsageError("a multiplier is of two arms; say which column tells them apart: --by COLUMN")
        two = arms_of(records, by, names)
        if len(two) != 2:
            remedy = "pick two: --arm NAME --arm NAME" if len(two) > 2 else "run another"
            raise UsageError(f"a multiplier is of two arms, and by {', '.join(by)} there are {len(two)}: "
                             f"{', '.join(two) or 'none'}; {remedy}")
        each = [gather(runs, (*inputs, *columns), law.response, by, registry.items(Quantity)) for runs in two.values()]
        if bare := [name for name, own in zip(two, each, strict=True) if not own.n]:
            raise UsageError(f"arm '{bare[0]}' has no finished run with {inputs[0]} and {law.response}")
        left, right = each
        both = left.followed_by(right)
        return replace(
            both, inputs={**both.inputs, ARM: np.repeat([0.0, 1.0], [left.n, right.n])},
            series=np.full(both.n, " and ".join(two), dtype=object),
        ), tuple(two)
    wide = replace(law, inputs=(*inputs, *columns))
    series = [points for points in grouped(records, wide, by, registry) if points.n]
    if not series:
        raise UsageError(f"no finished run has {', '.join(wide.inputs)} and {law.response}; map them: "
                         f"--map {inputs[0]}=COLUMN")
    if len(series) > 1:
        named = ", ".join(points.label for points in series[:5])
        raise UsageError(f"{len(series)} series ({named}{', ...' if len(series) > 5 else ''}): runs are planned for "
                         "one; keep one with --where, such as --where \"variant == 'NAME'\"")
    return series[0], ()


def _boxed(aim: Target, names: Sequence[str], sides: Mapping[str, tuple[float, float]] | None, points: Points,
           prices: Prices, arms: Sequence[str]) -> Cells:
    """The cells of a box; by default from the smallest run to the target, or to ten times the largest run.

    By default without those whose sizes stand in a ratio far from those of the runs and the target.
    """
    asked = sides is not None
    if sides is None:
        beyond = FAR if aim.kind == "optimum" else 1.0
        ends = {name: (low, aim.inputs.get(name, beyond * high)) for name, (low, high) in points.ranges.items()
                if name != ARM}
        sides = {name: (min(pair), max(pair)) for name, pair in ends.items()}
    inputs = in_box(sides, names)
    for one, other in combinations(names, 2) if not asked else ():
        known = np.log(np.append(points.inputs[other] / points.inputs[one],
                                 [aim.inputs[other] / aim.inputs[one]] if aim.inputs else []))
        ratio = np.log(inputs[other] / inputs[one])
        near = (ratio >= known.min() - np.log(APART)) & (ratio <= known.max() + np.log(APART))
        inputs = {name: values[near] for name, values in inputs.items()}
    if arms:
        inputs = {name: np.tile(values, len(arms)) for name, values in inputs.items()} | {
            ARM: np.repeat([0.0, 1.0], len(next(iter(inputs.values()))))}
    return Cells(inputs=inputs, flops=prices.flops(inputs))


def _beliefs(points: Points, laws: Sequence[Law], aim: Target, cells: Cells, prices: Prices | None, registry: Registry
             ) -> Beliefs | None:
    if aim.kind == "place" and len(points.inputs) == 1 and len(laws) > 1:
        scales = averages.scales_of(candidates(registry, x=laws[0].inputs[0], y=points.name), registry.quantity)
        if averages.able(points, scales) and all(averages.carried([each.law for each in scales], law) for law in laws):
            return of_average(points, scales, next(iter(cells.inputs.values())), aim)
    return of_laws(laws, points, cells.inputs, aim, prices.cost if prices else None)


def _ends(beliefs: Beliefs, aim: Target) -> tuple[float, float, float]:
    """The target with its interval."""
    value, half = float(beliefs.centre[-1]), beliefs.half()
    back = np.exp if beliefs.log or aim.kind != "place" else float
    with np.errstate(over="ignore"):
        return float(back(value)), float(back(value - half)), float(back(value + half))


def _told(order: Sequence[int], cells: Cells, states: Sequence[Beliefs] | None, arms: Sequence[str],
          names: Sequence[str], aim: Target | None = None) -> tuple[Planned, ...]:
    """The runs in their order. states: what is believed before the first and after each; None: nothing is."""
    made, total = [], 0.0
    for number, index in enumerate(order, start=1):
        total += float(cells.flops[index])
        step = Planned(
            number=number, flops=float(cells.flops[index]), total=total,
            inputs={name: float(cells.inputs[name][index]) for name in names},
            arm=arms[int(cells.inputs[ARM][index])] if arms else None,
            cell=cells.listed[index] if cells.listed else {},
            seconds=None if cells.seconds is None else float(cells.seconds[index]))
        if states is None or aim is None:
            made.append(replace(step, reason=Reason("fills space")))
            continue
        first, state = states[0], states[number]
        _, low, high = _ends(state, aim)
        expected = float(first.centre[index])
        made.append(replace(step, low=low, high=high, expected=float(np.exp(expected)) if first.log else expected,
                            of_now=state.half() / first.half() if first.half() > 0 else None))
    return tuple(made)


def _of_target(aim: Target, prices: Prices | None, budget: float) -> Iterator[str]:
    """Whether the target could be run itself."""
    if aim.kind != "place" or prices is None:
        return
    own = float(prices.flops({name: np.array([value]) for name, value in aim.inputs.items()})[0])
    if own <= budget:
        yield Reason("the target itself costs {flops:.3g} FLOPs, which the budget pays: a run there says more than any "
                     "interval", flops=own)


def _end(left: float, others: Array, least: float) -> str:
    """Why there is no further run."""
    if not len(others):
        return Reason("ends as every cell is planned; {left:.3g} FLOPs are left", left=left)
    if others.min() > left:
        return Reason("ends as the cheapest cell that is left costs {flops:.3g} FLOPs, and {left:.3g} are left",
                      flops=float(others.min()), left=left)
    return Reason("ends as no run within the {left:.3g} FLOPs left narrows the interval by {least:.1%}",
                  left=left, least=least)
