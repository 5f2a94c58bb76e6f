"""The figures of a report as SVG: same view, same bytes on one version of matplotlib; text stays text.

Layouts do not depend on installed fonts: text is measured in the font that comes with matplotlib, and readers' own
fonts are named in the file.
"""

from __future__ import annotations

import gettext
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cvfp_core.deciding.courses import Course
from cvfp_core.deciding.forecast import FinalForecast
from cvfp_core.deciding.optimum import Sweep
from cvfp_core.reporting.measures import size
from cvfp_core.reporting.view import POWER_LAW, Facts
from cvfp_core.schema.fits import Array, Fit
from cvfp_core.schema.quantities import Quantity, of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLES = {
    "scaling": "Perplexity against training tokens, with power laws and forecasts",
    "alpha": "Exponents with 95 % intervals",
    "matched": "Effective rank and perplexity at matched sizes",
    "convergence": "Convergence of Phase 1",
    "isoflops": "Loss over params at equal compute, and the compute-optimal sizes",
    "courses": "Curves of runs so far, and what they will end with",
}
OTHER_AXES = "{y} against {x}, with fitted laws and forecasts"
SURFACE = "{y} by {law}: slices along each input, and observed against predicted"
CAPTIONS = {
    "scaling": "Points: runs. Line: power law with its 95 % band, dashed beyond the runs. Open mark: forecast by the "
               "law that the points call for, with the 95 % interval of one run.",
    "convergence": "Largest run of each configuration that has a curve.",
    "isoflops": "Points: runs, a colour a budget, with the curve fitted to them and its minimum (ring). Dashed: the "
                "sizes that are best by the minima. Stars: what is asked for, with the 95 % intervals of the best size "
                "and of a new run.",
    "courses": "Grey: finished runs. Colour: as far as known when it was forecast; dotted: how it went on. Open mark: "
               "forecast, with its 95 % interval.",
}
OTHER_LAW = "Points: runs. Line: fitted law, dashed beyond. Open mark: forecast with the 95 % interval of one run."
SLICES = "Points: runs, by another input in groups of equally many. Lines: the fitted law at the median of each group."
_LABELS = {"train_tokens": "training tokens", "val_ppl": "validation perplexity"}
_FONTS = "'Hiragino Sans', 'Noto Sans CJK JP', 'Noto Sans JP', 'Yu Gothic', 'Meiryo', 'DejaVu Sans', sans-serif"
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#8c6d00", "#5b3a8c", "#555555", "#a00000")
"""Okabe and Ito 2008, told apart by most colour-blind readers; darkened where too light on white."""
_MARKERS = "osD^vPX*<"
_SLICES = 4
"""Values of another input at which a surface is drawn."""
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "cvfp", "font.family": "DejaVu Sans", "font.size": 9,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6, "axes.axisbelow": True, "axes.unicode_minus": False, "legend.frameon": False,
    "legend.fontsize": 8, "figure.facecolor": "white", "lines.markersize": 4.5, "lines.linewidth": 1.3,
}


def missing() -> str | None:
    """Why figures cannot be made, as a message; None if they can."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return "not_installed"
    return None


Series = Mapping[str, Any]


def draw(facts: Facts, spoken: gettext.NullTranslations, *, surfaces: bool, sweeps: bool = False,
         finals: bool = False) -> tuple[dict[str, Any], dict[str, str]]:
    """The `FigureView` of each figure by name, and SVG by path of those there is data for.

    surfaces: whether laws of several inputs are drawn too. sweeps: whether compute-optimal sizes are. finals: whether
    forecasts of unfinished runs are.
    """
    import matplotlib

    say, folder = spoken.gettext, facts.asked.figures
    made, svgs = views(facts), {}
    makers: dict[str, Callable[[], Figure | None]] = {
        "scaling": lambda: _scaling(facts, say),
        "alpha": lambda: _alpha(facts.series, say),
        "matched": lambda: _matched(facts.series, say),
        "convergence": lambda: _convergence(facts.series, facts.given.curves(), say),
    }
    if sweeps:
        makers["isoflops"] = lambda: _isoflops(facts.sweeps, say)
    if finals:
        makers["courses"] = lambda: _courses(facts, say)
    for name, fits in facts.every_fit.items() if surfaces else ():
        fit = next((fit for fit in fits if len(fit.inputs) > 1 and function_of(fit) is not None), None)
        if fit is not None and fit.points is not None:
            makers[f"surface-{name}"] = lambda fit=fit: _surface(fit, say)  # type: ignore[misc]
            heading = fit.points.quantity(fit.response).heading
            made[f"surface-{name}"] = {"name": f"surface-{name}", "path": None, "title": SURFACE,
                                       "values": {"y": heading, "law": name}, "caption": SLICES}
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a missing glyph is the reader's font's business
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        for name, make in makers.items():
            figure = make()
            if figure is not None:
                made[name]["path"] = path = f"{folder}/{name}.svg"
                svgs[path] = _svg(figure)
    return made, svgs


def views(facts: Facts) -> dict[str, Any]:
    """The `FigureView` of each figure by name, before any is drawn."""
    x, y = facts.axes
    titles = TITLES if (x.name, y.name) == tuple(_LABELS) else TITLES | {"scaling": OTHER_AXES}
    captions = CAPTIONS if facts.law == POWER_LAW else CAPTIONS | {"scaling": OTHER_LAW}
    return {name: {"name": name, "path": None, "title": title, "values": {"x": x.heading, "y": y.heading},
                   "caption": captions.get(name, "")} for name, title in titles.items()}


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue().replace("'DejaVu Sans'", _FONTS)
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def _panels(count: int, *, width: float = 3.7, height: float = 3.3, sharex: bool = True,
            sharey: bool = True) -> tuple[Figure, list[Axes]]:
    """Panels in rows of two or three that share their axes."""
    from matplotlib.figure import Figure

    columns = 2 if count in (2, 4) else min(count, 3)
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns + 0.9, height * rows + 0.5))
    axes = figure.subplots(rows, columns, sharex=sharex, sharey=sharey, squeeze=False).ravel().tolist()
    for spare in axes[count:]:
        spare.set_visible(False)
    for index, axis in enumerate(axes[:count]):
        if index + columns >= count:
            axis.tick_params(labelbottom=True)
    across, down = width * columns + 0.9, height * rows + 0.5
    figure.subplots_adjust(left=0.75 / across, right=1 - 0.15 / across, bottom=0.6 / down, top=1 - 0.35 / down,
                           wspace=0.12 if sharey else 0.2, hspace=0.28 if sharex else 0.4)
    return figure, axes[:count]


def _named(figure: Figure, x: str, y: str) -> None:
    """Names the axes that all panels share."""
    figure.supxlabel(x, y=0.06 / figure.get_figheight(), va="bottom", fontsize=9)
    figure.supylabel(y, x=0.12 / figure.get_figwidth(), ha="left", fontsize=9)


def _label(quantity: Quantity, say: Callable[[str], str]) -> str:
    if quantity.name in _LABELS:
        return say(_LABELS[quantity.name])
    named = quantity.percent or quantity.unit.lower() in quantity.heading.lower()  # of `FLOPs` or `train tokens`
    unit = "" if named else f" ({say(quantity.unit)})"
    return text_of(say(quantity.heading) + unit)


def text_of(value: object) -> str:
    """A label that matplotlib does not read as mathematics, or leaves out of the legend."""
    return str(value).replace("$", r"\$").removeprefix("_")


def _groups(series: Sequence[Series]) -> dict[str, list[Series]]:
    """The series by experiment, in panels of at most nine."""
    made: dict[str, list[Series]] = {}
    for each in series:
        if each["best"] is not None and each["largest"] is not None:
            made.setdefault(each["experiment"], []).append(each)
    return {
        name if len(each) <= 9 else f"{name} ({start // 9 + 1})": each[start: start + 9]
        for name, each in made.items() for start in range(0, len(each), 9)
    }


def _scaling(facts: Facts, say: Callable[[str], str]) -> Figure | None:
    """The metric against size: runs, the law and its continuation, of a power law its 95 % band, and forecasts."""
    groups = _groups(facts.series)
    if not groups or any(len(fit.inputs) > 1 for fit in facts.law_fits.values()):
        return None
    forecasts = {each["label"]: each for each in facts.forecasts}
    figure, axes = _panels(len(groups))
    for axis, (name, every) in zip(axes, groups.items(), strict=True):
        for index, series in enumerate(every):
            _one_law(axis, facts, series, index, len(every), forecasts.get(series["label"]))
        axis.set_title(text_of(name), loc="left", fontsize=9, fontweight="bold")
        axis.legend(loc="upper left" if facts.axes[1].better == "higher" else "lower left", handlelength=1.2,
                    labelspacing=0.25)
        scale(axis, *facts.axes)
    _named(figure, *(_label(quantity, say) for quantity in facts.axes))
    return figure


def _one_law(axis: Axes, facts: Facts, series: Series, index: int, count: int, forecast: Series | None) -> None:
    x, y = facts.axes
    percent = 100 if y.percent else 1
    colour, marker = _COLOURS[index % len(_COLOURS)], _MARKERS[index % len(_MARKERS)]
    runs = [run for run in series["runs"] if run[y.name] is not None and run[x.name] is not None]
    sizes, values = (np.array([run[quantity.name] for run in runs], dtype=float) for quantity in (x, y))
    axis.plot(sizes, percent * values, marker, color=colour, label=text_of(series["name"]), zorder=3)
    fit = facts.law_fits.get(series["label"])
    law = function_of(fit)
    if law is not None and sizes.min() > 0:
        low, high = float(sizes.min()), float(sizes.max())
        near = np.geomspace(low, high, 40)
        axis.plot(near, percent * law(near), color=colour)
        far = np.geomspace(high, forecast["inputs"].get(x.name, 10 * high) if forecast else 10 * high, 10)
        ahead = law(far)
        far = far[(ahead >= (-np.inf if y.minimum is None else y.minimum)) & (ahead <= (y.maximum or np.inf))]
        axis.plot(far, percent * law(far), color=colour, linestyle=(0, (4, 3)), linewidth=0.9)
        band = _band(sizes, values, near) if facts.law == POWER_LAW else None
        if band is not None:
            axis.fill_between(near, percent * band[0], percent * band[1], color=colour, alpha=0.10, linewidth=0)
    if forecast is not None and forecast["value"] is not None and x.name in forecast["inputs"]:
        at = forecast["inputs"][x.name] * 1.09 ** (index - (count - 1) / 2)
        if forecast["low"] is not None and forecast["high"] is not None:
            axis.plot([at, at], [percent * forecast["low"], percent * forecast["high"]], color=colour, linewidth=1,
                      zorder=2)
        axis.plot([at], [percent * forecast["value"]], marker, color=colour, markerfacecolor="white", zorder=3)


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


def _surface(fit: Fit, say: Callable[[str], str]) -> Figure | None:
    """A panel for each input, with the law at a few values of the others, and one of observed against predicted."""
    law, points = function_of(fit), fit.points
    if law is None or points is None:
        return None
    y = points.quantity(fit.response)
    percent = 100 if y.percent else 1
    figure, axes = _panels(len(points.inputs) + 1, sharex=False, sharey=False)
    inputs = list(points.inputs.items())
    for place, (axis, (name, values)) in enumerate(zip(axes[:-1], inputs, strict=True)):
        other, others = inputs[place - 1]
        group, levels = _levels(others)
        for index, level in enumerate(levels):
            colour, mine = _COLOURS[index % len(_COLOURS)], group == index
            axis.plot(values[mine], percent * points.response[mine], _MARKERS[index], color=colour, markersize=3,
                      label=f"{_tick(float(level))}", zorder=3)
            low, high = float(values.min()), float(values.max())
            along = np.geomspace(low, high, 60) if low > 0 else np.linspace(low, high, 60)
            at = [along if key == name else level if key == other else np.median(column) for key, column in inputs]
            axis.plot(along, percent * law(*at), color=colour)
        axis.legend(title=text_of(points.quantity(other).label or other), loc="best", handlelength=1, labelspacing=0.2,
                    title_fontsize=8)
        scale(axis, points.quantity(name), y)
        axis.set_xlabel(_label(points.quantity(name), say))
    axis = axes[-1]
    predicted = percent * law(*points.inputs.values())
    axis.plot(predicted, percent * points.response, "o", color=_COLOURS[0], markersize=3)
    ends = [float(min(predicted.min(), percent * points.response.min())),
            float(max(predicted.max(), percent * points.response.max()))]
    axis.plot(ends, ends, color="#555555", linewidth=0.8)
    scale(axis, y, y)
    axis.set_xlabel(say("predicted"))
    axis.set_title(say("observed against predicted"), loc="left", fontsize=9)
    figure.supylabel(_label(y, say), x=0.12 / figure.get_figwidth(), ha="left", fontsize=9)
    return figure


def _levels(values: Array) -> tuple[Array, Array]:
    """(n,) the group of each value and (groups,) their medians: distinct values if they are few, or equal shares."""
    distinct, group = np.unique(values, return_inverse=True)
    if len(distinct) > _SLICES:
        ends = np.quantile(values, np.arange(1, _SLICES) / _SLICES)
        _, group = np.unique(np.searchsorted(ends, values), return_inverse=True)
    return group, np.array([np.median(values[group == index]) for index in range(group.max() + 1)])


def _band(sizes: Array, values: Array, x: Array) -> tuple[Array, Array] | None:
    """The 95 % band of the mean of the straight line through the logarithms; None without a degree of freedom."""
    from cvfp_core.fitting.linear import t_quantile

    if len(sizes) < 3 or np.ptp(sizes) == 0 or values.min() <= 0:
        return None
    logs, target = np.log(sizes), np.log(values)
    centred = logs - logs.mean()
    slope = centred @ target / (centred @ centred)
    residuals = target - target.mean() - slope * centred
    sigma = np.sqrt(residuals @ residuals / (len(sizes) - 2))
    at = np.log(x) - logs.mean()
    half: Array = t_quantile(len(sizes) - 2) * sigma * np.sqrt(1 / len(sizes) + at**2 / (centred @ centred))
    line: Array = target.mean() + slope * at
    return np.exp(line - half), np.exp(line + half)


def _alpha(series: Sequence[Series], say: Callable[[str], str]) -> Figure | None:
    """One row a series: the exponent and its interval; a ring where the input states one."""
    from matplotlib.figure import Figure

    rows = [(each, alpha["value"], alpha) for each in series if each["fit"] is not None
            and (alpha := each["fit"]["parameters"].get("alpha")) is not None and alpha["value"] is not None]
    if not rows:
        return None
    height = 0.26 * len(rows) + 0.9
    figure = Figure(figsize=(7.2, height))
    axis = figure.subplots()
    figure.subplots_adjust(left=0.27, right=0.97, top=1 - 0.1 / height, bottom=0.6 / height)
    for index, (each, value, alpha) in enumerate(rows):
        if alpha["low"] is not None and alpha["high"] is not None:
            axis.plot([alpha["low"], alpha["high"]], [index, index], color=_COLOURS[0], linewidth=1.6)
        axis.plot([value], [index], "o", color=_COLOURS[0])
        if each["published_alpha"] is not None:
            axis.plot([each["published_alpha"]], [index], "o", color=_COLOURS[1], markersize=9, markerfacecolor="none")
    axis.set_yticks(range(len(rows)), [text_of(each["label"].replace(":", ": ", 1)) for each, _, _ in rows])
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xlabel(say("alpha, 95 % interval (ring: as published)"))
    axis.grid(visible=False, axis="y")
    return figure


def _matched(series: Sequence[Series], say: Callable[[str], str]) -> Figure | None:
    """Val ER against PPL, a panel for each of the sizes that most series share."""
    found: dict[int, list[tuple[Series, dict[str, Any]]]] = {}
    for each in series:
        for run in each["runs"]:
            if run["val_ppl"] is not None and run["val_er"] is not None and run["train_tokens"] is not None:
                found.setdefault(run["train_tokens"], []).append((each, run))
    sizes = sorted(size for size, each in found.items() if len({s["label"] for s, _ in each}) > 2)
    if not sizes:
        return None
    figure, axes = _panels(len(sizes), height=2.7, sharey=False)
    experiments = list(dict.fromkeys(each["experiment"] for each in series))
    for axis, tokens in zip(axes, sizes, strict=True):
        for which, name in enumerate(experiments):
            mine = [run for each, run in found[tokens] if each["experiment"] == name]
            axis.plot([100 * run["val_er"] for run in mine], [run["val_ppl"] for run in mine],
                      _MARKERS[which % len(_MARKERS)], color=_COLOURS[which % len(_COLOURS)],
                      label=text_of(name))
        axis.set_title(f"{tokens:,} {say('tokens')}", loc="left", fontsize=9, fontweight="bold")
        scale(axis, None, of("val_ppl"))
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower right", ncols=min(len(labels), 6), handlelength=0.8, columnspacing=1)
    _named(figure, say("validation effective rank (%)"), say("validation perplexity"))
    return figure


def _convergence(series: Sequence[Series], curves: pl.DataFrame, say: Callable[[str], str]) -> Figure | None:
    """The convergence rate over Phase 1's iterations, a line for the largest run of each series."""
    rates = curves.filter(phase=1, metric="convergence_rate").drop_nulls("value")
    known = set(rates["run_id"].unique())
    groups = {
        name: rows for name, every in _groups(series).items()
        if (rows := [each for each in every if each["largest"]["run_id"] in known])
    }
    if not groups:
        return None
    figure, axes = _panels(len(groups), height=2.7)
    for axis, (name, every) in zip(axes, groups.items(), strict=True):
        for index, each in enumerate(every):
            mine = rates.filter(run_id=each["largest"]["run_id"]).sort("step")
            axis.plot(mine["step"].to_list(), (100 * mine["value"]).to_list(), color=_COLOURS[index % len(_COLOURS)],
                      label=text_of(each["name"]))
        axis.set_title(text_of(name), loc="left", fontsize=9, fontweight="bold")
        axis.set_ylim(-3, 103)
        axis.legend(loc="best", handlelength=1.2, labelspacing=0.25)
    _named(figure, say("iteration of Phase 1"), say("tokens converged (%)"))
    return figure


def _isoflops(sweeps: Sequence[Sweep], say: Callable[[str], str]) -> Figure:
    figure, axes = _panels(len(sweeps), sharex=False, sharey=False)
    for axis, sweep in zip(axes, sweeps, strict=True):
        isoflop_panel(axis, sweep)
        axis.set_title(text_of(sweep.series), loc="left", fontsize=9, fontweight="bold")
        axis.legend(loc="best", handlelength=1.2, labelspacing=0.25, fontsize=7)
    _named(figure, _label(of("params"), say), _label(of(sweeps[0].optima[0].response), say))
    return figure


def isoflop_panel(axis: Axes, sweep: Sweep) -> None:
    """Loss over params: a colour a budget, its curve and minimum, the line through the minima, the optima asked for."""
    minima = sweep.isoflops.minima
    shown = minima or tuple(each for each in sweep.isoflops.budgets if each.n > 3)
    for index, budget in enumerate(shown):
        colour = _COLOURS[index % len(_COLOURS)]
        params = sweep.params[budget.rows]
        named = len(shown) <= 8 or index in (0, len(shown) - 1)
        label = f"{budget.flops:.2g} FLOPs".replace("e+", "e") if named else None
        axis.plot(params, sweep.response[budget.rows], _MARKERS[index % len(_MARKERS)], color=colour, markersize=3.5,
                  label=label)
        if budget.params is not None and budget.loss is not None:
            along = np.geomspace(params.min(), params.max(), 60)
            axis.plot(along, budget.loss_at(along), color=colour, linewidth=1)
            axis.plot([budget.params], [budget.loss], "o", color=colour, markersize=8, markerfacecolor="none")
    if not shown:
        axis.plot(sweep.params, sweep.response, "o", color=_COLOURS[0], markersize=3.5)
    for index, approach in enumerate(dict.fromkeys(each.approach for each in sweep.optima)):
        best = [each for each in sweep.optima if each.approach == approach and each.params and each.value]
        colour = ("#000000", "#777777", "#a00000")[index % 3]
        if approach == "isoFLOP" and best and minima:
            line = [(one.flops, one.params or 0.0, one.loss or 0.0) for one in minima]
            line += [(each.flops, each.params or 0.0, each.value or 0.0) for each in best]
            axis.plot(*list(zip(*sorted(line), strict=True))[1:], linestyle=(0, (4, 3)), color=colour, linewidth=0.9)
        for number, each in enumerate(best):
            assert each.params is not None
            assert each.value is not None
            axis.plot([each.params], [each.value], "*", color=colour, markersize=9, zorder=4,
                      label=approach if number == 0 else None)
            if each.params_low is not None and each.params_high is not None:
                axis.plot([each.params_low, each.params_high], [each.value] * 2, color=colour, linewidth=1)
            if each.run_low is not None and each.run_high is not None:
                axis.plot([each.params] * 2, [each.run_low, each.run_high], color=colour, linewidth=1)
    scale(axis, of("params"), of(sweep.optima[0].response))


def _courses(facts: Facts, say: Callable[[str], str]) -> Figure | None:
    """A panel an experiment; of runs still going, or where there are none the first series of each that has ended."""
    going, ended = facts.outlooks
    made = going or ended
    if made is None:
        return None
    asked = {each.run_id: each for each in made.forecasts}
    groups: dict[str, list[Course]] = {}
    for course in made.courses:
        groups.setdefault(course.experiment, []).append(course)
    groups = {name: every for name, every in groups.items() if any(each.run_id in asked for each in every)}
    figure, axes = _panels(len(groups), sharex=False, sharey=False)
    for axis, (name, every) in zip(axes, groups.items(), strict=True):
        first = next(each.series for each in every if each.run_id in asked)
        shown = made.forecasts if going else [each for each in made.forecasts if each.series == first]
        finals_panel(axis, every, shown)
        axis.set_title(text_of(name), loc="left", fontsize=9, fontweight="bold")
        if axis.get_legend_handles_labels()[0]:
            axis.legend(loc="best", handlelength=1.2, labelspacing=0.25, fontsize=7)
    _named(figure, say("epoch") if made.courses[0].best else say("step"), _label(of(made.courses[0].response), say))
    return figure


def finals_panel(axis: Axes, courses: Sequence[Course], forecasts: Sequence[FinalForecast]) -> None:
    """Courses of finished runs in grey, those forecast in colour as far as they were known, and their forecasts."""
    asked = {each.run_id: each for each in forecasts}
    for course in courses:
        if course.run_id not in asked:
            axis.plot(course.steps, course.values, color="#c4c4c4", linewidth=0.8, zorder=1)
    named = len(asked) <= len(_COLOURS)
    last = max([1, *(course.last for course in courses)])
    for index, course in enumerate(each for each in courses if each.run_id in asked):
        told, colour = asked[course.run_id], _COLOURS[index % len(_COLOURS)]
        so_far = course.upto(told.step or 0)
        axis.plot(so_far.steps, so_far.values, "o-", color=colour, markersize=3, zorder=3,
                  label=text_of(told.name) if named else None)
        if course.final is not None:
            axis.plot(course.steps, course.values, color=colour, linewidth=0.8, linestyle=(0, (1, 2)), zorder=2)
        if told.value is not None and told.low is not None and told.high is not None:
            end = last * (1.03 + 0.03 * (index % 5))
            axis.plot([end, end], [told.low, told.high], color=colour, linewidth=1.4, zorder=3)
            axis.plot([end], [told.value], "o", color=colour, markersize=3, markerfacecolor="white", zorder=4)
            axis.plot([so_far.last, end], [so_far.values[-1], told.value], color=colour, linewidth=0.6, zorder=2,
                      linestyle=(0, (4, 3)))
    scale(axis, None, of(courses[0].response))


def scale(axis: Axes, x: Quantity | None, y: Quantity) -> None:
    """Logarithmic axes where quantities are fitted so and values allow it, with ticks as plain numbers: 200, 1M."""
    from matplotlib.ticker import AutoLocator, FuncFormatter, LogLocator, NullLocator

    for which, quantity, ends in ((axis.xaxis, x, axis.dataLim.intervalx), (axis.yaxis, y, axis.dataLim.intervaly)):
        if quantity is None:
            continue
        if quantity.scale == "log" and ends[0] > 0:
            (axis.set_xscale if which is axis.xaxis else axis.set_yscale)("log")
            ratio = ends[1] / ends[0]
            subs = (1.0,) if which is axis.xaxis and ratio > 20 else (1.0, 2.0, 5.0)
            which.set_major_locator(LogLocator(subs=subs, numticks=12) if ratio > 4 else AutoLocator())
            which.set_minor_locator(NullLocator())
        which.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))


def _tick(value: float) -> str:
    return size(value) if abs(value) >= 1e4 else f"{value:g}"
