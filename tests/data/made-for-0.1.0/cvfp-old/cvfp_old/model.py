"""A leaky recurrent network: `contexts` makes them (Phase 1), `hidden` reads them (Phase 2).

Symbols: B tokens, T input tokens, d_e embedding width, d_c context width, L layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from cvfp_core.cells import Variant
from cvfp_core.settings import Scalar
from torch import Tensor, nn
from torch.nn.functional import layer_norm


class Model(nn.Module):
    """See `cvfp_core.protocol.model.TwoPhaseModel` for the contract."""

    table: Tensor

    def __init__(
        self, variant: Variant, options: Mapping[str, Scalar | None], embeddings: Tensor, generator: torch.Generator
    ) -> None:
        super().__init__()
        embed_dim, context_dim = embeddings.shape[1], variant.context_dim
        window_dim = embed_dim * variant.num_input_tokens
        self.leak = float(options["leak"] or 0.0)
        # (V + 1, d_e): the normalised embeddings, then the zero vector that stands before the first token
        normed = layer_norm(embeddings, (embed_dim,))
        self.register_buffer("table", torch.cat([normed, embeddings.new_zeros(1, embed_dim)]))
        gain = float(options["gain"] or 0.0)
        self.context_layers = nn.ModuleList(
            _linear(context_dim + window_dim, context_dim, gain, generator) for _ in range(variant.num_layers)
        )
        self.token_layers = nn.ModuleList(
            _linear(context_dim + (embed_dim if layer else window_dim), embed_dim, gain, generator)
            for layer in range(variant.num_layers)
        )

    def contexts(self, previous: Tensor, windows: Tensor) -> list[Tensor]:
        """`c <- (1 - leak) c + leak tanh(W [c; u] + bias)`, once a layer; c (B, d_c), u (B, T d_e)."""
        window, context, outputs = self._embed(windows), previous, []
        for layer in self.context_layers:
            made = torch.tanh(layer(torch.cat([context, window], dim=1)))
            context = (1 - self.leak) * context + self.leak * made
            outputs.append(context)
        return outputs

    def hidden(self, contexts: Tensor, windows: Tensor) -> Tensor:
        """`t <- LayerNorm(W [c; t] + bias)`, once a layer; the first t is the window."""
        token = self._embed(windows)
        for layer, context in zip(self.token_layers, contexts, strict=True):
            made = layer(torch.cat([context, token], dim=1))
            token = layer_norm(made, (made.shape[1],))
        return token

    def phase1_parameters(self) -> Iterable[nn.Parameter]:
        return self.context_layers.parameters()

    def phase2_parameters(self) -> Iterable[nn.Parameter]:
        return self.token_layers.parameters()

    def _embed(self, windows: Tensor) -> Tensor:
        return self.table[windows].flatten(1)  # (B, T d_e), oldest token first


def _linear(width_in: int, width_out: int, gain: float, generator: torch.Generator) -> nn.Linear:
    """A Linear drawn from the generator; torch's own draw, left out by way of `meta`, would take the global one."""
    linear = nn.Linear(width_in, width_out, device="meta").to_empty(device="cpu")
    nn.init.normal_(linear.weight, 0.0, gain / width_in**0.5, generator=generator)
    nn.init.zeros_(linear.bias)
    return linear
