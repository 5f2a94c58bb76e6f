"""What cells would cost: parameters, FLOPs and memory by arithmetic, seconds from a short calibration."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from cvfp_core.errors import CvfpError
from cvfp_core.protocol.flops import phase1_flops, phase2_flops, sweep_flops
from cvfp_core.registry import Registry, culprits
from cvfp_core.registry.kinds import Corpus, ModelSize, VariantFamily
from cvfp_core.running import machine
from cvfp_core.running.sizes import model_size, peak_memory
from cvfp_core.schema.cells import Cell, Emit, Event

ITERATIONS, EPOCHS = 15, 11
"""Means of the default grid's runs (examples/logs/default), in which no run reaches a limit."""
CALIBRATION = 2.0
"""Seconds that measuring times may take."""
_MOST_TOKENS, _LEAST_TOKENS = 4000, 100
"""Of a calibration: a few batches of either phase; below the least little but overheads is measured."""
_FLOPS, _TOO_MANY = 2e10, 1e11
"""Of a calibration: a good second on a slow CPU; those of the least tokens above which none is begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellCost:
    """At most, if Phase 1 runs to its maximum of iterations and Phase 2 to its maximum of epochs."""

    cell: Cell
    size: ModelSize
    flops_phase1: float
    flops_phase2: float
    memory: int
    """Bytes at the peak, estimated: of its process, or on a GPU of what is allocated there."""
    seconds: float | None = None
    """In one process; None: not measured."""
    seconds_typical: float | None = None
    """Where its phases end as they do in the default grid, or at their limits if those are lower."""

    @property
    def flops(self) -> float:
        return self.flops_phase1 + self.flops_phase2

    @property
    def params_context(self) -> int:
        """Of the part that makes contexts, trained or not: a sweep costs what they cost."""
        return 0 if self.cell.control == "zero-context" else self.size.params_phase1

    @property
    def params_phase1(self) -> int:
        return 0 if self.cell.control else self.size.params_phase1

    @property
    def params_phase2(self) -> int:
        return self.size.params_phase2


def costs(cells: Sequence[Cell], registry: Registry, corpus: Corpus) -> tuple[CellCost, ...]:
    """The cost of each cell but for its time; nothing is trained. Raises PluginError if a family's code fails."""
    sizes: dict[str, ModelSize] = {}
    for cell in cells:
        if cell.variant.name not in sizes:
            sizes[cell.variant.name] = model_size(cell.variant, cell.settings.model, registry, corpus)
    return tuple(_cost(cell, sizes[cell.variant.name], registry, corpus) for cell in cells)


def _cost(cell: Cell, size: ModelSize, registry: Registry, corpus: Corpus) -> CellCost:
    settings, val_tokens = cell.settings, len(corpus.val_tokens)
    context = 0 if cell.control == "zero-context" else size.params_phase1
    return CellCost(
        cell=cell,
        size=size,
        flops_phase1=phase1_flops(context, cell.train_tokens, val_tokens, settings.phase1.max_iterations,
                                  trained=cell.control is None),
        flops_phase2=phase2_flops(size.params_phase2, corpus.vocab_size * corpus.embed_dim, cell.train_tokens,
                                  val_tokens, settings.phase2.epochs),
        memory=peak_memory(cell, size, corpus, registry.get(VariantFamily, cell.variant.family).phases),
    )


def too_large(told: Iterable[CellCost]) -> str | None:
    """A warning that names the largest cell, where some will not fit into what memory is free; None: all will."""
    told = tuple(told)
    free = machine.free_memory(told[0].cell.device) if told else None
    beyond = [each for each in told if free is not None and each.memory > free]
    if not beyond or free is None:
        return None
    largest = max(beyond, key=lambda each: each.memory)
    return (f"warning: {len(beyond)} of {len(told)} cells will not fit into memory: {largest.cell.title} with "
            f"{largest.cell.num_samples} samples takes about {gib(largest.memory)}, and {gib(free)} are free on "
            f"{largest.cell.device}; take a narrower variant, fewer samples or a smaller phase1.batch_tokens")


def gib(count: float) -> str:
    """Bytes in GiB."""
    size = count / 2**30
    return f"{size:.1f} GiB" if size < 100 else f"{size:,.0f} GiB" if size < 1e6 else f"{size:.1e} GiB"


def timed(told: Sequence[CellCost], registry: Registry, corpus: Corpus,
          limit: float = CALIBRATION) -> tuple[tuple[CellCost, ...], str]:
    """The costs with the time of each cell, and what was tried for it, or why nothing could be, in words.

    The first cell of each variant, or control of one, is tried on a few thousand tokens, the cheapest first, for
    `limit` seconds in all; the time of others follows from that of the last that was tried, by FLOPs.
    """
    first = sorted({each.cell.title: each for each in reversed(told)}.values(), key=lambda each: _a_token(each, corpus))
    name, free = first[0].cell.title, machine.free_memory(told[0].cell.device)
    if free is not None and first[0].memory > free:
        return tuple(told), f"not measured: {name}, the smallest, will not fit into memory"
    speeds: dict[str, _Speed] = {}
    import torch  # noqa: F401 (before the clock starts)

    until = time.thread_time() + limit
    for each in first:
        speed = _calibrate(each, registry, corpus, until) if time.thread_time() < until else None
        if speed is None:
            break
        speeds[each.cell.title] = speed
    if not speeds:
        return tuple(told), f"not measured: a few steps of {name}, the smallest, take more than {limit:g} s"
    rest = "" if len(speeds) == len(first) else f", and by FLOPs from there for {len(first) - len(speeds)} more"

    def with_time(cost: CellCost) -> CellCost:
        speed = speeds.get(cost.cell.title, [*speeds.values()][-1])
        return replace(cost, seconds=speed.seconds(cost), seconds_typical=speed.seconds(
            cost, ITERATIONS / cost.cell.settings.phase1.max_iterations, EPOCHS / cost.cell.settings.phase2.epochs))

    return tuple(map(with_time, told)), f"measured on {'; '.join(speeds)}{rest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Speed:
    """Seconds an operation of either phase takes on this machine."""

    phase1: float
    phase2: float

    def seconds(self, cost: CellCost, share1: float = 1.0, share2: float = 1.0) -> float:
        """Of a cell whose phases end after these shares of their iterations and epochs."""
        return (self.phase1 * cost.flops_phase1 * min(share1, 1.0)
                + self.phase2 * cost.flops_phase2 * min(share2, 1.0))


class _TimeIsUp(Exception):
    pass


def _steps(cost: CellCost, corpus: Corpus, tokens: int) -> tuple[float, float]:
    """FLOPs of an iteration of Phase 1 and of an epoch of Phase 2 over so many tokens, and of validation at most."""
    iteration = sweep_flops(cost.params_context, tokens, trained=cost.cell.control is None)
    return iteration, phase2_flops(cost.params_phase2, corpus.vocab_size * corpus.embed_dim, tokens,
                                   min(tokens, len(corpus.val_tokens)), 1)


def _a_token(cost: CellCost, corpus: Corpus) -> float:
    """FLOPs that a calibration takes for each of its tokens."""
    iteration, epoch = _steps(cost, corpus, 1)
    return 4 * iteration + 2 * epoch


def _calibrate(cost: CellCost, registry: Registry, corpus: Corpus, until: float) -> _Speed | None:
    """Runs a few iterations and two epochs on a few thousand tokens; the first of each warms up and counts for nothing
    where there is another.

    until: of `time.thread_time`, which a busy machine does not wear out; steps on a CPU are timed by it too. A phase
    that is not reached is as fast as the other, for each operation. None: nothing was measured.
    """
    cell = cost.cell
    a_token = _a_token(cost, corpus)
    tokens = min(len(corpus.train_tokens), _MOST_TOKENS, max(_LEAST_TOKENS, int(_FLOPS / a_token)))
    if tokens * a_token > _TOO_MANY:
        return None
    small = replace(corpus, train_tokens=corpus.train_tokens[:tokens], document_ends=np.array([tokens]),
                    val_tokens=corpus.val_tokens[:tokens])
    settings = replace(
        cell.settings,
        phase1=replace(cell.settings.phase1, max_iterations=4, min_iterations=4),
        phase2=replace(cell.settings.phase2, epochs=2, patience=2),
    )
    seconds: dict[str, list[float]] = {"phase1_iteration": [], "phase2_epoch": []}

    device = machine.device(cell.device)
    clock = time.thread_time if device == "cpu" else time.perf_counter
    last = clock()

    def heard(event: Event) -> None:
        nonlocal last
        now = clock()
        step, last = now - last, now
        if event.kind in seconds:
            seconds[event.kind].append(step)
            if time.thread_time() > until:
                raise _TimeIsUp

    with suppress(_TimeIsUp):
        _run(replace(cell, settings=settings, num_samples=1, device=device), small, registry,
             heard)
    iteration, epoch = (min(each[1:] or each, default=None) for each in seconds.values())
    if iteration is None and epoch is None:
        return None
    flops_iteration, flops_epoch = _steps(cost, small, tokens)
    phase1 = None if iteration is None or not flops_iteration else iteration / flops_iteration
    phase2 = None if epoch is None else epoch / flops_epoch
    return _Speed(phase1=phase1 or phase2 or 0.0, phase2=phase2 or phase1 or 0.0)


def _run(cell: Cell, corpus: Corpus, registry: Registry, emit: Emit) -> None:
    """Raises CvfpError that says whose code failed, as a failed record would."""
    from cvfp_core.protocol.run import run_cell
    from cvfp_core.running import phase1
    from cvfp_core.running.compute import reason

    try:
        run_cell(cell, registry.get(VariantFamily, cell.variant.family), corpus, emit,
                 term=phase1.term(cell, registry), ender=phase1.ender(cell, registry))
    except (CvfpError, _TimeIsUp, *culprits.PASSING):
        raise
    except BaseException as error:
        raise CvfpError(f"cannot try {cell.title}: {reason(cell, registry, error)}") from error
