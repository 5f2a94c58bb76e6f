"""What the protocol asks of a model, and the token windows it feeds it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn


class TwoPhaseModel(Protocol):
    """A torch module with two groups of parameters: those that make contexts and those that predict tokens.

    `windows` are token ids (B, T), the current token last; the id `vocab_size` stands before the first token of a
    stream and must act as a zero vector. No method writes into the tensors it is given. The tied, frozen output head
    belongs to the protocol: logits are `hidden @ embeddings.T`.
    """

    def contexts(self, previous: Tensor, windows: Tensor) -> list[Tensor]:
        """The output of every context layer, each (B, context_dim), for input contexts (B, context_dim).

        The last one is the token's new context. A one-phase model returns an empty list.
        """
        ...

    def hidden(self, contexts: Tensor, windows: Tensor) -> Tensor:
        """The vector (B, embed_dim) that the head reads, for context layers (L, B, context_dim)."""
        ...

    def phase1_parameters(self) -> Iterable[nn.Parameter]:
        """What Phase 1 trains; empty for a one-phase model."""
        ...

    def phase2_parameters(self) -> Iterable[nn.Parameter]:
        """What Phase 2 trains."""
        ...

    def to(self, device: torch.device) -> TwoPhaseModel:
        """The model on another device."""
        ...


@runtime_checkable
class SharesTokens(Protocol):
    """What a model may offer beside: work that depends on tokens alone, done once for every distinct token."""

    def sharing(self, tokens: Tensor) -> AbstractContextManager[None]:
        """While it is open, windows hold no token but these distinct ones (U,), and no parameter changes.

        Gradients of the calls made meanwhile are complete when it closes.
        """
        ...


_DISTINCT = 0.7  # share of distinct tokens above which sharing them saves nothing


def sharing(model: TwoPhaseModel, windows: Tensor, *, allowed: bool) -> Callable[[], AbstractContextManager[object]]:
    """What to open around calls with these windows (N, T): the model's sharing, if it has one and it pays."""
    if allowed and isinstance(model, SharesTokens):
        distinct: Tensor = torch.unique(torch.cat([windows[:1].flatten(), windows[:, -1]]))
        if len(distinct) < _DISTINCT * len(windows):
            return lambda: model.sharing(distinct)
    return nullcontext


def token_windows(tokens: Tensor, num_input_tokens: int, vocab_size: int) -> Tensor:
    """(N, T) view: row i holds tokens i-T+1..i, and `vocab_size` where the stream has not begun."""
    before = tokens.new_full((num_input_tokens - 1,), vocab_size)
    return torch.cat([before, tokens]).unfold(0, num_input_tokens, 1)


def parameter_count(parameters: Iterable[nn.Parameter]) -> int:
    """How many numbers the parameters hold."""
    return sum(parameter.numel() for parameter in parameters)


class Diverged(Exception):
    """A loss or a context stopped being finite; the text says where."""
