"""Predictions for all series of some records, with the law given or chosen from what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from cvfp_core.errors import UsageError
from cvfp_core.fitting.predict import LEAST_PPL, Prediction, predict
from cvfp_core.fitting.run import SERIES, blame, check_options, fit_points, grouped, option_values
from cvfp_core.fitting.selection import Choice, choose, widening
from cvfp_core.registry import Registry, culprits, installed
from cvfp_core.registry.kinds import Fitter
from cvfp_core.schema import records as schema
from cvfp_core.schema.fits import Fit, Points, Reason
from cvfp_core.schema.settings import Scalar

AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A prediction for each series, and the choice of law they share; None if the law was given."""

    choice: Choice | None
    predictions: tuple[Prediction, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON and templates."""
        return {"choice": self.choice.as_dict() if self.choice else None,
                "predictions": [each.as_dict() for each in self.predictions]}


def predict_all(
    records: pl.DataFrame,
    tokens: float,
    law: str = AUTO,
    *,
    by: Sequence[str] = SERIES,
    options: Mapping[str, Scalar | None] | None = None,
    registry: Registry | None = None,
) -> Forecast:
    """What each series will be at that many training tokens.

    law: a curve's name, or `auto`: the series are taken to share a form, chosen from all their points, controls apart.
    """
    if not (np.isfinite(tokens) and tokens > 0):
        raise UsageError(f"tokens must be a positive number, not {tokens}")
    registry = registry or installed()
    given = None if law == AUTO else registry.get(Fitter, law)
    if given is not None and (given.function is None or given.inputs != ("train_tokens",)):
        fit = [name for name, each in registry.items(Fitter).items() if _predicts(each)]
        raise UsageError(f"law '{law}' does not predict from tokens; those that do: {AUTO}, {', '.join(fit)}")
    every = grouped(records, given, by)
    if given is None:
        return _automatic(every, choose_law(records, by=by, registry=registry), tokens, registry)
    check_options([given], options)
    values = option_values(given, options)
    fits = [fit for points in every for fit in fit_points(given, points, values, registry, intervals=False)]
    return Forecast(choice=None, predictions=tuple(_predict(fit, given, tokens, registry) for fit in fits))


def choose_law(records: pl.DataFrame, *, by: Sequence[str] = SERIES, registry: Registry | None = None) -> Choice:
    """The law that `auto` takes: the series are taken to share a form, chosen from all their points, controls apart."""
    every = grouped(schema.without_controls(records), None, by)
    laws = candidates(registry or installed())
    return choose(laws, _telling(every, laws))


def candidates(registry: Registry) -> list[Fitter]:
    """The laws `auto` chooses from: curves over training tokens that need nothing given."""
    return [fitter for fitter in registry.items(Fitter).values() if _predicts(fitter) and not fitter.options]


def _predicts(fitter: Fitter) -> bool:
    return (fitter.scope == "series" and fitter.function is not None and fitter.inputs == ("train_tokens",)
            and fitter.response == "val_ppl")


def _automatic(every: Sequence[Points], choice: Choice, tokens: float, registry: Registry) -> Forecast:
    laws = candidates(registry)
    failed = {each.law for each in choice.candidates if each.verdict.startswith("failed")}
    laws = [fitter for fitter in laws if fitter.name not in failed]
    return Forecast(choice=choice, predictions=tuple(_series(points, choice, laws, tokens, registry)
                                                     for points in every))


def _telling(every: Sequence[Points], laws: Sequence[Fitter]) -> list[Points]:
    """The series that bear on the choice: those with sizes enough to show a floor, or all where none has."""
    sound = _distinct([points for points in every if points.n and _sound(points)])
    return [points for points in sound if interval_laws(laws[0], laws, points)] or sound


def _distinct(every: Sequence[Points]) -> list[Points]:
    """The series without copies of one another under other labels: a copy is no further evidence."""
    seen = {(points.response.tobytes(), *(v.tobytes() for v in points.inputs.values())): points
            for points in reversed(every)}
    return list(reversed(seen.values()))


def _sound(points: Points) -> bool:
    values = np.concatenate([points.response, *points.inputs.values()])
    return bool(np.isfinite(values).all() and (values > 0).all() and len(points.sizes) > 1)


def _series(points: Points, choice: Choice, laws: Sequence[Fitter], tokens: float, registry: Registry) -> Prediction:
    by_name = {fitter.name: fitter for fitter in laws}
    law = by_name[choice.law]
    if len(points.sizes) < law.least_points:
        law = min(laws, key=lambda fitter: (fitter.least_points, len(fitter.parameters)))
    prediction = _predict(fit_points(law, points, {}, registry, intervals=False)[0], law, tokens, registry)
    if prediction.value is None:
        return prediction
    carriers = interval_laws(law, laws, points)
    if not carriers:
        return replace(
            prediction, mean_low=None, mean_high=None, run_low=None, run_high=None,
            reason=Reason("{n} sizes cannot tell whether there is a floor, so there is no interval; add sizes, or name "
                          "a law to assume its form", n=len(points.sizes)),
        )
    target = np.log(points.response)[None, :]
    others = [prediction if carrier is law else
              _predict(fit_points(carrier, points, {}, registry, intervals=False)[0], carrier, tokens, registry)
              for carrier in carriers]
    for carrier, other in zip(carriers, others, strict=True):
        if other.value is None:
            return replace(prediction, mean_low=None, mean_high=None, run_low=None, run_high=None,
                           reason=Reason("no interval, as it would be that of {law}: {reason}", law=carrier.name,
                                         reason=other.reason))
    others = [widen(other, prediction.value, float(widening(carrier, points.inputs, target)[0]))
              for carrier, other in zip(carriers, others, strict=True)]
    names = " and ".join(carrier.name for carrier in carriers)
    point = prediction.value  # of the law chosen; if that is no carrier, the intervals still hold it
    return replace(
        prediction, interval_law=names,
        mean_low=_least([point, *(o.mean_low for o in others)]),
        mean_high=_most([point, *(o.mean_high for o in others)]),
        run_low=_least([point, *(o.run_low for o in others)]),
        run_high=_most([point, *(o.run_high for o in others)]),
        warnings=tuple(dict.fromkeys(w for o in (prediction, *others) for w in o.warnings)),
        reason=prediction.reason if law in carriers else
        Reason("the points do not rule out a floor; the interval is that of {law}", law=names),
    )


def _predict(fit: Fit, fitter: Fitter, tokens: float, registry: Registry) -> Prediction:
    """The prediction; one without a value that says whose fitter failed, if it raised."""
    try:
        return predict(fit, fitter, {"train_tokens": tokens})
    except culprits.PASSING:
        raise
    except BaseException as error:
        return Prediction(series=fit.series, law=fit.law, inputs={"train_tokens": tokens},
                          reason=blame(fitter, error, registry))


def interval_laws(law: Fitter, laws: Sequence[Fitter], points: Points) -> list[Fitter]:
    """The laws whose intervals, taken together, a prediction by the chosen law carries; none if the points are too few.

    A law without a floor never has the last word, and a rich one may have been chosen by chance: the interval is that
    of the simplest law with a floor and, if it has one too, of the law chosen.
    """
    able = [f for f in laws if f.floor is not None and len(points.sizes) > len(f.parameters)]
    if not able:
        return []
    simplest = min(able, key=lambda f: len(f.parameters))
    return [simplest, law] if law in able and law is not simplest else [simplest]


def widen(prediction: Prediction, value: float, factor: float) -> Prediction:
    """The prediction with its intervals stretched about the value, on a logarithmic scale, down to 1 at most."""
    if factor <= 1 or not np.isfinite(factor):
        return prediction

    def stretch(end: float | None) -> float | None:
        return None if end is None else max(value * (end / value) ** factor, LEAST_PPL)

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
