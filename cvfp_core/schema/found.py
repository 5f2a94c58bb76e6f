"""What an ingester finds in files made elsewhere: runs, published figures, and an account of every line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from cvfp_core.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """Which point of a foreign run's curves its record is of; runs of the protocol keep their best epoch."""

    how: Literal["last", "best", "step"] = "last"
    step: int | None = None

    @classmethod
    def read(cls, text: str) -> Take:
        """As `--take` is written: `last`, `best` or `step=N`. Raises UsageError for anything else."""
        text = text.strip()
        if text in ("last", "best"):
            return cls(how=text)  # type: ignore[arg-type]
        if not re.fullmatch(r"step=\d{1,15}", text, re.ASCII):
            raise UsageError(f"--take takes last, best or step=N, such as step=1000, not '{text}'")
        return cls(how="step", step=int(text.removeprefix("step=")))

    def require_last(self, what: str) -> None:
        """Raises UsageError if another point than the last is asked of what holds records, whose points are taken."""
        if self.how != "last":
            raise UsageError(f"--take {self}: {what} have one point each; give the logs or tables they were read from")

    def __str__(self) -> str:
        return self.how if self.step is None else f"step={self.step}"


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
    taken: Mapping[str, str] = field(default_factory=dict)
    """Columns that the ingester set under the name of a quantity, and what the input calls them: quantity -> name."""
    joins: bool = False
    """True: figures of a run that stands elsewhere; they join the run of this `run_id`, if it is read beside them."""


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
    """What a reader of the input should know and what is no failure: how its tokens were counted, say."""

    text: str


Found = FoundRun | PublishedAlpha | NotUnderstood | Tally | Remark
