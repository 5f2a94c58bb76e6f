"""Curves of finished runs, of those forecast as far as they were known, and their forecasts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cvfp_core.deciding.courses import Course
from cvfp_core.deciding.forecast import FinalForecast
from cvfp_core.reporting.figures.colours import COLOURS, colour
from cvfp_core.reporting.figures.curves import Say, axis
from cvfp_core.reporting.figures.marks import Axis, Dots, Line, Panel, Plot
from cvfp_core.schema.quantities import of

_FINISHED = "#c4c4c4"


def courses(every: Sequence[Course], forecasts: Sequence[FinalForecast], say: Say) -> Plot | None:
    """A panel an experiment of which a run is forecast; None where there is none."""
    asked = {each.run_id for each in forecasts}
    groups: dict[str, list[Course]] = {}
    for course in every:
        groups.setdefault(course.experiment, []).append(course)
    panels = tuple(_panel(name, mine, forecasts, say) for name, mine in groups.items()
                   if any(each.run_id in asked for each in mine))
    return Plot(panels=panels, same_x=False, same_y=False, width=4.6 if len(panels) == 1 else 3.5,
                height=3.0) if panels else None


def _panel(name: str, every: Sequence[Course], forecasts: Sequence[FinalForecast], say: Say) -> Panel:
    asked = {each.run_id: each for each in forecasts}
    marks: list[Dots | Line] = [Line(x=course.steps, y=course.values, colour=_FINISHED, width=0.8)
                                for course in every if course.run_id not in asked]
    last = max([1, *(course.last for course in every)])
    mine = [each for each in every if each.run_id in asked]
    for index, course in enumerate(mine):
        told, hue = asked[course.run_id], colour(index)
        so_far = course.upto(told.step or 0)
        if course.final is not None:
            marks.append(Line(x=course.steps, y=course.values, colour=hue, dashed=True, width=0.6))
        marks += [Line(x=so_far.steps, y=so_far.values, colour=hue),
                  Dots(x=so_far.steps, y=so_far.values, colour=hue, size=3,
                       name=told.name if len(mine) <= len(COLOURS) else "")]
        if told.value is not None and told.low is not None and told.high is not None:
            end = last * (1.03 + 0.03 * (index % 5))
            marks += [Line(x=np.array([end, end]), y=np.array([told.low, told.high]), colour=hue, width=1.4),
                      Line(x=np.array([so_far.last, end]), y=np.array([so_far.values[-1], told.value]), colour=hue,
                           dashed=True, width=0.6),
                      Dots(x=np.array([end]), y=np.array([told.value]), colour=hue, fill="white", size=3.5)]
    response = of(every[0].response)
    return Panel(marks=tuple(marks), x=Axis(label=say("epoch") if every[0].best else say("step")),
                 y=axis(response, [mark.y for mark in marks], say), title=name,
                 legend="" if len(mine) <= len(COLOURS) else None)
