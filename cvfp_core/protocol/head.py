"""Cross-entropy against the frozen, tied head: `logits = hidden @ embeddings.T`, which no one trains.

The plain way holds tokens x vocabulary numbers several times over. Here the vocabulary is taken in chunks: each chunk's
logits are made, counted into a running maximum (where they are not small anyway) and a running sum of exponentials,
turned into their share of the gradient, and forgotten. The gradient with respect to `hidden` is ready when the loss is,
at the cost of the two products that nothing can save.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from cvfp_core.protocol.processor import DEFAULT
from cvfp_core.protocol.products import Packed

_Product = Callable[[Tensor], Tensor]
_CHUNK_NUMBERS = 1 << 26  # logits at a time on other devices, 256 MB in float32
_SMALL = 50.0  # exponentials of logits up to it, and sums over any vocabulary, are far from the ends of float32


class Head:
    """The frozen embeddings (V, d_e), ready to score hidden vectors.

    chunked: False is the plain computation; words: of a chunk on a CPU. half: products in bfloat16; maxima,
    exponentials and sums in float32.
    """

    def __init__(self, embeddings: Tensor, *, chunked: bool = True, half: bool = False,
                 words: int = DEFAULT.words_at_once) -> None:
        self.embeddings, self.embed_dim = embeddings, embeddings.shape[1]
        self.chunked, self.words = chunked, words
        self.products = embeddings.bfloat16() if half else embeddings
        self.longest = float(torch.linalg.vector_norm(embeddings, dim=1).amax())
        self.packed: list[tuple[Packed, Packed]] = []  # on a CPU: each chunk as logits read it, and as gradients do
        if chunked and embeddings.device.type == "cpu":
            self.packed = [(Packed(chunk), Packed(chunk.T)) for chunk in torch.split(self.products, words)]

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
        losses, first, _ = self._pass(hidden.float(), targets, gradient=False)
        return losses.sum(), first.sum()

    def _logits(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden.to(self.products.dtype), self.products)

    def _chunks(self, rows: int) -> Iterator[tuple[int, _Product, _Product]]:
        """(first word, hidden (B, d_e) -> its logits (B, C), weights (B, C) -> their sum of embeddings (B, d_e))."""
        if self.packed:
            for index, (chunk, turned) in enumerate(self.packed):
                yield index * self.words, chunk.product, turned.product
            return
        size = max(self.words, _CHUNK_NUMBERS // rows)
        for index, words in enumerate(torch.split(self.products, size)):
            yield index * size, partial(F.linear, weight=words), partial(F.linear, weight=words.T)

    def _pass(self, hidden: Tensor, targets: Tensor, *, gradient: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        """(losses (B,), whether the target is predicted (B,), gradient (B, d_e) of every loss) in one pass.

        With a gradient nobody asks what is predicted, and it is not told.
        """
        vectors = hidden.to(self.products.dtype)
        small = self._small(hidden)
        top = hidden.new_full((len(hidden), 1), float("-inf"))  # the largest logit so far
        total = torch.zeros_like(top)  # sum of exp(logit - top); small: of exp(logit)
        predicted = torch.zeros_like(targets, dtype=torch.bool)
        expected = torch.zeros_like(hidden) if gradient else None  # the same, times the embedding
        for first, score, blend in self._chunks(len(hidden)):
            logits = score(vectors).float()  # (B, C)
            before = top
            if not gradient:
                highest, leads = _highest(logits, targets - first)
                predicted = torch.where((highest > before).squeeze(1), leads, predicted)
                top = torch.maximum(before, highest)
            elif not small:
                top = torch.maximum(before, logits.amax(dim=1, keepdim=True))
            if not small:
                logits.sub_(top)
                shrink = torch.exp(before - top)
                total.mul_(shrink)
                if expected is not None:
                    expected.mul_(shrink)
            weights = logits.exp_()
            total.add_(weights.sum(dim=1, keepdim=True))
            if expected is not None:
                expected.add_(blend(weights.to(vectors.dtype)))
        right = self.products.index_select(0, targets).float()
        whole = total.log() if small else total.log() + top
        losses = whole.squeeze(1) - (vectors.float() * right).sum(dim=1)
        return losses, predicted, None if expected is None else expected.div_(total).sub_(right)

    def _small(self, hidden: Tensor) -> bool:
        """Whether no logit can be larger than _SMALL, so that its exponential needs no maximum taken off before.

        False on devices where asking would mean waiting.
        """
        if hidden.device.type != "cpu":
            return False
        return float(torch.linalg.vector_norm(hidden, dim=1).amax()) * self.longest < _SMALL


def _highest(logits: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
    """(highest logit (B, 1), whether it is that of the word (B,), and of none before); logits (B, C), words (B,).

    Words outside of 0..C-1 are none of these. torch.max, which says where the highest is, takes several times as long.
    """
    asked = words.clamp(0, logits.shape[1] - 1).unsqueeze(1)
    own = logits.gather(1, asked)
    rival = logits.scatter_(1, asked, float("-inf")).amax(dim=1, keepdim=True)
    logits.scatter_(1, asked, own)
    inside = asked.squeeze(1) == words
    leads = (own > rival).squeeze(1) & inside
    tied = ((own == rival).squeeze(1) & inside).nonzero().flatten()
    if len(tied):
        leads[tied] = logits.index_select(0, tied).argmax(dim=1) == words.index_select(0, tied)
    return torch.maximum(own, rival), leads


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
