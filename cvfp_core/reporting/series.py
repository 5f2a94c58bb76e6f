"""Series as a report shows them: runs, ranges, exponent, windows, and what each is first or last in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from cvfp_core.fitting import Fit
from cvfp_core.ingesting import published
from cvfp_core.reporting.names import EstimateView, FitView, RangeView, SeriesView, WindowView
from cvfp_core.schema import records as schema
from cvfp_core.schema.fits import message_of

_IDENTITY = {"num_layers", "context_dim", "embed_dim", "num_input_tokens", "seed", "vocab_size"}
_MARKS = (
    ("alpha", "steepest α", "flattest α"), ("val_er", "highest Val ER", "lowest Val ER"),
    ("val_ppl", "lowest Val PPL", "highest Val PPL"),
)


def views(records: pl.DataFrame, fits: Mapping[str, Fit], windows: Mapping[str, Fit], width: int) -> list[SeriesView]:
    """One entry a series, in order of first appearance; `fits` and `windows` by series label.

    width: sizes in a window.
    """
    stated = published.frame_of(records)
    made = [_one(group, fits, windows, stated, width) for group in schema.series(records)]
    studied = [series for series in made if series["control"] is None] or made
    for series, marks in zip(studied, _marks(studied), strict=True):
        series["marks"] = marks
    return made


def fit_view(fit: Fit) -> FitView:
    """The fit as plain data, its estimates by name."""
    plain = fit.as_dict()
    plain["why"] = message_of(fit.reason) if fit.reason else None
    plain["parameters"] = {each["name"]: each for each in plain.pop("estimates")}
    return plain  # type: ignore[return-value]


def range_of(values: list[float]) -> RangeView | None:
    """Smallest and largest; None of nothing."""
    return {"low": min(values), "high": max(values)} if values else None


def usable(run: Mapping[str, Any]) -> bool:
    """Whether a run has an outcome."""
    return run["status"] == "ok" and run["val_ppl"] is not None


def _one(group: pl.DataFrame, fits: Mapping[str, Fit], windows: Mapping[str, Fit], stated: pl.DataFrame,
         width: int) -> SeriesView:
    runs = schema.plain(group)
    good = [run for run in runs if usable(run)]
    first = runs[0]
    control = schema.control(group)[0]
    label = schema.label((first["experiment"], first["variant"]), control)
    mine = stated.filter(*(pl.col(name).eq_missing(first[name]) for name in ("experiment", "variant")))
    mine = mine if control is None else mine.clear()  # what was published is of trained runs
    whole = mine.filter(pl.col("first_samples").is_null())
    fit, slide = fits.get(label), windows.get(label)
    bends = fit_view(slide)["parameters"] if slide is not None else {}
    sized = [run for run in good if run["train_tokens"] is not None]
    return {
        "label": label,
        "experiment": first["experiment"],
        "variant": first["variant"],
        "control": control,
        "phases": first.get("phases"),
        "name": schema.label((first["variant"],), control),
        "num_layers": first["num_layers"],
        "context_dim": first["context_dim"],
        "num_input_tokens": first["num_input_tokens"],
        "runs": runs,
        "best": min(good, key=lambda run: run["val_ppl"]) if good else None,
        "largest": max(sized, key=lambda run: run["train_tokens"]) if sized else None,
        "ranges": _ranges(group, good),
        "censored": sum(bool(run["phase1_censored"]) for run in runs),
        "er_gap": range_of([run["train_er"] - run["val_er"] for run in good
                            if run["train_er"] is not None and run["val_er"] is not None]),
        "fit": fit_view(fit) if fit is not None else None,
        "published_alpha": whole["alpha"][0] if whole.height else None,
        "windows": _windows(bends, sized, mine, width),
        "change": bends.get("change"),
        "curvature": bends.get("curvature"),
        "marks": [],
    }


def _ranges(group: pl.DataFrame, good: list[dict[str, Any]]) -> dict[str, RangeView]:
    made = {}
    for name, dtype in group.schema.items():
        if dtype.is_numeric() and name not in _IDENTITY:
            span = range_of([run[name] for run in good if run[name] is not None])
            if span is not None:
                made[name] = span
    return made


def _windows(estimates: Mapping[str, EstimateView], runs: list[dict[str, Any]], stated: pl.DataFrame,
             width: int) -> list[WindowView]:
    """The windows of a series; window i holds sizes i to i + width."""
    sizes = sorted({run["train_tokens"] for run in runs})
    made: list[WindowView] = []
    for start in range(len(sizes) - width + 1):
        alpha = estimates.get(f"alpha {start + 1}")
        if alpha is None:
            break
        low, high = sizes[start], sizes[start + width - 1]
        inside = [run for run in runs if low <= run["train_tokens"] <= high]
        ranks = [run["val_er"] for run in inside if run["val_er"] is not None]
        samples = range_of([run["num_samples"] for run in inside if run["num_samples"] is not None])
        same = stated.filter(first_samples=samples["low"], last_samples=samples["high"]) if samples else stated.clear()
        made.append({
            "number": start + 1, "tokens": {"low": low, "high": high}, "samples": samples, "alpha": alpha,
            "published_alpha": same["alpha"][0] if same.height else None,
            "val_er": sum(ranks) / len(ranks) if ranks else None,
            "val_ppl": range_of([run["val_ppl"] for run in inside]),
        })
    return made


def _marks(every: list[SeriesView]) -> list[list[str]]:
    """What each series is first or last in, by its value at the run of lowest perplexity."""
    marks: list[list[str]] = [[] for _ in every]
    if len(every) < 2:
        return marks
    for name, least, most in _MARKS:
        values = [_value(series, name) for series in every]
        known = [value for value in values if value is not None]
        if len(known) < 2 or min(known) == max(known):
            continue
        low, high = (least, most) if name != "val_er" else (most, least)
        for value, mine in zip(values, marks, strict=True):
            mine += [low] * (value == min(known)) + [high] * (value == max(known))
    return marks


def _value(series: SeriesView, name: str) -> float | None:
    if name == "alpha":
        alpha = series["fit"]["parameters"].get("alpha") if series["fit"] else None
        return alpha["value"] if alpha else None
    value = series["best"][name] if series["best"] else None
    return None if value is None else float(value)
