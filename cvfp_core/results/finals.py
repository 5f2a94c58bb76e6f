"""Forecasts of what runs will end with, as a value that prints as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
from rich.table import Table
from rich.text import Text

from cvfp_core.deciding.courses import Course
from cvfp_core.deciding.forecast import FinalForecast
from cvfp_core.deciding.outlook import After, Score, keep, kept, outlook, score
from cvfp_core.errors import UsageError
from cvfp_core.results.arguments import verb
from cvfp_core.results.numbers import interval, short
from cvfp_core.results.printed import WIDE, Block, Listed, about, table
from cvfp_core.results.runs import Readable, read

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

_MANY = 24
"""Forecasts of finished runs from which a row is a series."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class FinalForecasts(Listed[FinalForecast]):
    """What runs will end with, by how they have gone so far and by how runs like them ended."""

    items: tuple[FinalForecast, ...]
    courses: tuple[Course, ...]
    """What they were made from, by which `plot` draws them."""
    about: str = "still going"
    """Which runs: `still going`, `finished, from their first 3 steps`, `kept`."""

    @property
    def score(self) -> Score:
        """How the forecasts of runs that have ended came out."""
        return score(self.items)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"about": self.about, "score": self.score.as_dict(),
                "forecasts": [each.as_dict() | {"error": each.error, "inside": each.inside} for each in self.items]}

    def to_frame(self) -> pl.DataFrame:
        """One row a run: how far it was, the forecast with its interval, and what it ended with where it has."""
        return pl.DataFrame([
            {name: getattr(each, name) for name in ("run_id", "series", "response", "step", "limit", "current", "value",
                                                    "low", "high", "method", "made", "actual", "error", "inside")}
            | {"runs": len(each.rests_on), "reason": str(each.reason), "warnings": "; ".join(each.warnings)}
            for each in self.items], infer_schema_length=None)

    def summary(self) -> str:
        """A line for each run, and how those of runs that have ended came out."""
        return "\n".join([*map(_sentence, self.items), *_totals(self.score)])

    @verb
    def plot(self, path: str | Path | None = None) -> Figure:
        """Courses of finished runs, of those forecast so far, and the forecasts; see `cvfp.plot`."""
        from cvfp_core.results.plots import draw_finals

        return draw_finals(self.courses, self.items, path)

    def blocks(self, room: int = WIDE) -> Iterator[Block]:
        """The table, how forecasts came out, and what is to be said of them."""
        del room
        yield Text.assemble((self.items[0].response, "bold"), f" of runs {self.about}, 95 % intervals")
        ended = self.score.count > 0
        yield _by_series(self.items) if ended and len(self.items) > _MANY else _table(self.items, ended=ended)
        for line in _totals(self.score):
            yield Text(line)
        yield from about(((text, "yellow", each.name) for each in self.items
                          for text in (each.reason, *each.warnings)), len(self.items), "runs")


def finals(runs: Readable, *, against: Readable | None = None, y: str | None = None, series: str | Sequence[str] = (),
           after: str | float | None = None, total: int | None = None, where: str | None = None,
           map: Mapping[str, str] | None = None, take: str = "last", save: bool = False
           ) -> FinalForecasts:
    """The forecasts; see `cvfp.forecast`."""
    if save and after is not None:
        raise UsageError("--save keeps forecasts of runs that have not ended, and --after makes some of runs that have")
    inputs = read(runs, map=map, where=where, take=take).inputs
    learned = None if against is None else read(against, map=map, take=take).inputs
    at = None if after is None else After.read(after)
    made = outlook(inputs, learned, y=y, total=total, series=[series] if isinstance(series, str) else series, after=at)
    items = keep(inputs, made.forecasts) if save else made.forecasts
    told = "still going" if at is None else f"that have ended, from their first {after} of steps" if at.share else \
        f"that have ended, from their first {after} steps"
    return FinalForecasts(items=items, courses=made.courses, about=told)


def scored(runs: Readable, *, where: str | None = None, map: Mapping[str, str] | None = None) -> FinalForecasts:
    """The forecasts that are kept beside the runs, and how they came out."""
    inputs = read(runs, map=map, where=where).inputs
    return FinalForecasts(items=kept(inputs), courses=(), about="as they were forecast before they ended")


def _sentence(each: FinalForecast) -> str:
    told = f"{each.response} ends at {short(each.value)} {_ends(each)}" if each.value is not None else each.reason
    came = "" if each.error is None else f"; it ended at {short(each.actual)}, {_off(each)}"
    return f"{each.name} at step {each.step}: {told}{came}"


def _ends(each: FinalForecast) -> str:
    return "-" if each.value is None else interval(each.low, each.high, method="", value=each.value)


def _off(each: FinalForecast) -> str:
    return "-" if each.error is None else f"{each.error:+.1%}{'' if each.inside else ' outside'}"


def _table(items: Sequence[FinalForecast], *, ended: bool) -> Table:
    dated = any(each.made for each in items)
    made = table([("run", "l"), *([("made", "l")] if dated else []), ("step", "r"), ("so far", "r"), ("forecast", "r"),
                  ("95 %", "l"), *([("ended", "r"), ("off", "l")] if ended else [("runs", "r")])],
                 gap=1 if ended else 2)
    for each in items:
        made.add_row(Text(each.name), *([each.made[5:16].replace("T", " ")] if dated else []),
                     "-" if each.step is None else f"{each.step:,}", short(each.current), short(each.value),
                     _ends(each),
                     *([short(each.actual), Text(_off(each), style="" if each.inside else "yellow")] if ended else
                       [str(len(each.rests_on)) if each.method != "curve law" else "law"]))
    return made


def _by_series(items: Sequence[FinalForecast]) -> Table:
    made = table([("series", "l"), ("runs", "r"), ("mean |off|", "r"), ("median", "r"), ("inside", "r")])
    for name in dict.fromkeys(each.series for each in items):
        told = score([each for each in items if each.series == name])
        made.add_row(Text(name), str(told.count), *("-" if each is None else f"{each:.1%}" for each in
                                                    (told.mean_error, told.median_error)),
                     f"{told.inside} of {told.count}")
    return made


def _totals(told: Score) -> Iterator[str]:
    if told.count:
        yield (f"off by {told.mean_error:.1%} on average, {told.median_error:.1%} in the middle; the interval held "
               f"{told.inside} of {told.count}")
