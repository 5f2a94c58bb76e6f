"""Records -> the points a law may be fitted to, and what speaks against fitting them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import polars as pl

from cvfp_core.errors import CvfpError
from cvfp_core.schema import records as schema
from cvfp_core.schema.fits import Points, Reason, Status


def gather(records: pl.DataFrame, inputs: Sequence[str], response: str, by: Sequence[str]) -> Points:
    """The usable runs of the records. What is left out is counted, not hidden.

    Left out: runs whose status is not ok, values not measured, the same record loaded twice, all but the last
    checkpoint of a run. by: the columns whose values name a series, with the control where runs are of one.
    """
    missing = [name for name in (*inputs, response, *by) if name not in records.columns]
    if missing:
        raise CvfpError(f"records have no column {', '.join(map(repr, missing))} (they have: "
                        f"{', '.join(sorted(records.columns))})")
    words = [name for name in (*inputs, response) if not records.schema[name].is_numeric()
             and records.schema[name] not in (pl.Null, pl.Boolean)]
    if words:
        raise CvfpError(f"column {', '.join(map(repr, words))} holds no numbers, so no law can be fitted to it")
    records = records.with_columns(schema.control(records).alias("_control"))
    left_out: Counter[str] = Counter()
    if "status" in records.columns:
        for status in records.filter(pl.col("status") != "ok")["status"]:
            left_out[str(status)] += 1
        records = records.filter(pl.col("status") == "ok")
    measured = records.drop_nulls([*inputs, response])
    left_out["not measured"] = records.height - measured.height
    # the same measurements under another label are no further evidence, so the label is not looked at
    columns = (*inputs, response)
    content = [*(name for name in by if name != "experiment"), "_control", *columns]
    content += [name for name in ("seed", "val_ppl", "train_ppl", "val_acc")
                if name in records.columns and name not in columns]
    distinct = measured.unique(content, keep="first", maintain_order=True)
    left_out["identical"] = measured.height - distinct.height
    if "run_id" in distinct.columns and "train_tokens" in distinct.columns:
        last = distinct.sort("train_tokens", maintain_order=True).unique([*by, "_control", "run_id"], keep="last",
                                                                         maintain_order=True)
        left_out["earlier checkpoint"] = distinct.height - last.height
        distinct = last
    label = pl.concat_str([*(pl.col(name).cast(pl.String).fill_null("?") for name in by), "_control"], separator=":",
                          ignore_nulls=True)
    order = {name: index for index, name in enumerate(dict.fromkeys(records.select(label).to_series()))}
    distinct = distinct.with_columns(label.alias("_series"))
    distinct = distinct.with_columns(pl.col("_series").replace_strict(order, return_dtype=pl.Int64).alias("_order"))
    rows = distinct.sort("_order", *inputs, *(name for name in ("seed", "run_id") if name in distinct.columns),
                         nulls_last=True)
    return Points(
        inputs={name: rows[name].cast(pl.Float64).to_numpy() for name in inputs},
        response=rows[response].cast(pl.Float64).to_numpy(),
        series=np.asarray(rows["_series"].to_list(), dtype=object),
        left_out=tuple(f"{count} {what}" for what, count in left_out.items() if count),
    )


def refusal(points: Points, *, response: str, least: int, what: str = "sizes") -> tuple[Status, str] | None:
    """Why nothing can be fitted to the points, as a status and a reason with the remedy; None if something can."""
    first = next(iter(points.inputs))
    if points.n == 0:
        return "too few points", _reason("no run with a usable {name}", points, name=response)
    for name, values in (*points.inputs.items(), (response, points.response)):
        positive = name in (first, response)
        bad = ~np.isfinite(values) | (positive & (values <= 0))
        if bad.any():
            shown = ", ".join(f"{value:g}" for value in values[bad][:3])
            need = "positive and finite" if positive else "finite"
            return "bad data", Reason("{name} must be {need}, found {found}; mend or drop {n} run(s)", name=name,
                                      need=need, found=shown, n=int(bad.sum()))
    if points.n == 1:
        return "too few points", _reason("1 run ({name} {size:,.0f}): a law needs more", points, name=first,
                                         size=float(points.inputs[first][0]))
    count = len(points.sizes) if what == "sizes" else points.n
    if what == "sizes" and count == 1:
        return "not identifiable", Reason("all {n} runs have {name} {size:,.0f}; add another size", n=points.n,
                                          name=first, size=float(points.sizes[0]))
    if count < least:
        return "too few points", _reason(
            "{n} sizes, needs {least}; add {more}" if what == "sizes" else "{n} runs, needs {least}; add {more}",
            points, n=count, least=least, more=least - count)
    return None


def rising(points: Points) -> bool:
    """Whether the response rises with the first input, by the slope of logarithms; flat is not rising."""
    x, y = np.log(next(iter(points.inputs.values()))), np.log(points.response)
    return bool((x - x.mean()) @ y / max(np.ptp(x), 1e-300) > 1e-9)


RISES = "val_ppl rises with train_tokens, so this is no scaling law; check the runs"


def _reason(message: str, points: Points, **values: str | float) -> Reason:
    """The reason, with what was left out of the points, if anything was."""
    if points.left_out:
        return Reason(message + " (left out: {left_out})", **values, left_out=points.left_out)
    return Reason(message, **values)
