"""How large a residual model is, by arithmetic; tests hold it to the model that is built."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from cvfp_core.registry.kinds import ModelSize
from cvfp_core.schema.cells import Variant
from cvfp_core.schema.settings import Scalar


def size(variant: Variant, options: Mapping[str, Scalar | None], embed_dim: int) -> ModelSize:
    """Of `cvfp_residual.model.ResidualModel` for embeddings (V, embed_dim)."""
    layers, splits, gelu = variant.num_layers, int(options["num_splits"] or 1), options["feed_forward"] == "gelu"
    width, window = variant.context_dim // splits, embed_dim * variant.num_input_tokens
    expansion = int(options["expansion"] or 1) if gelu else 1

    def layer(width_a: int, width_b: int, width_out: int) -> int:
        """Parameters of a feed-forward and the norm after it."""
        inner = expansion * width_out
        return (width_a + width_b + 1) * inner + ((inner + 1) * width_out if gelu else 0) + 2 * width_out

    widths = list(pairwise(token_widths(window, embed_dim, layers)))
    return ModelSize(
        params_phase1=splits * layers * layer(width, window, width),
        params_phase2=sum(layer(variant.context_dim, into, out) + ((into + 1) * out if into != out else 0)
                          for into, out in widths),
        activations_phase1=splits * layers * (1 + gelu) * expansion * width + 3 * layers * variant.context_dim,
        activations_phase2=window + sum((1 + gelu) * expansion * out + 3 * out for _, out in widths),
        shared_phase1=layers * variant.num_input_tokens * expansion * variant.context_dim,
    )


def token_widths(window: int, embed_dim: int, layers: int) -> list[int]:
    """Widths before, between and after the layers of the token block: from that of the window to the embeddings'."""
    return [window - (window - embed_dim) * layer // layers for layer in range(layers + 1)]
