"""What a cell needs of the machine that computes it, for executors that share out machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cvfp_core.registry import Registry
from cvfp_core.registry.kinds import Corpus
from cvfp_core.running.compute import corpus_key
from cvfp_core.running.costs import costs
from cvfp_core.running.sizes import PROCESS
from cvfp_core.schema.cells import Cell

_CUDA = 2**29
"""Bytes that CUDA itself takes, of the GPU and of the host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """CPU cores and bytes of memory."""

    cores: int = 1
    """Small models gain little from a second one."""
    memory: int
    """Bytes of the host's memory."""
    gpu_memory: int = 0
    """Bytes of a GPU's memory; 0: it runs on a CPU."""

    def gpu_share(self, capacity: int) -> float:
        """The part of a GPU with so many bytes that it needs: 1/8, 1/4, 1/2 or all of it; 0 on a CPU."""
        if not self.gpu_memory:
            return 0.0
        return next((share for share in (0.125, 0.25, 0.5) if self.gpu_memory <= share * capacity), 1.0)

    def with_more_memory(self) -> Needs:
        """Those of a cell that ran out of memory: twice as much."""
        return replace(self, memory=2 * self.memory, gpu_memory=2 * self.gpu_memory)


def needs(cells: Sequence[Cell], registry: Registry, corpora: Mapping[str, Corpus]) -> dict[str, Needs]:
    """What cells need, by run id: the memory that a dry run prints. corpora: of the cells, by `corpus_key`.

    Raises PluginError if a family's code fails.
    """
    found = {}
    for key, corpus in corpora.items():
        for cost in costs([cell for cell in cells if corpus_key(cell) == key], registry, corpus):
            cuda = cost.cell.device.startswith("cuda")
            found[cost.cell.run_id] = (Needs(memory=PROCESS + _CUDA, gpu_memory=cost.memory + _CUDA) if cuda
                                       else Needs(memory=cost.memory))
    return found
