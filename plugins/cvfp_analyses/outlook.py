"""The stop rule `forecast`: a run that will end worse than another series at equal data, beyond doubt, is ended."""

from __future__ import annotations

import polars as pl

from cvfp_analyses.thresholds import FORECAST_EPOCHS, FORECAST_LEVEL
from cvfp_core.deciding.courses import courses
from cvfp_core.deciding.forecast import forecast
from cvfp_core.registry.kinds import Underway
from cvfp_core.schema import series

RESPONSE = "val_ppl"


def worse_than_rivals(underway: Underway) -> str | None:
    """The whole interval of the forecast is worse than what a run of another series at equal data ended with."""
    (course,) = courses(underway.record, underway.curves, y=RESPONSE, going=True)
    if course.last not in FORECAST_EPOCHS:
        return None
    records, curves = underway.earlier()
    records = records.filter(series.control(records).is_null(), pl.col("status") == "ok")
    if records.is_empty():
        return None
    finished = courses(records, curves, y=RESPONSE)
    rivals = [each for each in finished if each.final and each.size == course.size and each.series != course.series]
    if not rivals:
        return None
    made = forecast(course, finished, level=FORECAST_LEVEL)
    best = min(rivals, key=lambda each: each.final or 0.0)
    if made.value is None or made.low is None or best.final is None or made.low <= best.final:
        return None
    return (f"by epoch {course.last} Val PPL is forecast to end at {made.value:.4g}, and not below {made.low:.4g} "
            f"({FORECAST_LEVEL:.0%} interval); {best.series} ended at {best.final:.4g} on the same data")
