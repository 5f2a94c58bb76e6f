"""What makes two records one: the same figures of the same configuration, wherever they were read."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

import polars as pl

_IDENTITY = ("variant", "num_layers", "context_dim", "embed_dim", "num_input_tokens", "seed", "num_samples",
             "train_tokens", "phase1_iterations")
_FIGURES = ("cvfp_loss", "diversity_loss", "train_er", "val_er", "train_ppl", "val_ppl", "val_acc")
_ENOUGH = 3
"""Figures that agree to the last digit, from which on the label of the experiment does not tell two runs apart."""
_OWN = ("run_id", "experiment", "source", "reason", "status", "created")


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """Two inputs that hold the same run; it is kept once."""

    run_id: str
    kept: str
    also: str


def add_identity(records: pl.DataFrame) -> pl.DataFrame:
    """The records with `content`, a hash of what they say, and a readable `run_id` made from it where there is none.

    A column `_fingerprint` (null: none) stands for the content where the ingester knows it better.
    """
    figures = pl.sum_horizontal(pl.col(name).is_not_null().cast(pl.Int8) for name in _FIGURES)
    label = pl.when(figures < _ENOUGH).then(pl.struct("experiment", "settings", "status"))
    said = pl.struct(*_IDENTITY, *_FIGURES, label.alias("label")).struct.json_encode()
    texts = records.select(pl.coalesce("_fingerprint", said).alias("text"))["text"].to_list()
    contents = [hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts]
    records = records.with_columns(pl.Series("content", contents, dtype=pl.String))
    names = [
        given or _run_id(experiment, variant, samples, tokens, content)
        for given, experiment, variant, samples, tokens, content in records.select(
            "_given_id", "experiment", "variant", "num_samples", "train_tokens", "content"
        ).iter_rows()
    ]
    return records.with_columns(pl.Series("run_id", names, dtype=pl.String))


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


def _run_id(experiment: str, variant: str, samples: int | None, tokens: int | None, content: str) -> str:
    size = f"n{samples}-" if samples is not None else f"t{tokens}-" if tokens is not None else ""
    return safe(f"{experiment}-{variant}-{size}{content[:10]}")


def safe(text: str) -> str:
    """The text as a name that no file system reads as a path."""
    return re.sub(r"[^\w.\-+=@]", "_", text, flags=re.ASCII).lstrip(".")[-180:] or "run"
