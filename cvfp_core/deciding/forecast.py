"""The final metric of a run that is still going, from its course so far and from how runs like it ended."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from cvfp_core.deciding.courses import Course
from cvfp_core.deciding.curve_law import LAW, by_law
from cvfp_core.deciding.kriging import krige, spread
from cvfp_core.schema.fits import Array, Reason
from cvfp_core.schema.plain import AsDict

LEAST_RUNS = 3
"""Finished runs below which nothing is learned from them."""
NEAREST = 50
"""Finished runs a forecast is made from, those whose courses are the most alike."""
BEFORE = 0.75
"""The slope of a course is that of its last quarter."""
SCHEDULE = 0.1
"""Difference of learning rates, as shares of their peaks, from which schedules are not the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalForecast(AsDict):
    """What a run's final metric will be, with a 95 % interval."""

    run_id: str
    """Of the run that is forecast."""
    series: str
    """The series it is of."""
    response: str
    """The metric: val_ppl."""
    step: int | None
    """How far the run was; None: it has no point."""
    limit: int | None
    """The last step it may take, or is to take; None: not known."""
    current: float | None
    """The metric at that step."""
    value: float | None = None
    """What the metric will end with: as likely below as above."""
    low: float | None = None
    """Lower end of the interval."""
    high: float | None = None
    """Upper end."""
    method: str = ""
    """`finished runs`, or `curve law`."""
    rests_on: tuple[str, ...] = ()
    """The finished runs, by name."""
    reason: str = ""
    """Why there is no value."""
    warnings: tuple[str, ...] = ()
    """What else is to be known of it."""
    made: str = ""
    """When: UTC, ISO 8601; empty where it was not kept."""
    actual: float | None = None
    """What the run ended with, where it has."""

    @property
    def name(self) -> str:
        """The run id without the hash of a cell, which nobody reads."""
        return re.sub(r"-[0-9a-f]{12}$", "", self.run_id)

    @property
    def error(self) -> float | None:
        """How far off the forecast was, as a fraction of what the run ended with."""
        return None if self.value is None or not self.actual else self.value / self.actual - 1

    @property
    def inside(self) -> bool | None:
        """Whether the interval held what the run ended with."""
        if self.actual is None or self.low is None or self.high is None:
            return None
        return self.low <= self.actual <= self.high


def forecast(course: Course, finished: Sequence[Course], *, level: float = 0.95) -> FinalForecast:
    """The final metric of a run by its course so far. finished: courses; those still going are not looked at.

    The logarithm of final over current metric, of the finished runs at the same step (or, of runs that take all of
    their steps, at the same share of them), is kriged over what the courses looked like by then: level and slope of the
    metric, the same of its training counterpart, size.
    """
    empty = FinalForecast(run_id=course.run_id, series=course.series, response=course.response, limit=course.limit,
                          step=course.last if len(course.steps) else None,
                          current=float(course.values[-1]) if len(course.values) else None)
    if len(course.steps) < 2:
        return replace(empty, reason=Reason("{n} points of {response} so far; a forecast needs 2", n=len(course.steps),
                                            response=course.response))
    others = [each for each in finished if each.final is not None and each.run_id != course.run_id
              and each.response == course.response and each.best == course.best]
    limit = course.limit
    if limit is None and not course.best:
        lengths = {each.last for each in others}
        if len(lengths) > 1:
            return replace(empty, reason=Reason(
                "finished runs took {low} to {high} steps, and no log says how many this one takes; say it: --total "
                "STEPS", low=min(lengths), high=max(lengths)))
        limit = next(iter(lengths), None)
    empty = replace(empty, limit=limit)
    reached = [each for each in others if _place(course, each, limit) <= each.last and not _cut_short(each, limit)]
    alike = [each for each in reached if _same_schedule(course, each, limit)]
    warnings = [] if len(alike) == len(reached) else [Reason(
        "{n} finished runs left out: their learning rate took another course", n=len(reached) - len(alike))]
    own = [each for each in alike if each.experiment == course.experiment]
    pool = own if len(own) >= LEAST_RUNS else alike
    if len(pool) < LEAST_RUNS:
        few = Reason("{n} finished runs reach step {step}, and {least} are needed", n=len(pool), step=course.last,
                     least=LEAST_RUNS)
        law = by_law(course, limit)
        if isinstance(law, Reason):
            return replace(empty, reason=Reason("{few}; {why}", few=few, why=law), warnings=tuple(warnings))
        value, low, high = law
        alone = Reason("{few}; the interval is of law {law} alone", few=few, law=LAW)
        return replace(empty, value=value, low=low, high=high, method="curve law", warnings=(*warnings, alone))
    if pool is not own:
        warnings.append(Reason("by runs of other experiments ({names}): its own has {n} that reach step {step}",
                               names=tuple(sorted({each.experiment for each in pool})), n=len(own), step=course.last))
    points, at = _looks(course, pool, limit)
    if len(pool) > NEAREST:
        order = np.argsort(np.square((points - at) / spread(points)).sum(axis=1), kind="stable")[:NEAREST]
        pool, points = [pool[index] for index in order], points[order]
    ends = np.array([np.log(_final(each, limit)) - each.level(_place(course, each, limit)) for each in pool])
    told, now = krige(points, ends, at), course.level(course.last)
    bound = course.best_upto(course.last) if course.best else None
    low, value, high = (_within(float(np.exp(now + told.quantile(p))), bound, lower=course.lower)
                        for p in ((1 - level) / 2, 0.5, (1 + level) / 2))
    return replace(empty, value=value, low=low, high=high, method="finished runs", warnings=tuple(warnings),
                   rests_on=tuple(sorted(each.run_id for each in pool)))


def _place(course: Course, other: Course, limit: int | None) -> float:
    """The step of another run at which it was where the course is now."""
    if course.best or not limit:
        return course.last
    return course.last / limit * other.last


def _cut_short(other: Course, limit: int | None) -> bool:
    """Whether the other run was cut short before the limit of this one, so that its end says nothing of this one's."""
    if not other.best or other.limit is None or (limit is not None and other.limit >= limit):
        return False
    return other.last >= other.limit and other.values[-1] == other.best_upto(other.last)


def _final(other: Course, limit: int | None) -> float:
    """What the other run would have ended with under the limit of this one."""
    assert other.final is not None
    return other.best_upto(limit) if other.best and limit is not None and other.last > limit else other.final


def _same_schedule(course: Course, other: Course, limit: int | None) -> bool:
    """Whether the learning rates of both, as shares of their peaks, took the same course so far; if both are known."""
    if course.rates is None or other.rates is None:
        return True
    at = np.linspace(0.1, 1.0, 10)
    mine = np.interp(at * course.last, course.steps, course.rates)
    theirs = np.interp(at * _place(course, other, limit), other.steps, other.rates)
    return bool(np.abs(mine / mine.max() - theirs / theirs.max()).max() <= SCHEDULE)


def _looks(course: Course, pool: Sequence[Course], limit: int | None) -> tuple[Array, Array]:
    """(n, f) what the courses of the pool looked like at the place of this one, and (f,) what this one looks like."""
    rows = np.array([_look(each, _place(course, each, limit)) for each in pool])
    mine = np.array(_look(course, course.last))
    told = np.isfinite(rows).all(axis=0) & np.isfinite(mine)
    return rows[:, told], mine[told]


@lru_cache(maxsize=4096)
def _look(course: Course, step: float) -> tuple[float, ...]:
    """Level and slope of the metric, gap to and slope of its training counterpart, log size; NaN: not measured."""
    now, before = course.level(step), course.level(BEFORE * step)
    look = [now, before - now]
    if course.beside is None:
        look += [np.nan, np.nan]
    else:
        beside = course.level(step, course.beside)
        look += [now - beside, course.level(BEFORE * step, course.beside) - beside]
    return (*look, np.log(course.size) if course.size else np.nan)


def _within(value: float, bound: float | None, *, lower: bool) -> float:
    """The value, no worse than what the run has reached already."""
    return value if bound is None else min(value, bound) if lower else max(value, bound)
