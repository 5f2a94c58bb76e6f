"""Grids small enough to be trained in tests: a text corpus, a narrow model, a few iterations."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from typer.testing import CliRunner

from cvfp_core.cli.app import app

SHORT = ("--set", "phase1.max_iterations=4", "--set", "phase2.epochs=2")


def corpus(folder: Path, *, documents: int = 60) -> Path:
    """A text file of short documents between blank lines, all different."""
    animals, places = ("cat", "dog", "old crow", "grey mouse"), ("mat", "roof of the barn", "wall", "hill by the sea")
    file = folder / "corpus.txt"
    file.write_text("\n\n".join(
        f"The {animals[i % 4]} number {i} sat on the {places[i // 4 % 4]} and saw {i * i} birds fly home."
        for i in range(documents)
    ), encoding="utf-8")
    return file


def options(folder: Path, *, variants=("1L_16d_1tok",), samples="4,8,16", short=SHORT, jobs=1) -> list[str]:
    """Options of `cvfp run` for the corpus in the folder."""
    return [
        *(part for variant in variants for part in ("--variant", variant)),
        *("--corpus", "text", "--set", f"corpus.path={folder / 'corpus.txt'}", "--set", "corpus.vocab_size=300"),
        *("--set", "corpus.embed_dim=16", *(("--samples", samples) if samples else ())),
        *("--out", str(folder / "runs"), "--set", "device=cpu", "--jobs", str(jobs), *short),
    ]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a `cvfp` of its own: one thread, warnings are errors, its cache in the folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CVFP_")}
    return kept | {
        "OMP_NUM_THREADS": "1", "CVFP_CACHE": str(folder / "cache"), "COLUMNS": "120", "PYTHONWARNINGS": "error",
        "CVFP_SYNC": "0",
    } | more


def start(*arguments: object, folder: Path, **more: str) -> subprocess.Popen[str]:
    """`cvfp` with the arguments, as a process in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", "from cvfp_core.cli import main; main()", *map(str, arguments)],
        cwd=folder, env=environment(folder, **more), start_new_session=True, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )


def cvfp(*arguments: object, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """What `cvfp` with the arguments printed, and its exit code."""
    with start(*arguments, folder=folder, **more) as process:
        out, err = process.communicate(timeout=900)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def in_process(*arguments: object, folder: Path, code: int = 0):
    """What `cvfp` with the arguments printed, called in this process, after it ended with that exit code."""
    torch.set_num_threads(1)  # products this small wait for threads longer than they compute
    result = CliRunner().invoke(
        app, [str(each) for each in arguments], env={"CVFP_CACHE": str(folder / "cache"), "COLUMNS": "120"}
    )
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.stderr
    return result
