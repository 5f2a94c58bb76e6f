"""The token windows a layer reads, and the products that depend on them alone.

`W [c; u] = W_c c + W_u u`: the second part is the same wherever the same tokens stand. While a model shares tokens, it
is computed once for every distinct token and position in the window, gathered forward, and summed up by token backward.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cvfp_core.protocol.products import linear, product


class Window:
    """Token ids (B, T), read by layers as the vectors (B, T d_e) of a table (V + 1, d_e), oldest token first."""

    def __init__(self, ids: Tensor, table: Tensor, shared: Shared | None) -> None:
        self.ids, self.table, self.shared = ids, table, shared
        self._index = None if shared is None else shared.index(ids)

    def vectors(self) -> Tensor:
        """(B, T d_e)"""
        rows, window = self.ids.shape
        return self.table.index_select(0, self.ids.flatten()).view(rows, window * self.table.shape[1])

    def through(self, layer: nn.Linear) -> Tensor:
        """`layer(vectors)`: (B, out)."""
        if self.shared is None or self._index is None:
            return linear(self.vectors(), layer.weight, layer.bias)
        made = self.shared.part(layer)(self._index)
        return made if layer.bias is None else made + layer.bias


class Distinct:
    """The distinct tokens (U,) of a stream and their vectors."""

    def __init__(self, tokens: Tensor, table: Tensor) -> None:
        self.tokens = tokens
        self.vectors = table.index_select(0, tokens)  # (U, d_e)
        self.place = torch.zeros(len(table), dtype=torch.int64, device=table.device)
        self.place[tokens] = torch.arange(len(tokens), device=table.device)

    def index(self, ids: Tensor) -> Tensor:
        """(B, T): for each position the row of its part."""
        first = torch.arange(ids.shape[1], device=ids.device) * len(self.vectors)
        return self.place.index_select(0, ids.flatten()).view(ids.shape) + first


class Shared:
    """The parts of all layers for the distinct tokens of a stream, each made when it is first asked for."""

    def __init__(self, distinct: Distinct) -> None:
        self.index, self.vectors = distinct.index, distinct.vectors
        self.parts: dict[nn.Linear, Part] = {}

    def part(self, layer: nn.Linear) -> Part:
        if layer not in self.parts:
            self.parts[layer] = Part(layer.weight, self.vectors)
        return self.parts[layer]

    def close(self) -> None:
        """Adds to every weight its gradient."""
        for part in self.parts.values():
            part.close()


class Part:
    """`weight @ u` for windows u of few distinct tokens; weight (out, T d_e), vectors (U, d_e)."""

    def __init__(self, weight: Tensor, vectors: Tensor) -> None:
        self.weight, self.vectors = weight, vectors
        width = vectors.shape[1]
        with torch.no_grad():
            made = [product(vectors, columns) for columns in weight.split(width, dim=1)]
            self.rows = torch.cat(made).float()  # (T U, out): position 0 of every token, then position 1, ...
        self.gradient: Tensor | None = None  # of rows

    def __call__(self, index: Tensor) -> Tensor:
        made: Tensor = _Gather.apply(self.weight, self, index)  # type: ignore[no-untyped-call]
        return made

    def add(self, index: Tensor, gradient: Tensor) -> None:
        """Sums the gradient (B, out) up by token and position."""
        if self.gradient is None:
            self.gradient = torch.zeros_like(self.rows)
        for rows in index.unbind(dim=1):
            if gradient.device.type == "cpu":
                self.gradient.index_add_(0, rows, gradient)
            else:  # in a fixed order, so that sums do not vary
                self.gradient.index_put_((rows,), gradient, accumulate=True)

    @torch.no_grad()
    def close(self) -> None:
        if self.gradient is None:
            return
        parts = self.gradient.split(len(self.vectors))
        made = torch.cat([part.T @ self.vectors for part in parts], dim=1)  # (out, T d_e)
        self.weight.grad = made if self.weight.grad is None else self.weight.grad.add_(made)


class _Gather(torch.autograd.Function):
    """Sums of rows of a part. Its gradient is collected in the part and reaches the weight when the part is closed."""

    @staticmethod
    def forward(ctx: Any, _weight: Tensor, part: Part, index: Tensor) -> Tensor:
        ctx.part, ctx.index = part, index
        if index.device.type == "mps":  # which lacks the operator
            return part.rows.index_select(0, index.flatten()).view(*index.shape, -1).sum(dim=1)
        return F.embedding_bag(index, part.rows, mode="sum")

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, None]:
        ctx.part.add(ctx.index, gradient.contiguous())
        return None, None, None
