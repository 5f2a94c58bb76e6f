"""Groups compared at equal amounts of data, and what else differs between them."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from cvfp_core.claims import inference
from cvfp_core.schema.claims import Measured
from cvfp_core.schema.fits import Array
from cvfp_core.schema.series import DATA, MODEL, learned, usable, with_contexts
from cvfp_core.schema.settings import by_name

IDENTITY = MODEL
__all__ = ["DATA", "IDENTITY", "Comparison", "Difference", "Effects", "Group", "by_seed", "compare", "differences",
           "group", "groups", "learned", "over_pairs", "paired", "series_effects", "strata", "usable", "with_contexts"]
_OF_CONTEXTS = "phase1."
"""Begins the names of settings that a model without contexts does not have."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """Usable runs that are compared as one, and what they were made with."""

    label: str
    runs: pl.DataFrame
    traits: Mapping[str, Any]
    """Model, data and settings (`section.name`) -> value; several values as text. What is not known is not there."""
    assumed: frozenset[str]
    """Settings that come from a preset and not from the log, by the mark ingesters leave in `settings_source`."""

    @cached_property
    def columns(self) -> dict[str, list[Any]]:
        """The runs' values by column."""
        return self.runs.to_dict(as_series=False)

    @cached_property
    def one_phase(self) -> bool:
        """Whether all its runs are of models without contexts."""
        return with_contexts(self.runs).is_empty()


def group(runs: pl.DataFrame) -> Group:
    """The runs as one group, named by their series."""
    labels = list(dict.fromkeys(runs["series"].to_list()))
    traits = {name: _one(runs, name) for name in (*MODEL, *DATA) if name in runs.columns}
    settings = [by_name(json.loads(text)) for text in dict.fromkeys(runs["settings"].to_list()) if text is not None]
    for name in sorted({name for each in settings for name in each}):
        values = list(dict.fromkeys(json.dumps(each.get(name)) for each in settings)) if len(settings) > 1 else []
        traits[name] = " / ".join(values) if len(values) > 1 else settings[0].get(name)
    if traits.get("context_dim") is None:
        traits["variant"] = _one(runs, "variant")
    known = {name: value for name, value in traits.items() if value is not None}
    return Group(label=str(labels[0]) if len(labels) == 1 else f"{len(labels)} series", runs=runs, traits=known,
                 assumed=frozenset(_assumed(runs, known)))


def groups(runs: pl.DataFrame) -> list[Group]:
    """Each series of the usable runs as a group."""
    return [group(each) for each in runs.partition_by("series", maintain_order=True)]


def _one(runs: pl.DataFrame, column: str) -> Any:
    values = [value for value in dict.fromkeys(runs[column].to_list()) if value is not None]
    return None if not values else values[0] if len(values) == 1 else " / ".join(map(str, sorted(values)))


def _assumed(runs: pl.DataFrame, traits: Iterable[str]) -> set[str]:
    found: set[str] = set()
    marks = runs["settings_source"].to_list() if "settings_source" in runs.columns else []
    for mark in dict.fromkeys(each for each in marks if each is not None):
        preset, _, rest = str(mark).partition(";")
        if preset.startswith("preset "):
            logged = {part.strip() for part in rest.partition("logged:")[2].split(",")}
            found |= {name for name in traits if "." in name and name not in logged}
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A setting in which two groups differ; None: not known for that group."""

    name: str
    left: Any
    right: Any
    assumed: bool = False
    """A value comes from a preset known by name, not from the run itself."""


def differences(left: Group, right: Group) -> tuple[Difference, ...]:
    """Everything in which the groups' models, data and settings differ.

    A setting that only one group states counts: whether it differs is not known. What only one group says of its data
    does not, nor do labels and machines, nor settings of Phase 1 where a model has none.
    """
    a, b = left.traits, right.traits
    one_phase = left.one_phase or right.one_phase
    return tuple(
        Difference(name=name, left=a.get(name), right=b.get(name), assumed=name in left.assumed | right.assumed)
        for name in dict.fromkeys([*a, *b])
        if a.get(name) != b.get(name) and (name not in DATA or (name in a and name in b))
        and not (one_phase and name.startswith(_OF_CONTEXTS))
    )


def distances(every: Sequence[Group], traits: Collection[str] | None = None, *, but: str = "") -> Array:
    """(groups, groups) in how many traits, of those named or of all, each two differ: `differences`, counted."""
    count = np.zeros((len(every), len(every)), dtype=int)
    one_phase = np.array([each.one_phase for each in every], dtype=bool)
    for name in dict.fromkeys(name for each in every for name in each.traits):
        if name == but or (traits is not None and name not in traits):
            continue
        codes: dict[Any, int] = {None: 0}
        values = (each.traits.get(name) for each in every)
        code = np.array([codes.setdefault(str(value) if isinstance(value, list) else value, len(codes))
                         for value in values])
        differ = code[:, None] != code
        if name in DATA:
            differ &= (code[:, None] > 0) & (code > 0)
        if name.startswith(_OF_CONTEXTS):
            differ &= ~(one_phase[:, None] | one_phase)
        count += differ
    return count


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """The right group's metric relative to the left's, at the sizes both have."""

    left: str
    right: str
    sizes: Array
    """(n,) ascending."""
    ratios: Array
    """(n,) right over left, each a geometric mean over seeds."""
    seeds: int
    """Seeds that both groups have, from 2 on; 1: a single one, or not known."""
    measured: Measured
    """Of the logarithm of the ratio: over seeds where there are several, else over sizes, which are no replicates."""
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


def compare(left: Group, right: Group, column: str = "val_ppl") -> Comparison:
    """The two groups at matched sizes; paired log-ratios, Student t over sizes."""
    sizes, logs = paired(left, right, column)
    seeds = by_seed(left, right, column)
    ends = [(max(each.columns["size"], default=np.nan),
             min((value for value in each.columns[column] if value is not None), default=np.nan))
            for each in (left, right)]
    return Comparison(
        left=left.label, right=right.label, sizes=sizes, ratios=np.exp(logs),
        seeds=max(len(seeds), 1), measured=over_pairs(logs, seeds, "log-ratios"),
        trend=inference.slope(np.log(sizes), logs) if len(sizes) > 2 else Measured(estimate=None),
        differences=differences(left, right), largest=(ends[0][0], ends[1][0]), best=(ends[0][1], ends[1][1]),
    )


def over_pairs(by_size: Array, seeds: Array, what: str) -> Measured:
    """The mean over seeds where there are several; else over sizes, without a test, as seeds may differ by anything."""
    if len(seeds) > 1:
        return inference.mean(seeds, method=f"paired {what}, mean over sizes of each seed, t interval over seeds")
    made = inference.mean(by_size, method=f"paired {what} at matched sizes, t interval over sizes of one seed")
    return replace(made, p_value=None)


def by_seed(left: Group, right: Group, column: str, *, log: bool = True) -> Array:
    """(seeds,) the right's metric minus the left's for each seed both have, over the sizes that all these seeds have.

    log: of logarithms.
    """
    values = [{(seed, size): math.log(value) if log else value for seed, size, value in zip(
        each.columns["seed"], each.columns["size"], each.columns[column], strict=True) if None not in (seed, value)}
        for each in (left, right)]
    both = values[0].keys() & values[1].keys()
    seeds = sorted({seed for seed, _ in both})
    sizes = {size for _, size in both if all((seed, size) in both for seed in seeds)}
    return np.array([np.mean([values[1][seed, size] - values[0][seed, size] for size in sizes])
                     for seed in seeds if sizes])


def paired(left: Group, right: Group, column: str, *, log: bool = True) -> tuple[Array, Array]:
    """(n,) sizes both groups have, ascending, and (n,) the right's metric minus the left's, means over seeds.

    log: of logarithms.
    """
    a, b = (_means(each, column, log=log) for each in (left, right))
    sizes = sorted(a.keys() & b.keys())
    return np.array(sizes), np.array([b[size] - a[size] for size in sizes])


def _means(group: Group, column: str, *, log: bool) -> dict[float, float]:
    """The column's mean at each size."""
    values: dict[float, list[float]] = {}
    for size, value in zip(group.columns["size"], group.columns[column], strict=True):
        if value is not None:
            values.setdefault(size, []).append(math.log(value) if log else value)
    return {size: math.fsum(each) / len(each) for size, each in values.items()}


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


def strata(every: Iterable[Group], factor: str) -> list[list[Group]]:
    """The groups, sorted so that within a stratum nothing differs but the factor; strata of one level are left out."""
    made: dict[str, list[Group]] = {}
    for each in every:
        rest = {name: value for name, value in each.traits.items() if name != factor and name not in ("val_tokens",)}
        made.setdefault(json.dumps(rest, sort_keys=True, default=str), []).append(each)
    return [stratum for stratum in made.values() if len({each.traits.get(factor) for each in stratum}) > 1]
