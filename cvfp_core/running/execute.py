"""Executes cells into a store: what is finished is skipped, what another process runs is left to it.

What becomes of a cell that does not end well is decided here, for all executors alike:

    a bug                   fails at once
    memory that ran out     is tried once more, with more of it or when the other cells are done
    a worker that was lost  is begun again, LOSSES times without a new checkpoint at the most
"""

from __future__ import annotations

import math
import os
import platform
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
from filelock import Timeout

from cvfp_core import registry as registries
from cvfp_core.errors import CvfpError, unwritten
from cvfp_core.registry import Registry
from cvfp_core.running.compute import Compute, Computer, Lost, Surroundings
from cvfp_core.schema import jobs, leases, store
from cvfp_core.schema.cells import Cell, Emit, Event
from cvfp_core.schema.jobs import Attempt, Ending, Heart
from cvfp_core.schema.leases import RunLock, Taken
from cvfp_core.schema.records import CURVE_SCHEMA, RunResult, frame

LOSSES = 3
"""Workers that a cell may lose, without getting on to another checkpoint, before it is left as failed."""


def execute_cells(cells: Sequence[Cell], folder: Path, emit: Emit) -> None:
    """Runs every cell that has no record and stores one.

    Any number of processes may be given the same cells and folder: each cell is run by one of them, and all return when
    all are done. A cell that raises is stored with status `failed` and the others go on; to have it tried again, forget
    that failure first. Raises CvfpError if a record cannot be stored.
    """
    if cells:
        with Worker(cells, folder, emit) as worker:
            worker.run()


class Worker:
    """Who executes cells of a grid, one at a time; while it is open, the store says what it is at.

    cells: all of the grid. compute: computes a cell, by default in this process; host, process: where that is.
    fate: asks the engine how an attempt ended whose worker never said so; None: it was lost.
    """

    _observing = threading.RLock()
    """Observers hear one thing at a time, also of workers in threads."""

    def __init__(self, cells: Sequence[Cell], folder: Path, emit: Emit, compute: Compute | None = None,
                 host: str = "", process: int = 0, registry: Registry | None = None,
                 fate: Callable[[Attempt], Ending | None] = lambda _: None) -> None:
        self.cells, self.folder, self.emit = cells, folder, emit
        self.registry = registry or registries.installed()
        self.compute = compute or Computer(self.registry)
        self.host, self.process, self.fate = host or platform.node(), process or os.getpid(), fate
        self.heart = Heart(folder, cells[0].job, self.host, self.process)
        self._by_id = {cell.run_id: cell for cell in cells}
        self._locks: dict[str, RunLock] = {}
        self._ended: dict[str, tuple[pl.DataFrame, pl.DataFrame]] = {}
        self._short: set[str] = set()
        self._unnoted = ""
        self._said_unlocked = False
        self.leaving = False
        """Whether it is to end soon: told by `leave`."""

    def __enter__(self) -> Worker:
        self.heart.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self.heart.__exit__(*raised)

    def leave(self) -> None:
        """Has `run` end soon, its cell left at a checkpoint that is due now; for handlers of signals."""
        self.leaving = True

    def run(self) -> None:
        """Executes what is free, and again and again looks at what others are at: they may die."""
        waiting = sorted(_after_earlier(self.cells), key=self._lost)  # one that ends its process costs no other cell
        while waiting and not self.leaving:
            roomy = all(cell.run_id in self._short for cell in waiting)
            held = [cell for cell in waiting if self.leaving or not self.attempt(cell, roomy=roomy)]
            if len(held) == len(waiting) and (roomy or not all(cell.run_id in self._short for cell in held)):
                time.sleep(min(5.0, 0.1 + 0.01 * len(held)))
            waiting = held

    def attempt(self, cell: Cell, *, roomy: bool = True) -> bool:
        """Runs the cell if it has no record. False: it is left for later, to another process or to more memory.

        roomy: whether there is now more memory for cells that ran out of it: no neighbours, or a larger share.
        """
        if store.recorded(self.folder, cell.run_id):
            return True
        lock = self._locks.setdefault(cell.run_id, store.lock(self.folder, cell.run_id))
        try:
            with lock.acquire(timeout=0):
                return store.recorded(self.folder, cell.run_id) or self._begin(cell, lock, roomy)
        except Timeout:
            if lock.unlocked and not self._said_unlocked:
                self._said_unlocked = True
                self._warn(cell, f"locks of files in '{self.folder}' do not hold between {platform.node()} and "
                                 f"{lock.unlocked}; cells of a host that dies are begun again after "
                                 f"{leases.STALE:.0f} s")
        except Taken as error:
            self._warn(cell, str(error))
        except OSError as error:
            raise unwritten(error, error.filename or self.folder) from error
        return False

    def _begin(self, cell: Cell, lock: RunLock, roomy: bool) -> bool:
        """Runs a cell that nobody is at, as far as what became of it before allows."""
        before, checkpoint = self._attempts(cell), store.standing(self.folder, cell.run_id)
        lost = jobs.lost(before, cell.job, checkpoint)
        hosts = ", ".join(sorted({each.host for each in lost}))
        short = jobs.short_of_memory(before, cell.job)
        if len(lost) >= LOSSES or len(short) > 1:
            from cvfp_core.protocol.record import record

            why = (f"lost {len(lost)} workers ({hosts})" if len(lost) >= LOSSES else
                   f"out of memory {len(short)} times ({', '.join(sorted({each.host for each in short}))})")
            self._store(cell, RunResult(record=record(cell, None, {}, "failed", why)), before)
            return True
        if short and not roomy:
            self._short.add(cell.run_id)
            return False
        if lost:
            self._warn(cell, f"begun again, having lost {len(lost)} of at most {LOSSES} workers ({hosts})")
        elif ended := self._lost(cell):
            self._warn(cell, f"its process ended in it {'once' if ended == 1 else f'{ended} times'} before, and never "
                             "said how; it is tried again after the other cells")
        made = Attempt(job=cell.job, host=self.host, process=self.process, checkpoint=checkpoint)
        jobs.attempt(self.folder, cell.run_id, made)
        self.heart.begin(cell.run_id)
        try:
            if not short:
                return self._execute(cell, lock, before)
            with store.lock(self.folder, f"memory@{self.host}"):  # such cells are no neighbours of each other either
                return self._execute(cell, lock, before)
        except Lost as error:
            if error.out_of_memory:
                jobs.ended(self.folder, cell.run_id, self.host, self.process, "memory")
            self._warn(cell, str(error))
            return False
        except Taken:
            raise
        except BaseException:
            jobs.ended(self.folder, cell.run_id, self.host, self.process, "interrupted")
            raise
        finally:
            self.heart.begin(None)

    def _lost(self, cell: Cell) -> int:
        """Attempts at the cell, also by earlier commands, of which nobody said how they ended."""
        return sum(each.ended is None for each in jobs.attempts(self.folder, cell.run_id))

    def _attempts(self, cell: Cell) -> list[Attempt]:
        """Those at a cell that nobody is at, and how each ended as far as anybody knows."""
        for each in jobs.attempts(self.folder, cell.run_id):
            if each.ended is None and each.job == cell.job and (how := self.fate(each)):
                jobs.ended(self.folder, cell.run_id, each.host, each.process, how)
        return jobs.attempts(self.folder, cell.run_id)

    def _execute(self, cell: Cell, lock: RunLock, before: Sequence[Attempt]) -> bool:
        columns: Mapping[str, Any] | None = None
        begun, stood = False, None

        def tell(event: Event) -> None:
            nonlocal begun, stood
            lock.check()
            if self.leaving:
                standing = store.standing(self.folder, cell.run_id)
                if stood not in (None, standing):
                    raise Lost("its worker was told to end; another one goes on from the checkpoint")
                stood = standing
            values = event.values
            if not begun and columns is not None and event.kind != "warning":
                begun = True
                resumed = event.kind == "run_resumed" and values["phase"] == 2
                note(store.begin, columns, int(str(values["step"])) if resumed else 0)
            self.emit(event)
            if event.kind == "phase_finished":
                self._observe("cvfp_phase_finished", cell, phase=values["phase"],
                              metrics={name: value for name, value in values.items() if name != "phase"})
            elif event.kind == "phase1_iteration":
                self.heart.at(1, int(str(values["iteration"])), _finite(values["loss"]))
            elif event.kind == "phase2_epoch":
                ppl = _finite(values["val_ppl"])
                self.heart.at(2, int(str(values["epoch"])), ppl and math.log(ppl))
                note(store.go_on, cell.run_id, values)

        def note(how: Callable[..., None], *what: object) -> None:
            """Notes where the cell stands, for who looks on; that it cannot be does not end the cell."""
            try:
                how(self.folder, *what)
            except OSError as error:
                text = (f"where cells stand cannot be noted in '{self.folder}': {error.strerror or error}; they go on "
                        "without")
                if self._unnoted != text:
                    self._unnoted = text
                    self._warn(cell, text)

        def begin(known: Mapping[str, Any]) -> None:
            nonlocal columns
            columns = known

        self.emit(Event(kind="run_started", run_id=cell.run_id, values={"train_tokens": cell.train_tokens}))
        self._observe("cvfp_run_started", cell)
        computed = self.compute(cell, Surroundings(
            tell=tell, begun=begin, earlier=lambda: self._earlier(cell),
            checkpoint=store.checkpoints(self.folder, cell.run_id), leaving=lambda: self.leaving))
        if computed.out_of_memory and not jobs.short_of_memory(before, cell.job):
            jobs.ended(self.folder, cell.run_id, self.host, self.process, "memory")
            self._warn(cell, f"{computed.result.record.reason}; it is tried once more when the other cells are done")
            self._short.add(cell.run_id)
            return False
        lock.renew()
        self._store(cell, computed.result, before, attempts=len(before) + 1)
        if not computed.out_of_memory:  # what failed for want of memory goes on when there is more
            store.clear_checkpoint(self.folder, cell.run_id)
        return True

    def _store(self, cell: Cell, result: RunResult, before: Sequence[Attempt], attempts: int = 0) -> None:
        """Stores the result of a cell and says so. before: attempts without one; attempts: how many with this one."""
        result = replace(result, record=replace(result.record, attempts=attempts or len(before),
                                                lost_workers=sum(each.ended is None for each in before)))
        try:
            store.write(self.folder, result, new=True)
        except FileExistsError:  # by who took the cell over from a process that stood still
            raise Taken("another process has stored a record of this cell; it counts") from None
        except OSError as error:
            raise unwritten(error, error.filename or self.folder) from error
        jobs.forget(self.folder, cell.run_id)
        self._observe("cvfp_run_finished", cell, record=result.row())
        self.emit(Event(kind="run_finished", run_id=cell.run_id, values=result.row()))

    def _earlier(self, cell: Cell) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Records and curves of the cells before it, when all are there. Of two cells one waits: the later."""
        for run_id in cell.earlier:
            if run_id not in self._ended:
                if run_id not in self._by_id and not store.recorded(self.folder, run_id):
                    raise CvfpError(f"{cell.run_id} is compared with {run_id}, which has no record and is none of "
                                    "the cells given; an executor gives every worker all cells")
                while not store.recorded(self.folder, run_id) and not self.attempt(self._by_id[run_id]):
                    if self.leaving:
                        raise Lost("its worker was told to end before the cells it looks at were done")
                    time.sleep(0.1)
                self.heart.begin(cell.run_id)
                self._ended[run_id] = store.read_run(self.folder, run_id)
        found = [self._ended[run_id] for run_id in cell.earlier]
        return (pl.concat([frame([]), *(records for records, _ in found)], how="diagonal_relaxed"),
                pl.concat([pl.DataFrame(schema=CURVE_SCHEMA), *(curves for _, curves in found)]))

    def _observe(self, hook: str, cell: Cell, **facts: object) -> None:
        with self._observing:
            failures = self.registry.notify(hook, cell=cell, **facts)
        for failure in failures:
            self._warn(cell, failure)

    def _warn(self, cell: Cell, text: str) -> None:
        self.emit(Event(kind="warning", run_id=cell.run_id, values={"text": text}))


def in_order(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The smallest cell, so that there soon is a result, then the largest first, so that none is left for the end.

    Where a rule compares cells with earlier ones, those come before them all the same; see `execute_cells`.
    """
    smallest, *others = sorted(cells, key=lambda cell: cell.train_tokens)
    return (smallest, *reversed(others))


def _after_earlier(cells: Sequence[Cell]) -> list[Cell]:
    """The cells, each after those it looks at, else as given: cells looked at are never more than the looker's own."""
    return sorted(cells, key=lambda cell: len(cell.earlier))


def _finite(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
