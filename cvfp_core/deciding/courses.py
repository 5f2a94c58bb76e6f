"""The course of a run: what it measured over its steps, and how it ended if it has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from cvfp_core.errors import UsageError
from cvfp_core.ingesting import tags
from cvfp_core.schema import quantities, series
from cvfp_core.schema.fits import Array

RESPONSES = ("val_ppl", "val_loss", "val_bpb", "val_acc", "train_ppl", "train_loss")
"""Metrics that are forecast unasked, the first that has a curve."""
_RATE = re.compile(r"(?:\w+/)?(?:lr|learning_rate)(?:[-_/].*)?")
_LATELY = 0.95
"""Points from this share of the steps on are averaged to one: step logs are noisy, epochs are not."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Course:
    """A metric of one run over its steps (epochs, for runs of the protocol)."""

    run_id: str
    series: str
    experiment: str
    response: str
    """The metric: val_ppl."""
    lower: bool
    """Whether lower is better."""
    steps: Array
    """(n,), ascending."""
    values: Array
    """(n,), above 0."""
    beside: Array | None = None
    """(n,): the same metric on the training data; None: not measured."""
    rates: Array | None = None
    """(n,): the learning rate; None: not logged."""
    size: float | None = None
    """Training tokens, or documents."""
    limit: int | None = None
    """The last step it may take; None: not known."""
    best: bool = True
    """It keeps its best step and may stop before the limit; False: it takes all of its steps and keeps the last."""
    final: float | None = None
    """The metric it ended with; None: it is still going."""

    def upto(self, step: int) -> Course:
        """The same run as it was at a step, when it was still going."""
        kept = int(np.searchsorted(self.steps, step, side="right"))
        cut = [None if each is None else each[:kept] for each in (self.beside, self.rates)]
        return Course(run_id=self.run_id, series=self.series, experiment=self.experiment, response=self.response,
                      lower=self.lower, steps=self.steps[:kept], values=self.values[:kept], beside=cut[0],
                      rates=cut[1], size=self.size, limit=self.limit, best=self.best)

    @property
    def last(self) -> int:
        """The last step taken."""
        return int(self.steps[-1])

    def best_upto(self, step: float) -> float:
        """The best value up to a step."""
        values = self.values[self.steps <= step]
        return float(values.min() if self.lower else values.max())

    def level(self, step: float, values: Array | None = None) -> float:
        """Logarithm of the metric (or of the values given) about a step, of the points just before it; NaN: none."""
        known = self.steps <= step
        near = known & (self.steps > _LATELY * step)
        if not near.any():
            near = self.steps == self.steps[known].max(initial=-1)
        logs = np.log((self.values if values is None else values)[near])
        return float(logs.mean()) if len(logs) else float("nan")


def courses(records: pl.DataFrame, curves: pl.DataFrame, *, y: str | None = None, total: int | None = None,
            going: bool | None = None) -> tuple[Course, ...]:
    """The courses of the runs that have ended well or are still going, in the order of the records.

    y: the metric, by default the first of `RESPONSES` that has a curve. total: steps that runs without an end of their
    own are to take; those with fewer are still going. going: whether all are, instead of what their records say. Raises
    UsageError where no run has a curve of the metric.
    """
    curves = curves.filter(pl.col("phase").ne_missing(1) & pl.col("value").is_finite())
    names = curves["metric"].unique(maintain_order=True).to_list()
    response, logged = _response(names, y)
    beside = _logged(names, response.replace("val_", "train_")) if response.startswith("val_") else None
    rate = next((name for name in names if _RATE.fullmatch(name.lower())), None)
    wanted = [logged[0], *([beside[0]] if beside else []), *([rate] if rate else [])]
    found = curves.filter(pl.col("metric").is_in(wanted)).unique(
        ["run_id", "metric", "step"], keep="last", maintain_order=True).sort("step", maintain_order=True)
    parts = {key: (part["step"].to_numpy(), part["value"].to_numpy())
             for key, part in found.partition_by("run_id", "metric", as_dict=True).items()}
    made = []
    rows = records.with_columns(_series=series.labels(records)).to_dicts()
    for row, state in zip(rows, _states(rows, going), strict=True):
        curve = parts.get((row["run_id"], logged[0]))
        if state is None or curve is None:
            continue
        steps, values = curve[0], np.exp(curve[1]) if logged[1] else curve[1]
        keep = values > 0
        steps, values = steps[keep], values[keep]
        if not len(steps):
            continue
        best = _keeps_best(row)
        limit = row.get("max_epochs") if best else total
        ended = state == "ended" and (going is not None or best or total is None or int(steps[-1]) >= total)
        lower = quantities.of(response).better != "higher"
        final = row.get(response) or float((values.min() if lower else values.max()) if best else values[-1])
        with_beside = _at(steps, parts.get((row["run_id"], beside[0])) if beside else None)
        if with_beside is not None and beside and beside[1]:
            with_beside = np.exp(with_beside)
        made.append(Course(
            run_id=row["run_id"], series=row["_series"], experiment=str(row["experiment"]), response=response,
            lower=lower, steps=steps, values=values, beside=with_beside, best=best,
            rates=_at(steps, parts.get((row["run_id"], rate)) if rate else None), size=row.get("train_tokens")
            or row.get("num_samples"), limit=limit, final=final if ended else None))
    return tuple(made)


def _states(rows: Sequence[Mapping[str, Any]], going: bool | None) -> Iterator[str | None]:
    """`ended`, `going`, or None for what was stopped, diverged or failed."""
    for row in rows:
        unfinished = row["status"] == "interrupted" and row.get("stopped_by") is None
        if row["status"] != "ok" and not unfinished:
            yield None
        else:
            yield ("going" if unfinished else "ended") if going is None else "going" if going else (
                None if unfinished else "ended")


def _keeps_best(row: Mapping[str, Any]) -> bool:
    """Whether a run's figures are of its best epoch, as those of the protocol are."""
    return any(row.get(name) is not None for name in ("best_epoch", "phases", "phase1_mode")) or str(
        row.get("taken_at") or "").startswith("best")


def _response(names: Sequence[str], y: str | None) -> tuple[str, tuple[str, bool]]:
    """The metric, and the curve it is read from (see `_logged`)."""
    for name in [y] if y else RESPONSES:
        if (logged := _logged(names, name, derived=bool(y))) is not None:
            return name, logged
    there = ", ".join(names[:12]) or "none"
    raise UsageError(f"no run has a curve of {y or 'a metric'} over its steps; curves there are: {there}; give logs or "
                     "a folder that `cvfp run` made, and name a metric by --y")


def _logged(names: Sequence[str], quantity: str, *, derived: bool = False) -> tuple[str, bool] | None:
    """The curve of a quantity among those logged, and whether it is of the loss whose exponential the quantity is."""
    if quantity in names:
        return quantity, False
    known = {meaning: name for name, meaning in tags.quantities(names).items()}
    if quantity in known:
        return known[quantity], False
    loss = quantity.replace("_ppl", "_loss")
    return (known[loss], True) if derived and quantity.endswith("_ppl") and loss in known else None


def _at(steps: Array, curve: tuple[Array, Array] | None) -> Array | None:
    """The values of a curve at these steps, each the last one known by then; None where it begins later."""
    if curve is None or curve[0][0] > steps[0]:
        return None
    values: Array = curve[1][np.searchsorted(curve[0], steps, side="right") - 1]
    return values if (values > 0).all() else None
