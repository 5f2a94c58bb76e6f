"""Fits, forecasts and optima as figures, described as those of reports are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cvfp_core.deciding.courses import Course
from cvfp_core.deciding.forecast import FinalForecast
from cvfp_core.deciding.optimum import Sweep
from cvfp_core.deciding.plan import Plan
from cvfp_core.errors import UsageError
from cvfp_core.fitting import Fit, Prediction
from cvfp_core.reporting.figures.courses import courses
from cvfp_core.reporting.figures.curves import FEW, Curve, scaling
from cvfp_core.reporting.figures.isoflops import isoflops
from cvfp_core.reporting.figures.marks import Plot
from cvfp_core.reporting.figures.paint import figure
from cvfp_core.reporting.figures.plans import plans
from cvfp_core.reporting.figures.surfaces import function_of, surface
from cvfp_core.reporting.way import way_to
from cvfp_core.schema.quantities import Quantity
from cvfp_core.schema.series import evenly

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWN = 200
"""Series of a figure; of more, as many are drawn, spread evenly."""
Ways = Callable[[Sequence[float]], Sequence[Prediction]]
"""What series are at each of these places."""


def draw(fits: Sequence[Fit], path: str | Path | None = None, forecasts: Sequence[Prediction] = ()) -> Figure:
    """Points with their laws and the band of a new run, a panel a law; a law of several inputs in slices.

    path: a file to write it to; its ending says the format. forecasts: of laws of several inputs. Raises CvfpError
    where matplotlib is not installed.
    """
    laws = list(dict.fromkeys(fit.law for fit in fits if fit.points is not None and fit.points.n))
    if not laws:
        raise UsageError("nothing to plot: no series has a usable run")
    plots = []
    for law in laws:
        mine = [fit for fit in fits if fit.law == law and fit.points is not None and fit.points.n]
        if len(mine[0].inputs) == 1:
            plots.append(_curves(mine, law))
        else:
            plots += [replace(plot, panels=tuple(replace(panel, title=f"{fit.series} {panel.title}".strip())
                                                 for panel in plot.panels) if len(mine) > 1 else plot.panels)
                      for fit in mine if (plot := surface(fit, str, [
                          one for one in forecasts if (one.law, one.series) == (law, fit.series)])) is not None]
    if not plots:
        raise UsageError(f"nothing to plot: no fit of {', '.join(laws)} has a curve")
    return figure(_joined(plots), path)


def draw_forecasts(fits: Sequence[Fit], predictions: Sequence[Prediction], ways: Ways,
                   path: str | Path | None = None, of_series: int = 0) -> Figure:
    """Points, the law that forecasts them with the band of a new run, and the forecasts, in one panel.

    fits: that the points are of. ways: what the same law says elsewhere. of_series: how many series there are, where
    the fits are of some of them.
    """
    every = [fit for fit in fits if fit.points is not None and fit.points.n]
    mine = [every[row] for row in evenly(len(every), DRAWN)]
    if not mine:
        raise UsageError("nothing to plot: no series has a usable run")
    x, y = _axes(mine[0])
    ends = [each.inputs[x.name] for each in predictions]
    told: dict[str, list[Prediction]] = {}
    for each in ways(way_to(np.concatenate([_points(fit, x)[0] for fit in mine]), ends, x)):
        told.setdefault(each.series, []).append(each)
    there: dict[str, list[Prediction]] = {}
    for each in predictions:
        there.setdefault(each.series, []).append(each)
    curves = [Curve(name=fit.series, x=_points(fit, x)[0], y=_points(fit, x)[1], way=told.get(fit.series, ()),
                    forecasts=there.get(fit.series, ())) for fit in mine]
    return figure(_titled(scaling(curves, x, y, str), None, len(mine), of_series or len(every)), path)


def draw_optima(sweeps: Sequence[Sweep], path: str | Path | None = None) -> Figure:
    """A panel a series: loss over params by budget, minima, the frontier, and the optima for the budgets asked for."""
    return figure(isoflops(sweeps, str), path)


def draw_plan(plan: Plan, path: str | Path | None = None) -> Figure:
    """Runs made, runs planned and the target: in the plane of two sizes, or on the curve of one."""
    return figure(plans(plan, str), path)


def draw_finals(every: Sequence[Course], forecasts: Sequence[FinalForecast],
                path: str | Path | None = None) -> Figure:
    """Courses of finished runs, of those forecast so far, and their forecasts, a panel an experiment."""
    plot = courses(every, forecasts, str)
    if plot is None:
        raise UsageError("nothing to plot: no run that is forecast has a curve here")
    return figure(plot, path)


def _curves(fits: Sequence[Fit], law: str) -> Plot:
    """A panel of the fits of one law, with bands where they can be told apart."""
    x, y = _axes(fits[0])
    curves, mine = [], [fits[row] for row in evenly(len(fits), DRAWN)]
    for fit in mine:
        sizes, values = _points(fit, x)
        places = way_to(sizes, [], x)
        curves.append(Curve(name=fit.series, x=sizes, y=values, way=[_at(fit, x.name, place, bounded=len(fits) <= FEW)
                                                                     for place in places]))
    return _titled(scaling(curves, x, y, str), law, len(mine), len(fits))


def _at(fit: Fit, x: str, place: float, *, bounded: bool) -> Prediction:
    """What the fit says at a place, with intervals if they are shown and there are any."""
    if bounded and fit.solver is not None:
        made: Prediction = fit.predict(**{x: place})
        return made
    law = function_of(fit)
    return Prediction(series=fit.series, law=fit.law, inputs={x: place}, response=fit.response,
                      value=None if law is None else float(law(np.array([place]))[0]))


def _axes(fit: Fit) -> tuple[Quantity, Quantity]:
    assert fit.points is not None
    return fit.points.quantity(next(iter(fit.points.inputs))), fit.points.quantity(fit.points.name)


def _points(fit: Fit, x: Quantity) -> tuple[np.ndarray, np.ndarray]:
    assert fit.points is not None
    return fit.points.inputs[x.name], fit.points.response


def _titled(plot: Plot | None, law: str | None, drawn: int, count: int) -> Plot:
    """The figure with its law, and how many of the series are drawn, as the title. Raises UsageError for none."""
    if plot is None:
        raise UsageError("nothing to plot: no series has a usable run")
    title = plot.note.removeprefix("law: ") if law is None else law
    title += f"; {drawn} of {count:,} series" * (drawn < count)
    return replace(plot, panels=tuple(replace(panel, title=title) for panel in plot.panels), note="")


def _joined(plots: Sequence[Plot]) -> Plot:
    """One figure of the panels of several."""
    if len(plots) == 1:
        return plots[0]
    alike = len({panel.x.label for plot in plots for panel in plot.panels}) == 1
    return replace(plots[0], panels=tuple(panel for plot in plots for panel in plot.panels), same_x=alike,
                   same_y=alike, width=3.2)
