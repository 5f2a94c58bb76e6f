"""What may be said: an estimate that was measured, a claim that was tested.

Claims are messages with {named} places, so that a report can say them in another language.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cvfp_core.schema.plain import plain

Verdict = Literal["supported", "contradicted", "inconclusive", "confounded"]
Plain = str | int | float | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Caveat:
    """What a reader must know beside the numbers: a message and the values of its places."""

    text: str
    """A message; a template writes it with the filter `say(values)`."""
    values: Mapping[str, Plain] = field(default_factory=dict)
    """For its places."""

    def __str__(self) -> str:
        return self.text.format(**self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What a finding is made from, row by row; the headings are messages."""

    columns: tuple[str, ...]
    """Headings, as messages."""
    rows: tuple[tuple[Plain, ...], ...]
    """Cells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One claim, tested."""

    analysis: str
    """Name of the analysis it comes from."""
    key: str
    """Unique among the findings of the analysis."""
    question: str
    """What was asked: a message."""
    claim: str
    """What was tested: a message."""
    values: Mapping[str, Plain]
    """Of the places in question and claim, and other figures worth quoting."""
    verdict: Verdict
    """`supported`, `contradicted`, `inconclusive` or `confounded`."""
    estimate: float | None
    """The number the verdict rests on."""
    low: float | None
    """Lower end of its 95 % interval."""
    high: float | None
    """Upper end; the interval is not corrected for the number of findings."""
    unit: str
    """Of the estimate."""
    n: int
    """What counts as independent: series, or pairs of runs; the method says which."""
    method: str
    """How it was computed."""
    p_value: float | None
    """Of the test the verdict rests on."""
    p_adjusted: float | None = None
    """Corrected for all findings on these records; set by `test_all`."""
    caveats: tuple[str | Caveat, ...] = ()
    """What limits it."""
    table: Table | None = None
    """The figures behind it."""
    least: int = 0
    """What n must be for the test to be able to decide; where n is less, the claim was not tested."""
    of_phase2: bool = True
    """Whether it rests on what Phase 2 measured, so that runs cut short there limit it."""
    without_censored: str | None = None
    """The verdict without the runs whose Phase 2 was cut short, or `not tested`; None: it rests on none of them. Set by
    `test_all`."""

    @property
    def tested(self) -> bool:
        """Whether the runs could have decided it: they could not if it is confounded, or n too small."""
        if self.verdict != "inconclusive":
            return self.verdict != "confounded"
        return self.p_value is not None and self.n >= self.least

    def as_dict(self) -> dict[str, Any]:
        """Plain data, with `tested`; every caveat as text and values."""
        caveats = [Caveat(text=each) if isinstance(each, str) else each for each in self.caveats]
        return {**plain(self), "caveats": plain(caveats), "tested": self.tested}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """An estimate, its 95 % interval and the two-sided p of zero. What n cannot give is None."""

    estimate: float | None
    low: float | None = None
    high: float | None = None
    stderr: float | None = None
    dof: float = 0
    p_value: float | None = None
    n: int = 0
    method: str = ""
    least: int = 0
