"""Every law over every series: one function for a user, one status for everything that can go wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from cvfp_core.errors import CvfpError
from cvfp_core.fitting.points import gather, refusal
from cvfp_core.fitting.values import Fit, Points
from cvfp_core.kinds import Fitter
from cvfp_core.registry import Registry, installed
from cvfp_core.settings import Scalar

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
    for name in laws:
        fitter = registry.get(Fitter, name)
        values = {option.name: option.default for option in fitter.options} | dict(options or {})
        for points in _groups(records, fitter, by):
            fits += fit_points(fitter, points, values, registry)
    return fits


def fit_points(fitter: Fitter, points: Points, options: Mapping[str, Scalar | None], registry: Registry) -> list[Fit]:
    """The law fitted to these points. What a fitter raises becomes a failed fit that says whose fitter it is."""
    blank = Fit(law=fitter.name, form=fitter.form, series=_label(points), floor=fitter.floor, status="failed",
                n=points.n, sizes=len(points.sizes), left_out=points.left_out, points=points)
    what = "sizes" if fitter.scope == "series" else "runs"
    refused = refusal(points, response=fitter.response, least=fitter.least_points, what=what)
    if refused is not None:
        return [replace(blank, status=refused[0], reason=refused[1])]
    try:
        if fitter.fit is not None:
            return list(fitter.fit(points, options))
        raise NotImplementedError("curves")
    except Exception as error:
        owner = registry.owner(Fitter, fitter.name)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return [replace(blank, reason=f"fitter '{fitter.name}' of {owner.label} raised {reason}")]


def _groups(records: pl.DataFrame, fitter: Fitter, by: Sequence[str]) -> Iterator[Points]:
    """The points of each fit the law's scope asks for; a series whose runs are all unusable is an empty one."""
    columns = {"series": list(by), "experiment": list(by[:1]), "records": []}[fitter.scope]
    missing = [name for name in columns if name not in records.columns]
    if missing:
        raise CvfpError(f"records have no column {', '.join(map(repr, missing))} to group by")
    groups = records.group_by(columns, maintain_order=True) if columns else [((), records)]
    for key, group in groups:
        points = gather(group, fitter.inputs, fitter.response, by)
        if points.n == 0:
            label = ":".join("?" if value is None else str(value) for value in key) or "all records"
            points = replace(points, series=np.asarray([label], dtype=object))
        yield points


def _label(points: Points) -> str:
    labels = list(dict.fromkeys(str(label) for label in points.series))
    return labels[0] if len(labels) == 1 else f"{len(labels)} series"
