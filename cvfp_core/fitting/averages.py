"""Series' forecasts as averages over a power law with and without a floor, on every scale of what is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import special

from cvfp_core.fitting.curve_fit import solve_alike
from cvfp_core.fitting.points import by_group, place
from cvfp_core.fitting.posterior import (
    HEAVIEST,
    UNLIMITED,
    Nodes,
    Scale,
    ahead,
    averaged,
    in_parts,
    nodes,
    quantiles,
    weighed,
)
from cvfp_core.fitting.predict import Prediction, stretched
from cvfp_core.fitting.scales import logarithmic, on_scale
from cvfp_core.fitting.selection import SIGNIFICANT, spread_folds
from cvfp_core.registry.kinds import Law
from cvfp_core.schema.fits import Array, Points
from cvfp_core.schema.quantities import Quantity

AVERAGE = "average"
"""What a forecast calls the law of an average."""
SHARES = (0.025, 0.5, 0.975)
ENOUGH = 5
"""Series from which exponents are shared even without a prior."""
AT_ONCE = 1_000
"""Series that are back-tested at once; of more, one part after the other, or they would take gigabytes."""
At = Mapping[str, float]


def carried(laws: Sequence[Law], law: Law) -> bool:
    """Whether an average over these says what the law says: it is one of them, or one of them without its floor."""
    if law in laws:
        return True
    names = {p.name for p in law.parameters}
    wide = next((each for each in laws if {p.name for p in each.parameters} - {each.floor} == names), None)
    if wide is None or wide.floor is None or law.function is None or law.space != wide.space:
        return False
    assert wide.function is not None
    some = {name: np.array([1.3, 2.0, 7.0]) for name in law.inputs}
    values = dict.fromkeys(names, 0.7)
    try:
        return bool(np.allclose(law.function(**some, **values), wide.function(**some, **values, **{wide.floor: 0.0})))
    except Exception:  # a stranger's function: it is not this one
        return False


def able(points: Points, scales: Sequence[Scale]) -> bool:
    """Whether the series can be averaged over: a run a size, all alike, more sizes than parameters, on every scale."""
    if not scales or points.weights is not None or not points.n == len(points.sizes) > len(scales[0].law.parameters):
        return False
    values = [*points.inputs.values(), *(on_scale(points, scale.quantity).response for scale in scales)]
    return bool((np.isfinite(values) & (np.array(values) > 0)).all())


class Average:
    """The series of a forecast that are averaged over, and what they say together.

    telling: which of them tell of the others; controls and copies do not. pool: False: none does.
    """

    def __init__(self, every: Sequence[Points], scales: Sequence[Scale], *, telling: Sequence[bool], prior: bool,
                 pool: bool) -> None:
        self.every, self.scales = every, scales
        groups: dict[Any, list[int]] = {}
        for row, points in enumerate(every):
            groups.setdefault(place(points), []).append(row)
        self.groups = list(groups.values())
        tells = [np.array([telling[row] for row in rows]) for rows in self.groups]
        alone = not pool or sum(telling) < 2
        self.nodes: list[list[Nodes]] = []
        self.weights: list[list[Array]] = []
        found: list[Any] = []
        for scale in scales:
            noise = self._noise(scale, telling) if not alone else [(0.0, 0)] * len(every)
            targets = [scale.targets([every[row] for row in rows]) for rows in self.groups]
            own = [nodes(scale.law, every[rows[0]].inputs, target, np.array([noise[row][0] for row in rows]),
                         np.array([noise[row][1] for row in rows]))
                   for rows, target in zip(self.groups, targets, strict=True)]
            weights, evidence = weighed(own, alone=alone, prior=prior, telling=tells)
            told = [scale.log_jacobian(target) for target in targets]
            found.append([one + two for one, two in zip(evidence, told, strict=True)] if isinstance(evidence, list) else
                         (evidence + sum(float(each[tell].sum()) for each, tell in zip(told, tells, strict=True)))
                         / sum(telling))
            self.nodes.append(own)
            self.weights.append(weights)
        # (scales, B) of each group: the odds of the scales, as one series of these has them. The product over series
        # would add up what no law here explains, and hold the wrong scale for certain
        self.odds = [special.softmax(np.stack([each[g] if isinstance(each, list) else np.full(len(rows), each)
                                               for each in found]), axis=0) for g, rows in enumerate(self.groups)]

    def _noise(self, scale: Scale, telling: Sequence[bool]) -> list[tuple[float, int]]:
        """What the other series tell of the noise: squares and degrees of freedom.

        None where the series scatters significantly more than they do.
        """
        points = [on_scale(each, scale.quantity) for each in self.every]
        rss = by_group(points, place, lambda alike: [solved.rss for solved in solve_alike(scale.law, alike)])
        dof = [each.n - len(scale.law.parameters) for each in points]
        total, degrees = (sum(value for value, tells in zip(each, telling, strict=True) if tells)
                          for each in (rss, dof))
        lent = []
        for own, left, tells in zip(rss, dof, telling, strict=True):
            rest, others = (total - own, degrees - left) if tells else (total, degrees)
            odd = others < 1 or special.fdtrc(left, others, own / left / max(rest / others, 1e-300)) < SIGNIFICANT
            lent.append((0.0, 0) if odd else (float(rest), int(others)))
        return lent

    def ahead(self, asked: Sequence[tuple[int, At]], *, law: bool = True) -> list[Array]:
        """(5,) of each series at a place, in the common unit: both ends of the law; of a run low, median and high.

        law: False: (3,) of a run alone.
        """
        where = {row: (g, i) for g, rows in enumerate(self.groups) for i, row in enumerate(rows)}

        def ends(alike: list[tuple[int, At]]) -> list[Array]:
            (row, at), *_ = alike
            g, _ = where[row]
            index = np.array([where[row][1] for row, _ in alike])
            inputs = {name: np.array([value]) for name, value in at.items()}

            def some(part: Array) -> list[Array]:
                rows = index[part]
                told = [(self.weights[s][g][rows] * self.odds[g][s][rows, None],
                         *ahead(self.nodes[s][g], inputs, rows)) for s in range(len(self.scales))]
                mean, run = ([(weight, centre, each[which]) for weight, centre, *each in told] for which in (0, 1))
                dof = self.nodes[0][g].dof[rows]
                of_mean = quantiles(mean, dof, self.scales, SHARES[::2]) if law else []
                return [np.stack([*of_mean, *quantiles(run, dof, self.scales, SHARES)], axis=1)]

            return list(in_parts(len(alike), len(self.scales) * HEAVIEST, some)[0])

        return by_group(asked, lambda pair: (where[pair[0]][0], tuple(pair[1].items())), ends)

    def shares(self) -> dict[tuple[bool, str], float]:
        """The weight of the law without a floor and with one on each scale, on average over the series."""
        total: dict[tuple[bool, str], float] = {}
        for s, scale in enumerate(self.scales):
            for bare in (True, False):
                total[bare, scale.quantity.name] = float(np.mean(np.concatenate([
                    (weight * np.repeat(own.bare == bare, own.pairs)).sum(axis=1) * odds[s]
                    for weight, own, odds in zip(self.weights[s], self.nodes[s], self.odds, strict=True)])))
        return total


def widening(every: Sequence[Points], scales: Sequence[Scale], *, prior: bool) -> list[float]:
    """The factor, at least 1, by which each series' intervals would have held the next size, and that each time."""
    def alike(points: list[Points]) -> list[float]:
        (name, sizes), = points[0].inputs.items()
        order = np.argsort(sizes)
        factor = np.ones(len(points))
        for m in spread_folds(len(scales[0].law.parameters) + 1, len(sizes)):
            past = [each.take(order[:m]) for each in points]
            told = Average(past, scales, telling=[True] * len(past), prior=prior, pool=False)
            ends = np.array(told.ahead([(row, {name: float(sizes[order[m]])}) for row in range(len(past))], law=False))
            came = _common(np.array([each.response[order[m]] for each in points]), points[0])
            low, middle, high = ends.T
            miss = came - middle
            factor = np.maximum(factor, np.maximum(miss / (high - middle), miss / (low - middle)))
        return [float(each) for each in factor]

    def in_turn(points: list[Points]) -> list[float]:
        return [factor for first in range(0, len(points), AT_ONCE) for factor in alike(points[first:first + AT_ONCE])]

    return by_group(every, place, in_turn)


def _common(response: Array, points: Points) -> Array:
    """The response in the common unit."""
    return response if logarithmic(points.quantity(points.name)) else np.log(response)


def stated(made: Prediction, ends: Array, factor: float, points: Points, *, own: bool) -> Prediction:
    """The prediction with the average's limits, the factor times as far off; its value too unless it has its own."""
    quantity = points.quantity(points.name)
    middle = float(ends[3])
    back: Callable[[float], float] = (lambda value: value) if logarithmic(quantity) else (
        lambda value: float(np.exp(value)))

    def end(value: float, *, upper: bool) -> float | None:
        value = middle + factor * (value - middle)
        if upper and value > UNLIMITED - 1:
            return quantity.maximum
        most, least = (np.inf if quantity.maximum is None else quantity.maximum,
                       -np.inf if quantity.minimum is None else quantity.minimum)
        return float(np.clip(back(value), least, most))

    warnings = made.warnings if factor <= 1 else (*made.warnings, stretched(factor))
    return replace(made, law=made.law if own else AVERAGE, value=made.value if own else back(middle), warnings=warnings,
                   mean_low=end(ends[0], upper=False), mean_high=end(ends[1], upper=True),
                   run_low=end(ends[2], upper=False), run_high=end(ends[4], upper=True))


def scales_of(laws: Sequence[Law], declared: Callable[[str], Quantity]) -> list[Scale]:
    """The law that can be averaged over, on each of its scales."""
    return [Scale(law=law, quantity=declared(law.response)) for law in laws if averaged(law)]
