"""A GRU as a two-phase model: its cells make the contexts (Phase 1), a token block reads them (Phase 2).

Symbols: B tokens, T input tokens, d_e embedding width, d_c context width, L layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from cvfp_core.schema.cells import Variant
from cvfp_core.schema.settings import Scalar
from torch import Tensor, nn
from torch.nn import functional as F


class TokenLayer(nn.Module):
    """`t <- LayerNorm(t + ReLU(W [c; t] + bias))`, c (B, d_c), t (B, d_e)."""

    def __init__(self, context_dim: int, embed_dim: int) -> None:
        super().__init__()
        self.feed_forward = _empty(nn.Linear(context_dim + embed_dim, embed_dim, device="meta"))
        self.norm = nn.LayerNorm(embed_dim)

    def forward(self, context: Tensor, token: Tensor) -> Tensor:
        made: Tensor = self.norm(token + F.relu(self.feed_forward(torch.cat([context, token], dim=1))))
        return made


class GruModel(nn.Module):
    """See `cvfp_core.protocol.model.TwoPhaseModel` for the contract."""

    table: Tensor

    def __init__(
        self, variant: Variant, options: Mapping[str, Scalar | None], embeddings: Tensor, generator: torch.Generator
    ) -> None:
        super().__init__()
        embed_dim = embeddings.shape[1]
        window_dim = embed_dim * variant.num_input_tokens
        # (V + 1, d_e): the normalised embeddings, then the zero vector that stands before the first token
        normed = F.layer_norm(embeddings, (embed_dim,))
        self.register_buffer("table", torch.cat([normed, embeddings.new_zeros(1, embed_dim)]))
        self.cells = nn.ModuleList(
            _empty(nn.GRUCell(window_dim, variant.context_dim, device="meta")) for _ in range(variant.num_layers)
        )
        self.into = _empty(nn.Linear(window_dim, embed_dim, device="meta"))
        self.token_block = nn.ModuleList(
            TokenLayer(variant.context_dim, embed_dim) for _ in range(variant.num_layers)
        )
        _initialise(self.cells, float(options["cell_gain"] or 0.0), generator)
        _initialise(self.into, float(options["token_gain"] or 0.0), generator)
        _initialise(self.token_block, float(options["token_gain"] or 0.0), generator)

    def contexts(self, previous: Tensor, windows: Tensor) -> list[Tensor]:
        """One step of every cell: each reads the window and what the cell before it left as the hidden state."""
        window, state, outputs = self._embed(windows), previous, []
        for cell in self.cells:
            state = cell(window, state)
            outputs.append(state)
        return outputs

    def hidden(self, contexts: Tensor, windows: Tensor) -> Tensor:
        token: Tensor = self.into(self._embed(windows))
        for layer, context in zip(self.token_block, contexts, strict=True):
            token = layer(context, token)
        return token

    def phase1_parameters(self) -> Iterable[nn.Parameter]:
        return self.cells.parameters()

    def phase2_parameters(self) -> Iterable[nn.Parameter]:
        yield from self.into.parameters()
        yield from self.token_block.parameters()

    def _embed(self, windows: Tensor) -> Tensor:
        return self.table[windows].flatten(1)  # (B, T d_e), oldest token first


def _empty(module: nn.Module) -> nn.Module:
    """The module with room for weights, which `_initialise` draws; torch itself would draw them globally."""
    return module.to_empty(device="cpu")


def _initialise(block: nn.Module, gain: float, generator: torch.Generator) -> None:
    """Weights normal with deviation gain / sqrt(inputs), biases zero, norms as torch makes them."""
    with torch.no_grad():
        for module in block.modules():
            if isinstance(module, nn.Linear | nn.GRUCell):
                for parameter in module.parameters(recurse=False):
                    if parameter.dim() == 1:
                        parameter.zero_()
                    else:
                        parameter.normal_(0.0, gain / parameter.shape[1] ** 0.5, generator=generator)
