"""Effective rank of a set of context vectors."""

import torch
from torch import Tensor

from cvfp_core.protocol.model import Diverged
from cvfp_core.protocol.products import product

_BLOCK = 1250  # rows of a block whose products are made in float32
_EXACT_BLOCK = 8192  # rows cast to float64 at a time, so that memory does not grow with the stream
_BLUR = 2e-8  # how far float32 blocks move an eigenvalue, as a share of the largest: measured up to 1.6e-8
TOLERANCE = 1e-5  # relative error of a rank, by the bound below, above which all is done in float64


def effective_rank(contexts: Tensor, *, blocked: bool = True) -> float:
    """Entropy of the normalised singular values, exponentiated, as a fraction of the width.

    contexts: (tokens, context_dim), not centred, every token counted. The singular values are the roots of the
    eigenvalues of the Gram matrix. blocked: its products are made in float32, block by block, and summed in float64, as
    long as what that blurs cannot move the rank by more than TOLERANCE; else all is float64. Contexts of nothing but
    zeros have rank 0.
    Raises Diverged if a value is not finite.
    Source: Roy & Vetterli 2007.
    """
    tokens, width = contexts.shape
    device = contexts.device if contexts.device.type == "cuda" else torch.device("cpu")  # MPS has no float64
    blocked = blocked and tokens >= width
    gram = _gram_of_blocks(contexts, device) if blocked else _gram(contexts, device)
    if not bool(torch.isfinite(gram).all()):
        raise Diverged("contexts are not finite")
    squared = torch.linalg.eigvalsh(gram)
    if blocked and _rank_error(squared) > TOLERANCE:
        squared = torch.linalg.eigvalsh(_gram(contexts, device))
    singular = squared.clamp_min(0).sqrt()
    total = float(singular.sum())
    if total == 0.0:
        return 0.0
    share = singular / total
    entropy = -torch.special.xlogy(share, share).sum()
    return min(float(entropy.exp()) / width, 1.0)  # rounding must not leave the range of a fraction


def _gram(contexts: Tensor, device: torch.device) -> Tensor:
    tokens, width = contexts.shape
    if tokens < width:
        wide = contexts.to(device, torch.float64)
        return wide @ wide.T
    gram = torch.zeros(width, width, dtype=torch.float64, device=device)
    for start in range(0, tokens, _EXACT_BLOCK):
        rows = contexts[start : start + _EXACT_BLOCK].to(device, torch.float64)
        gram.addmm_(rows.T, rows)
    return gram


def _gram_of_blocks(contexts: Tensor, device: torch.device) -> Tensor:
    gram = torch.zeros(contexts.shape[1], contexts.shape[1], dtype=torch.float64, device=device)
    for rows in torch.split(contexts, _BLOCK):
        turned = rows.to(device).T.contiguous()
        gram += product(turned, turned)
    return gram


def _rank_error(squared: Tensor) -> float:
    """A bound on the relative error of the rank that comes from moving each squared singular value by _BLUR.

    A root moves by `delta / 2 sigma`, at most by `sqrt(delta)`; the entropy by that share of the sum times the
    logarithm of a share, for which 8 is enough at widths up to some thousands.
    """
    singular = squared.clamp_min(0).sqrt()
    delta = _BLUR * squared[-1]
    moved = torch.minimum(delta / (2 * singular), delta.sqrt()).nan_to_num(0.0)
    return 8 * float(moved.sum() / singular.sum())
