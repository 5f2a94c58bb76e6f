"""A law of several inputs: slices along each of them, and observed against predicted values."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cvfp_core.fitting import Prediction
from cvfp_core.reporting.figures.colours import GREY, MANY, colour, marker
from cvfp_core.reporting.figures.curves import Say, axis, diagonal
from cvfp_core.reporting.figures.marks import Array, Axis, Dots, Line, Panel, Plot
from cvfp_core.reporting.figures.places import written
from cvfp_core.schema.fits import Fit, Points
from cvfp_core.schema.quantities import Quantity

SLICES = 4
"""Groups of values of another input at which a surface is drawn, where the values are many."""


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
    """Runs and law along the input at this place, by values of another, or by groups of equally many of them."""
    inputs = list(points.inputs.items())
    (name, values), (other, others) = inputs[place], inputs[place - 1]
    percent = 100 if y.percent else 1
    group, levels, texts = _levels(others)
    marks: list[Dots | Line] = []
    for index, (level, text) in enumerate(zip(levels, texts, strict=True)):
        mine = group == index
        marks.append(Dots(x=values[mine], y=percent * points.response[mine], colour=colour(index),
                          marker=marker(index), size=3, name=text))
        low, high = float(values.min()), float(values.max())
        along = np.geomspace(low, high, 60) if low > 0 else np.linspace(low, high, 60)
        at = [along if key == name else level if key == other else np.median(column) for key, column in inputs]
        marks.append(Line(x=along, y=percent * law(*at), colour=colour(index)))
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


def _levels(values: Array) -> tuple[Array, Array, list[str]]:
    """(n,) the group of each value, (groups,) their medians and texts: distinct values, or of many equal shares."""
    distinct, group = np.unique(values, return_inverse=True)
    if len(distinct) <= MANY:
        return group, distinct, written([float(f"{each:.3g}") for each in distinct])
    ends = np.quantile(values, np.arange(1, SLICES) / SLICES)
    _, group = np.unique(np.searchsorted(ends, values), return_inverse=True)
    mine = [values[group == index] for index in range(group.max() + 1)]
    texts = [" – ".join(dict.fromkeys(written([float(f"{end:.3g}") for end in (each.min(), each.max())])))
             for each in mine]
    return group, np.array(list(map(np.median, mine))), texts
