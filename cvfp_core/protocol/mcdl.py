"""The published diversity term: minus the distance of a batch from its mean, with its gradient in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from cvfp_core.protocol.device import exact


def diversity_loss(contexts: Tensor, *_: object) -> Tensor:
    """Minus the Frobenius norm of the batch around its mean, over the number of tokens B; contexts (B, d)."""
    norm: Tensor = torch.linalg.vector_norm(contexts - contexts.mean(dim=0))
    return -norm / contexts.shape[0]


class Blocks:
    """The same by blocks of rows; its gradient over `made` (B, d) is `-(made - mean) / (B |made - mean|)`."""

    def __init__(self, _options: object) -> None:
        self._blocks: list[Tensor] = []
        self._sums: list[Tensor] = []
        self._norms: list[Tensor] = []

    def see(self, made: Tensor) -> None:
        self._blocks.append(made)
        self._sums.append(made.sum(dim=0))
        self._norms.append(torch.linalg.vector_norm(made))

    def value(self) -> Tensor:
        self.count = sum(len(block) for block in self._blocks)
        self.mean = torch.stack(self._sums).sum(dim=0) / self.count
        self.norm = _norm_around(self.mean, self._blocks, self._norms)
        return -self.norm / self.count

    def add_gradient(self, into: Tensor, made: Tensor, weight: float, batches: int) -> None:
        push = torch.where(self.norm > 0, -weight / (self.count * self.norm * batches), 0.0).to(self.mean.dtype)
        into.addcmul_(made, push).sub_(self.mean * push)


def _norm_around(mean: Tensor, blocks: list[Tensor], norms: list[Tensor]) -> Tensor:
    """The Frobenius norm of the blocks around their mean (d,), from their norms around zero.

    Where little is left of those (or on devices where looking would mean waiting), it is measured directly.
    """
    squared = torch.stack(norms).to(exact(mean.device)).square().sum()
    count = sum(len(block) for block in blocks)
    left = squared - count * mean.to(squared.dtype).square().sum()
    if mean.device.type == "cpu" and float(left) > 0.01 * float(squared):
        return torch.sqrt(left)
    around: Tensor = torch.stack([torch.linalg.vector_norm(block - mean) for block in blocks])
    return torch.sqrt(around.to(squared.dtype).square().sum())
