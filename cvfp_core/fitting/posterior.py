"""Power laws with and without a floor, averaged over all that few points and a weak prior leave open.

A profile asks which curves fit nearly as well as the best one; of few points that is wide, and the best curve erratic.
Here exponent and floor are summed over on a grid, and size and noise integrated out (flat in the logarithm, Jeffreys'
rule; Bernardo & Smith 1994, section 5.4), so that every limit is a quantile of a mixture of Student's t. There is no
floor with even odds, else one anywhere below the least response. Series of one experiment share the centre and the
spread of their exponents, and the odds of a floor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from cvfp_core.fitting.curve_fit import in_space
from cvfp_core.fitting.curves import Curve
from cvfp_core.fitting.scales import jacobian, logarithmic, on_scale
from cvfp_core.registry.kinds import Law
from cvfp_core.schema.fits import Array, Points
from cvfp_core.schema.quantities import Quantity

STEPS = ((16, 8), (16, 8), (24, 16))
"""Exponents and floors of a grid; each step is over the range of the exponents that count in the one before."""
BARE_STEPS = ((48, 1), (48, 1), (48, 1))
"""Of laws without a floor, whose exponents the points tell apart far more finely."""
NEGLIGIBLE = 1e-4
"""Of the largest weight: exponents below are left out of the next step."""
REACH = 8
"""Standard errors of the floor, given the exponent, that its range reaches."""
WIDEST = 3.0
"""Standard deviations of the prior that exponents are looked for in."""
CENTRES = 25
SPREADS = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Of the logarithms of the exponents of one experiment, each as likely as another."""
BARE = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Shares of series without a floor, each as likely as another."""

HEAVIEST = 160
"""Nodes that a quantile is taken of."""
UNLIMITED = 100.0
"""In logarithms: an interval that reaches it has no end."""
BISECTIONS = 24


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scale:
    """A law on one scale of the response, and what becomes of numbers there."""

    law: Law
    quantity: Quantity

    def targets(self, alike: Sequence[Points]) -> Array:
        """(B, n) in the space of residuals."""
        return np.stack([in_space(self.law, on_scale(points, self.quantity).response) for points in alike])

    def turn(self, value: Array) -> Array:
        """From the common unit, a loss or else the logarithm of the response, to the space of residuals."""
        return np.log(np.maximum(value, 1e-300)) if logarithmic(self.quantity) else value

    def back(self, value: Array) -> Array:
        """The other way."""
        return np.exp(value) if logarithmic(self.quantity) else value

    def log_jacobian(self, targets: Array) -> Array:
        """(B,) logarithm of what densities are multiplied by to be those of the common unit."""
        return np.asarray(-targets.shape[1] * np.log(jacobian(targets, self.law, self.quantity)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Nodes:
    """(B, K) what (B, n) series say of pairs of an exponent and a floor; the pairs of an exponent stand together."""

    curve: Curve
    size: Array
    """(B, A) logarithm of the exponents without their sign, those without a floor first."""
    bare: Array
    """(A,) whether there is no floor."""
    pairs: Array
    """(A,) of each exponent."""
    evidence: Array
    """Logarithm of the likelihood with size and noise integrated out, and of the share of the range it stands for."""
    floor: Array
    height: Array
    """Logarithm of the size that goes with them, per unit of the law at the last point."""
    offset: Array
    """(B, 1) what floors and heights are relative to, in logarithms."""
    variance: Array
    """Of residuals."""
    information: Array
    """About the height, per variance."""
    dof: Array
    """(B, 1)"""


def averaged(law: Law) -> bool:
    """Whether it can be averaged over: an exponent with a prior, a floor and a size, residuals of logarithms."""
    free = [p for p in law.parameters if p.name not in law.linear]
    return (law.function is not None and law.space == "log" and len(free) == 1 and free[0].prior is not None
            and len(law.linear) == 2 and law.floor in law.linear and len(law.inputs) == 1)


@np.errstate(all="ignore")
def nodes(law: Law, inputs: Mapping[str, Array], targets: Array, rss: Array | float = 0.0,
          dof: Array | float = 0) -> Nodes:
    """What (B, n) targets at the same inputs say. rss, dof: (B,) squares and degrees of freedom of other series."""
    curve = Curve(law, inputs)
    offset = targets.mean(axis=1, keepdims=True)
    more, degrees = (np.broadcast_to(each, len(targets))[:, None] for each in (rss, targets.shape[1] - 1 + dof))
    found = [_search(curve, np.exp(targets - offset), more, degrees, steps) for steps in (BARE_STEPS, STEPS)]
    joined = {name: np.concatenate([each[name] for each in found], axis=1) for name in found[0]}
    counts = [steps[-1] for steps in (BARE_STEPS, STEPS)]
    return Nodes(curve=curve, offset=offset, dof=degrees, bare=np.repeat([True, False], [count for count, _ in counts]),
                 pairs=np.repeat([floors for _, floors in counts], [count for count, _ in counts]), **joined)


def _search(curve: Curve, y: Array, more: Array, degrees: Array, steps: Sequence[tuple[int, int]]) -> dict[str, Array]:
    """Nodes (exponents, floors) of the last step, over the range of those that count in the one before."""
    centre, spread = curve.law.parameters[curve.free[0]].prior or (1.0, 1.0)
    rows, least = np.arange(len(y)), y.min(axis=1)[:, None]
    low, high = (np.full(len(y), np.log(centre) + side * WIDEST * spread) for side in (-1, 1))
    made: dict[str, Array] = {}
    for turn, (count, floors) in enumerate(steps):
        size = low[:, None] + (high - low)[:, None] * np.linspace(0, 1, count)
        part = _part(curve, size, curve.inputs)
        part = part / part[..., -1:]
        if floors > 1:
            near, error = _floor(y[:, None, :], part, more)
            first = np.clip(near - REACH * error, 0, 0.98 * least)
            width = np.clip(near + REACH * error, first + 0.01 * least, 0.9999 * least) - first
            floor = first[..., None] + width[..., None] * (np.arange(floors) + 0.5) / floors
            share = width / least / floors
        else:
            floor, share = np.zeros((*size.shape, 1)), np.ones_like(size)
        height = np.log(np.maximum(y[:, None, None] - floor[..., None], 1e-3 * y[:, None, None])
                        / part[:, :, None]).mean(axis=3)
        for _ in range(4 if floors > 1 else 1):
            rest, slope = _residuals(y, floor, height, part)
            height = height + np.clip((slope * rest).sum(axis=3) / np.square(slope).sum(axis=3), -2, 2)
        rest, slope = _residuals(y, floor, height, part)
        information = np.square(slope).sum(axis=3)
        squares = np.maximum(np.square(rest).sum(axis=3) + more[..., None], 1e-20)
        squares = np.where(np.isfinite(squares), squares, 1e30)
        evidence = -degrees[..., None] / 2 * np.log(squares) - np.log(information) / 2 + np.log(
            share * ((high - low) / count)[:, None])[..., None]
        counted = np.exp(evidence - evidence.max(axis=(1, 2), keepdims=True)).sum(axis=2)
        able = counted > NEGLIGIBLE * counted.max(axis=1, keepdims=True)
        if turn + 1 < len(steps):
            low = size[rows, np.maximum(able.argmax(axis=1) - 1, 0)]
            high = size[rows, np.minimum(count - able[:, ::-1].argmax(axis=1), count - 1)]
        made = {"size": size, "floor": floor, "height": height, "evidence": evidence,
                "variance": squares / degrees[..., None], "information": information}
    return {name: each.reshape(len(y), -1) for name, each in made.items()}


def _part(curve: Curve, size: Array, inputs: Mapping[str, Array]) -> Array:
    """(B, A, n) the law without a floor and of size one."""
    law, free = curve.law, curve.free[0]
    parameters = np.zeros((size.size, len(curve.names)))
    parameters[:, free] = (np.exp(size) * (-1 if law.parameters[free].maximum <= 0 else 1)).ravel()
    parameters[:, next(i for i in curve.linear if curve.names[i] != law.floor)] = 1.0
    return curve.values(parameters, inputs).reshape(*size.shape, -1)


def _floor(y: Array, part: Array, more: Array) -> tuple[Array, Array]:
    """(B, A) the floor that fits best, by weighted least squares, and its standard error."""
    one, two = 1 / y + 0 * part, part / y
    a, b, c = (one * one).sum(axis=2), (one * two).sum(axis=2), (two * two).sum(axis=2)
    r, s = one.sum(axis=2), two.sum(axis=2)
    apart = a * c - b * b
    floor, height = (c * r - b * s) / apart, (a * s - b * r) / apart
    squares = np.square(1 - (floor[..., None] + height[..., None] * part) / y).sum(axis=2) + more
    return floor, np.sqrt(c / apart * np.maximum(squares / max(y.shape[2] - 3, 1), 1e-18))


def _residuals(y: Array, floor: Array, height: Array, part: Array) -> tuple[Array, Array]:
    """(B, A, F, n) residuals of logarithms, and their slope along the height."""
    above = np.exp(height)[..., None] * part[:, :, None]
    value = floor[..., None] + above
    return np.log(y)[:, None, None] - np.log(value), above / value


@np.errstate(all="ignore")
def weighed(each: Sequence[Nodes], *, alone: bool, prior: bool = True,
            telling: Sequence[Array] | None = None) -> tuple[list[Array], list[Array] | float]:
    """(B, K) weights of the nodes, whose sum over a series is 1, and the logarithm of the evidence of all series.

    each: of series of one experiment, those at the same inputs together. alone: no series tells of another, and the
    evidence is (B,) of each. prior: False: any centre of exponents is as likely. telling: (B,) those that tell.
    """
    law = each[0].curve.law
    centre, spread = next(p.prior for p in law.parameters if p.prior is not None)
    places = np.log(centre) + spread * np.linspace(-2.5, 2.5, CENTRES)
    c, s, bare = (one.ravel() for one in np.meshgrid(places, SPREADS, BARE, indexing="ij"))
    odds = special.log_softmax(-np.square((c - np.log(centre)) / spread) / 2 if prior else np.zeros(len(c)))
    if alone:
        made = [_given(one, np.exp(odds) / s, c, s, bare) for one in each]
        sums = [weight.sum(axis=1, keepdims=True) for weight, _ in made]
        return ([weight / total for (weight, _), total in zip(made, sums, strict=True)],
                [np.log(total[:, 0]) + top for total, (_, top) in zip(sums, made, strict=True)])
    seen = [_seen(one, c, s, bare) for one in each]
    tells = [np.ones(len(own), dtype=bool) for own in seen] if telling is None else telling
    joint = odds + np.sum([own[tell].sum(axis=0) for own, tell in zip(seen, tells, strict=True)], axis=0)
    # what the others say of a series' spread: its own word is in its nodes
    weights = [_given(one, special.softmax(joint - own, axis=1) / s, c, s, bare)[0]
               for one, own in zip(each, seen, strict=True)]
    return [weight / weight.sum(axis=1, keepdims=True) for weight in weights], float(special.logsumexp(joint))


def _seen(each: Nodes, c: Array, s: Array, bare: Array) -> Array:
    """(B, H) logarithm of each series' evidence for H centres and spreads of exponents and shares without a floor."""
    top = each.evidence.max(axis=1, keepdims=True)
    scaled = np.add.reduceat(np.exp(each.evidence - top), np.cumsum(each.pairs) - each.pairs, axis=1)
    near = np.exp(-np.square((each.size[..., None] - c) / s) / 2) / s
    return np.log(np.einsum("ba,bah,ah->bh", scaled, near, np.where(each.bare[:, None], bare, 1 - bare)) + 1e-300) + top


def _given(each: Nodes, share: Array, c: Array, s: Array, bare: Array) -> tuple[Array, Array]:
    """(B, K) weights of the nodes up to a factor, whose logarithm is (B,), for shares (H,) or (B, H) over spreads."""
    top = each.evidence.max(axis=1, keepdims=True)
    near = np.exp(-np.square((each.size[..., None] - c) / s) / 2)
    density = np.einsum("bah,bh,ah->ba", near, np.broadcast_to(share, (len(each.size), len(c))),
                        np.where(each.bare[:, None], bare, 1 - bare))
    return np.exp(each.evidence - top) * np.repeat(density, each.pairs, axis=1), top[:, 0]


@np.errstate(all="ignore")
def ahead(each: Nodes, inputs: Mapping[str, Array]) -> tuple[Array, Array, Array]:
    """(B, K) centre in the space of residuals, standard error of it, and that of a new run, at one further input."""
    beyond, last = (_part(each.curve, each.size, place)[..., -1] for place in (inputs, each.curve.inputs))
    above = np.exp(each.height) * np.repeat(beyond / last, each.pairs, axis=1)
    value = each.floor + above
    lever = np.square(above / value) / each.information
    return np.log(value) + each.offset, np.sqrt(each.variance * lever), np.sqrt(each.variance * (1 + lever))


@np.errstate(all="ignore")
def quantiles(parts: Sequence[tuple[Array, Array, Array]], dof: Array, scales: Sequence[Scale],
              shares: Sequence[float]) -> list[Array]:
    """(B,) quantiles of mixtures of Student's t: parts of (weight, centre, spread), (B, K) each, one on each scale.

    In the common unit of the scales. dof: (B, 1).
    """
    parts = [_heaviest(*part) for part in parts]
    total = sum(weight.sum(axis=1) for weight, _, _ in parts)
    ends = []
    for share in shares:
        # it lies between the quantiles of the components
        own = np.concatenate([np.where(weight > 0, scale.back(centre + special.stdtrit(dof, share) * spread), np.nan)
                              for (weight, centre, spread), scale in zip(parts, scales, strict=True)], axis=1)
        low, high = (np.clip(end(own, axis=1), -UNLIMITED, UNLIMITED) for end in (np.nanmin, np.nanmax))
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            below = sum((weight * special.stdtr(dof, (scale.turn(middle)[:, None] - centre) / spread)).sum(axis=1)
                        for (weight, centre, spread), scale in zip(parts, scales, strict=True))
            small = below < share * total
            low, high = np.where(small, middle, low), np.where(small, high, middle)
        ends.append((low + high) / 2)
    return ends


def _heaviest(weight: Array, centre: Array, spread: Array) -> tuple[Array, Array, Array]:
    """The nodes of the largest weights; the rest are less than a hundredth of the whole."""
    if weight.shape[1] <= HEAVIEST:
        return weight, centre, spread
    kept = np.argpartition(-weight, HEAVIEST - 1, axis=1)[:, :HEAVIEST]
    weight, centre, spread = (np.take_along_axis(each, kept, axis=1) for each in (weight, centre, spread))
    return weight, centre, spread
