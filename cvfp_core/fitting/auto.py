"""Predictions for all series of some records, with the law given or chosen from what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from operator import itemgetter
from typing import Any

import numpy as np
import polars as pl

from cvfp_core.errors import UsageError, suggestion
from cvfp_core.fitting import averages
from cvfp_core.fitting.averages import ENOUGH, Average
from cvfp_core.fitting.axes import filled, on_axes
from cvfp_core.fitting.curve_fit import in_space, root_weights
from cvfp_core.fitting.points import MOST, by_group, place
from cvfp_core.fitting.predict import Prediction, predict_each, stretched
from cvfp_core.fitting.run import blame, check_options, find, fit_each, grouped, option_values
from cvfp_core.fitting.scales import back, on_scale, scales
from cvfp_core.fitting.selection import Choice, Key, choose, key, walked, widening
from cvfp_core.registry import Registry, culprits, installed
from cvfp_core.registry.kinds import Law
from cvfp_core.schema import series
from cvfp_core.schema.fits import Fit, Points, Reason
from cvfp_core.schema.plain import AsDict
from cvfp_core.schema.quantities import Quantity
from cvfp_core.schema.settings import Scalar

AUTO = "auto"
FEWER = 200
"""Runs of a series that a curve is chosen and averaged by; see `points.MOST`."""
TRIED = 2_500
"""Runs that a law is chosen from; where series have more, from some of the series, spread evenly."""
ENDS = ("mean_low", "mean_high", "run_low", "run_high")
At = float | str | Mapping[str, Any]
"""Where to predict: training tokens, or by input one value or several; `10x` is ten times a series' largest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast(AsDict):
    """A prediction for each series at each point, and the choice of law they share; None if the law was given."""

    choice: Choice | None
    predictions: tuple[Prediction, ...]


def predict_all(
    records: pl.DataFrame,
    at: At,
    law: str | Law | Any = AUTO,
    *,
    by: Sequence[str] | None = None,
    x: str | None = None,
    y: str | None = None,
    along: str | None = None,
    options: Mapping[str, Scalar | None] | None = None,
    prior: bool = True,
    pool: bool = True,
    choice: Choice | None = None,
    intervals: bool = True,
    registry: Registry | None = None,
) -> Forecast:
    """What each series will be at these inputs, at every combination of their values.

    law: a law's name, a law, an lmfit model, several of these to choose from, or `auto`: the series are taken to share
    a form, chosen from all their points, controls apart. x, y: as for `fit_all`. along: the input that the back-test
    walks along; given, a single law is back-tested too. prior, pool: for `auto`, whether exponents of published laws
    count and whether series tell of each other. choice: what `choose_law` says of the same records, for `auto`, where
    it is known already. intervals: False where values alone are wanted, which is faster; those there are, are not
    widened by the back-test.
    Raises UsageError for an input that the law needs and is not given, or that it does not have.
    """
    registry = registry or installed()
    if isinstance(law, str) and law == AUTO:
        check_options([], options)
        laws = candidates(registry, x=x, y=y)
        places = _places(at, laws[0], registry)
        every = grouped(records, laws[0], by, registry, most=FEWER)
        studied = grouped(series.without_controls(records), laws[0], by, registry, most=FEWER)
        choice = choice or choose_law(records, by=by, x=x, y=y, along=along, registry=registry)
        return _automatic(every, choice, laws, places, registry, telling=_tellers(every, studied, laws), prior=prior,
                          pool=pool, intervals=intervals)
    named = [find(each, registry) for each in (law if isinstance(law, list | tuple) else [law])]
    for each in named:
        if not each.predicts:
            able = [name for name, other in registry.items(Law).items() if other.predicts]
            raise UsageError(f"law '{each.name}' does not predict; those that do: {AUTO}, {', '.join(able)}")
    check_options(named, options)
    values = {each.name: option_values(each, options) for each in named}
    laws = [on_axes(filled(each, values[each.name]), x, y) for each in named]
    places = _places(at, laws[0], registry)
    choice = None if len(laws) == 1 and along is None else \
        choose_law(records, by=by, along=along, laws=laws, registry=registry)
    given = laws[0] if choice is None else next(each for each in laws if each.name == choice.law)
    fits = fit_each(given, grouped(records, given, by, registry), values[given.name], registry,
                    intervals=len(given.inputs) > 1)
    asked = [(fit, at) for own in fits for fit in own for at in _combined(places, fit.points)]
    return Forecast(choice=choice, predictions=tuple(_predict_each(given, asked, registry,
                                                                        intervals=intervals)))


def choose_law(records: pl.DataFrame, *, by: Sequence[str] | None = None, x: str | None = None, y: str | None = None,
               along: str | None = None, laws: Sequence[str | Law] | None = None,
               registry: Registry | None = None) -> Choice:
    """The law that `auto` takes: the series are taken to share a form, chosen from all their points, controls apart.

    laws: those to choose from, surfaces too; by default every curve that is installed.
    """
    registry = registry or installed()
    every = candidates(registry, x=x, y=y) if laws is None else [on_axes(find(law, registry), x, y) for law in laws]
    if len({each.inputs for each in every}) > 1:
        raise UsageError(f"laws of different inputs cannot be compared: {', '.join(each.name for each in every)}")
    groups = grouped(series.without_controls(records), every[0], by, registry,
                     most=FEWER if len(every[0].inputs) == 1 else MOST)
    if along is not None and walked({name: np.ones(1) for name in every[0].inputs}, along) is None:
        inputs = ", ".join(every[0].inputs)
        raise UsageError(f"--along {along}: the laws compared are functions of {inputs}, from which it does not follow")
    telling = _telling(groups, every)
    few = series.evenly(len(telling), max(2, TRIED * len(telling) // max(sum(each.n for each in telling), 1)))
    choice = choose(every, [telling[row] for row in few], along, registry.items(Quantity))
    return choice if len(few) == len(telling) else replace(choice, reason=f"{choice.reason} of {len(telling):,}")


def candidates(registry: Registry, *, x: str | None = None, y: str | None = None) -> list[Law]:
    """The laws `auto` chooses from: curves that need nothing given, for a response that is better in the same way.

    Each on every scale of the response, its own first.
    """
    asked = registry.quantity(y or "val_ppl")
    better = asked.better or "lower"
    laws = [find(law, registry) for law in registry.items(Law).values() if law.predicts and law.automatic
            and not law.options and law.scope == "series" and len(law.inputs) == 1]
    own = [law for law in laws if x is not None or law.inputs == ("train_tokens",)]
    able = [law for law in own if (registry.quantity(law.response).better or "lower") == better]
    if not able:
        raise UsageError(f"no law that is installed suits {y}; name one with --law")
    return [on_axes(law, x, scale) for scale in scales(asked) for law in able]


def _places(at: At, law: Law, registry: Registry) -> dict[str, list[Any]]:
    """The values asked for, by input. Raises UsageError for inputs the law lacks or needs, and for no number."""
    if not isinstance(at, Mapping):
        at = {law.inputs[0]: at} if law.inputs == ("train_tokens",) else {"train_tokens": at}
    strange = [name for name in at if name not in law.inputs]
    needs = ", ".join(law.inputs)
    if strange:
        raise UsageError(f"--at {strange[0]}: law '{law.name}' is a function of {needs}"
                         f"{suggestion(strange[0], law.inputs)}")
    missing = [name for name in law.inputs if name not in at]
    if missing:
        give = " and ".join(f"--at {name}=..." for name in missing)
        raise UsageError(f"law '{law.name}' is a function of {needs}; give {give}")
    several = {name: given if isinstance(given, Sequence | np.ndarray) and not isinstance(given, str) else [given]
               for name, given in at.items()}
    return {name: [_value(registry.quantity(name), each, zero=name in law.zero) for each in several[name]]
            for name in law.inputs}


def _value(quantity: Quantity, given: Any, *, zero: bool = False) -> float | str:
    """A number, or `10x` as it is. zero: whether a size may be 0."""
    if isinstance(given, str) and given.endswith("x"):
        _value(quantity, given[:-1])
        return given
    try:
        value = float(given)
    except (TypeError, ValueError):
        value = float("nan")
    positive = quantity.kind == "size"
    if not np.isfinite(value) or (positive and (value < 0 if zero else value <= 0)):
        name = quantity.name.replace("train_tokens", "tokens")
        raise UsageError(f"{name} must be a {'positive ' if positive else ''}number, or times the largest as in 10x, "
                         f"not {given}")
    return value


def _combined(places: Mapping[str, Sequence[Any]], points: Points | None) -> list[dict[str, float]]:
    """Every combination of the values, multiples of the series' largest filled in."""
    ranges = points.ranges if points is not None else {}
    filled_in = {name: [float(each[:-1]) * ranges.get(name, (0.0, float("nan")))[1] if isinstance(each, str) else each
                        for each in values] for name, values in places.items()}
    return [dict(zip(filled_in, values, strict=True)) for values in product(*filled_in.values())]


def _automatic(every: Sequence[Points], choice: Choice, laws: Sequence[Law], places: Mapping[str, Sequence[Any]],
               registry: Registry, *, telling: Sequence[bool], prior: bool, pool: bool,
               intervals: bool = True) -> Forecast:
    """Each series' prediction at every place, with the intervals of all that may carry them.

    A series with one run a size takes an average over a power law with and without a floor; if the law chosen is
    richer, together with its own. Others take those of the laws with a floor that are not ruled out.
    """
    said = {(each.law, each.scale): each.verdict for each in choice.candidates}
    laws = [law for law in laws if not said.get(key(law), "").startswith("failed")]
    own = [_own_law(points, choice, laws) for points in every]
    wide = averages.scales_of(laws, registry.quantity) if prior or (pool and sum(telling) >= ENOUGH) else []
    averaged = [law for law in laws if averages.carried([scale.law for scale in wide], law)]
    within = [law in averaged for law in own]
    if not intervals and not any(within):
        wide = []  # whose values are those of each series' own law
    able = [averages.able(points, wide) for points in every]
    carriers = [[law] * (law.floor is not None and not inside) if mean else [
        each for each in interval_laws(law, laws, points)
        if each.response == choice.scale or said.get(key(each)) != "ruled out"]
        for law, points, mean, inside in zip(own, every, able, within, strict=True)]
    carriers = carriers if intervals else [[] for _ in every]
    asked = [(row, at) for row, points in enumerate(every) for at in _combined(places, points)]
    told = _told(every, own, carriers, asked, registry)
    bare = [told[row, key(own[row]), tuple(at.values())] for row, at in asked]
    valued = dict.fromkeys(row for (row, _), each in zip(asked, bare, strict=True) if each.value is not None)
    rows = {row: index for index, row in enumerate(row for row in valued if able[row])}
    means = Average([every[row] for row in rows], wide, telling=[telling[row] for row in rows], prior=prior,
                    pool=pool) if rows else None
    found = means.ahead([(rows[row], at) for row, at in asked if row in rows]) if means else []
    stretch = dict(zip(rows, averages.widening([every[row] for row in rows], wide, prior=prior), strict=True)) \
        if intervals else dict.fromkeys(rows, 1.0)
    ends, names = iter(found), [law.name for law in averaged]
    made = []
    for (row, at), prediction in zip(asked, bare, strict=True):
        parts = [] if prediction.value is None else [
            (law, told[row, key(law), tuple(at.values())]) for law in carriers[row]]
        average = next(ends) if row in rows else None
        if prediction.value is None:
            made.append(prediction)
        elif average is not None:
            mean = averages.stated(prediction, average, stretch[row], every[row], own=not within[row])
            made.append(_joined(mean, [mean, *(part for _, part in parts)], [*(law.name for law, _ in parts), *names]))
        else:
            made.append(_carried(prediction, every[row], own[row], parts))
    return Forecast(choice=_with_weights(choice, means, averaged) if means and all(within) else choice,
                    predictions=tuple(made))


def _told(every: Sequence[Points], own: Sequence[Law], carriers: Sequence[Sequence[Law]],
          asked: Sequence[tuple[int, dict[str, float]]],
          registry: Registry) -> dict[tuple[int, Key, tuple[float, ...]], Prediction]:
    """What each series' own law and its carriers say at its places, of the response asked for; a law at a time.

    Intervals are those of carriers, stretched about the value of the series' own law until the back-test holds.
    """
    # a series is called by its row, a law by its name and scale
    pairs = {(row, key(law)): law for row, (first, more) in enumerate(zip(own, carriers, strict=True))
             for law in (first, *more)}
    bounded = {(row, key(law)) for row, more in enumerate(carriers) for law in more}

    def points_of(row: int, law: Law) -> Points:
        return on_scale(every[row], registry.quantity(law.response))

    def fitted(rows: list[tuple[int, Key]]) -> list[Fit]:
        law = pairs[rows[0]]
        return [fit for fit, *_ in fit_each(law, [points_of(row, law) for row, _ in rows], {}, registry,
                                            intervals=False)]

    def predicted(rows: list[tuple[int, Key, dict[str, float]]]) -> list[Prediction]:
        return _predict_each(pairs[rows[0][:2]], [(fits[row, name], at) for row, name, at in rows], registry,
                             intervals=rows[0][:2] in bounded)

    def widened(rows: list[tuple[int, Key]]) -> list[float]:
        law, alike = pairs[rows[0]], [points_of(row, pairs[row, name]) for row, name in rows]
        targets = np.stack([in_space(law, points.response) for points in alike])
        roots = np.stack([root_weights(points) for points in alike])
        return [float(factor) for factor in widening(law, alike[0].inputs, targets, roots)]

    fits = dict(zip(pairs, by_group(list(pairs), itemgetter(1), fitted), strict=True))
    wanted = [(row, name, at) for row, at in asked for name in dict.fromkeys(map(key, (own[row], *carriers[row])))]
    made = by_group(wanted, lambda each: (each[1], each[:2] in bounded), predicted)
    held = list(dict.fromkeys((row, name) for (row, name, _), each in zip(wanted, made, strict=True)
                              if each.value is not None and (row, name) in bounded))
    factors = dict(zip(held, by_group(held, lambda pair: (pair[1], place(every[pair[0]])), widened), strict=True))
    told: dict[tuple[int, Key, tuple[float, ...]], Prediction] = {}
    for (row, name, at), each in zip(wanted, made, strict=True):
        first, law = told.get((row, key(own[row]), tuple(at.values())), each), pairs[row, name]
        if (row, name) in factors and each.value is not None and first.value is not None:
            scale = registry.quantity(law.response)
            value = first.value if first is each else float(on_scale(
                replace(every[row], response=np.array([first.value])), scale).response[0])
            each = widen(each, value, factors[row, name], scale, log=law.space == "log")
        told[row, name, tuple(at.values())] = _turned(each, every[row], law.response)
    return told


def _turned(made: Prediction, points: Points, scale: str) -> Prediction:
    """The prediction of a law on a scale as one of the response of the points."""
    if scale == points.name or made.value is None:
        return replace(made, response=points.name)
    turn, least = back(points, scale), points.quantity(points.name).minimum

    def end(value: float | None) -> float | None:
        with np.errstate(all="ignore"):
            return None if value is None or not np.isfinite(turned := turn(value)) else float(turned)

    ends = {name: end(getattr(made, name)) for name in ("value", *ENDS)}
    for low, high in (("mean_low", "mean_high"), ("run_low", "run_high")):
        if ends[low] is None and ends[high] is not None:
            ends[low] = least
    return replace(made, response=points.name, **ends)  # type: ignore[arg-type]


def _with_weights(choice: Choice, means: Average, averaged: Sequence[Law]) -> Choice:
    """The choice with what each law counts in the forecasts."""
    shares = means.shares()
    weights = {key(law): shares[law.floor is None, law.response] for law in averaged}
    return replace(choice, candidates=tuple(replace(each, weight=weights.get((each.law, each.scale)))
                                            for each in choice.candidates))


def _own_law(points: Points, choice: Choice, laws: Sequence[Law]) -> Law:
    """The law chosen, or the simplest where the series has too few sizes for it."""
    law = next(law for law in laws if key(law) == (choice.law, choice.scale))
    if len(points.sizes) < law.least_points:
        return min((each for each in laws if each.response == choice.scale),
                   key=lambda each: (each.least_points, len(each.parameters)))
    return law


def _tellers(every: Sequence[Points], studied: Sequence[Points], laws: Sequence[Law]) -> list[bool]:
    """Which of the series tell of the others: those that the choice is made from, which controls and copies are not."""
    chosen = {(points.label, points.response.tobytes()) for points in _telling(studied, laws)}
    return [(points.label, points.response.tobytes()) in chosen for points in every]


def _telling(every: Sequence[Points], laws: Sequence[Law]) -> list[Points]:
    """The series that bear on the choice: those with sizes enough to show a floor, or all where none has."""
    sound = _distinct([points for points in every if points.n and _sound(points, laws)])
    return [points for points in sound if interval_laws(laws[0], laws, points)] or sound


def _distinct(every: Sequence[Points]) -> list[Points]:
    """The series without copies of one another under other labels: a copy is no further evidence."""
    seen = {(points.response.tobytes(), *(v.tobytes() for v in points.inputs.values())): points
            for points in reversed(every)}
    return list(reversed(seen.values()))


def _sound(points: Points, laws: Sequence[Law]) -> bool:
    values = np.concatenate([points.response, *points.inputs.values()])
    positive = np.concatenate([points.response] * any(law.space == "log" for law in laws) + [*points.inputs.values()])
    return bool(np.isfinite(values).all() and (positive > 0).all() and len(points.sizes) > 1)


def _carried(prediction: Prediction, points: Points, law: Law,
             carriers: Sequence[tuple[Law, Prediction]]) -> Prediction:
    """The prediction with the intervals of the carriers, taken together: each with its own."""
    bare = replace(prediction, mean_low=None, mean_high=None, run_low=None, run_high=None)
    if not carriers:
        return replace(bare, reason=Reason("{n} sizes cannot tell whether there is a floor, so there is no interval; "
                                           "add sizes, or name a law to assume its form", n=len(points.sizes)))
    for carrier, other in carriers:
        if other.value is None:
            return replace(bare, reason=Reason("no interval, as it would be that of {law}: {reason}", law=carrier.name,
                                               reason=other.reason))
    # if the law chosen is no carrier, the intervals still hold its point
    made = _joined(prediction, [other for _, other in carriers], [carrier.name for carrier, _ in carriers])
    return made if any(carrier is law for carrier, _ in carriers) else replace(made, reason=Reason(
        "the points do not rule out a floor; the interval is that of {law}", law=made.interval_law))


def _joined(prediction: Prediction, others: Sequence[Prediction], names: Sequence[str]) -> Prediction:
    """The prediction with the outermost ends of the others', and its own value within."""
    ends = {name: (_least if name.endswith("low") else _most)([prediction.value, *(getattr(o, name) for o in others)])
            for name in ENDS}
    warnings = tuple(dict.fromkeys(w for o in (prediction, *others) for w in o.warnings))
    return replace(prediction, interval_law=" and ".join(dict.fromkeys(names)), warnings=warnings,
                   **ends)  # type: ignore[arg-type]


def _predict_each(law: Law, asked: Sequence[tuple[Fit, Mapping[str, float]]], registry: Registry, *,
                  intervals: bool = True) -> list[Prediction]:
    """The predictions; one without a value that says whose law failed, where it raised."""
    try:
        return predict_each(law, asked, intervals=intervals)
    except culprits.PASSING:
        raise
    except BaseException as error:
        if len(asked) > 1:  # whose points it was
            return [_predict_each(law, [each], registry, intervals=intervals)[0] for each in asked]
        (fit, at), = asked
        return [Prediction(series=fit.series, law=fit.law, inputs=dict(at), response=fit.response,
                           reason=blame(law, error, registry))]


def interval_laws(law: Law, laws: Sequence[Law], points: Points) -> list[Law]:
    """The laws whose intervals, taken together, a prediction by the chosen law carries; none if the points are too few.

    A law without a floor never has the last word, and a rich one may have been chosen by chance: the interval is that
    of the simplest law with a floor, on every scale, and, if it has one too, of the law chosen.
    """
    able = [each for each in laws if each.floor is not None and len(points.sizes) > len(each.parameters)]
    simplest = [min((each for each in able if each.response == scale), key=lambda each: len(each.parameters))
                for scale in dict.fromkeys(each.response for each in able)]
    return [*simplest, law] if law in able and law not in simplest else simplest


def widen(prediction: Prediction, value: float, factor: float, quantity: Quantity, *, log: bool = True) -> Prediction:
    """The prediction with its intervals stretched about the value, to the limits of what is predicted at most.

    quantity: that is predicted. log: on a logarithmic scale.
    """
    if factor <= 1 or not np.isfinite(factor):
        return prediction

    def stretch(end: float | None) -> float | None:
        if end is None:
            return None
        wide = value * (end / value) ** factor if log else value + factor * (end - value)
        return float(np.clip(wide, quantity.minimum, quantity.maximum))

    return replace(
        prediction, mean_low=stretch(prediction.mean_low), mean_high=stretch(prediction.mean_high),
        run_low=stretch(prediction.run_low), run_high=stretch(prediction.run_high),
        warnings=(*prediction.warnings, stretched(factor)),
    )


def _least(ends: Sequence[float | None]) -> float | None:
    known = [end for end in ends if end is not None]
    return min(known) if len(known) == len(ends) else None


def _most(ends: Sequence[float | None]) -> float | None:
    known = [end for end in ends if end is not None]
    return max(known) if len(known) == len(ends) else None
