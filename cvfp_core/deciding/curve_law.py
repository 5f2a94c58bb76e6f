"""The end of a run by a law of its own curve, where no finished runs say how runs like it end."""

from __future__ import annotations

import numpy as np

from cvfp_core.deciding.courses import Course
from cvfp_core.schema.fits import Reason
from cvfp_core.schema.records import Record, frame

EARLY = 0.1
"""Share of the steps so far that is left out at the start: it follows no law yet."""
STRETCHES = 6
"""Stretches of equally many points whose means the law is fitted to: neighbouring points are no replicates."""
LEAST = 16
LAW = "saturating"
FALLEN = 0.98
"""Share of its peak below which a learning rate has begun to fall."""


def by_law(course: Course, limit: int | None) -> tuple[float, float, float] | Reason:
    """Value and 95 % interval of the law at the last step, or why there is none."""
    if course.best:
        return Reason("a run that stops by itself is forecast from finished runs only")
    if limit is None:
        return Reason("for a law of its own curve say how many steps it is to take: --total STEPS")
    if course.rates is not None and course.rates[-1] < FALLEN * course.rates.max():
        return Reason("its learning rate falls, and a law of its own curve knows no schedule")
    keep = course.steps > EARLY * course.last
    steps, logs = course.steps[keep].astype(float), np.log(course.values[keep])
    if len(steps) < LEAST:
        return Reason("a law of its own curve needs {least} points beyond its first tenth, and it has {n}", least=LEAST,
                      n=len(steps))
    from cvfp_core.fitting import predict_all

    parts = np.array_split(np.arange(len(steps)), STRETCHES)
    means = [(float(np.exp(np.log(steps[part]).mean())), float(np.exp(logs[part].mean()))) for part in parts]
    points = frame(Record(run_id=str(i), experiment=course.run_id, train_tokens=at, val_loss=value)
                   for i, (at, value) in enumerate(means))
    (made,) = predict_all(points, {"train_tokens": [float(limit)]}, LAW, x="train_tokens", y="val_loss").predictions
    if made.value is None or made.run_low is None or made.run_high is None:
        return Reason("a law of its own curve says nothing: {why}", why=made.reason)
    x = np.log(steps)
    noise = 2 * (logs - np.polyval(np.polyfit(x, logs, 3), x)).std()  # of one point, as the run's end is one
    low, high = (float(made.value * np.exp(side * np.hypot(np.log(end / made.value), noise)))
                 for side, end in ((-1, made.run_low), (1, made.run_high)))
    return made.value, low, high
