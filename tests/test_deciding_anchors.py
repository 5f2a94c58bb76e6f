"""Decisions against values from outside: numerical integrals, polynomials, sums by hand."""

import re
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from scipy import integrate, stats

import cvfp_core as cvfp
from cvfp_core.deciding.budgets import counted
from cvfp_core.deciding.courses import Course
from cvfp_core.deciding.forecast import _look
from cvfp_core.deciding.isoflops import isoflops, line
from cvfp_core.deciding.multiplier import _separate, chances
from cvfp_core.deciding.outlook import After
from cvfp_core.deciding.pairs import Belief, Measured, settled_by
from cvfp_core.errors import UsageError
from cvfp_core.fitting.axes import on_axes
from cvfp_core.registry import installed
from cvfp_core.registry.kinds import Law
from cvfp_core.schema.fits import Points


def runs(budgets, sizes=5, noise=0.003, seed=0):
    """Runs at equal compute about the best size of a known law."""
    flops = np.repeat(budgets, sizes)
    n = 0.08 * flops**0.5 * np.tile(np.geomspace(0.3, 3, sizes), len(budgets))
    d = flops / (6 * n)
    loss = (1.8 + 480 / n**0.35 + 900 / d**0.35) * np.exp(noise * np.random.default_rng(seed).standard_normal(len(n)))
    return pl.DataFrame({"params": n, "train_tokens": d, "val_loss": loss})


@pytest.mark.parametrize("centres", [(0.0, 0.0), (0.05, -0.02), (0.01, 0.03)])
def test_the_chance_of_each_of_three_arms_is_that_of_the_integral(centres):
    """Arms of independent errors s: an offset has s sqrt(2), and P(best) is an integral over one dimension."""
    each = 0.03
    means = np.array([0.0, *centres])
    exact = [integrate.quad(lambda x, arm=arm: stats.norm.pdf(x, means[arm], each) * np.prod([
        stats.norm.cdf(x, mean, each) for other, mean in enumerate(means) if other != arm]), -1, 1, points=[0.0])[0]
        for arm in range(3)]
    offsets = [Belief(values=np.array([centre]), errors=np.array([each * np.sqrt(2)]), weights=np.ones(1), dof=1e6)
               for centre in centres]
    assert chances(offsets, draws=200_000) == pytest.approx(exact, abs=0.005)


def test_the_curve_of_an_isoflop_sweep_is_its_polynomial():
    table = runs([1e19])
    (budget,) = isoflops(table["params"].to_numpy(), table["val_loss"].to_numpy(), np.full(5, 1e19)).budgets
    logs = np.log(table["params"].to_numpy())
    fitted = np.polyfit(logs - logs.mean(), np.log(table["val_loss"].to_numpy()), len(budget.coefficients) - 1)
    at = np.geomspace(1e7, 1e10, 7)
    assert budget.loss_at(at) == pytest.approx(np.exp(np.polyval(fitted, np.log(at) - logs.mean())), rel=1e-9)


def test_what_is_left_of_a_budget_is_what_the_runs_do_not_cost():
    made = cvfp.plan(runs(np.geomspace(1e18, 1e20, 4)), {"params": 7e9, "train_tokens": 1.4e11}, 3e20)
    costs = [6 * each.inputs["params"] * each.inputs["train_tokens"] for each in made]
    assert [each.flops for each in made] == pytest.approx(costs)
    assert [each.total for each in made] == pytest.approx(np.cumsum(costs))
    (end,) = [note for note in made.plan.notes if note.startswith("ends as")]
    left = float(re.search(r"(\S+) FLOPs left|and (\S+) are left|; (\S+) FLOPs are left", end).group(0).split()[
        0 if "FLOPs left" in end else 1])
    assert left == pytest.approx(3e20 - sum(costs), rel=0.006)


def test_only_an_optimum_that_there_is_can_be_too_far_away():
    made = {each.approach: each for each in cvfp.optimum(runs([1e18, 1e19], sizes=3), 1e24)}
    assert made["isoFLOP"].params is None
    assert not any("times the largest" in text for text in made["isoFLOP"].warnings)
    assert any("1e+05 times the largest flops" in text.replace("100,000", "1e+05") for text in made["surface"].warnings)


def arm(slope, level, seed, n=8):
    """Runs of a power law with 2 % of noise."""
    sizes = np.geomspace(1e4, 1e7, n)
    noise = 0.02 * np.random.default_rng(seed).standard_normal(n)
    return sizes, np.exp(level + slope * np.log(sizes) + noise)


@pytest.mark.parametrize("slope", [-0.1, -0.112])
def test_whether_arms_have_laws_of_their_own_is_the_f_test_of_two_lines(slope):
    law = on_axes(installed().get(Law, "power-law"), "train_tokens", "val_loss")
    (x, y), (u, v) = arm(-0.1, 3.0, 1), arm(slope, 2.9, 2)
    left, right = (Points(inputs={"train_tokens": sizes}, response=values, name="val_loss",
                          series=np.full(len(sizes), "s", dtype=object)) for sizes, values in ((x, y), (u, v)))
    logs, values, which = np.log([*x, *u]), np.log([*y, *v]), np.repeat([0.0, 1.0], [len(x), len(u)])
    rss = {}
    for name, columns in (("one", [np.ones(16), logs, which]), ("two", [np.ones(16), logs, which, which * logs])):
        rss[name] = float(np.linalg.lstsq(np.column_stack(columns), values, rcond=None)[1][0])
    exact = stats.f.sf((rss["one"] - rss["two"]) / (rss["two"] / 12), 1, 12)
    assert _separate(law, left, right, SimpleNamespace(rss=rss["one"])) == pytest.approx(exact, rel=1e-6)


def test_a_column_of_flops_has_the_power_of_a_line_through_their_logarithms():
    rng = np.random.default_rng(3)
    n, d = np.geomspace(1e6, 1e9, 9), np.geomspace(1e9, 1e10, 9)
    flops = 7 * n**0.9 * d * np.exp(0.1 * rng.standard_normal(9))
    points = Points(inputs={"params": n, "train_tokens": d, "spent": flops}, response=n, name="val_loss",
                    series=np.full(9, "s", dtype=object))
    cost, counts = counted("spent", points, 0.0)
    power, level = np.polyfit(np.log(n), np.log(flops / d), 1)
    rest = np.log(flops / d) - np.polyval([power, level], np.log(n))
    assert (cost.power, cost.factor, cost.scatter) == pytest.approx((power, np.exp(level), np.exp(rest.std())))
    assert counts is flops


@pytest.mark.parametrize("wrong", ["0%", "100%", "0", "1.5", "-3", "x", "", "nan"])
def test_what_is_no_step_and_no_share_of_them_is_refused(wrong):
    with pytest.raises(UsageError, match="--after takes a number of steps or a share of them"):
        After.read(wrong)


def test_steps_and_shares_of_them_are_told_apart():
    assert [(each.amount, each.share) for each in map(After.read, ("1", "30%", "0.5%", 3.0))] == [
        (1, False), (0.3, True), (0.005, True), (3, False)]


def test_the_error_of_the_minimum_of_a_cubic_follows_from_its_curvature_there():
    """sigma, which all budgets share, is the same whichever budget it is worked out from."""
    flops, x = np.repeat([1e19, 1e20, 1e21], 9), np.tile(np.linspace(-1.2, 1.5, 9), 3)
    middle = np.repeat([3e8, 1e9, 3e9], 9)
    shift = np.repeat([0.0, 0.3, -0.25], 9)
    loss = np.exp(0.02 * (x - shift) ** 2 + 0.012 * (x - shift) ** 3
                  + 3e-4 * np.random.default_rng(0).standard_normal(27))
    told = isoflops(middle * np.exp(x), loss, flops)
    assert told.degree == 3
    sigmas = []
    for budget in told.minima:
        logs = np.log(middle * np.exp(x))[budget.rows]
        at, design = np.log(budget.params) - logs.mean(), np.vander(logs - logs.mean(), 4)
        fit = np.polynomial.Polynomial(budget.coefficients)
        assert fit.deriv()(at) == pytest.approx(0, abs=1e-9)
        slope = np.array([3 * at**2, 2 * at, 1, 0])
        sigmas.append(budget.error * fit.deriv(2)(at) / np.sqrt(slope @ np.linalg.inv(design.T @ design) @ slope))
    assert len(sigmas) == 3
    assert sigmas == pytest.approx([sigmas[0]] * 3, rel=1e-6)
    assert sigmas[0] == pytest.approx(3e-4, rel=0.5)


def test_what_a_constraint_allows_it_leaves_as_it_is():
    table = runs(np.geomspace(1e18, 1e20, 4))
    free, wide, narrow = (cvfp.optimum(table, 1e21, constraints=limit).items[:2] for limit in (
        (), "params<=1e15", "params<=1e6"))
    assert all(each.params for each in free)
    assert [each.params for each in wide] == [each.params for each in free]
    assert [each.params for each in narrow] == [None, None]


def test_a_run_looks_as_its_levels_slopes_and_gaps_are():
    steps = np.arange(1, 9)
    made = _look(Course(run_id="a", series="s", experiment="e", response="val_ppl", lower=True, steps=steps,
                        values=8.0 / steps, beside=np.full(8, 2.0), size=100.0, limit=8), 8)
    assert made[1] > 0
    assert made[2] == pytest.approx(made[0] - np.log(2))
    assert made[3:] == pytest.approx((0.0, np.log(100)))


def test_units_that_would_settle_it_are_those_of_t_intervals():
    measure = Measured(estimate=0.02, stderr=0.015, n=4)
    spread = 0.03
    told = settled_by(measure, 0.05)

    def half(n, level):
        return stats.t.ppf(level, n - 1) * spread / np.sqrt(n)

    counts = np.arange(2, 200)
    exact = [int(counts[np.argmax([half(n, level) < limit for n in counts])])
             for level, limit in ((0.975, 0.02), (0.95, np.log(1.05) - 0.02))]
    assert [told["different"], told["equivalent"]] == exact


def test_draws_of_a_belief_scatter_as_its_t_distribution_does():
    belief = Belief(values=np.array([1.0]), errors=np.array([2.0]), weights=np.ones(1), dof=6.0)
    rng = np.random.default_rng(0)
    centres, errors = belief.draw(rng, 200_000)
    drawn = centres + errors * rng.standard_normal(200_000)
    assert drawn.mean() == pytest.approx(1, abs=0.03)
    assert drawn.std() == pytest.approx(2 * np.sqrt(6 / 4), rel=0.02)
    assert belief.above(2.5) == pytest.approx(stats.t.sf(0.75, 6))


@pytest.mark.parametrize(("estimate", "spread", "margin"), [
    (0.03, 0.01, 0.05), (0.02, 0.011, 0.05), (0.001, 0.02, 0.05)])
def test_few_units_that_would_settle_it_are_those_of_t_intervals(estimate, spread, margin):
    told = settled_by(Measured(estimate=estimate, stderr=spread / 2, n=4), margin)

    def first(level, room):
        return next(n for n in range(2, 10_000) if stats.t.ppf(level, n - 1) * spread / np.sqrt(n) < room)

    assert told["equivalent"] == first(0.95, np.log1p(margin) - estimate) < 8
    if told["different"] < 60:  # above that not every count is tried
        assert told["different"] == first(0.975, estimate)


def test_a_curvature_is_told_from_0_where_its_t_interval_is():
    x, told = np.linspace(-1, 1, 7), {True: 0, False: 0}
    for seed in range(40):
        loss = np.exp(0.01 * x**2 + 0.004 * np.random.default_rng(seed).standard_normal(7))
        made = isoflops(np.exp(x), loss, np.full(7, 1e19))
        (second, first, _), spread = np.polyfit(x, np.log(loss), 2, cov=True)
        if made.degree == 2 and second > 0 and -1 < -first / (2 * second) < 1:
            known = bool(second > stats.t.ppf(0.975, 4) * np.sqrt(spread[0, 0]))
            assert (made.budgets[0].params is not None) == known
            told[known] += 1
    assert min(told.values()) > 4


def test_errors_that_explain_the_scatter_about_a_line_are_pooled_with_it():
    x, error = np.arange(6.0), np.array([0.1, 0.2, 0.1, 0.3, 0.2, 0.1])
    y = 1 + 0.5 * x + 0.5 * error * np.array([1, -1, 1, 1, -1, -1])
    design, weight = np.stack([np.ones(6), x], axis=1), 1 / error
    coefficients, spread = np.polyfit(x, y, 1, w=weight, cov="unscaled")
    rest = float((((y - design @ coefficients[::-1]) * weight) ** 2).sum())
    scatter = (rest + 9) / (4 + 9)
    for place in (0.0, 2.5, 8.0):
        at = np.array([place, 1.0])
        value, half = line(x, y, error, 9).at(place)
        assert value == pytest.approx(at @ coefficients)
        assert half == pytest.approx(stats.t.ppf(0.975, 13) * np.sqrt(scatter * at @ spread @ at))


def test_a_run_at_the_best_size_scatters_beside_the_mean_as_far_up_as_down():
    (made,) = (each for each in cvfp.optimum(runs(np.geomspace(1e18, 1e20, 4)), 1e21) if each.approach == "isoFLOP")
    up, down = (np.square(np.log([made.run_high, made.mean_high]) - np.log(made.value)),
                np.square(np.log([made.run_low, made.mean_low]) - np.log(made.value)))
    assert made.run_low < made.mean_low < made.value < made.mean_high < made.run_high
    assert up[0] - up[1] == pytest.approx(down[0] - down[1])
