"""How large a variant's model is, counted on the model itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from cvfp_core.protocol.model import parameter_count
from cvfp_core.registry import culprits
from cvfp_core.registry.kinds import ModelSize, VariantFamily
from cvfp_core.schema.cells import Variant
from cvfp_core.schema.settings import Scalar

_ROWS = 8  # of the smaller of two batches whose activations are counted


def model_size(variant: Variant, family: VariantFamily, options: Mapping[str, Scalar | None], vocab_size: int,
               embed_dim: int) -> ModelSize:
    """The size of the model that the family builds, on torch's device without memory.

    A model whose code looks at numbers, which there are none there, is built for real. Raises what that raises.
    """
    try:
        with torch.device("meta"), _WithoutMemory():  # type: ignore[no-untyped-call]
            return _count(variant, family, options, vocab_size, embed_dim)
    except culprits.PASSING:
        raise
    except BaseException:  # it needs numbers, or it is broken: the second try tells
        return _count(variant, family, options, vocab_size, embed_dim)


class _WithoutMemory(TorchDispatchMode):
    """While open, every tensor is made on the device `meta`, those that ask for another one too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        named = dict(kwargs or {})
        if named.get("device") is not None:
            named["device"] = torch.device("meta")
        if named.get("generator") is not None:  # one of a CPU draws nothing there
            named["generator"] = None
        return func(*args, **named)


def _count(variant: Variant, family: VariantFamily, options: Mapping[str, Scalar | None], vocab_size: int,
           embed_dim: int) -> ModelSize:
    model = family.build(variant, options, torch.zeros(vocab_size, embed_dim), torch.Generator())
    layers = variant.num_layers if family.phases == 2 else 0

    def contexts(rows: int) -> object:
        windows = torch.zeros(rows, variant.num_input_tokens, dtype=torch.int64)
        return model.contexts(torch.zeros(rows, variant.context_dim), windows)

    def hidden(rows: int) -> object:
        windows = torch.zeros(rows, variant.num_input_tokens, dtype=torch.int64)
        return model.hidden(torch.zeros(layers, rows, variant.context_dim), windows)

    return ModelSize(params_phase1=parameter_count(model.phase1_parameters()),
                     params_phase2=parameter_count(model.phase2_parameters()),
                     activations_phase1=_kept(contexts) if layers else 0, activations_phase2=_kept(hidden))


def _kept(forward: Callable[[int], object]) -> int:
    """Numbers of 32 bits that are saved for the gradient for every row: what twice the rows save more, by row."""
    def saved(rows: int) -> int:
        storages: dict[int, Tensor] = {}

        def keep(tensor: Tensor) -> Tensor:
            storages[tensor.untyped_storage()._cdata] = tensor
            return tensor

        with saved_tensors_hooks(keep, lambda tensor: tensor):
            made = forward(rows)
        del made
        return sum(tensor.untyped_storage().nbytes() for tensor in storages.values())

    return (saved(2 * _ROWS) - saved(_ROWS)) // (4 * _ROWS)
