"""Messages that several findings share, and series as arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from cvfp_core.claims import inference
from cvfp_core.claims.matched import Difference, Effects, groups
from cvfp_core.schema.claims import Caveat, Measured
from cvfp_core.schema.fits import Array

ONE_SERIES = "One series only: its runs are taken as independent, which they are not."
ONE_SEED = "Over {sizes} sizes of one seed: what seeds differ by is not known, so no verdict is given."
OVER = "over series"


def several(runs: pl.DataFrame) -> list[str | Caveat]:
    """A caveat naming the settings in which the series differ, if they are more than one."""
    every = [each.traits for each in groups(runs)]
    names = [name for name in dict.fromkeys(name for traits in every for name in traits)
             if len({str(traits[name]) for traits in every if name in traits}) > 1]
    if len(names) < 2:
        return []
    return [Caveat(
        text="The configurations differ in {count} settings ({names}): an association, not the effect of one of them.",
        values={"count": len(names), "names": ", ".join(names)})]


def left_out(effects: Effects) -> list[str | Caveat]:
    """A caveat naming the series that share no size with the others, if there are any."""
    if not effects.left_out:
        return []
    return [Caveat(text="Left out, as they share no size with the others: {series}.",
                   values={"series": ", ".join(effects.left_out)})]


def differing(differences: Sequence[Difference], *, but: str = "") -> str:
    """What differs, in a line: `phase1.context_noise (0.0, 0.1)`."""
    def shown(value: object) -> str:
        return "not known" if value is None else str(value)

    return ", ".join(f"{each.name} ({shown(each.left)}, {shown(each.right)})"
                     for each in differences if each.name != but)


def assumed(differences: Sequence[Difference]) -> list[str | Caveat]:
    """A caveat naming the settings that were not logged, if any differ."""
    names = ", ".join(each.name for each in differences if each.assumed)
    if not names:
        return []
    return [Caveat(text="Known from the preset of that name, not from the logs: {names}.", values={"names": names})]


def by_series(runs: pl.DataFrame, expression: pl.Expr) -> tuple[list[str], Array]:
    """The mean of the expression over the runs of each series that have it."""
    rows = runs.with_columns(expression.cast(pl.Float64).alias("_value")).drop_nulls("_value")
    means = rows.group_by("series", maintain_order=True).agg(pl.col("_value").mean())
    return means["series"].to_list(), means["_value"].to_numpy()


def by_runs(runs: pl.DataFrame, expression: pl.Expr) -> list[Array]:
    """The expression of the runs of each series that have it."""
    rows = runs.with_columns(expression.cast(pl.Float64).alias("_value")).drop_nulls("_value")
    return [group["_value"].to_numpy() for _, group in rows.group_by("series", maintain_order=True)]


def over_series(runs: pl.DataFrame, expression: pl.Expr) -> tuple[Array, list[str | Caveat]]:
    """The means of series; the runs' values if there is one series, which the caveat says."""
    names, values = by_series(runs, expression)
    if len(names) != 1:
        return values, []
    rows = runs.select(expression.cast(pl.Float64).alias("_value")).drop_nulls()
    return rows["_value"].to_numpy(), [ONE_SERIES]


def slope_over_series(runs: pl.DataFrame, expression: pl.Expr) -> tuple[Measured, dict[str, float], list[str | Caveat]]:
    """The mean over series of the slope per doubling of size, and the slopes; of one series its own slope."""
    rows = runs.with_columns(expression.cast(pl.Float64).alias("_value")).drop_nulls("_value")
    slopes: dict[str, Measured] = {}
    for (name,), group in rows.group_by("series", maintain_order=True):
        slopes[str(name)] = inference.slope(np.log2(group["size"].to_numpy()), group["_value"].to_numpy())
    values = {name: each.estimate for name, each in slopes.items() if each.estimate is not None}
    if len(values) == 1:
        return slopes[next(iter(values))], values, [ONE_SERIES]
    return inference.mean(np.array(list(values.values()))), values, []
