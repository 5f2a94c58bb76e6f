"""The scale a law is fitted on: the response, or its logarithm or exponential where that is a quantity too."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from cvfp_core.registry.kinds import Law
from cvfp_core.schema.fits import Array, Points
from cvfp_core.schema.quantities import Quantity


def link(quantity: Quantity) -> tuple[str, str] | None:
    """How it follows from another quantity alone: `("exp", "val_loss")` of `val_ppl`; None if it does not so."""
    found = (re.fullmatch(r"(exp|log)\((\w+)\)", each.expression) for each in quantity.follows)
    return next((made.groups() for made in found if made), None)  # type: ignore[return-value]


def scales(quantity: Quantity) -> tuple[str, ...]:
    """The quantities that a law of this one may be fitted as: itself, and the one it is the exp or log of."""
    linked = link(quantity)
    return (quantity.name,) if linked is None else (quantity.name, linked[1])


def logarithmic(quantity: Quantity) -> bool:
    """Whether it is the logarithm of another, as a loss is of a perplexity."""
    linked = link(quantity)
    return linked is not None and linked[0] == "log"


def on_scale(points: Points, scale: Quantity) -> Points:
    """The points with their response as this quantity."""
    if scale.name == points.name:
        return points
    with np.errstate(all="ignore"):
        response = np.exp(points.response) if logarithmic(points.quantity(points.name)) else np.log(points.response)
    return replace(points, response=response, name=scale.name, declared={**points.declared, scale.name: scale})


def back(points: Points, scale: str) -> Callable[[Any], Any]:
    """From the scale to the response of the points, which rises with it."""
    if scale == points.name:
        return lambda value: value
    return np.log if logarithmic(points.quantity(points.name)) else np.exp


@np.errstate(all="ignore")
def as_loss(values: Array, law: Law, scale: Quantity) -> Array:
    """The loss of values in the space of the law's residuals, for a scale that is a loss or its perplexity."""
    if logarithmic(scale):
        return values if law.space == "raw" else np.asarray(np.exp(values))
    return np.asarray(np.log(values)) if law.space == "raw" else values


@np.errstate(all="ignore")
def nats(fitted: Array, targets: Array, law: Law, scale: Quantity) -> Array:
    """Errors of what a law says, in the unit all scales are compared in: that of a loss, else of the logarithm."""
    if link(scale) is not None:
        return np.asarray(as_loss(fitted, law, scale) - as_loss(targets, law, scale))
    if law.space == "log":
        return np.asarray(fitted - targets)
    return np.asarray(np.log1p(np.maximum((fitted - targets) / np.abs(targets), -0.999999)))


@np.errstate(all="ignore")
def jacobian(targets: Array, law: Law, scale: Quantity) -> Array:
    """(B,) what residuals of (B, n) targets are multiplied by, so that likelihoods of scales can be compared.

    The geometric mean of the derivative of the loss by the residual (Box & Cox 1964); 1 where there is but one scale.
    """
    if link(scale) is None:
        return np.ones(len(targets))
    loss = logarithmic(scale)
    logs = {(True, "log"): targets, (False, "raw"): -np.log(targets)}.get((loss, law.space), np.zeros_like(targets))
    mean = np.exp(logs.mean(axis=1))
    return np.where(np.isfinite(mean), mean, 1.0)
