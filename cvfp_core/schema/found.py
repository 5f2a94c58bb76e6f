"""What an ingester finds in files made elsewhere: runs, published figures, and an account of every line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One metric of one run over iterations or epochs; None marks a step without a finite value."""

    phase: int
    metric: str
    steps: Sequence[int]
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRun:
    """A run as an ingester found it: record columns under their names, more under its own, none where not measured."""

    line: int
    """Line or row it stands at, from 1."""
    columns: Mapping[str, Any]
    curves: tuple[Curve, ...] = ()
    exact: bool = True
    """False: the figures are rounded as a log prints them; an exact record of the same run is preferred."""
    fingerprint: str | None = None
    """Equal for two records of one run, whatever they were read from; by default made from all its figures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedAlpha:
    """A scaling exponent that the input itself states, kept beside the records to compare with."""

    line: int
    variant: str
    alpha: float
    experiment: str | None = None
    """None: of whichever experiment read at the same time states the same alpha to four digits."""
    first_samples: int | None = None
    last_samples: int | None = None
    """The window it was fitted on; None for all sample sizes."""
    exact: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class NotUnderstood:
    """A line or row that is neither data nor known noise, or that contradicts others: reported, never dropped."""

    line: int
    expected: str
    found: str
    file: str = ""
    """Within a folder: the file it stands in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Input lines or rows that became part of a record, points of a curve, or are known to say nothing."""

    record: int = 0
    curve: int = 0
    noise: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """What the ingester took for what, where a reader may doubt it; said once."""

    text: str


Found = FoundRun | PublishedAlpha | NotUnderstood | Tally | Remark
