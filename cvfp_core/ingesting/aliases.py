"""Columns of a table that go by other names than the quantities they hold: `n_params`, `N`, `loss`."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import polars as pl

from cvfp_core.ingesting import mapping as columns_mapping
from cvfp_core.schema.quantities import QUANTITIES, Quantity
from cvfp_core.schema.records import within


def adopt(
    records: pl.DataFrame, given: Collection[str], mapping: Mapping[str, str], declared: Mapping[str, Quantity],
    left: Collection[str] = (),
) -> tuple[pl.DataFrame, dict[str, str]]:
    """The records with quantities that the table has under an alias set beside, and which column each was taken from.

    given: the columns of the table. A quantity that the table has, or that follows from one it has, is left alone, and
    so is a column that the user's mapping reads, and those in `left`. A value out of the quantity's range is not taken.
    """
    known = QUANTITIES | dict(declared)
    read = columns_mapping.columns_read(mapping, given)
    by_alias = {_plain(name): name for name in reversed(records.columns)
                if name not in known and name not in read and name not in left and not name.startswith("_")
                and records.schema[name].is_numeric()}
    taken: dict[str, str] = {}
    for name, quantity in known.items():
        column = next((by_alias[alias] for alias in map(_plain, quantity.aliases) if alias in by_alias), None)
        if column is None or name in given or any(rule.plainly_from(given) for rule in quantity.follows):
            continue
        values = within(records[column], quantity)
        if values.null_count() < records.height:
            records, taken[name] = records.with_columns(values.alias(name)), column
    return records, taken


def is_metric(name: str, declared: Mapping[str, Quantity]) -> bool:
    """Whether the column is a metric that somebody declared, by its name or an alias."""
    known = QUANTITIES | dict(declared)
    return any(each.kind == "metric" and _plain(name) in map(_plain, (each.name, *each.aliases))
               for each in known.values())


def _plain(name: str) -> str:
    """The name without capitals and punctuation; a single letter as it is."""
    return name if len(name) == 1 else re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
