"""Two groups of runs at matched sizes: pairs, their ratio, and the settings that differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from cvfp_core.claims import inference, matched
from cvfp_core.errors import UsageError, suggestion
from cvfp_core.reporting.series import usable
from cvfp_core.schema import records as schema
from cvfp_core.schema import series
from cvfp_core.schema.claims import Measured
from cvfp_core.schema.fits import Estimate
from cvfp_core.schema.plain import plain


def compare(records: pl.DataFrame, a: str, b: str) -> dict[str, Any]:
    """The `ComparisonView` of the groups named a and b. Raises UsageError for a name that `--set a` may not give.

    A name is an experiment, a variant, experiment:variant, all without controls, or experiment:variant:control. Runs
    pair if they share their training tokens and whatever of experiment and variant the names leave open.
    """
    left, right = _group(records, a), _group(records, b)
    open_ = [name for name in ("experiment", "variant")
             if left[name].n_unique() > 1 or right[name].n_unique() > 1 or left[name][0] == right[name][0]]
    by = [*open_, "train_tokens"]
    pairs = _pairs(left, right, by)
    ratio = _ratio(pairs)
    whole = [runs.filter(pl.col("phase2_censored").ne_missing(True)) for runs in (left, right)]
    cut_short = sum(each.height for each in whole) < left.height + right.height
    kept = _ratio(_pairs(whole[0], whole[1], by)) if cut_short else None
    ranks = [pair["b"]["val_er"] - pair["a"]["val_er"] for pair in pairs
             if pair["a"]["val_er"] is not None and pair["b"]["val_er"] is not None]
    groups = (matched.group(runs.with_columns(series=pl.concat_str("experiment", pl.lit(":"), "variant")))
              for runs in (left, right))
    return {
        "a": a, "b": b, "matched_by": by, "pairs": pairs, **_said(ratio),
        "without_censored": None if kept is None else {"n": kept.n, **_said(kept)},
        "er_difference": _estimate("val_er", inference.mean(np.asarray(ranks)), float),
        "differences": [{"name": each.name, "a": each.left, "b": each.right, "assumed": each.assumed}
                        for each in matched.differences(*groups)],
        "settings_known": left["settings"].null_count() + right["settings"].null_count() == 0,
        "unmatched": left.height + right.height - 2 * len(pairs),
    }


def _group(records: pl.DataFrame, name: str) -> pl.DataFrame:
    names = series.labels(records)
    chosen = records.filter(names == name)
    if chosen.is_empty():
        chosen = series.without_controls(records.filter((pl.col("experiment") == name) | (pl.col("variant") == name)))
    if chosen.is_empty():
        every = [each for each in dict.fromkeys([*records["experiment"], *records["variant"], *names]) if each]
        raise UsageError(f"no runs are called '{name}'{suggestion(name, every)}; there are: {', '.join(every)}")
    return chosen


def _pairs(left: pl.DataFrame, right: pl.DataFrame, by: Sequence[str]) -> list[dict[str, Any]]:
    """One pair a key; of several runs of one key, such as seeds, the geometric mean counts and the first is shown."""
    sides: list[dict[tuple[Any, ...], list[dict[str, Any]]]] = [{}, {}]
    for runs, side in zip((left, right), sides, strict=True):
        for run in filter(usable, schema.plain(runs)):
            side.setdefault(tuple(run[name] for name in by), []).append(run)
    pairs = []
    for key, own in sides[0].items():
        others = sides[1].get(key)
        if others is None or any(part is None for part in key):
            continue
        first, second = own[0], others[0]
        pairs.append({"variant": first["variant"] if first["variant"] == second["variant"] else None,
                      "num_samples": first["num_samples"], "train_tokens": first["train_tokens"],
                      "a": first, "b": second, "ratio": _level(others) / _level(own)})
    return pairs


def _ratio(pairs: Sequence[Mapping[str, Any]]) -> Measured:
    """The mean logarithm of the pairs' ratios."""
    return inference.mean(np.log([pair["ratio"] for pair in pairs]))


def _said(ratio: Measured) -> dict[str, Any]:
    return {"ratio": _estimate("ratio", ratio, np.exp), "p_value": ratio.p_value if ratio.stderr else None}


def _level(runs: list[dict[str, Any]]) -> float:
    return float(np.exp(np.mean(np.log([run["val_ppl"] for run in runs]))))


def _estimate(name: str, measured: Measured, scale: Any) -> dict[str, Any] | None:
    if measured.estimate is None:
        return None
    value, low, high = (None if end is None else float(scale(end))
                        for end in (measured.estimate, measured.low, measured.high))
    made: dict[str, Any] = plain(Estimate(
        name=name, value=value, low=low, high=high, stderr=measured.stderr if scale is float else None,
        method="t" if measured.n > 1 else None, note=f"over {measured.n} pairs"))
    return made
