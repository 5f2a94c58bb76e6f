"""Which figures a report has: those its template uses and its records have data for."""

from __future__ import annotations

import gettext
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from cvfp_core.fitting import Prediction
from cvfp_core.reporting.figures import phases
from cvfp_core.reporting.figures.courses import courses
from cvfp_core.reporting.figures.curves import Curve, scaling
from cvfp_core.reporting.figures.isoflops import isoflops
from cvfp_core.reporting.figures.marks import Plot
from cvfp_core.reporting.figures.places import written
from cvfp_core.reporting.figures.plans import plans
from cvfp_core.reporting.figures.surfaces import HUES, function_of, surface
from cvfp_core.reporting.sweep import BOTH
from cvfp_core.reporting.view import USUAL, Facts
from cvfp_core.reporting.way import way_to
from cvfp_core.schema.fits import Fit

TITLES = {
    "scaling": "Perplexity against training tokens, with the law that forecasts and its band",
    "alpha": "Exponents with 95 % intervals",
    "matched": "Effective rank and perplexity at matched sizes",
    "convergence": "Convergence of Phase 1",
    "isoflops": "Loss over params at equal compute, and the compute-optimal sizes",
    "plan": "Runs made, runs planned and the target",
    "courses": "Curves of runs so far, and what they will end with",
    "alpha_over_val_er": "Exponent over effective rank",
    "windows": "Exponents over windows of sizes",
}
OTHER_AXES = "{y} against {x}, with the law that forecasts and its band"
SURFACE = "{y} by {law}: slices along each input, and observed against predicted"
CAPTIONS = {
    "scaling": "Points: runs. Line: the law that forecasts, dashed beyond the runs. Open mark: forecast. Band and bar: "
               "95 % interval of one new run.",
    "convergence": "Largest run of each configuration that has a curve.",
    "isoflops": "Points: runs, a colour a budget, with the curve fitted to them and its minimum (ring). Dashed: the "
                "sizes that are best by the minima. Stars: what is asked for, with the 95 % intervals of the best size "
                "and of a new run.",
    "plan": "Points: runs made. Open marks: runs planned, in their order. Star: the target.",
    "courses": "Grey: finished runs. Colour: as far as known when it was forecast; dashed: how it went on. Open mark: "
               "forecast, with its 95 % interval.",
    "alpha_over_val_er": "Exponent of each configuration over its effective rank at its lowest perplexity; r with its "
                         "95 % interval.",
}
SLICES = "Points: runs, coloured by another input. Lines: the fitted law at values of it."
WORDS = ("training tokens", "validation perplexity", "law", "average of {laws}", "predicted", "observed",
         "observed against predicted", "alpha, 95 % interval (ring: as published)", "alpha, 95 % interval",
         "validation effective rank (%)", "window of sizes", "tokens", "iteration of Phase 1", "tokens converged (%)",
         "alpha", " and ")
"""What figures say beside names of quantities."""


def plots(facts: Facts, spoken: gettext.NullTranslations, used: Collection[str] | None) -> dict[str, Plot]:
    """The figures by name, of those used that there is data for. used: None: any; `surface-`: those of all laws."""
    say = spoken.gettext
    makers: dict[str, Callable[[], Plot | None]] = {
        "scaling": lambda: _scaling(facts, say),
        "alpha": lambda: phases.alpha(facts.series, say),
        "matched": lambda: phases.matched(facts.series, say),
        "convergence": lambda: phases.convergence(facts.series, facts.given.curves(), say),
        "isoflops": lambda: isoflops(facts.sweeps, say) if facts.sweeps else None,
        "plan": lambda: plans(facts.planned, say),
        "courses": lambda: _courses(facts, say),
        "alpha_over_val_er": lambda: phases.alpha_over_val_er(facts.series, say),
        "windows": lambda: phases.windows(facts.series, say),
    }
    found = {name: make() for name, make in makers.items() if used is None or name in used}
    if used is not None and "joint" in used and facts.joint is not None:
        found["joint"] = surface(_drawn(facts.drawn[facts.joint["law"]]), say)
    if used is None or "surface-" in used:
        found |= {f"surface-{name}": surface(fit, say) for name, fits in facts.every_fit.items()
                  if (fit := _drawn(fits)) is not None}
    return {name: plot for name, plot in found.items() if plot is not None}


def views(facts: Facts, paths: Mapping[str, str]) -> dict[str, Any]:
    """The `FigureView` of each figure by name. paths: of those that are made."""
    x, y = facts.axes
    titles = TITLES if (x.name, y.name) == USUAL else TITLES | {"scaling": OTHER_AXES}
    made = {name: {"name": name, "path": paths.get(name), "title": title,
                   "values": {"x": x.heading, "y": y.heading}, "caption": CAPTIONS.get(name, "")}
            for name, title in titles.items()}
    for name in paths:
        if name not in made:
            law = facts.joint["law"] if name == "joint" and facts.joint else name.removeprefix("surface-")
            fit = _drawn(facts.drawn[law] if name == "joint" else facts.every_fit[law])
            heading = fit.points.quantity(fit.response).heading if fit is not None and fit.points is not None else ""
            made[name] = {"name": name, "path": paths[name], "title": SURFACE, "caption": SLICES,
                          "values": {"y": heading, "law": law}}
    return made


def _drawn(fits: Sequence[Fit]) -> Fit | None:
    """The first fit of a law of several inputs that can be drawn."""
    return next((fit for fit in fits if len(fit.inputs) > 1 and function_of(fit) is not None), None)


def _courses(facts: Facts, say: Callable[[str], str]) -> Plot | None:
    """Of runs still going, or where there are none of the first series that has ended."""
    going, ended = facts.outlooks
    made = going or ended
    if made is None:
        return None
    first = made.forecasts[0].series if made.forecasts else ""
    return courses(made.courses, made.forecasts if going else [each for each in made.forecasts
                                                               if each.series == first], say)


def _scaling(facts: Facts, say: Callable[[str], str]) -> Plot | None:
    if facts.surface:
        return _sections(facts, say)
    x, y = facts.axes
    several = len({each["experiment"] for each in facts.series}) < len(facts.series)
    curves = []
    for each in facts.series:
        runs = [run for run in each["runs"] if run[y.name] is not None and run[x.name] is not None]
        curves.append(Curve(
            name=each["name"] if several else each["title"], group=each["experiment"],
            x=np.array([run[x.name] for run in runs], dtype=float),
            y=np.array([run[y.name] for run in runs], dtype=float),
            way=facts.way.get(each["label"], ()), forecasts=facts.ahead.get(each["label"], ()),
            sizes=_shared(facts, runs)))
    return scaling(curves, x, y, say)


def _sections(facts: Facts, say: Callable[[str], str]) -> Plot | None:
    """The law of two sizes along training tokens, a curve for each number of params, or of neighbours of many; else
    None.
    """
    fit = _drawn(list(facts.law_fits.values()))
    law = function_of(fit)
    if fit is None or fit.points is None or law is None or set(fit.inputs) != set(BOTH) or len(facts.law_fits) > 1:
        return None
    (params, tokens), response = (fit.points.inputs[name] for name in BOTH), fit.points.response
    made = []
    levels = np.unique(params)
    alike = np.array_split(levels, min(len(levels), HUES))
    middle = [each[len(each) // 2] for each in alike]
    for near, size, text in zip(alike, middle, written([float(f"{each:.3g}") for each in middle]), strict=True):
        mine = (params >= near[0]) & (params <= near[-1])
        way = [Prediction(series=text, law=fit.law, inputs={BOTH[1]: at}, value=float(law(
            *({BOTH[0]: size, BOTH[1]: at}[name] for name in fit.inputs))))
            for at in way_to(tokens[mine], [], facts.registry.quantity(BOTH[1]))]
        made.append(Curve(name=text, x=tokens[mine], y=response[mine], way=way, sizes={BOTH[0]: float(size)}))
    return scaling(made, facts.registry.quantity(BOTH[1]), fit.points.quantity(fit.response), say)


def _shared(facts: Facts, runs: list[dict[str, Any]]) -> dict[str, float]:
    """The sizes that all runs of a series share, by heading."""
    made = {}
    for name in runs[0] if runs else ():
        quantity = facts.registry.quantity(name)
        values = {run[name] for run in runs}
        if quantity.kind == "size" and name != facts.axes[0].name and len(values) == 1:
            value = values.pop()
            if isinstance(value, int | float) and not isinstance(value, bool):
                made[quantity.heading] = float(value)
    return {name: made[name] for name in sorted(made, key=lambda name: name != "params")}
