"""What makes two records one: the same figures of the same configuration, wherever they were read."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import polars as pl

from cvfp_core.schema.quantities import of
from cvfp_core.schema.series import FIGURES, few_figures

_IDENTITY = ("variant", "num_layers", "context_dim", "embed_dim", "num_input_tokens", "seed", "num_samples",
             "train_tokens", "phase1_iterations")
_NOT_CONTENT = ("run_id", "experiment", "settings", "status", "content")
_SLICE = 10_000
"""Records whose contents are written out at once: a text of one takes more memory than its record."""
_STATED = re.compile(r"(?:log|.*; logged): (.+)")
"""As `settings_source` names the settings that were read and not taken from a preset."""
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
    text = pl.concat_str(pl.coalesce("_fingerprint", said), _as_text(records, sizes, fractions=True),
                         pl.when(bare).then(_as_text(records, others)), ignore_nulls=True)
    texts = chain.from_iterable(part.select(text).to_series() for part in records.iter_slices(_SLICE))
    records = records.with_columns(pl.Series("content", map(_hash, texts), dtype=pl.String))
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


def told_apart(records: pl.DataFrame) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The records with contents of their own for those that have the same one and are not one run; what is said of it.

    Different rows of one file never are one, nor are records of few figures that differ in anything both have, except
    what they cost and where they come from. The ingester knows better where it gives fingerprints; but records whose
    inputs state different settings are two runs.
    """
    several = records.filter(pl.col("content").is_duplicated())
    contents: dict[int, str] = {}
    said: list[str] = []
    for group in several.with_columns(_few=few_figures()).partition_by("content", maintain_order=True):
        runs: list[list[dict[str, Any]]] = []
        for row in sorted(group.to_dicts(), key=lambda row: _said(stated(row)), reverse=True):
            same = next((rows for rows in runs if not _differ(rows[0], row)), None)
            if same is None:
                runs.append([row])
            else:
                same.append(row)
        if len(runs) == 1:
            continue
        for rows in runs:
            own = _hash(_said(_all_of(rows[0]))) if rows[0]["_fingerprint"] is None else \
                under(rows[0]["content"], stated(rows[0]))
            contents |= {row["_run"]: own for row in rows}
        if runs[0][0]["_fingerprint"] is not None:
            said += [_alike(rows[0], runs[0][0]) for rows in runs[1:]]
    if not contents:
        return records, ()
    own_content = pl.col("_run").replace_strict(contents, default=None, return_dtype=pl.String)
    records = records.with_columns(content=pl.coalesce(own_content, "content"))
    return records.with_columns(
        run_id=pl.when(own_content.is_not_null()).then(_run_id()).otherwise("run_id")), tuple(said)


def under(content: str, settings: Mapping[str, Any]) -> str:
    """The content of a run that has the figures of another under other settings."""
    return _hash(f"{content} {json.dumps(settings, sort_keys=True)}")


def stated(row: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the input of a record states itself, by dotted name; not those of a preset."""
    names = _STATED.fullmatch(str(row.get("settings_source")))
    try:
        settings = json.loads(row["settings"]) if names else {}
        return {name: settings[section][field] for name in (names[1].split(", ") if names else ())
                for section, _, field in [name.partition(".")]}
    except (ValueError, TypeError, KeyError):
        return {}


def contradicts(first: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Settings that both records state, and not alike: (of the first, of the other) by name."""
    mine, theirs = stated(first), stated(other)
    return {name: (mine[name], theirs[name]) for name in mine if name in theirs and mine[name] != theirs[name]}


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """What is said of two runs with the same figures under different settings."""
    differing = ", ".join(f"{name} {mine} and {theirs}" for name, (mine, theirs) in contradicts(one, other).items())
    return f"{_place(one)} and {_place(other)} have the same figures under {differing}: two runs"


def _differ(first: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if first["_fingerprint"] is not None:
        return bool(contradicts(first, other))
    if first["_name"] == other["_name"]:
        return _said(_all_of(first)) != _said(_all_of(other))
    return bool(first["_few"]) and any(
        value is not None and other[name] is not None and value != other[name]
        for name, value in _all_of(first).items() if of(name).kind not in ("cost", "provenance"))


def _all_of(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("run_id", "source") and not name.startswith("_")}


def merge(records: pl.DataFrame) -> tuple[pl.DataFrame, tuple[Duplicate, ...]]:
    """Each content once, in order of first sight, and what was merged.

    Label and figures come from the first record that is exact and of settings known by a name, in order of the files'
    names, whatever the order they are given in; what one lacks is taken from the next; `_run` becomes the run whose
    curves are kept, `source` names all.
    """
    if not records["content"].is_duplicated().any():
        return records, ()
    several = records.filter(pl.col("content").is_duplicated())
    merged: list[dict[str, Any]] = []
    duplicates = []
    for group in several.partition_by("content", maintain_order=True):
        rows = sorted(group.to_dicts(), key=lambda row: (
            not row["_exact"], not str(row.get("settings_source")).startswith("preset"), row["_name"], row["_line"]))
        one = {name: next((row[name] for row in rows if row[name] is not None), None) for name in group.columns}
        one["_run"] = next((row["_run"] for row in rows if row["_curves"]), rows[0]["_run"])
        one["_order"] = min(row["_order"] for row in rows)
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


def _place(row: Mapping[str, Any]) -> str:
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
