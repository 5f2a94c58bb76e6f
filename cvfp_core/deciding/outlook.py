"""Forecasts of the runs that are still going, of finished ones from their first steps, and how kept ones came out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, median

import polars as pl

from cvfp_core.deciding.courses import Course, courses
from cvfp_core.deciding.forecast import FinalForecast, forecast
from cvfp_core.errors import UsageError, suggestion, unwritten
from cvfp_core.ingesting.reading import Inputs
from cvfp_core.schema import store
from cvfp_core.schema.plain import AsDict
from cvfp_core.version import __version__


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outlook:
    """Forecasts, and the courses they were made from."""

    forecasts: tuple[FinalForecast, ...]
    courses: tuple[Course, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score(AsDict):
    """How forecasts came out."""

    count: int
    """Forecasts whose runs have ended."""
    inside: int
    """Those whose interval held what the run ended with."""
    mean_error: float | None
    """Of the absolute errors, as fractions."""
    median_error: float | None


@dataclass(frozen=True, slots=True)
class After:
    """From which of its first steps a finished run is forecast: so many, or such a share of those it took."""

    amount: float
    share: bool = False

    @classmethod
    def read(cls, text: str | float) -> After:
        """As `--after` is written: `3` or `30%`. Raises UsageError for anything else."""
        told, share = str(text).strip().removesuffix("%"), str(text).strip().endswith("%")
        try:
            amount = float(told)
        except ValueError:
            amount = math.nan
        if not (0 < amount < 100 if share else amount >= 1 and amount == int(amount)):
            raise UsageError(f"--after takes a number of steps or a share of them, such as 3 or 30%, not '{text}'")
        return cls(amount / 100 if share else amount, share)

    def of(self, course: Course) -> int:
        """The step it is for a run."""
        return math.ceil(self.amount * course.last) if self.share else int(self.amount)


def outlook(inputs: Inputs, against: Inputs | None = None, *, y: str | None = None, total: int | None = None,
            series: Sequence[str] = (), after: After | None = None) -> Outlook:
    """Forecasts of the runs that are still going, in their order; see `forecast`.

    against: finished runs to learn from; then every run of `inputs` is still going. total: as of `courses`. series:
    those to forecast, all by default. after: forecasts of finished runs from their first steps instead, each by the
    others. Raises UsageError where there is nothing to forecast.
    """
    records, curves = inputs.records, inputs.curves()
    begun, so_far = inputs.running()
    records = pl.concat([records, begun], how="diagonal_relaxed")
    every = courses(records, pl.concat([curves, so_far]), y=y, total=total,
                    going=None if against is None else True)
    if against is not None:
        y = every[0].response if every else y
        every += courses(against.records, against.curves(), y=y, total=total, going=False)
    finished = [each for each in every if each.final is not None]
    asked = [each for each in every if (each.final is None) == (after is None)]
    if not asked:
        others = len({*records["run_id"], *(each.run_id for each in every)}) - len(finished)
        raise UsageError(f"no run is {'finished' if after else 'still going'}: there are {len(finished)} finished ones "
                         f"and {others} others, stopped, diverged or without a curve; " + (
                             "leave --after out" if after else "--after 3 forecasts finished runs from their first 3 "
                             "steps; of a log of steps say how many a run takes, by --total STEPS, or give finished "
                             "runs by --against PATH"))
    known = list(dict.fromkeys(each.series for each in asked))
    for name in series:
        if name not in known:
            raise UsageError(f"no series '{name}' to forecast{suggestion(name, known)}; there are: {', '.join(known)}")
    asked = [each for each in asked if not series or each.series in series]
    if after is None:
        return Outlook(forecasts=tuple(forecast(each, finished) for each in asked), courses=every)
    made = [replace(forecast(each.upto(after.of(each)), finished), actual=each.final) for each in asked
            if after.of(each) < each.last]
    if not made:
        raise UsageError(f"no finished run took more than {after.amount:g} steps; take fewer, or a share: --after 30%")
    return Outlook(forecasts=tuple(made), courses=every)


def keep(inputs: Inputs, forecasts: Sequence[FinalForecast]) -> tuple[FinalForecast, ...]:
    """The forecasts with their date, kept in the store that their runs are in. Raises UsageError if there is none."""
    if len(inputs.stores) != 1:
        raise UsageError(f"forecasts are kept in the store of their runs, and {len(inputs.stores)} stores are given; "
                         "give one folder that `cvfp run` or `cvfp ingest --into` made")
    ended = set(inputs.records.filter(pl.col("status") == "ok")["run_id"])
    if late := [each.name for each in forecasts if each.run_id in ended]:
        raise UsageError(f"{late[0]} has ended, so nothing is forecast of it any more; leave --save out")
    return tuple(keep_one(inputs.stores[0], each) if each.value is not None else each for each in forecasts)


def keep_one(folder: Path, each: FinalForecast) -> FinalForecast:
    """The forecast with its date, kept in the store. Raises CvfpError where that cannot be written."""
    dated = replace(each, made=datetime.now(UTC).isoformat(timespec="seconds"))
    try:
        store.keep_forecast(folder, asdict(dated) | {"cvfp": __version__})
    except OSError as error:
        raise unwritten(error) from None
    return dated


def kept(inputs: Inputs) -> tuple[FinalForecast, ...]:
    """The forecasts kept in the stores, in the order they were made, each beside what its run has ended with.

    Raises UsageError where none is kept.
    """
    made = [each for path in inputs.stores for each in store.read_forecasts(path, FinalForecast)]
    if not made:
        raise UsageError("no forecasts are kept here; `cvfp forecast RUNS --save` keeps them, and `cvfp run` those "
                         "that it shows")
    ended = {row["run_id"]: row for row in inputs.records.filter(pl.col("status") == "ok").to_dicts()}
    return tuple(replace(each, actual=ended.get(each.run_id, {}).get(each.response)) for each in made)


def score(forecasts: Sequence[FinalForecast]) -> Score:
    """Of the forecasts whose runs have ended."""
    ended = [each for each in forecasts if each.error is not None]
    errors = [abs(each.error or 0.0) for each in ended]
    return Score(count=len(ended), inside=sum(bool(each.inside) for each in ended),
                 mean_error=fmean(errors) if errors else None, median_error=median(errors) if errors else None)
