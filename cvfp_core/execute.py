"""Executes cells into a store: what is finished is skipped, what another process runs is left to it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from filelock import Timeout

import cvfp_core
from cvfp_core import registry as registries
from cvfp_core import store
from cvfp_core.cells import Cell, CorpusChoice, Emit, Event
from cvfp_core.corpora import load_corpus
from cvfp_core.kinds import Corpus, VariantFamily
from cvfp_core.records import Record, RunResult
from cvfp_core.registry import Registry


def execute_cells(cells: Sequence[Cell], folder: Path, emit: Emit) -> None:
    """Runs every cell that is not finished and stores its record.

    Any number of processes may be given the same cells and folder: each cell is run by one of them, and all return when
    all are done. A cell that raises is stored with status `failed` and the others go on.
    """
    registry = registries.installed()
    corpora: dict[str, Corpus] = {}
    waiting = list(cells)
    for timeout in (0, -1):  # first what is free, then what others hold: it may have died with them
        held = []
        for cell in waiting:
            if store.finished(folder, cell.run_id):
                continue
            try:
                with store.lock(folder, cell.run_id).acquire(timeout=timeout):
                    if not store.finished(folder, cell.run_id):
                        _execute(cell, folder, registry, corpora, emit)
            except Timeout:
                held.append(cell)
        waiting = held


def _execute(cell: Cell, folder: Path, registry: Registry, corpora: dict[str, Corpus], emit: Emit) -> None:
    from cvfp_core.protocol.run import run_cell

    def tell(event: Event) -> None:
        emit(event)
        if event.kind == "phase_finished":
            values = dict(event.values)
            observe("cvfp_phase_finished", phase=values.pop("phase"), metrics=values)

    def observe(hook: str, **facts: object) -> None:
        for failure in registry.notify(hook, cell=cell, **facts):
            emit(Event(kind="warning", run_id=cell.run_id, values={"text": failure}))

    emit(Event(kind="run_started", run_id=cell.run_id, values={"train_tokens": cell.train_tokens}))
    observe("cvfp_run_started")
    try:
        corpus = _corpus(cell.corpus, cell.cache, registry, corpora)
        result = run_cell(cell, registry.get(VariantFamily, cell.variant.family), corpus, tell)
        store.write(folder, result)
    except Exception as error:  # a plugin's model, the device's memory: the record says what, the grid goes on
        result = _failed(cell, registry, error)
        store.write(folder, result)
    row = asdict(result.record)
    observe("cvfp_run_finished", record=row)
    emit(Event(kind="run_finished", run_id=cell.run_id, values=row))


def _corpus(choice: CorpusChoice, cache: Path, registry: Registry, corpora: dict[str, Corpus]) -> Corpus:
    key = json.dumps([choice.name, dict(choice.options)], sort_keys=True)
    if key not in corpora:
        corpora[key] = load_corpus(registry, choice, cache)
    return corpora[key]


def _failed(cell: Cell, registry: Registry, error: Exception) -> RunResult:
    owner = registry.owner(VariantFamily, cell.variant.family)
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return RunResult(record=Record(
        run_id=cell.run_id,
        experiment=cell.experiment,
        variant=cell.variant.name,
        family=cell.variant.family,
        num_layers=cell.variant.num_layers,
        context_dim=cell.variant.context_dim,
        num_input_tokens=cell.variant.num_input_tokens,
        seed=cell.seed,
        settings=json.dumps(cell.settings.as_dict(), sort_keys=True),
        corpus=cell.corpus.name,
        corpus_hash=cell.corpus_hash,
        num_samples=cell.num_samples,
        train_tokens=cell.train_tokens,
        device=cell.device,
        status="failed",
        reason=f"{reason[:500]} (variant family '{cell.variant.family}' of {owner.label})",
        source=f"cvfp {cvfp_core.__version__}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    ))
