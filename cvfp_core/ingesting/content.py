"""What makes two records one: the same figures of the same configuration, wherever they were read."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from cvfp_core.schema.quantities import of
from cvfp_core.schema.series import FIGURES, few_figures

_IDENTITY = ("variant", "num_layers", "context_dim", "embed_dim", "num_input_tokens", "seed", "num_samples",
             "train_tokens", "phase1_iterations")
_OWN = ("run_id", "experiment", "source", "reason", "status", "created")
_NOT_CONTENT = ("run_id", "experiment", "settings", "status", "content")
_NOT_IN_NAMES = re.compile(r"[^\w.\-+=@]", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """Two inputs that hold the same run; it is kept once."""

    run_id: str
    kept: str
    also: str


def add_identity(records: pl.DataFrame) -> pl.DataFrame:
    """The records with `content`, a hash of what they say, and a readable `run_id` made from it where there is none.

    A column `_fingerprint` (null: none) stands for the content where the ingester knows it better. Without figures or
    sizes that are known of old, all that a record has is its content.
    """
    label = pl.when(few_figures()).then(pl.struct("experiment", "settings", "status"))
    bare = ~pl.any_horizontal(pl.col(name).is_not_null() for name in FIGURES) | (
        pl.col("num_samples").is_null() & pl.col("train_tokens").is_null())
    sizes = [name for name in _IDENTITY if records.schema[name] == pl.Float64]
    whole = [pl.when(pl.col(name) == pl.col(name).floor()).then(pl.col(name)).cast(pl.Int64, strict=False)
             if name in sizes else pl.col(name) for name in _IDENTITY]
    said = pl.struct(*whole, *FIGURES, label.alias("label")).struct.json_encode()
    others = sorted(name for name in records.columns if name not in (*_IDENTITY, *FIGURES, *_NOT_CONTENT)
                    and not name.startswith("_") and of(name).kind not in ("cost", "provenance"))
    bare &= pl.col("_fingerprint").is_null()
    texts = records.select(pl.concat_str(
        pl.coalesce("_fingerprint", said), _as_text(records, sizes, fractions=True),
        pl.when(bare).then(_as_text(records, others)), ignore_nulls=True)).to_series()
    records = records.with_columns(pl.Series("content", [_hash(text) for text in texts], dtype=pl.String))
    return records.with_columns(run_id=_run_id())


def _as_text(records: pl.DataFrame, names: list[str], *, fractions: bool = False) -> pl.Expr:
    """The values that are there as `name=value`; a whole number reads the same whatever its type.

    fractions: only numbers that are not whole.
    """
    parts = []
    for name in (name for name in names if records[name].null_count() < records.height):
        values = pl.col(name)
        text = values.cast(pl.String)
        if records.schema[name].is_float():
            whole = (values == values.floor()) & (values.abs() < 2.0**63)
            number = pl.lit(None, pl.Int64) if fractions else values.cast(pl.Int64, strict=False)
            text = pl.when(whole).then(number.cast(pl.String)).otherwise(text)
        parts.append(pl.concat_str(pl.lit(f"{name}="), text))
    return pl.concat_str(parts, separator=" ", ignore_nulls=True) if parts else pl.lit("")


def _said(values: Mapping[str, Any]) -> str:
    """The values that are there as text; a whole number reads the same whatever its type."""
    there = {name: int(value) if isinstance(value, float) and _is_whole(value) else value
             for name, value in sorted(values.items()) if value is not None}
    return json.dumps(there, default=str) if there else ""


def _is_whole(value: float) -> bool:
    return value.is_integer() and abs(value) < 2**63


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def told_apart(records: pl.DataFrame) -> pl.DataFrame:
    """The records with contents of their own for those that have the same one and are not one run.

    Different rows of one file never are, nor are records of few figures that differ in anything both have, except what
    they cost and where they come from. The ingester knows better where it gives fingerprints.
    """
    several = records.filter(pl.col("content").is_duplicated() & pl.col("_fingerprint").is_null())
    if several.is_empty():
        return records
    contents: dict[int, str] = {}
    for group in several.with_columns(_few=few_figures()).partition_by("content", maintain_order=True):
        runs: list[tuple[dict[str, Any], list[int]]] = []
        for row in group.to_dicts():
            same = next((numbers for first, numbers in runs if not _differ(first, row)), None)
            if same is None:
                runs.append((row, [row["_run"]]))
            else:
                same.append(row["_run"])
        if len(runs) > 1:
            contents |= {number: _hash(_said(_all_of(first))) for first, numbers in runs for number in numbers}
    if not contents:
        return records
    own = pl.col("_run").replace_strict(contents, default=None, return_dtype=pl.String)
    records = records.with_columns(content=pl.coalesce(own, "content"))
    return records.with_columns(run_id=pl.when(own.is_not_null()).then(_run_id()).otherwise("run_id"))


def _differ(first: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if first["_name"] == other["_name"]:
        return _said(_all_of(first)) != _said(_all_of(other))
    return bool(first["_few"]) and any(
        value is not None and other[name] is not None and value != other[name]
        for name, value in _all_of(first).items() if of(name).kind not in ("cost", "provenance"))


def _all_of(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("run_id", "source") and not name.startswith("_")}


def merge(records: pl.DataFrame) -> tuple[pl.DataFrame, tuple[Duplicate, ...]]:
    """Each content once, in order of first sight, and what was merged.

    The first record gives the label; figures come from the first that is exact; what one lacks is taken from the next;
    `_run` becomes the run whose curves are kept, `source` names all.
    """
    if not records["content"].is_duplicated().any():
        return records, ()
    several = records.filter(pl.col("content").is_duplicated())
    merged: list[dict[str, Any]] = []
    duplicates = []
    for group in several.partition_by("content", maintain_order=True):
        rows = group.to_dicts()
        ordered = sorted(rows, key=lambda row: not row["_exact"])
        one = {name: next((row[name] for row in ordered if row[name] is not None), None) for name in group.columns}
        one |= {name: rows[0][name] for name in _OWN if rows[0][name] is not None}
        one["_run"] = next((row["_run"] for row in rows if row["_curves"]), rows[0]["_run"])
        one["_order"] = rows[0]["_order"]
        sources = list(dict.fromkeys(row["source"] for row in rows))
        one["source"] = "; also ".join(sources)
        merged.append(one)
        duplicates += [
            Duplicate(run_id=str(one["run_id"]), kept=_place(rows[0]), also=_place(row)) for row in rows[1:]
        ]
    together = pl.concat([
        records.filter(~pl.col("content").is_duplicated()), pl.DataFrame(merged, schema=records.schema)
    ])
    return together.sort("_order"), tuple(duplicates)


def unique_ids(records: pl.DataFrame) -> pl.DataFrame:
    """The records with run ids told apart where different contents were given the same one."""
    if not records["run_id"].is_duplicated().any():
        return records
    clash = pl.col("run_id").is_duplicated()
    return records.with_columns(
        pl.when(clash).then(pl.concat_str("run_id", pl.lit("-"), "content")).otherwise("run_id").alias("run_id")
    )


def _place(row: dict[str, Any]) -> str:
    return f"{row['_name']}:{row['_line']}"


def _run_id() -> pl.Expr:
    """The id the input gives, or a readable one, as `safe` writes it."""
    samples, tokens = (pl.concat_str(pl.lit(letter), pl.col(name).round().cast(pl.Int128, strict=False), pl.lit("-"))
                       for letter, name in (("n", "num_samples"), ("t", "train_tokens")))
    made = pl.concat_str(pl.col("experiment"), pl.lit("-"), pl.concat_str("variant", pl.lit("-")),
                         pl.coalesce(samples, tokens), pl.col("content").str.slice(0, 10), ignore_nulls=True)
    plain = made.str.replace_all(r"[^0-9A-Za-z_.\-+=@]", "_").str.strip_chars_start(".").str.tail(180)
    return pl.coalesce("_given_id", plain)


def safe(text: str) -> str:
    """The text as a name that no file system reads as a path."""
    return _NOT_IN_NAMES.sub("_", text).lstrip(".")[-180:] or "run"
