"""A figure drawn by matplotlib, and its bytes as SVG, PNG, PDF or PGF: same figure, same bytes on one version of it.

Layouts do not depend on installed fonts: text is measured as in the font that comes with matplotlib, and in SVG, where
text stays text, readers' own fonts are named in the file.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cvfp_core.errors import CvfpError, UsageError, visible
from cvfp_core.reporting.figures import places
from cvfp_core.reporting.figures.colours import GREY
from cvfp_core.reporting.figures.formats import FORMATS, check, missing, tex_installed, wide_fonts
from cvfp_core.reporting.figures.marks import Band, Dots, Line, Panel, Plot
from cvfp_core.reporting.figures.svg import compact
from cvfp_core.reporting.latex import escaped
from cvfp_core.schema import atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FONTS = "'Hiragino Sans', 'Noto Sans CJK JP', 'Noto Sans JP', 'Yu Gothic', 'Meiryo', 'DejaVu Sans', sans-serif"
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "cvfp", "font.family": "DejaVu Sans", "font.size": 9, "pdf.fonttype": 42,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6, "axes.axisbelow": True, "axes.unicode_minus": False, "legend.frameon": False,
    "legend.fontsize": 8, "figure.facecolor": "white", "xtick.labelsize": 8, "ytick.labelsize": 8,
    "axes.labelsize": 9, "axes.titlesize": 9, "axes.titleweight": "bold", "axes.titlelocation": "left",
}
_DASHES = (0, (4, 3))
_SMALL = 7.5
"""Font size of labels in a panel."""
_INCH = 72.0


@contextmanager
def _styled(*, wide: bool = False) -> Iterator[None]:
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a missing glyph is the reader's font's business
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)  # type: ignore[arg-type]
        if wide:
            matplotlib.rcParams["font.family"] = ["DejaVu Sans", *wide_fonts()]
        if (tex := tex_installed()) is not None:
            matplotlib.rcParams.update({"pgf.texsystem": tex, "pgf.rcfonts": False})
        yield


def written(plot: Plot, kind: str, lang: str = "en") -> str | bytes:
    """The figure in a format: text of SVG and PGF, bytes of PNG and PDF."""
    with _styled(wide=lang == "ja" and kind in ("png", "pdf")):
        made = _figure(plot)
        if kind == "svg":
            text = io.StringIO()
            made.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
            return compact(text.getvalue().replace("'DejaVu Sans'", _FONTS))
        if kind == "pgf":
            _in_tex(made)
        undated: dict[str, Any] = {"png": {"metadata": {"Software": None}}, "pdf": {"metadata": {"CreationDate": None}}}
        data = io.BytesIO()
        made.savefig(data, format=kind, dpi=200, **undated.get(kind, {}))
        return data.getvalue().decode() if kind == "pgf" else data.getvalue()


def _in_tex(made: Figure) -> None:
    """Writes the figure's texts as TeX prints them: in PGF they are read as TeX."""
    from matplotlib.text import Text

    def turned(text: str) -> str:
        return escaped(text.replace(r"\$", "$"))

    for axis in (axis for axes in made.axes for axis in (axes.xaxis, axes.yaxis)):
        axis.set_ticks(axis.get_ticklocs(), [turned(label.get_text()) for label in axis.get_ticklabels()])
    ticks = {label for axes in made.axes for label in (*axes.get_xticklabels(), *axes.get_yticklabels())}
    for text in made.findobj(Text):
        if text not in ticks:
            text.set_text(turned(text.get_text()))


def format_of(path: str | Path) -> str:
    """The format that a file's ending says. Raises UsageError for one that cannot be written."""
    ending = Path(path).suffix.lower().removeprefix(".")
    if ending not in FORMATS:
        raise UsageError(f"cannot write '{path}': a figure is {', '.join(f'.{each}' for each in FORMATS)}")
    check([ending])
    return ending


def figure(plot: Plot, path: str | Path | None = None) -> Figure:
    """The figure as matplotlib's, written to a file whose ending says the format.

    Raises CvfpError where matplotlib is not installed, UsageError for a file that cannot be written.
    """
    if missing() is not None:
        raise CvfpError("figures need matplotlib, which is not installed; pip install 'cvfp[figures]'")
    if path is not None:
        atomic.save(Path(path), written(plot, format_of(path)))
    with _styled():
        return _figure(plot)


def _figure(plot: Plot) -> Figure:
    """Panels laid out in inches: what is left of each for ticks and right of it for labels is measured first."""
    from cvfp_core.reporting.figures.shown import ShownFigure

    columns = plot.columns
    rows = -(-len(plot.panels) // columns)
    ends = places.ranges(plot)
    marks = [_marks(panel, ends[index]) for index, panel in enumerate(plot.panels)]
    lefts = [max(max(map(places.wide, marks[index][1][1]), default=0.0) for index in range(column, len(plot.panels),
                                                                                           columns)) / _INCH + 0.15
             for column in range(columns)]
    lefts = [left + (0.25 if any(panel.y.label != plot.panels[0].y.label for panel in plot.panels[column::columns])
                     else 0.0) for column, left in enumerate(lefts)]
    rights = [max(max((places.wide(end.text, _SMALL) for end in plot.panels[index].ends), default=0.0) for index in
                  range(column, len(plot.panels), columns)) for column in range(columns)]
    rights = [right / _INCH + (0.3 if right else 0.12) for right in rights]
    titled, below = 0.3 if any(panel.title for panel in plot.panels) or plot.note else 0.1, 0.5
    foot = 0.28 if plot.legend or plot.key else 0.0
    across = 0.25 + sum(lefts) + sum(rights) + plot.width * columns
    down = rows * (plot.height + titled + below) + foot
    made = ShownFigure(figsize=(across, down))
    for index, panel in enumerate(plot.panels):
        row, column = divmod(index, columns)
        left = 0.25 + sum(lefts[: column + 1]) + sum(rights[:column]) + plot.width * column
        bottom = foot + (rows - row - 1) * (plot.height + titled + below) + below
        axes = made.add_axes((left / across, bottom / down, plot.width / across, plot.height / down))
        _panel(axes, panel, ends[index], marks[index], plot)
        if column and panel.y.label == plot.panels[0].y.label:
            axes.set_ylabel("")
        if index + columns < len(plot.panels) and panel.x.label == plot.panels[-1].x.label:
            axes.set_xlabel("")
    if plot.note:
        made.text(1 - 0.1 / across, 1 - 0.08 / down, inert(plot.note), ha="right", va="top", fontsize=_SMALL,
                  color=GREY)
    _foot(made, plot, across, down)
    return made


def _marks(panel: Panel, ends: tuple[tuple[float, float], tuple[float, float]]
           ) -> list[tuple[list[float], list[str]]]:
    """Ticks and their texts along x and y."""
    made = []
    for axis, (low, high) in zip((panel.x, panel.y), ends, strict=True):
        if axis.names:
            made.append(([float(place) for place in range(len(axis.names))], list(axis.names)))
        else:
            at = places.ticks(low, high, axis)
            made.append((at, places.written(at)))
    return made


def _panel(axes: Axes, panel: Panel, ends: tuple[tuple[float, float], tuple[float, float]],
           marks: list[tuple[list[float], list[str]]], plot: Plot) -> None:
    for axis, limits, (at, texts), matplotlibs, scale, bound in zip(
            (panel.x, panel.y), ends, marks, (axes.xaxis, axes.yaxis), (axes.set_xscale, axes.set_yscale),
            (axes.set_xlim, axes.set_ylim), strict=True):
        if axis.log:
            scale("log")
        bound(*limits)
        matplotlibs.set_ticks(at, [inert(text) for text in texts])
        matplotlibs.set_ticks([], minor=True)
        matplotlibs.set_label_text(inert(axis.label))
    axes.grid(visible=not panel.y.names, axis="y")
    for mark in panel.marks:
        _mark(axes, mark)
    _texts(axes, panel, ends, plot)
    _labels(axes, panel, ends, plot)
    axes.set_title(inert(panel.title), loc="left")
    if panel.legend is not None:
        axes.legend(title=inert(panel.legend), loc="best", handlelength=1, labelspacing=0.2, title_fontsize=8)


def _mark(axes: Axes, mark: Dots | Line | Band) -> None:
    if isinstance(mark, Band):
        axes.fill_between(mark.x, mark.low, mark.high, color=mark.colour, alpha=0.12, linewidth=0)
    elif isinstance(mark, Line):
        axes.plot(mark.x, mark.y, color=mark.colour, linewidth=mark.width, linestyle=_DASHES if mark.dashed else "-",
                  label=inert(mark.name) or None)
    else:
        axes.plot(mark.x, mark.y, mark.marker, color=mark.colour, markersize=mark.size,
                  zorder=4 if mark.fill == "white" else 3, label=inert(mark.name) or None,
                  markerfacecolor=mark.colour if mark.fill == "full" else mark.fill)


def _texts(axes: Axes, panel: Panel, ends: tuple[tuple[float, float], tuple[float, float]], plot: Plot) -> None:
    """What stands beside dots, where it meets fewest of them."""
    dots = [(x, y, text) for mark in panel.marks if isinstance(mark, Dots)
            for x, y, text in zip(mark.x, mark.y, mark.texts, strict=False)]
    room = (plot.width * _INCH, plot.height * _INCH)
    at = [(room[0] * places.share(x, ends[0], log=panel.x.log), room[1] * places.share(y, ends[1], log=panel.y.log))
          for x, y, _ in dots]
    corners = places.beside(at, [(places.wide(text, _SMALL), _SMALL) for _, _, text in dots], room)
    for (left, bottom), (_, _, text) in zip(corners, dots, strict=True):
        axes.annotate(inert(text), (0, 0), xycoords="axes fraction", xytext=(left, bottom),
                      textcoords=("axes points", "axes points"), fontsize=_SMALL, color=GREY, va="bottom")


def _labels(axes: Axes, panel: Panel, ends: tuple[tuple[float, float], tuple[float, float]], plot: Plot) -> None:
    """The names of series right of the panel, moved apart, each with a thin line to where its series ends."""
    heights = [places.share(end.y, ends[1], log=panel.y.log) for end in panel.ends]
    gap = 1.15 * _SMALL / (plot.height * _INCH)
    for end, height, moved in zip(panel.ends, heights, places.spread(heights, gap, 0.0, 1.0), strict=True):
        x = places.share(end.x, ends[0], log=panel.x.log)
        axes.plot([x, 1.0, 1.04], [height, moved, moved], transform=axes.transAxes, color=end.colour, linewidth=0.5,
                  alpha=0.6, clip_on=False, zorder=1)
        axes.text(1.05, moved, inert(end.text), transform=axes.transAxes, color=end.colour, fontsize=_SMALL,
                  va="center")


def _foot(made: Figure, plot: Plot, across: float, down: float) -> None:
    """The legend or the key of colours, at the foot of the figure."""
    from matplotlib.lines import Line2D

    listed = [(mark.name, mark.colour, mark.marker) for mark in plot.legend]
    listed += [(text, colour, "o") for text, colour in plot.key.levels] if plot.key else []
    if listed:
        handles = [Line2D([], [], linestyle="", marker=marker, color=colour, markersize=4.5, label=inert(name))
                   for name, colour, marker in listed]
        made.legend(handles=handles, loc="lower left", ncols=min(len(listed), 8), handlelength=0.8, columnspacing=1,
                    bbox_to_anchor=(0.2 / across, 0.02 / down), title=None, fontsize=_SMALL)
        if plot.key:
            made.text(1 - 0.1 / across, 0.14 / down, inert(plot.key.label), ha="right", va="center", fontsize=_SMALL,
                      color=GREY)


def inert(value: object) -> str:
    """A text that matplotlib does not read as mathematics, or leaves out of the legend, and that XML can hold."""
    return visible(str(value)).replace("$", r"\$").removeprefix("_")
