"""Power laws with and without a floor, averaged over all that few points and a weak prior leave open.

A profile asks which curves fit nearly as well as the best one; of few points that is wide, and the best curve erratic.
Here exponent and floor are summed over on a grid, and size and noise integrated out (flat in the logarithm, Jeffreys'
rule; Bernardo & Smith 1994, section 5.4), so that every limit is a quantile of a mixture of Student's t. There is no
floor with even odds, else one anywhere below the least response. Series of one experiment share the centre and the
spread of their exponents, and the odds of a floor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from cvfp_core.fitting.curve_fit import in_space
from cvfp_core.fitting.curves import Curve
from cvfp_core.fitting.linear import t_share
from cvfp_core.fitting.scales import jacobian, logarithmic, on_scale
from cvfp_core.registry.kinds import Law
from cvfp_core.schema.fits import Array, Points
from cvfp_core.schema.quantities import Quantity

ZOOMS = (32, 24, 24, 24, 24)
"""Exponents looked at to find the likeliest; each time between the neighbours of the best one before."""
APART = np.r_[0.0, np.geomspace(5e-4, 5.0, 16)]
"""Distances of the exponents from the likeliest, in logarithms: with few points the likeliest may be as narrow as that,
and all others matter."""
ERRORS = np.array([0, 0.6, 1.3, 2.2, 3.6, 6, 11, 22, 50])
"""Distances of the floors from the best one, given the exponent, in standard errors."""
WIDEST = 3.0
"""Standard deviations of the prior that exponents are looked for in."""
HIGHEST = 0.9999
"""Of the least response: a floor is below."""
CENTRES = 41
SPREADS = (0.1, 0.2, 0.4, 0.8)
"""Of the logarithms of the exponents of one experiment, each as likely as another."""
BARE = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Shares of series without a floor, each as likely as another."""

HEAVIEST = 320
"""Nodes that a quantile is taken of."""
UNLIMITED = 100.0
"""In logarithms: an interval that reaches it has no end."""
STEPS, HALVES = 16, 6
"""Of the search for a quantile."""
CACHED = 100_000
"""Numbers in an array of the work on some series: of more, one part after the other."""


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
    y = np.exp(targets - offset)
    names = ("size", "evidence", "floor", "height", "variance", "information")

    def found(rows: Array) -> list[Array]:
        both = [_grid(curve, y[rows], more[rows], degrees[rows], bare=bare) for bare in (True, False)]
        return [np.concatenate([each[name] for each in both], axis=1) for name in names]

    count, pairs = 2 * len(APART) - 1, 2 * len(ERRORS) - 1
    joined = dict(zip(names, in_parts(len(y), count * pairs * y.shape[1], found), strict=True))
    return Nodes(curve=curve, offset=offset, dof=degrees, bare=np.repeat([True, False], count),
                 pairs=np.repeat([1, pairs], count), **joined)


def in_parts(count: int, numbers: int, compute: Callable[[Array], Sequence[Array]]) -> list[Array]:
    """What is computed of rows below `count`, joined; so many at once that arrays of these numbers a row stay small."""
    parts = np.array_split(np.arange(count), min(count, -(-count * numbers // CACHED)))
    return [np.concatenate(each) for each in zip(*map(compute, parts), strict=True)]


def _grid(curve: Curve, y: Array, more: Array, degrees: Array, *, bare: bool) -> dict[str, Array]:
    """Nodes about the likeliest exponent, with no floor or with floors about the best one of each."""
    centre, spread = next(p.prior for p in curve.law.parameters if p.prior is not None)
    low, high = (np.full(len(y), np.log(centre) + side * WIDEST * spread) for side in (-1, 1))
    ends, rows = (low, high), np.arange(len(y))
    for count in ZOOMS:
        size = low[:, None] + (high - low)[:, None] * np.linspace(0, 1, count)
        part = _relative(curve, size)
        best = _given_floor(y, more, degrees, part, _floors(y, more, part, bare=bare, spread=False))
        top = best["evidence"].reshape(len(y), count).argmax(axis=1)
        low, high = size[rows, np.maximum(top - 1, 0)], size[rows, np.minimum(top + 1, count - 1)]
    # (B, A) exponents, each standing for the range to the middles between it and its neighbours
    size = np.clip(size[rows, top][:, None] + np.r_[-APART[:0:-1], APART], ends[0][:, None], ends[1][:, None])
    edges = np.concatenate([size[:, :1], (size[:, 1:] + size[:, :-1]) / 2, size[:, -1:]], axis=1)
    part = _relative(curve, size)
    floors = _floors(y, more, part, bare=bare, spread=True)
    made = _given_floor(y, more, degrees, part, floors)
    share = np.log(np.diff(edges, axis=1))[..., None] + np.log(floors[1])
    return {**made, "size": size, "evidence": made["evidence"] + share.reshape(len(y), -1)}


def _floors(y: Array, more: Array, part: Array, *, bare: bool, spread: bool) -> tuple[Array, Array]:
    """(B, A, F) floors of each exponent, relative to the least response, and the share of its range of each."""
    if bare:
        return np.zeros((*part.shape[:2], 1)), np.ones((*part.shape[:2], 1))
    near, error = (each[..., None] / y.min(axis=1)[:, None, None] for each in _floor(y[:, None, :], part, more))
    if not spread:
        return np.clip(near, 0.0, HIGHEST), np.ones((*part.shape[:2], 1))
    at = near + error * np.r_[-ERRORS[:0:-1], ERRORS]
    ends = (near - np.inf, (at[..., 1:] + at[..., :-1]) / 2, near + np.inf)
    edges = np.clip(np.concatenate(ends, axis=2), 0, HIGHEST)
    inner = np.clip(at, edges[..., :-1], edges[..., 1:])
    return inner, np.diff(edges, axis=2)


def _given_floor(y: Array, more: Array, degrees: Array, part: Array,
                 floors: tuple[Array, Array]) -> dict[str, Array]:
    """What the points say of each pair, size and noise integrated out."""
    floor = floors[0] * y.min(axis=1)[:, None, None]
    height = np.log((y[:, None, None] - floor[..., None]) / part[:, :, None]).mean(axis=3)
    for _ in range(4):
        rest, slope = _residuals(y, floor, height, part)
        height = height + np.clip((slope * rest).sum(axis=3) / np.square(slope).sum(axis=3), -2, 2)
    rest, slope = _residuals(y, floor, height, part)
    information = np.square(slope).sum(axis=3)
    squares = np.maximum(np.square(rest).sum(axis=3) + more[..., None], 1e-20)
    squares = np.where(np.isfinite(squares), squares, 1e30)
    # what other series tell is a prior of the variance, which is normalised as any: scales have other units
    told = np.where(more > 0, (degrees - y.shape[1] + 1) / 2 * np.log(np.maximum(more, 1e-300)), 0.0)
    evidence = told[..., None] - degrees[..., None] / 2 * np.log(squares) - np.log(information) / 2
    made = {"floor": floor, "height": height, "variance": squares / degrees[..., None], "information": information,
            "evidence": np.where(np.isfinite(evidence), evidence, -1e30)}
    return {name: each.reshape(len(y), -1) for name, each in made.items()}


def _part(curve: Curve, size: Array, inputs: Mapping[str, Array]) -> Array:
    """(B, A, n) the law without a floor and of size one."""
    law, free = curve.law, curve.free[0]
    parameters = np.zeros((size.size, len(curve.names)))
    parameters[:, free] = (np.exp(size) * (-1 if law.parameters[free].maximum <= 0 else 1)).ravel()
    parameters[:, next(i for i in curve.linear if curve.names[i] != law.floor)] = 1.0
    return curve.values(parameters, inputs).reshape(*size.shape, -1)


def _relative(curve: Curve, size: Array) -> Array:
    """(B, A, n) the same at the points, per unit of its value at the last one."""
    part = _part(curve, size, curve.inputs)
    return np.asarray(part / part[..., -1:])


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
    # (G,) centres and spreads; a share without a floor goes with each of the (H,)
    c, s = (one.ravel() for one in np.meshgrid(places, SPREADS, indexing="ij"))
    odds = special.log_softmax(np.repeat(-np.square((c - np.log(centre)) / spread) / 2 if prior else np.zeros(len(c)),
                                         len(BARE)))
    height = np.repeat(s, len(BARE))
    if alone:
        made = [_given(one, np.exp(odds) / height, c, s) for one in each]
        sums = [weight.sum(axis=1, keepdims=True) for weight, _ in made]
        return ([weight / total for (weight, _), total in zip(made, sums, strict=True)],
                [np.log(total[:, 0]) + top for total, (_, top) in zip(sums, made, strict=True)])
    seen = [_seen(one, c, s) for one in each]
    tells = [np.ones(len(own), dtype=bool) for own in seen] if telling is None else telling
    joint = odds + np.sum([own[tell].sum(axis=0) for own, tell in zip(seen, tells, strict=True)], axis=0)
    # what the others say of a series' spread: its own word is in its nodes
    weights = [_given(one, special.softmax(joint - own, axis=1) / height, c, s)[0]
               for one, own in zip(each, seen, strict=True)]
    return [weight / weight.sum(axis=1, keepdims=True) for weight in weights], float(special.logsumexp(joint))


def _seen(each: Nodes, c: Array, s: Array) -> Array:
    """(B, H) logarithm of each series' evidence for (G,) centres and spreads of exponents, and floorless shares."""
    def seen(rows: Array) -> list[Array]:
        own = each.evidence[rows]
        top = own.max(axis=1, keepdims=True)
        scaled = np.add.reduceat(np.exp(own - top), np.cumsum(each.pairs) - each.pairs, axis=1)
        near = np.exp(-np.square((each.size[rows, :, None] - c) / s) / 2) / s
        without, floored = ((scaled[:, None, which] @ near[:, which])[:, 0, :, None]
                            for which in (each.bare, ~each.bare))
        evidence = without * BARE + floored * (1 - np.array(BARE))
        return [np.log(evidence.reshape(len(evidence), -1) + 1e-300) + top]

    return in_parts(len(each.size), each.size.shape[1] * len(c), seen)[0]


def _given(each: Nodes, share: Array, c: Array, s: Array) -> tuple[Array, Array]:
    """(B, K) weights of the nodes up to a factor, whose logarithm is (B,), for shares (H,) or (B, H) over spreads."""
    share = np.broadcast_to(share, (len(each.size), len(c) * len(BARE)))

    def given(rows: Array) -> list[Array]:
        top = each.evidence[rows].max(axis=1, keepdims=True)
        near = np.exp(-np.square((each.size[rows, :, None] - c) / s) / 2)
        # (B, G, 2) of centres and spreads, for those with a floor and those without
        odds = share[rows].reshape(len(rows), len(c), -1)
        both = near @ (odds @ np.stack([1 - np.array(BARE), BARE], axis=1))
        density = np.where(each.bare, both[..., 1], both[..., 0])
        return [np.exp(each.evidence[rows] - top) * np.repeat(density, each.pairs, axis=1), top[:, 0]]

    weights, top = in_parts(len(each.size), each.size.shape[1] * len(c), given)
    return weights, top


@np.errstate(all="ignore")
def ahead(each: Nodes, inputs: Mapping[str, Array], rows: Array | slice = slice(None)
          ) -> tuple[Array, Array, Array]:
    """(B, K) centre in the space of residuals, standard error of it, and that of a new run, at one further input.

    rows: (B,) the series asked about; by default all.
    """
    beyond, last = (_part(each.curve, each.size[rows], place)[..., -1] for place in (inputs, each.curve.inputs))
    above = np.exp(each.height[rows]) * np.repeat(beyond / last, each.pairs, axis=1)
    value, variance = each.floor[rows] + above, each.variance[rows]
    lever = np.square(above / value) / each.information[rows]
    return np.log(value) + each.offset[rows], np.sqrt(variance * lever), np.sqrt(variance * (1 + lever))


@np.errstate(all="ignore")
def quantiles(parts: Sequence[tuple[Array, Array, Array]], dof: Array, scales: Sequence[Scale],
              shares: Sequence[float]) -> list[Array]:
    """(B,) quantiles of mixtures of Student's t: parts of (weight, centre, spread), (B, K) each, one on each scale.

    In the common unit of the scales. dof: (B, 1).
    """
    return in_parts(len(dof), len(parts) * HEAVIEST, lambda rows: _quantiles(
        [(weight[rows], centre[rows], spread[rows]) for weight, centre, spread in parts], dof[rows], scales, shares))


def _quantiles(parts: Sequence[tuple[Array, Array, Array]], dof: Array, scales: Sequence[Scale],
               shares: Sequence[float]) -> list[Array]:
    parts = [_heaviest(*part) for part in parts]
    weights = np.concatenate([weight for weight, _, _ in parts], axis=1)
    total, rows = weights.sum(axis=1), np.arange(len(weights))
    ends = []
    for share in shares:
        # it lies between the quantiles of the components
        own = np.concatenate([np.where(weight > 0, scale.back(centre + special.stdtrit(dof, share) * spread), np.nan)
                              for (weight, centre, spread), scale in zip(parts, scales, strict=True)], axis=1)
        order = np.argsort(own, axis=1)
        own = np.clip(np.take_along_axis(own, order, axis=1), -UNLIMITED, UNLIMITED)
        heavier = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
        low, high = own[:, 0], np.nanmax(own, axis=1)
        fewer, more = np.zeros(len(own)), heavier[:, -1]
        below, above = -share * total, (1 - share) * total  # at the ends, or there is none
        for turn in range(STEPS):
            # half of the components, by weight: the lightest are anywhere; then the line between the ends, whose
            # weight is halved where the same end moves twice
            half = (fewer + more) / 2
            middle = own[rows, (heavier < half[:, None]).sum(axis=1)] if turn < HALVES else (
                low + np.clip(below / (below - above), 1e-3, 1 - 1e-3) * (high - low))
            over = sum((weight * t_share(dof, (scale.turn(middle)[:, None] - centre) / spread)).sum(axis=1)
                       for (weight, centre, spread), scale in zip(parts, scales, strict=True)) - share * total
            small = over < 0
            fewer, more = np.where(small, half, fewer), np.where(small, more, half)
            low, high = np.where(small, middle, low), np.where(small, high, middle)
            below, above = np.where(small, over, below / 2), np.where(small, above / 2, over)
        ends.append(low + np.clip(below / (below - above), 0, 1) * (high - low))
    return ends


def _heaviest(weight: Array, centre: Array, spread: Array) -> tuple[Array, Array, Array]:
    """The nodes of the largest weights; the rest are less than a hundredth of the whole."""
    if weight.shape[1] <= HEAVIEST:
        return weight, centre, spread
    kept = np.argpartition(-weight, HEAVIEST - 1, axis=1)[:, :HEAVIEST]
    weight, centre, spread = (np.take_along_axis(each, kept, axis=1) for each in (weight, centre, spread))
    return weight, centre, spread
