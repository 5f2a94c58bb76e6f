"""Groups compared at equal amounts of data, and what else differs between them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from cvfp_core import inference
from cvfp_core.fitting.values import Array
from cvfp_core.inference import Measured

IDENTITY = ("family", "num_layers", "context_dim", "num_input_tokens", "embed_dim")
"""Record columns a variant is made of."""
DATA = ("corpus", "corpus_hash", "tokenizer", "vocab_size", "val_tokens")
"""Record columns that make perplexities comparable."""
_CONTENT = ("experiment", "variant", "num_samples", "train_tokens", "seed", "val_ppl", "train_ppl", "val_er", "val_acc")


def usable(records: pl.DataFrame) -> pl.DataFrame:
    """The finished runs with a perplexity and a size, each once, with columns `series` and `size`.

    size: training tokens, or training documents where no run has tokens. Of checkpoints of one run only the last.
    """
    size = "train_tokens" if records["train_tokens"].null_count() < records.height else "num_samples"
    rows = records.filter((pl.col("status") == "ok") & pl.col("val_ppl").is_not_null() & pl.col(size).is_not_null())
    rows = rows.unique([name for name in _CONTENT if name in rows.columns], keep="first", maintain_order=True)
    rows = rows.sort(size, maintain_order=True).unique(["experiment", "variant", "run_id"], keep="last",
                                                       maintain_order=True)
    label = pl.concat_str(pl.col("experiment"), pl.lit(":"), pl.col("variant"))
    order = {f"{row[0]}:{row[1]}": i for i, row in enumerate(records.select("experiment", "variant").iter_rows())
             } if records.height else {}
    rows = rows.with_columns(label.alias("series"), pl.col(size).cast(pl.Float64).alias("size"))
    rank = rows["series"].replace_strict(order, default=0, return_dtype=pl.Int64) if rows.height else \
        pl.Series([], dtype=pl.Int64)
    return rows.with_columns(rank.alias("_rank")).sort("_rank", "size", "seed", "run_id", nulls_last=True).drop("_rank")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A setting in which two groups differ; None: not known for that group."""

    name: str
    left: Any
    right: Any
    assumed: bool = False
    """A value comes from a preset known by name, not from the run itself."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """The right group's metric relative to the left's, at the sizes both have."""

    left: str
    right: str
    sizes: Array
    """(n,) ascending."""
    ratios: Array
    """(n,) right over left, each a geometric mean over seeds."""
    measured: Measured
    """Of the logarithm of the ratio."""
    trend: Measured
    """Of its slope over log size: whether the comparison depends on size."""
    differences: tuple[Difference, ...]
    largest: tuple[float, float]
    """Largest size of either group."""
    best: tuple[float, float]
    """Lowest value of either group, at whatever size."""

    @property
    def confounded(self) -> bool:
        """Whether more than one setting differs."""
        return len(self.differences) > 1


def compare(left: pl.DataFrame, right: pl.DataFrame, column: str = "val_ppl") -> Comparison:
    """The two groups of usable runs at matched sizes; paired log-ratios, Student t over sizes."""
    a, b = _by_size(left, column), _by_size(right, column)
    sizes = np.array(sorted(a.keys() & b.keys()))
    logs = np.array([b[size] - a[size] for size in sizes])
    return Comparison(
        left=label(left), right=label(right), sizes=sizes, ratios=np.exp(logs),
        measured=inference.mean(logs, method="paired log-ratios at matched sizes, t interval"),
        trend=inference.slope(np.log(sizes), logs) if len(sizes) > 2 else Measured(estimate=None),
        differences=differences(left, right),
        largest=(max(a, default=float("nan")), max(b, default=float("nan"))),
        best=tuple(float(np.exp(min(each.values(), default=float("nan")))) for each in (a, b)),  # type: ignore[arg-type]
    )


def label(group: pl.DataFrame) -> str:
    """The group's series, or how many it has."""
    labels = group["series"].unique(maintain_order=True).to_list()
    return str(labels[0]) if len(labels) == 1 else f"{len(labels)} series"


def _by_size(group: pl.DataFrame, column: str) -> dict[float, float]:
    """Mean logarithm of the column at each size."""
    rows = group.drop_nulls(["size", column]).filter(pl.col(column) > 0)
    return dict(rows.group_by("size").agg(pl.col(column).log().mean()).iter_rows())


def differences(left: pl.DataFrame, right: pl.DataFrame) -> tuple[Difference, ...]:
    """Everything in which the groups' settings, models and data differ.

    A setting that only one group states counts: whether it differs is not known. Labels and machines do not count.
    """
    a, b = traits(left), traits(right)
    assumed = _assumed(left) | _assumed(right)
    found = [
        Difference(name=name, left=a.get(name), right=b.get(name), assumed=name in assumed)
        for name in dict.fromkeys([*a, *b]) if a.get(name) != b.get(name)
    ]
    if not any(each.name in IDENTITY for each in found) and (one := _one(left, "variant")) != (
            other := _one(right, "variant")) and not _described(left, right):
        found.insert(0, Difference(name="variant", left=one, right=other))
    return tuple(found)


def _described(left: pl.DataFrame, right: pl.DataFrame) -> bool:
    """Whether the columns say what the variants are, so that their names need not be compared."""
    return all(group["context_dim"].null_count() == 0 for group in (left, right))


def traits(group: pl.DataFrame) -> dict[str, Any]:
    """The group's settings, `section.name` -> value, and what its models and data are; several values as text."""
    made: dict[str, Any] = {name: _one(group, name) for name in (*IDENTITY, *DATA) if name in group.columns}
    settings = [_flat(json.loads(text)) for text in group["settings"].drop_nulls().unique(maintain_order=True)]
    for name in sorted({name for each in settings for name in each}):
        values = list(dict.fromkeys(json.dumps(each.get(name)) for each in settings))
        made[name] = json.loads(values[0]) if len(values) == 1 else " / ".join(values)
    return {name: value for name, value in made.items() if value is not None}


def _one(group: pl.DataFrame, column: str) -> Any:
    values = group[column].drop_nulls().unique(maintain_order=True).to_list()
    return None if not values else values[0] if len(values) == 1 else " / ".join(map(str, sorted(values)))


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _assumed(group: pl.DataFrame) -> set[str]:
    """Settings that come from a preset and not from the log, by the mark ingesters leave in `settings_source`."""
    if "settings_source" not in group.columns:
        return set()
    found: set[str] = set()
    for mark in group["settings_source"].drop_nulls().unique():
        preset, _, rest = str(mark).partition(";")
        if preset.startswith("preset "):
            logged = {part.strip() for part in rest.partition("logged:")[2].split(",")}
            found |= {name for name in traits(group) if "." in name and name not in logged}
    return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Effects:
    """What is left of a metric of each series once the effect of size is taken off, for several metrics at once."""

    series: tuple[str, ...]
    values: Mapping[str, Array]
    """(series,) by column; relative to their mean."""
    runs: int
    left_out: tuple[str, ...]
    """Series that share no size with the others."""


def series_effects(runs: pl.DataFrame, columns: Mapping[str, bool]) -> Effects:
    """Least squares of metric = size effect + series effect over the runs that have all the columns.

    columns: name -> whether its logarithm is taken. So series that were run at different sizes can be compared, each
    counted once. Only the largest set of series that are linked by common sizes takes part.
    """
    rows = runs.drop_nulls(list(columns))
    linked = _linked(rows)
    left_out = tuple(name for name in rows["series"].unique(maintain_order=True) if name not in linked)
    rows = rows.filter(pl.col("series").is_in(linked))
    names = rows["series"].unique(maintain_order=True).to_list()
    if len(names) < 2:
        return Effects(series=tuple(names), values={name: np.zeros(len(names)) for name in columns}, runs=rows.height,
                       left_out=left_out)
    which = np.array([names.index(name) for name in rows["series"]])
    sizes, size = np.unique(rows["size"].to_numpy(), return_inverse=True)
    design = np.concatenate([np.eye(len(names))[which], np.eye(len(sizes))[size][:, 1:]], axis=1)
    target = np.stack([
        np.log(rows[name].cast(pl.Float64).to_numpy()) if log else rows[name].cast(pl.Float64).to_numpy()
        for name, log in columns.items()
    ], axis=1)
    solved = np.linalg.lstsq(design, target, rcond=None)[0][: len(names)]
    solved = solved - solved.mean(axis=0)
    return Effects(series=tuple(names), values={name: solved[:, i] for i, name in enumerate(columns)},
                   runs=rows.height, left_out=left_out)


def _linked(rows: pl.DataFrame) -> list[str]:
    """The largest set of series that are connected by sizes they share."""
    sizes: dict[str, set[float]] = {}
    for name, value in rows.select("series", "size").iter_rows():
        sizes.setdefault(name, set()).add(value)
    best: list[str] = []
    waiting = list(sizes)
    while waiting:
        group, reach = [waiting.pop(0)], set()
        reach |= sizes[group[0]]
        grown = True
        while grown:
            near = [name for name in waiting if sizes[name] & reach]
            grown = bool(near)
            group += near
            waiting = [name for name in waiting if name not in near]
            reach |= {size for name in near for size in sizes[name]}
        best = group if len(group) > len(best) else best
    return best


def strata(runs: pl.DataFrame, factor: str) -> list[list[pl.DataFrame]]:
    """The series, grouped so that within a group nothing differs but the factor; groups of one are left out."""
    groups: dict[str, list[pl.DataFrame]] = {}
    for _, series in runs.group_by("series", maintain_order=True):
        rest = {name: value for name, value in traits(series).items() if name != factor}
        groups.setdefault(json.dumps(rest, sort_keys=True, default=str), []).append(series)
    return [group for group in groups.values() if len(_levels(group, factor)) > 1]


def _levels(group: Sequence[pl.DataFrame], factor: str) -> set[Any]:
    return {_one(series, factor) for series in group} - {None}
