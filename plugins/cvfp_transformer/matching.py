"""The width inside the feed-forward that gives a model a certain number of parameters."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from cvfp_core.errors import UsageError
from cvfp_core.protocol.model import parameter_count
from cvfp_core.schema.cells import Variant
from cvfp_core.schema.settings import Scalar
from cvfp_transformer.model import Transformer

CLOSE = 0.01
"""Our choice: a count further than this share from what was asked for is no match."""


def inner_width(variant: Variant, options: Mapping[str, Scalar | None], embed_dim: int, target: int) -> int:
    """The inner width at which the variant's trained parameters come nearest to `target`.

    Counted on models as they are built, so nothing here knows their layers: the count is linear in the width. Raises
    UsageError with what can be reached if that is not within 1 % of the target.
    """
    least = _count(variant, options, embed_dim, 1)
    step = _count(variant, options, embed_dim, 2) - least
    width = max(1, 1 + round((target - least) / step))
    reached = least + (width - 1) * step
    if abs(reached - target) > CLOSE * target:
        remedy = "fewer layers or a smaller width" if least > target else "fewer layers"
        raise UsageError(
            f"'{variant.name}' cannot have {target:,} parameters: it has {least:,} or more, in steps of {step:,}, so "
            f"{reached:,} is nearest; take {remedy}"
        )
    return width


def _count(variant: Variant, options: Mapping[str, Scalar | None], embed_dim: int, inner: int) -> int:
    embeddings = torch.zeros(1, embed_dim)  # frozen, so how many there are does not count
    model = Transformer(variant, {**options, "inner_width": inner}, embeddings, torch.Generator())
    return parameter_count(model.phase2_parameters())
