"""The record schema: one wide row a run, and the one gate into it.

`Record` is the schema; the polars schema follows from it. Columns it does not know are kept under their own names,
columns that are missing are null.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

import polars as pl

Status = Literal["ok", "diverged", "failed", "interrupted"]


def _column(unit: str, meaning: str) -> Any:
    return field(default=None, metadata={"unit": unit, "meaning": meaning})


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The row of metrics a run leaves. None means "not measured"; fractions are fractions, not percentages."""

    # identity
    run_id: str = field(metadata={"unit": "", "meaning": "name and hash of the cell"})
    experiment: str = field(metadata={"unit": "", "meaning": "label of runs made under the same settings"})
    variant: str = field(metadata={"unit": "", "meaning": "configuration, such as 1L_768d_2tok"})
    family: str | None = _column("", "model family")
    num_layers: int | None = _column("", "layers of the context block and of the token block")
    context_dim: int | None = _column("", "width of a context vector; of a model without contexts, its own")
    embed_dim: int | None = _column("", "width of a token embedding")
    num_input_tokens: int | None = _column("", "tokens in the input window")
    seed: int | None = _column("", "seed of weights and noise")
    settings: str | None = _column("", "protocol settings as JSON")
    # data
    corpus: str | None = _column("", "corpus source")
    corpus_hash: str | None = _column("", "hash of texts, split, tokenizer and embeddings")
    tokenizer: str | None = _column("", "tokenizer")
    vocab_size: int | None = _column("", "entries of the vocabulary")
    num_samples: int | None = _column("documents", "training documents")
    train_tokens: int | None = _column("tokens", "training tokens")
    val_tokens: int | None = _column("tokens", "validation tokens")
    unigram_ppl: float | None = _column("", "validation perplexity of the training unigram model")
    # phase 1
    phases: int | None = _column("", "phases the model has; 1: it has no contexts, so Phase 1 is empty")
    phase1_mode: str | None = _column("", "trained, or a control: untrained, zero-context; null for one phase")
    phase1_iterations: int | None = _column("", "iterations until converged or stopped")
    phase1_censored: bool | None = _column("", "ended before converging: the count is a lower bound")
    convergence_rate: float | None = _column("fraction", "tokens whose context moved less than the threshold")
    cvfp_loss: float | None = _column("", "mean squared movement of contexts in the last iteration")
    diversity_loss: float | None = _column("", "diversity term in the last iteration")
    train_er: float | None = _column("fraction of context_dim", "effective rank of the last sweep's contexts")
    val_er: float | None = _column("fraction of context_dim", "effective rank of the validation contexts")
    # phase 2
    epochs: int | None = _column("", "epochs trained")
    best_epoch: int | None = _column("", "epoch the figures below are of")
    train_ppl: float | None = _column("", "training perplexity, mean over the epoch while training")
    val_ppl: float | None = _column("", "validation perplexity")
    val_acc: float | None = _column("fraction", "validation tokens predicted first")
    # cost
    params_phase1: int | None = _column("", "parameters Phase 1 trains")
    params_phase2: int | None = _column("", "parameters Phase 2 trains")
    flops: float | None = _column("FLOP", "estimate: 6 per trained parameter and token, 2 forward only, plus the head; "
                          "each parameter once a token, also of a model that takes its window position by position")
    seconds_phase1: float | None = _column("s", "wall time of Phase 1 with validation contexts and ranks")
    seconds_phase2: float | None = _column("s", "wall time of Phase 2")
    peak_memory: int | None = _column("bytes", "peak memory: device memory on CUDA, resident set on Linux CPUs")
    device: str | None = _column("", "what it ran on")
    # provenance
    status: Status = field(default="ok", metadata={"unit": "", "meaning": "ok, diverged, failed or interrupted"})
    reason: str | None = _column("", "why the status is not ok")
    stopped_by: str | None = _column("", "stop rule that ended the run during Phase 1")
    source: str | None = _column("", "where the record comes from: program, or file, format, ingester, plugin version")
    family_source: str | None = _column("", "distribution and version the model family came from")
    created: str | None = _column("UTC, ISO 8601", "when the record was made")


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


_DTYPES = {"str": pl.String, "int": pl.Int64, "float": pl.Float64, "bool": pl.Boolean, "Status": pl.String}

SCHEMA: dict[str, pl.DataType] = {
    column.name: _DTYPES[str(column.type).removesuffix(" | None")]() for column in fields(Record)
}
CURVE_SCHEMA: dict[str, pl.DataType] = {
    "run_id": pl.String(), "phase": pl.Int64(), "step": pl.Int64(), "metric": pl.String(), "value": pl.Float64(),
}
REQUIRED = ("run_id", "experiment", "variant")
"""Columns without which a row is no record."""

_POSITIVE = {
    "num_layers", "context_dim", "embed_dim", "num_input_tokens", "vocab_size", "num_samples", "train_tokens",
    "val_tokens", "unigram_ppl", "train_ppl", "val_ppl",
}
_FRACTION = {"train_er", "val_er", "val_acc", "convergence_rate"}
_NOT_NEGATIVE = {
    "phase1_iterations", "epochs", "best_epoch", "params_phase1", "params_phase2", "flops", "seconds_phase1",
    "seconds_phase2", "peak_memory", "cvfp_loss",
}


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


def conform(loose: pl.DataFrame) -> Conformed:
    """The loose frame's rows in the record schema; the one gate for rows made elsewhere.

    Missing columns become null; a value that is not of its column's type or out of its range, and a missing required
    one, reject the row. A perplexity that is NaN or infinite makes the row a diverged record with a null perplexity.
    """
    height = loose.height
    rejected: dict[int, Rejection] = {}

    def reject(bad: pl.Series, column: str, reason: str) -> None:
        for row in bad.fill_null(False).arg_true().to_list():
            if row not in rejected:
                rejected[row] = Rejection(row=row, column=column, value=loose[column][row] if column in loose.columns
                                          else None, reason=reason)

    given = {name: loose[name] for name in loose.columns}
    _mark_diverged(given, height)
    for name in REQUIRED:
        values = given.get(name)
        missing = pl.Series([True] * height, dtype=pl.Boolean) if values is None else _empty(values)
        reject(missing, name, "is missing")
    status = given["status"]
    reject(~status.is_in(["ok", "diverged", "failed", "interrupted"]), "status",
           "is not one of ok, diverged, failed, interrupted")
    made: dict[str, pl.Series] = {}
    for name, dtype in SCHEMA.items():
        if name not in given:
            made[name] = pl.Series(name, [None] * height, dtype=dtype)
            continue
        cast = _cast(given[name], dtype)
        reject(given[name].is_not_null() & cast.is_null(), name, f"is not a finite {dtype}")
        if name in _POSITIVE:
            reject(cast <= 0, name, "must be above 0")
        if name in _FRACTION:
            reject((cast < 0) | (cast > 1), name, "must be a fraction from 0 to 1")
        if name in _NOT_NEGATIVE:
            reject(cast < 0, name, "must not be negative")
        made[name] = cast.alias(name)
    made |= {name: values for name, values in given.items() if name not in SCHEMA}
    records = pl.DataFrame(list(made.values()))
    if rejected:
        records = records.filter(~pl.Series(range(height), dtype=pl.Int64).is_in(list(rejected)))
    return Conformed(records=records, rejected=tuple(rejected[row] for row in sorted(rejected)))


def conform_rows(rows: Sequence[Mapping[str, Any]]) -> Conformed:
    """As `conform`, for rows that are no frame yet: a column may mix types, and the value that is wrong is named."""
    names = dict.fromkeys([*SCHEMA, *sorted({name for row in rows for name in row})])
    return conform(pl.DataFrame([_column_of(name, [row.get(name) for row in rows]) for name in names]))


def _column_of(name: str, values: list[Any]) -> pl.Series:
    """The values as their column's type if all are of it, else as they are."""
    if name not in SCHEMA:
        return pl.Series(name, values, strict=False)
    try:
        return pl.Series(name, values, dtype=SCHEMA[name])
    except (TypeError, OverflowError):
        return pl.Series(name, values, dtype=pl.Object)


def _mark_diverged(given: dict[str, pl.Series], height: int) -> None:
    """Sets null what is no finite perplexity, and the status and reason of its row if they say nothing yet."""
    texts = {name: _texts(given.get(name), name, height) for name in ("status", "reason")}
    given["status"] = texts["status"].fill_null("ok")
    for name in ("val_ppl", "train_ppl"):
        values = given.get(name)
        if values is None or not values.dtype.is_float():
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


def _empty(values: pl.Series) -> pl.Series:
    return values.is_null() | (values == "") if values.dtype == pl.String else values.is_null()


def _cast(values: pl.Series, dtype: pl.DataType) -> pl.Series:
    """The values as their column's type, null where that would change them."""
    height = len(values)
    nothing = pl.Series(values.name, [None] * height, dtype=dtype)
    if values.dtype == dtype and dtype != pl.Float64:
        return values
    if values.dtype == pl.Object or values.dtype.is_nested():
        return pl.Series(values.name, [_cast_one(value, dtype) for value in values.to_list()], dtype=dtype)
    if dtype == pl.String:
        return values.cast(pl.String, strict=False)
    if dtype == pl.Boolean or not values.dtype.is_numeric():
        return nothing
    if values.dtype.is_float():
        values = values.zip_with(values.is_finite().fill_null(False), pl.Series([None] * height, dtype=values.dtype))
        if dtype == pl.Int64:
            values = values.zip_with((values == values.floor()).fill_null(False), pl.Series([None] * height,
                                                                                           dtype=values.dtype))
    return values.cast(dtype, strict=False)


def _cast_one(value: Any, dtype: pl.DataType) -> Any:
    """One value of a column of mixed types as its column's Python type, or None where that would change it."""
    if value is None or dtype == pl.String:
        return None if value is None else str(value)
    if dtype == pl.Boolean:
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    if dtype == pl.Int64:
        return int(value) if value == int(value) and abs(value) < 2**63 else None
    return float(value)


def control(records: pl.DataFrame) -> pl.Series:
    """Which control each record is of, by its Phase 1; null for what was trained, or does not say."""
    if "phase1_mode" not in records.columns:
        return pl.Series("control", [None] * records.height, dtype=pl.String)
    modes = records["phase1_mode"].cast(pl.String)
    return modes.to_frame().select(
        control=pl.when(pl.col("phase1_mode") != "trained").then(pl.col("phase1_mode"))
    )["control"]


def without_controls(records: pl.DataFrame) -> pl.DataFrame:
    """The records without those of controls; all of them if there is nothing else."""
    studied = records.filter(control(records).is_null())
    return studied if studied.height else records


def label(parts: Sequence[object], control: str | None) -> str:
    """The name of a series: its parts, and which control it is of if it is of one, joined by colons."""
    return ":".join(["?" if part is None else str(part) for part in parts] + ([control] if control else []))


def series(records: pl.DataFrame) -> list[pl.DataFrame]:
    """The records of each (experiment, variant) and control, by training tokens, then seed; what alpha is fitted to."""
    told = records.with_columns(control(records).alias("_control"))
    return [
        group.drop("_control").sort("train_tokens", "seed", nulls_last=True)
        for _, group in told.group_by("experiment", "variant", "_control", maintain_order=True)
    ]
