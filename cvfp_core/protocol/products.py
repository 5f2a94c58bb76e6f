"""Matrix products on a CPU, by whichever library is faster on this machine.

torch multiplies float32 through MKL, which on AMD's processors reaches between half and nine tenths of the speed of
oneDNN, the library torch uses for bfloat16 and other things (benchmarks/RESULTS.md). The operators that reach oneDNN,
and the one that lays a weight out for it once and for all, are not public: they are used only where they are found and
agree with torch, on processors where they are faster (processor.py); everywhere else a product is torch's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from cvfp_core.protocol.processor import processor, suits

_ROWS = 512  # of the products a packed weight is laid out for; others it serves too

_allowed: ContextVar[bool] = ContextVar("fast products", default=True)
_library: ContextVar[str] = ContextVar("library of products", default="auto")


@contextmanager
def fast_products(allowed: bool, library: str = "auto") -> Iterator[None]:
    """While open, False makes every product torch's own, and True those in float32 the library's.

    library: torch or onednn; auto: which of them suits the processor, without a trial.
    """
    tokens = _allowed.set(allowed), _library.set(library)
    try:
        yield
    finally:
        _allowed.reset(tokens[0])
        _library.reset(tokens[1])


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x @ weight.T + bias` with its gradient, as torch.nn.functional.linear; x (B, n), weight (m, n), bias (m,)."""
    if not (by_onednn(x, weight) and weight.is_contiguous()):
        return F.linear(x, weight, bias)
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        made: Tensor = _Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
        return made
    return _onednn(x, weight, bias)


def product(x: Tensor, y: Tensor) -> Tensor:
    """`x @ y.T` without a gradient, whichever way x and y lie in memory; x (B, n), y (m, n)."""
    return _onednn(x.contiguous(), y.contiguous(), None) if by_onednn(x, y) else x @ y.T


def by_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether products of these are oneDNN's, which takes nothing but contiguous factors."""
    if (
        not _allowed.get() or x.device.type != "cpu" or x.dtype != torch.float32 or weight.dtype != torch.float32
        or torch.is_autocast_enabled("cpu")
    ):
        return False
    library = _library.get()
    return (library == "onednn" or (library == "auto" and suits(processor()).library == "onednn")) and onednn()


class Packed:
    """A weight (m, n) that does not change, laid out once in the way the library reads it."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight.contiguous()
        half = weight.dtype == torch.bfloat16 and weight.device.type == "cpu" and _allowed.get() and _packs_half()
        if half or by_onednn(self.weight, self.weight):
            self.weight = torch.ops.mkldnn._reorder_linear_weight(self.weight, _ROWS)

    def product(self, x: Tensor) -> Tensor:
        """`x @ weight.T` without a gradient, x (B, n)."""
        return _onednn(x, self.weight, None) if self.weight.is_mkldnn else product(x, self.weight)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _onednn(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        return (
            product(gradient, weight.T) if needs_x else None,
            gradient.T @ x if needs_weight else None,  # turning both round for oneDNN costs more than it saves
            gradient.sum(dim=0) if needs_bias else None,
        )


@cache
def onednn() -> bool:
    """Whether this torch has oneDNN's product of float32, and it is right."""
    return _agrees(torch.float32, tolerance=1e-4)


@cache
def _packs_half() -> bool:
    """Whether weights in bfloat16, whose products are oneDNN's anyway, can be packed for it."""
    return _agrees(torch.bfloat16, tolerance=0.5)


def _agrees(dtype: torch.dtype, *, tolerance: float) -> bool:
    """Whether this torch has the operators, and the product with a weight, packed or not, is torch's to a tolerance."""
    if not torch.backends.mkldnn.is_available():
        return False
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(rows, 64, generator=generator).to(dtype) for rows in (5, 3))
    with torch.no_grad():
        try:
            packed = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS)
            return all(torch.allclose(_onednn(x, each, None), F.linear(x, weight), rtol=0, atol=tolerance)
                       for each in (weight, packed))
        except (AttributeError, RuntimeError, TypeError, NotImplementedError):
            return False


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    made: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return made

