"""Objectives of pairs of contexts, on the unit sphere. contexts: (B, d); previous ones are not used.

Pairs are taken in chunks, each leaving its share of the gradient, so that memory does not grow with B^2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_PAIRS = 2**22  # of a chunk


def unif(contexts: Tensor, _previous: object, options: Mapping[str, float]) -> Tensor:
    """Logarithm of the mean kernel of two contexts; 0 for one token. Source: arXiv:2005.10242."""
    count, sharpness = len(contexts), options["sharpness"]
    points = F.normalize(contexts, dim=1)  # a context of zeros stays one
    at = points.detach()
    lengths = at.square().sum(dim=1)
    total, gradient = contexts.new_zeros((), dtype=_exact(contexts)), torch.zeros_like(at)
    for rows in _chunks(count):
        kernel = torch.exp(-sharpness * (lengths[rows, None] + lengths - 2 * at[rows] @ at.T))  # (b, B)
        kernel.diagonal(rows.start).zero_()
        total += kernel.sum(dtype=total.dtype)
        gradient[rows] = kernel @ at
    if count < 2:
        return 0 * contexts.sum()
    value = torch.log(total / (count * (count - 1)))
    return _Known.apply(points, value, gradient * (4 * sharpness / total).to(gradient))  # type: ignore[no-untyped-call,no-any-return]


def infonce(contexts: Tensor, _previous: object, options: Mapping[str, float]) -> Tensor:
    """Mean cross-entropy of each context among all, by their cosines. After arXiv:1807.03748."""
    count, temperature = len(contexts), options["temperature"]
    points = F.normalize(contexts, dim=1)
    at = points.detach()
    total, gradient = contexts.new_zeros((), dtype=_exact(contexts)), torch.zeros_like(at)
    for rows in _chunks(count):
        logits = at[rows] @ at.T / temperature  # (b, B)
        own = logits.diagonal(rows.start)
        total += (torch.logsumexp(logits, dim=1) - own).sum(dtype=total.dtype)
        share = torch.softmax(logits, dim=1)
        share.diagonal(rows.start).sub_(1)
        gradient[rows] += share @ at
        gradient += share.T @ at[rows]
    return _Known.apply(points, total / count, gradient / (temperature * count))  # type: ignore[no-untyped-call,no-any-return]


class _Known(torch.autograd.Function):
    """A value whose gradient with respect to the points (B, d) was computed with it."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        del points
        ctx.save_for_backward(gradient)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * above.to(gradient), None, None


def _chunks(count: int) -> Iterator[slice]:
    size = max(1, _PAIRS // count)
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def _exact(contexts: Tensor) -> torch.dtype:
    return torch.float32 if contexts.device.type == "mps" else torch.float64
