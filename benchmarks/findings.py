"""Error rates of verdicts in simulation: `python benchmarks/findings.py [data sets]`.

A data set is a grid of 8 configurations (4 widths, 2 input windows) at 5 sizes, one run each, under the same settings.
In `nothing`, perplexity depends on data alone (with and without a lasting difference of each configuration), and every
other metric is drawn without regard to it. In the others, what the analyses claim of levels, or of exponents, is true.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl

from cvfp_core.claims.findings import test_all
from cvfp_core.registry import Registry, load
from cvfp_core.schema.claims import Finding
from cvfp_core.schema.records import Record, frame
from cvfp_core.schema.settings import Settings

SIZES = (62_500, 125_000, 250_000, 500_000, 1_000_000)
WIDTHS, WINDOWS = (64, 128, 256, 512), (1, 2)
SERIES = len(WIDTHS) * len(WINDOWS)
RUN = 0.02
"""Standard deviation of one run's log perplexity."""
SETTINGS = json.dumps(Settings().as_dict())


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What perplexity depends on besides the amount of data."""

    name: str
    lasting: float = 0.0
    """Standard deviation of a lasting difference of each configuration, in log perplexity."""
    of_rank: float = 0.0
    """Change of log perplexity per point of Val ER."""
    alpha_of_rank: float = 0.0
    """Change of alpha per point of Val ER."""
    rank_of_width: float = 0.0
    """Points of Val ER per doubling of context_dim."""
    rank_of_window: float = 0.0
    """Points of Val ER per doubling of input tokens."""
    curvature: float = 0.0
    coupled: bool = False
    """Train ER, iterations and Train PPL go with what they are said to go with."""


NOTHING = (Truth(name="nothing"), Truth(name="nothing but lasting differences", lasting=0.03))
LEVELS = Truth(name="effects on levels", of_rank=-0.02, rank_of_width=-3.0, rank_of_window=5.0, coupled=True)
EXPONENTS = Truth(name="effects on exponents", alpha_of_rank=0.02, rank_of_width=-3.0, curvature=0.05)
TRUE_OF_ALL = {("er-constant", "constant"), ("er-gap", "gap"), ("grid", "repeats"), ("grid", "missing")}
"""Claims that hold in every simulated data set."""


def records(truth: Truth, seed: int) -> pl.DataFrame:
    """One data set."""
    rng = np.random.default_rng(seed)
    made = []
    x = np.log(np.array(SIZES)) - np.log(250_000)
    for index in range(SERIES):
        width, window = WIDTHS[index % 4], WINDOWS[index // 4]
        rank = 78 + truth.rank_of_width * np.log2(width / 181) + truth.rank_of_window * (np.log2(window) - 0.5)
        rank += rng.normal(0, 1.5)
        lasting = truth.lasting * rng.normal() + truth.of_rank * (rank - 78)
        alpha = -0.48 + truth.alpha_of_rank * (rank - 78)
        log_ppl = np.log(300) + lasting + alpha * x + truth.curvature * x**2 + rng.normal(0, RUN, len(SIZES))
        val_er = (rank + rng.normal(0, 0.1, len(SIZES))) / 100
        doubling = x / np.log(2)
        base = rank if truth.coupled else 78 + rng.normal(0, 1.5)
        gap = 0.5 + (0.2 * doubling if truth.coupled else 0.0)
        train_er = (base + gap + rng.normal(0, 0.1, len(SIZES))) / 100
        if not truth.coupled:  # independent of Val ER, but never far above it
            train_er = np.minimum(train_er, val_er.mean() + 0.015)
        steps = np.exp(3.2 + (20 * lasting if truth.coupled else rng.normal(0, 0.2)) * 0.3)
        train_ppl = np.exp(4.5 + (lasting if truth.coupled else 0.05 * rng.normal()) + rng.normal(0, 0.005, len(SIZES)))
        for i, size in enumerate(SIZES):
            made.append(Record(
                run_id=f"{index}-{i}", experiment="made", variant=f"1L_{width}d_{window}tok", family="residual",
                num_layers=1, context_dim=width, num_input_tokens=window, seed=0, settings=SETTINGS, num_samples=i + 1,
                train_tokens=size, phase1_iterations=max(5, round(float(steps))), phase1_censored=False,
                train_er=float(np.clip(train_er[i], 0, 1)), val_er=float(np.clip(val_er[i], 0, 1)),
                train_ppl=float(train_ppl[i]), val_ppl=float(np.exp(log_ppl[i])),
            ))
    return frame(made)


@cache
def registry() -> Registry:
    """The first-party laws and analyses."""
    return load(only=["laws", "analyses"]).require_healthy()


def verdicts(truth: Truth, count: int, *, first_seed: int = 0) -> list[list[Finding]]:
    """The findings of each data set."""
    return [test_all(records(truth, first_seed + seed), [], registry()) for seed in range(count)]


def asks(finding: Finding, truth: Truth) -> bool:
    """Whether the truth holds nothing of what the finding claims, so that any verdict on it is wrong."""
    if (finding.analysis, finding.key) in TRUE_OF_ALL:
        return False
    if finding.analysis == "er-gap":
        return finding.key == "gap over data"  # Train ER is held near Val ER, so they are not quite unrelated
    if finding.analysis == "er-term" and finding.key == "prediction":
        return False  # a term without effect does make predictions worse
    return not (finding.analysis == "groups" and truth.lasting)


def wrong(every: list[list[Finding]], truth: Truth) -> dict[str, float]:
    """Rates of verdicts where there is nothing: per claim by its own p, and corrected, per data set."""
    judged = [[each for each in findings if asks(each, truth)] for findings in every]
    tests = sum(each.p_value is not None for findings in judged for each in findings)
    alone = sum(each.p_value is not None and each.p_value <= 0.05 for findings in judged for each in findings)
    given = [sum(each.verdict in ("supported", "contradicted") for each in findings) for findings in judged]
    right = [sum(each.verdict in ("supported", "contradicted") and each.p_value is not None for each in findings)
             for findings in every]
    return {
        "claims": tests / len(every),
        "wrong by p alone": alone / tests,
        "wrong share of verdicts": float(np.mean([w / max(r, 1) for w, r in zip(given, right, strict=True)])),
        "data sets with a wrong one": float(np.mean([w > 0 for w in given])),
    }


def rates(every: list[list[Finding]]) -> dict[tuple[str, str], Counter[str]]:
    """How often each claim got each verdict; pairs of groups together."""
    made: dict[tuple[str, str], Counter[str]] = {}
    for findings in every:
        for each in findings:
            key = "pairs" if each.analysis == "groups" else "windows" if each.key.startswith("windows") else each.key
            made.setdefault((each.analysis, key), Counter())[each.verdict] += 1
    return made


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    start = time.perf_counter()
    for truth in NOTHING:
        every = verdicts(truth, count)
        print(f"{truth.name}: " + ", ".join(f"{name} {value:.3f}" for name, value in wrong(every, truth).items()))
        _print(every)
    for truth in (LEVELS, EXPONENTS):
        print(truth.name)
        _print(verdicts(truth, count))
    print(f"{count} data sets each, {time.perf_counter() - start:.0f} s")


def _print(every: list[list[Finding]]) -> None:
    for (analysis, key), counts in rates(every).items():
        total = sum(counts.values())
        print(f"  {analysis + ' / ' + key:<34}" + "".join(
            f"{name} {counts[name] / total:.3f}  " for name in ("supported", "contradicted", "inconclusive")))


if __name__ == "__main__":
    main()
