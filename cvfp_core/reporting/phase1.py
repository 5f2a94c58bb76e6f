"""What the report on Phase 1 asks beside findings: the answer, what a change of settings trades, worked examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from cvfp_core.claims import inference, matched
from cvfp_core.claims.prediction import NOT_MEASURED, Answer
from cvfp_core.errors import UsageError
from cvfp_core.fitting import mixed
from cvfp_core.fitting.points import gather, refusal
from cvfp_core.schema import series as schema
from cvfp_core.schema.fits import message_of
from cvfp_core.schema.quantities import Quantity

View = dict[str, Any]


def numbers_of(option: str, given: object) -> list[float]:
    """The numbers of an option such as `examples=0.81,0.79`. Raises UsageError for anything else."""
    try:
        return [float(part) for part in str(given).split(",") if part.strip()]
    except ValueError:
        raise UsageError(f"--set {option} takes numbers such as 0.81,0.79, not '{given}'") from None


def answer_view(made: Answer) -> View:
    """The answer as plain data, its reasons as messages."""
    return made.as_dict() | {
        "reason": message_of(made.reason) if made.reason else None,
        "refused": [{"metric": name, "why": message_of(why), "unmeasured": why == NOT_MEASURED}
                    for name, why in made.refused.items()]}


def trade_offs(records: pl.DataFrame, every: Sequence[Mapping[str, Any]], pairs: str) -> list[View]:
    """The variants that two experiments share: what changes from the first to the second, and which settings differ.

    pairs: `v1,v2`, several joined by `;`. Experiments that are not there give nothing.
    """
    runs = matched.usable(records)
    made = []
    for pair in pairs.split(";"):
        first, _, second = (part.strip() for part in pair.partition(","))
        for one, two in ((a, b) for a in every for b in every
                         if (a["experiment"], b["experiment"]) == (first, second) and a["variant"] == b["variant"]
                         and a["control"] is None and b["control"] is None):
            groups = [matched.group(runs.filter(pl.col("series") == each["label"])) for each in (one, two)]
            if any(group.runs.is_empty() for group in groups):
                continue
            compared = matched.compare(groups[0], groups[1])
            alphas = [each["fit"]["parameters"].get("alpha", {}).get("value") if each["fit"] else None
                      for each in (one, two)]
            ranks = [each["best"]["val_er"] for each in (one, two)]  # of usable runs, so there is a best
            made.append({
                "variant": one["variant"], "first": first, "second": second, "sizes": len(compared.sizes),
                "er_change": _change(ranks), "alpha_change": _change(alphas),
                "ratio": float(np.exp(np.log(compared.ratios).mean())) if len(compared.ratios) else None,
                "differ": [each.name for each in compared.differences]})
    return made


def _change(ends: Sequence[float | None]) -> float | None:
    first, second = ends
    return None if first is None or second is None else second - first


def examples(records: pl.DataFrame, ranks: Sequence[float], line: Mapping[str, float],
             every: Sequence[Mapping[str, Any]], declared: Mapping[str, Quantity]) -> list[View]:
    """What both formulas say of new configurations with these Val ER, with the interval of one.

    The line: at the size of each configuration's lowest perplexity, its interval from how far it was off there. The
    regression on log size and rank: at the largest size of all.
    """
    studied = schema.without_controls(schema.with_contexts(records))
    points = gather(studied, ("train_tokens", "val_er"), "val_ppl", schema.SERIES, declared)
    fitted = refusal(points, least=1, what="runs") is None and mixed.refused(points) is None
    model = mixed.fit(points, 1) if fitted else None
    best = [each["best"] for each in every if each["control"] is None and each["best"] is not None
            and each["best"]["val_er"] is not None]
    guesses = [line["a"] + 100 * line["b"] * run["val_er"] for run in best]
    off = inference.another(np.array([np.log(run["val_ppl"] / guess) for run, guess in zip(best, guesses, strict=True)
                                      if guess > 0]))
    made = []
    for rank in ranks:
        value = line["a"] + 100 * line["b"] * rank
        made.append({"val_er": rank, "formula": "line", "train_tokens": None, "value": value if value > 0 else None,
                     "low": None if off.low is None or value <= 0 else value * float(np.exp(off.low)),
                     "high": None if off.high is None or value <= 0 else value * float(np.exp(off.high))})
        if model is not None:
            size = model.points.ranges["train_tokens"][1]
            told = model.predict({"train_tokens": size, "val_er": rank})
            made.append({"val_er": rank, "formula": "regression", "train_tokens": size, "value": told.value,
                         "low": told.run_low, "high": told.run_high})
    return made


def bands(runs: Sequence[Mapping[str, Any]], records: pl.DataFrame) -> list[View]:
    """By light and colour: runs, configurations, and their mean perplexity over the median at each size."""
    usable = matched.usable(records).filter(pl.len().over("size") > 1)
    log = (pl.col("val_ppl") / pl.col("val_ppl").median().over("size")).log()
    logs = dict(usable.select("run_id", log).iter_rows())
    made = []
    for light, colour in dict.fromkeys((run["light"], run["colour"]) for run in runs):
        mine = [run for run in runs if (run["light"], run["colour"]) == (light, colour)]
        known = [logs[run["run_id"]] for run in mine if run["run_id"] in logs]
        made.append({"light": light, "colour": colour or "none", "runs": len(mine),
                     "series": len({run["series"] for run in mine}),
                     "ratio": float(np.exp(np.mean(known))) if known else None})
    return made


