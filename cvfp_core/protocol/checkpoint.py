"""Where the training of a cell stands, kept so that a cell that is begun again goes on from there.

    RUN_ID.phase1.pt    after an iteration of Phase 1: its contexts, or after the last one: all context layers
    RUN_ID.phase2.pt    after an epoch of Phase 2; what it reads of contexts is in the other file

Both hold the weights, the optimizer, the generators and the curves besides. A cell that goes on gives the record of one
that was never disturbed, bit for bit on a CPU of the same kind with as many threads, but for DISTURBED.
"""

from __future__ import annotations

import copy
import hashlib
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.optim import Optimizer

from cvfp_core.protocol.ending import Ender, Kept
from cvfp_core.protocol.model import TwoPhaseModel
from cvfp_core.protocol.noise import Noise
from cvfp_core.protocol.phase1 import Sweep
from cvfp_core.protocol.phase2 import Epoch, Standing, Stream
from cvfp_core.protocol.stopping import Stopper
from cvfp_core.registry.kinds import Iteration
from cvfp_core.schema import atomic
from cvfp_core.schema.cells import Cell
from cvfp_core.schema.records import CurvePoint
from cvfp_core.version import __version__

DISTURBED = ("created", "seconds_phase1", "seconds_iteration", "seconds_phase2", "peak_memory", "host", "attempts",
             "lost_workers")
"""Columns of a record in which a cell that was begun again differs: its seconds are those of all its parts."""
_SHARE = 0.05
"""Most of the time that is spent on checkpoints, where one takes long to write."""


class Checkpoint:
    """The two files of a cell, and when they are written.

    begin: what their paths begin with. family_source and those beside: distribution and version of their code.
    leaving: whether the process is to end soon. No checkpoint that fails, for a full disk or a file that is torn, ends
    the cell.
    """

    def __init__(self, begin: Path, cell: Cell, family_source: str | None, objective_source: str | None = None,
                 ending_source: str | None = None, leaving: Callable[[], bool] = lambda: False) -> None:
        self.files = {phase: begin.with_name(f"{begin.name}.phase{phase}.pt") for phase in (1, 2)}
        self.seconds, self.leaving = cell.shortcuts.checkpoint_seconds, leaving
        self.made_by = {"cvfp": __version__, "torch": str(torch.__version__), "family": str(family_source),
                        "objective": str(objective_source), "ending": str(ending_source),
                        "device": cell.device.partition(":")[0],
                        "stop rules": ", ".join(cell.stop_rules) or "none", "earlier cells": _digest(cell.earlier)}
        """What a checkpoint must share to be gone on with."""
        self.last, self.took, self.said = time.monotonic(), 0.0, ""

    def load(self, phase: int, warn: Callable[[str], None]) -> Mapping[str, Any] | None:
        """What was kept in a phase; None where nothing was, or nothing that can be gone on with, which is said."""
        file = self.files[phase]
        atomic.clear(file)
        if not file.exists():
            return None
        try:
            if not file.is_file():
                raise ValueError("it is no file")
            with zipfile.ZipFile(file) as parts:  # torch looks at no checksum of what it maps
                if (torn := parts.testzip()) is not None:
                    raise ValueError(f"{torn} is torn")
            state: Mapping[str, Any] = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
            others = [f"{name} {state['made_by'].get(name)}, not {here}" for name, here in self.made_by.items()
                      if state["made_by"].get(name) != here]
        except Exception as error:  # whatever a torn file makes of these
            warn(f"the checkpoint '{file}' is ignored: it cannot be read ({type(error).__name__})")
            return None
        if others:
            warn(f"the checkpoint '{file}' is ignored: it is of {', '.join(others)}")
            return None
        return state

    def due(self) -> bool:
        """Whether it is time for the next one."""
        return (self.seconds == 0 or self.leaving()
                or time.monotonic() - self.last >= max(self.seconds, self.took / _SHARE))

    def keep(self, phase: int, state: Mapping[str, Any], warn: Callable[[str], None]) -> bool:
        """Writes a file; where that fails, says why and returns False."""
        began = time.monotonic()
        try:
            atomic.folder(self.files[phase].parent)
            atomic.write(self.files[phase], lambda path: torch.save({"made_by": self.made_by, **state}, path))
        except (OSError, RuntimeError) as error:  # torch's writer raises the second where the disk is full
            why = (getattr(error, "strerror", None) or str(error)).partition("\n")[0]
            text = f"no checkpoint can be kept in '{self.files[phase].parent}': {why}; the cell goes on without"
            if text != self.said:
                warn(text)
            self.said = text
            return False
        finally:
            self.last = time.monotonic()
            self.took = self.last - began
        return True


class Training:
    """The training of a cell: what its checkpoint holds is put back part by part, and kept from then on.

    checkpoint: None: nothing is kept; nor is of a model that is no torch module. stopper, curves, parts: get the rules
    that are still asked and what they saw, the curves, and the parts of the objective's loss that there were. Of a
    model are kept its parameters, its buffers, and what `get_extra_state` gives of tensors and plain values.
    """

    def __init__(self, checkpoint: Checkpoint | None, model: TwoPhaseModel, weights: torch.Generator, train: Stream,
                 val: Stream, stopper: Stopper, curves: list[CurvePoint], parts: dict[str, float]) -> None:
        self.checkpoint = checkpoint if isinstance(model, nn.Module) else None
        self.model = cast(nn.Module, model)
        self.weights, self.train, self.val = weights, train, val
        self.stopper, self.curves, self.parts, self.warn = stopper, curves, parts, stopper.warn
        self.layers_kept = len(train.layers) == 0 or train.layers.stride(1) == 0  # none to keep, or nothing but zeros
        self.state: Mapping[str, Any] = {} if self.checkpoint is None else self._found(self.checkpoint)
        self.phase = int(self.state.get("phase", 0))
        """The phase it goes on in; 0: it begins."""
        self.step = int(self.state.get("step", 0))
        """The iteration or epoch it goes on from."""
        self.metrics: Mapping[str, Any] = self.state.get("metrics", {})
        """What Phase 1 measured, where it had ended."""
        self.began = time.perf_counter() - self.seconds(max(self.phase, 1))

    def _found(self, checkpoint: Checkpoint) -> Mapping[str, Any]:
        """The latest state that is whole, its weights, generator, curves and layers put back; empty: none is."""
        first, second = (checkpoint.load(phase, self.warn) for phase in (1, 2))
        ended = first is not None and first["phase"] == 2
        state = second if second is not None and (ended or self.layers_kept) else first
        if state is None or "model" not in state:
            return {}
        self.model.load_state_dict(state["model"])
        self.weights.set_state(state["weights"])
        self.curves[:] = [CurvePoint(**point) for point in state["curves"]]
        self.parts |= state["parts"]
        self.stopper.rules[:] = [rule for rule in self.stopper.rules if rule.name in state["asked"]]
        if first is not None and ended and not self.layers_kept:
            self.train.layers.copy_(first["train"])
            self.val.layers.copy_(first["val"])
            self.layers_kept = True
        return state

    def seconds(self, phase: int) -> float:
        """What the phase that is gone on with took before."""
        return float(self.state["seconds"]) if self.phase == phase else 0.0

    def resume_contexts(self, optimizer: Optimizer | None, noise: Noise, ender: Ender) -> Sweep | None:
        """The iteration that Phase 1 goes on from, its contexts, generators and optimizer put back; None: it begins.

        ender: gets the contexts back that its ending kept.
        """
        if self.phase != 1:
            return None
        self.train.layers[-1].copy_(self.state["contexts"])
        for generator, state in zip(noise.generators, self.state["noise"], strict=True):
            generator.set_state(state)
        ender.kept = Kept(**copy.deepcopy(self.state["kept"])) if self.state["kept"] else None
        self.stopper.seen[:] = [Iteration(**each) for each in self.state["seen"]]
        self._resume(optimizer)
        return Sweep(**self.state["sweep"])

    def keep_contexts(self, sweep: Sweep, optimizer: Optimizer | None, noise: Noise, ender: Ender) -> None:
        """Keeps an iteration of Phase 1, if it is time."""
        if self.checkpoint is not None and self.checkpoint.due():
            contexts = self.train.layers[-1]
            self._keep(self.checkpoint, 1, 1, sweep.iteration, optimizer, {
                "sweep": asdict(sweep), "seen": [asdict(each) for each in self.stopper.seen],
                "kept": ender.kept and {name: getattr(ender.kept, name) for name in Kept.__slots__},
                "noise": [each.get_state() for each in noise.generators],
                "contexts": contexts.clone() if len(self.train.layers) > 1 else contexts})  # torch stores all of a view

    def end_contexts(self, metrics: Mapping[str, Any]) -> None:
        """Keeps the end of Phase 1, if it is time. metrics: what it measured."""
        self.metrics, self.state, self.phase, self.began = dict(metrics), {}, 0, time.perf_counter()
        if self.checkpoint is not None and not self.layers_kept and self.checkpoint.due():
            self.layers_kept = self._keep(self.checkpoint, 1, 2, 0, None, self._layers())

    def resume_tokens(self, optimizer: Optimizer) -> Standing | None:
        """Where Phase 2 goes on from, its optimizer put back; None: it begins."""
        if self.phase != 2 or not self.step:
            return None
        self._resume(optimizer)
        standing = self.state["standing"]
        return Standing(**standing | {"best": Epoch(**standing["best"])})

    def keep_tokens(self, standing: Standing, optimizer: Optimizer) -> None:
        """Keeps an epoch of Phase 2, if it is time, and the layers if they are not kept yet."""
        if self.checkpoint is not None and self.checkpoint.due():
            kept = self._keep(self.checkpoint, 2, 2, standing.epoch, optimizer, {
                "standing": asdict(standing), "metrics": self.metrics})
            if kept and not self.layers_kept:  # without weights: those of the start of Phase 2 are gone
                self.layers_kept = self.checkpoint.keep(1, {"phase": 2} | self._layers(), self.warn)

    def _layers(self) -> dict[str, Any]:
        return {"train": self.train.layers, "val": self.val.layers, "metrics": self.metrics}

    def _resume(self, optimizer: Optimizer | None) -> None:
        if optimizer is not None:
            optimizer.load_state_dict(copy.deepcopy(self.state["optimizer"]))  # not to hold on to the mapped file

    def _keep(self, checkpoint: Checkpoint, file: int, phase: int, step: int, optimizer: Optimizer | None,
              more: Mapping[str, Any]) -> bool:
        return checkpoint.keep(file, {
            "phase": phase, "step": step, "seconds": time.perf_counter() - self.began,
            "model": self.model.state_dict(), "weights": self.weights.get_state(),
            "optimizer": None if optimizer is None else optimizer.state_dict(),
            "curves": [asdict(point) for point in self.curves], "parts": dict(self.parts),
            "asked": [rule.name for rule in self.stopper.rules], **more}, self.warn)


def _digest(names: Sequence[str]) -> str:
    return f"{len(names)}, {hashlib.sha256(' '.join(names).encode()).hexdigest()[:8]}" if names else "none"
