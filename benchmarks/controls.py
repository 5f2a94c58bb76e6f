"""Error rates of the verdict on controls in simulation: `python benchmarks/controls.py [data sets]`.

A data set is one variant at 5 sizes, trained and as both controls, with so many seeds each. The log perplexity of a run
is that of its size, to which training adds `effect` at every size, plus what its seed does to all modes (2 %), what it
does to one mode at all sizes (0.5 %), and what is its own (1 %).
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from functools import cache
from typing import get_args

import numpy as np
import polars as pl

from cvfp_core.claims.findings import test_all
from cvfp_core.registry import Registry, load
from cvfp_core.schema.claims import Finding
from cvfp_core.schema.records import Record, frame
from cvfp_core.schema.settings import Phase1Mode, Phase1Settings, Settings

SIZES = (5_000, 10_000, 20_000, 40_000, 80_000)
OF_SEED, OF_SEED_AND_MODE, OF_RUN = 0.02, 0.005, 0.01
"""Standard deviations in log perplexity."""


def records(effect: float, seeds: int, number: int, *, modes: tuple[Phase1Mode, ...] = get_args(Phase1Mode)
            ) -> pl.DataFrame:
    """One data set; effect: log perplexity of trained runs above that of controls."""
    rng = np.random.default_rng(number)
    of_seed = rng.normal(0, OF_SEED, seeds)
    made = []
    for mode in modes:
        settings = json.dumps(Settings(phase1=Phase1Settings(mode=mode)).as_dict())
        lasting = rng.normal(0, OF_SEED_AND_MODE, seeds)
        for size in SIZES:
            for seed in range(seeds):
                log = np.log(2700) - 0.3 * np.log(size / 1000) + (effect if mode == "trained" else 0.0)
                log += of_seed[seed] + lasting[seed] + rng.normal(0, OF_RUN)
                made.append(Record(
                    run_id=f"{mode}-{size}-{seed}", experiment="made", variant="1L_128d_2tok", family="residual",
                    num_layers=1, context_dim=128, num_input_tokens=2, phases=2, phase1_mode=mode, seed=seed,
                    settings=settings, corpus_hash="made", num_samples=size // 500, train_tokens=size,
                    val_ppl=float(np.exp(log)), unigram_ppl=600.0,
                ))
    return frame(made)


@cache
def registry() -> Registry:
    """The first-party laws and analyses."""
    return load(only=["laws", "analyses"]).require_healthy()


def verdicts(effect: float, seeds: int, count: int, *, first: int = 0) -> list[list[Finding]]:
    """The findings on controls of each data set."""
    return [
        [each for each in test_all(records(effect, seeds, first + number), [], registry())
         if each.analysis == "controls"]
        for number in range(count)
    ]


def rates(every: list[list[Finding]]) -> dict[str, float]:
    """Shares of the verdicts; `alone`: of any verdict by the finding's own p, uncorrected."""
    findings = [each for found in every for each in found]
    counts = Counter(each.verdict for each in findings)
    alone = sum(each.p_value is not None and each.p_value <= 0.05 for each in findings)
    return {"alone": alone / len(findings)} | {
        name: counts[name] / len(findings) for name in ("supported", "contradicted", "inconclusive")
    }


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    start = time.perf_counter()
    for effect in (0.0, -0.01, -0.02, -0.05):
        for seeds in (1, 2, 3, 5):
            found = rates(verdicts(effect, seeds, count))
            print(f"effect {effect:+.2f}, {seeds} seeds: "
                  + ", ".join(f"{name} {value:.3f}" for name, value in found.items()), flush=True)
    print(f"{count} data sets each, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
