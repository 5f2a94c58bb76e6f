"""Two groups of runs at matched sizes: pairs, their ratio, and the settings that differ."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from cvfp_core.claims import matched
from cvfp_core.deciding.multiplier import shared
from cvfp_core.deciding.pairs import Pairs, log_ratios, paired, ratio, usable
from cvfp_core.errors import UsageError, suggestion
from cvfp_core.fitting.points import gather
from cvfp_core.registry import Registry
from cvfp_core.registry.kinds import Law
from cvfp_core.schema import records as schema
from cvfp_core.schema import series
from cvfp_core.schema.claims import Measured
from cvfp_core.schema.fits import Estimate
from cvfp_core.schema.plain import plain

LAW = "saturating"
"""Of the multiplier."""


def compare(records: pl.DataFrame, a: str, b: str, registry: Registry) -> dict[str, Any]:
    """The `ComparisonView` of the groups named a and b. Raises UsageError for a name that `--set a` may not give.

    A name is an experiment, a variant, experiment:variant, all without controls, or experiment:variant:control. Pairs
    and intervals are those of `cvfp compare`.
    """
    if a == b:
        raise UsageError(f"a group is compared with another, and --set a and --set b are both '{a}'; name two")
    left, right = (usable(_group(records, name), "train_tokens", "val_ppl") for name in (a, b))
    pairs = paired(left, right)
    mean = ratio(pairs, log_ratios(pairs.items, left, right, "val_ppl"))
    whole = [runs.filter(pl.col("phase2_censored").ne_missing(True)) for runs in (left, right)]
    kept = None
    if sum(each.height for each in whole) < left.height + right.height:
        rest = paired(whole[0], whole[1])
        kept = {"n": len(rest.items), **_said(ratio(rest, log_ratios(rest.items, whole[0], whole[1], "val_ppl")), rest)}
    rows = _rows(pairs, left, right)
    ranked = [pair for pair, row in zip(pairs.items, rows, strict=True)
              if row["a"]["val_er"] is not None and row["b"]["val_er"] is not None]
    ranks = np.array([row["b"]["val_er"] - row["a"]["val_er"] for pair, row in zip(pairs.items, rows, strict=True)
                      if pair in ranked], dtype=float)
    groups = (matched.group(runs.with_columns(series=pl.concat_str("experiment", pl.lit(":"), "variant")))
              for runs in (left, right))
    return {
        "a": a, "b": b, "matched_by": list(pairs.matched_by), "pairs": rows, **_said(mean, pairs),
        "level": pairs.level, "units": mean.n, "without_censored": kept,
        "er_difference": _estimate("val_er", ratio(replace(pairs, items=tuple(ranked)), ranks), float, pairs),
        "differences": [{"name": each.name, "a": each.left, "b": each.right, "assumed": each.assumed}
                        for each in matched.differences(*groups)],
        "settings_known": left["settings"].null_count() + right["settings"].null_count() == 0,
        "unmatched": sum(pairs.unmatched), "multiplier": _multiplier(left, right, pairs, registry),
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


def _rows(pairs: Pairs, left: pl.DataFrame, right: pl.DataFrame) -> list[dict[str, Any]]:
    """A row for each pair; where a side has several runs of no common seed, their geometric mean and no seed."""
    made = []
    logs = log_ratios(pairs.items, left, right, "val_ppl")
    for pair, log in zip(pairs.items, logs, strict=True):
        first, second = (_run(runs, list(rows)) for runs, rows in ((left, pair.left), (right, pair.right)))
        made.append({"variant": first["variant"] if first["variant"] == second["variant"] else None,
                     "num_samples": first["num_samples"], "train_tokens": first["train_tokens"], "seed": pair.seed,
                     "a": first, "b": second, "ratio": float(np.exp(log))})
    return made


def _run(runs: pl.DataFrame, rows: list[int]) -> dict[str, Any]:
    own = schema.plain(runs[rows])
    if len(own) == 1:
        return own[0]
    ranks = [run["val_er"] for run in own if run["val_er"] is not None]
    return own[0] | {"seed": None, "val_ppl": float(np.exp(np.mean(np.log([run["val_ppl"] for run in own])))),
                     "val_er": float(np.mean(ranks)) if len(ranks) == len(own) else None}


def _multiplier(left: pl.DataFrame, right: pl.DataFrame, pairs: Pairs, registry: Registry) -> dict[str, Any] | None:
    """How many times the tokens the second group is worth to the first, by a law both share; None: not to be said."""
    law = registry.items(Law).get(LAW)
    if law is None or not pairs.items:
        return None
    a, b = (gather(runs, ("train_tokens",), "val_ppl", ("experiment",)) for runs in (left, right))
    made = shared(law, a, b, pairs, log_ratios(pairs.items, left, right, "val_ppl"))
    return None if made is None else _estimate("multiplier", made.measured, np.exp, pairs)


def _said(mean: Measured, pairs: Pairs) -> dict[str, Any]:
    return {"ratio": _estimate("ratio", mean, np.exp, pairs), "p_value": mean.p_value if mean.stderr else None}


def _estimate(name: str, measured: Measured, scale: Any, pairs: Pairs) -> dict[str, Any] | None:
    if measured.estimate is None:
        return None
    value, low, high = (None if end is None else float(scale(end))
                        for end in (measured.estimate, measured.low, measured.high))
    made: dict[str, Any] = plain(Estimate(
        name=name, value=value, low=low, high=high, stderr=measured.stderr if scale is float else None,
        method="t" if low is not None else None, note=f"{len(pairs.items)} pairs, over {measured.n} {pairs.level}"))
    return made
