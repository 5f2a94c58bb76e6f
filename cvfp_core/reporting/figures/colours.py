"""Colours and marks of series: told apart by name while they are few, following a size where they are many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#8c6d00", "#5b3a8c", "#555555", "#a00000")
"""Okabe and Ito 2008, told apart by most colour-blind readers; darkened where too light on white."""
MARKERS = "osD^vPX*<"
MANY = 8
"""Series beyond which colours follow a number."""
GREY = "#555555"
_STEPS = ("#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#8fc93a")
"""Of viridis, without its end that is too light on white."""


def colour(index: int) -> str:
    """Of the series at this place among few."""
    return COLOURS[index % len(COLOURS)]


def marker(index: int) -> str:
    """Of the series at this place among few."""
    return MARKERS[index % len(MARKERS)]


def along(share: float) -> str:
    """The colour at this share of the scale, from dark to light."""
    places = np.linspace(0, 1, len(_STEPS))
    parts = [[int(step[i: i + 2], 16) for step in _STEPS] for i in (1, 3, 5)]
    return "#" + "".join(f"{round(float(np.interp(share, places, part))):02x}" for part in parts)


def shares(numbers: Sequence[float]) -> list[float]:
    """Where each number is on the scale, in logarithms where all are positive."""
    given = np.asarray(numbers, dtype=float)
    if (given > 0).all():
        given = np.log(given)
    spread = float(np.ptp(given)) if len(given) else 0.0
    return [0.5] * len(given) if spread == 0 else [float(each) for each in (given - given.min()) / spread]
