"""Grids on an engine whose workers, nodes and driver are killed: what is stored, what is wasted, how soon it goes on.

    python benchmarks/cluster.py [--engine local|ray|slurm] [--cells 40] [--long 2] [--kills 3] [--driver-kills 2]
    python benchmarks/cluster.py --engine ray --throughput 24

Cells sleep a tenth of a second an iteration, so that many workers fit on few cores; those of `--throughput` compute.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import cycle
from pathlib import Path

import polars as pl

from cvfp_core.protocol.checkpoint import DISTURBED
from cvfp_core.registry.kinds import Executor
from cvfp_core.running.execute import execute_cells
from cvfp_core.running.run import prepare
from cvfp_core.schema import options, store
from cvfp_core.schema.cells import Cell
from cvfp_core.schema.jobs import Attempt
from cvfp_core.schema.settings import Scalar
from cvfp_core.testing.executors import Asked, at_work, end_process, records, start

NAP = 0.1
"""Seconds an iteration sleeps."""
_MINUTES = 5
"""Time limit of a worker of Slurm, which tells it up to two and a half minutes before."""
PLUGIN = """
import os, time
from cvfp_core import hookimpl
from cvfp_core.registry.kinds import StopRule

def napping(name):
    def nap(iterations):
        with open({log!r} + name, "a") as file:
            file.write(".")
        time.sleep({nap})
    return nap

@hookimpl
def cvfp_stop_rules():
    return [StopRule(name="nap-" + name, title="sleeps", stops=napping(name)) for name in ("short", "long")]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An executor, its options, and what kills one of its workers."""

    executor: Executor
    options: Mapping[str, Scalar | None]
    kill: Callable[[Attempt], None]
    stays: bool = False
    """Whether workers live on when the driver is killed."""
    told: Callable[[], str] = lambda: ""
    """What else came of it, a line."""


@contextmanager
def local(workers: int) -> Iterator[Engine]:
    """Processes of this machine; one is killed at a time."""
    from cvfp_local import cvfp_executors

    del workers
    (executor,) = cvfp_executors()
    yield Engine(executor=executor, options={}, kill=end_process)


@contextmanager
def ray(workers: int) -> Iterator[Engine]:
    """A Ray cluster of one-core nodes on this machine; a node is killed and another one joins."""
    from ray.cluster_utils import Cluster

    from cvfp_ray import cvfp_executors

    node = {"num_cpus": 1, "object_store_memory": 80_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "num_cpus": 0, "include_dashboard": False})
    nodes = [cluster.add_node(**node) for _ in range(workers)]
    (executor,) = cvfp_executors()

    def replace_node(_attempt: Attempt) -> None:
        cluster.remove_node(nodes.pop(0), allow_graceful=False)
        nodes.append(cluster.add_node(**node))

    try:
        yield Engine(executor=executor, options=options.resolve("executor", executor.options,
                                                                {"address": cluster.address}), kill=replace_node)
    finally:
        cluster.shutdown()


@contextmanager
def slurm(workers: int) -> Iterator[Engine]:
    """A Slurm cluster of one-core nodes on this machine. By turns a worker is told that its time ends, is queued again
    by Slurm and is killed, and a node goes down and comes back.

    Slurm lets a task that is queued again wait for two minutes; that is noted, and it is started at once.
    """
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    import slurm_cluster
    from cvfp_slurm import cvfp_executors

    (executor,) = cvfp_executors()
    turn, delays, ends = cycle(("notice", "requeue", "kill", "node")), dict[str, float](), threading.Event()
    with tempfile.TemporaryDirectory() as name, slurm_cluster.running(Path(name) / "cluster", nodes=workers) as cluster:
        os.environ.update(cluster.environment)

        def hurry() -> None:
            while not ends.wait(0.5):
                with suppress(subprocess.CalledProcessError):  # a task may have ended meanwhile
                    for node in cluster.ask("sinfo", "-h", "-N", "-t", "drain", "-o", "%N").split():
                        cluster.ask("scontrol", "update", f"NodeName={node}", "State=RESUME")
                    for line in cluster.ask("squeue", "-h", "-r", "-o", "%i %S %r").splitlines():
                        task, start, why = line.split(maxsplit=2)
                        if why == "BeginTime":
                            wait = datetime.fromisoformat(start) - datetime.now()
                            delays[f"{task} {start}"] = wait.total_seconds()
                            cluster.ask("scontrol", "update", f"JobId={task}", "StartTime=now")

        def strike(attempt: Attempt) -> None:
            variables = Path(f"/proc/{attempt.process}/environ").read_bytes().decode().split("\0")
            job, node = (next(each.partition("=")[2] for each in variables if each.startswith(f"{key}="))
                         for key in ("SLURM_JOB_ID", "SLURMD_NODENAME"))
            how = next(turn)
            if how == "notice":
                cluster.ask("scancel", "--signal=USR2", job)
            elif how == "requeue":
                cluster.ask("scontrol", "requeue", job)
            elif how == "kill":
                end_process(attempt)
            else:  # it goes down with what runs there
                end_process(attempt)
                cluster.ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=benchmark")
                time.sleep(5)
                cluster.ask("scontrol", "update", f"NodeName={node}", "State=RESUME")

        def strike_one(attempt: Attempt) -> None:
            with suppress(OSError, subprocess.CalledProcessError):  # it may have ended meanwhile
                strike(attempt)

        thread = threading.Thread(target=hurry)
        thread.start()
        try:
            yield Engine(
                executor=executor, kill=strike_one, stays=True,
                options=options.resolve("executor", executor.options, {"partition": "main", "time": _MINUTES}),
                told=lambda: f"Slurm's own delay: {len(delays)} tasks queued again would have waited "
                f"{max(delays.values(), default=0.0):.0f} s each at the most")
        finally:
            ends.set()
            thread.join()


ENGINES: dict[str, Callable[[int], AbstractContextManager[Engine]]] = {"local": local, "ray": ray, "slurm": slurm}


def made_plugin(folder: Path) -> None:
    """Installs the stop rules that sleep, for this program and those it starts."""
    (folder / "made_naps.py").write_text(PLUGIN.format(log=str(folder / "log-"), nap=NAP), encoding="utf-8")
    info = folder / "made_naps-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: made-naps\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[cvfp]\nmade_naps = made_naps\n")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    sys.path.insert(0, str(folder))


def cells(folder: Path, count: int, iterations: int, samples: int = 4) -> tuple[Cell, ...]:
    """So many cells, alike but for their seeds, each of so many iterations of Phase 1."""
    text = folder / "corpus.txt"
    text.write_text("\n\n".join(f"The cat number {number} saw {number * number} birds fly over hill {number % 7}."
                                for number in range(60)), encoding="utf-8")
    assignments = ("corpus.name=text", f"corpus.path={text}", "corpus.vocab_size=300", "corpus.embed_dim=16",
                   f"phase1.max_iterations={iterations}", "phase1.convergence_threshold=1e-9", "phase2.epochs=2",
                   "shortcuts.checkpoint_seconds=2")
    return prepare(None, {"variants": ["1L_16d_1tok"], "samples": [samples], "seeds": list(range(count)),
                          "device": "cpu"}, assignments, out=folder).cells


def killed(engine: Engine, folder: Path, asked: argparse.Namespace) -> None:
    """Runs a grid while workers and drivers are killed, and prints what came of it."""
    short = [replace(cell, stop_rules=("nap-short",)) for cell in cells(folder, asked.cells, 10)]
    long = [replace(cell, stop_rules=("nap-long",)) for cell in cells(folder, asked.long, asked.iterations)]
    grid = [*short, *long]
    whole, disturbed = (store.create(folder / name) for name in ("whole", "disturbed"))
    execute_cells([replace(cell, stop_rules=()) for cell in grid], whole, lambda _event: None)
    began, kills, resumed = time.monotonic(), 0, []
    for number in range(asked.driver_kills + 1):
        done = records(disturbed)
        left = tuple(replace(cell, job=f"job-{number}") for cell in grid if cell.run_id not in done)
        again = time.monotonic()
        enough = len(grid) * (number + 1) / (asked.driver_kills + 1)
        driver = start(Asked(executor=engine.executor, cells=left, folder=disturbed, jobs=asked.workers,
                             options=engine.options), folder / f"asked-{number}")
        first, next_kill = True, time.monotonic() + asked.every
        while driver.poll() is None and (number == asked.driver_kills or len(records(disturbed)) < enough):
            time.sleep(0.05)
            at = [each for each in at_work(left, disturbed).values() if Path(f"/proc/{each.process}").exists()
                  and (engine.stays or each.job == f"job-{number}")]
            if first and (len(records(disturbed)) > len(done) if engine.stays else at):
                first = False
                resumed += [time.monotonic() - again] if number else []
            if at and time.monotonic() > next_kill and kills < asked.kills:
                kills, next_kill = kills + 1, time.monotonic() + asked.every
                engine.kill(at[-(kills % len(at))])
        if number < asked.driver_kills:
            driver.kill()
        out, err = driver.communicate()
        if number == asked.driver_kills and driver.returncode:
            sys.exit(f"the last driver ended with {driver.returncode}: {err[-2000:]}{out[-200:]}")
    seconds = time.monotonic() - began
    expected, found = (store.read(each).sort("run_id") for each in (whole, disturbed))
    columns = [name for name in expected.columns if name not in (*DISTURBED, "device")]
    equal = found.select(columns).equals(expected.select(columns))
    print(f"{asked.engine}: {found.height} of {len(grid)} cells stored once in {seconds:.0f} s, "
          f"{found.filter(pl.col('status') == 'ok').height} ok, equal to an undisturbed run's: {equal}; "
          f"{kills} workers or nodes killed, {asked.driver_kills} drivers")
    for name, part, iterations in (("short", short, 10), ("long", long, asked.iterations)):
        log = folder / f"log-{name}"
        executed = log.stat().st_size if log.exists() else 0
        stored = len(part) * (iterations - 1)  # the last iteration does not sleep
        lost = found.filter(pl.col("run_id").is_in([cell.run_id for cell in part]))["lost_workers"].sum()
        if part:
            print(f"  {name}: {len(part)} cells of {iterations * NAP:.0f} s, {executed} iterations executed for "
                  f"{stored}: {executed / stored - 1:.1%} wasted, {(executed - stored) * NAP:.1f} s in {lost} losses")
    what = "the next record" if engine.stays else "its first cell"
    print(f"  from a driver's restart to {what}: " + ", ".join(f"{each:.1f} s" for each in resumed))
    if engine.told():
        print(f"  {engine.told()}")


def throughput(engine: Engine, folder: Path, asked: argparse.Namespace) -> None:
    """Prints cells a second, after each worker's first, of the engine and of one process a core, by turns."""
    for turn in range(asked.turns):
        rates = []
        for name, each in ((asked.engine, engine), ("processes", None)):
            grid = tuple(replace(cell, job=name) for cell in cells(folder, asked.throughput, 200, samples=50))
            into = store.create(folder / f"{name}-{turn}")
            if each is None:
                with local(asked.workers) as each:
                    rates.append(_rate(each, grid, into, folder, asked.workers))
            else:
                rates.append(_rate(each, grid, into, folder, asked.workers))
        print(f"turn {turn + 1}: {asked.engine} {rates[0]:.2f} cells/s, one process a core {rates[1]:.2f}: "
              f"{rates[0] / rates[1]:.0%}", flush=True)


def _rate(engine: Engine, grid: Sequence[Cell], into: Path, folder: Path, workers: int) -> float:
    driver: subprocess.Popen[str] = start(Asked(executor=engine.executor, cells=tuple(grid), folder=into, jobs=workers,
                                                options=engine.options), folder / "asked")
    assert driver.stdout is not None
    ends = [time.monotonic() for _line in driver.stdout]
    driver.communicate()
    return (len(ends) - workers) / (ends[-1] - ends[workers - 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=sorted(ENGINES), default="local")
    parser.add_argument("--workers", type=int, default=2, help="at a time")
    parser.add_argument("--cells", type=int, default=40, help="cells of a second")
    parser.add_argument("--long", type=int, default=2, help="longer cells")
    parser.add_argument("--iterations", type=int, default=120, help="of a longer cell, a tenth of a second each")
    parser.add_argument("--kills", type=int, default=3, help="workers or nodes that are killed")
    parser.add_argument("--every", type=float, default=8.0, help="seconds between these")
    parser.add_argument("--driver-kills", type=int, default=2)
    parser.add_argument("--throughput", type=int, default=0, help="cells that compute; measures nothing else")
    parser.add_argument("--turns", type=int, default=2, help="of --throughput")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        made_plugin(folder)
        with ENGINES[asked.engine](asked.workers) as engine:
            (throughput if asked.throughput else killed)(engine, folder, asked)


if __name__ == "__main__":
    main()
