"""Effective rank of a set of context vectors."""

import torch
from torch import Tensor

from cvfp_core.protocol.model import Diverged

_ROWS = 8192  # rows cast to float64 at a time, so that memory does not grow with the stream


def effective_rank(contexts: Tensor) -> float:
    """Entropy of the normalised singular values, exponentiated, as a fraction of the width.

    contexts: (tokens, context_dim), not centred, every token counted. The singular values are the roots of the
    eigenvalues of the Gram matrix, in float64. Contexts of nothing but zeros have rank 0. Raises Diverged if a value is
    not finite.
    Source: Roy & Vetterli 2007.
    """
    tokens, width = contexts.shape
    device = contexts.device if contexts.device.type == "cuda" else torch.device("cpu")  # MPS has no float64
    if tokens < width:
        wide = contexts.to(device, torch.float64)
        gram = wide @ wide.T
    else:
        gram = torch.zeros(width, width, dtype=torch.float64, device=device)
        for start in range(0, tokens, _ROWS):
            rows = contexts[start : start + _ROWS].to(device, torch.float64)
            gram.addmm_(rows.T, rows)
    if not bool(torch.isfinite(gram).all()):
        raise Diverged("contexts are not finite")
    singular = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt()
    total = float(singular.sum())
    if total == 0.0:
        return 0.0
    share = singular / total
    entropy = -torch.special.xlogy(share, share).sum()
    return min(float(entropy.exp()) / width, 1.0)  # rounding must not leave the range of a fraction
