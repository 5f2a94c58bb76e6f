"""What a cell needs of the machine that computes it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import polars as pl

from cvfp_core.schema.cells import Cell

_GIB = 2**30
_PROGRAM = _GIB
"""Bytes of Python, torch, the corpus and a small model; a cell of width 16 has a resident set of 0.4 GiB."""
_DEVICE = 2 * _GIB
"""Bytes of CUDA itself, the head, a chunk of logits, the model and a batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """CPU cores, bytes of memory, and how long it takes."""

    cores: int = 1
    """Small models gain little from a second one."""
    memory: int
    """Bytes of the host's memory."""
    gpu_memory: int = 0
    """Bytes of a GPU's memory; 0: it runs on a CPU."""
    seconds: float | None = None
    """Wall time, from runs of the same configuration; None: there are none."""

    def gpu_share(self, capacity: int) -> float:
        """The part of a GPU with so many bytes that it needs: 1/8, 1/4, 1/2 or all of it; 0 on a CPU."""
        if not self.gpu_memory:
            return 0.0
        return next((share for share in (0.125, 0.25, 0.5) if self.gpu_memory <= share * capacity), 1.0)

    def with_more_memory(self) -> Needs:
        """Those of a cell that ran out of memory: twice as much."""
        return replace(self, memory=2 * self.memory, gpu_memory=2 * self.gpu_memory)


def needs(cell: Cell, records: pl.DataFrame | None = None) -> Needs:
    """What the cell needs. records: of earlier runs, which tell how long cells take."""
    layers = 4 * cell.variant.num_layers * cell.train_tokens * cell.variant.context_dim  # float32
    contexts = layers * 3 // 2  # of all training tokens, and half as many for validation
    if cell.device.startswith("cuda"):
        return Needs(memory=_PROGRAM + _DEVICE, gpu_memory=_DEVICE + contexts, seconds=_seconds(cell, records))
    mapped = int(cell.shortcuts.memory_gib * _GIB)  # larger contexts are a file
    return Needs(memory=_PROGRAM + min(contexts, mapped), seconds=_seconds(cell, records))


def _seconds(cell: Cell, records: pl.DataFrame | None) -> float | None:
    """The median time a training token took in runs of the variant, times the tokens of the cell."""
    if records is None:
        return None
    seconds = pl.col("seconds_phase1").fill_null(0) + pl.col("seconds_phase2")
    median = records.filter(pl.col("variant") == cell.variant.name, pl.col("status") == "ok").select(
        seconds / pl.col("train_tokens")).to_series().median()
    return cell.train_tokens * float(median) if isinstance(median, float) else None
