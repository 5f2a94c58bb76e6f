"""How the protocol drives a model: its methods, and what they return checked; token windows; work shared by tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal

import torch
from torch import Tensor, nn

from cvfp_core.schema.models import Measures, ModelError, SharesTokens, TwoPhaseModel

__all__ = ["Diverged", "Measures", "ModelError", "SharesTokens", "TwoPhaseModel", "contexts", "hidden",
           "parameter_count", "parameters", "require_methods", "sharing", "token_windows"]

_METHODS = {1: ("hidden", "phase2_parameters", "to"), 2: ("contexts", "phase1_parameters")}
"""What a model must have, by the phases of its family; those of two have both."""


def require_methods(model: object, phases: int) -> None:
    """Raises ModelError for what is no model of a family of so many phases."""
    needed = [name for phase in range(1, phases + 1) for name in _METHODS[phase]]
    if missing := [name for name in needed if not callable(getattr(model, name, None))]:
        raise ModelError(f"build returned {_described(model)} without {', '.join(missing)}; expected a model with "
                         f"{', '.join(sorted(needed))}")


def contexts(model: TwoPhaseModel, previous: Tensor, windows: Tensor) -> Sequence[Tensor]:
    """`model.contexts`: the layers' outputs, each (B, context_dim) as `previous`. Raises ModelError for others."""
    with _unwritten("contexts()", previous, windows):
        made = model.contexts(previous, windows)
    if isinstance(made, Tensor) and made.ndim == 3:  # (L, B, context_dim)
        made = list(made)
    if not isinstance(made, list | tuple) or not made:
        raise ModelError(f"contexts() returned {_described(made)}; expected a list of tensors, one for every layer")
    for layer in made:
        _require("contexts()", layer, tuple(previous.shape), previous.device, trained=layer is made[-1])
    return made


def hidden(model: TwoPhaseModel, layers: Tensor, windows: Tensor, embed_dim: int) -> Tensor:
    """`model.hidden`: (B, embed_dim) for layers (L, B, context_dim). Raises ModelError for anything else."""
    with _unwritten("hidden()", layers, windows):
        made = model.hidden(layers, windows)
    _require("hidden()", made, (len(windows), embed_dim), windows.device, trained=True)
    return made


def parameters(model: TwoPhaseModel, phase: Literal[1, 2], device: torch.device) -> list[nn.Parameter]:
    """What a phase trains. Raises ModelError for what is no parameter, on another device, or there twice."""
    name = f"phase{phase}_parameters()"
    group = model.phase1_parameters() if phase == 1 else model.phase2_parameters()
    if not isinstance(group, Iterable):
        raise ModelError(f"{name} returned {_described(group)}; expected parameters")
    group = list(group)
    for each in group:
        if not isinstance(each, Tensor) or not each.is_floating_point() or each.device != device or not each.is_leaf:
            raise ModelError(f"{name} has {_described(each)}; expected parameters, floating-point on {device}")
    if len({id(each) for each in group}) < len(group):
        raise ModelError(f"{name} has a parameter twice; expected each once")
    return group


@contextmanager
def _unwritten(method: str, *given: Tensor) -> Iterator[None]:
    """Raises ModelError where a tensor has been written into meanwhile."""
    before = [each._version for each in given]
    yield
    if [each._version for each in given] != before:
        raise ModelError(f"{method} wrote into a tensor that it was given; expected it to be left as it is")


def _require(method: str, made: object, shape: tuple[int, ...], device: torch.device, *, trained: bool) -> None:
    """Raises ModelError for what a method must not return. trained: it needs a gradient where gradients are taken."""
    if (not isinstance(made, Tensor) or tuple(made.shape) != shape or not made.is_floating_point()
            or made.device != device or made.layout is not torch.strided):
        raise ModelError(f"{method} returned {_described(made)}; expected a tensor {shape}, floating-point on {device}")
    if trained and torch.is_grad_enabled() and not made.requires_grad:
        raise ModelError(f"{method} returned a tensor without a gradient; expected one that torch computed from the "
                         "parameters of its phase, not detached")


def _described(value: object) -> str:
    if not isinstance(value, Tensor):
        return "an empty list" if isinstance(value, list) and not value else type(value).__name__
    layout = "" if value.layout is torch.strided else f" {value.layout}".replace("torch.", "")
    return f"a{layout} tensor {tuple(value.shape)}, {value.dtype} on {value.device}".replace("torch.", "")


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
