"""Runs made, runs planned and the target: in the plane of two sizes, or on the curve of one."""

from __future__ import annotations

import numpy as np

from cvfp_core.deciding.multiplier import ARM
from cvfp_core.deciding.plan import Plan
from cvfp_core.reporting.figures.colours import colour
from cvfp_core.reporting.figures.curves import Say, axis
from cvfp_core.reporting.figures.marks import Dots, Line, Panel, Plot

_BLACK = "#000000"


def plans(each: Plan, say: Say) -> Plot:
    """A panel: runs by arm, planned ones with their numbers. Of laws with further inputs the first two are shown."""
    points, (x, *more) = each.points, each.inputs
    y = more[0] if more else points.name
    marks: list[Dots | Line] = []
    for index, arm in enumerate(each.arms or ("",)):
        mine = points.inputs[ARM] == index if each.arms else np.ones(points.n, dtype=bool)
        made = (points.inputs[y] if more else points.response)[mine]
        prefix = f"{arm}: " if arm else ""
        marks.append(Dots(x=points.inputs[x][mine], y=made, colour=colour(index), size=3.5,
                          name=prefix + say("runs made")))
        steps = [step for step in each.steps if step.arm in (None, arm)]
        level = float(np.median(made))  # where no law is trusted nothing is expected
        if steps:
            heights = [step.inputs[y] if more else level if step.expected is None else step.expected for step in steps]
            marks.append(Dots(x=np.array([step.inputs[x] for step in steps]), y=np.array(heights), fill="none", size=9,
                              colour=colour(index), name=prefix + say("runs planned"),
                              texts=tuple(str(step.number) for step in steps)))
    target = each.target.inputs
    if target and (more or each.value is not None):
        height = target[y] if more else float(each.value or 0.0)
        if not more:
            marks.append(_bar(target[x], each.low, each.high, "#777777", 1.0, say("95 % interval now")))
            if each.steps:
                last = each.steps[-1]
                marks.append(_bar(target[x], last.low, last.high, _BLACK, 2.5, say("expected after these runs")))
        marks.append(Dots(x=np.array([target[x]]), y=np.array([height]), colour=_BLACK, marker="*", size=10,
                          name=say("target")))
    found = [mark for mark in marks if isinstance(mark, Dots)]
    return Plot(panels=(Panel(marks=tuple(marks), x=axis(points.quantity(x), [mark.x for mark in found], say),
                              y=axis(points.quantity(y), [mark.y for mark in found], say), legend=""),),
                width=4.6, height=3.4)


def _bar(x: float, low: float | None, high: float | None, hue: str, width: float, name: str) -> Line:
    return Line(x=np.array([x, x]), y=np.array([low, high], dtype=float), colour=hue, width=width, name=name)
