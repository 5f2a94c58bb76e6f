"""Scaling exponents that inputs state: linked to the runs they are about, and kept beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from cvfp_core.schema.found import PublishedAlpha

SCHEMA: dict[str, pl.DataType] = {
    "experiment": pl.String(), "variant": pl.String(), "alpha": pl.Float64(), "first_samples": pl.Int64(),
    "last_samples": pl.Int64(), "source": pl.String(),
}
"""One row a stated exponent; the sample sizes are those of its window, null for all."""
_DIGITS = 4
"""Decimals that logs print; two exponents that agree in them are one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Linked:
    """Published exponents with their experiments, and (file, message) of those that are about no run read."""

    frame: pl.DataFrame
    unlinked: tuple[tuple[str, str], ...]


def relabelled(stated: Sequence[tuple[str, PublishedAlpha]], found: pl.DataFrame, kept: pl.DataFrame
               ) -> list[tuple[str, PublishedAlpha]]:
    """The stated exponents under the labels that their runs were kept under, where a file's runs are another's too."""
    columns = ["_name", "experiment", "variant"]
    again = found.filter(pl.col("content").is_duplicated()).select(*columns, "content").join(
        kept.select("content", pl.col("experiment").alias("label")), on="content")
    labels = {key: set(group["label"]) for key, group in again.with_columns(pl.col("_name").cast(pl.String)).group_by(
        columns)}
    return [(file, replace(alpha, experiment=next(iter(label))) if len(label) == 1 else alpha)
            for file, alpha in stated for label in [labels.get((file, alpha.experiment, alpha.variant), set())]]


def link(stated: Sequence[tuple[str, PublishedAlpha]], records: pl.DataFrame) -> Linked:
    """Each exponent once, the one with more digits; those without an experiment get that of the runs they are about.

    Of several of one kind that of the first file in order of name counts; one that differs from it is named.
    """
    known = set(records.select("experiment", "variant").iter_rows())
    stated = sorted(stated, key=lambda each: (not each[1].exact, each[0], each[1].line))
    found: dict[tuple[str, str, int | None, int | None], tuple[str, PublishedAlpha]] = {}
    unlinked = []
    for file, alpha in stated:
        if alpha.experiment is None:
            continue
        key = (alpha.experiment, alpha.variant, alpha.first_samples, alpha.last_samples)
        other, first = found.setdefault(key, (file, alpha))
        if round(first.alpha - alpha.alpha, _DIGITS - 1):
            unlinked.append((file, f"{file}:{alpha.line}: expected the alpha of {alpha.experiment} {alpha.variant} "
                                   f"that {other} states, {first.alpha:.4g}, found {alpha.alpha:.4g}"))
    for file, alpha in stated:
        if alpha.experiment is not None:
            continue
        same = [key for key, (_, other) in found.items() if key[1:] == (alpha.variant, alpha.first_samples,
                alpha.last_samples) and round(other.alpha, _DIGITS) == round(alpha.alpha, _DIGITS)]
        owners = [experiment for experiment, variant in known if variant == alpha.variant]
        if len(same) == 1:
            found[same[0]] = (file, alpha)
        elif len(owners) == 1:
            found[owners[0], alpha.variant, alpha.first_samples, alpha.last_samples] = (file, alpha)
        else:
            unlinked.append((file, f"{file}:{alpha.line}: expected runs of {alpha.variant} that this alpha "
                                   f"({alpha.alpha:.4g}) is about, found {len(owners) or 'none'}"))
    rows = [
        {"experiment": experiment, "variant": variant, "alpha": alpha.alpha, "first_samples": first,
         "last_samples": last, "source": file}
        for (experiment, variant, first, last), (file, alpha) in found.items() if (experiment, variant) in known
    ]
    return Linked(frame=pl.DataFrame(rows, schema=SCHEMA), unlinked=tuple(unlinked))


def beside(records: pl.DataFrame, stated: pl.DataFrame) -> pl.DataFrame:
    """The records with `published_alpha` of their series, and `published_windows`: JSON of [first, last, alpha]."""
    if stated.is_empty():
        return records
    whole = stated.filter(pl.col("first_samples").is_null()).select(
        "experiment", "variant", pl.col("alpha").alias("published_alpha")
    )
    windows: dict[tuple[str, str], list[list[float]]] = {}
    for row in stated.filter(pl.col("first_samples").is_not_null()).to_dicts():
        windows.setdefault((row["experiment"], row["variant"]), []).append(
            [row["first_samples"], row["last_samples"], row["alpha"]]
        )
    texts = pl.DataFrame(
        {"experiment": [key[0] for key in windows], "variant": [key[1] for key in windows],
         "published_windows": [json.dumps(sorted(each)) for each in windows.values()]},
        schema={"experiment": pl.String, "variant": pl.String, "published_windows": pl.String},
    )
    for columns in (whole, texts):
        if not columns.is_empty():
            overlap = [name for name in columns.columns[2:] if name in records.columns]
            records = records.drop(overlap).join(
                columns.unique(["experiment", "variant"], keep="first", maintain_order=True),
                on=["experiment", "variant"], how="left", maintain_order="left",
            )
    return records


def frame_of(records: pl.DataFrame) -> pl.DataFrame:
    """The published exponents that records carry (from a store, say), as `link` returns them; empty if none."""
    rows = []
    columns = [name for name in ("published_alpha", "published_windows") if name in records.columns]
    series = records.select("experiment", "variant", *columns).unique(maintain_order=True)
    for row in series.to_dicts() if columns else ():
        base = {"experiment": row["experiment"], "variant": row["variant"], "source": None}
        if row.get("published_alpha") is not None:
            rows.append({**base, "alpha": row["published_alpha"], "first_samples": None, "last_samples": None})
        for first, last, alpha in json.loads(row.get("published_windows") or "[]"):
            rows.append({**base, "alpha": alpha, "first_samples": first, "last_samples": last})
    return pl.DataFrame(rows, schema=SCHEMA)
