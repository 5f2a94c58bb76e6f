"""What the protocol asks of a model, what a model may offer beside, and an objective taken by blocks of rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


class ModelError(Exception):
    """A model returned or did what it must not: the text says what, and what is expected."""


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


@runtime_checkable
class Measures(Protocol):
    """What a model may offer beside: what else it measures of itself."""

    def metrics(self) -> Mapping[str, float]:
        """Values of declared quantities after training, by name; the run's record has them as columns."""
        ...


class BlockedObjective(Protocol):
    """An objective of one batch that arrives in blocks of rows, with its gradient in closed form.

    The core shows every block with `see`, asks for the `value`, then for the gradient of the blocks in the same order.
    """

    def see(self, made: Tensor) -> None:
        """Takes in a block of contexts (b, context_dim), which stays as it is until the batch is done."""
        ...

    def value(self) -> Tensor:
        """The loss of all that was seen, in float64 where the device has it."""
        ...

    def add_gradient(self, into: Tensor, made: Tensor, weight: float, batches: int) -> None:
        """Adds the gradient of the loss over a block, times weight / batches, to `into` (b, context_dim)."""
        ...
