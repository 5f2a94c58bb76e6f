"""The memory that `cvfp run --dry-run` says a cell takes, beside the peak that the cell's record measured.

    python benchmarks/memory.py [--count 6]

Every cell runs two iterations and an epoch in a process of its own; some minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

CVFP = [sys.executable, "-c", "from cvfp_core.cli import main; main()"]
SHORT = ("--set", "phase1.max_iterations=2", "--set", "phase2.epochs=1", "--jobs", "1", "--device", "cpu")
WIDE = ("--set", "corpus.embed_dim=1024", "--set", "corpus.vocab_size=5800", "--set", "corpus.embeddings=random")
CASES: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    ("1L_128d_1tok", 160, ()),
    ("2L_1024d_2tok", 40, ()),
    ("1L_4096d_1tok", 20, ()),
    ("3L_768d_3tok", 40, ("--set", "model.feed_forward=gelu")),
    ("1L_768d_2tok", 40, WIDE),
    ("transformer_2L_256d_64tok", 10, ()),
    ("gru_2L_512d_2tok", 20, ()),
)
"""Variants, samples and further options; the last needs examples/cvfp-gru, whose family declares no size."""


def measured(variant: str, samples: int, options: tuple[str, ...], folder: Path) -> tuple[int, int]:
    """(bytes that were estimated, bytes at the peak)."""
    given = ["run", "--variant", variant, "--samples", str(samples), *options, *SHORT, "--out", str(folder)]

    def cvfp(*more: str) -> list[str]:
        done = subprocess.run([*CVFP, *given, *more, "--json"], check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout.splitlines()

    (plan,) = json.loads("".join(cvfp("--dry-run", "--no-time")))
    return plan["memory"], json.loads(cvfp()[-1])["peak_memory"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=6, help="cases of the list")
    parser.add_argument("--only", default="", help="the case of this variant")
    arguments = parser.parse_args()
    print(f"{'variant':<28} {'samples':>7} {'estimate':>9} {'peak':>9}  MiB  ratio")
    for variant, samples, options in CASES[: arguments.count]:
        if arguments.only in ("", variant):
            with tempfile.TemporaryDirectory() as folder:
                told, peak = measured(variant, samples, options, Path(folder))
            print(f"{variant:<28} {samples:>7} {told / 2**20:>9.0f} {peak / 2**20:>9.0f}       {told / peak:.2f}",
                  flush=True)


if __name__ == "__main__":
    main()
