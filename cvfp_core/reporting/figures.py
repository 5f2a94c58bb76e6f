"""The figures of a report as SVG: same view, same bytes on one version of matplotlib; text stays text.

Layouts do not depend on installed fonts: text is measured in the font that comes with matplotlib, and readers' own
fonts are named in the file.
"""

from __future__ import annotations

import gettext
import io
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cvfp_core.ingesting.reading import Inputs
from cvfp_core.reporting.names import SeriesView, View

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLES = {
    "scaling": "Perplexity against training tokens, with power laws and forecasts",
    "alpha": "Exponents with 95 % intervals",
    "matched": "Effective rank and perplexity at matched sizes",
    "convergence": "Convergence of Phase 1",
}
_FONTS = "'Hiragino Sans', 'Noto Sans CJK JP', 'Noto Sans JP', 'Yu Gothic', 'Meiryo', 'DejaVu Sans', sans-serif"
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#8c6d00", "#5b3a8c", "#555555", "#a00000")
"""Okabe and Ito 2008, told apart by most colour-blind readers; darkened where too light on white."""
_MARKERS = "osD^vPX*<"
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


def draw(view: View, inputs: Inputs, spoken: gettext.NullTranslations) -> dict[str, str]:
    """SVG by name of each figure that the view has data for. `view` needs `series` and `forecasts`."""
    import matplotlib

    say = spoken.gettext
    makers: dict[str, Callable[[], Figure | None]] = {
        "scaling": lambda: _scaling(view, say),
        "alpha": lambda: _alpha(view["series"], say),
        "matched": lambda: _matched(view["series"], say),
        "convergence": lambda: _convergence(view["series"], inputs.curves(), say),
    }
    made = {}
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a missing glyph is the reader's font's business
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        for name, make in makers.items():
            figure = make()
            if figure is not None:
                made[name] = _svg(figure)
    return made


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue().replace("'DejaVu Sans'", _FONTS)
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def _panels(count: int, *, width: float = 3.7, height: float = 3.3, sharey: bool = True) -> tuple[Figure, list[Axes]]:
    """Panels in rows of two or three that share their axes."""
    from matplotlib.figure import Figure

    columns = 2 if count in (2, 4) else min(count, 3)
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns + 0.9, height * rows + 0.5))
    axes = figure.subplots(rows, columns, sharex=True, sharey=sharey, squeeze=False).ravel().tolist()
    for spare in axes[count:]:
        spare.set_visible(False)
    for index, axis in enumerate(axes[:count]):
        if index + columns >= count:
            axis.tick_params(labelbottom=True)
    across, down = width * columns + 0.9, height * rows + 0.5
    figure.subplots_adjust(left=0.75 / across, right=1 - 0.15 / across, bottom=0.6 / down, top=1 - 0.35 / down,
                           wspace=0.12 if sharey else 0.2, hspace=0.28)
    return figure, axes[:count]


def _text(value: object) -> str:
    """A label that matplotlib does not read as mathematics."""
    return str(value).replace("$", r"\$")


def _groups(series: list[SeriesView]) -> dict[str, list[SeriesView]]:
    """The series by experiment, in panels of at most nine."""
    made: dict[str, list[SeriesView]] = {}
    for each in series:
        if each["best"] is not None and each["largest"] is not None:
            made.setdefault(each["experiment"], []).append(each)
    return {
        name if len(each) <= 9 else f"{name} ({start // 9 + 1})": each[start: start + 9]
        for name, each in made.items() for start in range(0, len(each), 9)
    }


def _scaling(view: View, say: Callable[[str], str]) -> Figure | None:
    """PPL against tokens on log-log axes: runs, power law, its 95 % band, its continuation, and the forecast."""
    groups = _groups(view["series"])
    if not groups:
        return None
    forecasts = {each["label"]: each for each in view["forecasts"]}
    figure, axes = _panels(len(groups))
    for axis, (name, every) in zip(axes, groups.items(), strict=True):
        for index, series in enumerate(every):
            _one_law(axis, series, index, len(every), forecasts.get(series["label"]))
        axis.set(xscale="log", yscale="log")
        axis.set_title(_text(name), loc="left", fontsize=9, fontweight="bold")
        axis.legend(loc="lower left", handlelength=1.2, labelspacing=0.25)
        _plain_ticks(axis)
    figure.supxlabel(say("training tokens"), y=0.06 / figure.get_figheight(), va="bottom", fontsize=9)
    figure.supylabel(say("validation perplexity"), x=0.12 / figure.get_figwidth(), ha="left", fontsize=9)
    return figure


def _one_law(axis: Axes, series: SeriesView, index: int, count: int, forecast: Mapping[str, Any] | None) -> None:
    colour, marker = _COLOURS[index % len(_COLOURS)], _MARKERS[index % len(_MARKERS)]
    runs = [run for run in series["runs"] if run["val_ppl"] is not None and run["train_tokens"] is not None]
    axis.plot([run["train_tokens"] for run in runs], [run["val_ppl"] for run in runs], marker, color=colour,
              label=_text(series["name"]), zorder=3)
    a, alpha = _value(series, "A"), _value(series, "alpha")
    ends = [run["train_tokens"] for run in runs]
    if a is not None and alpha is not None:
        x = np.geomspace(min(ends), max(ends), 40)
        axis.plot(x, a * x**alpha, color=colour)
        far = np.geomspace(max(ends), forecast["train_tokens"] if forecast else 10 * max(ends), 10)
        far = far[a * far**alpha >= 1]
        axis.plot(far, a * far**alpha, color=colour, linestyle=(0, (4, 3)), linewidth=0.9)
        band = _band(runs, x)
        if band is not None:
            axis.fill_between(x, band[0], band[1], color=colour, alpha=0.10, linewidth=0)
    if forecast is not None and forecast["value"] is not None:
        at = forecast["train_tokens"] * 1.09 ** (index - (count - 1) / 2)
        if forecast["low"] is not None and forecast["high"] is not None:
            axis.plot([at, at], [forecast["low"], forecast["high"]], color=colour, linewidth=1, zorder=2)
        axis.plot([at], [forecast["value"]], marker, color=colour, markerfacecolor="white", zorder=3)


def _value(series: SeriesView, name: str) -> float | None:
    """A parameter of the series' power law; None if it has none."""
    parameters = series["fit"]["parameters"] if series["fit"] is not None else {}
    return parameters[name]["value"] if name in parameters else None


def _band(runs: list[dict[str, Any]], x: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The 95 % band of the mean of the straight line through the logarithms; None without a degree of freedom."""
    from cvfp_core.fitting.linear import t_quantile

    logs = np.log([run["train_tokens"] for run in runs])
    target = np.log([run["val_ppl"] for run in runs])
    if len(runs) < 3 or np.ptp(logs) == 0:
        return None
    centred = logs - logs.mean()
    slope = centred @ target / (centred @ centred)
    residuals = target - target.mean() - slope * centred
    sigma = np.sqrt(residuals @ residuals / (len(runs) - 2))
    at = np.log(x) - logs.mean()
    half = t_quantile(len(runs) - 2) * sigma * np.sqrt(1 / len(runs) + at**2 / (centred @ centred))
    line = target.mean() + slope * at
    return np.exp(line - half), np.exp(line + half)


def _alpha(series: list[SeriesView], say: Callable[[str], str]) -> Figure | None:
    """One row a series: the exponent and its interval; a ring where the input states one."""
    from matplotlib.figure import Figure

    rows = [(each, value, each["fit"]["parameters"]["alpha"]) for each in series
            if each["fit"] is not None and (value := _value(each, "alpha")) is not None]
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
    axis.set_yticks(range(len(rows)), [_text(f"{each['experiment']}: {each['variant']}") for each, _, _ in rows])
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xlabel(say("alpha, 95 % interval (ring: as published)"))
    axis.grid(visible=False, axis="y")
    return figure


def _matched(series: list[SeriesView], say: Callable[[str], str]) -> Figure | None:
    """Val ER against PPL, a panel for each of the sizes that most series share."""
    found: dict[int, list[tuple[SeriesView, dict[str, Any]]]] = {}
    for each in series:
        for run in each["runs"]:
            if run["val_ppl"] is not None and run["val_er"] is not None and run["train_tokens"] is not None:
                found.setdefault(run["train_tokens"], []).append((each, run))
    sizes = sorted(size for size, each in found.items() if len({s["label"] for s, _ in each}) > 2)
    if not sizes:
        return None
    figure, axes = _panels(len(sizes), height=2.7, sharey=False)
    experiments = list(dict.fromkeys(each["experiment"] for each in series))
    for axis, size in zip(axes, sizes, strict=True):
        for which, name in enumerate(experiments):
            mine = [run for each, run in found[size] if each["experiment"] == name]
            axis.plot([100 * run["val_er"] for run in mine], [run["val_ppl"] for run in mine],
                      _MARKERS[which % len(_MARKERS)], color=_COLOURS[which % len(_COLOURS)],
                      label=_text(name))
        axis.set_title(f"{size:,} {say('tokens')}", loc="left", fontsize=9, fontweight="bold")
        axis.set_yscale("log")
        _plain_ticks(axis, x=False)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower right", ncols=min(len(labels), 6), handlelength=0.8, columnspacing=1)
    figure.supxlabel(say("validation effective rank (%)"), y=0.06 / figure.get_figheight(), va="bottom", fontsize=9)
    figure.supylabel(say("validation perplexity"), x=0.12 / figure.get_figwidth(), ha="left", fontsize=9)
    return figure


def _convergence(series: list[SeriesView], curves: pl.DataFrame, say: Callable[[str], str]) -> Figure | None:
    """The convergence rate over Phase 1's iterations, a line for the largest run of each series."""
    rates = curves.filter(phase=1, metric="convergence_rate").drop_nulls("value")
    known = set(rates["run_id"].unique())
    groups = {
        name: rows for name, every in _groups(series).items()
        if (rows := [each for each in every if each["largest"]["run_id"] in known])  # type: ignore[index]
    }
    if not groups:
        return None
    figure, axes = _panels(len(groups), height=2.7)
    for axis, (name, every) in zip(axes, groups.items(), strict=True):
        for index, each in enumerate(every):
            mine = rates.filter(run_id=each["largest"]["run_id"]).sort("step")  # type: ignore[index]
            axis.plot(mine["step"].to_list(), (100 * mine["value"]).to_list(), color=_COLOURS[index % len(_COLOURS)],
                      label=_text(each["name"]))
        axis.set_title(_text(name), loc="left", fontsize=9, fontweight="bold")
        axis.set_ylim(-3, 103)
        axis.legend(loc="best", handlelength=1.2, labelspacing=0.25)
    figure.supxlabel(say("iteration of Phase 1"), y=0.06 / figure.get_figheight(), va="bottom", fontsize=9)
    figure.supylabel(say("tokens converged (%)"), x=0.12 / figure.get_figwidth(), ha="left", fontsize=9)
    return figure


def _plain_ticks(axis: Axes, *, x: bool = True) -> None:
    """Ticks as plain numbers: 100, 200, 500 and 100K, 1M."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    from cvfp_core.reporting.numbers import short

    for which in (axis.xaxis, axis.yaxis) if x else (axis.yaxis,):
        subs = (1.0,) if which is axis.xaxis else (1.0, 2.0, 5.0)
        which.set_major_locator(LogLocator(subs=subs, numticks=12))
        which.set_minor_locator(NullLocator())
        which.set_major_formatter(FuncFormatter(lambda value, _: short(value) if value >= 1e4 else f"{value:g}"))
