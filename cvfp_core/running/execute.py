"""Executes cells into a store: what is finished is skipped, what another process runs is left to it."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import polars as pl
from filelock import Timeout

from cvfp_core import registry as registries
from cvfp_core.errors import CvfpError
from cvfp_core.registry import Registry, culprits
from cvfp_core.registry.guard import tidy
from cvfp_core.registry.kinds import MCDL, Corpus, Objective, Quantity, VariantFamily
from cvfp_core.running.corpora import load_corpus
from cvfp_core.running.objectives import term
from cvfp_core.schema import leases, store
from cvfp_core.schema.cells import Cell, Emit, Event
from cvfp_core.schema.leases import RunLock, Taken
from cvfp_core.schema.records import CURVE_SCHEMA, RunResult, frame


def execute_cells(cells: Sequence[Cell], folder: Path, emit: Emit) -> None:
    """Runs every cell that has no record and stores one.

    Any number of processes may be given the same cells and folder: each cell is run by one of them, and all return when
    all are done. A cell that raises is stored with status `failed` and the others go on; to have it tried again, forget
    that failure first. Raises CvfpError if a record cannot be stored.
    """
    registry = registries.installed()
    corpora: dict[str, Corpus] = {}
    by_id = {cell.run_id: cell for cell in cells}
    locks: dict[str, RunLock] = {}
    ended: dict[str, tuple[pl.DataFrame, pl.DataFrame]] = {}
    told = False

    def attempt(cell: Cell) -> bool:
        """Runs the cell if it has no record. False: another process is at it."""
        nonlocal told
        if store.recorded(folder, cell.run_id):
            return True
        lock = locks.setdefault(cell.run_id, store.lock(folder, cell.run_id))
        try:
            with lock.acquire(timeout=0):
                if not store.recorded(folder, cell.run_id):
                    _execute(cell, folder, registry, corpora, emit, lock, lambda: earlier(cell))
            return True
        except Timeout:
            if lock.unlocked and not told:
                told = True
                emit(Event(kind="warning", run_id=cell.run_id, values={"text": (
                    f"locks of files in '{folder}' do not hold between {platform.node()} and {lock.unlocked}; "
                    f"cells of a host that dies are begun again after {leases.STALE:.0f} s")}))
        except Taken as error:
            emit(Event(kind="warning", run_id=cell.run_id, values={"text": str(error)}))
        return False

    def earlier(cell: Cell) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Records and curves of the cells before it, when all are there. Of two cells one waits: the later."""
        for run_id in cell.earlier:
            if run_id not in ended:
                if run_id not in by_id and not store.recorded(folder, run_id):
                    raise CvfpError(f"{cell.run_id} is compared with {run_id}, which has no record and is none of "
                                    "the cells given; an executor gives every worker all cells")
                while not store.recorded(folder, run_id) and not attempt(by_id[run_id]):
                    _pause(1)
                ended[run_id] = store.read_run(folder, run_id)
        found = [ended[run_id] for run_id in cell.earlier]
        return (pl.concat([frame([]), *(records for records, _ in found)], how="diagonal_relaxed"),
                pl.concat([pl.DataFrame(schema=CURVE_SCHEMA), *(curves for _, curves in found)]))

    waiting = _in_order(cells)
    while waiting:  # what is free, and again and again what others are at: they may die
        held = [cell for cell in waiting if not attempt(cell)]
        if len(held) == len(waiting):
            _pause(len(held))
        waiting = held


def _pause(held: int) -> None:
    """Waits before so many cells that others are at are looked at again."""
    time.sleep(min(5.0, 0.1 + 0.01 * held))


def _in_order(cells: Sequence[Cell]) -> list[Cell]:
    """The cells, each after those it looks at, else as given: cells looked at are never more than the looker's own."""
    return sorted(cells, key=lambda cell: len(cell.earlier))


def _execute(cell: Cell, folder: Path, registry: Registry, corpora: dict[str, Corpus], emit: Emit, lock: RunLock,
             earlier: Callable[[], tuple[pl.DataFrame, pl.DataFrame]]) -> None:
    from cvfp_core.protocol.checkpoint import Checkpoint
    from cvfp_core.protocol.record import corpus_columns, record
    from cvfp_core.protocol.run import run_cell

    begun = out_of_memory = False
    columns: dict[str, object] = {}

    def tell(event: Event) -> None:
        nonlocal begun
        lock.check()
        if not begun and event.kind != "warning":
            begun = True
            resumed = event.kind == "run_resumed" and event.values["phase"] == 2
            store.begin(folder, columns, int(str(event.values["step"])) if resumed else 0)
        emit(event)
        if event.kind == "phase_finished":
            values = dict(event.values)
            observe("cvfp_phase_finished", phase=values.pop("phase"), metrics=values)
        elif event.kind == "phase2_epoch":
            store.go_on(folder, cell.run_id, event.values)

    def observe(hook: str, **facts: object) -> None:
        for failure in registry.notify(hook, cell=cell, **facts):
            emit(Event(kind="warning", run_id=cell.run_id, values={"text": failure}))

    emit(Event(kind="run_started", run_id=cell.run_id, values={"train_tokens": cell.train_tokens}))
    observe("cvfp_run_started")
    corpus = None
    family = registry.items(VariantFamily).get(cell.variant.family)
    home = registry.owner(VariantFamily, family.name).home if family else None
    objective = cell.settings.phase1.objective
    known = objective != MCDL.name and objective in registry.items(Objective)
    objective_home = registry.owner(Objective, objective).home if known else None
    checkpoint = Checkpoint(store.checkpoints(folder, cell.run_id), cell, home, objective_home)
    try:
        corpus = _corpus(cell, registry, corpora)
        rules = registry.stop_rules(cell.stop_rules)
        phases = family.phases if family else None
        columns = asdict(record(cell, phases, corpus_columns(cell, corpus), "interrupted", "still going"))
        with tidy():
            result = run_cell(cell, registry.get(VariantFamily, cell.variant.family), corpus, tell, rules,
                          registry.items(Quantity), term(cell, registry), earlier, checkpoint)
    except (BrokenPipeError, Taken, *culprits.PASSING):
        raise
    except BaseException as error:  # a plugin's model, the device's memory: the record says what, the grid goes on
        out_of_memory = culprits.out_of_memory(error)
        result = RunResult(record=record(
            cell, family.phases if family else None, corpus_columns(cell, corpus) if corpus else {}, "failed",
            reason(cell, registry, error)))
    if family is not None:
        result = replace(result, record=replace(result.record, family_source=home))
    if result.record.objective is not None:
        result = replace(result, record=replace(result.record, objective_source=objective_home))
    try:
        lock.renew()
        store.write(folder, result)
    except OSError as error:
        raise CvfpError(f"cannot write the record of {cell.run_id} to '{folder}': {error.strerror or error}; run the "
                        "same command again when that is mended") from error
    if not out_of_memory:  # what failed for want of memory goes on when there is more
        checkpoint.remove()
    observe("cvfp_run_finished", record=result.row())
    emit(Event(kind="run_finished", run_id=cell.run_id, values=result.row()))


def give_up(cell: Cell, folder: Path, emit: Emit, why: str) -> None:
    """Stores a cell as failed that cost an executor too many processes, unless another one runs or has finished it."""
    from cvfp_core.protocol.record import record

    with suppress(Timeout), store.lock(folder, cell.run_id).acquire(timeout=0):
        if not store.recorded(folder, cell.run_id):
            result = RunResult(record=record(cell, None, {}, "failed", why))
            store.write(folder, result)
            emit(Event(kind="run_finished", run_id=cell.run_id, values=result.row()))


def _corpus(cell: Cell, registry: Registry, corpora: dict[str, Corpus]) -> Corpus:
    key = json.dumps([cell.corpus.name, dict(cell.corpus.options)], sort_keys=True)
    if key not in corpora:
        corpora[key] = load_corpus(registry, cell.corpus, cell.cache)
    if corpora[key].hash != cell.corpus_hash:
        raise CvfpError(f"corpus '{cell.corpus.name}' is not here what it was when the grid was prepared: its hash is "
                        f"{corpora[key].hash[:12]}, not {cell.corpus_hash[:12]}")
    return corpora[key]


def reason(cell: Cell, registry: Registry, error: BaseException) -> str:
    """Why a cell failed, in one line. The family is blamed if its code was passed.

    An error of our own says whose it is, and memory that ran out is nobody's fault, wherever it did.
    """
    if isinstance(error, CvfpError):
        return " ".join(str(error).split())
    if culprits.out_of_memory(error):
        return (f"out of memory on {cell.device}: {culprits.line(error)}; take fewer --jobs, a narrower variant or a "
                "smaller phase1.batch_tokens")
    blamed = registry.blame(VariantFamily, cell.variant.family, error)
    passed = culprits.place(error, registry.owner(VariantFamily, cell.variant.family).package)
    return blamed if passed else culprits.told(error, "cvfp_core")
