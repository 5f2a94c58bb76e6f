"""How often the report's answer is wrong: `python benchmarks/answer.py [--count N]`.

Configurations at four sizes with a metric of Phase 1 that explains a share of their differences, and two that explain
nothing. What the metric is worth is known: the error for a new configuration with its true coefficient, less that
without it. "No" is wrong where that is more than the margin, "yes" where it is nothing.
"""

from __future__ import annotations

import argparse
from collections import Counter

import numpy as np
import polars as pl

from cvfp_core.claims.prediction import MARGIN, answer
from cvfp_core.schema.quantities import QUANTITIES
from cvfp_core.schema.records import Record, frame

SIZES = np.array([62_891, 122_795, 240_132, 587_970])
WITHIN = 0.02
"""Standard deviation of a run's log perplexity within its configuration."""


def records(count: int, *, between: float, share: float, seed: int) -> pl.DataFrame:
    """Runs of `count` configurations whose log levels scatter by `between`, a share of that variance by val_er."""
    rng = np.random.default_rng(seed)
    score, other, more = rng.standard_normal((3, count))
    level = 5.8 + between * (np.sqrt(share) * score + np.sqrt(1 - share) * rng.standard_normal(count))
    return frame([Record(
        run_id=f"{i}-{size}", experiment="made", variant=f"v{i}", seed=1, train_tokens=int(size),
        val_er=0.75 + 0.03 * score[i], train_er=0.76 + 0.03 * other[i],
        phase1_iterations=int(np.clip(30 + 6 * more[i], 5, 60)),
        val_ppl=float(np.exp(level[i] - 0.5 * np.log(size / 2e5) + 0.05 * np.log(size / 2e5)**2
                             + WITHIN * rng.standard_normal())))
        for i in range(count) for size in SIZES])


def worth(between: float, share: float) -> float:
    """Mean absolute error saved by the true coefficient: of normal errors sqrt(2 / pi) of their standard deviation."""
    errors = [np.sqrt(2 / np.pi * (between**2 * rest + WITHIN**2)) for rest in (1.0, 1 - share)]
    return float(errors[0] - errors[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100)
    count = parser.parse_args().count
    print(f"{count} data sets a row, margin {100 * MARGIN:g} points\n")
    print("| configurations | between | share of it | worth, points | no | cannot tell | yes | worse |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    for number in (8, 16):
        for between in (0.04, 0.08):
            for share in (0.0, 0.5, 0.9):
                found = Counter[str | None]()
                for seed in range(count):
                    made = answer(records(number, between=between, share=share, seed=seed),
                                  ("val_er", "train_er", "phase1_iterations"), declared=QUANTITIES)
                    found[made.verdict] += 1
                told = [found[word] / count for word in ("no", "cannot tell", "yes", "worse")]
                print(f"| {number} | {between:.0%} | {share:.0%} | {100 * worth(between, share):.2f} | "
                      + " | ".join(f"{each:.0%}" for each in told) + " |", flush=True)


if __name__ == "__main__":
    main()
