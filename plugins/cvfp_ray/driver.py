"""Hands the cells of a grid to actors on a Ray cluster, by what they need, and stores what comes back.

The driver holds the right to a cell while an actor computes it and is the only one that writes to the store. So nodes
need not share its folder, and when the driver or a node dies, another goes on at once.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cvfp_core import registry as registries
from cvfp_core.errors import CvfpError, UsageError
from cvfp_core.running.compute import Computed, Lost, Surroundings, corpora
from cvfp_core.running.execute import Worker as CellWorker
from cvfp_core.running.execute import in_order
from cvfp_core.running.needs import needs
from cvfp_core.schema import jobs as joblist
from cvfp_core.schema import store
from cvfp_core.schema.cells import Cell, Emit, Event
from cvfp_core.schema.settings import Scalar
from cvfp_core.version import __version__
from cvfp_ray.worker import Begun, WantsEarlier, Worker

_ANSWER = 5.0
"""Seconds in which a cluster answers."""
_LOOK = 0.2
"""Seconds between two looks at the grid, and before a cell that another process is at is tried again."""
_STARTS = 3
"""Workers that may fail to start one after the other."""
_GIB = 2**30


def run(cells: Sequence[Cell], folder: Path, jobs: int, emit: Emit, options: Mapping[str, Scalar | None]) -> None:
    """Executes the cells on the cluster, `jobs` at a time; 0: as many as it has room for, now and later.

    Raises UsageError before anything is submitted if there is no Ray, no such cluster, or a node that cannot take part.
    """
    try:
        import ray  # noqa: F401
    except ImportError:
        raise UsageError("executor 'ray' needs Ray, which is not installed; pip install 'cvfp[ray]'") from None
    with _connected(str(options["address"])):
        in_store = folder / "cvfp-store.json"
        nodes = _nodes(folder, in_store, cells, shared=options["checkpoints"] == "shared")
        shared = {"shared": True, "apart": False}.get(str(options["checkpoints"]))
        _Grid(cells, folder, jobs, emit, in_store, shared, nodes).run()


@contextmanager
def _connected(address: str) -> Iterator[None]:
    """Connects to the cluster, unless this program is connected to one."""
    import ray

    if ray.is_initialized():
        yield
        return
    host, _, port = address.rpartition(":")
    if address not in ("auto", "local"):
        if "://" in address or not (host and port.isdecimal()):
            raise UsageError(f"executor.address must be HOST:PORT, auto or local, not '{address}'")
        try:
            socket.create_connection((host, int(port)), _ANSWER).close()
        except OSError as error:
            raise UsageError(f"no Ray cluster answers at {address} ({error.strerror or error}); start one with `ray "
                             "start --head`, or say executor.address=local") from None
    at_signal = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False,
                 **({"include_dashboard": False} if address == "local" else {}))
    except Exception as error:
        why = " ".join(str(error).split()).partition(". ")[0]
        advice = ("start one with `ray start --head`, or say executor.address=local" if address == "auto" else
                  "if it asks for a token, set RAY_AUTH_MODE=token")
        raise UsageError(f"cannot join the Ray cluster '{address}': {why}; {advice}") from None
    ray._private.worker.print_to_stdstream = lambda *_data, **_named: None  # it would print among our data, on stdout
    try:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, at_signal)  # Ray puts its own there
        yield
    finally:
        ray.shutdown()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Nodes:
    """The largest node's memory in GiB, and the bytes of the smallest GPU."""

    gib: int
    gpu_memory: int


def _nodes(folder: Path, in_store: Path, cells: Sequence[Cell], *, shared: bool) -> _Nodes:
    """What the nodes have. Raises UsageError for one that cannot take part, and for GPUs that none has.

    A node can take part that has this version of cvfp and, where checkpoints are shared, sees the store.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def facts(file: str) -> tuple[str, str, bool, int]:  # travels by value: a node without cvfp can run it
        sees, smallest = Path(file).exists(), 0
        if shutil.which("nvidia-smi"):
            told = subprocess.run(["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"],
                                  capture_output=True, text=True, check=False).stdout
            smallest = min((int(line) * 2**20 for line in told.split() if line.isdecimal()), default=0)
        try:
            from cvfp_core.version import __version__
        except ImportError:
            return socket.gethostname(), "", sees, smallest
        return socket.gethostname(), __version__, sees, smallest

    nodes = [node for node in ray.nodes() if node["Alive"]]
    asked = [ray.remote(facts).options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(
        node["NodeID"], soft=False)).remote(str(in_store.resolve())) for node in nodes]
    answers = ray.get(asked)
    for host, version, sees, _ in answers:
        if version != __version__:
            raise UsageError(f"node {host} has {f'cvfp {version}' if version else 'no cvfp'}, and this is cvfp "
                             f"{__version__}; install the same on all nodes")
        if shared and not sees:
            raise UsageError(f"node {host} does not see '{folder}'; choose a folder that all nodes share with --out, "
                             "or say executor.checkpoints=apart")
    gpus = any(node["Resources"].get("GPU") for node in nodes)
    if not gpus and any(cell.device.startswith("cuda") for cell in cells):
        raise UsageError(f"cells ask for {cells[0].device}, and no node of the cluster has a GPU; say --device cpu")
    return _Nodes(gib=int(max(node["Resources"].get("memory", 0) for node in nodes) // _GIB),
                  gpu_memory=min((memory for *_, memory in answers if memory), default=0))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Room:
    """What an actor has of its node: cells that need the same can follow each other in it."""

    cores: int
    gpu: float
    gib: int


class _Grid:
    """The cells that have no record, and the actors that are at them."""

    def __init__(self, cells: Sequence[Cell], folder: Path, jobs: int, emit: Emit, in_store: Path,
                 shared: bool | None, nodes: _Nodes) -> None:
        import ray

        self.cells, self.folder, self.jobs, self.emit, self.shared = cells, folder, jobs or len(cells), emit, shared
        self.registry = registries.installed()
        self.nodes, self.failed_starts = nodes, 0
        self.waiting, self.at_work = list(in_order(cells)), 0
        self.slots: list[_Slot] = []
        self.lock = threading.RLock()
        self.failure: BaseException | None = None
        self.stopping = False
        loaded = corpora(cells, self.registry)
        self.needs = needs(cells, self.registry, loaded)
        self.rooms = {cell.run_id: self._room(cell) for cell in cells}
        self.corpora = {key: ray.put(corpus) for key, corpus in loaded.items()}
        self.in_store = in_store.resolve()

    def run(self) -> None:
        """Returns when every cell has a record."""
        try:
            while self.failure is None and (self.waiting or self.at_work):
                self._fill()
                time.sleep(_LOOK)
        finally:
            self.stopping = True
            for slot in self.slots:
                slot.kill()
            for slot in self.slots:
                slot.thread.join()
        if self.failure is not None:
            raise self.failure

    def hear(self, event: Event) -> None:
        with self.lock:
            self.emit(event)

    def take(self, room: _Room) -> Cell | None:
        """The next cell for an actor with that room; None: there is none, so the actor makes room for others."""
        with self.lock:
            cell = next((cell for cell in self.waiting if self.rooms[cell.run_id] == room), None)
            if cell is not None and not self.stopping:
                self.waiting.remove(cell)
                self.at_work += 1
                return cell
            return None

    def done(self, cell: Cell, recorded: bool) -> None:
        with self.lock:
            self.at_work -= 1
            if not recorded:
                self.rooms[cell.run_id] = self._room(cell)
                self.waiting.append(cell)

    def _room(self, cell: Cell) -> _Room:
        """What the cell is given, in steps, and no more than the largest node has; more if it ran out of memory."""
        asked = self.needs[cell.run_id]
        if joblist.short_of_memory(joblist.attempts(self.folder, cell.run_id), cell.job):
            asked = asked.with_more_memory()
        gib = 1 << max(0, (asked.memory - 1) // _GIB).bit_length()
        return _Room(cores=asked.cores, gpu=asked.gpu_share(self.nodes.gpu_memory), gib=min(gib, self.nodes.gib))

    def _fill(self) -> None:
        """Has actors started while there is room for more; one waits for a node that may join."""
        import ray

        self.slots = [slot for slot in self.slots if slot.thread.is_alive()]
        with self.lock:
            wanted = Counter(self.rooms[cell.run_id] for cell in self.waiting)
        free = ray.available_resources()
        for room, count in wanted.items():
            coming = sum(slot.room == room and not slot.placed for slot in self.slots)
            fits = max(1, int(min(free.get("CPU", 0) / room.cores, free.get("GPU", 0) / room.gpu if room.gpu else 1e9)))
            for _ in range(min(count - coming, fits - coming, self.jobs - len(self.slots))):
                self.slots.append(_Slot(self, room))


class _Slot:
    """An actor and the thread of the driver that sees to it."""

    def __init__(self, grid: _Grid, room: _Room) -> None:
        import ray

        self.grid, self.room, self.placed = grid, room, False
        self.actor = ray.remote(Worker).options(
            num_cpus=room.cores, num_gpus=room.gpu, memory=room.gib * _GIB, max_concurrency=8,
        ).remote(grid.corpora, grid.in_store, room.cores, __version__)
        self.thread = threading.Thread(target=self._work, name="cvfp-ray", daemon=True)
        self.thread.start()

    def kill(self) -> None:
        import ray

        ray.kill(self.actor)

    def _work(self) -> None:
        try:
            self._cells()
        except KeyboardInterrupt:
            pass
        except BaseException as error:  # a full disk, or an error of the core: `run` raises it
            self.grid.failure = self.grid.failure or error
        finally:
            self.kill()

    def _cells(self) -> None:
        import ray

        try:
            host, process = ray.get(self.actor.place.remote())
        except ray.exceptions.RayActorError as error:
            self.grid.failed_starts += 1
            if not self.grid.stopping and self.grid.failed_starts >= _STARTS:
                raise CvfpError(f"{_STARTS} workers of Ray could not start, the last one: "
                                f"{' '.join(str(error).split())[-300:]}") from None
            return
        self.placed, self.grid.failed_starts = True, 0
        with CellWorker(self.grid.cells, self.grid.folder, self.grid.hear, self._compute, host, process,
                        self.grid.registry) as worker:
            self.lost = False
            while not self.lost and (cell := self.grid.take(self.room)) is not None:
                recorded = False
                try:
                    recorded = worker.attempt(cell)
                finally:
                    self.grid.done(cell, recorded)
                if not recorded and not self.lost:
                    time.sleep(_LOOK)

    def _compute(self, cell: Cell, sees: Surroundings) -> Computed:
        """Has the actor compute the cell."""
        import ray

        try:
            checkpoint = store.checkpoints(self.grid.folder.resolve(), cell.run_id)
            for said in self.actor.compute.remote(cell, checkpoint, self.grid.shared):
                for item in ray.get(said):
                    if isinstance(item, Computed):
                        return item
                    if isinstance(item, Begun):
                        sees.begun(item.columns)
                    elif isinstance(item, WantsEarlier):
                        self.actor.answer.remote(cell.run_id, sees.earlier())
                    else:
                        sees.tell(item)
        except ray.exceptions.RayTaskError as error:
            raise CvfpError(f"{cell.run_id}: {' '.join(str(error.cause).split())}") from error
        except ray.exceptions.RayError as error:
            if self.grid.stopping:
                raise KeyboardInterrupt from None
            self.lost = True
            memory = isinstance(error, ray.exceptions.OutOfMemoryError) or "low on memory" in str(error)
            raise Lost(f"its worker is lost ({'out of memory' if memory else 'killed, or its node is gone'})",
                       out_of_memory=memory) from None
        raise CvfpError(f"{cell.run_id}: the worker ended without a result")
