"""Contexts along a stream, each made from the one before it: the exact recursion, computed side by side.

A context block that has been trained forgets where it started. So the stream is cut into chunks, and all chunks advance
together, each from a zero context. Then every chunk is begun again from the end of the chunk before it, until it is
back on what stands there, which for most is after a few dozen tokens; and again, where the end it was begun from has
moved by more than the tolerance, until none has. The result is that of the recursion within the tolerance, whether or
not the block forgets.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from cvfp_core.protocol import model as models
from cvfp_core.protocol.model import ModelError, TwoPhaseModel
from cvfp_core.protocol.phase1 import batches, shifted

CHUNK = 192  # tokens a chunk; of 128 to 320 at width 768 the best or within 5 % of it
TOLERANCE = 1e-5  # largest difference at a seam, in any component
_LOOK = 8  # tokens between two looks at whether a chunk that was begun again is back
PASSES = 8  # times chunks are begun again before the rest is computed sequentially


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StreamContexts:
    """The contexts of a stream, and what they took."""

    contexts: Tensor
    """(N, context_dim)"""
    passes: int | None
    """Times chunks were begun again; None: the block does not forget, and the stream was computed in order."""


def sequential_contexts(model: TwoPhaseModel, windows: Tensor, context_dim: int, out: Tensor | None = None) -> Tensor:
    """(N, context_dim), written to `out` if given: each token's context from the one before it, from zero.

    The plain reference.
    """
    contexts = torch.empty(len(windows), context_dim, device=windows.device) if out is None else out
    state = torch.zeros(1, context_dim, device=windows.device)
    with torch.no_grad():
        for i in range(len(windows)):
            state = models.contexts(model, state, windows[i : i + 1])[-1].float()
            contexts[i] = state[0]
    return contexts


@torch.no_grad()
def parallel_contexts(
    model: TwoPhaseModel,
    windows: Tensor,
    context_dim: int,
    out: Tensor | None = None,
    *,
    chunk: int = CHUNK,
) -> StreamContexts:
    """The contexts of `sequential_contexts`, within TOLERANCE at every seam."""
    num_tokens = len(windows)
    num_chunks = -(-num_tokens // chunk)
    contexts = torch.empty(num_tokens, context_dim, device=windows.device) if out is None else out
    if num_chunks < 2:
        sequential_contexts(model, windows, context_dim, contexts)
        return StreamContexts(contexts=contexts, passes=0)
    starts = torch.arange(num_chunks, device=windows.device) * chunk
    lasts = (starts + chunk - 1).clamp_max(num_tokens - 1)

    def step(state: Tensor, rows: Tensor) -> Tensor:
        return models.contexts(model, state, windows.index_select(0, rows.clamp_max(num_tokens - 1)))[-1].float()

    def advance(which: Tensor, state: Tensor, *, until_met: bool = False) -> None:
        """Fills the chunks `which` (J,) from their start contexts `state` (J, d).

        until_met: each chunk ends where it is back on the contexts that stand there already.
        """
        whole = int(which[-1]) < num_chunks - 1  # the last chunk may end before the others
        for place in range(chunk):
            rows = starts[which] + place
            state = step(state, rows)
            if not whole and int(starts[-1]) + place >= num_tokens:
                rows, state, which, whole = rows[:-1], state[:-1], which[:-1], True
                if len(which) == 0:
                    return
            if until_met and place % _LOOK == _LOOK - 1:
                off = _differs(state, contexts.index_select(0, rows)).nonzero().flatten()
                if len(off) == 0:
                    return
                which, rows, state = (each.index_select(0, off) for each in (which, rows, state))
                whole = int(which[-1]) < num_chunks - 1
            contexts.index_copy_(0, rows, state)

    used = torch.zeros(num_chunks, context_dim, device=windows.device)
    advance(torch.arange(num_chunks, device=windows.device), used)
    for passes in range(PASSES + 1):
        expected = torch.cat([torch.zeros_like(used[:1]), contexts.index_select(0, lasts[:-1])])
        off = _differs(used, expected).nonzero().flatten()
        if len(off) == 0:
            return StreamContexts(contexts=contexts, passes=passes)
        if passes < PASSES:
            used[off] = expected[off]
            advance(off, expected[off], until_met=True)
    sequential_contexts(model, windows, context_dim, contexts)
    return StreamContexts(contexts=contexts, passes=None)


def _differs(a: Tensor, b: Tensor) -> Tensor:
    """(J,): whether contexts (J, d) differ by more than the tolerance in some component, or are not numbers."""
    return ~((a - b).abs().amax(dim=1) <= TOLERANCE)


def layer_outputs(
    model: TwoPhaseModel,
    layers: Tensor,
    windows: Tensor,
    batch_tokens: int,
    autocast: Callable[[], AbstractContextManager[object]],
) -> None:
    """Fills layers (L, N, d) with every context layer's output, token i reading the context of token i-1.

    The contexts are read from `layers[-1]`, where the outputs of the last layer take their place; the context before
    the first token is zero.
    """
    before = torch.zeros_like(layers[-1, 0])
    spare = layers.new_empty(min(batch_tokens, len(windows)), layers.shape[2])
    with torch.no_grad():
        for rows in batches(len(windows), batch_tokens):
            previous = shifted(layers[-1], rows, before, spare)
            before = layers[-1, rows.stop - 1].clone()  # the batch is about to be overwritten
            with autocast():
                made = models.contexts(model, previous, windows[rows])
            if len(made) != len(layers):
                raise ModelError(f"contexts() returned {len(made)} tensors; expected {len(layers)}, one a layer")
            for layer, output in zip(layers, made, strict=True):
                layer[rows] = output.float()
