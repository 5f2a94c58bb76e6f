"""Objectives of means, variances and covariances of the dimensions. contexts: (B, d); previous ones are not used."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

_TINY = 1e-30  # keeps shares of nothing finite, and the slopes there too, in float32

def odcm(contexts: Tensor, _previous: object, options: Mapping[str, float]) -> Mapping[str, Tensor]:
    """How far deviations stay below 1, and the squared covariances. Source: arXiv:2105.04906."""
    covariances = _covariances(contexts)
    missing = (1 - (covariances.diagonal() + 1e-4).sqrt()).clamp_min(0)
    squared = _between(covariances).square().sum() / contexts.shape[1]
    return {"variance": missing.mean(), "covariance": options["covariance_weight"] * squared}


def ctm(contexts: Tensor, *_: object) -> Tensor:
    """Minus the mean variance of a dimension."""
    return -_variances(contexts).mean()


def due(contexts: Tensor, *_: object) -> Tensor:
    """Minus the entropy of the dimensions' mean size, over its largest value; 0 for one dimension."""
    size = contexts.abs().mean(dim=0)
    share = size / size.sum().clamp_min(_TINY)
    return (share * share.clamp_min(_TINY).log()).sum() / (math.log(len(share)) or 1.0)


def udel(contexts: Tensor, *_: object) -> Tensor:
    """Variance of the deviations over the dimensions minus their mean."""
    variances = _variances(contexts)
    spread = variances > 0
    deviations = torch.where(spread, torch.where(spread, variances, 1.0).sqrt(), 0.0)  # no slope where there is none
    return deviations.var(correction=min(1, len(deviations) - 1)) - deviations.mean()


def decorr(contexts: Tensor, *_: object) -> Tensor:
    """Mean squared distance of the correlation matrix from the identity; a dimension that is constant has zeros."""
    deviations = _variances(contexts).clamp_min(1e-12).sqrt()
    correlations = _covariances(contexts / deviations)
    return (correlations - torch.eye(len(correlations)).to(correlations)).square().mean()


def hsic(contexts: Tensor, *_: object) -> Tensor:
    """Mean squared covariance of two dimensions, their HSIC by a linear kernel; 0 for one dimension."""
    width = contexts.shape[1]
    return _between(_covariances(contexts)).square().sum() / max(width * (width - 1), 1)


def oacd(contexts: Tensor, _previous: object, options: Mapping[str, float]) -> Mapping[str, Tensor]:
    """Minus the norm around the mean over B, and the squared mean."""
    mean = contexts.mean(dim=0)
    return {"spread": -torch.linalg.vector_norm(contexts - mean) / len(contexts),
            "mean": options["mean_weight"] * mean.square().sum()}


def _variances(contexts: Tensor) -> Tensor:
    """(d,), over B - 1; zeros for one token. In two thirds of the time of torch's `var` with its gradient."""
    return (contexts - contexts.mean(dim=0)).square().sum(dim=0) / max(len(contexts) - 1, 1)


def _covariances(contexts: Tensor) -> Tensor:
    """(d, d), over B - 1; zeros for one token."""
    centred = contexts - contexts.mean(dim=0)
    return centred.T @ centred / max(len(contexts) - 1, 1)


def _between(covariances: Tensor) -> Tensor:
    """Without its diagonal."""
    return covariances - covariances.diagonal().diag()
