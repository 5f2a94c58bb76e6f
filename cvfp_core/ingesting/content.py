"""What makes two records one: the same figures of the same configuration, wherever they were read."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
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
_PLACE = pl.concat_str(pl.col("_name").cast(pl.String), pl.lit(":"), pl.col("_line"))
_STATED = re.compile(r"(?:log|.*; logged): (.+)")
"""As `settings_source` names the settings that were read and not taken from a preset."""
_NOT_IN_NAMES = re.compile(r"[^\w.\-+=@]", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """Two inputs that hold the same run; it is kept once."""

    run_id: str
    kept: str
    also: str
    runs: int = 1
    """How many there are: of a file that says the same again and again."""


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
        if records[name].dtype.is_float():
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
    several = records.filter(pl.col("content").is_duplicated()).with_columns(_few=few_figures())
    known = several.filter(pl.col("_fingerprint").is_not_null())
    if "settings_source" in records.columns:
        known = known.select("content", "settings", "settings_source", "_name", "_line", "_run").filter(
            pl.struct("settings", "settings_source").n_unique().over("content") > 1)
        runs = [_runs(group, contradicts) for group in _by_content(known)]
    else:
        runs = []
    contents = {row["_run"]: under(rows[0]["content"], stated(rows[0]))
                for each in runs if len(each) > 1 for rows in each for row in rows}
    said = tuple(_alike(rows[0], each[0][0]) for each in runs for rows in each[1:])
    for each in (_runs(group, _differ) for group in _by_content(several.filter(pl.col("_fingerprint").is_null()))):
        if len(each) > 1:
            contents |= {row["_run"]: _hash(_said(_all_of(rows[0]))) for rows in each for row in rows}
    if not contents:
        return records, ()
    own_content = pl.col("_run").replace_strict(contents, default=None, return_dtype=pl.String)
    records = records.with_columns(content=pl.coalesce(own_content, "content"))
    return records.with_columns(
        run_id=pl.when(own_content.is_not_null()).then(_run_id()).otherwise("run_id")), said


def _by_content(records: pl.DataFrame) -> Iterator[list[dict[str, Any]]]:
    return (group.to_dicts() for group in records.partition_by("content", maintain_order=True))


def _runs(rows: list[dict[str, Any]], differ: Callable[[Mapping[str, Any], Mapping[str, Any]], object]
          ) -> list[list[dict[str, Any]]]:
    """The rows by run: each with those that do not differ from its first, which states the most settings."""
    runs: list[list[dict[str, Any]]] = []
    for row in sorted(rows, key=lambda row: _said(stated(row)), reverse=True):
        same = next((each for each in runs if not differ(each[0], row)), None)
        if same is None:
            runs.append([row])
        else:
            same.append(row)
    return runs


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
    places = " and ".join(f"{row['_name']}:{row['_line']}" for row in (one, other))
    return f"{places} have the same figures under {differing}: two runs"


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

    Label and figures come from the first record that is exact and of settings known by a name, in order of the files'
    names, whatever the order they are given in; what one lacks is taken from the next; `_run` becomes the run whose
    curves are kept, `source` names all.
    """
    again = pl.col("content").is_duplicated() | (pl.col("_times") > 1)
    by_preset = pl.col("settings_source").cast(pl.String).str.starts_with("preset").fill_null(False) \
        if "settings_source" in records.columns else pl.col("_exact")
    several = records.filter(again)
    if several.is_empty():
        return records, ()
    several = several.sort(~pl.col("_exact"), ~by_preset, pl.col("_name").cast(pl.String), "_line")
    merged = several.group_by("content", maintain_order=True).agg(
        pl.exclude("source", "_run", "_order", "content").drop_nulls().first(), pl.col("_order").min(),
        pl.col("source").unique(maintain_order=True).str.join("; also "),
        pl.coalesce(pl.col("_run").filter("_curves").first(), pl.col("_run").first()))
    places = several.select(
        pl.col("run_id").first().over("content"), kept=_PLACE.first().over("content"), also=_PLACE,
        runs=pl.col("_times") - (pl.int_range(pl.len()).over("content") == 0))
    duplicates = tuple(Duplicate(**row) for row in places.filter(pl.col("runs") > 0).iter_rows(named=True))
    return pl.concat([records.filter(~again), merged.select(records.columns)]).sort("_order"), duplicates


def once(records: pl.DataFrame) -> pl.DataFrame:
    """The records of one file with fingerprints, those that are equal kept once; `_times`: how often each is there."""
    if records["_fingerprint"].null_count():
        return records
    places = ("_run", "_order", "_line")
    same = [name for name in records.columns if name not in (*places, "_times")]
    kept = records.group_by(same, maintain_order=True).agg(pl.col(places).first(), pl.col("_times").sum())
    return kept.select(records.columns)


def unique_ids(records: pl.DataFrame) -> pl.DataFrame:
    """The records with run ids told apart where different contents were given the same one."""
    if not records["run_id"].is_duplicated().any():
        return records
    clash = pl.col("run_id").is_duplicated()
    return records.with_columns(
        pl.when(clash).then(pl.concat_str("run_id", pl.lit("-"), "content")).otherwise("run_id").alias("run_id")
    )


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
