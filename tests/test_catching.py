"""Thresholds and formulas held by values from outside: each of these caught a change that all other tests let pass."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy import optimize

from cvfp_core.claims import matched
from cvfp_core.fitting import fit_all
from cvfp_core.fitting.linear import aicc, pooled_variance
from cvfp_core.fitting.selection import Total, decide, score
from cvfp_core.registry.kinds import Huber
from cvfp_core.schema.records import Record, frame
from laws_data import made, power


@pytest.mark.parametrize(("n", "parameters", "penalty"), [(10, 2, 10), (6, 2, 18), (20, 3, 8 + 8 / 3), (5, 2, 30)])
def test_aicc_is_that_of_hurvich_and_tsai(n, parameters, penalty):
    """Biometrika 1989: n log s2 + n (1 + m/n) / (1 - (m + 2)/n), of which AICc as written today is n less.

    With rss = n the logarithm is 0 and the penalty is left.
    """
    published = n * (1 + parameters / n) / (1 - (parameters + 2) / n) - n
    assert aicc(float(n), n, parameters) == pytest.approx(penalty) == pytest.approx(published)
    assert aicc(np.e * n, n, parameters) == pytest.approx(n + penalty)


@pytest.mark.parametrize("parameters", [1, 2, 3])
def test_aicc_does_not_exist_without_a_degree_of_freedom_beyond_the_variance(parameters):
    assert aicc(1.0, parameters + 2, parameters) is None
    assert aicc(1.0, parameters + 3, parameters) is not None


@pytest.mark.parametrize(("worse", "chosen"), [(1.4, "rich"), (1.6, "simple"), (10.0, "simple")])
def test_a_richer_law_that_would_have_predicted_half_as_badly_again_is_not_taken(worse, chosen):
    """F of 99 with 1 and 20 degrees of freedom: by the fit alone the richer law would be taken each time."""
    errors = np.array([0.02, -0.01, np.nan, 0.03])
    simple = Total(parameters=2, rss=5.95, dof=21, errors=errors)
    rich = Total(parameters=3, rss=1.0, dof=20, errors=errors * worse)
    assert decide({"simple": simple, "rich": rich}) == chosen


@pytest.mark.parametrize(("worse", "chosen"), [(1.4, "simple"), (1.6, "rich")])
def test_with_one_degree_of_freedom_the_back_test_decides(worse, chosen):
    """F of 4 with 1 and 1 degrees of freedom has p = 0.3, whatever the simpler law would have missed by."""
    simple = Total(parameters=2, rss=5.0, dof=2, errors=np.array([0.02 * worse]))
    rich = Total(parameters=3, rss=1.0, dof=1, errors=np.array([0.02]))
    assert decide({"simple": simple, "rich": rich}) == chosen


@pytest.mark.parametrize(("misfit", "p", "value", "dof"), [
    (5.0, 16 / 81, 5.0, 2),  # between 5 and 50 %: seeds are no evidence about the law
    (20.0, 1 / 36, 20.0, 2), (1.0, 0.64, 10 / 6, 6),
])
def test_lack_of_fit_is_pooled_with_seeds_only_where_chance_explains_it_as_likely_as_not(misfit, p, value, dof):
    """Two runs, 1 above and below the mean, at each of four sizes; means about a law of two parameters by hand.

    With 2 and 4 degrees of freedom the F test has p = (1 + F / 2)^-2; the variance of seeds is 2.
    """
    mean = np.sqrt(misfit / 4)  # four sizes, two runs each: 2 * 4 * mean^2 / 2 degrees of freedom
    residuals = np.array([sign * mean + seed for sign in (1, -1, -1, 1) for seed in (1.0, -1.0)])
    made = pooled_variance(residuals, 2, np.repeat(np.arange(4.0), 2))
    assert made.lack_of_fit_p == pytest.approx(p)
    assert (made.value, made.dof) == (pytest.approx(value), dof)
    # a further run has the scatter of its seed, and that of sizes about the law with the weight of one of its 8 runs
    assert made.new_run == pytest.approx(2.0 + (misfit - 2.0) * 4 / 8 if dof == 2 else value)


def checkpoints(order):
    """Three runs of a power law with alpha -0.5, each with two checkpoints on the way that lie far above it."""
    rows = []
    for run, tokens in enumerate((10_000, 40_000, 160_000)):
        for share, above in ((0.25, 3.0), (0.5, 2.0), (1.0, 1.0)):
            rows.append(Record(run_id=f"run-{run}", experiment="made", variant="1L_16d_1tok", seed=1,
                               num_samples=tokens // 100, train_tokens=int(tokens * share),
                               val_ppl=above * 1e4 * (tokens * share) ** -0.5))
    return frame(rows)[order]


@pytest.mark.parametrize("order", [list(range(9)), list(range(8, -1, -1)), [4, 0, 8, 2, 6, 1, 7, 3, 5]])
def test_of_the_checkpoints_of_a_run_the_last_one_counts_whatever_their_order(order):
    records = checkpoints(order)
    (fit,) = fit_all(records, ["power-law"])
    assert (fit.n, fit.fitted_range) == (3, (10_000, 160_000))
    assert fit.value("alpha") == pytest.approx(-0.5, abs=1e-9)
    assert fit.value("A") == pytest.approx(1e4, rel=1e-6)
    assert "6 earlier checkpoint" in fit.left_out
    assert matched.usable(records)["size"].to_list() == [10_000, 40_000, 160_000]
    assert matched.usable(records)["val_ppl"].to_list() == pytest.approx([100, 50, 25])


def test_r_squared_is_the_share_of_the_variance_about_the_mean_that_the_law_explains():
    """Against the residuals of an independent fit; of a flat series, which has no variance, there is none."""
    tokens = 6e4 * 2.0 ** np.arange(6)
    ppl = power(tokens, floor=60, noise=0.05, seed=2)
    (fit,) = fit_all(made(tokens, ppl), laws=["saturating"])

    def misses(at):
        return np.log(np.exp(at[0]) + np.exp(at[1]) * (tokens / 1e5) ** at[2]) - np.log(ppl)

    best = min((optimize.least_squares(misses, [np.log(floor), 5.0, -0.5], xtol=1e-14, ftol=1e-14) for floor in (1, 9)),
               key=lambda each: each.cost)
    assert fit.r_squared == pytest.approx(1 - 2 * best.cost / (np.var(np.log(ppl)) * 6), rel=1e-6)
    assert 0 < fit.r_squared < 1


def test_a_series_without_a_usable_run_says_so():
    records = made([6e4, 1.2e5, 2.4e5], [9.0, 8.0, 7.0]).with_columns(pl.lit(None, pl.Float64).alias("val_ppl"))
    (fit,) = fit_all(records, laws=["saturating"])
    assert fit.status == "too few points"
    assert fit.reason.startswith("no run with a usable val_ppl")


def test_a_fit_carries_the_aicc_of_its_residuals_and_a_huber_fit_none():
    tokens = 6e4 * 2.0 ** np.arange(8)
    records = made(tokens, power(tokens, floor=60, noise=0.05, seed=2))
    (fit,) = fit_all(records, laws=["saturating"])
    assert fit.aicc == pytest.approx(8 * np.log(fit.rss / 8) + 2 * 4 + 2 * 4 * 5 / 3)  # the variance counts as one
    law = fit.solver.law
    (robust,) = fit_all(records, laws=[replace(law, loss=Huber(1e-3))])
    assert robust.aicc is None
    scores = score(law, fit.points.inputs, np.log(fit.points.response)[None, :])
    assert (scores.dof, scores.parameters) == (8 - 3, 3)
    assert scores.aicc == pytest.approx([fit.aicc])
