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
from cvfp_core.fitting.axes import filled, on_axes
from cvfp_core.fitting.curve_fit import in_space, root_weights
from cvfp_core.fitting.points import by_group, place
from cvfp_core.fitting.predict import Prediction, predict_each
from cvfp_core.fitting.run import blame, check_options, find, fit_each, grouped, option_values
from cvfp_core.fitting.selection import Choice, choose, walked, widening
from cvfp_core.registry import Registry, culprits, installed
from cvfp_core.registry.kinds import Law
from cvfp_core.schema import series
from cvfp_core.schema.fits import Fit, Points, Reason
from cvfp_core.schema.plain import AsDict
from cvfp_core.schema.quantities import Quantity
from cvfp_core.schema.settings import Scalar

AUTO = "auto"
At = float | Mapping[str, Any]
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
    registry: Registry | None = None,
) -> Forecast:
    """What each series will be at these inputs, at every combination of their values.

    law: a law's name, a law, an lmfit model, several of these to choose from, or `auto`: the series are taken to share
    a form, chosen from all their points, controls apart. x, y: as for `fit_all`. along: the input that the back-test
    walks along; given, a single law is back-tested too.
    Raises UsageError for an input that the law needs and is not given, or that it does not have.
    """
    registry = registry or installed()
    if isinstance(law, str) and law == AUTO:
        check_options([], options)
        laws = candidates(registry, x=x, y=y)
        places = _places(at, laws[0], registry)
        every = grouped(records, laws[0], by, registry)
        return _automatic(every, choose_law(records, by=by, x=x, y=y, along=along, registry=registry), laws, places,
                          registry)
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
    return Forecast(choice=choice, predictions=tuple(_predict_each(given, asked, registry)))


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
    groups = grouped(series.without_controls(records), every[0], by, registry)
    if along is not None and walked({name: np.ones(1) for name in every[0].inputs}, along) is None:
        inputs = ", ".join(every[0].inputs)
        raise UsageError(f"--along {along}: the laws compared are functions of {inputs}, from which it does not follow")
    return choose(every, _telling(groups, every), along)


def candidates(registry: Registry, *, x: str | None = None, y: str | None = None) -> list[Law]:
    """The laws `auto` chooses from: curves that need nothing given, for a response that is better in the same way."""
    better = registry.quantity(y or "val_ppl").better or "lower"
    laws = [find(law, registry) for law in registry.items(Law).values() if law.predicts and law.automatic
            and not law.options and law.scope == "series" and len(law.inputs) == 1]
    own = [law for law in laws if x is not None or law.inputs == ("train_tokens",)]
    able = [law for law in own if (registry.quantity(law.response).better or "lower") == better]
    if not able:
        raise UsageError(f"no law that is installed suits {y}; name one with --law")
    return [on_axes(law, x, y or "val_ppl") for law in able]


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
               registry: Registry) -> Forecast:
    """Each series' prediction at every place, with the intervals of the laws that may carry them; a law at a time."""
    failed = {each.law for each in choice.candidates if each.verdict.startswith("failed")}
    laws = [law for law in laws if law.name not in failed]
    own = [_own_law(points, choice, laws) for points in every]
    carriers = [interval_laws(law, laws, points) for law, points in zip(own, every, strict=True)]
    # a series is called by its row
    pairs = {(row, law.name): law for row in range(len(every)) for law in (own[row], *carriers[row])}

    def fitted(rows: list[tuple[int, str]]) -> list[Fit]:
        fits = fit_each(pairs[rows[0]], [every[row] for row, _ in rows], {}, registry, intervals=False)
        return [fit for fit, *_ in fits]

    fits = dict(zip(pairs, by_group(list(pairs), itemgetter(1), fitted), strict=True))

    def predicted(rows: list[tuple[int, str, dict[str, float]]]) -> list[Prediction]:
        return _predict_each(pairs[rows[0][:2]], [(fits[row, name], at) for row, name, at in rows], registry)

    def widened(rows: list[tuple[int, str]]) -> list[float]:
        law, alike = pairs[rows[0]], [every[row] for row, _ in rows]
        targets = np.stack([in_space(law, points.response) for points in alike])
        roots = np.stack([root_weights(points) for points in alike])
        return [float(factor) for factor in widening(law, alike[0].inputs, targets, roots)]

    asked = [(row, own[row].name, at) for row, points in enumerate(every) for at in _combined(places, points)]
    predictions = by_group(asked, itemgetter(1), predicted)
    valued = [(row, at) for (row, _, at), made in zip(asked, predictions, strict=True) if made.value is not None]
    ahead = [(row, law.name, at) for row, at in valued for law in carriers[row] if law is not own[row]]
    others = iter(by_group(ahead, itemgetter(1), predicted))
    held = list(dict.fromkeys((row, law.name) for row, _ in valued for law in carriers[row]))
    factors = dict(zip(held, by_group(held, lambda pair: (pair[1], place(every[pair[0]])), widened), strict=True))
    return Forecast(choice=choice, predictions=tuple(
        made if made.value is None else _carried(made, every[row], own[row], [
            (law, made if law is own[row] else next(others), factors[row, law.name]) for law in carriers[row]])
        for (row, _, _), made in zip(asked, predictions, strict=True)))


def _own_law(points: Points, choice: Choice, laws: Sequence[Law]) -> Law:
    """The law chosen, or the simplest where the series has too few sizes for it."""
    law = next(law for law in laws if law.name == choice.law)
    if len(points.sizes) < law.least_points:
        return min(laws, key=lambda each: (each.least_points, len(each.parameters)))
    return law


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
             carriers: Sequence[tuple[Law, Prediction, float]]) -> Prediction:
    """The prediction with the intervals of the carriers, taken together: each with its own, and how much wider."""
    bare = replace(prediction, mean_low=None, mean_high=None, run_low=None, run_high=None)
    if not carriers:
        return replace(bare, reason=Reason("{n} sizes cannot tell whether there is a floor, so there is no interval; "
                                           "add sizes, or name a law to assume its form", n=len(points.sizes)))
    for carrier, other, _ in carriers:
        if other.value is None:
            return replace(bare, reason=Reason("no interval, as it would be that of {law}: {reason}", law=carrier.name,
                                               reason=other.reason))
    point = prediction.value  # of the law chosen; if that is no carrier, the intervals still hold it
    assert point is not None
    others = [widen(other, point, factor, points.quantity(points.name), log=carrier.space == "log")
              for carrier, other, factor in carriers]
    names = " and ".join(carrier.name for carrier, _, _ in carriers)
    return replace(
        prediction, interval_law=names,
        mean_low=_least([point, *(o.mean_low for o in others)]),
        mean_high=_most([point, *(o.mean_high for o in others)]),
        run_low=_least([point, *(o.run_low for o in others)]),
        run_high=_most([point, *(o.run_high for o in others)]),
        warnings=tuple(dict.fromkeys(w for o in (prediction, *others) for w in o.warnings)),
        reason=prediction.reason if any(carrier is law for carrier, _, _ in carriers) else
        Reason("the points do not rule out a floor; the interval is that of {law}", law=names),
    )


def _predict_each(law: Law, asked: Sequence[tuple[Fit, Mapping[str, float]]], registry: Registry) -> list[Prediction]:
    """The predictions; one without a value that says whose law failed, where it raised."""
    try:
        return predict_each(law, asked)
    except culprits.PASSING:
        raise
    except BaseException as error:
        if len(asked) > 1:  # whose points it was
            return [_predict_each(law, [each], registry)[0] for each in asked]
        (fit, at), = asked
        return [Prediction(series=fit.series, law=fit.law, inputs=dict(at), response=fit.response,
                           reason=blame(law, error, registry))]


def interval_laws(law: Law, laws: Sequence[Law], points: Points) -> list[Law]:
    """The laws whose intervals, taken together, a prediction by the chosen law carries; none if the points are too few.

    A law without a floor never has the last word, and a rich one may have been chosen by chance: the interval is that
    of the simplest law with a floor and, if it has one too, of the law chosen.
    """
    able = [each for each in laws if each.floor is not None and len(points.sizes) > len(each.parameters)]
    if not able:
        return []
    simplest = min(able, key=lambda each: len(each.parameters))
    return [simplest, law] if law in able and law is not simplest else [simplest]


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
        warnings=(*prediction.warnings, Reason("intervals are {factor:.2g} times wider, as the back-test missed by so "
                                               "much", factor=factor)),
    )


def _least(ends: Sequence[float | None]) -> float | None:
    known = [end for end in ends if end is not None]
    return min(known) if len(known) == len(ends) else None


def _most(ends: Sequence[float | None]) -> float | None:
    known = [end for end in ends if end is not None]
    return max(known) if len(known) == len(ends) else None
