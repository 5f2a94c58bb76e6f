"""Records as frames: the schema, and the one gate into it.

The polars schema follows from the declarations of `quantities`. Columns it does not know are kept under their own
names, columns that are missing are null.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any, get_args

import numpy as np
import polars as pl

from cvfp_core.schema import expressions
from cvfp_core.schema.quantities import QUANTITIES, Follows, Quantity, Record, Status, of
from cvfp_core.schema.series import control, label, series, without_controls

__all__ = ["CURVE_SCHEMA", "PHASES", "REQUIRED", "SCHEMA", "Conformed", "CurvePoint", "Record", "Rejection",
           "RunResult", "Status", "conform", "conform_rows", "control", "derive", "frame", "label", "plain", "series",
           "with_schema", "without_controls"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One value of a curve: `step` is the iteration of Phase 1 or the epoch of Phase 2."""

    phase: int
    step: int
    metric: str
    value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """A record with its curves."""

    record: Record
    curves: tuple[CurvePoint, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    """What the model measured beside the record, by the names of quantities that plugins declare."""

    def row(self) -> dict[str, Any]:
        """The record as it is stored: its columns, and the model's own metrics among them."""
        return asdict(self.record) | dict(self.metrics)


_DTYPES: dict[str, pl.DataType] = {"str": pl.String(), "int": pl.Int64(), "float": pl.Float64(), "bool": pl.Boolean()}

SCHEMA: dict[str, pl.DataType] = {name: _DTYPES[each.dtype] for name, each in QUANTITIES.items()}
CURVE_SCHEMA: dict[str, pl.DataType] = {
    "run_id": pl.String(), "phase": pl.Int64(), "step": pl.Int64(), "metric": pl.String(), "value": pl.Float64(),
}
REQUIRED = ("run_id", "experiment")
"""Columns without which a row is no record."""
PHASES = ("phases", "phase1_mode", "phase1_iterations", "params_phase1")
"""A record that has one of these is of a run with phases."""
_WANTED = {"str": "a text", "int": "a whole number", "float": "a finite number", "bool": "true or false"}
_WHOLE = 2.0**53
"""From here on a float stands for several whole numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A row that is no record, and why; `row` counts from 0 in the frame that was given."""

    row: int
    column: str
    value: Any
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Conformed:
    """The rows that are records, in the record schema, and those that are not."""

    records: pl.DataFrame
    rejected: tuple[Rejection, ...]


def frame(records: Iterable[Record]) -> pl.DataFrame:
    """The records as a frame in the record schema, in the order given."""
    return pl.DataFrame([asdict(record) for record in records], schema=SCHEMA)


def plain(records: pl.DataFrame) -> list[dict[str, Any]]:
    """The records as rows of Python values; a size that is a whole number is an int, so that it prints as one."""
    rows = records.to_dicts()
    for name, dtype in records.schema.items():
        if dtype == pl.Float64 and of(name).kind == "size":
            for row in rows:
                value = row[name]
                if value is not None and value.is_integer() and abs(value) < _WHOLE:
                    row[name] = int(value)
    return rows


def conform(loose: pl.DataFrame, declared: Mapping[str, Quantity] | None = None, *, derived: bool = True,
            whole: bool = True) -> Conformed:
    """The loose frame's rows in the record schema; the one gate for rows made elsewhere.

    Missing columns become null; a value that is not of its column's type or out of its range, and a missing required
    one, reject the row. A loss or perplexity that is NaN or infinite makes the row a diverged record without it. What
    follows from the rest is filled in. declared: what plugins declare. derived: whether to fill in. whole: whether to
    add columns that are missing; `with_schema` does for many frames at once.
    """
    height = loose.height
    rejected: dict[int, Rejection] = {}

    def reject(bad: pl.Series, column: str, reason: str) -> None:
        if not bad.any():  # the rest is for the few columns that need it: a call of polars costs more than a column
            return
        for row in bad.fill_null(False).arg_true().to_list():
            if row not in rejected:
                rejected[row] = Rejection(row=row, column=column, value=loose[column][row] if column in loose.columns
                                          else None, reason=reason)

    given = {name: loose[name] for name in loose.columns}
    known = QUANTITIES | {name: each for name, each in (declared or {}).items() if name in given}
    _mark_diverged(given, height, known)
    for name in REQUIRED:
        values = given.get(name)
        missing = pl.Series([True] * height, dtype=pl.Boolean) if values is None else _empty(values)
        reject(missing, name, "is missing")
    if strange := set(given["status"].to_list()) - set(get_args(Status)):
        reject(given["status"].is_in(strange), "status", f"is not one of {', '.join(get_args(Status))}")
    made: dict[str, pl.Series] = {}
    for name, quantity in known.items():
        if name not in given:
            continue
        dtype = _DTYPES[quantity.dtype]
        cast = _cast(given[name], dtype)
        if cast.null_count() > given[name].null_count():
            reject(given[name].is_not_null() & cast.is_null(), name, f"is not {_WANTED[quantity.dtype]}")
        if quantity.range and cast.null_count() < height:
            reject(_outside(cast, quantity), name, f"must {quantity.range}")
        made[name] = cast.alias(name)
    made |= {name: values for name, values in given.items() if name not in known}
    records = pl.DataFrame(list(made.values()))
    if whole:
        records = with_schema(records)
    if rejected:
        records = records.filter(~pl.Series(range(height), dtype=pl.Int64).is_in(list(rejected)))
    if derived:
        records = derive(records, declared)
    return Conformed(records=records, rejected=tuple(rejected[row] for row in sorted(rejected)))


def with_schema(records: pl.DataFrame) -> pl.DataFrame:
    """The records with every column of the schema first; those that are missing are null."""
    nothing = [pl.lit(None, dtype).alias(name) for name, dtype in SCHEMA.items() if name not in records.columns]
    return records.with_columns(nothing).select(*SCHEMA, pl.exclude(*SCHEMA))


def _outside(values: pl.Series, quantity: Quantity) -> pl.Series:
    """Where the values are out of the quantity's range; null where they are null."""
    low = -math.inf if quantity.minimum is None else quantity.minimum
    high = math.inf if quantity.maximum is None else quantity.maximum
    return ((values <= low) if quantity.exclusive else (values < low)) | (values > high)


def derive(records: pl.DataFrame, declared: Mapping[str, Quantity] | None = None) -> pl.DataFrame:
    """The records with what follows from others filled in where it was not measured, and named in `derived`.

    A value that would be out of its quantity's range, or not finite, is left out.
    """
    for name, quantity in (QUANTITIES | {each: made for each, made in (declared or {}).items()
                                         if each in records.columns}).items():
        for rule in quantity.follows:
            computed = _computed(rule.expression)
            known = [records[each] for each in computed.columns if each in records.columns]
            if not records[name].null_count() or len(known) < len(computed.columns) or any(
                    each.null_count() == records.height for each in known):
                continue
            values = records.select(computed.polars.alias(name)).to_series()
            applies = records.select(_applies(rule).alias("applies")).to_series()
            sound = values.is_not_null() if values.dtype == pl.Boolean else \
                values.is_finite() & ~_outside(values, quantity)
            fill = (applies & records[name].is_null() & sound).fill_null(False)
            if fill.any():
                said = pl.concat_str("derived", pl.lit(f"{name} = {rule.expression}"), separator="; ",
                                     ignore_nulls=True)
                records = records.with_columns(
                    values.cast(records.schema[name]).zip_with(fill, records[name]),
                    derived=pl.when(fill).then(said).otherwise("derived"))
    return records


@cache
def _computed(expression: str) -> expressions.Expression:
    if expression.startswith(("phase1.", "phase2.")):
        value = pl.col("settings").str.json_path_match(f"$.{expression}").cast(pl.Float64, strict=False)
        return expressions.Expression(text=expression, columns=("settings",), polars=value, numbers=frozenset(),
                                      condition=False)
    return expressions.parse(expression, re.findall(r"[A-Za-z_]\w*", expression))


def _applies(rule: Follows) -> pl.Expr:
    """To which records the rule applies."""
    phased = pl.any_horizontal(pl.col(name).is_not_null() for name in PHASES)
    return (pl.lit(rule.phases is None) | (phased == pl.lit(rule.phases))) & (
        pl.lit(rule.convention is None) | (pl.col("flops_convention") == pl.lit(rule.convention)))


def conform_rows(rows: Sequence[Mapping[str, Any]], declared: Mapping[str, Quantity] | None = None) -> Conformed:
    """As `conform`, for rows that are no frame yet: a column may mix types, and the value that is wrong is named."""
    names = dict.fromkeys([*SCHEMA, *sorted({name for row in rows for name in row})])
    return conform(pl.DataFrame([_column_of(name, [row.get(name) for row in rows]) for name in names]), declared)


def _column_of(name: str, values: list[Any]) -> pl.Series:
    """The values as their column's type if all are of it, else as they are."""
    if name not in SCHEMA:
        return pl.Series(name, values, strict=False)
    try:
        return pl.Series(name, values, dtype=SCHEMA[name])
    except (TypeError, OverflowError):
        return pl.Series(name, values, dtype=pl.Object)


def _mark_diverged(given: dict[str, pl.Series], height: int, known: Mapping[str, Quantity]) -> None:
    """Sets null what is no finite loss or perplexity, and the status and reason of its row if they say nothing yet."""
    texts = {name: _texts(given.get(name), name, height) for name in ("status", "reason")}
    missing = texts["status"].null_count()
    given["status"] = texts["status"].fill_null("ok") if 0 < missing < height else (
        pl.Series("status", ["ok"] * height, dtype=pl.String) if missing else texts["status"])
    for name in sorted((each.name for each in known.values() if each.outcome), reverse=True):
        values = given.get(name)
        if values is None or not values.dtype.is_float() or _finite(values):
            continue
        bad = (values.is_nan() | values.is_infinite()).fill_null(False)
        if not bad.any():
            continue
        mark = bad & (given["status"] == "ok")
        why = pl.Series("reason", [f"{name} is {value}" for value in values.to_list()], dtype=pl.String)
        given["reason"] = texts["reason"] = why.zip_with(mark, texts["reason"])
        given["status"] = pl.Series("status", ["diverged"] * height, dtype=pl.String).zip_with(mark, given["status"])
        given[name] = values.zip_with(~bad, pl.Series([None] * height, dtype=values.dtype))


def _texts(values: pl.Series | None, name: str, height: int) -> pl.Series:
    if values is None:
        return pl.Series(name, [None] * height, dtype=pl.String)
    return _cast(values, pl.String())


def _finite(values: pl.Series) -> bool:
    """Whether all values that are there are finite."""
    return int(np.isfinite(values.to_numpy()).sum()) == len(values) - values.null_count()


def _empty(values: pl.Series) -> pl.Series:
    if not values.null_count():
        return values == "" if values.dtype == pl.String else pl.Series([False] * len(values), dtype=pl.Boolean)
    return values.is_null() | (values == "") if values.dtype == pl.String else values.is_null()


def _cast(values: pl.Series, dtype: pl.DataType) -> pl.Series:
    """The values as their column's type, null where that would change them."""
    nothing = pl.Series(values.name, [None] * len(values), dtype=dtype)
    if values.dtype == dtype and (dtype != pl.Float64 or _finite(values)):
        return values
    if values.dtype == pl.Object or values.dtype.is_nested():
        return pl.Series(values.name, [_cast_one(value, dtype) for value in values.to_list()], dtype=dtype)
    if dtype == pl.String:
        return values.cast(pl.String, strict=False)
    if dtype == pl.Boolean or not values.dtype.is_numeric():
        return nothing
    if values.dtype.is_float():
        numbers = values.to_numpy()
        sound = np.isfinite(numbers) if dtype != pl.Int64 else np.isfinite(numbers) & (numbers == np.floor(numbers))
        if int(sound.sum()) < len(values) - values.null_count():
            values = values.zip_with(pl.Series(sound), nothing.cast(values.dtype))
    return values.cast(dtype, strict=False)


def _cast_one(value: Any, dtype: pl.DataType) -> Any:
    """One value of a column of mixed types as its column's Python type, or None where that would change it."""
    if value is None or dtype == pl.String:
        return None if value is None else str(value)
    if dtype == pl.Boolean:
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # a whole number beyond them
        return None
    if not math.isfinite(number):
        return None
    if dtype == pl.Int64:
        return int(value) if value == int(value) and abs(value) < 2**63 else None
    return number
