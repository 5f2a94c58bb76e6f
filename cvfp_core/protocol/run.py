"""A cell in, a record and its curves out: the protocol from top to bottom."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from statistics import median
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from cvfp_core.protocol import device as devices
from cvfp_core.protocol.checkpoint import Checkpoint, Training
from cvfp_core.protocol.effective_rank import effective_rank
from cvfp_core.protocol.ending import Ender
from cvfp_core.protocol.flops import run_flops
from cvfp_core.protocol.head import Head
from cvfp_core.protocol.model import (
    Diverged,
    Measures,
    TwoPhaseModel,
    parameter_count,
    parameters,
    require_methods,
    sharing,
    token_windows,
)
from cvfp_core.protocol.noise import Noise
from cvfp_core.protocol.objective import Term
from cvfp_core.protocol.phase1 import Sweep, learn_contexts
from cvfp_core.protocol.phase2 import Epoch, Stream, learn_tokens
from cvfp_core.protocol.products import fast_products
from cvfp_core.protocol.record import corpus_columns, record
from cvfp_core.protocol.room import room
from cvfp_core.protocol.stopping import Stopped, Stopper
from cvfp_core.protocol.stream import layer_outputs, parallel_contexts, sequential_contexts
from cvfp_core.protocol.tuning import described, tuned
from cvfp_core.registry.kinds import Corpus, StopRule, Underway, VariantFamily
from cvfp_core.schema.cells import Cell, Emit, Event
from cvfp_core.schema.quantities import QUANTITIES, Quantity
from cvfp_core.schema.records import CURVE_SCHEMA, CurvePoint, RunResult, Status, frame

_WARM = 3  # iteration whose time is looked at: the second one loads code and warms up

def run_cell(
    cell: Cell, family: VariantFamily, corpus: Corpus, emit: Emit, stop_rules: Sequence[StopRule] = (),
    declared: Mapping[str, Quantity] | None = None, term: Term | None = None, earlier: Earlier | None = None,
    checkpoint: Checkpoint | None = None, ender: Ender | None = None,
) -> RunResult:
    """Runs both phases of a cell. A loss that stops being finite ends in a record with status `diverged`.

    A stop rule ends the run with status `interrupted`: in Phase 1 with its metrics and no Phase 2, in Phase 2 with
    those of the best epoch so far, marked as cut short.

    emit hears of every iteration, epoch and phase. declared: what plugins declare; a model's `metrics` are kept if they
    are of these. term, ender: of the cell's objective and ending; by default the published ones. earlier: records and
    curves of the cells before it, which rules of Phase 2 compare it with. checkpoint: what it goes on from, if it holds
    anything, and keeps on the way. Same cell, same thread count: same metrics, bit for bit, on a CPU.
    """
    shortcuts = tuned(cell.shortcuts, cell.cache if cell.device == "cpu" else None)
    cell = replace(cell, shortcuts=shortcuts)
    with fast_products(shortcuts.fast_products, shortcuts.product_library):
        return _run(cell, family, corpus, _Teller(cell, emit), stop_rules, declared or {}, term or Term(),
                    ender or Ender(), earlier or _nothing, checkpoint)


Earlier = Callable[[], tuple[pl.DataFrame, pl.DataFrame]]


def _nothing() -> tuple[pl.DataFrame, pl.DataFrame]:
    return frame([]), pl.DataFrame(schema=CURVE_SCHEMA)


def _run(
    cell: Cell, family: VariantFamily, corpus: Corpus, tell: _Teller, stop_rules: Sequence[StopRule],
    declared: Mapping[str, Quantity], term: Term, ender: Ender, earlier: Earlier, checkpoint: Checkpoint | None,
) -> RunResult:
    device = torch.device(cell.device)
    devices.reset_peak_memory(device)
    autocast = _autocast(device, cell.settings.precision)
    variant, settings, shortcuts = cell.variant, cell.settings, cell.shortcuts

    train_tokens = torch.from_numpy(corpus.sample(cell.num_samples).astype(np.int64)).to(device)
    val_tokens = torch.from_numpy(corpus.val_tokens.astype(np.int64)).to(device)
    embeddings = torch.as_tensor(corpus.embeddings, dtype=torch.float32)
    weights = torch.Generator().manual_seed(2 * cell.seed)  # even; noise is odd: no two runs share a stream
    model = family.build(variant, settings.model, embeddings.clone(), weights)  # a copy: ours are of all cells
    require_methods(model, family.phases)
    model = model.to(device)
    require_methods(model, family.phases)
    embeddings = embeddings.to(device)
    head = Head(embeddings, chunked=shortcuts.chunked_head, half=settings.precision == "bfloat16",
                words=shortcuts.words_at_once)

    two_phase = family.phases == 2
    mode = settings.phase1.mode if two_phase else None
    device = train_tokens.device
    params_context = parameter_count(parameters(model, 1, device)) if mode in ("trained", "untrained") else 0
    params_phase2 = parameter_count(parameters(model, 2, device))
    metrics: dict[str, Any] = {
        **corpus_columns(cell, corpus),
        "phases": family.phases,
        "phase1_mode": mode,
        "params_phase1": params_context if mode == "trained" else 0,
        "params_phase2": params_phase2,
    }
    own: dict[str, float] = {}

    def underway() -> Underway:
        curves = pl.DataFrame([{"run_id": cell.run_id, **asdict(point)} for point in tell.curves], schema=CURVE_SCHEMA)
        return Underway(record=frame([record(cell, family.phases, metrics, "interrupted")]), curves=curves,
                        earlier=earlier)

    stopper = Stopper(stop_rules, underway, tell.warn)
    status: Status = "ok"
    reason = None
    try:
        started = time.perf_counter()
        layers = variant.num_layers if two_phase else 0
        train = _stream(train_tokens, cell, corpus.vocab_size, layers, empty=mode == "zero-context")
        val = _stream(val_tokens, cell, corpus.vocab_size, layers, empty=mode == "zero-context")
        training = Training(checkpoint, model, weights, train, val, stopper, tell.curves, tell.parts)
        if training.phase:
            tell.resumed(training.phase, training.step)
        measured: dict[str, Any] = {}
        metrics |= training.metrics
        own |= tell.parts if training.phase == 2 else {}
        started -= training.seconds(1)
        if mode in ("trained", "untrained") and training.phase < 2:
            measured, stopped = _phase1(cell, model, train, val, autocast, tell, stopper, term, ender, training)
            metrics |= measured
            own |= tell.parts
            if stopped is not None:
                metrics["seconds_phase1"] = time.perf_counter() - started
                metrics["flops"] = run_flops(params_context, params_phase2, 0, len(train_tokens), len(val_tokens),
                                             metrics["phase1_iterations"], 0, trained=mode == "trained")
                tell.phase(1, metrics)
                raise Stopped(stopped)
        if training.phase < 2:
            if two_phase:
                measured["seconds_phase1"] = metrics["seconds_phase1"] = time.perf_counter() - started
                tell.phase(1, metrics)
            training.end_contexts(measured)
        started = time.perf_counter() - training.seconds(2)

        def stop() -> str | None:
            """Why to stop; what asking takes, which may be a wait for earlier cells, is no part of the run's time."""
            nonlocal started
            began = time.perf_counter()
            reason = stopper.epoch()
            asking = time.perf_counter() - began
            started, training.began = started + asking, training.began + asking
            return reason

        outcome = learn_tokens(
            model, train, val, head, settings.phase2, autocast=autocast, report=tell.epoch, shortcuts=shortcuts,
            stop=stop, resume=training.resume_tokens, keep=training.keep_tokens,
        )
        metrics |= {
            "epochs": outcome.epochs,
            "best_epoch": outcome.best.epoch,
            "phase2_censored": outcome.best.epoch >= settings.phase2.epochs or outcome.stopped is not None,
            "stopped_by": stopper.by,
            "train_ppl": outcome.best.train_ppl,
            "val_ppl": outcome.best.val_ppl,
            "val_acc": outcome.best.val_acc,
            "seconds_phase2": time.perf_counter() - started,
        }
        metrics["flops"] = run_flops(
            params_context, params_phase2, corpus.vocab_size * corpus.embed_dim, len(train_tokens), len(val_tokens),
            metrics.get("phase1_iterations") or 0, outcome.epochs, trained=mode == "trained",
        )
        own |= _own(model, metrics | own, declared, tell)
        tell.phase(2, metrics | own)
        if outcome.stopped is not None:
            raise Stopped(outcome.stopped)
    except Diverged as error:
        status, reason = "diverged", str(error)
    except Stopped as end:
        status, reason = "interrupted", str(end)
    metrics |= {"peak_memory": devices.peak_memory(device), "device": devices.describe(device),
                "tuning": described(shortcuts) if cell.device == "cpu" else None}
    return RunResult(record=record(cell, family.phases, metrics, status, reason), curves=tuple(tell.curves),
                     metrics=own)


def _own(
    model: TwoPhaseModel, measured: Mapping[str, Any], declared: Mapping[str, Quantity], tell: _Teller
) -> dict[str, float]:
    """What the model measures of itself, as far as somebody declared it; of the rest a warning says why not."""
    kept: dict[str, float] = {}
    values = model.metrics() if isinstance(model, Measures) else {}
    if not isinstance(values, Mapping):
        tell.warn(f"the model's metrics() are left out: they must be numbers by name, found {type(values).__name__}")
        return {}
    for name, value in values.items():
        quantity = (QUANTITIES | dict(declared)).get(name)
        if quantity is None:
            tell.warn(f"the model's metric '{name}' is left out: no plugin declares it; see the hook cvfp_quantities")
        elif name in measured or quantity.kind not in ("metric", "size", "setting"):
            tell.warn(f"the model's metric '{name}' is left out: the protocol measures it")
        elif (number := _number(value)) is None:
            tell.warn(f"the model's metric '{name}' is left out: it must be a number, found {type(value).__name__}")
        elif not quantity.allows(number):
            tell.warn(f"the model's metric '{name}' is left out: it must {quantity.range or 'be finite'}, "
                      f"found {number:g}")
        else:
            kept[name] = number
    return kept


def _number(value: object) -> float | None:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):  # the last of a tensor of several
        return None


def _stream(tokens: Tensor, cell: Cell, vocab_size: int, num_layers: int, *, empty: bool) -> Stream:
    """The stream with room for its contexts, or with contexts of nothing but zeros."""
    windows = token_windows(tokens, cell.variant.num_input_tokens, vocab_size)  # (N, T)
    shape = (num_layers, len(tokens), cell.variant.context_dim)
    if empty:
        layers = torch.zeros((), device=tokens.device).expand(shape)
    else:
        layers = room(shape, tokens.device, cell.cache, cell.shortcuts.memory_gib)
    return Stream(tokens=tokens, windows=windows, layers=layers)


def _phase1(
    cell: Cell,
    model: TwoPhaseModel,
    train: Stream,
    val: Stream,
    autocast: Callable[[], AbstractContextManager[object]],
    tell: _Teller,
    stopper: Stopper,
    term: Term,
    ender: Ender,
    training: Training,
) -> tuple[dict[str, Any], str | None]:
    """Fills the layers of both streams. Returns the record columns Phase 1 measured, and why it was stopped, if so."""
    settings, shortcuts, width = cell.settings.phase1, cell.shortcuts, cell.variant.context_dim
    share_train = sharing(model, train.windows, allowed=shortcuts.token_parts)
    share_val = sharing(model, val.windows, allowed=shortcuts.token_parts)

    def validate() -> bool:
        """Fills the validation contexts. False: the block does not forget its start, so they were made one by one."""
        with share_val():
            if shortcuts.parallel_validation:
                return parallel_contexts(model, val.windows, width, val.layers[-1]).passes is not None
            sequential_contexts(model, val.windows, width, val.layers[-1])
            return True

    def rank(stream: Stream) -> float:
        return effective_rank(stream.layers[-1], blocked=shortcuts.blocked_rank)

    def rank_now() -> float:
        validate()
        measured = rank(val)
        tell.point(1, "val_er", measured)
        return measured

    contexts, weights = train.layers[-1], list(model.phase1_parameters())

    def ends(sweep: Sweep) -> bool:
        stopper.see(sweep, rank_now() if ender.needs_rank(sweep.iteration) else None)
        ender.look(stopper.seen, contexts, weights,
                   lambda: room(contexts.shape, contexts.device, cell.cache, shortcuts.memory_gib))
        return ender.ends(stopper.seen, settings)

    with Noise(2 * cell.seed + 1, train.windows.device) as noise:
        result = learn_contexts(
            model, train.windows, contexts, settings, noise=noise, autocast=autocast,
            report=lambda sweep: tell.sweep(sweep, term), ends=ends, stop=lambda _sweep: stopper.iteration(rank_now),
            resume=lambda optimizer: training.resume_contexts(optimizer, noise, ender),
            keep=lambda sweep, optimizer: training.keep_contexts(sweep, optimizer, noise, ender),
            shortcuts=shortcuts, term=term,
        )
    kept = ender.kept if result.stopped is None else None
    if kept is not None and kept.iteration < result.last.iteration:
        kept.put_back(contexts, weights)
    else:
        kept = None
    if not validate():
        tell.warn("validation contexts were computed one by one: the context block does not forget its start")
    metrics = {
        "phase1_iterations": result.last.iteration,
        "phase1_censored": result.censored,
        "context_iteration": kept.iteration if kept else None,
        "convergence_rate": result.last.convergence_rate,
        "cvfp_loss": result.last.cvfp_loss,
        "diversity_loss": result.last.diversity_loss if term.published else None,
        "objective_loss": result.last.diversity_loss,
        "seconds_iteration": median(tell.paces) if tell.paces else None,
        "train_er": rank(train),
        "val_er": rank(val),
        "stopped_by": stopper.by,
    }
    if result.stopped is None:
        for share, stream in ((share_train, train), (share_val, val)):
            with share():
                layer_outputs(model, stream.layers, stream.windows, settings.batch_tokens, autocast)
    return metrics, result.stopped


class _Teller:
    """Turns what the phases report into events and curve points."""

    def __init__(self, cell: Cell, emit: Emit) -> None:
        self.cell, self.emit = cell, emit
        self.curves: list[CurvePoint] = []
        self.since = time.perf_counter()
        self.parts: dict[str, float] = {}
        """Of the objective's loss in the last iteration, by column."""
        self.clock = time.process_time if cell.device == "cpu" else time.perf_counter
        self.ticked: float | None = None
        self.paces: list[float] = []
        """Seconds from one iteration of Phase 1 to the next."""

    def sweep(self, sweep: Sweep, term: Term) -> None:
        now = self.clock()
        self.paces += [] if self.ticked is None else [now - self.ticked]
        self.ticked = now
        values = asdict(sweep)
        self.parts.clear()
        self.parts |= term.measured()
        if not term.published:
            values |= {"objective_loss": values.pop("diversity_loss"), **self.parts}
        seconds = self._step(1, sweep.iteration, "phase1_iteration", values)
        warning = term.warning(seconds)
        if warning and sweep.iteration == _WARM:
            self.warn(warning)

    def epoch(self, epoch: Epoch) -> None:
        self._step(2, epoch.epoch, "phase2_epoch", asdict(epoch))

    def phase(self, phase: int, metrics: dict[str, Any]) -> None:
        self._emit("phase_finished", {"phase": phase, **metrics})
        self.since = time.perf_counter()

    def resumed(self, phase: int, step: int) -> None:
        self._emit("run_resumed", {"phase": phase, "step": step})

    def warn(self, text: str) -> None:
        self._emit("warning", {"text": text})

    def point(self, phase: int, metric: str, value: float) -> None:
        """Keeps a value that not every step has, at the step that was told last."""
        self.curves.append(CurvePoint(phase=phase, step=self.curves[-1].step, metric=metric, value=value))

    def _step(self, phase: int, step: int, kind: Any, values: dict[str, Any]) -> float:
        """Tells of a step and returns the seconds it took."""
        now = time.perf_counter()
        values["seconds"], self.since = now - self.since, now
        self._emit(kind, values)
        self.curves += [
            CurvePoint(phase=phase, step=step, metric=name, value=float(value) if math.isfinite(value) else None)
            for name, value in values.items()
            if name not in ("iteration", "epoch", "improved")
        ]
        return float(values["seconds"])

    def _emit(self, kind: Any, values: dict[str, Any]) -> None:
        self.emit(Event(kind=kind, run_id=self.cell.run_id, values=values))


def _autocast(device: torch.device, precision: str) -> Callable[[], AbstractContextManager[object]]:
    if precision == "float32":
        return nullcontext
    return lambda: torch.autocast(device.type, dtype=torch.bfloat16)
