"""What a figure shows, before anything draws it: panels of points, lines and bands. One description, whatever draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Array = np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dots:
    """Marks of one series; (n,) each."""

    x: Array
    y: Array
    colour: str
    marker: str = "o"
    fill: Literal["full", "white", "none"] = "full"
    size: float = 4.5
    """Points across."""
    name: str = ""
    """What they are of; empty: not to be told."""
    texts: tuple[str, ...] = ()
    """What stands beside each."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Line:
    """A line through (n,) places; of two, also the bar of an interval."""

    x: Array
    y: Array
    colour: str
    dashed: bool = False
    width: float = 1.3
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Band:
    """The area between two ends over x; (n,) each."""

    x: Array
    low: Array
    high: Array
    colour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """A label right of the panel, of a series that ends at this place."""

    x: float
    y: float
    text: str
    colour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """What is along a side of a panel."""

    label: str
    log: bool = False
    whole: bool = False
    """Ticks are whole numbers."""
    names: tuple[str, ...] = ()
    """Of the places 0, 1, 2..., in place of numbers, from the top."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What colours stand for, where they follow a number."""

    label: str
    levels: tuple[tuple[str, str], ...]
    """(text, colour) of some of its values."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """Marks over two axes."""

    marks: tuple[Dots | Line | Band, ...]
    x: Axis
    y: Axis
    title: str = ""
    ends: tuple[End, ...] = ()
    legend: str | None = None
    """A legend of the marks that have names, under this heading; None: no legend."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plot:
    """Panels in rows, drawn over the same ranges where that is asked for."""

    panels: tuple[Panel, ...]
    width: float = 3.5
    """Inches of a panel."""
    height: float = 2.7
    same_x: bool = True
    same_y: bool = True
    note: str = ""
    """Above the panels, to the right."""
    key: Key | None = None
    legend: tuple[Dots, ...] = ()
    """Below the panels: these marks with their names."""

    @property
    def columns(self) -> int:
        """Panels in a row: two of four, else up to three."""
        count = len(self.panels)
        return 2 if count == 4 else min(count, 3)
