"""Console-log lines per second, and peak memory at ten times the lines; a table of many rows, folders of a run each,
one log repeated, a Parquet file of many equal rows.

Console logs are those of new-llm and, each line a point, of trainers that are read by grammars.

    python benchmarks/ingest.py [--lines 200000] [--count 100000] [--megabytes 300]

Every measurement is a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import random
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


POINTS = {
    "nanogpt": "iter {step}: loss {loss:.4f}, time 301.{more:02d}ms, mfu 40.{more:02d}%\n",
    "megatron": " [2026-01-02 03:04:05] iteration {step:8d}/ 1000000 | consumed samples: {samples:12d} | elapsed time "
                "per iteration (ms): 837.6 | learning rate: 1.500000E-04 | global batch size:   512 | lm loss: "
                "{loss:.6E} | loss scale: 1.0 | grad norm: 0.{more:02d} | number of skipped iterations:   0 |\n",
    "torchtitan": "[rank0]:[titan] 2026-01-02 03:04:05,678 - root - INFO - step: {step:2}  loss: {loss:8.5f}  "
                  "grad_norm:  1.{more:02d}  memory:  1.21GiB(0.86%)  tps: 5,756  tflops: 0.41  mfu: 0.04%\n",
}
"""A point as each of three trainers prints it."""


def write_points(path: Path, point: str, lines: int) -> None:
    """Writes a run of so many points."""
    with path.open("w", encoding="utf-8") as file:
        for step in range(1, lines + 1):
            file.write(point.format(step=step, loss=3 + 100 / (step + 20), samples=512 * step, more=step % 100))


def write_table(path: Path, rows: int, seed: int = 0) -> None:
    """Writes a table of made-up runs, its columns under other names than the quantities they hold."""
    rng = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        file.write("n_params,n_tokens,flops,learning_rate,optimizer,loss\n")
        for _ in range(rows):
            n, d = 10 ** rng.uniform(6, 9), 10 ** rng.uniform(8, 11)
            file.write(f"{n:.0f},{d:.0f},{6 * n * d:.6e},{10 ** rng.uniform(-4, -2):.3g},{rng.choice(['adam', 'sgd'])},"
                       f"{1.8 + 400 / n**0.34 + 2000 / d**0.36 + rng.gauss(0, 0.01):.5f}\n")


def write_folders(path: Path, count: int) -> None:
    """Writes folders of a run each: its history and its configuration."""
    for number in range(count):
        folder = path / f"run{number}"
        folder.mkdir(parents=True)
        steps = "".join(f"{step},{5 - step / 100:.3f},{5.1 - step / 100 - number * 1e-5:.5f},{step * 1000}\n"
                        for step in range(10, 60, 10))
        (folder / "metrics.csv").write_text(f"step,loss,val_loss,tokens\n{steps}", encoding="utf-8")
        (folder / "config.json").write_text(json.dumps({"model": {"n_layer": 4, "n_embd": 256 + number}, "lr": 6e-4}),
                                            encoding="utf-8")


def write_repeated(path: Path, megabytes: int) -> None:
    """Writes one log of a few runs again and again, until it is as large."""
    write_log(path, 400)
    content = path.read_bytes()
    with path.open("wb") as file:
        for _ in range(megabytes * 1_000_000 // len(content)):
            file.write(content)


def measure(path: Path) -> dict[str, float]:
    """Seconds, runs and peak memory of ingesting the log in this process."""
    from cvfp_core.ingesting.run import ingest
    from cvfp_core.registry import installed

    registry = installed()
    start, busy = time.perf_counter(), time.process_time()
    made = ingest([path], registry)
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    for file in made.files:
        assert file.problem is None, file.problem
        assert not file.reported, file.messages
    return {
        "seconds": seconds, "cpu": busy, "runs": made.records.height,
        "lines": sum(file.lines.record + file.lines.curve + file.lines.noise for file in made.files),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def alone(path: Path) -> dict[str, float]:
    """`measure` in a process of its own."""
    command = [sys.executable, __file__, "--one", str(path)]
    made: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return made


def refusal(path: Path, rows: int) -> str:
    """How a Parquet file of so many equal rows ends, and after how many seconds."""
    import polars as pl

    from cvfp_core.ingesting.run import ingest
    from cvfp_core.registry import installed

    pl.select(params=pl.repeat(1e6, rows), val_loss=pl.repeat(3.0, rows)).write_parquet(path)
    registry, start = installed(), time.perf_counter()
    problem = ingest([path], registry).files[0].problem
    return f"{problem} ({path.stat().st_size / 1e3:.0f} kB) after {time.perf_counter() - start:.2f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=200_000)
    parser.add_argument("--count", type=int, default=100_000, help="rows of the table; a tenth as many folders")
    parser.add_argument("--megabytes", type=int, default=300, help="of one log, repeated")
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
            each = alone(path)
            results.append(each)
            ratio = f" ({each['peak_mb'] / results[0]['peak_mb']:.2f} x; {name})" if name else ""
            print(f"{each['lines']:>10,.0f} lines {size:8.1f} MB {each['runs']:>8,.0f} runs {each['seconds']:7.2f} s "
                  f"{each['lines'] / each['seconds']:>8,.0f} lines/s "
                  f"({each['lines'] / each['cpu']:,.0f} a CPU second), peak {each['peak_mb']:.0f} MB{ratio}")
        for name, point in POINTS.items():
            path = Path(folder) / f"{name}.log"
            write_points(path, point, asked.lines)
            size, each = path.stat().st_size / 1e6, alone(path)
            print(f"{each['lines']:>10,.0f} lines {size:8.1f} MB of {name}: {each['lines'] / each['cpu']:,.0f} lines, "
                  f"{size / each['cpu']:.1f} MB a CPU second, peak {each['peak_mb']:.0f} MB")
        write_table(Path(folder) / "table.csv", asked.count)
        write_folders(Path(folder) / "folders", asked.count // 10)
        write_repeated(Path(folder) / "tenth.txt", asked.megabytes // 10)
        write_repeated(Path(folder) / "repeated.txt", asked.megabytes)
        for what, name in (("rows of a table", "table.csv"), ("folders", "folders"),
                           (f"{asked.megabytes // 10} MB of one log", "tenth.txt"),
                           (f"{asked.megabytes} MB of one log", "repeated.txt")):
            each = alone(Path(folder) / name)
            print(f"{each['runs']:>10,.0f} runs of {what} {each['seconds']:.2f} s ({each['cpu']:.2f} CPU), "
                  f"peak {each['peak_mb']:.0f} MB")
        print(refusal(Path(folder) / "many.parquet", 200 * asked.count))


if __name__ == "__main__":
    main()
