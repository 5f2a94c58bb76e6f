"""Contexts along a stream, each made from the one before it: the exact recursion, computed side by side.

A context block that has been trained forgets where it started. So the stream is cut into chunks, each chunk starts a
few tokens early from a zero context, and all chunks advance together. Afterwards every seam is checked: a chunk whose
start differs from the end of the chunk before it by more than the tolerance is computed again from that end, until no
seam is off. The result is that of the recursion within the tolerance, whether or not the block forgets.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from cvfp_core.protocol.model import TwoPhaseModel
from cvfp_core.protocol.phase1 import batches, shifted

CHUNK = 256  # tokens a chunk; 128-256 was fastest at widths from 128 to 1,536
WARM_UP = 48  # tokens before a chunk; a trained block forgot its start to 2e-5 in 32-48
TOLERANCE = 1e-5  # largest difference at a seam, in any component
PASSES = 8  # repairs before the rest is computed sequentially


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StreamContexts:
    """The contexts of a stream, and what they took."""

    contexts: Tensor
    """(N, context_dim)"""
    repaired: int | None
    """Chunks computed again; None: the block does not forget, and the stream was computed in order."""


def sequential_contexts(model: TwoPhaseModel, windows: Tensor, context_dim: int) -> Tensor:
    """(N, context_dim): each token's context from the one before it, from zero; the plain reference."""
    contexts = torch.empty(len(windows), context_dim, device=windows.device)
    state = torch.zeros(1, context_dim, device=windows.device)
    with torch.no_grad():
        for i in range(len(windows)):
            state = model.contexts(state, windows[i : i + 1])[-1].float()
            contexts[i] = state[0]
    return contexts


@torch.no_grad()
def parallel_contexts(
    model: TwoPhaseModel, windows: Tensor, context_dim: int, *, chunk: int = CHUNK, warm_up: int = WARM_UP
) -> StreamContexts:
    """The contexts of `sequential_contexts`, within TOLERANCE at every seam."""
    num_tokens = len(windows)
    num_chunks = -(-num_tokens // chunk)
    if num_chunks < 2:
        return StreamContexts(contexts=sequential_contexts(model, windows, context_dim), repaired=0)
    # positions past the end repeat the last token; what is computed there is cut off below
    starts = torch.arange(num_chunks, device=windows.device) * chunk
    contexts = torch.zeros(num_chunks, chunk, context_dim, device=windows.device)

    def advance(which: Tensor, state: Tensor) -> None:
        """Fills the chunks `which` (J,) from their start contexts `state` (J, d)."""
        for step in range(chunk):
            rows = (starts[which] + step).clamp_max(num_tokens - 1)
            state = model.contexts(state, windows[rows])[-1].float()
            contexts[which, step] = state

    state = torch.zeros(num_chunks, context_dim, device=windows.device)
    for step in range(-warm_up, 0):
        rows = starts + step
        state = model.contexts(state, windows[rows.clamp_min(0)])[-1].float()
        state[rows < 0] = 0.0  # the stream begins at token 0
    everything = torch.arange(num_chunks, device=windows.device)
    advance(everything, state)

    used, repaired = state, 0
    for _ in range(PASSES):
        ends = torch.cat([torch.zeros_like(state[:1]), contexts[:-1, -1]])
        off = ((used - ends).abs().amax(dim=1) > TOLERANCE).nonzero().flatten()
        if len(off) == 0:
            return StreamContexts(contexts=contexts.flatten(0, 1)[:num_tokens], repaired=repaired)
        repaired += len(off)
        used[off] = ends[off]
        advance(off, ends[off])
    return StreamContexts(contexts=sequential_contexts(model, windows, context_dim), repaired=None)


def layer_outputs(
    model: TwoPhaseModel,
    contexts: Tensor,
    windows: Tensor,
    batch_tokens: int,
    autocast: Callable[[], AbstractContextManager[object]],
) -> Tensor:
    """(L, N, d): every context layer's output, token i reading the context of token i-1 (zero for the first)."""
    layers: Tensor | None = None
    with torch.no_grad():
        for rows in batches(len(windows), batch_tokens):
            previous = shifted(contexts, rows, before=torch.zeros_like(contexts[0]))
            with autocast():
                made = model.contexts(previous, windows[rows])
            if layers is None:
                layers = contexts.new_empty(len(made), *contexts.shape)
            for index, layer in enumerate(made):
                layers[index, rows] = layer.float()
    assert layers is not None
    return layers
