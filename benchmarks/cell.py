"""A whole cell at the published size, part by part: vocabulary 50,257, width 768, as `cvfp run` runs it.

    python benchmarks/cell.py [--variant 1L_768d_2tok] [--train 62891] [--val 31024] [--ways plain fast bf16]
                              [--iterations 4] [--epochs 1] [--device cpu]

Few iterations and epochs are run and timed; the last column adds them up to a cell of 20 iterations and 8 epochs. Text
and embeddings are made up (see protocol.py).
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from cvfp_core.protocol.run import run_cell
from cvfp_core.registry.kinds import Corpus
from cvfp_core.schema.cells import Cell, CorpusChoice, Event, Variant
from cvfp_core.schema.settings import Phase1Settings, Phase2Settings, Settings, Shortcuts
from cvfp_residual import OPTIONS, cvfp_variants

VOCABULARY, WIDTH = 50257, 768
ITERATIONS, EPOCHS = 20, 8
(FAMILY,) = cvfp_variants()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="1L_768d_2tok")
    parser.add_argument("--train", type=int, default=62_891)
    parser.add_argument("--val", type=int, default=31_024)
    parser.add_argument("--ways", nargs="*", default=["plain", "fast", "bf16"])
    parser.add_argument("--iterations", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    corpus = made_corpus(arguments.train, arguments.val)
    print(f"{'way':<6} {'iteration s':>12} {'rest of 1 s':>12} {'epoch s':>9} {'peak GB':>8} {'whole cell s':>13}")
    for way in arguments.ways:
        told: list[Event] = []
        with TemporaryDirectory() as cache:
            record = run_cell(cell(arguments, way, Path(cache)), FAMILY, corpus, told.append).record
        assert record.status == "ok", record.reason
        sweeps = [float(event.values["seconds"]) for event in told if event.kind == "phase1_iteration"]
        epochs = [float(event.values["seconds"]) for event in told if event.kind == "phase2_epoch"]
        iteration, epoch = statistics.median(sweeps), statistics.median(epochs)
        rest = record.seconds_phase1 - sum(sweeps)
        whole = (ITERATIONS - 1) * iteration + rest + EPOCHS * epoch
        peak = (record.peak_memory or 0) / 1e9
        print(f"{way:<6} {iteration:>12.2f} {rest:>12.2f} {epoch:>9.1f} {peak:>8.2f} {whole:>13,.0f}"
              f"   val ppl {record.val_ppl:,.2f}, val ER {record.val_er:.5f}", flush=True)


def made_corpus(train: int, val: int) -> Corpus:
    """Zipf-distributed tokens and random embeddings."""
    rng = np.random.default_rng(0)
    shares = 1.0 / np.arange(1, VOCABULARY + 1)
    shares /= shares.sum()
    tokens = rng.choice(VOCABULARY, train + val, p=shares).astype(np.int32)
    return Corpus(
        name="made", tokenizer="none", vocab_size=VOCABULARY, train_tokens=tokens[:train],
        document_ends=np.array([train]), val_tokens=tokens[train:],
        embeddings=rng.normal(0.0, 0.14, (VOCABULARY, WIDTH)).astype(np.float32), hash="made",
    )


def cell(arguments: argparse.Namespace, way: str, cache: Path) -> Cell:
    """One cell, `way`: plain, fast or bf16."""
    variant = Variant.parse(arguments.variant, family="residual")
    if variant is None:
        raise SystemExit(f"unknown variant {arguments.variant}")
    return Cell(
        experiment="benchmark", variant=variant, corpus=CorpusChoice(name="made"), corpus_hash="made", num_samples=1,
        train_tokens=arguments.train, seed=0, device=arguments.device, cache=cache,
        shortcuts=Shortcuts.none() if way == "plain" else Shortcuts(),
        settings=Settings(
            phase1=Phase1Settings(max_iterations=arguments.iterations, converged_ratio=1.0),
            phase2=Phase2Settings(epochs=arguments.epochs),
            model={option.name: option.default for option in OPTIONS},
            precision="bfloat16" if way == "bf16" else "float32",
        ),
    )


if __name__ == "__main__":
    main()
