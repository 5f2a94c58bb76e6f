"""Objectives of singular values. contexts: (B, d); previous ones are not used.

Singular values are the roots of the eigenvalues of a Gram matrix in float64, which errs by about 1e-13 of the largest:
a singular value s is exact to 5e-14 (largest / s)^2 of itself, and one below 3e-7 of the largest counts as none.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

_NONE = 1e-13  # share of the largest eigenvalue below which one is rounding


def sdl(contexts: Tensor, *_: object) -> Tensor:
    """Minus the entropy of the normalised singular values. Source: Roy & Vetterli 2007."""
    singular = singular_values(contexts)
    share = singular / singular.sum()
    return (share * share.log()).sum()


def nuc(contexts: Tensor, *_: object) -> Tensor:
    """Minus the sum of the singular values around the mean, over B."""
    loss: Tensor = -singular_values(contexts - contexts.mean(dim=0)).sum() / len(contexts)
    return loss


def wmse(contexts: Tensor, _previous: object, options: Mapping[str, float]) -> Tensor:
    """Mean squared distance of the whitened covariance from the identity.

    It has the eigenvalues v / (v + epsilon), those of the covariance being v. Source: arXiv:2007.06346.
    """
    centred, epsilon = _wide(contexts - contexts.mean(dim=0)), options["epsilon"]
    variances = torch.linalg.eigvalsh(centred.T @ centred / max(len(contexts) - 1, 1)).clamp_min(0)
    loss: Tensor = (epsilon / (variances + epsilon)).square().sum() / contexts.shape[1] ** 2
    return loss


def singular_values(matrix: Tensor) -> Tensor:
    """Those above rounding, ascending; see the top of this module."""
    wide = _wide(matrix)
    squared = torch.linalg.eigvalsh(wide.T @ wide if matrix.shape[0] >= matrix.shape[1] else wide @ wide.T)
    singular: Tensor = squared[squared > _NONE * squared.detach()[-1]].sqrt()
    return singular


def _wide(matrix: Tensor) -> Tensor:
    """In float64, where the device has it."""
    return matrix if matrix.device.type == "mps" else matrix.double()
