"""Two groups of runs at matched sizes: pairs, their ratio, and the settings that differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from cvfp_core.claims import matched
from cvfp_core.errors import UsageError, suggestion
from cvfp_core.fitting.linear import t_p_value, t_quantile
from cvfp_core.reporting.names import ComparisonView, EstimateView
from cvfp_core.reporting.series import usable
from cvfp_core.schema import records as schema


def compare(records: pl.DataFrame, a: str, b: str) -> ComparisonView:
    """The groups named a and b. Raises UsageError for a name that is none of those `--set a` may give.

    A name is an experiment, a variant, experiment:variant, all without controls, or experiment:variant:control. Runs
    pair if they share their training tokens and whatever of experiment and variant the names leave open.
    """
    left, right = _group(records, a), _group(records, b)
    open_ = [name for name in ("experiment", "variant")
             if left[name].n_unique() > 1 or right[name].n_unique() > 1 or left[name][0] == right[name][0]]
    by = [*open_, "train_tokens"]
    pairs = _pairs(left, right, by)
    logs = np.log([pair["ratio"] for pair in pairs])
    ranks = [pair["b"]["val_er"] - pair["a"]["val_er"] for pair in pairs
             if pair["a"]["val_er"] is not None and pair["b"]["val_er"] is not None]
    mean = _mean("ratio", logs)
    known = all(left["settings"].is_not_null()) and all(right["settings"].is_not_null())
    return {
        "a": a, "b": b, "matched_by": by, "pairs": pairs,
        "ratio": _exponentiated(mean) if mean else None, "p_value": _p_value(logs),
        "er_difference": _mean("val_er", np.asarray(ranks)),
        "differences": [{"name": each.name, "a": each.left, "b": each.right, "assumed": each.assumed}
                        for each in matched.differences(_described(left), _described(right))],
        "settings_known": bool(known),
        "unmatched": left.height + right.height - 2 * len(pairs),
    }


def _group(records: pl.DataFrame, name: str) -> pl.DataFrame:
    series = zip(records.select("experiment", "variant").iter_rows(), schema.control(records), strict=True)
    names = [schema.label(row, control) for row, control in series]
    chosen = records.filter(pl.Series(names, dtype=pl.String) == name)
    if chosen.is_empty():
        chosen = schema.without_controls(records.filter((pl.col("experiment") == name) | (pl.col("variant") == name)))
    if chosen.is_empty():
        every = [*dict.fromkeys(records["experiment"]), *dict.fromkeys(records["variant"]), *dict.fromkeys(names)]
        raise UsageError(f"no runs are called '{name}'{suggestion(name, every)}; there are: {', '.join(every)}")
    return chosen


def _described(runs: pl.DataFrame) -> matched.Group:
    return matched.group(runs.with_columns(series=pl.concat_str("experiment", pl.lit(":"), "variant")))


def _pairs(left: pl.DataFrame, right: pl.DataFrame, by: Sequence[str]) -> list[dict[str, Any]]:
    """One pair a key; of several runs of one key, such as seeds, the geometric mean counts and the first is shown."""
    partners: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for run in filter(usable, schema.plain(right)):
        partners.setdefault(tuple(run[name] for name in by), []).append(run)
    own: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for run in filter(usable, schema.plain(left)):
        own.setdefault(tuple(run[name] for name in by), []).append(run)
    pairs = []
    for key, runs in own.items():
        others = partners.get(key)
        if others is None or any(part is None for part in key):
            continue
        ratio = _level(others) / _level(runs)
        first, second = runs[0], others[0]
        pairs.append({"variant": first["variant"] if first["variant"] == second["variant"] else None,
                      "num_samples": first["num_samples"], "train_tokens": first["train_tokens"],
                      "a": first, "b": second, "ratio": float(ratio)})
    return pairs


def _level(runs: list[dict[str, Any]]) -> float:
    return float(np.exp(np.mean(np.log([run["val_ppl"] for run in runs]))))


def _mean(name: str, values: np.ndarray) -> EstimateView | None:
    if len(values) == 0:
        return None
    mean, error, low, high = float(values.mean()), None, None, None
    if len(values) > 1:
        error = float(values.std(ddof=1) / np.sqrt(len(values)))
        half = t_quantile(len(values) - 1) * error
        low, high = mean - half, mean + half
    return {"name": name, "value": mean, "low": low, "high": high, "stderr": error,
            "method": "t" if error is not None else None, "unit": "", "note": f"over {len(values)} pairs"}


def _exponentiated(estimate: EstimateView) -> EstimateView:
    def up(value: float | None) -> float | None:
        return None if value is None else float(np.exp(value))

    return {**estimate, "value": up(estimate["value"]), "low": up(estimate["low"]), "high": up(estimate["high"]),
            "stderr": None}


def _p_value(logs: np.ndarray) -> float | None:
    if len(logs) < 2 or logs.std(ddof=1) == 0:
        return None
    return t_p_value(float(logs.mean()), float(logs.std(ddof=1) / np.sqrt(len(logs))), len(logs) - 1)
