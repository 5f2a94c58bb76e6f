"""A law of several inputs: slices along each of them, and observed against predicted values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from cvfp_core.fitting import Prediction
from cvfp_core.reporting.figures.colours import GREY, MANY, colour, marker, shares
from cvfp_core.reporting.figures.colours import along as along_scale
from cvfp_core.reporting.figures.curves import Say, axis, diagonal
from cvfp_core.reporting.figures.marks import Array, Axis, Dots, Line, Panel, Plot
from cvfp_core.reporting.figures.places import written
from cvfp_core.schema.fits import Fit, Points
from cvfp_core.schema.quantities import Quantity

LEVELS = 5
"""Values of another input at which a surface is drawn, where they are many."""
HUES = 24
"""Colours of runs then, along a scale."""


def surface(fit: Fit | None, say: Say, forecasts: Sequence[Prediction] = ()) -> Plot | None:
    """A panel for each input, with the law at a few values of another, and one of observed against predicted.

    forecasts: of the law, drawn with the slices through them.
    """
    law, points = function_of(fit), fit.points if fit is not None else None
    if fit is None or law is None or points is None:
        return None
    y = points.quantity(fit.response)
    percent = 100 if y.percent else 1
    predicted, observed = percent * law(*points.inputs.values()), percent * points.response
    up = axis(y, [predicted, observed], say)
    panels = [_slices(points, law, place, y, up, say, forecasts) for place in range(len(points.inputs))]
    ends = np.concatenate([predicted, observed])
    panels.append(Panel(
        marks=(diagonal(float(ends.min()), float(ends.max())),
               Dots(x=predicted, y=observed, colour=colour(0), size=3, name=fit.series)),
        x=Axis(label=say("predicted"), log=up.log), y=Axis(label=say("observed"), log=up.log),
        title=say("observed against predicted")))
    return Plot(panels=tuple(panels), same_x=False, same_y=False, width=2.9)


def _slices(points: Points, law: Callable[..., Array], place: int, y: Quantity, up: Axis, say: Say,
            forecasts: Sequence[Prediction]) -> Panel:
    """Runs and law along the input at this place, by values of another; of many, colours follow a scale."""
    inputs = list(points.inputs.items())
    (name, values), (other, others) = inputs[place], inputs[place - 1]
    percent = 100 if y.percent else 1
    levels = np.unique(others)
    few = len(levels) <= MANY
    scale = np.rint((HUES - 1) * np.array(shares(others.tolist()))).astype(int)
    step = np.searchsorted(levels, others) if few else scale
    marks: list[Dots | Line] = [
        Dots(x=values[step == each], y=percent * points.response[step == each], size=3,
             colour=colour(each) if few else along_scale(each / (HUES - 1)), marker=marker(each) if few else "o")
        for each in np.unique(step)]
    if not few:
        levels = levels[np.rint(np.linspace(0, len(levels) - 1, LEVELS)).astype(int)]
    hues = list(map(colour, range(len(levels)))) if few else list(map(along_scale, shares(levels.tolist())))
    for index, (level, hue, text) in enumerate(zip(levels, hues, written([float(f"{each:.3g}") for each in levels]),
                                                   strict=True)):
        if few:
            marks[index] = replace(marks[index], name=text)
        low, high = float(values.min()), float(values.max())
        along = np.geomspace(low, high, 60) if low > 0 else np.linspace(low, high, 60)
        at = [along if key == name else level if key == other else np.median(column) for key, column in inputs]
        marks.append(Line(x=along, y=percent * law(*at), colour=hue, name="" if few else text))
    for each in forecasts:
        if each.value is None:
            continue
        end = each.inputs[name]
        ends = min(end, float(values.min())), max(end, float(values.max()))
        along = np.geomspace(*ends, 60) if ends[0] > 0 else np.linspace(*ends, 60)
        at = [along if key == name else each.inputs[key] for key, _ in inputs]
        marks.append(Line(x=along, y=percent * law(*at), colour=GREY, dashed=True, width=1.0))
        if each.run_low is not None and each.run_high is not None:
            marks.append(Line(x=np.array([end, end]), y=percent * np.array([each.run_low, each.run_high]), colour=GREY,
                              width=1.0))
        marks.append(Dots(x=np.array([end]), y=percent * np.array([each.value]), colour=GREY, fill="white", size=4,
                          name=written([float(f"{each.inputs[other]:.3g}")])[0]))
    return Panel(marks=tuple(marks), x=axis(points.quantity(name), [values], say), y=up,
                 legend=points.quantity(other).label or other)


def function_of(fit: Fit | None) -> Callable[..., Array] | None:
    """The fitted law as a function of its inputs, in their order; None if it cannot be drawn."""
    law = getattr(fit.solver, "law", None) if fit is not None else None
    if fit is None or law is None or law.function is None or not fit.usable:
        return None
    values = {each.name: fit.value(each.name) for each in law.parameters}
    if any(value is None for value in values.values()):
        return None

    def response(*inputs: Array) -> Array:
        with np.errstate(all="ignore"):
            given = dict(zip(law.inputs, np.broadcast_arrays(*inputs), strict=True))
            return np.asarray(law.function(**given, **values), dtype=float)

    return response
