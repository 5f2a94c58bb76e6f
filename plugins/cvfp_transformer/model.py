"""A decoder-only Transformer that predicts from the last position of a window.

Symbols: B tokens, T input tokens, d_e embedding width, d width, H heads, L layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cvfp_core.schema.cells import Variant
from cvfp_core.schema.settings import Scalar

_POSITION_STD = 0.1
"""Of initial position vectors; token vectors have one of 1."""


class Layer(nn.Module):
    """Pre-norm attention, then a GELU feed-forward: `x <- x + A(LN(x))`, `x <- x + F(LN(x))`."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = (_linear(width, width) for _ in range(3))
        self.joined = _linear(width, width)
        self.inner, self.outer = _linear(width, inner), _linear(inner, width)

    def forward(self, x: Tensor, visible: Tensor, asking: int) -> Tensor:
        """(B, asking, d) of the last `asking` positions of x (B, T, d).

        visible: (B, 1, asking, T), True where a position may look.
        """
        normed = self.attention_norm(x)
        x = x[:, -asking:]
        seen = F.scaled_dot_product_attention(
            self._split(self.query(normed[:, -asking:])), self._split(self.key(normed)),
            self._split(self.value(normed)), attn_mask=visible,
        )  # (B, H, asking, d / H)
        x = x + self.joined(seen.transpose(1, 2).flatten(2))
        made: Tensor = x + self.outer(F.gelu(self.inner(self.feed_forward_norm(x))))
        return made

    def _split(self, x: Tensor) -> Tensor:
        parts: Tensor = x.unflatten(2, (self.heads, -1))
        return parts.transpose(1, 2)  # (B, H, T, d / H)


class Transformer(nn.Module):
    """See `cvfp_core.protocol.model.TwoPhaseModel` for the contract; there are no contexts."""

    table: Tensor

    def __init__(
        self, variant: Variant, options: Mapping[str, Scalar | None], embeddings: Tensor, generator: torch.Generator
    ) -> None:
        super().__init__()
        width, window = variant.context_dim, variant.num_input_tokens
        self.vocab_size, embed_dim = embeddings.shape
        # (V + 1, d_e): the normalised embeddings, then a zero vector that no other position sees
        normed = F.layer_norm(embeddings, (embed_dim,))
        self.register_buffer("table", torch.cat([normed, embeddings.new_zeros(1, embed_dim)]))
        self.enter = nn.Identity() if width == embed_dim else _linear(embed_dim, width)
        self.positions = nn.Parameter(torch.empty(window, width))
        inner = int(options["inner_width"] or 4 * width)
        heads = int(options["heads"] or 1)
        self.layers = nn.ModuleList(Layer(width, heads, inner) for _ in range(variant.num_layers))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Identity() if width == embed_dim else _linear(width, embed_dim)
        _initialise(self, variant.num_layers, generator)

    def contexts(self, previous: Tensor, windows: Tensor) -> list[Tensor]:  # noqa: ARG002
        return []

    def hidden(self, contexts: Tensor, windows: Tensor) -> Tensor:  # noqa: ARG002
        window = windows.shape[1]
        x = self.enter(self.table[windows]) + self.positions  # (B, T, d), oldest token first
        causal = torch.ones(window, window, dtype=torch.bool, device=windows.device).tril()
        itself = torch.eye(window, dtype=torch.bool, device=windows.device)  # no row is without anything to look at
        real = (windows != self.vocab_size)[:, None, None, :]
        visible = causal & real | itself  # (B, 1, T, T)
        for number, layer in enumerate(self.layers, 1):
            asking = 1 if number == len(self.layers) else window  # the head reads the last position alone
            x = layer(x, visible[:, :, -asking:], asking)
        made: Tensor = self.leave(self.norm(x[:, -1]))
        return made

    def phase1_parameters(self) -> Iterable[nn.Parameter]:
        return ()

    def phase2_parameters(self) -> Iterable[nn.Parameter]:
        return self.parameters()


def _linear(width_in: int, width_out: int) -> nn.Linear:
    """A Linear whose numbers `_initialise` is to draw; torch's own draw would take them from the global generator."""
    return nn.Linear(width_in, width_out, device="meta").to_empty(device="cpu")


def _initialise(model: Transformer, layers: int, generator: torch.Generator) -> None:
    """Weights keep the variance of their input; those that end a residual branch are smaller by sqrt(2 L).

    Source of the latter: GPT-2, section 2.3 of its report.
    """
    ends = {id(linear) for layer in model.layers for linear in (layer.joined, layer.outer)}
    with torch.no_grad():
        model.positions.normal_(0.0, _POSITION_STD, generator=generator)
        for module in model.modules():
            if isinstance(module, nn.Linear):
                scale = (2 * layers) ** -0.5 if id(module) in ends else 1.0
                module.weight.normal_(0.0, scale * module.in_features**-0.5, generator=generator)
                module.bias.zero_()
