"""Every law over every series: one function for a user, one status for everything that can go wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from cvfp_core.errors import CvfpError, UsageError, suggestion
from cvfp_core.fitting.curve_fit import fit_curve
from cvfp_core.fitting.points import RISES, gather, refusal, rising
from cvfp_core.registry import Registry, culprits, installed
from cvfp_core.registry.kinds import Fitter
from cvfp_core.registry.options import resolve
from cvfp_core.schema import records as schema
from cvfp_core.schema.fits import Fit, Points, Reason
from cvfp_core.schema.settings import Scalar

SERIES = ("experiment", "variant")


def fit_series(records: pl.DataFrame, law: str = "power-law", *, registry: Registry | None = None) -> list[Fit]:
    """The law fitted to each (experiment, variant) series, in order of first appearance."""
    return fit_all(records, laws=[law], registry=registry)


def fit_all(
    records: pl.DataFrame,
    laws: Sequence[str] = ("power-law",),
    *,
    by: Sequence[str] = SERIES,
    options: Mapping[str, Scalar | None] | None = None,
    registry: Registry | None = None,
) -> list[Fit]:
    """Every law fitted to every series (or experiment, or all records: its scope), law by law.

    by: columns whose values name a series. options: by name, for the laws that take them; the rest have defaults.
    """
    registry = registry or installed()
    fits: list[Fit] = []
    fitters = [registry.get(Fitter, name) for name in laws]
    check_options(fitters, options)
    for fitter in fitters:
        values = option_values(fitter, options)
        for points in grouped(records, fitter, by, values):
            fits += fit_points(fitter, points, values, registry)
    return fits


def check_options(fitters: Sequence[Fitter], options: Mapping[str, Scalar | None] | None) -> None:
    """Raises UsageError for an option that none of the laws takes."""
    known = sorted({option.name for fitter in fitters for option in fitter.options})
    for name in options or {}:
        if name not in known:
            laws = ", ".join(fitter.name for fitter in fitters)
            raise UsageError(f"no option '{name}' for {laws}{suggestion(name, known)}; known: "
                             f"{', '.join(known) or 'none'}")


def option_values(fitter: Fitter, options: Mapping[str, Scalar | None] | None) -> dict[str, Scalar | None]:
    """The fitter's options with what was asked for; options of other laws are left to those."""
    known = {option.name for option in fitter.options}
    return resolve(fitter.name, fitter.options, {
        name: value for name, value in (options or {}).items() if name in known and value is not None
    })


def columns(fitter: Fitter, options: Mapping[str, Scalar | None]) -> tuple[tuple[str, ...], str]:
    """The record columns of the law's inputs and its response, with the options' columns filled in."""
    names = {name: str(value) for name, value in options.items()}
    return tuple(each.format(**names) for each in fitter.inputs), fitter.response.format(**names)


def fit_points(fitter: Fitter, points: Points, options: Mapping[str, Scalar | None], registry: Registry, *,
               intervals: bool = True) -> list[Fit]:
    """The law fitted to these points. What a fitter raises becomes a failed fit that says whose fitter it is.

    intervals: False lets a curve go without those of its parameters.
    """
    blank = Fit(law=fitter.name, form=fitter.form, series=_label(points), floor=fitter.floor, status="failed",
                n=points.n, sizes=len(points.sizes), left_out=points.left_out, points=points)
    what = "sizes" if fitter.scope == "series" else "runs"
    _, response = columns(fitter, options)
    refused = refusal(points, response=response, least=fitter.least_points, what=what)
    if refused is not None:
        return [replace(blank, status=refused[0], reason=refused[1])]
    if fitter.fit is None and response == "val_ppl" and points.inputs.keys() == {"train_tokens"} and rising(points):
        return [replace(blank, status="rises", reason=RISES)]
    try:
        with np.errstate(all="ignore"):  # what is not finite is refused below
            made = list(fitter.fit(points, options)) if fitter.fit is not None else [
                fit_curve(fitter, points, intervals=intervals)]
        strange = next((each for each in made if not isinstance(each, Fit)), None)
        if strange is not None or not made:
            raise TypeError(f"fit must return fits, not {strange!r:.60}")
        return [_finite(each) for each in made]
    except culprits.PASSING:
        raise
    except BaseException as error:
        return [replace(blank, reason=blame(fitter, error, registry))]


def _finite(fit: Fit) -> Fit:
    """The fit; a failed one if a number of it is none."""
    bad = [e.name for e in fit.estimates for number in (e.value, e.low, e.high, e.stderr)
           if number is not None and not np.isfinite(number)]
    if not bad:
        return fit
    return replace(fit, status="failed", estimates=(), aicc=None, rss=None, sigma=None, r_squared=None, p_value=None,
                   reason=Reason("{names} came out beyond what numbers can hold; check the values",
                                 names=", ".join(dict.fromkeys(bad))))


def blame(fitter: Fitter, error: BaseException, registry: Registry) -> str:
    """Whose fitter failed, and how."""
    return registry.blame(Fitter, fitter.name, error)


def grouped(records: pl.DataFrame, fitter: Fitter | None = None, by: Sequence[str] = SERIES,
            options: Mapping[str, Scalar | None] | None = None) -> list[Points]:
    """The points of each fit the law's scope asks for; of each series if no law is given.

    Runs of controls are series of their own; a law over several series leaves them out. A group whose runs are all
    unusable is empty, but named.
    """
    inputs: tuple[str, ...] = ("train_tokens",)
    response = "val_ppl"
    if fitter is not None:
        inputs, response = columns(fitter, options or {})
    scope = fitter.scope if fitter else "series"
    labels = {"series": list(by), "experiment": list(by[:1]), "records": []}[scope]
    missing = [name for name in labels if name not in records.columns]
    if missing:
        raise CvfpError(f"records have no column {', '.join(map(repr, missing))} to group by")
    told = records.with_columns(schema.control(records).alias("_control"))
    if scope == "series":
        labels.append("_control")
    every = []
    for key, group in told.group_by(labels, maintain_order=True) if labels else [((), told)]:
        studied = group if scope == "series" else schema.without_controls(group)
        points = gather(studied, inputs, response, by)
        if studied.height < group.height:
            count = group.height - studied.height
            points = replace(points, left_out=(*points.left_out, f"{count} of controls"))
        if points.n == 0:
            parts, control = (key[:-1], key[-1]) if scope == "series" else (key, None)
            name = schema.label(parts, control) or "all records"
            points = replace(points, series=np.asarray([name], dtype=object))
        every.append(points)
    return every


def _label(points: Points) -> str:
    labels = list(dict.fromkeys(str(label) for label in points.series))
    return labels[0] if len(labels) == 1 else f"{len(labels)} series"
