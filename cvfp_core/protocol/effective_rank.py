"""Effective rank of a set of context vectors."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvfp_core.protocol.model import Diverged
from cvfp_core.protocol.products import by_onednn, product

_BLOCK = 5000  # rows of a block whose products are made in float32
STRIPS = 4  # of the upper triangle of a Gram matrix
_NARROW = 256  # width below which float64 costs nothing worth saving
_EXACT_BLOCK = 8192  # rows cast to float64 at a time, so that memory does not grow with the stream
_BLUR = 2e-8  # how far float32 blocks move an eigenvalue, as a share of the largest: measured up to 1.6e-8
TOLERANCE = 1e-4  # relative error of a rank, by the bound below, above which all is done in float64


def effective_rank(contexts: Tensor, *, blocked: bool = True) -> float:
    """Entropy of the normalised singular values, exponentiated, as a fraction of the width.

    contexts: (tokens, context_dim), not centred, every token counted. The singular values are the roots of the
    eigenvalues of the Gram matrix. blocked: its products are made in float32, block by block, and summed in float64, as
    long as what that blurs cannot move the rank by more than TOLERANCE; else, and at small widths, all is float64.
    Contexts of nothing but zeros have rank 0.
    Raises Diverged if a value is not finite.
    Source: Roy & Vetterli 2007.
    """
    tokens, width = contexts.shape
    device = contexts.device if contexts.device.type == "cuda" else torch.device("cpu")  # MPS has no float64
    blocked = blocked and tokens >= width >= _NARROW
    gram = _gram_of_blocks(contexts, device) if blocked else _gram(contexts, device)
    if not math.isfinite(float(gram.sum())):
        raise Diverged("contexts are not finite")
    squared = _eigenvalues(gram)
    if blocked and _rank_error(squared) > TOLERANCE:
        squared = _eigenvalues(_gram(contexts, device))
    singular = np.sqrt(squared)
    total = float(singular.sum())
    if total == 0.0:
        return 0.0
    share = singular[singular > 0] / total
    entropy = -float((share * np.log(share)).sum())
    return min(math.exp(entropy) / width, 1.0)  # rounding must not leave the range of a fraction


def _eigenvalues(gram: Tensor) -> NDArray[np.float64]:
    """Ascending, none below zero, of the upper triangle.

    On the CPU, where this size is at home, and by torch: numpy's library keeps threads spinning that slow down the next
    product.
    """
    found: NDArray[np.float64] = torch.linalg.eigvalsh(gram.cpu(), UPLO="U").numpy().clip(min=0.0)
    return found


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
    """The upper triangle, in strips: three eighths of the operations are left out."""
    width = contexts.shape[1]
    gram = torch.zeros(width, width, dtype=torch.float64, device=device)
    for block in torch.split(contexts, _BLOCK):
        turned = block.to(device).T
        if by_onednn(turned, turned):
            turned = turned.contiguous()
        for first in range(0, width, -(-width // STRIPS)):
            strip = slice(first, first - (-width // STRIPS))
            gram[strip, first:] += product(turned[strip], turned[first:])
    return gram


def _rank_error(squared: NDArray[np.float64]) -> float:
    """A bound on the relative error of the rank that comes from moving each squared singular value by _BLUR.

    A root moves by `delta / 2 sigma`, at most by `sqrt(delta)`; the entropy by that share of the sum times the
    logarithm of a share, for which 8 is enough at widths up to some thousands.
    """
    singular, delta = np.sqrt(squared), _BLUR * squared[-1]
    if delta == 0.0:
        return 0.0
    moved = np.minimum(delta / (2 * singular.clip(min=np.sqrt(delta) / 2)), np.sqrt(delta))
    return 8 * float(moved.sum() / singular.sum())
