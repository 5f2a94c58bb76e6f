"""Ends of intervals: what they are by scipy's constrained search, and where they have none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize

from cvfp_core.fitting.curve_fit import fit_curves, limits, solve_points
from cvfp_core.fitting.curves import Goal
from cvfp_core.fitting.linear import t_quantile
from cvfp_core.registry import installed
from cvfp_core.registry.kinds import Law, LeastSquares, Parameter
from cvfp_core.schema.fits import Points

SIZES = 6e4 * 2.0 ** np.arange(6)
N, D = (each.ravel() for each in np.meshgrid(np.geomspace(1e8, 1e10, 4), np.geomspace(2e9, 2e11, 4)))


def points(law: str, seed: int) -> tuple[Law, Points, dict[str, float]]:
    """Runs of a law with a floor, and inputs at ten times the largest."""
    found = replace(installed().get(Law, law), loss=LeastSquares())
    rng = np.random.default_rng(seed)
    if law == "chinchilla":
        inputs, truth = {"params": N, "train_tokens": D}, 1.82 + 478 * N**-0.347 + 2143 * D**-0.367
    else:
        inputs, truth = {"train_tokens": SIZES}, 90 + 1e5 * SIZES**-0.5
    loss = truth * np.exp(0.01 * rng.standard_normal(len(truth)))
    series = np.full(len(loss), "e", dtype=object)
    return (found, Points(inputs=inputs, response=loss, name=found.response, series=series),
            {name: 10 * values.max() for name, values in inputs.items()})


def least_squares_through(law: Law, made: Points, at: dict[str, float], value: float, start: np.ndarray) -> float:
    """The least sum of squares of laws that take the value there: the floor follows from it, scipy finds the rest."""
    names = [parameter.name for parameter in law.parameters if parameter.name != "E"]

    def residuals(u: np.ndarray) -> np.ndarray:
        given = dict(zip(names, np.exp(u) * np.sign(start), strict=True))
        floor = value - law.function(E=0.0, **at, **given)
        below = np.full(1, 1e3 * min(floor, 0.0))  # a floor cannot be below 0
        fitted = law.function(E=max(floor, 0.0), **made.inputs, **given)
        return np.concatenate([np.log(made.response) - np.log(fitted), below])

    with np.errstate(all="ignore"):
        found = [optimize.least_squares(residuals, np.log(np.abs(start)) + shift, x_scale="jac", xtol=1e-15,
                                        ftol=1e-15, gtol=1e-15, max_nfev=4000).fun for shift in (0.0, 0.01, -0.01)]
    return min(float(each @ each) for each in found)


@pytest.mark.parametrize("law", ["saturating", "chinchilla"])
@pytest.mark.parametrize("seed", [0, 1])
def test_at_the_ends_of_a_mean_no_law_through_them_is_nearer_to_the_points_than_allowed(law: str, seed: int) -> None:
    found, made, at = points(law, seed)
    solved = solve_points(found, made)
    goal = Goal(target=np.zeros(1), weight=np.ones(1), parameter=np.array([-1]), log=np.zeros(1, dtype=bool),
                inputs={name: np.array([value]) for name, value in at.items()})
    infinite = np.full(1, np.inf)
    (ends,) = limits([solved], goal, run=np.zeros(1, dtype=bool), low=-infinite, high=infinite)
    allowed = t_quantile(solved.variance.dof) ** 2 * solved.variance.value
    start = np.array([value for name, value in zip(solved.curve.names, solved.optimum.parameters[0], strict=True)
                      if name != "E"])
    for end in ends:
        risen = least_squares_through(found, made, at, float(np.exp(end)), start) - solved.rss
        assert risen == pytest.approx(allowed, rel=2e-3)


def test_an_end_is_where_the_law_cannot_go_further_or_where_the_quantity_ends() -> None:
    """Far out the law is its floor, which may not be below 88; the quantity is said to be at most 92."""
    noise = np.exp(0.02 * np.random.default_rng(1).standard_normal(6))
    made = Points(inputs={"train_tokens": SIZES}, response=(90 + 200 * np.exp(-SIZES / 3e5)) * noise,
                  series=np.full(6, "e", dtype=object))
    goal = Goal(target=np.zeros(1), weight=np.ones(1), parameter=np.array([-1]), log=np.zeros(1, dtype=bool),
                inputs={"train_tokens": np.array([1e12])})
    infinite, run = np.full(1, np.inf), np.zeros(1, dtype=bool)

    def ends(least: float, most: np.ndarray) -> list[float]:
        law = Law(name="decay", title="", form="", function=lambda train_tokens, E, A, b: E + A * np.exp(
            -b * train_tokens), linear=("E", "A"), floor="E", parameters=(
            Parameter(name="E", minimum=least), Parameter(name="A", minimum=0), Parameter(name="b", minimum=0)))
        (found,) = limits([solve_points(law, made)], goal, run=run, low=-infinite, high=most)
        return np.exp(found).tolist()

    low, high = ends(0.0, infinite)
    assert low < 86
    assert high > 93
    assert ends(88.0, np.full(1, np.log(92.0))) == pytest.approx([88.0, 92.0], rel=1e-4)


def test_a_ceiling_has_no_upper_end_where_a_straight_line_in_log_tokens_is_within_what_is_allowed() -> None:
    """That line is what the law comes to as its ceiling rises, so its sum of squares says where there is no end."""
    sizes = SIZES[:4]
    law, rng = installed().get(Law, "ceiling"), np.random.default_rng(0)
    every = [Points(inputs={"train_tokens": sizes}, response=0.9 - 30 * sizes**-0.5 + 0.003 * rng.standard_normal(4),
                    name="val_acc", series=np.full(4, "e", dtype=object)) for _ in range(20)]
    open_ended = []
    for made, fit in zip(every, fit_curves(law, every), strict=True):
        line = np.polyfit(np.log(sizes), made.response, 1, full=True)[1][0]
        open_ended.append(line - fit.rss < t_quantile(fit.dof) ** 2 * fit.rss / fit.dof)
        assert (fit.estimate("E").high is None) == open_ended[-1]
    assert 2 < sum(open_ended) < 18


def test_an_exponent_has_no_end_where_a_first_size_apart_from_a_constant_is_within_what_is_allowed() -> None:
    """What a saturating law tends to as its exponent falls: in logarithms its sum of squares is that about a mean."""
    sizes, values = np.array([62891.0, 122795, 240132, 587970]), np.array([632.64, 400.21, 294.64, 198.26])
    law = installed().get(Law, "saturating")
    (fit,) = fit_curves(law, [Points(inputs={"train_tokens": sizes}, response=values, name="val_ppl",
                                     series=np.full(4, "e", dtype=object))])
    assert fit.rss is not None
    limit = np.square(np.log(values[1:]) - np.log(values[1:]).mean()).sum()
    assert 0.9 < (limit - fit.rss) / (t_quantile(1) ** 2 * fit.rss) < 1
    assert fit.estimate("alpha").low is None
    assert fit.estimate("alpha").high is not None


@pytest.mark.parametrize(("seed", "without_end"), [(13, True), (14, True), (0, False)])
def test_a_grid_at_two_percent_has_no_end_where_its_least_size_apart_is_within_what_is_allowed(
        seed: int, without_end: bool) -> None:
    """What A / N^alpha tends to as alpha rises: something at the least N alone, fitted by scipy."""
    n, d = (each.ravel() for each in np.meshgrid(np.geomspace(1e8, 1e10, 3), np.geomspace(2e9, 2e11, 3)))
    noise = 0.02 * np.random.default_rng(seed).standard_normal(9)
    loss = (1.82 + 478 * n**-0.347 + 2143 * d**-0.367) * np.exp(noise)
    (fit,) = fit_curves(replace(installed().get(Law, "chinchilla"), loss=LeastSquares()), [Points(
        inputs={"params": n, "train_tokens": d}, response=loss, name="val_loss", series=np.full(9, "e", dtype=object))])

    def residuals(u: np.ndarray) -> np.ndarray:
        law = np.exp(u[0]) + np.exp(u[1]) * (n < 2e8) + np.exp(u[2]) * (d / 2e9) ** -np.exp(u[3])
        return np.asarray(np.log(law / loss))

    limit = min(2 * optimize.least_squares(residuals, [0.6, -1, 0, start]).cost for start in (-3, -2, -1, 0))
    assert fit.rss is not None
    assert (limit - fit.rss < t_quantile(4) ** 2 * fit.rss / 4) == without_end
    assert fit.status == ("not identifiable" if without_end else "converged")
    for name in ("A", "alpha"):
        assert (fit.estimate(name).high is None) == without_end
