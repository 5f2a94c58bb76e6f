"""Decisions against values from outside: numerical integrals, polynomials, sums by hand."""

import re

import numpy as np
import polars as pl
import pytest
from scipy import integrate, stats

import cvfp_core as cvfp
from cvfp_core.deciding.isoflops import isoflops
from cvfp_core.deciding.multiplier import Belief, chances


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
