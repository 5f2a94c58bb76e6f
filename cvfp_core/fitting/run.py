"""Every law over every series: one function for a user, one status for everything that can go wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import polars as pl

from cvfp_core.errors import UsageError, suggestion
from cvfp_core.fitting.axes import filled, on_axes
from cvfp_core.fitting.curve_fit import fit_curves
from cvfp_core.fitting.lmfit_models import from_model, is_model, resolved, to_lmfit
from cvfp_core.fitting.points import MOST, by_group, gather_each, refusal, require, unvaried, wrong_way
from cvfp_core.fitting.predict import Prediction, predict
from cvfp_core.fitting.ray import together
from cvfp_core.registry import Registry, culprits, installed
from cvfp_core.registry.guard import listed, tidy
from cvfp_core.registry.kinds import Law
from cvfp_core.schema import series
from cvfp_core.schema.fits import Fit, Points, Reason
from cvfp_core.schema.options import resolve
from cvfp_core.schema.quantities import Quantity
from cvfp_core.schema.series import SERIES
from cvfp_core.schema.settings import Scalar


def fit_series(records: pl.DataFrame, law: str = "power-law", *, registry: Registry | None = None) -> list[Fit]:
    """The law fitted to each (experiment, variant) series, in order of first appearance."""
    return fit_all(records, laws=[law], registry=registry)


def fit_all(
    records: pl.DataFrame,
    laws: Sequence[str | Law | Any] = ("power-law",),
    *,
    by: Sequence[str] | None = None,
    x: str | None = None,
    y: str | None = None,
    options: Mapping[str, Scalar | None] | None = None,
    registry: Registry | None = None,
    intervals: bool = True,
) -> list[Fit]:
    """Every law fitted to every series (or experiment, or all records: its scope), law by law.

    laws: names, laws, or lmfit models. by: columns whose values name a series; given, every law is fitted to each.
    x, y: quantities in place of a curve's input and of a law's response. options: by name, for the laws that take them.
    intervals: False lets functions go without those of their parameters.
    """
    registry = registry or installed()
    chosen = [find(law, registry) for law in laws]
    check_options(chosen, options)
    fits: list[Fit] = []
    for law in chosen:
        values = option_values(law, options)
        law = on_axes(filled(law, values), x, y)
        fits += chain.from_iterable(fit_each(law, grouped(records, law, by, registry), values, registry,
                                             intervals=intervals))
    return fits


def find(law: str | Law | Any, registry: Registry) -> Law:
    """The law: by its name, an lmfit model as one, or itself. Its function and parameters are there."""
    if isinstance(law, str):
        law = registry.get(Law, law)
    elif is_model(law):
        law = from_model(law)
    return resolved(law)


def check_options(laws: Sequence[Law], options: Mapping[str, Scalar | None] | None) -> None:
    """Raises UsageError for an option that none of the laws takes."""
    known = sorted({option.name for law in laws for option in law.options})
    for name in options or {}:
        if name not in known:
            names = ", ".join(law.name for law in laws)
            raise UsageError(f"no option '{name}' for {names}{suggestion(name, known)}; known: "
                             f"{', '.join(known) or 'none'}")


def option_values(law: Law, options: Mapping[str, Scalar | None] | None) -> dict[str, Scalar | None]:
    """The law's options with what was asked for; options of other laws are left to those."""
    known = {option.name for option in law.options}
    return resolve(law.name, law.options, {
        name: value for name, value in (options or {}).items() if name in known and value is not None
    })


@dataclass(frozen=True, slots=True, kw_only=True)
class LawSolver:
    """What a fit needs of its law to predict and to become lmfit's."""

    law: Law

    def predict(self, fit: Fit, at: Mapping[str, float]) -> Prediction:
        return predict(fit, self.law, at)

    def to_lmfit(self, fit: Fit) -> Any:
        return to_lmfit(fit, self.law)


def fit_points(law: Law, points: Points, options: Mapping[str, Scalar | None], registry: Registry, *,
               intervals: bool = True) -> list[Fit]:
    """The law fitted to these points; see `fit_each`."""
    return fit_each(law, [points], options, registry, intervals=intervals)[0]


def fit_each(law: Law, every: Sequence[Points], options: Mapping[str, Scalar | None], registry: Registry, *,
             intervals: bool = True) -> list[list[Fit]]:
    """The law's fits to each of these points. What its code raises becomes a failed fit that says whose law it is.

    intervals: False lets a function go without those of its parameters.
    """
    refused = [_refused(law, points) for points in every]
    sound = [points for points, fit in zip(every, refused, strict=True) if fit is None]

    def fitted(alike: list[Points]) -> list[list[Fit]]:
        own = law if alike[0].weights is None else replace(law, fit=None)  # whose code takes no weights of runs
        return _fitted(own, alike, options, registry, intervals)

    fits = iter(by_group(sound, lambda points: points.weights is None, fitted))
    return [next(fits) if fit is None else [fit] for fit in refused]


def _blank(law: Law, points: Points) -> Fit:
    return Fit(law=law.name, form=law.form, series=points.label, floor=law.floor, status="failed", n=points.n,
               sizes=len(points.sizes), left_out=points.left_out, caveats=points.caveats, points=points,
               inputs=law.inputs, response=points.name, ranges=points.ranges, space=law.space)


def _refused(law: Law, points: Points) -> Fit | None:
    """The fit that says why the law cannot be fitted to the points; None if it can."""
    curve = len(law.inputs) == 1
    basis, what = None, "sizes" if law.scope == "series" and curve else "runs"
    refused = refusal(points, least=law.least_points, what=what, log=law.space == "log", zero=law.zero)
    if refused is None and points.n > 2 and np.ptp(points.response) == 0:
        refused = "not identifiable", Reason(
            "all {n} runs have {name} {value:.4g}, so there is nothing to fit; check the column", n=points.n,
            name=points.name, value=float(points.response[0]))
    if refused is None and law.fit is None:
        if curve:
            refused = wrong_way(points)
        elif (reason := unvaried(points)) is not None:
            refused = "not identifiable", reason
        elif (known := together(law, points)) is not None:
            refused, basis = ("not identifiable", known[0]), known[1]
    if points.weights is not None and law.fit is not None and (law.function is None or law.options):
        refused = "failed", "its own code takes no weights of runs; fit it without"
    return None if refused is None else replace(_blank(law, points), status=refused[0], reason=refused[1], basis=basis)


def _fitted(law: Law, every: Sequence[Points], options: Mapping[str, Scalar | None], registry: Registry,
            intervals: bool) -> list[list[Fit]]:
    """The fits of points that can be fitted: by the law's own code to one after the other, by its function at once."""
    if law.fit is None or len(every) == 1:
        try:
            with np.errstate(all="ignore"), tidy():  # what is not finite is refused below
                fits = [listed(law.fit(points, options), "fits") for points in every] if law.fit is not None else [
                    [fit] for fit in fit_curves(law, every, intervals=intervals)]
            strange = next((fit for own in fits for fit in own if not isinstance(fit, Fit)), None)
            if strange is not None or not all(fits):
                raise TypeError(f"fit must return fits, not {strange!r:.60}")
            return [[_completed(fit, law, points) for fit in own] for own, points in zip(fits, every, strict=True)]
        except culprits.PASSING:
            raise
        except BaseException as error:
            if len(every) == 1:
                return [[replace(_blank(law, every[0]), reason=blame(law, error, registry))]]
    return [_fitted(law, [points], options, registry, intervals)[0] for points in every]


def _completed(fit: Fit, law: Law, points: Points) -> Fit:
    """The fit with what follows from its law and its points, where it does not say so; failed if a number is none."""
    points = fit.points or points
    fit = replace(
        fit, law=fit.law or law.name, form=fit.form or law.form, series=fit.series or points.label, floor=law.floor,
        n=fit.n or points.n, sizes=fit.sizes or len(points.sizes), left_out=fit.left_out or points.left_out,
        caveats=fit.caveats or points.caveats, points=points, inputs=law.inputs, response=law.response,
        ranges=points.ranges,
        fitted_range=fit.fitted_range or (float(points.sizes[0]), float(points.sizes[-1])),
        solver=LawSolver(law=law) if law.function is not None else None)
    if law.model is not None and fit.status == "converged" and any(
            p.minimum == -np.inf and p.maximum == np.inf for p in law.parameters):
        fit = replace(fit, status="local optimum", reason="the model gives no bounds to search in, so another start "
                                                          "may fit better; set hints with min and max")
    if points.caution:
        fit = replace(fit, reason=Reason("{first}; {second}", first=fit.reason, second=points.caution) if fit.reason
                      else points.caution)
    bad = [e.name for e in fit.estimates for number in (e.value, e.low, e.high, e.stderr)
           if number is not None and not np.isfinite(number)]
    if not bad:
        return fit
    return replace(fit, status="failed", estimates=(), aicc=None, rss=None, sigma=None, r_squared=None, p_value=None,
                   minimum=None, reason=Reason("{names} came out beyond what numbers can hold; check the values",
                                               names=", ".join(dict.fromkeys(bad))))


def blame(law: Law, error: BaseException, registry: Registry) -> str:
    """Whose law failed, and how."""
    if law.name not in registry.items(Law):
        return f"law '{law.name}' failed: {culprits.line(error)}"
    return registry.blame(Law, law.name, error)


def grouped(records: pl.DataFrame, law: Law | None = None, by: Sequence[str] | None = None,
            registry: Registry | None = None, *, most: int = MOST) -> list[Points]:
    """The points of each fit the law's scope asks for; of perplexity over training tokens if no law is given.

    Runs of controls are series of their own; a law over several series leaves them out. A group whose runs are all
    unusable is empty, but named. most: runs of a group, see `thinned`.
    """
    names = SERIES if by is None else tuple(by)
    inputs, response = (("train_tokens",), "val_ppl") if law is None else (law.inputs, law.response)
    scope = law.scope if law else "series"
    if scope == "records" and by is not None and law is not None and len(law.inputs) > 1:
        scope = "series"
    labels = {"series": names, "experiment": names[:1], "records": ()}[str(scope)]
    require(records, labels, "group")
    told = records.with_columns(series.control(records).alias("_control")).with_row_index("_row")
    keys = [*labels, *(["_control"] if scope == "series" else [])]
    groups = told.group_by(keys, maintain_order=True).agg("_row") if keys else told.select(pl.col("_row").implode())
    if not groups.height:
        return []
    numbers = np.zeros(records.height, dtype=int)
    for number, rows in enumerate(groups["_row"].to_list()):
        numbers[rows] = number
    told = told.drop("_row").with_columns(pl.Series("_group", numbers))
    trained = pl.col("_control").is_null()
    studied = told if scope == "series" else told.filter(trained | ~trained.any().over("_group"))
    every = gather_each(studied.drop("_control"), groups.height, inputs, response, names,
                        registry.items(Quantity) if registry else None, most=most)
    controls = np.bincount(numbers, minlength=groups.height) - np.bincount(studied["_group"], minlength=groups.height)
    for number, key in enumerate(groups.drop("_row").rows() if keys else [()]):
        if controls[number]:
            left_out = (*every[number].left_out, f"{controls[number]} of controls")
            every[number] = replace(every[number], left_out=left_out)
        if every[number].n == 0:
            parts, control = (key[:-1], key[-1]) if scope == "series" else (key, None)
            label = series.label(parts, control) or "all records"
            every[number] = replace(every[number], series=np.asarray([label], dtype=object))
    return every
