"""Records -> the points a law may be fitted to, and what speaks against fitting them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import polars as pl

from cvfp_core.errors import UsageError
from cvfp_core.schema import quantities, series
from cvfp_core.schema.expressions import offer
from cvfp_core.schema.fits import Array, Points, Reason, Status
from cvfp_core.schema.quantities import Quantity

MOST = 5_000
"""Runs that a law is fitted to; of more, as many are taken, spread evenly."""
WEIGHTS = "_weights of runs"
"""Column of the weights asked for."""
Item = TypeVar("Item")
Result = TypeVar("Result")


def require(records: pl.DataFrame, names: Sequence[str], what: str = "column") -> None:
    """Raises UsageError for names that are no columns of the records: the nearest, and all that hold numbers."""
    missing = [name for name in names if name not in records.columns]
    if not missing:
        return
    there = sorted(name for name, values in zip(records.columns, records.iter_columns(), strict=True)
                   if not name.startswith("_") and values.null_count() < records.height)
    every = [name for name in there if records[name].dtype.is_numeric()] if what != "group" else there
    raise UsageError(f"records have no column {', '.join(map(repr, missing))}{offer(missing, every)}; or map "
                     f"one: --map {missing[0]}=COLUMN")


def gather(records: pl.DataFrame, inputs: Sequence[str], response: str, by: Sequence[str],
           declared: Mapping[str, Quantity] | None = None) -> Points:
    """The usable runs of the records; see `gather_each`."""
    return gather_each(records.with_columns(_group=0), 1, inputs, response, by, declared)[0]


def gather_each(records: pl.DataFrame, count: int, inputs: Sequence[str], response: str, by: Sequence[str],
                declared: Mapping[str, Quantity] | None = None, *, most: int = MOST) -> list[Points]:
    """The usable runs of each group of the records, numbered by `_group`. What is left out is counted, not hidden.

    Left out: runs whose status is not ok, values not measured, the same record loaded twice, all but the last
    checkpoint of a run. by: the columns whose values name a series, with the control where runs are of one. most: runs
    of a group, see `thinned`.
    Raises UsageError for a column that is not there or holds no numbers.
    """
    require(records, [*inputs, response])
    require(records, by, "group")
    words = [name for name in (*inputs, response) if not records.schema[name].is_numeric()
             and records.schema[name] not in (pl.Null, pl.Boolean)]
    if words:
        raise UsageError(f"column {', '.join(map(repr, words))} holds no numbers, so no law can be fitted to it")
    left_out: list[Counter[str]] = [Counter() for _ in range(count)]
    if "status" in records.columns:
        for group, status in records.filter(pl.col("status") != "ok").select("_group", "status").iter_rows():
            left_out[group][str(status)] += 1
        records = records.filter(pl.col("status") == "ok")
    measured = records.drop_nulls([*inputs, response])
    distinct = series.distinct(measured, by, ["_group"])
    last = series.last_checkpoints(distinct, by, ["_group"])
    kept = [np.bincount(frame["_group"].to_numpy(), minlength=count) for frame in (records, measured, distinct, last)]
    for what, before, after in zip(("not measured", "identical", "earlier checkpoint"), kept, kept[1:], strict=False):
        for group in np.flatnonzero(before > after):
            left_out[group][what] = int(before[group] - after[group])
    names = series.labels(records, by)
    order = {name: index for index, name in enumerate(dict.fromkeys(names))}
    rows = last.with_columns(series.labels(last, by).alias("_series"))
    rows = rows.with_columns(pl.col("_series").replace_strict(order, return_dtype=pl.Int64).alias("_order"))
    rows = rows.sort("_group", "_order", *inputs, *(name for name in ("seed", "run_id") if name in rows.columns),
                     nulls_last=True)
    ends = np.cumsum(kept[-1])[:-1]

    def split(values: Array) -> list[Array]:
        return np.split(values, ends)

    known = {name: quantities.of(name, declared) for name in (*inputs, response)}
    marks = [mark for mark in dict.fromkeys(each.censored_by for each in known.values()) if mark in rows.columns]
    known |= {mark: quantities.of(mark, declared) for mark in marks}
    values = {name: split(rows[name].cast(pl.Float64).to_numpy()) for name in (*inputs, response)}
    censored = {mark: split(rows[mark].fill_null(False).cast(pl.Boolean).to_numpy()) for mark in marks}
    doubtful = {"‡": split(series.above_unigram(rows).to_numpy()),
                "§": split(series.control(rows).is_not_null().to_numpy())}
    labels = split(np.asarray(rows["_series"].to_list(), dtype=object))
    repeats = split(_repeats(rows, inputs))
    weights = split(rows[WEIGHTS].to_numpy()) if WEIGHTS in rows.columns else None
    return [thinned(Points(
        inputs={name: values[name][group] for name in inputs}, response=values[response][group], name=response,
        series=labels[group], declared=known, censored={mark: censored[mark][group] for mark in marks},
        doubtful={mark: which[group] for mark, which in doubtful.items()},
        left_out=tuple(f"{number} {what}" for what, number in left_out[group].items() if number),
        caution=_pooled(repeats[group]),
        weights=None if weights is None or not n else weights[group] / weights[group].mean(),
    ), most) for group, n in enumerate(kept[-1])]


def thinned(points: Points, most: int) -> Points:
    """The points; of more than `most`, about as many of all series by `series.spread`, and a caution that says so."""
    if points.n <= most:
        return points
    starts = np.flatnonzero(np.r_[True, points.series[1:] != points.series[:-1]])
    ends = [end for values in points.inputs.values() for end in (np.argmin(values), np.argmax(values))]
    kept = points.take(series.spread(np.diff([*starts, points.n]), most, ends))
    caution = Reason("{n} of {all} runs are taken, spread evenly", n=f"{kept.n:,}", all=f"{points.n:,}")
    return replace(kept, weights=None if kept.weights is None else kept.weights / kept.weights.mean(),
                   caution=Reason("{first}; {second}", first=kept.caution, second=caution) if kept.caution else caution)


def _repeats(rows: pl.DataFrame, inputs: Sequence[str]) -> Array:
    """(n,) which runs repeat tokens while the law takes them for fresh ones."""
    if "train_tokens" not in inputs or "unique_tokens" in inputs or "unique_tokens" not in rows.columns:
        return np.zeros(rows.height, dtype=bool)
    ratio = pl.col("unique_tokens").cast(pl.Float64) / pl.col("train_tokens")
    return rows.select(((ratio - 1).abs() > 1e-6).fill_null(False)).to_series().to_numpy()


def _pooled(repeats: Array) -> str:
    """A caution if some of a group's runs repeat tokens; empty if not."""
    return Reason("unique_tokens differ from train_tokens in {n} of {all} runs, and the law takes repeated tokens for "
                  "fresh ones; fit data-constrained, or select runs with --where", n=int(repeats.sum()),
                  all=len(repeats)) if repeats.any() else ""


def refusal(points: Points, *, least: int, what: str = "sizes", log: bool = True,
            zero: Sequence[str] = ()) -> tuple[Status, str] | None:
    """Why nothing can be fitted to the points, as a status and a reason with the remedy; None if something can.

    log: whether logarithms of the response are taken. zero: sizes that may be 0.
    """
    first = next(iter(points.inputs))
    if points.n == 0:
        return "too few points", _reason("no run with a usable {name}", points, name=points.name)
    for name, values in (*points.inputs.items(), (points.name, points.response)):
        positive = (name == first and points.quantity(name).kind == "size") or (name == points.name and log)
        bad = ~np.isfinite(values) | (positive & ((values < 0) if name in zero else (values <= 0)))
        if bad.any():
            shown = ", ".join(f"{value:g}" for value in values[bad][:3])
            need = "positive and finite" if positive else "finite"
            return "bad data", Reason("{name} must be {need}, found {found}; mend or drop {n} run(s)", name=name,
                                      need=need, found=shown, n=int(bad.sum()))
    if points.n == 1:
        return "too few points", _reason("1 run ({name} {size:,.0f}): a law needs more", points, name=first,
                                         size=float(points.inputs[first][0]))
    count = len(points.sizes) if what == "sizes" else points.n
    if what == "sizes" and count == 1:
        return "not identifiable", Reason("all {n} runs have {name} {size:,.0f}; add another size", n=points.n,
                                          name=first, size=float(points.sizes[0]))
    if count < least:
        return "too few points", _reason(
            "{n} sizes, needs {least}; add {more}" if what == "sizes" else "{n} runs, needs {least}; add {more}",
            points, n=count, least=least, more=least - count)
    return None


def unvaried(points: Points) -> str | None:
    """Why a surface cannot be told apart from less: an input that hardly varies."""
    for name, values in points.inputs.items():
        if (count := len(np.unique(values))) < 3:
            return Reason("{name} has {n} distinct value(s), needs 3; add sizes", name=name, n=count)
    return None


def weighted(records: pl.DataFrame, column: str) -> pl.DataFrame:
    """The records with a column's values as the weights of runs in what is minimised.

    Raises UsageError for a column that is not there, and for usable runs without a positive weight.
    """
    require(records, [column])
    if not records.schema[column].is_numeric():
        raise UsageError(f"--weights {column}: holds no numbers; name a column of positive numbers")
    usable = records.filter(pl.col("status") == "ok") if "status" in records.columns else records
    bad = usable.filter(~(pl.col(column).is_finite() & (pl.col(column) > 0)).fill_null(False))[column]
    if len(bad):
        shown = ", ".join("none" if value is None else f"{value:g}" for value in bad.unique(maintain_order=True)[:3])
        raise UsageError(f"--weights {column}: must be positive in every run, found {shown} in {len(bad)} of "
                         f"{usable.height}; mend them, or leave those runs out: --where '{column} > 0'")
    return records.with_columns(pl.col(column).cast(pl.Float64).alias(WEIGHTS))
def place(points: Points) -> Hashable:
    """Equal for points at the same inputs, which one curve can be fitted to at once."""
    return tuple((name, values.tobytes()) for name, values in points.inputs.items())


def by_group(every: Sequence[Item], key: Callable[[Item], Hashable],
             compute: Callable[[list[Item]], Sequence[Result]]) -> list[Result]:
    """What is computed of each, in the order given; of those with the same key at once."""
    groups: dict[Hashable, list[int]] = {}
    for index, item in enumerate(every):
        groups.setdefault(key(item), []).append(index)
    results: dict[int, Result] = {}
    for rows in groups.values():
        results.update(zip(rows, compute([every[row] for row in rows]), strict=True))
    return [results[index] for index in range(len(every))]


def slope_sign(points: Points) -> int:
    """+1 if the response rises with the logarithm of the first input, -1 if it falls, 0 if it is flat."""
    first = next(iter(points.inputs.values()))
    x = np.log(first) if (first > 0).all() else first
    y = np.log(points.response) if (points.response > 0).all() else points.response
    slope = float((x - x.mean()) @ y / max(float(np.ptp(x)), 1e-300))
    return 0 if abs(slope) <= 1e-9 else 1 if slope > 0 else -1


def wrong_way(points: Points) -> tuple[Status, str] | None:
    """Why the response does not go the way a scaling law does, as a status and a reason; None if it does.

    Asked where a size is the first input and it is known which way of the response is better.
    """
    first = next(iter(points.inputs))
    better = points.quantity(points.name).better
    if better is None or points.quantity(first).kind != "size":
        return None
    sign = slope_sign(points)
    if sign * (1 if better == "lower" else -1) <= 0:
        return None
    message = "{name} rises with {size}, so this is no scaling law; check the runs" if sign > 0 else \
        "{name} falls with {size}, so this is no scaling law; check the runs"
    return "rises" if sign > 0 else "falls", Reason(message, name=points.name, size=first)


def _reason(message: str, points: Points, **values: str | float) -> Reason:
    """The reason, with what was left out of the points, if anything was."""
    if points.left_out:
        return Reason(message + " (left out: {left_out})", **values, left_out=points.left_out)
    return Reason(message, **values)
