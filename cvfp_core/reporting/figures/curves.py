"""Series over a size: their runs, the law that forecasts them with the band of a new run, and the forecasts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cvfp_core.fitting import AVERAGE, Prediction
from cvfp_core.reporting.figures.colours import GREY, MANY, along, colour, marker, shares
from cvfp_core.reporting.figures.marks import Array, Axis, Band, Dots, End, Key, Line, Panel, Plot
from cvfp_core.reporting.figures.places import written
from cvfp_core.schema.quantities import Quantity

Say = Callable[[str], str]
FEW = 4
"""Series of a panel whose bands can be told apart."""
LABELLED = 40
"""Series of a panel whose names have room at their ends."""
CROWDED = 500
"""Runs of a panel above which dots are small, so that law and band are seen behind them."""
APART = 6
"""Groups that get a panel each; more are drawn into one."""
_STEP = 1.05
"""Between forecasts of the same size, so that their bars are seen."""
_LABELS = {"train_tokens": "training tokens", "val_ppl": "validation perplexity"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """One series: its runs and what its law says from the smallest of them to the forecast."""

    name: str
    x: Array
    """(n,) of its runs."""
    y: Array
    """(n,) of its runs."""
    way: Sequence[Prediction] = ()
    """Along x, ascending."""
    forecasts: Sequence[Prediction] = ()
    group: str = ""
    sizes: Mapping[str, float] = field(default_factory=dict)
    """What all its runs share, by quantity."""


def scaling(curves: Sequence[Curve], x: Quantity, y: Quantity, say: Say) -> Plot | None:
    """A panel a group, or one for all: runs, law, band and forecasts. None without a run to show."""
    curves = [each for each in curves if len(each.x)]
    if not curves:
        return None
    axes = (axis(x, [each.x for each in curves], say), axis(y, [each.y for each in curves], say))
    groups = _groups(curves)
    many = max(map(len, groups.values())) > MANY
    hues, key = _by_size(curves, say) if many else ({}, None)
    panels = [_panel(name, mine, hues, axes, x, y) for name, mine in groups.items()]
    most = max(len(panel.ends) for panel in panels)
    laws = list(dict.fromkeys(
        say("average of {laws}").format(laws=say(" and ").join(map(say, each.interval_law.split(" and "))))
        if each.law == AVERAGE else say(each.law)
        for curve in curves for each in [one for one in curve.forecasts if one.value is not None] or curve.way
        if each.value is not None))
    note = f"{say('law')}{say(': ')}{say(', ').join(laws)}" if laws else ""
    return Plot(panels=tuple(panels), height=max(2.7 if len(panels) > 1 else 3.2, 0.13 * most), key=key, note=note,
                width=3.2 if len(panels) > 1 else 4.6)


def _groups(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    made: dict[str, list[Curve]] = {}
    for each in curves:
        made.setdefault(each.group, []).append(each)
    return made if 1 < len(made) <= APART and max(map(len, made.values())) > 1 else {"": list(curves)}


def _by_size(curves: Sequence[Curve], say: Say) -> tuple[dict[str, str], Key | None]:
    """A colour for each series by a size that tells them apart, and what colours stand for; or by where they end."""
    names = [each.name for each in curves]
    for size in dict.fromkeys(size for each in curves for size in each.sizes):
        known = [each.sizes[size] for each in curves if size in each.sizes]
        if len(known) == len(curves) and len(set(known)) > 2:
            levels = sorted(set(known))
            shown = [levels[round(place)] for place in np.linspace(0, len(levels) - 1, min(len(levels), 5))]
            hues = [along(share) for share in shares(known)]
            key = tuple((text, hues[known.index(each)]) for text, each in
                        zip(written([float(f"{each:.3g}") for each in shown]), shown, strict=True))
            return dict(zip(names, hues, strict=True)), Key(label=say(size), levels=key)
    last = [float(each.y[np.argmax(each.x)]) for each in curves]
    return dict(zip(names, map(along, shares(last)), strict=True)), None


def _panel(name: str, curves: Sequence[Curve], hues: Mapping[str, str], axes: tuple[Axis, Axis], x: Quantity,
           y: Quantity) -> Panel:
    marks: list[Dots | Line | Band] = []
    ends = []
    percent = 100 if y.percent else 1
    dot = 4.5 if sum(len(each.x) for each in curves) <= CROWDED else 1.5
    thin = 0.4 if len(curves) > LABELLED else 1.0
    for index, each in enumerate(curves):
        hue = hues.get(each.name) or colour(index)
        shape = "o" if hues else marker(index)
        path, band = _law(each, x, axes)
        if path is not None:
            near = path[0] <= each.x.max()
            marks.append(Line(x=path[0][near], y=percent * path[1][near], colour=hue, width=1.3 * thin))
            far = path[0] >= each.x.max()
            marks.append(Line(x=path[0][far], y=percent * path[1][far], colour=hue, dashed=True, width=thin))
        if band is not None and len(curves) <= FEW:
            marks.insert(0, Band(x=band[0], low=percent * band[1], high=percent * band[2], colour=hue))
        marks.append(Dots(x=each.x, y=percent * each.y, colour=hue, marker=shape, size=dot, name=each.name))
        last = (float(each.x.max()), percent * float(each.y[np.argmax(each.x)]))
        for one in each.forecasts:
            if one.value is None or x.name not in one.inputs:
                continue
            at = one.inputs[x.name] * (_STEP ** (index - len(curves) + 1) if len(curves) <= MANY else 1.0)
            if one.run_low is not None and one.run_high is not None:
                marks.append(Line(x=np.array([at, at]), y=percent * np.array([one.run_low, one.run_high]), colour=hue,
                                  width=thin))
            marks.append(Dots(x=np.array([at]), y=percent * np.array([one.value]), colour=hue, marker=shape,
                              fill="white", size=4.5 if thin == 1 else 1.5))
            last = max(last, (float(at), percent * one.value))
        ends.append(End(x=last[0], y=last[1], text=each.name, colour=hue))
    if len(ends) > LABELLED:
        ends = []
    return Panel(marks=tuple(marks), x=axes[0], y=axes[1], title=name, ends=tuple(ends))


def _law(curve: Curve, x: Quantity, axes: tuple[Axis, Axis]
         ) -> tuple[tuple[Array, Array] | None, tuple[Array, Array, Array] | None]:
    """The law and the band of a new run over x, as smooth lines through what it says along the way."""
    told = [each for each in curve.way if each.value is not None and x.name in each.inputs
            and (not axes[1].log or each.value > 0)]
    if len(told) < 2:
        return None, None
    at = np.array([each.inputs[x.name] for each in told])
    fine = np.unique([*(np.geomspace if axes[0].log else np.linspace)(at[0], at[-1], 60), *curve.x])
    fine = fine[(fine >= at[0]) & (fine <= at[-1])]
    lines = [_smooth(at, [each.value for each in told], fine, axes)]
    bounded = [each for each in told if each.run_low is not None and each.run_high is not None
               and (not axes[1].log or each.run_low > 0)]
    if len(bounded) < 2:
        return (fine, lines[0]), None
    places = np.array([each.inputs[x.name] for each in bounded])
    inside = fine[(fine >= places[0]) & (fine <= places[-1])]
    low, high = (_smooth(places, [getattr(each, end) for each in bounded], inside, axes)
                 for end in ("run_low", "run_high"))
    return (fine, lines[0]), (inside, low, high)


def _smooth(x: Array, values: Sequence[float | None], at: Array, axes: tuple[Axis, Axis]) -> Array:
    """The values between the places by cubics through them on the axes' own scales (slopes: of the parabola there)."""
    u, v = np.asarray(x, dtype=float), np.asarray(values, dtype=float)
    t = at
    if axes[0].log:
        u, t = np.log(u), np.log(at)
    if axes[1].log:
        v = np.log(v)
    if len(u) == 2:
        made = np.interp(t, u, v)
    else:
        slopes = np.gradient(v, u, edge_order=2)
        left = np.clip(np.searchsorted(u, t) - 1, 0, len(u) - 2)
        width = u[left + 1] - u[left]
        s = (t - u[left]) / width
        made = ((1 + 2 * s) * (1 - s) ** 2 * v[left] + s * (1 - s) ** 2 * width * slopes[left]
                + s**2 * (3 - 2 * s) * v[left + 1] + s**2 * (s - 1) * width * slopes[left + 1])
    smooth: Array = np.exp(made) if axes[1].log else made
    return smooth


def axis(quantity: Quantity, values: Sequence[Array], say: Say) -> Axis:
    """Of the quantity, logarithmic where it is fitted so and all values allow it."""
    positive = all((each > 0).all() for each in values)
    return Axis(label=label(quantity, say), log=quantity.scale == "log" and positive)


def label(quantity: Quantity, say: Say) -> str:
    """How an axis calls the quantity, with its unit."""
    if quantity.name in _LABELS:
        return say(_LABELS[quantity.name])
    named = quantity.percent or quantity.unit.lower() in quantity.heading.lower()  # of `FLOPs` or `train tokens`
    return say(quantity.heading) + ("" if named else f" ({say(quantity.unit)})")


def diagonal(low: float, high: float) -> Line:
    """Where both axes are equal."""
    return Line(x=np.array([low, high]), y=np.array([low, high]), colour=GREY, width=0.8)
