"""Runs as one table: averaged, in an order, the columns chosen, as many as a screen holds; and as files of other
programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import polars as pl
from rich.text import Text

from cvfp_core.errors import UsageError
from cvfp_core.fitting.points import require
from cvfp_core.registry import Registry
from cvfp_core.registry.kinds import Quantity
from cvfp_core.results.numbers import meanings
from cvfp_core.results.overview import MANY, NUM_RUNS, cells, marks_of, measured
from cvfp_core.results.printed import WIDE, Block, Printed, no_room, table
from cvfp_core.schema import series
from cvfp_core.schema.quantities import QUANTITIES
from cvfp_core.schema.records import plain

_DONE = ("epochs", "tokens_seen", "flops")
"""Sizes of a run of the protocol that its training decides."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Listing(Printed):
    """A row a run, in the order the records have."""

    records: pl.DataFrame
    registry: Registry
    columns: tuple[str, ...]
    """Those shown, by name; of none: the series, and all that is measured."""
    whole: bool
    """Whether all runs are shown, however many."""

    def blocks(self, room: int = WIDE) -> Iterator[Block]:
        """The table, what its marks say, and what there was no room for."""
        shown = self.records if self.whole else self.records.head(MANY)
        made = table([(name, "l" if dtype in (pl.String, pl.Null) else "r") for name, dtype in
                      shown.select(self.columns).schema.items()], quiet=True)
        columns = cells(shown, self.columns, self.registry)
        for row in zip(*(columns[name] for name in self.columns), strict=True):
            made.add_row(*map(Text, row))
        yield made
        if gone := made.gone(room):
            yield Text(f"{no_room(gone)}; --columns chooses, --csv has all", style="dim")
        if left := self.records.height - shown.height:
            yield Text(f"and {left:,} more runs; --all prints them", style="dim")
        yield from meanings(marks_of(shown))


def listing(records: pl.DataFrame, registry: Registry, *, columns: Sequence[str] = (), first: Sequence[str] = (),
            whole: bool = True) -> Listing:
    """The runs as one table. columns: those to show; by default the series, those of `first`, then all that vary."""
    chosen = list(columns) or ["series", *first, *(
        name for name in measured(records, registry) if records[name].n_unique() > 1)]
    named = records.with_columns(series.labels(records).alias("series")) if "series" not in records.columns else records
    require(named, chosen, "group")
    return Listing(records=named, registry=registry, columns=tuple(dict.fromkeys(chosen)), whole=whole)


def ordered(records: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """The records by these columns, descending by those that begin with a minus; what is not measured stands last."""
    names = [name.removeprefix("-") for name in by]
    require(records, names, "group")
    return records.sort(names, descending=[name.startswith("-") for name in by], nulls_last=True, maintain_order=True)


def averaged(records: pl.DataFrame, over: Sequence[str], registry: Registry) -> pl.DataFrame:
    """One row for finished runs that differ in nothing but `over`: means, `NAME_sd` of metrics, their `num_runs`.

    Alike are runs of one series with the same settings and sizes. A column that nobody declared counts as measured
    where no two runs share a value, else as a setting. Raises UsageError where no two runs are alike.
    """
    require(records, over, "group")
    runs = records.filter(pl.col("status") == "ok")
    named = [name for name in runs.columns if name not in over and not name.startswith("_")]
    protocol = bool(runs["phases"].is_not_null().all())
    alike, means = ["_control"], []
    for name in named:
        kind, dtype = registry.quantity(name).kind, runs[name].dtype
        if kind == "size" and protocol and name in _DONE:
            kind = "metric"
        if kind == "metric" and not _declared(name, registry) and runs[name].drop_nulls().is_duplicated().any():
            kind = "setting"
        if kind in ("size", "setting", "identity") and name not in ("run_id", "content"):
            alike.append(name)
        elif kind in ("metric", "cost") and (dtype.is_numeric() or dtype == pl.Boolean):
            means.append(name)
    measures = [pl.col(name).any() if runs[name].dtype == pl.Boolean else pl.col(name).cast(pl.Float64).mean()
                for name in means]
    spreads = [pl.col(name).cast(pl.Float64).std().alias(f"{name}_sd") for name in means
               if registry.quantity(name).kind == "metric" and runs[name].dtype != pl.Boolean]
    made = runs.with_columns(_control=series.control(runs)).group_by(alike, maintain_order=True).agg(
        *measures, pl.col("status").first(), *(pl.col(name).first() for name in ("source",) if name in named),
        pl.len().alias(NUM_RUNS), *spreads).drop("_control")
    if made.height == runs.height:
        raise UsageError(f"--mean-over {','.join(over)}: no two of {runs.height} finished runs are alike but for it; "
                         "they differ in settings or sizes, or have one value each")
    return pl.concat([records.clear().drop(name for name in means if records[name].dtype != pl.Boolean), made],
                     how="diagonal_relaxed")


def _declared(name: str, registry: Registry) -> bool:
    return name in QUANTITIES or name in registry.items(Quantity)


FORMS: Mapping[str, str] = {"csv": ".csv", "parquet": ".parquet", "json": ".json", "latex": ".tex", "markdown": ".md"}
"""Forms that runs are written in, with the ending of a file of each."""
TABLES = ("csv", "parquet")
"""Those that hold the records alone."""


def table_of(records: pl.DataFrame, columns: Sequence[str], form: str) -> str | bytes:
    """The records as CSV or Parquet: the columns chosen, or all that hold a value."""
    held = _held(records, columns)
    if form == "csv":
        return held.write_csv()
    content = BytesIO()
    held.write_parquet(content)
    return content.getvalue()


def plain_of(records: pl.DataFrame, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The records as plain data: the columns chosen, or all."""
    return plain(_held(records, columns) if columns else records)


def written(made: Printed, form: str) -> str:
    """The tables as Markdown, or as LaTeX to be included in an article."""
    return f"{made.to_markdown()}\n" if form == "markdown" else made.to_latex()


def _held(records: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    require(records, columns, "group")
    return records.select(columns or [name for name in records.columns if not name.startswith("_")
                                      and records[name].null_count() < records.height])
