"""A made grid of quick cells, executed while a worker and then the driver are killed: `check_executor`."""

from __future__ import annotations

import os
import pickle
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from cvfp_core.errors import UsageError
from cvfp_core.registry.kinds import Executor
from cvfp_core.running.execute import execute_cells
from cvfp_core.running.run import prepare
from cvfp_core.schema import jobs as joblist
from cvfp_core.schema import options, store
from cvfp_core.schema.cells import Cell
from cvfp_core.schema.jobs import Attempt
from cvfp_core.schema.settings import Scalar
from cvfp_core.testing.expecting import expect

_LOOK = 0.02
_SETTINGS = ("phase1.max_iterations=30", "phase1.convergence_threshold=1e-9", "phase2.epochs=6",
             "shortcuts.checkpoint_seconds=0", "corpus.vocab_size=300", "corpus.embed_dim=16")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a driver is to execute; it is pickled."""

    executor: Executor
    cells: tuple[Cell, ...]
    folder: Path
    jobs: int
    options: Mapping[str, Scalar | None]


def check(executor: Executor, given: Mapping[str, Scalar | None], jobs: int, kill: Callable[[Attempt], None],
          seconds: float) -> None:
    if jobs < 2:
        raise UsageError(f"check_executor kills a worker beside another one; it takes jobs of 2 or more, not {jobs}")
    with tempfile.TemporaryDirectory(prefix="cvfp-executor-") as name:
        folder = Path(name)
        cells = made_cells(folder, 6)
        whole, disturbed = (store.create(folder / each) for each in ("whole", "disturbed"))
        _undisturbed(cells, whole)
        asked = Asked(executor=executor, cells=tuple(replace(cell, job="first") for cell in cells), folder=disturbed,
                      jobs=jobs, options=options.resolve("executor", executor.options, given))
        until = time.monotonic() + seconds
        driver = start(asked, folder / "first")
        try:
            killed = _kill_worker(asked, driver, kill, until)
            _await(lambda: store.recorded(disturbed, killed) or len(records(disturbed)) > 1, driver, until,
                   "cells stored after a worker was killed")
        finally:
            driver.kill()
            driver.communicate()
        before = records(disturbed)
        left = tuple(replace(cell, job="second") for cell in cells if cell.run_id not in before)
        expect(bool(left), "cells left when the driver is killed", "some", "none: the executor needs no driver")
        with start(replace(asked, cells=left), folder / "second") as driver:
            try:
                out, err = driver.communicate(timeout=max(1.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                driver.kill()
                raise AssertionError(f"a driver begun again did not end within {seconds:.0f} s; "
                                     f"{len(records(disturbed))} of {len(cells)} cells are stored") from None
        expect(driver.returncode == 0, "a driver begun again", "exit code 0", f"{driver.returncode}: {err[-500:]}")
        told = out.split()
        expect(len(told) == len(set(told)), "cells whose end is told", "each once", " ".join(sorted(told)))
        _compare(whole, disturbed, killed)


def made_cells(folder: Path, count: int) -> tuple[Cell, ...]:
    """Cells of about a second on a slow machine, of a corpus of made-up sentences in the folder."""
    text = folder / "corpus.txt"
    text.write_text("\n\n".join(f"The cat number {number} saw {number * number} birds fly over hill {number % 7}."
                                for number in range(60)), encoding="utf-8")
    samples = [4 + 2 * number for number in range(count)]
    return prepare(None, {"variants": ["1L_16d_1tok"], "samples": samples, "device": "cpu"},
                   ("corpus.name=text", f"corpus.path={text}", *_SETTINGS), out=folder).cells


def records(folder: Path) -> set[str]:
    """Run ids of the records there are."""
    return {file.stem for file in (folder / "records").glob("*.json")}


def start(asked: Asked, file: Path) -> subprocess.Popen[str]:
    """A driver in a process of its own, one thread; it prints the run ids of cells that end."""
    file.write_bytes(pickle.dumps(asked))
    code = "import sys; from cvfp_core.testing.executors import drive; drive(sys.argv[1])"
    return subprocess.Popen([sys.executable, "-c", code, str(file)], text=True, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"})


def drive(file: str) -> None:
    """What the driver's process does."""
    asked: Asked = pickle.loads(Path(file).read_bytes())
    executor = asked.executor
    executor.run(asked.cells, asked.folder, asked.jobs,
                 lambda event: print(event.run_id, flush=True) if event.kind == "run_finished" else None,
                 *([asked.options] if executor.options else []))


def end_process(attempt: Attempt) -> None:
    """Kills the worker of an attempt, which must run on this machine."""
    expect(attempt.host == platform.node(), "host of a worker", platform.node(), attempt.host)
    os.kill(attempt.process, signal.SIGKILL)


def at_work(cells: Sequence[Cell], folder: Path) -> dict[str, Attempt]:
    """The cells that somebody is at, by run id."""
    made = {cell.run_id: joblist.attempts(folder, cell.run_id)[-1:] for cell in cells}
    return {run_id: each for run_id, last in made.items() for each in last if each.ended is None}


def _undisturbed(cells: Sequence[Cell], folder: Path) -> None:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        execute_cells(cells, folder, lambda _event: None)
    finally:
        torch.set_num_threads(threads)


def _kill_worker(asked: Asked, driver: subprocess.Popen[str], kill: Callable[[Attempt], None], until: float) -> str:
    """Kills a worker that is at a cell, once there is a record, and returns the cell's run id."""
    found: dict[str, Attempt] = {}

    def ready() -> bool:
        found.clear()
        found.update(at_work(asked.cells, asked.folder) if records(asked.folder) else {})
        return bool(found)

    while True:
        _await(ready, driver, until, "a worker at a cell, in the store's jobs/attempts")
        run_id, attempt = next(iter(found.items()))
        expect(attempt.process != driver.pid or attempt.host != platform.node(), "workers of jobs=2",
               "processes beside the driver", "the driver itself")
        kill(attempt)
        if not store.recorded(asked.folder, run_id):
            return run_id


def _await(done: Callable[[], bool], driver: subprocess.Popen[str], until: float, what: str) -> None:
    while not done():
        if driver.poll() is not None:
            raise AssertionError(f"{what}: the driver ended before, exit code {driver.returncode}: "
                                 f"{driver.communicate()[1][-500:]}")
        if time.monotonic() > until:
            raise AssertionError(f"{what}: not within the time")
        time.sleep(_LOOK)


def _compare(whole: Path, disturbed: Path, killed: str) -> None:
    from cvfp_core.protocol.checkpoint import DISTURBED

    expected, found = (store.read(folder).sort("run_id") for folder in (whole, disturbed))
    failed = found.filter(pl.col("status") != "ok")
    expect(failed.is_empty(), "cells that ended well", "all", "; ".join(failed["reason"].fill_null("none")))
    expect(found["run_id"].equals(expected["run_id"]), "records", f"{expected.height}", f"{found.height}")
    for name in expected.columns:
        if name not in (*DISTURBED, "device"):
            expect(found[name].equals(expected[name]), f"column '{name}'", str(expected[name].to_list()),
                   found[name].to_list())
    lost = found.filter(pl.col("run_id") == killed)["lost_workers"].item()
    expect(lost >= 1, f"lost_workers of {killed}, whose worker was killed", "1 or more", lost)
