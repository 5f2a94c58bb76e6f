"""How the protocol drives a model: the token windows it feeds it, work shared between equal tokens, its size."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from cvfp_core.schema.models import Measures, SharesTokens, TwoPhaseModel

__all__ = ["Diverged", "Measures", "SharesTokens", "TwoPhaseModel", "parameter_count", "sharing", "token_windows"]


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
