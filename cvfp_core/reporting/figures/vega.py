"""A figure as a Vega-Lite specification, whose points say what they are where one hovers over them."""

from __future__ import annotations

import json
from typing import Any

from cvfp_core.reporting.figures import places
from cvfp_core.reporting.figures.colours import GREY
from cvfp_core.reporting.figures.marks import Axis, Band, Dots, Line, Panel, Plot

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
_INCH = 96
_SHAPES = {"o": "circle", "s": "square", "D": "diamond", "^": "triangle-up", "v": "triangle-down", "P": "cross",
           "X": "cross", "*": "triangle-up", "<": "triangle-left"}
_DIGITS = ("datum.value >= 1e15 ? format(datum.value, '~e') : datum.value >= 1e4 ? "
           "replace(upper(format(datum.value, '~s')), 'G', 'B') : format(datum.value, '~g')")
Ends = tuple[tuple[float, float], tuple[float, float]]


def spec(plot: Plot) -> dict[str, Any]:
    """The specification; its data are in it, and it asks for nothing from anywhere."""
    ranges = places.ranges(plot)
    made = {
        "$schema": SCHEMA, "columns": plot.columns, "spacing": 24,
        "concat": [_panel(panel, ends, plot) for panel, ends in zip(plot.panels, ranges, strict=True)],
        "config": {"font": "sans-serif", "view": {"stroke": None}, "axis": {"gridColor": "#e6e6e6", "titlePadding": 10},
                   "title": {"anchor": "start", "fontSize": 12}},
    }
    return made | ({"title": {"text": plot.note, "anchor": "end", "fontSize": 10, "fontWeight": "normal",
                              "color": GREY}} if plot.note else {})


def _panel(panel: Panel, ends: Ends, plot: Plot) -> dict[str, Any]:
    width, height = round(plot.width * _INCH), round(plot.height * _INCH)
    layers = [_mark(mark, panel, ends) for mark in panel.marks]
    layers += _labels(panel, ends, (width, height))
    title = {"title": panel.title} if panel.title else {}
    return {"width": width, "height": height, "layer": layers, **title}


def _mark(mark: Dots | Line | Band, panel: Panel, ends: Ends) -> dict[str, Any]:
    sides: dict[str, Any] = {"low": mark.low, "high": mark.high} if isinstance(mark, Band) else {"y": mark.y}
    columns = {"x": mark.x, **sides}
    rows: list[dict[str, Any]] = [dict(zip(columns, map(float, row), strict=True))
                                  for row in zip(*columns.values(), strict=True)]
    encoding: dict[str, Any] = {"x": _axis("x", panel.x, ends[0]),
                                "y": _axis("low" if isinstance(mark, Band) else "y", panel.y, ends[1])}
    if isinstance(mark, Band):
        encoding["y2"] = {"field": "high"}
        shape: dict[str, Any] = {"type": "area", "color": mark.colour, "opacity": 0.12, "clip": True}
    elif isinstance(mark, Line):
        encoding["order"] = {"field": "row", "type": "quantitative"}
        rows = [row | {"row": index} for index, row in enumerate(rows)]
        shape = {"type": "line", "color": mark.colour, "strokeWidth": mark.width, "clip": True,
                 **({"strokeDash": [4, 3]} if mark.dashed else {})}
    else:
        fill = {"full": mark.colour, "white": "white", "none": None}[mark.fill]
        shape = {"type": "point", "shape": _SHAPES.get(mark.marker, "circle"), "stroke": mark.colour, "fill": fill,
                 "size": (mark.size * 1.6) ** 2, "opacity": 1}
        texts = mark.texts or ("",) * len(rows)
        rows = [row | {"name": f"{mark.name} {text}".strip()} for row, text in zip(rows, texts, strict=True)]
        encoding["tooltip"] = [{"field": "name", "title": " "},
                               *({"field": side, "title": axis.label or side, "format": ",.5~g"}
                                 for side, axis in (("x", panel.x), ("y", panel.y)) if not axis.names)]
    return {"data": {"values": rows}, "mark": shape, "encoding": encoding}


def _axis(field: str, axis: Axis, ends: tuple[float, float]) -> dict[str, Any]:
    scale = {"type": "log" if axis.log else "linear", "domain": list(ends), "nice": False, "zero": False}
    if axis.names:
        # names are a list of JSON, so that nothing in them is read as an expression
        shown: dict[str, Any] = {"values": list(range(len(axis.names))), "grid": False,
                                 "labelExpr": f"{json.dumps(list(axis.names))}[datum.value]", "labelLimit": 400}
    else:
        shown = {"values": places.ticks(*ends, axis), "labelExpr": _DIGITS}
    return {"field": field, "type": "quantitative", "scale": scale, "title": axis.label or None, "axis": shown}


def _labels(panel: Panel, ends: Ends, size: tuple[int, int]) -> list[dict[str, Any]]:
    """The names of series right of the panel, as on paper, and what stands beside points."""
    heights = [places.share(end.y, ends[1], log=panel.y.log) for end in panel.ends]
    moved = places.spread(heights, 11 / size[1], 0.0, 1.0)
    made: list[dict[str, Any]] = [{"data": {"values": [{"text": end.text}]},
             "mark": {"type": "text", "align": "left", "fontSize": 10, "color": end.colour},
             "encoding": {"text": {"field": "text"}, "x": {"value": size[0] + 8},
                          "y": {"value": round(size[1] * (1 - height), 1)}}}
            for end, height in zip(panel.ends, moved, strict=True)]
    if panel.legend is not None:
        lines = [(panel.legend, GREY), *((mark.name, mark.colour) for mark in panel.marks
                                         if isinstance(mark, Dots) and mark.name)]
        made += [{"data": {"values": [{"text": text}]},
                  "mark": {"type": "text", "align": "right", "fontSize": 10, "color": hue},
                  "encoding": {"text": {"field": "text"}, "x": {"value": size[0] - 4}, "y": {"value": 8 + 12 * row}}}
                 for row, (text, hue) in enumerate(lines)]
    for mark in panel.marks:
        if isinstance(mark, Dots) and mark.texts:
            drawn = _mark(mark, panel, ends)
            places_of = {side: drawn["encoding"][side] for side in ("x", "y")}
            made.append(drawn | {"encoding": places_of | {"text": {"field": "name"}}, "mark": {
                "type": "text", "align": "left", "dx": 7, "fontSize": 10, "color": GREY}})
    return made
