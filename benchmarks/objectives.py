"""Time and memory of a Phase-1 iteration under each objective, beside the published one; or a study of all of them.

    python benchmarks/objectives.py [--tokens 20000] [--width 768] [--count 3] [NAME ...]
    python benchmarks/objectives.py --study RUNS [--count 3]

The study is examples/objectives/study.toml with `count` seeds, run in one process into the folder RUNS, which it goes
on with. Of 3 seeds it writes the example's table and reports. The rest:

Random tokens and embeddings, the residual family's 1L_{width}d_1tok, batches of 5,000 tokens. Of `count` iterations the
fastest counts, in CPU seconds; memory is the peak resident set of a process of its own.
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import nullcontext
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import polars as pl
import torch
from polars import selectors as cs

import cvfp_core as cvfp
from cvfp_core.claims import findings
from cvfp_core.protocol import device as devices
from cvfp_core.protocol.model import token_windows
from cvfp_core.protocol.noise import Noise
from cvfp_core.protocol.objective import Term
from cvfp_core.protocol.phase1 import learn_contexts
from cvfp_core.registry import installed
from cvfp_core.registry.kinds import MCDL, Objective, VariantFamily
from cvfp_core.schema.settings import Phase1Settings, Shortcuts

EXAMPLE = Path(__file__).parents[1] / "examples" / "objectives"
KEPT = ("run_id", "experiment", "variant", "seed", "corpus", "vocab_size", "val_tokens", "unigram_ppl", "num_samples",
        "train_tokens", "phases", "phase1_mode", "objective", "phase1_iterations", "phase1_censored", "train_er",
        "val_er", "best_epoch", "max_epochs", "phase2_censored", "train_ppl", "val_ppl", "val_acc", "seconds_phase1",
        "seconds_iteration", "seconds_phase2", "source")
"""Columns of the example's table, beside the settings."""
VOCAB = 4000
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="objectives; by default all that are installed")
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--study", type=Path, metavar="RUNS")
    asked = parser.parse_args()
    if asked.study:
        study(asked.study, asked.count)
        return
    objectives = installed().items(Objective)
    print(f"{asked.tokens:,} tokens, {asked.width}d, {torch.get_num_threads()} thread(s)")
    published = apart(MCDL.name, asked)
    print(f"{'objective':<10} {'cost':<6} {'CPU s/iter':>11} {'of mcdl':>8} {'peak MB':>8}")
    for name in asked.names or objectives:
        seconds, memory = apart(name, asked)
        print(f"{name:<10} {objectives[name].cost:<6} {seconds:>11.2f} {seconds / published[0]:>8.2f} "
              f"{memory / 1e6:>8.0f}", flush=True)


def study(out: Path, count: int) -> None:
    """Runs the study where it is not finished, and writes the example anew if all seeds were asked for."""
    began = time.process_time()
    runs = cvfp.run(EXAMPLE / "study.toml", {"seeds": list(range(42, 42 + count))}, out=out, jobs=1)
    print(f"{len(runs)} runs; {time.process_time() - began:.0f} CPU s")
    if count == 3:
        table = runs.to_frame().sort("experiment", "phase1_mode", "train_tokens", "seed").select(
            *KEPT, settings=pl.col("settings").map_elements(_settings, return_dtype=pl.String))
        table.with_columns(cs.float().round_sig_figs(6)).write_csv(EXAMPLE / "runs.csv")
        for lang, name in (("en", "report.md"), ("ja", "report.ja.md")):
            cvfp.write_report(EXAMPLE / "runs.csv", EXAMPLE / name, template="objectives", lang=lang)
    for each in findings.test_all(runs.to_frame(), [], installed()):
        if each.analysis == "objectives":
            ends = "" if each.low is None else f" [{each.low:.3g}, {each.high:.3g}]"
            print(f"{each.key:<20} {each.verdict:<13} {each.estimate:.3g}{ends} {each.unit}, n = {each.n}, "
                  f"corrected p = {each.p_adjusted:.2g}")


def _settings(text: str) -> str:
    """Of all settings those of Phase 1; the others are equal, and in the run file."""
    return json.dumps({name: values for name, values in json.loads(text).items() if name in ("phase1", "objective")})


def apart(name: str, asked: argparse.Namespace) -> tuple[float, int]:
    """What `measure` gives in a process of its own."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (name, asked.tokens, asked.width, asked.count))


def measure(name: str, tokens: int, width: int, count: int) -> tuple[float, int]:
    """(seconds of the fastest iteration, bytes of peak memory)."""
    registry, generator = installed(), torch.Generator().manual_seed(1)
    objective = registry.objective(name)
    variant = registry.variant(f"1L_{width}d_1tok")
    family = registry.get(VariantFamily, variant.family)
    embeddings = torch.randn(VOCAB, width, generator=generator)
    model = family.build(variant, {option.name: option.default for option in family.options}, embeddings, generator)
    windows = token_windows(torch.randint(VOCAB, (tokens,), generator=generator), 1, VOCAB)
    times: list[float] = []
    settings = Phase1Settings(max_iterations=count + 2, min_iterations=count + 2)
    with Noise(3, CPU) as noise:
        learn_contexts(
            model, windows, torch.empty(tokens, width), settings, noise=noise, autocast=nullcontext,
            report=lambda _sweep: times.append(time.process_time()), shortcuts=Shortcuts(),
            term=Term(objective, {option.name: option.default for option in objective.options}),
        )
    return min(after - start for start, after in pairwise(times)), devices.peak_memory(CPU) or 0


if __name__ == "__main__":
    main()
