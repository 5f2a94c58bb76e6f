"""Forecasts of running cells, made as their epochs are heard of; the first of each is kept in the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from cvfp_core.deciding.courses import Course, courses
from cvfp_core.deciding.forecast import FinalForecast, forecast
from cvfp_core.deciding.outlook import keep_one
from cvfp_core.schema import store
from cvfp_core.schema.cells import Cell, Event
from cvfp_core.schema.series import label

FIRST = 3
"""Epoch from which on a run is forecast."""
RESPONSE = "val_ppl"


class Watch:
    """Adds the forecast of the final Val PPL to the events of epochs, where it can be made.

    folder: the store of the cells, whose finished runs it learns from: those there are, and those that end meanwhile.
    """

    def __init__(self, folder: Path, cells: Sequence[Cell]) -> None:
        self.folder, self.cells = folder, {cell.run_id: cell for cell in cells}
        self.finished = _courses(store.shown(folder), store.read_curves(folder))
        self.epochs: dict[str, list[tuple[int, float, float]]] = {}
        self.kept: set[str] = set()

    def __call__(self, event: Event) -> Event:
        """The event, with `forecast`, `forecast_low` and `forecast_high` if it is of an epoch that allows one."""
        values: dict[str, Any] = dict(event.values)
        if event.kind == "run_started":
            self.epochs.pop(event.run_id, None)
        elif event.kind == "run_resumed" and values["phase"] == 2:
            self.epochs[event.run_id] = self._noted(event.run_id, values["step"])
        elif event.kind == "run_finished" and values["status"] == "ok":
            self.finished += _courses(*store.read_run(self.folder, event.run_id))
        elif event.kind == "phase2_epoch" and isfinite(values["val_ppl"]):
            self.epochs.setdefault(event.run_id, []).append((values["epoch"], values["val_ppl"], values["train_ppl"]))
            made = self._forecast(event.run_id)
            if made is not None and made.value is not None:
                return replace(event, values=values | {"forecast": made.value, "forecast_low": made.low,
                                                       "forecast_high": made.high})
        return event

    def _noted(self, run_id: str, last: int) -> list[tuple[int, float, float]]:
        """What the store has of the epochs of a run that goes on, up to the one it goes on from."""
        _, curves = store.read_running(self.folder)
        epochs = curves.filter(pl.col("run_id") == run_id, pl.col("step") <= last).pivot(
            "metric", index="step", values="value").sort("step")
        told = ("step", "val_ppl", "train_ppl")
        return epochs.select(told).rows() if {*told} <= {*epochs.columns} else []

    def _forecast(self, run_id: str) -> FinalForecast | None:
        cell = self.cells[run_id]
        steps, values, beside = np.array(self.epochs[run_id], dtype=float).T
        if steps[-1] < FIRST:
            return None
        made = forecast(Course(
            run_id=run_id, series=label([cell.experiment, cell.variant.name], cell.control), experiment=cell.experiment,
            response=RESPONSE, lower=True, steps=steps, values=values, size=float(cell.train_tokens),
            beside=beside if np.isfinite(beside).all() else None, limit=cell.settings.phase2.epochs), self.finished)
        if made.value is not None and run_id not in self.kept:
            self.kept.add(run_id)
            keep_one(self.folder, made)
        return made


def _courses(records: pl.DataFrame, curves: pl.DataFrame) -> list[Course]:
    """The courses there are; none where no run came as far as Phase 2."""
    return list(courses(records, curves, y=RESPONSE)) if RESPONSE in curves["metric"] else []
