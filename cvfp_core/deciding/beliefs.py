"""What the laws that may hold say, on average, of the target and of runs not made yet: jointly, as one tells the other.

Each law says so to first order about its fit; laws count by their Bayesian information criterion, a series of few sizes
by the average that its forecasts are made of. How far laws are apart is uncertainty too, which runs can remove. A new
run then changes all of it as an observation changes correlated normal variables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from cvfp_core.deciding.budgets import Cost
from cvfp_core.deciding.targets import Target
from cvfp_core.fitting import averages
from cvfp_core.fitting.curve_fit import for_intervals, solve_points
from cvfp_core.fitting.curves import Curve, Goal
from cvfp_core.fitting.linear import t_quantile
from cvfp_core.fitting.posterior import Scale, ahead
from cvfp_core.fitting.scales import logarithmic
from cvfp_core.registry.kinds import Law
from cvfp_core.schema.fits import Array, Points

VAGUE = 3.0
"""Standard deviation of what is known beforehand of an exponent's logarithm: next to nothing. Of a linear parameter's
contribution it is the response itself. So a direction in which runs tell nothing is wide, not endless."""
HELD = 0.99
"""Weight of the nodes of an average that are kept, the heaviest first; the rest lie anywhere."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Beliefs:
    """Of m places and, behind them, of the target."""

    centre: Array
    """(m + 1,) in the space of residuals; the target's own where it is no place."""
    covariance: Array
    """(m + 1, m + 1) of what laws say, without the noise of runs."""
    variance: Array
    """(m,) of one run about the law."""
    dof: float
    weights: Mapping[str, float]
    """Of the laws."""
    log: bool
    """Whether places are logarithms of the response."""

    def half(self, more: int = 0) -> float:
        """Half of the target's 95 % interval, if so many runs are added of which nothing else is known."""
        return t_quantile(self.dof + more) * float(np.sqrt(max(self.covariance[-1, -1], 0.0)))

    def gains(self) -> Array:
        """(m,) by how much a run at each place lowers the target's variance."""
        return np.asarray(self.covariance[-1, :-1] ** 2 / (self.variance + np.diag(self.covariance)[:-1]))

    def after(self, place: int) -> Beliefs:
        """With one more run there, whatever it measures."""
        column = self.covariance[:, place]
        known = self.covariance - np.outer(column, column) / (self.variance[place] + self.covariance[place, place])
        return Beliefs(centre=self.centre, covariance=known, variance=self.variance, dof=self.dof + 1,
                       weights=self.weights, log=self.log)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Said:
    """What one law says: (m + 1,) values, (m + 1, k) what k independent unknowns of size 1 do to them."""

    values: Array
    root: Array
    variance: float
    dof: int
    criterion: float


def of_laws(laws: Sequence[Law], points: Points, places: Mapping[str, Array], target: Target, cost: Cost | None
            ) -> Beliefs | None:
    """By laws fitted to the points, to first order; None where none says anything of the target.

    places: (m,) by input.
    """
    said = {law.name: made for law in laws if (made := _of_law(law, points, places, target, cost)) is not None}
    if not said:
        return None
    every = list(said.values())
    weights = special.softmax([-each.criterion / 2 for each in every])
    centre, covariance = _together(weights, np.stack([each.values for each in every]))
    covariance += sum(weight * each.root @ each.root.T for weight, each in zip(weights, every, strict=True))
    return Beliefs(centre=centre, covariance=covariance, dof=float(weights @ [each.dof for each in every]),
                   variance=np.full(len(centre) - 1, float(weights @ [each.variance for each in every])),
                   weights=dict(zip(said, weights.tolist(), strict=True)), log=laws[0].space == "log")


@np.errstate(all="ignore")
def _of_law(law: Law, points: Points, places: Mapping[str, Array], target: Target, cost: Cost | None) -> _Said | None:
    solved = solve_points(law, points)
    if not solved.found or solved.variance.value is None:
        return None
    (solved,) = for_intervals([solved], points)
    curve, parameters, n = solved.curve, solved.optimum.parameters, points.n
    value, further, count = target.at(curve, parameters, cost)
    every = {name: np.concatenate([values, further[name] if further else []]) for name, values in places.items()}
    goal = Goal(target=np.zeros(1), weight=np.ones(1), parameter=np.full(1, -1), log=np.zeros(1, dtype=bool),
                inputs=every)
    about = curve.expand(parameters, goal)
    move, _, _ = curve.local(about.frame, np.zeros_like(parameters), np.zeros((1, *parameters.shape[1:] * 2)))
    local = about.slope[0] @ (move[0] * _vague(curve, parameters))  # (n + m + r, k)
    m = len(next(iter(places.values())))
    own = np.eye(parameters.shape[1])[-1] @ (move[0] * _vague(curve, parameters)) if further is None else \
        count @ local[n + m :]
    slopes = np.concatenate([local[n : n + m], own[None]])
    fitted = np.append(about.fitted[0, n : n + m], value)
    if not np.isfinite(fitted).all() or not np.isfinite(slopes).all():
        return None
    known = np.nan_to_num(local[:n]) * solved.weights[0][:, None] / solved.sigma
    spread = np.linalg.inv(np.eye(known.shape[1]) + known.T @ known)
    scatter = max(solved.variance.new_run or 0.0, 1e-20)
    dof = solved.variance.dof
    return _Said(values=fitted, root=slopes @ np.linalg.cholesky(spread), variance=scatter, dof=dof,
                 criterion=points.n * np.log(scatter * dof / points.n) + parameters.shape[1] * np.log(points.n))


def _vague(curve: Curve, parameters: Array) -> Array:
    """(k,) what is known of the parameters beforehand, in the curve's local coordinates: standard deviations."""
    level = float(np.abs(curve.values(parameters, curve.at_centre)[0, 0]))
    return np.array([level if index in curve.linear else VAGUE for index in range(len(curve.names))])


@np.errstate(all="ignore")
def of_average(points: Points, scales: Sequence[Scale], places: Array, target: Target) -> Beliefs:
    """By the average of a power law with and without a floor that forecasts of a series are made of.

    places: (m,) of the law's input.
    """
    ((name, at),) = target.inputs.items()
    means = averages.Average([points], scales, telling=[True], prior=True, pool=False)
    weights, values, roots, scatter = [], [], [], []
    for s, scale in enumerate(scales):
        nodes = means.nodes[s][0]
        told = [ahead(nodes, {name: np.array([size])}) for size in (*places, at)]
        centre, error = (np.stack([each[which][0] for each in told], axis=1) for which in (0, 1))  # (K, m + 1)
        turn = np.exp(centre) if logarithmic(scale.quantity) else np.ones_like(centre)
        weights.append(means.odds[0][s, 0] * means.weights[s][0][0])
        values.append(scale.back(centre))
        roots.append(error * turn)
        scatter.append(nodes.variance[0][:, None] * np.square(turn[:, :-1]))
    weight, value, root, noise = (np.concatenate(each) for each in (weights, values, roots, scatter))
    order = np.argsort(-weight)
    kept = order[: int(np.searchsorted(np.cumsum(weight[order]), HELD * weight.sum())) + 1]
    weight, value, root, noise = weight[kept] / weight[kept].sum(), value[kept], root[kept], noise[kept]
    centre, covariance = _together(weight, value)
    shares = {f"{'power-law' if bare else scale.law.name} ({scale.quantity.name})": told
              for scale in scales for bare in (True, False) for told in [means.shares()[bare, scale.quantity.name]]}
    return Beliefs(centre=centre, covariance=covariance + (root * weight[:, None]).T @ root, variance=weight @ noise,
                   dof=float(means.nodes[0][0].dof[0, 0]), weights=shares,
                   log=not logarithmic(points.quantity(points.name)))


def _together(weights: Array, values: Array) -> tuple[Array, Array]:
    """The mean of (L, m + 1) values of laws, and the covariance of laws that differ."""
    centre = weights @ values
    apart = values - centre
    return centre, (apart * weights[:, None]).T @ apart
