"""Computes a cell: its result, however it ended. Knows neither the store's locks nor who else is at work."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from cvfp_core.errors import CvfpError
from cvfp_core.registry import Registry, culprits
from cvfp_core.registry.guard import heeding_signals, tidy
from cvfp_core.registry.kinds import Corpus, Quantity, VariantFamily
from cvfp_core.running import phase1
from cvfp_core.running.corpora import load_corpus
from cvfp_core.schema.cells import Cell, Emit, Event
from cvfp_core.schema.leases import Taken
from cvfp_core.schema.models import ModelError
from cvfp_core.schema.records import RunResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """What became of a cell."""

    result: RunResult
    out_of_memory: bool = False
    """Whether it failed for want of memory; then its checkpoint stays, and it may do with more."""


class Lost(Exception):
    """The worker that computed a cell is gone; the text says how."""

    def __init__(self, text: str, *, out_of_memory: bool = False) -> None:
        super().__init__(text)
        self.out_of_memory = out_of_memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a cell that is computed sees of the grid and the store."""

    tell: Emit
    begun: Callable[[Mapping[str, Any]], None]
    """Hears, before the first event but warnings, what the record will say of the run."""
    earlier: Callable[[], tuple[pl.DataFrame, pl.DataFrame]]
    """Records and curves of the cells before it."""
    checkpoint: Path
    """What the paths of its checkpoint's files begin with."""
    leaving: Callable[[], bool] = lambda: False
    """Whether its worker is to end soon, so that a checkpoint is due now."""


Compute = Callable[[Cell, Surroundings], Computed]


class Computer:
    """Computes cells in this process; each corpus is loaded once. corpora: by `corpus_key`, those that are loaded."""

    def __init__(self, registry: Registry, corpora: Mapping[str, Corpus] | None = None) -> None:
        self.registry = registry
        self._corpora = dict(corpora or {})

    def __call__(self, cell: Cell, sees: Surroundings) -> Computed:
        """The cell's result. What a plugin raises, or memory that runs out, makes a record with status `failed`."""
        from cvfp_core.protocol.checkpoint import Checkpoint
        from cvfp_core.protocol.process_state import put_back
        from cvfp_core.protocol.record import corpus_columns, record
        from cvfp_core.protocol.run import run_cell
        from cvfp_core.protocol.tuning import refuse_slow_bfloat16

        registry, corpus, out_of_memory = self.registry, None, False
        family = registry.items(VariantFamily).get(cell.variant.family)
        home = registry.owner(VariantFamily, family.name).home if family else None
        phases = family.phases if family else None
        sources = phase1.sources(cell, registry)
        checkpoint = Checkpoint(sees.checkpoint, cell, home, **sources, leaving=sees.leaving)
        with heeding_signals() as interrupted, put_back() as changes:
            try:
                if cell.settings.precision == "bfloat16" and cell.device == "cpu":
                    refuse_slow_bfloat16(cell.shortcuts, cell.cache)
                corpus = self._corpus(cell)
                rules = registry.stop_rules(cell.stop_rules)
                sees.begun(asdict(record(cell, phases, corpus_columns(cell, corpus), "interrupted", "still going")))
                with tidy():
                    result = run_cell(cell, registry.get(VariantFamily, cell.variant.family), corpus, sees.tell, rules,
                                      registry.items(Quantity), phase1.term(cell, registry), sees.earlier, checkpoint,
                                      phase1.ender(cell, registry))
            except (Lost, Taken):
                raise
            except BaseException as error:  # a plugin's, the device's memory: the record says what, the grid goes on
                if _passing(cell, registry, error, interrupted()):
                    raise
                out_of_memory = culprits.out_of_memory(error)
                result = RunResult(record=record(cell, phases, corpus_columns(cell, corpus) if corpus else {}, "failed",
                                                 reason(cell, registry, error)))
        if changes:
            sees.tell(Event(kind="warning", run_id=cell.run_id, values={
                "text": f"{registry.label(VariantFamily, cell.variant.family)} changed {', '.join(changes)}; it is put "
                        "back for the other cells"}))
        if family is not None:
            result = replace(result, record=replace(result.record, family_source=home))
        if result.record.objective is not None:
            result = replace(result, record=replace(
                result.record, objective_source=sources["objective_source"], ending_source=sources["ending_source"]))
        return Computed(result=result, out_of_memory=out_of_memory)

    def _corpus(self, cell: Cell) -> Corpus:
        key = corpus_key(cell)
        if key not in self._corpora:
            self._corpora[key] = load_corpus(self.registry, cell.corpus, cell.cache)
        corpus = self._corpora[key]
        if corpus.hash != cell.corpus_hash:
            raise CvfpError(f"corpus '{cell.corpus.name}' is not here what it was when the grid was prepared: its hash "
                            f"is {corpus.hash[:12]}, not {cell.corpus_hash[:12]}")
        return corpus


def _passing(cell: Cell, registry: Registry, error: BaseException, interrupted: bool) -> bool:
    """Whether the error is the user's Ctrl-C, or a reader's who has gone, and not raised by the family itself."""
    if isinstance(error, KeyboardInterrupt) and interrupted:
        return True
    owner = registry.owner(VariantFamily, cell.variant.family)
    return isinstance(error, (BrokenPipeError, *culprits.PASSING)) and not culprits.raised_by(error, owner.package)


def corpus_key(cell: Cell) -> str:
    """What tells the cell's corpus from others."""
    return json.dumps([cell.corpus.name, dict(cell.corpus.options)], sort_keys=True)


def corpora(cells: Iterable[Cell], registry: Registry) -> dict[str, Corpus]:
    """The corpora of the cells by `corpus_key`, each loaded once."""
    choices = {corpus_key(cell): cell for cell in cells}
    return {key: load_corpus(registry, cell.corpus, cell.cache) for key, cell in choices.items()}


def reason(cell: Cell, registry: Registry, error: BaseException) -> str:
    """Why a cell failed, in one line. The family is blamed if its code was passed.

    An error of our own says whose it is, and memory that ran out is nobody's fault, wherever it did.
    """
    if isinstance(error, CvfpError):
        return " ".join(str(error).split())
    if isinstance(error, ModelError):
        return f"{registry.label(VariantFamily, cell.variant.family)} failed: {error}"
    if culprits.out_of_memory(error):
        return (f"out of memory on {cell.device}: {culprits.line(error)}; take fewer --jobs, a narrower variant or a "
                "smaller phase1.batch_tokens")
    blamed = registry.blame(VariantFamily, cell.variant.family, error)
    passed = culprits.place(error, registry.owner(VariantFamily, cell.variant.family).package)
    return blamed if passed else culprits.told(error, "cvfp_core")
