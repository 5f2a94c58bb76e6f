"""How large a Transformer is, by arithmetic, and the inner width that gives it a certain number of parameters.

Tests hold the arithmetic to the model that is built.
"""

from __future__ import annotations

from collections.abc import Mapping

from cvfp_core.errors import UsageError
from cvfp_core.registry.kinds import ModelSize
from cvfp_core.schema.cells import Variant
from cvfp_core.schema.settings import Scalar

CLOSE = 0.01
"""Our choice: a count further than this share from what was asked for is no match."""


def size(variant: Variant, options: Mapping[str, Scalar | None], embed_dim: int) -> ModelSize:
    """Of `cvfp_transformer.model.Transformer` for embeddings (V, embed_dim)."""
    width, window = variant.context_dim, variant.num_input_tokens
    inner, heads = int(options["inner_width"] or 4 * width), int(options["heads"] or 1)
    ends = 0 if width == embed_dim else (embed_dim + 1) * width + (width + 1) * embed_dim
    layer = 4 * (width + 1) * width + (width + 1) * inner + (inner + 1) * width + 4 * width
    full = window * (9 * width + 2 * inner + heads * window)  # kept by a layer for every position of a token's window
    last = window * (5 * width + heads) + 4 * width + 2 * inner  # which the head reads at one position
    return ModelSize(
        params_phase1=0,
        params_phase2=ends + window * width + variant.num_layers * layer + 2 * width,
        activations_phase2=window * (embed_dim + 2 * width) + (variant.num_layers - 1) * full + last,
    )


def inner_width(variant: Variant, options: Mapping[str, Scalar | None], embed_dim: int, target: int) -> int:
    """The inner width at which the variant's trained parameters come nearest to `target`; the count is linear in it.

    Raises UsageError with what can be reached if that is not within 1 % of the target.
    """
    def count(inner: int) -> int:
        return size(variant, {**options, "inner_width": inner}, embed_dim).trained

    least = count(1)
    step = count(2) - least
    width = max(1, 1 + round((target - least) / step))
    reached = least + (width - 1) * step
    if abs(reached - target) > CLOSE * target:
        remedy = "fewer layers or a smaller width" if least > target else "fewer layers"
        raise UsageError(
            f"'{variant.name}' cannot have {target:,} parameters: it has {least:,} or more, in steps of {step:,}, so "
            f"{reached:,} is nearest; take {remedy}"
        )
    return width
