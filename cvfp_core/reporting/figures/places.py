"""Where things go in a panel: ranges, ticks and their texts, labels that do not overlap. Numbers only."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence

import numpy as np

from cvfp_core.reporting.figures.marks import Array, Axis, Band, Panel, Plot

PAD = 0.05
"""Of the range, left free on either side of it."""
_LOG_STEPS = ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0))
_LEAST, _MOST = 3, 8
"""Ticks of an axis."""
_SCALES = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K"))


def values(panel: Panel, side: str) -> Array:
    """All finite values of the marks along x or y; on a logarithmic axis those above 0."""
    axis: Axis = getattr(panel, side)
    found = [each for mark in panel.marks for each in
             ((mark.low, mark.high) if isinstance(mark, Band) and side == "y" else (getattr(mark, side),))]
    flat = np.concatenate([np.ravel(each) for each in found]) if found else np.zeros(0)
    return flat[np.isfinite(flat) & ((flat > 0) if axis.log else True)]


def limits(found: Array, axis: Axis) -> tuple[float, float]:
    """The ends of an axis over the values, with room at both."""
    if axis.names:
        return len(axis.names) - 0.5, -0.5
    if not found.size:
        return (1.0, 10.0) if axis.log else (0.0, 1.0)
    low, high = float(found.min()), float(found.max())
    if axis.log:
        room = PAD * math.log(high / low) or 0.05
        return low * math.exp(-room), high * math.exp(room)
    room = PAD * (high - low) or 0.05 * abs(high) or 0.5
    return low - room, high + room


def ranges(plot: Plot) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """The ends of x and y of every panel."""
    sides = []
    for side, shared in (("x", plot.same_x), ("y", plot.same_y)):
        own = [values(panel, side) for panel in plot.panels]
        every = [np.concatenate(own)] * len(own) if shared else own
        sides.append([limits(found, getattr(panel, side))
                      for found, panel in zip(every, plot.panels, strict=True)])
    return list(zip(*sides, strict=True))


def ticks(low: float, high: float, axis: Axis, most: int = _MOST) -> list[float]:
    """Round values within the ends, at least three of them; on a logarithmic axis its decades or steps within them."""
    if axis.log and low > 0:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for steps in _LOG_STEPS:
            every = 1 if len(steps) > 1 else max(1, -(-len(decades) // most))
            made = [step * 10.0**power for power in decades if power % every == 0 for step in steps]
            made = [each for each in made if low <= each <= high]
            if _LEAST <= len(made) <= most and (len(made) > _LEAST or len(steps) == 1):
                return made
    return _linear(low, high, most, whole=axis.whole)


def _linear(low: float, high: float, most: int, *, whole: bool) -> list[float]:
    exponent = math.floor(math.log10((high - low) / most))
    for step in (round(base * 10.0**power, 12 - power) for power in range(exponent, exponent + 3)
                 for base in (1.0, 2.0, 2.5, 5.0)):
        if whole and step != int(step):
            continue
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            return [round(index * step, 12) for index in range(first, last + 1)]
    return [low, high]


def written(ticks: Sequence[float]) -> list[str]:
    """The ticks as plain numbers, in as few digits as tell them apart: `62.5K`, `1M`, `1e21`, `0.25`."""
    largest = max((abs(each) for each in ticks), default=0.0)
    for digits in range(1, 8):
        texts = [_tick(each, digits, largest) for each in ticks]
        exact = all(math.isclose(_tick_value(text), each, rel_tol=1e-9, abs_tol=1e-12)
                    for text, each in zip(texts, ticks, strict=True))
        if exact and len(set(texts)) == len(texts):
            return texts
    return [f"{each:g}" for each in ticks]


def _tick(value: float, digits: int, largest: float) -> str:
    if abs(value) >= 1e15 or 0 < abs(value) < 1e-4:
        mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
        return f"{mantissa}e{int(power)}"
    if largest >= 1e4:
        for scale, letter in _SCALES:
            if abs(value) >= scale:
                return f"{_plain(value / scale, digits)}{letter}"
    return _plain(value, digits)


def _plain(value: float, digits: int) -> str:
    return f"{value:.{max(digits, len(str(int(abs(value)))))}g}"


def _tick_value(text: str) -> float:
    scale = {letter: scale for scale, letter in _SCALES}.get(text[-1], 1.0)
    return float(text[:-1] if scale > 1 else text) * scale


def share(value: float, ends: tuple[float, float], *, log: bool) -> float:
    """Where the value is between the ends: 0 at the first, 1 at the second."""
    if log:
        return math.log(value / ends[0]) / math.log(ends[1] / ends[0])
    return (value - ends[0]) / (ends[1] - ends[0])


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The places moved apart to the gap by the least sum of squares, within the ends; closer where they do not fit.

    Isotonic regression of places less their rank's gap, by pooling neighbours.
    """
    count = len(places)
    if count > 1:
        gap = min(gap, (high - low) / (count - 1))
    order = sorted(range(count), key=lambda index: (places[index], index))
    pools: list[tuple[float, int]] = []
    for rank, index in enumerate(order):
        pools.append((places[index] - rank * gap, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (second, more), (first, some) = pools.pop(), pools.pop()
            pools.append(((first * some + second * more) / (some + more), some + more))
    flat = [mean for mean, size in pools for _ in range(size)]
    most = high - (count - 1) * gap
    made = [0.0] * count
    for rank, index in enumerate(order):
        made[index] = min(max(flat[rank], low), most) + rank * gap
    return made


def beside(dots: Sequence[tuple[float, float]], sizes: Sequence[tuple[float, float]],
           room: tuple[float, float]) -> list[tuple[float, float]]:
    """The lower left corner of each label of these sizes, next to its dot, where it meets fewest dots and labels.

    All in points within the room; the first of right, left, above, below and the corners wins among equals.
    """
    taken: list[tuple[float, float, float, float]] = [(x - 3, y - 3, x + 3, y + 3) for x, y in dots]
    made = []
    for (x, y), (width, height) in zip(dots, sizes, strict=True):
        corners = [(x + 5, y - height / 2), (x - 5 - width, y - height / 2), (x - width / 2, y + 5),
                   (x - width / 2, y - 5 - height), (x + 4, y + 4), (x + 4, y - 4 - height), (x - 4 - width, y + 4),
                   (x - 4 - width, y - 4 - height)]
        met = [sum(left < other[2] and other[0] < left + width and bottom < other[3] and other[1] < bottom + height
                   for other in taken)
               + 10 * (left < 0 or bottom < 0 or left + width > room[0] or bottom + height > room[1])
               for left, bottom in corners]
        left, bottom = corners[met.index(min(met))]
        taken.append((left, bottom, left + width, bottom + height))
        made.append((left, bottom))
    return made


def wide(text: str, points: float = 8.0) -> float:
    """About how wide a text is, in points at this font size: a wide letter of Japanese is one em."""
    return points * sum(1.0 if unicodedata.east_asian_width(letter) in "WF" else 0.62 for letter in text)
