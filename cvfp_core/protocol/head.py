"""Cross-entropy against the frozen, tied head: `logits = hidden @ embeddings.T`, which no one trains.

The plain way holds tokens x vocabulary numbers several times over. Here the vocabulary is taken in chunks: each chunk's
logits are made, counted into a running maximum and a running sum of exponentials, turned into their share of the
gradient, and forgotten. The gradient with respect to `hidden` is ready when the loss is, at the cost of the two
products that nothing can save.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from cvfp_core.protocol.products import Packed

_Product = Callable[[Tensor], Tensor]
_CHUNK = 4096  # words at a time on a CPU: a batch's logits stay in its cache
_CHUNK_NUMBERS = 1 << 26  # logits at a time on other devices, 256 MB in float32


class Head:
    """The frozen embeddings (V, d_e), ready to score hidden vectors.

    chunked: False is the plain computation. half: products in bfloat16; maxima, exponentials and sums in float32.
    """

    def __init__(self, embeddings: Tensor, *, chunked: bool = True, half: bool = False) -> None:
        self.embeddings = embeddings
        self.chunked = chunked
        self.products = embeddings.bfloat16() if half else embeddings
        self.packed: list[tuple[Packed, Packed]] = []  # on a CPU: each chunk as logits read it, and as gradients do
        if chunked and embeddings.device.type == "cpu":
            self.packed = [(Packed(chunk), Packed(chunk.T)) for chunk in torch.split(self.products, _CHUNK)]

    def loss(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy, with its gradient; hidden (B, d_e), targets (B,)."""
        if not self.chunked:
            return F.cross_entropy(self._logits(hidden).float(), targets)
        made: Tensor = _ChunkedLoss.apply(hidden.float(), self, targets)  # type: ignore[no-untyped-call]
        return made

    @torch.no_grad()
    def score(self, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """(sum of the cross-entropies, tokens predicted first), both scalars on the device."""
        if not self.chunked:
            logits = self._logits(hidden)
            return (F.cross_entropy(logits.float(), targets, reduction="sum"),
                    (logits.argmax(dim=1) == targets).sum())
        losses, best, _ = self._pass(hidden.float(), targets, gradient=False)
        return losses.sum(), (best == targets).sum()

    def _logits(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden.to(self.products.dtype), self.products)

    def _chunks(self, rows: int) -> Iterator[tuple[int, _Product, _Product]]:
        """(first word, hidden (B, d_e) -> its logits (B, C), weights (B, C) -> their sum of embeddings (B, d_e))."""
        if self.packed:
            for index, (chunk, turned) in enumerate(self.packed):
                yield index * _CHUNK, chunk.product, turned.product
            return
        size = max(_CHUNK, _CHUNK_NUMBERS // rows)
        for index, words in enumerate(torch.split(self.products, size)):
            yield index * size, partial(F.linear, weight=words), partial(F.linear, weight=words.T)

    def _pass(self, hidden: Tensor, targets: Tensor, *, gradient: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        """(losses (B,), most likely words (B,), gradient (B, d_e) of every loss) in one pass over the vocabulary."""
        vectors = hidden.to(self.products.dtype)
        top = hidden.new_full((len(hidden), 1), float("-inf"))  # the largest logit so far
        total = torch.zeros_like(top)  # sum of exp(logit - top)
        best = torch.zeros_like(targets)
        expected = torch.zeros_like(hidden) if gradient else None  # sum of exp(logit - top) * embedding
        for first, score, blend in self._chunks(len(hidden)):
            logits = score(vectors).float()  # (B, C)
            if gradient:
                highest = logits.amax(dim=1, keepdim=True)
            else:
                highest, word = logits.max(dim=1, keepdim=True)
                best = torch.where((highest > top).squeeze(1), word.squeeze(1) + first, best)
            higher = torch.maximum(top, highest)
            shrink = torch.exp(top - higher)
            weights = logits.sub_(higher).exp_()
            total.mul_(shrink).add_(weights.sum(dim=1, keepdim=True))
            if expected is not None:
                expected.mul_(shrink).add_(blend(weights.to(vectors.dtype)))
            top = higher
        right = self.products.index_select(0, targets).float()
        losses = (total.log() + top).squeeze(1) - (vectors.float() * right).sum(dim=1)
        return losses, best, None if expected is None else expected.div_(total).sub_(right)


class _ChunkedLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Head, targets: Tensor) -> Tensor:
        losses, _, gradient = head._pass(hidden, targets, gradient=True)
        assert gradient is not None
        ctx.save_for_backward(gradient)
        return losses.mean()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (made,) = ctx.saved_tensors
        return made * (gradient / len(made)), None, None
