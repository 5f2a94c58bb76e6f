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
    context_dim: int | None = _column("", "width of a context vector")
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
    phase1_mode: str | None = _column("", "trained, or a control: untrained, zero-context")
    phase1_iterations: int | None = _column("", "iterations until converged or stopped")
    phase1_censored: bool | None = _column("", "stopped at the maximum: the count is a lower bound")
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
    flops: float | None = _column("FLOP", "estimate: 6 per trained parameter and token, 2 forward only, plus the head")
    seconds_phase1: float | None = _column("s", "wall time of Phase 1 with validation contexts and ranks")
    seconds_phase2: float | None = _column("s", "wall time of Phase 2")
    peak_memory: int | None = _column("bytes", "peak memory: device memory on CUDA, resident set on Linux CPUs")
    device: str | None = _column("", "what it ran on")
    # provenance
    status: Status = field(default="ok", metadata={"unit": "", "meaning": "ok, diverged, failed or interrupted"})
    reason: str | None = _column("", "why the status is not ok")
    source: str | None = _column("", "where the record comes from: program, or file, format, ingester, plugin version")
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
    return conform_rows(loose.to_dicts(), {name: kind for name, kind in loose.schema.items() if name not in SCHEMA})


def conform_rows(rows: Sequence[dict[str, Any]], extra: Mapping[str, pl.DataType]) -> Conformed:
    """As `conform`, for rows that are no frame yet; extra: the columns the schema does not know, and their types.

    Unlike a frame, rows keep values of several types in one column, so that the one that is wrong can be named.
    """
    rejected: list[Rejection] = []
    kept: list[dict[str, Any]] = []
    for index, row in enumerate(rows):
        problem = _conform_row(row)
        if problem is None:
            kept.append(row)
        else:
            rejected.append(Rejection(row=index, column=problem[0], value=problem[1], reason=problem[2]))
    schema = SCHEMA | dict(extra)
    records = pl.DataFrame([{name: row.get(name) for name in schema} for row in kept], schema=schema, strict=False)
    return Conformed(records=records, rejected=tuple(rejected))


def _conform_row(row: dict[str, Any]) -> tuple[str, Any, str] | None:
    """Casts the row's values in place; returns (column, value, reason) of the first that cannot be a record's."""
    for name in ("val_ppl", "train_ppl"):
        value = row.get(name)
        if isinstance(value, float) and not math.isfinite(value):
            row[name] = None
            if row.get("status") in (None, "ok"):
                row["status"] = "diverged"
                row["reason"] = f"{name} is {value}"
    if row.get("status") is None:
        row["status"] = "ok"
    for name in REQUIRED:
        if not row.get(name):
            return name, row.get(name), "is missing"
    if row["status"] not in ("ok", "diverged", "failed", "interrupted"):
        return "status", row["status"], "is not one of ok, diverged, failed, interrupted"
    for name, dtype in SCHEMA.items():
        value = row.get(name)
        if value is None:
            continue
        cast = _cast(value, dtype)
        if cast is None:
            return name, value, f"is not a finite {dtype}"
        row[name] = cast
        if name in _POSITIVE and not cast > 0:
            return name, value, "must be above 0"
        if name in _FRACTION and not 0 <= cast <= 1:
            return name, value, "must be a fraction from 0 to 1"
        if name in _NOT_NEGATIVE and cast < 0:
            return name, value, "must not be negative"
    return None


def _cast(value: Any, dtype: pl.DataType) -> Any:
    """The value as its column's Python type, or None where that would change it."""
    if dtype == pl.String:
        return str(value)
    if dtype == pl.Boolean:
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    if dtype == pl.Int64:
        return int(value) if value == int(value) and abs(value) < 2**63 else None
    return float(value)


def series(records: pl.DataFrame) -> list[pl.DataFrame]:
    """The records of each (experiment, variant), ordered by training tokens, then seed; what alpha is fitted to."""
    return [
        group.sort("train_tokens", "seed", nulls_last=True)
        for _, group in records.group_by("experiment", "variant", maintain_order=True)
    ]
