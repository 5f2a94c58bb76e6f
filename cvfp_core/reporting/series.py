"""Series as a report shows them: runs, ranges, exponent, windows, and what each is first or last in."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from cvfp_core.fitting import Fit
from cvfp_core.ingesting import published
from cvfp_core.schema import records as schema
from cvfp_core.schema import series
from cvfp_core.schema.fits import message_of
from cvfp_core.schema.quantities import Quantity

_IDENTITY = {"num_layers", "context_dim", "embed_dim", "num_input_tokens", "seed", "vocab_size"}
_MARKS = (
    ("alpha", "steepest α", "flattest α"), ("val_er", "highest Val ER", "lowest Val ER"),
    ("val_ppl", "lowest Val PPL", "highest Val PPL"),
)
WIDTH = 4
"""Sizes in a window."""
Run = dict[str, Any]


def views(records: pl.DataFrame, fits: Mapping[str, Fit], windows: Mapping[str, Fit], x: Quantity, y: Quantity,
          by: Sequence[str]) -> list[dict[str, Any]]:
    """One `SeriesView` a series, in order of first appearance; `fits` and `windows` by series label."""
    stated: dict[tuple[str, str | None], list[Run]] = {}
    for row in published.frame_of(records).to_dicts():
        stated.setdefault((row["experiment"], row["variant"]), []).append(row)
    runs: dict[str, list[Run]] = {}
    for label, control, run in zip(series.labels(records, by), series.control(records), schema.plain(records),
                                   strict=True):
        runs.setdefault(label, []).append(run | {"control": control})
    made = [_one(label, every, fits.get(label), windows.get(label), stated, x, y) for label, every in runs.items()]
    if tuple(by) != series.SERIES:
        made = [each | {"title": each["label"], "name": each["label"]} for each in made]
    studied = [each for each in made if each["control"] is None] or made
    for each, marks in zip(studied, _marks(studied) if y.name == "val_ppl" else [[]] * len(studied), strict=True):
        each["marks"] = marks
    return made


def fit_view(fit: Fit) -> dict[str, Any]:
    """The fit as plain data, its estimates by name: `FitView`."""
    made = fit.as_dict()
    made["why"] = message_of(fit.reason) if fit.reason else None
    made["marks"] = fit.marks
    made["trendless"] = fit.trendless
    made["caveats"] = [message_of(caveat) for caveat in fit.caveats]
    made["parameters"] = {each["name"]: each for each in made.pop("estimates")}
    return made


def range_of(values: Sequence[float]) -> dict[str, float] | None:
    """Smallest and largest; None of nothing."""
    return {"low": min(values), "high": max(values)} if values else None


def usable(run: Mapping[str, Any], y: str = "val_ppl") -> bool:
    """Whether a run has an outcome."""
    return run["status"] == "ok" and run[y] is not None


def _one(label: str, runs: list[Run], fit: Fit | None, slide: Fit | None,
         stated: Mapping[tuple[str, str | None], list[Run]], x: Quantity, y: Quantity) -> dict[str, Any]:
    runs.sort(key=lambda run: [part for name in (x.name, "seed") for part in (run[name] is None, run[name] or 0)])
    first = runs[0]
    control = first["control"]
    for run in runs:
        del run["control"]
    good = [run for run in runs if usable(run, y.name)]
    sized = [run for run in good if run[x.name] is not None]
    # what was published is of trained runs
    alphas = stated.get((first["experiment"], first["variant"]), []) if control is None else []
    bends = fit_view(slide)["parameters"] if slide is not None else {}
    best = max if y.better == "higher" else min
    return {
        "label": label, "experiment": first["experiment"], "variant": first["variant"], "control": control,
        "objective": None if control else series.objective_of(runs),
        "title": ": ".join(filter(None, (first["experiment"], first["variant"]))),
        "name": series.label((first["variant"] or label,), control),
        **{name: first.get(name) for name in ("phases", "num_layers", "context_dim", "num_input_tokens")},
        "runs": runs,
        "best": best(good, key=lambda run: run[y.name]) if good else None,
        "largest": max(sized, key=lambda run: run[x.name]) if sized else None,
        "ranges": {name: found for name, value in first.items() if name not in _IDENTITY
                   and (found := range_of([run[name] for run in good if _number(run[name])])) is not None},
        "censored": sum(bool(run["phase1_censored"]) for run in runs),
        "phase2_censored": sum(bool(run["phase2_censored"]) for run in runs),
        "er_gap": range_of([run["train_er"] - run["val_er"] for run in good
                            if run["train_er"] is not None and run["val_er"] is not None]),
        "fit": fit_view(fit) if fit is not None else None,
        "published_alpha": next((row["alpha"] for row in alphas if row["first_samples"] is None), None),
        "windows": _windows(bends, sized, alphas, x.name),
        "change": bends.get("change"), "curvature": bends.get("curvature"), "marks": [],
    }


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _windows(estimates: Mapping[str, Any], runs: list[Run], alphas: list[Run], x: str) -> list[dict[str, Any]]:
    """The windows of a series; window i holds sizes i to i + WIDTH."""
    every = [run[x] for run in runs]  # in their order
    sizes = sorted(set(every))
    made: list[dict[str, Any]] = []
    for start in range(len(sizes) - WIDTH + 1):
        alpha = estimates.get(f"alpha {start + 1}")
        if alpha is None:
            break
        low, high = sizes[start], sizes[start + WIDTH - 1]
        inside = runs[bisect_left(every, low) : bisect_right(every, high)]
        ranks = [run["val_er"] for run in inside if run["val_er"] is not None]
        samples = range_of([run["num_samples"] for run in inside if run["num_samples"] is not None])
        made.append({
            "number": start + 1, "tokens": {"low": low, "high": high}, "samples": samples, "alpha": alpha,
            "published_alpha": next((row["alpha"] for row in alphas if samples and samples == {
                "low": row["first_samples"], "high": row["last_samples"]}), None),
            "val_er": sum(ranks) / len(ranks) if ranks else None,
            "val_ppl": range_of([run["val_ppl"] for run in inside if run["val_ppl"] is not None]),
        })
    return made


def _marks(every: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """What each series is first or last in, by its value at the run of lowest perplexity."""
    marks: list[list[str]] = [[] for _ in every]
    if len(every) < 2:
        return marks
    for name, least, most in _MARKS:
        values = [_value(each, name) for each in every]
        known = [value for value in values if value is not None]
        if len(known) < 2 or min(known) == max(known):
            continue
        low, high = (least, most) if name != "val_er" else (most, least)
        for value, mine in zip(values, marks, strict=True):
            mine += [low] * (value == min(known)) + [high] * (value == max(known))
    return marks


def _value(each: Mapping[str, Any], name: str) -> float | None:
    if name == "alpha":
        return each["fit"]["parameters"].get("alpha", {}).get("value") if each["fit"] else None
    value = each["best"][name] if each["best"] else None
    return None if value is None else float(value)
