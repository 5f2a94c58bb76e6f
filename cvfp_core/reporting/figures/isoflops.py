"""Loss over params at equal compute: runs, the curves of isoFLOP sweeps, their minima, and what is best for budgets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cvfp_core.deciding.optimum import Sweep
from cvfp_core.reporting.figures.colours import GREY, MANY, along, colour, marker, shares
from cvfp_core.reporting.figures.curves import Say, axis
from cvfp_core.reporting.figures.marks import Dots, End, Line, Panel, Plot
from cvfp_core.schema.quantities import of

_APPROACHES = ("#000000", "#777777", "#a00000")


def isoflops(sweeps: Sequence[Sweep], say: Say) -> Plot:
    """A panel a series."""
    return Plot(panels=tuple(_panel(each, say, titled=len(sweeps) > 1) for each in sweeps), same_x=False, same_y=False,
                width=4.6 if len(sweeps) == 1 else 3.2, height=3.4)


def _panel(sweep: Sweep, say: Say, *, titled: bool) -> Panel:
    """A colour a budget, its curve and minimum, the line through the minima, the optima asked for."""
    minima = sweep.isoflops.minima
    shown = minima or tuple(each for each in sweep.isoflops.budgets if each.n > 3)
    few = len(shown) <= MANY
    hues = [colour(index) if few else along(share)
            for index, share in enumerate(shares([each.flops for each in shown]))]
    marks: list[Dots | Line] = []
    ends = []
    for index, (budget, hue) in enumerate(zip(shown, hues, strict=True)):
        params, response = sweep.params[budget.rows], sweep.response[budget.rows]
        text = f"{budget.flops:.2g} FLOPs".replace("e+", "e")
        marks.append(Dots(x=params, y=response, colour=hue, marker=marker(index) if few else "o", size=3.5, name=text))
        last = int(np.argmax(params))
        ends.append(End(x=float(params[last]), y=float(response[last]), text=text, colour=hue))
        if budget.params is not None and budget.loss is not None:
            fine = np.geomspace(params.min(), params.max(), 60)
            marks.append(Line(x=fine, y=budget.loss_at(fine), colour=hue, width=1.0))
            marks.append(Dots(x=np.array([budget.params]), y=np.array([budget.loss]), colour=hue, fill="none", size=7))
    if not shown:
        marks.append(Dots(x=sweep.params, y=sweep.response, colour=colour(0), size=3.5))
    for index, approach in enumerate(dict.fromkeys(each.approach for each in sweep.optima)):
        best = [each for each in sweep.optima if each.approach == approach and each.params and each.value]
        hue = _APPROACHES[index % len(_APPROACHES)]
        if approach == "isoFLOP" and best and minima:
            line = sorted([*((one.flops, one.params or 0.0, one.loss or 0.0) for one in minima),
                           *((each.flops, each.params or 0.0, each.value or 0.0) for each in best)])
            marks.append(Line(x=np.array([each[1] for each in line]), y=np.array([each[2] for each in line]),
                              colour=GREY, dashed=True, width=0.9))
        for number, each in enumerate(best):
            x, y = float(each.params or 0.0), float(each.value or 0.0)
            marks.append(Dots(x=np.array([x]), y=np.array([y]), colour=hue, marker="*", size=9, name=approach))
            if each.params_low is not None and each.params_high is not None:
                marks.append(Line(x=np.array([each.params_low, each.params_high]), y=np.array([y, y]), colour=hue,
                                  width=1.0))
            if each.run_low is not None and each.run_high is not None:
                marks.append(Line(x=np.array([x, x]), y=np.array([each.run_low, each.run_high]), colour=hue,
                                  width=1.0))
            if number == 0:
                ends.append(End(x=x, y=y, text=say(approach), colour=hue))
    response = of(sweep.optima[0].response)
    return Panel(marks=tuple(marks), x=axis(of("params"), [sweep.params], say),
                 y=axis(response, [sweep.response], say), title=sweep.series if titled else "", ends=tuple(ends))
