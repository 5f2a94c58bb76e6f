"""What cells would cost: upper bounds of FLOPs, and of seconds from a short calibration on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cvfp_core.errors import CvfpError
from cvfp_core.protocol.counting import trained_parameters
from cvfp_core.protocol.device import resolve
from cvfp_core.protocol.run import run_cell, run_flops
from cvfp_core.registry import Registry, culprits
from cvfp_core.registry.kinds import Corpus, VariantFamily
from cvfp_core.running import phase1
from cvfp_core.running.compute import reason
from cvfp_core.schema.cells import Cell
from cvfp_core.schema.records import RunResult

_CALIBRATION_TOKENS = 4000  # enough for a few batches of either phase; seconds at most


@dataclass(frozen=True, slots=True, kw_only=True)
class CellCost:
    """At most, if Phase 1 runs to its maximum of iterations and Phase 2 to its maximum of epochs."""

    cell: Cell
    params_phase1: int
    params_phase2: int
    flops: float
    seconds: float
    """In one process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Speed:
    """Measured on this machine for a variant or a control of it: seconds a token of an iteration and an epoch."""

    iteration: float
    epoch: float
    params_phase1: int
    params_phase2: int
    params_context: int
    """Of the part that makes contexts, trained or not: a sweep costs what they cost."""


def costs(cells: Sequence[Cell], registry: Registry, corpus: Corpus) -> list[CellCost]:
    """The cost of each cell. Each variant, and each control of it, runs once for a second or two."""
    speeds = {title: _calibrate(cell, registry, corpus) for title, cell in _first_of_each(cells).items()}
    return [_cost(cell, speeds[cell.title], corpus) for cell in cells]


def _first_of_each(cells: Sequence[Cell]) -> dict[str, Cell]:
    return {cell.title: cell for cell in reversed(cells)}


def _calibrate(cell: Cell, registry: Registry, corpus: Corpus) -> _Speed:
    """Runs a few iterations and two epochs on a few thousand tokens; the first of each warms up and is not counted."""
    family = registry.get(VariantFamily, cell.variant.family)
    small = replace(
        corpus,
        train_tokens=corpus.train_tokens[:_CALIBRATION_TOKENS],
        document_ends=np.array([min(_CALIBRATION_TOKENS, len(corpus.train_tokens))]),
        val_tokens=corpus.val_tokens[:_CALIBRATION_TOKENS],
    )
    settings = replace(
        cell.settings,
        phase1=replace(cell.settings.phase1, max_iterations=4, min_iterations=4),
        phase2=replace(cell.settings.phase2, epochs=2, patience=2),
    )
    result = _run(replace(cell, settings=settings, num_samples=1, device=resolve(cell.device)), family, small, registry)
    seconds = [(point.phase, point.step, point.value or 0.0) for point in result.curves if point.metric == "seconds"]
    iterations = [value for phase, step, value in seconds if phase == 1 and step > 2]
    epochs = [value for phase, step, value in seconds if phase == 2 and step > 1]
    tokens = len(small.train_tokens)
    params_phase1, params_phase2 = int(result.record.params_phase1 or 0), int(result.record.params_phase2 or 0)
    untrained = cell.control == "untrained"
    return _Speed(
        iteration=min(iterations, default=0.0) / tokens,
        epoch=min(epochs, default=0.0) / (tokens + len(small.val_tokens)),
        params_phase1=params_phase1,
        params_phase2=params_phase2,
        params_context=trained_parameters(cell.variant, family, settings.model, small) - params_phase2
        if untrained else params_phase1,
    )


def _run(cell: Cell, family: VariantFamily, corpus: Corpus, registry: Registry) -> RunResult:
    """The cell's run. Raises CvfpError that says whose code failed, as a failed record would."""
    try:
        return run_cell(cell, family, corpus, lambda _event: None, term=phase1.term(cell, registry),
                        ender=phase1.ender(cell, registry))
    except (CvfpError, *culprits.PASSING):
        raise
    except BaseException as error:
        raise CvfpError(f"cannot try {cell.title}: {reason(cell, registry, error)}") from error


def _cost(cell: Cell, speed: _Speed, corpus: Corpus) -> CellCost:
    phase1, phase2 = cell.settings.phase1, cell.settings.phase2
    val_tokens = len(corpus.val_tokens)
    flops = run_flops(
        speed.params_context, speed.params_phase2, corpus.vocab_size * corpus.embed_dim, cell.train_tokens, val_tokens,
        phase1.max_iterations if speed.params_context else 0, phase2.epochs, trained=cell.control is None)
    seconds = (speed.iteration * cell.train_tokens * (phase1.max_iterations - 1)
               + speed.epoch * (cell.train_tokens + val_tokens) * phase2.epochs)
    return CellCost(cell=cell, params_phase1=speed.params_phase1, params_phase2=speed.params_phase2, flops=flops,
                    seconds=seconds)
