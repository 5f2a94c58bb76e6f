"""What runs on a node: an actor that lives as long as there are cells for it, and computes them one at a time."""

from __future__ import annotations

import os
import platform
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from cvfp_core import registry as registries
from cvfp_core.errors import CvfpError
from cvfp_core.registry.kinds import Corpus
from cvfp_core.running.compute import Computed, Computer, Surroundings
from cvfp_core.running.run import cache_folder
from cvfp_core.schema import store
from cvfp_core.schema.cells import Cell, Event
from cvfp_core.version import __version__

_TOGETHER = 0.05
"""Seconds for which events are gathered before they travel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What the record of the run will say, as far as that is known."""

    columns: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class WantsEarlier:
    """A stop rule asks for records and curves of earlier cells; the answer comes by `Worker.answer`."""


Said = Event | Begun | WantsEarlier | Computed
Earlier = tuple[pl.DataFrame, pl.DataFrame]


class Worker:
    """The actor. corpora: by key, shared by the workers of a node; in_store: a file that who sees the store sees.

    version: of the driver's cvfp. Raises CvfpError where this node, which may have joined later, has another one.
    """

    def __init__(self, corpora: Mapping[str, Any], in_store: Path, cores: int, version: str) -> None:
        import ray

        if version != __version__:
            raise CvfpError(f"node {platform.node()} has cvfp {__version__}, and the driver {version}; install the "
                            "same on all nodes")
        arrays: dict[str, Corpus] = dict(zip(corpora, ray.get(list(corpora.values())), strict=True))
        self._computer = Computer(registries.installed(), {  # torch takes no array that cannot be written to
            key: replace(corpus, embeddings=np.array(corpus.embeddings)) for key, corpus in arrays.items()})
        self._shared, self._cores = in_store.exists(), cores
        self._answers: dict[str, queue.SimpleQueue[Earlier]] = {}

    def place(self) -> tuple[str, int]:
        """Host and process."""
        return platform.node(), os.getpid()

    def compute(self, cell: Cell, checkpoint: Path, shared: bool | None) -> Iterator[list[Said]]:
        """Yields what happens in the cell, at last what became of it.

        checkpoint: begin of its files' paths in the store. shared: whether they are kept there; None: if it is seen.
        """
        said: queue.SimpleQueue[Said | BaseException] = queue.SimpleQueue()
        threading.Thread(target=self._compute, args=(cell, checkpoint, shared, said.put), daemon=True).start()
        ended = False
        while not ended:
            together: list[Said] = []
            until = time.monotonic() + _TOGETHER
            item: Said | BaseException | None = said.get()
            while item is not None:
                if isinstance(item, BaseException):
                    raise item
                together.append(item)
                ended = isinstance(item, Computed)
                item = None if ended else _next(said, until)
            yield together

    def answer(self, run_id: str, earlier: Earlier) -> None:
        """Gives a cell what it asked for."""
        self._answers[run_id].put(earlier)

    def _compute(self, cell: Cell, checkpoint: Path, shared: bool | None,
                 say: Callable[[Said | BaseException], None]) -> None:
        import torch

        torch.set_num_threads(self._cores)
        answers = self._answers.setdefault(cell.run_id, queue.SimpleQueue())

        def earlier() -> Earlier:
            say(WantsEarlier())
            return answers.get()

        cache = cell.cache if cell.cache.is_dir() else cache_folder()
        apart = not (self._shared if shared is None else shared)
        if apart:
            checkpoint = store.checkpoints(cache / "ray", cell.run_id)
            checkpoint.parent.parent.mkdir(parents=True, exist_ok=True)
        try:
            computed = self._computer(replace(cell, cache=cache), Surroundings(
                tell=say, begun=lambda columns: say(Begun(columns=columns)), earlier=earlier, checkpoint=checkpoint))
            if apart and not computed.out_of_memory:
                store.clear_checkpoint(cache / "ray", cell.run_id)
            say(computed)
        except BaseException as error:  # of the core: the driver is to hear of it
            say(error)


def _next(said: queue.SimpleQueue[Said | BaseException], until: float) -> Said | BaseException | None:
    try:
        return said.get(timeout=max(0.0, until - time.monotonic()))
    except queue.Empty:
        return None
