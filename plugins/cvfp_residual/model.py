"""The residual model: a context block trained in Phase 1, a token block trained in Phase 2.

Symbols: B tokens, T input tokens, d_e embedding width, d_c context width, L layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cvfp_core.errors import UsageError
from cvfp_core.protocol.products import linear
from cvfp_core.schema.cells import Variant
from cvfp_core.schema.settings import Scalar
from cvfp_residual.size import token_widths
from cvfp_residual.window import Distinct, Shared, Window


class FeedForward(nn.Module):
    """`ReLU(W [a; b] + bias)`, or two Linears with GELU between, of two inputs that are never joined in memory."""

    def __init__(self, width_a: int, width_b: int, width_out: int, options: Mapping[str, Scalar | None]) -> None:
        super().__init__()
        self.gelu = options["feed_forward"] == "gelu"
        inner = int(options["expansion"] or 1) * width_out if self.gelu else width_out
        self.from_a = _linear(width_a, inner)
        self.from_b = _linear(width_b, inner, bias=False)
        self.out = _linear(inner, width_out) if self.gelu else None

    def forward(self, a: Tensor, b: Window | Tensor) -> Tensor:
        inner = linear(a, self.from_a.weight, self.from_a.bias)
        inner += _through(self.from_b, b)
        if self.out is None:
            return F.relu(inner, inplace=True)
        return linear(F.gelu(inner), self.out.weight, self.out.bias)


class ContextLayer(nn.Module):
    """`c <- LayerNorm(c + feed_forward([c; u]))`, c (B, d_c), u a window T d_e wide."""

    def __init__(self, context_dim: int, window_dim: int, options: Mapping[str, Scalar | None]) -> None:
        super().__init__()
        self.feed_forward = FeedForward(context_dim, window_dim, context_dim, options)
        self.norm = nn.LayerNorm(context_dim)

    def forward(self, context: Tensor, window: Window) -> Tensor:
        made: Tensor = self.norm(context + self.feed_forward(context, window))
        return made


class TokenLayer(nn.Module):
    """`t <- LayerNorm(R t + feed_forward([c; t]))`; R is a Linear where the widths differ, else the identity."""

    def __init__(self, context_dim: int, width_in: int, width_out: int, options: Mapping[str, Scalar | None]) -> None:
        super().__init__()
        self.feed_forward = FeedForward(context_dim, width_in, width_out, options)
        self.residual = None if width_in == width_out else _linear(width_in, width_out)
        self.norm = nn.LayerNorm(width_out)

    def forward(self, context: Tensor, token: Window | Tensor) -> Tensor:
        if self.residual is not None:
            kept = _through(self.residual, token)
        else:
            kept = token.vectors() if isinstance(token, Window) else token
        made: Tensor = self.norm(kept + self.feed_forward(context, token))
        return made


class ResidualModel(nn.Module):
    """See `cvfp_core.protocol.model` for the contracts: TwoPhaseModel, SharesTokens."""

    table: Tensor

    def __init__(
        self, variant: Variant, options: Mapping[str, Scalar | None], embeddings: Tensor, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.distinct: Distinct | None = None  # of the stream whose tokens were shared last
        self.shared: Shared | None = None
        layers, context_dim = variant.num_layers, variant.context_dim
        embed_dim = embeddings.shape[1]
        window_dim = embed_dim * variant.num_input_tokens
        splits = int(options["num_splits"] or 1)
        if context_dim % splits:
            raise UsageError(f"model.num_splits = {splits} does not divide context_dim = {context_dim}")
        # (V + 1, d_e): the normalised embeddings, then the zero vector that stands before the first token
        normed = F.layer_norm(embeddings, (embed_dim,))
        self.register_buffer("table", torch.cat([normed, embeddings.new_zeros(1, embed_dim)]))
        self.context_blocks = nn.ModuleList(
            nn.ModuleList(ContextLayer(context_dim // splits, window_dim, options) for _ in range(layers))
            for _ in range(splits)
        )
        self.token_block = nn.ModuleList(
            TokenLayer(context_dim, width_in, width_out, options)
            for width_in, width_out in pairwise(token_widths(window_dim, embed_dim, layers))
        )
        std = float(options["init_std"] or 0.0)
        context_std = options["context_init_std"]
        _initialise(self.context_blocks, std if context_std is None else float(context_std), options, generator)
        _initialise(self.token_block, std, options, generator)

    def contexts(self, previous: Tensor, windows: Tensor) -> list[Tensor]:
        window = Window(windows, self.table, self.shared)
        blocks = []  # per split, per layer: (B, d_c / splits)
        for block, state in zip(self.context_blocks, previous.chunk(len(self.context_blocks), dim=1), strict=True):
            outputs = []
            for layer in block.children():
                state = layer(state, window)
                outputs.append(state)
            blocks.append(outputs)
        if len(blocks) == 1:
            return blocks[0]
        return [torch.cat(parts, dim=1) for parts in zip(*blocks, strict=True)]

    def hidden(self, contexts: Tensor, windows: Tensor) -> Tensor:
        token: Window | Tensor = Window(windows, self.table, self.shared)
        for layer, context in zip(self.token_block, contexts, strict=True):
            token = layer(context, token)
        assert isinstance(token, Tensor)  # there is at least one layer
        return token

    def phase1_parameters(self) -> Iterable[nn.Parameter]:
        return self.context_blocks.parameters()

    def phase2_parameters(self) -> Iterable[nn.Parameter]:
        return self.token_block.parameters()

    @contextmanager
    def sharing(self, tokens: Tensor) -> Iterator[None]:
        if self.distinct is None or self.distinct.tokens is not tokens:
            self.distinct = Distinct(tokens, self.table)
        self.shared = Shared(self.distinct)
        try:
            yield
            self.shared.close()
        finally:
            self.shared = None


def _through(layer: nn.Linear, read: Window | Tensor) -> Tensor:
    return read.through(layer) if isinstance(read, Window) else linear(read, layer.weight, layer.bias)


def _linear(width_in: int, width_out: int, *, bias: bool = True) -> nn.Linear:
    """A Linear whose numbers `_initialise` is to draw; torch's own draw would take them from the global generator."""
    return nn.Linear(width_in, width_out, bias=bias, device="meta").to_empty(device="cpu")


def _initialise(
    block: nn.Module, std: float, options: Mapping[str, Scalar | None], generator: torch.Generator
) -> None:
    with torch.no_grad():
        for module in block.modules():
            if isinstance(module, nn.Linear):
                module.weight.normal_(0.0, std, generator=generator)
                if module.bias is not None:
                    module.bias.normal_(0.0, float(options["bias_std"] or 0.0), generator=generator)
