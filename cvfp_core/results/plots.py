"""Fits and forecasts as a figure: the points, the laws through them, and what they say beyond."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cvfp_core.deciding.courses import Course
from cvfp_core.deciding.forecast import FinalForecast
from cvfp_core.deciding.optimum import Sweep
from cvfp_core.errors import CvfpError, UsageError
from cvfp_core.fitting import Fit, Prediction
from cvfp_core.reporting.figures import finals_panel, function_of, isoflop_panel, scale, text_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw(fits: Sequence[Fit], predictions: Sequence[Prediction] = (), path: str | Path | None = None) -> Figure:
    """Points with their laws, a panel a law; of a law of several inputs, measured against fitted values.

    path: a file to write it to; its ending says the format. Raises CvfpError where matplotlib is not installed.
    """
    laws = list(dict.fromkeys(fit.law for fit in fits if fit.points is not None and fit.points.n))
    if not laws:
        raise UsageError("nothing to plot: no series has a usable run")
    figure = _figure(len(laws))
    for axes, law in zip(figure.subplots(1, len(laws), squeeze=False)[0], laws, strict=True):
        mine = [fit for fit in fits if fit.law == law and fit.points is not None and fit.points.n]
        if len(mine[0].inputs) == 1:
            _curves(axes, mine, [each for each in predictions if each.law == law])
        else:
            _surface(axes, mine)
        axes.set_title(law, loc="left")
        axes.legend()
    return _written(figure, path)


def _figure(panels: int) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise CvfpError("figures need matplotlib, which is not installed; pip install 'cvfp[figures]'") from None
    return Figure(figsize=(5.2 * panels, 4), layout="constrained")


def _written(figure: Figure, path: str | Path | None) -> Figure:
    if path is not None:
        try:
            figure.savefig(path)
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot write '{path}': {error}") from None
    return figure


def _curves(axes: Axes, fits: Sequence[Fit], predictions: Sequence[Prediction]) -> None:
    (name,) = fits[0].inputs
    for index, fit in enumerate(fits):
        colour = f"C{index % 10}"
        assert fit.points is not None
        x, y = fit.points.inputs[name], fit.points.response
        axes.plot(x, y, "o", color=colour, label=text_of(fit.series))
        mine = [each for each in predictions if each.series == fit.series]
        grid = np.geomspace(x.min(), max([x.max(), *(each.inputs[name] for each in mine)]), 200)
        if (law := function_of(fit)) is not None:
            axes.plot(grid, law(grid), color=colour, linewidth=1)
        for each in mine:
            if each.run_low is not None and each.run_high is not None:
                axes.plot([each.inputs[name]] * 2, [each.run_low, each.run_high], color=colour, linewidth=1)
            axes.plot([each.inputs[name]], [each.value or np.nan], "o", color=colour, markerfacecolor="white")
    axes.set(xlabel=name, ylabel=fits[0].response)
    if (points := fits[0].points) is not None:
        scale(axes, points.quantity(name), points.quantity(points.name))


def _surface(axes: Axes, fits: Sequence[Fit]) -> None:
    for fit in fits:
        assert fit.points is not None
        if (law := function_of(fit)) is not None:
            axes.plot(law(*fit.points.inputs.values()), fit.points.response, "o", label=text_of(fit.series))
    ends = [*axes.get_xlim(), *axes.get_ylim()]
    axes.axline((min(ends), min(ends)), slope=1, color="grey", linewidth=1)
    axes.set(xlabel=f"{fits[0].response}, fitted", ylabel=f"{fits[0].response}, measured")


def draw_optima(sweeps: Sequence[Sweep], path: str | Path | None = None) -> Figure:
    """A panel a series: loss over params by budget, minima, the frontier, and the optima for the budgets asked for."""
    figure = _figure(len(sweeps))
    for axes, sweep in zip(figure.subplots(1, len(sweeps), squeeze=False)[0], sweeps, strict=True):
        isoflop_panel(axes, sweep)
        axes.set_title(text_of(sweep.series), loc="left")
        axes.set(xlabel="params", ylabel=sweep.optima[0].response)
        axes.legend(fontsize=7)
    return _written(figure, path)


def draw_finals(courses: Sequence[Course], forecasts: Sequence[FinalForecast],
                path: str | Path | None = None) -> Figure:
    """Courses of finished runs, of those forecast so far, and their forecasts, a panel an experiment."""
    names = list(dict.fromkeys(each.experiment for each in courses if each.run_id in {one.run_id for one in forecasts}))
    if not names:
        raise UsageError("nothing to plot: no run that is forecast has a curve here")
    figure = _figure(len(names))
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        finals_panel(axes, [each for each in courses if each.experiment == name], forecasts)
        axes.set_title(text_of(name), loc="left")
        axes.set(xlabel="epoch" if courses[0].best else "step", ylabel=courses[0].response)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=7)
    return _written(figure, path)
