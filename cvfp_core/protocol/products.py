"""float32 matrix products on a CPU, by whichever library is faster on this machine.

torch multiplies float32 through MKL, which on AMD's processors reaches between half and nine tenths of the speed of
oneDNN, the library torch uses for other things (benchmarks/RESULTS.md). The operator that reaches oneDNN is not public,
so it is used only where it is found and agrees with torch; everywhere else `linear` is torch's own.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_fast: ContextVar[bool] = ContextVar("fast products", default=True)


@contextmanager
def fast_products(allowed: bool) -> Iterator[None]:
    """While open, False makes every product torch's own."""
    token = _fast.set(allowed)
    try:
        yield
    finally:
        _fast.reset(token)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x @ weight.T + bias` with its gradient, as torch.nn.functional.linear; x (B, n), weight (m, n), bias (m,)."""
    apply = _onednn_for(x, weight)
    if apply is None:
        return F.linear(x, weight, bias)
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        made: Tensor = _Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
        return made
    return apply(x, weight, bias)


def product(x: Tensor, y: Tensor) -> Tensor:
    """`x @ y.T` without a gradient, whichever way x and y lie in memory; x (B, n), y (m, n)."""
    y = y.contiguous()
    apply = _onednn_for(x, y)
    return x @ y.T if apply is None else apply(x.contiguous(), y, None)


def _onednn_for(x: Tensor, weight: Tensor) -> Callable[[Tensor, Tensor, Tensor | None], Tensor] | None:
    """Only float32 on a CPU, and only contiguous weights: with others oneDNN takes minutes."""
    if (
        not _fast.get() or x.device.type != "cpu" or x.dtype != torch.float32 or weight.dtype != torch.float32
        or not weight.is_contiguous() or torch.is_autocast_enabled("cpu")
    ):
        return None
    return onednn()


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
def onednn() -> Callable[[Tensor, Tensor, Tensor | None], Tensor] | None:
    """oneDNN's product on processors where it is the faster one, if it is found and right; None: torch's own.

    The processor decides, not a trial's clock: the two differ in the last bits, and a run must not depend on how busy
    the machine was when it began.
    """
    if not (torch.backends.mkldnn.is_available() and _is_amd()):  # type: ignore[no-untyped-call]
        return None
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(5, 64, generator=generator), torch.randn(3, 64, generator=generator)
    with torch.no_grad():
        try:
            right = torch.allclose(_onednn(x, weight, None), F.linear(x, weight), rtol=0, atol=1e-4)
        except (AttributeError, RuntimeError, TypeError, NotImplementedError):
            return None
    return _onednn if right else None


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    made: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return made


def _is_amd() -> bool:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
            return any("AuthenticAMD" in line for line in lines)
    except OSError:
        return "AuthenticAMD" in platform.processor()
