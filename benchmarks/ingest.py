"""Console-log lines per second, and peak memory at ten times the lines.

    python benchmarks/ingest.py [--lines 200000]

Every measurement is a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NOISE = """\
tokenizer.json: 100% 1.36M/1.36M [00:00<00:00, 3.19MB/s]
Loading training data...
  Loading from cache: ./cache/samples_{n}.pt
Loading validation data...
Token indices sequence length is longer than the specified maximum sequence length for this model (1464 > 1024).
✓ Weight Tying: token_output shares weights with token_embedding
  → Saved ~38.60M parameters
"""


def write_log(path: Path, lines: int, longer: int = 1) -> int:
    """Writes a console log of made-up runs with at least so many lines; returns how many.

    longer: how often the iterations of a run are repeated, with the chatter around them.
    """
    written = 0
    with path.open("w", encoding="utf-8") as file:
        file.write("Device: cuda (a GPU, 24.0GB)\n✓ Loaded GPT-2 embeddings: torch.Size([50257, 768])\n")
        run = 0
        while written < lines:
            run += 1
            text = [f"--- Experiment: {run} samples, 1L, 768d, 2tok ---\n", NOISE.format(n=run)]
            text.append(f"  Data: {run * 1000:,} train, 31,024 val tokens\n\n")
            text.append(f"[Phase 1] Train: {run * 1000:,} tokens, 60 iterations\n  Iter 1: random init\n")
            text += [f"  Iter {k}: conv={min(99, k // longer)}% loss=-{k / (9000 + run % 7):.4f} [2.{k % 10}s]\n"
                     for k in range(2, 50 * longer + 1)]
            text += [NOISE.format(n=run)] * (longer * 4 - 4)
            text.append(f"  → Converged at iter {50 * longer}\n  Done: 99% converged\n"
                        "  Collecting cache (parallel)...\n"
                        "  Cache collected (parallel) [2.7s]\n  ER: train=81.9%, val=81.5%\n"
                        "✓ Training TokenBlock only: 2,953,728/43,322,880 parameters\n\n"
                        f"[Phase 2] {run * 1000:,} train / 31,024 val tokens, 20 epochs\n")
            text += [f"  Epoch {k}: train_ppl={9000 / k:.1f} val_ppl={9000 / k + run % 100:.1f} "
                     f"acc=1{k % 10}.0% [1.9s] ★\n"
                     for k in range(1, 16)]
            text.append(f"  → Early stop at epoch 16\n  Best: epoch 15, ppl={9000 / 15 + run % 100:.1f}, acc=15.0%\n"
                        f"  Result: PPL={9000 / 15 + run % 100:.1f}, Acc=15.0%\n\n")
            block = "".join(text)
            file.write(block)
            written += block.count("\n")
    return written + 2


def measure(path: Path) -> dict[str, float]:
    """Seconds, runs and peak memory of ingesting the log in this process."""
    from cvfp_core.ingesting.run import ingest
    from cvfp_core.registry import installed

    registry = installed()
    start, busy = time.perf_counter(), time.process_time()
    made = ingest([path], registry)
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    (file,) = made.files
    assert file.problem is None, file.problem
    assert not file.reported, file.messages
    return {
        "seconds": seconds, "cpu": busy, "runs": made.records.height,
        "lines": file.lines.record + file.lines.curve + file.lines.noise,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=200_000)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure(asked.one)))
        return
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for name, factor, longer in (("", 1, 1), ("ten times the runs", 10, 1), ("runs ten times as long", 10, 10)):
            path = Path(folder) / f"{factor}.txt"
            write_log(path, asked.lines * factor, longer)
            size = path.stat().st_size / 1e6
            command = [sys.executable, __file__, "--one", str(path)]
            each = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            results.append(each)
            ratio = f" ({each['peak_mb'] / results[0]['peak_mb']:.2f} x; {name})" if name else ""
            print(f"{each['lines']:>10,.0f} lines {size:8.1f} MB {each['runs']:>8,.0f} runs {each['seconds']:7.2f} s "
                  f"{each['lines'] / each['seconds']:>8,.0f} lines/s "
                  f"({each['lines'] / each['cpu']:,.0f} a CPU second), peak {each['peak_mb']:.0f} MB{ratio}")


if __name__ == "__main__":
    main()
