"""`cvfp run --dry-run`: what a grid would cost, from a short calibration on this machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cvfp_core.errors import CvfpError
from cvfp_core.protocol.counting import trained_parameters
from cvfp_core.protocol.run import run_cell, run_flops
from cvfp_core.registry import Registry, culprits
from cvfp_core.registry.kinds import Corpus, VariantFamily
from cvfp_core.running.execute import reason
from cvfp_core.running.objectives import term
from cvfp_core.schema.cells import Cell
from cvfp_core.schema.records import RunResult

_CALIBRATION_TOKENS = 4000  # enough for a few batches of either phase; seconds at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Measured on this machine for a variant or a control of it: seconds a token of an iteration and an epoch."""

    iteration: float
    epoch: float
    params_phase1: int
    params_phase2: int
    params_context: int
    """Of the part that makes contexts, trained or not: a sweep costs what they cost."""


def print_plan(cells: Sequence[Cell], registry: Registry, corpus: Corpus, *, json_: bool) -> None:
    """Prints every cell with tokens, parameters, and upper bounds of FLOPs and time.

    The bounds assume that Phase 1 runs to its maximum of iterations and Phase 2 to its maximum of epochs.
    """
    speeds = {title: _calibrate(cell, registry, corpus) for title, cell in _first_of_each(cells).items()}
    rows = [_row(cell, speeds[cell.title], corpus) for cell in cells]
    if json_:
        print(json.dumps(rows, indent=1))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    seeds = len({cell.seed for cell in cells}) > 1
    table.add_column("variant", header_style="bold", overflow="fold")
    for heading in ("samples", "tokens", *(["seed"] if seeds else []), "parameters 1 + 2", "FLOPs at most",
                    "time at most"):
        table.add_column(heading, justify="right", header_style="bold")
    for row in rows:
        table.add_row(
            Text(f"{row['variant']}, {row['control']}" if row["control"] else row["variant"]),
            f"{row['num_samples']:,}", f"{row['train_tokens']:,}", *([str(row["seed"])] if seeds else []),
            f"{row['params_phase1']:,} + {row['params_phase2']:,}", f"{row['flops']:.1e}", _time(row["seconds"]),
        )
    console = Console(highlight=False)
    console.print(table)
    console.print(
        f"{len(cells)} cells on {cells[0].device}, validation {len(corpus.val_tokens):,} tokens, vocabulary "
        f"{corpus.vocab_size:,}: {sum(row['flops'] for row in rows):.1e} FLOPs, "
        f"{_time(sum(row['seconds'] for row in rows))} in one process at most"
    )
    console.print("at most: every Phase 1 runs to its iteration limit, every Phase 2 to its epoch limit; time from a "
                  "calibration of a few seconds on this machine; FLOPs count each parameter once a token, also of a "
                  "model that takes its window position by position", style="dim")


def _first_of_each(cells: Sequence[Cell]) -> dict[str, Cell]:
    return {cell.title: cell for cell in reversed(cells)}


def _calibrate(cell: Cell, registry: Registry, corpus: Corpus) -> Speed:
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
    result = _run(replace(cell, settings=settings, num_samples=1), family, small, registry)
    seconds = [(point.phase, point.step, point.value or 0.0) for point in result.curves if point.metric == "seconds"]
    iterations = [value for phase, step, value in seconds if phase == 1 and step > 2]
    epochs = [value for phase, step, value in seconds if phase == 2 and step > 1]
    tokens = len(small.train_tokens)
    params_phase1, params_phase2 = int(result.record.params_phase1 or 0), int(result.record.params_phase2 or 0)
    untrained = cell.control == "untrained"
    return Speed(
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
        return run_cell(cell, family, corpus, lambda _event: None, term=term(cell, registry))
    except (CvfpError, *culprits.PASSING):
        raise
    except BaseException as error:
        raise CvfpError(f"cannot plan {cell.title}: {reason(cell, registry, error)}") from error


def _row(cell: Cell, speed: Speed, corpus: Corpus) -> dict[str, Any]:
    phase1, phase2 = cell.settings.phase1, cell.settings.phase2
    val_tokens = len(corpus.val_tokens)
    return {
        "variant": cell.variant.name,
        "control": cell.control,
        "num_samples": cell.num_samples,
        "train_tokens": cell.train_tokens,
        "seed": cell.seed,
        "params_phase1": speed.params_phase1,
        "params_phase2": speed.params_phase2,
        "flops": run_flops(
            speed.params_context, speed.params_phase2, corpus.vocab_size * corpus.embed_dim, cell.train_tokens,
            val_tokens, phase1.max_iterations if speed.params_context else 0, phase2.epochs,
            trained=cell.control is None,
        ),
        "seconds": speed.iteration * cell.train_tokens * (phase1.max_iterations - 1)
        + speed.epoch * (cell.train_tokens + val_tokens) * phase2.epochs,
    }


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
