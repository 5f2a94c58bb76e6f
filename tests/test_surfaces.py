"""Surfaces: intervals on a robust scale, inputs that vary together, weights, the lower envelope, bad input."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import polars as pl
import pytest

import cvfp_core as cvfp
from cvfp_core.errors import UsageError
from cvfp_core.fitting.bootstrap import resampled
from cvfp_core.fitting.curve_fit import fit_curve, for_intervals, solve_points
from cvfp_core.fitting.predict import predict
from cvfp_core.fitting.ray import ray
from cvfp_core.fitting.rolling import stretch
from cvfp_core.fitting.run import fit_each
from cvfp_core.fitting.selection import score, walked
from cvfp_core.registry import installed
from cvfp_core.registry.kinds import Huber, Law, LeastSquares
from cvfp_core.reporting import sweep
from cvfp_core.results import overview as results
from cvfp_core.schema.fits import Points

LAW = installed().get(Law, "chinchilla")
TRUTH = {"E": 1.82, "A": 478.0, "alpha": 0.347, "B": 2143.0, "beta": 0.367}
"""Close to arXiv:2404.10102."""


def grid(k):
    n, d = np.meshgrid(np.geomspace(1e8, 1e10, k), np.geomspace(2e9, 2e11, k))
    return n.ravel(), d.ravel()


def losses(n, d, noise=0.0, seed=0):
    return LAW.function(n, d, **TRUTH) * np.exp(noise * np.random.default_rng(seed).standard_normal(len(n)))


def points(n, d, loss):
    return Points(inputs={"params": n, "train_tokens": d}, response=loss, name="val_loss",
                  series=np.full(len(n), "e", dtype=object))


def frame(n, d, loss, **columns):
    return pl.DataFrame({"params": n, "train_tokens": d, "val_loss": loss, **columns})


def along(spread, seed=0, noise=0.005):
    n = np.geomspace(1e8, 1e10, 12)
    d = 20 * n * spread ** np.random.default_rng(seed).uniform(-0.5, 0.5, 12)
    return n, d, losses(n, d, noise, seed)


# --- intervals ------------------------------------------------------------------------------------------------------

def test_the_robust_scale_is_the_noise_and_a_bad_run_does_not_move_it():
    """Grids of 4 x 4 at 0.5 %, each with one loss 20 % too high: least squares would say 5 %."""
    scales, left_out = [], 0
    rng = np.random.default_rng(1)
    for seed in range(12):
        n, d = grid(4)
        loss = losses(n, d, 0.005, seed)
        bad = rng.integers(16)
        loss[bad] *= 1.2
        made = points(n, d, loss)
        (held,) = for_intervals([solve_points(LAW, made)], made)
        left_out += held.weights[0, bad] == 0
        scales.append(np.sqrt(held.variance.new_run))
    assert left_out == 12
    assert np.median(scales) == pytest.approx(0.005, rel=0.2)


def test_runs_that_the_intervals_leave_out_are_counted_on_the_fit_and_on_the_forecast():
    n, d = grid(4)
    loss = losses(n, d, 0.005, 3)
    assert cvfp.fit(frame(n, d, loss), LAW)[0].caveats == ()
    loss[5] *= 1.2
    said = "1 of 16 runs lie off the law by more than chance allows; its intervals leave them out"
    data = frame(n, d, loss)
    assert cvfp.fit(data, LAW)[0].caveats == (said,)
    assert said in cvfp.predict(data, {"params": 1e10, "train_tokens": 1e12}, LAW)[0].warnings


def test_where_noise_is_normal_the_robust_interval_is_about_that_of_least_squares():
    n, d = grid(5)
    ratios = []
    for seed in range(4):
        data = frame(n, d, losses(n, d, 0.005, seed))
        (robust,) = cvfp.fit(data, LAW)
        (squares,) = cvfp.fit(data, replace(LAW, loss=LeastSquares()))
        for name in ("E", "alpha", "beta"):
            ours, theirs = robust.estimate(name), squares.estimate(name)
            assert ours.low <= ours.value <= ours.high
            assert ours.stderr > 0
            ratios.append((ours.high - ours.low) / (theirs.high - theirs.low))
    assert np.median(ratios) == pytest.approx(1.05, abs=0.2)


def test_a_resample_that_cannot_be_fitted_is_drawn_again():
    """Of seven runs a quarter of the resamples has fewer distinct ones than the law has parameters."""
    n, d = (each[[0, 2, 4, 6, 8, 1, 5]] for each in grid(3))
    made = points(n, d, losses(n, d, 0.005))
    solved = solve_points(LAW, made)
    drawn = resampled(solved.curve, solved.target, solved.optimum, count=200)
    assert drawn.shape == (200, 5)
    assert np.isfinite(drawn).all()


def test_intervals_are_stretched_where_the_law_misses_larger_runs_and_only_there():
    n, d = grid(6)
    sound = losses(n, d, 0.002, 2)
    made = points(n, d, sound)
    assert stretch(for_intervals([solve_points(LAW, made)], made), made)[0] == 1.0
    made = points(n, d, sound * (1 + 0.05 * np.maximum(0, np.log10(n * d / 3e19))))
    factor = stretch(for_intervals([solve_points(LAW, made)], made), made)[0]
    assert factor > 1.2
    (ahead,) = cvfp.predict(frame(n, d, made.response), {"params": 3e10, "train_tokens": 6e11}, LAW)
    assert any("times wider, as the back-test missed" in warning for warning in ahead.warnings)


# --- inputs that vary together --------------------------------------------------------------------------------------

@pytest.mark.parametrize("spread", [1.0, 1.1])
def test_on_a_ray_no_exponent_is_told_and_the_curve_along_it_is(spread):
    for seed in range(3):
        n, d, loss = along(spread, seed)
        (fit,) = cvfp.fit(frame(n, d, loss), LAW)
        assert fit.status == "not identifiable"
        assert fit.estimates == ()
        assert "x params in all runs; vary one; known is the curve along it: val_loss = " in fit.reason
        line = ray(points(n, d, loss))
        assert line.power == 1
        assert line.factor == pytest.approx(20, rel=spread - 0.999)


def test_along_the_ray_there_is_a_forecast_and_beside_it_none():
    n, d, loss = along(1.0)
    on, off = cvfp.predict(frame(n, d, loss), {"params": 3e10, "train_tokens": [6e11, 6e10]}, LAW)
    truth = float(LAW.function(3e10, 6e11, **TRUTH))
    assert on.run_low < on.mean_low < truth < on.mean_high < on.run_high
    assert on.run_high / on.run_low < 1.05
    assert on.reason == "holds along train_tokens = 20 x params only"
    assert on.inputs == {"params": 3e10, "train_tokens": 6e11}
    assert (off.value, off.run_low, off.run_high) == (None, None, None)
    assert "is off the line train_tokens = 20 x params that all runs lie on" in off.reason


def test_the_curve_along_a_ray_is_fitted_once_for_all_that_is_said_of_it(monkeypatch):
    calls = []

    def counted(*arguments, **options):
        calls.append(arguments)
        return fit_curve(*arguments, **options)

    monkeypatch.setattr("cvfp_core.fitting.ray.fit_curve", counted)
    ahead = cvfp.predict(frame(*along(1.0)), {"params": [3e10, 6e10], "train_tokens": [6e11, 12e11]}, LAW)
    assert sum(each.run_high is not None for each in ahead) == 2
    assert len(calls) == 1


@pytest.mark.parametrize("design", [grid(3), grid(5)])
def test_on_a_grid_the_law_is_identifiable(design):
    n, d = design
    assert ray(points(n, d, losses(n, d))) is None
    (fit,) = cvfp.fit(frame(n, d, losses(n, d, 0.005)), LAW)
    assert fit.status == "converged"


def test_a_power_that_ties_two_inputs_is_named():
    n = np.geomspace(1e7, 1e10, 9)
    line = ray(points(n, 3.0 * n**0.8, np.ones(9)))
    assert line.words == "train_tokens = 3 x params^0.8"
    assert line.holds({"params": 1e11, "train_tokens": 3e11**0.8 * 3**0.2})


# --- weights and the lower envelope ---------------------------------------------------------------------------------

def test_a_whole_weight_counts_a_run_as_often():
    n, d = grid(4)
    loss = losses(n, d, 0.01)
    twice = np.r_[np.arange(16), 0, 0, 5]
    weighed = frame(n, d, loss, count=np.bincount(twice, minlength=16))
    law = replace(LAW, loss=LeastSquares())
    (ours,) = cvfp.fit(weighed, law, weights="count")
    repeated = solve_points(law, points(n[twice], d[twice], loss[twice])).optimum.parameters[0]
    assert [each.value for each in ours.estimates] == pytest.approx(repeated, rel=1e-5)
    (plain,) = cvfp.fit(weighed, law)
    assert plain.value("alpha") != pytest.approx(ours.value("alpha"), rel=1e-4)


def test_weights_reach_the_forecast_and_the_back_test():
    n, d = grid(4)
    data = frame(n, d, losses(n, d, 0.01), w=np.where(n > 1e9, 1.0, 0.05))
    at = {"params": 2e10, "train_tokens": 4e11}
    plain, weighed = (cvfp.predict(data, at, LAW, along="flops", weights=w) for w in (None, "w"))
    assert plain[0].value != pytest.approx(weighed[0].value, rel=1e-5)
    assert plain.choice.candidates[0].backtest != pytest.approx(weighed.choice.candidates[0].backtest, rel=1e-3)


@pytest.mark.parametrize(("weights", "found"), [([0.0], "found 0 in 1 of 16"), ([-1.0], "found -1 in 1 of 16"),
                                                ([None], "found none in 1 of 16")])
def test_a_weight_that_is_none_is_refused_in_one_line(weights, found):
    n, d = grid(4)
    data = frame(n, d, losses(n, d), w=[1.0] * 15 + weights)
    with pytest.raises(UsageError, match=found) as caught:
        cvfp.fit(data, LAW, weights="w")
    assert "--where 'w > 0'" in str(caught.value)


def test_a_law_with_code_of_its_own_says_that_it_takes_no_weights():
    n, d = grid(4)
    data = frame(n, d, losses(n, d), w=np.ones(16), val_er=np.linspace(0.5, 0.6, 16))
    (fit,) = cvfp.fit(data, "linear-er", y="val_loss", weights="w")
    assert (fit.status, fit.estimates) == ("failed", ())
    assert "takes no weights" in fit.reason


def test_the_envelope_is_the_law_of_the_well_tuned_runs():
    """A third of the runs lies up to 5 % too high; the truth is the law of the others."""
    n, d = grid(5)
    loss = losses(n, d, 0.001)
    loss[::3] *= 1 + 0.05 * np.random.default_rng(5).uniform(0.2, 1, len(loss[::3]))
    data, at = frame(n, d, loss), {"params": 3e10, "train_tokens": 6e11}
    truth = float(LAW.function(*at.values(), **TRUTH))
    squares = replace(LAW, loss=LeastSquares())
    error = [abs(cvfp.predict(data, at, replace(squares, loss=LeastSquares(above=above)))[0].value / truth - 1)
             for above in (1.0, 0.02)]
    assert error[1] < error[0] / 2
    (fit,) = cvfp.fit(data, "chinchilla", options={"envelope": 0.1})
    assert fit.loss == "Huber, delta 0.001, runs above the law weighted 0.1"
    with pytest.raises(UsageError, match="above 0 and at most 1, not 2"):
        cvfp.fit(data, "chinchilla", options={"envelope": 2.0})
    with pytest.raises(ValueError, match="above must be in"):
        Huber(above=0)


# --- the back-test along what follows from the inputs ---------------------------------------------------------------

def test_a_surface_is_back_tested_along_its_inputs_and_along_flops():
    n, d = grid(4)
    inputs, target = {"params": n, "train_tokens": d}, np.log(losses(n, d, 0.005))[None, :]
    assert walked(inputs, "flops") == pytest.approx(6 * n * d)
    assert walked(inputs, "val_er") is None
    errors = {name: score(LAW, inputs, target, name).errors for name in ("params", "train_tokens", "flops")}
    assert [each.shape[1] for each in errors.values()] == [1, 1, 4]
    assert all(np.nanmax(each) < 0.1 for each in errors.values())


# --- bad input ------------------------------------------------------------------------------------------------------

def bad(name):
    n, d = grid(4)
    loss = losses(n, d, 0.005)
    if name == "few":
        n, d, loss = n[:5], d[:5], loss[:5]
    elif name == "collinear":
        d = 20 * n
        loss = losses(n, d, 0.005)
    elif name == "constant":
        loss = np.full(16, 3.0)
    elif name == "one size":
        d = np.full(16, 1e10)
    elif name == "wild":
        loss[3] = 1e6
    return frame(n, d, loss)


@pytest.mark.parametrize(("name", "statuses", "remedy"), [
    ("few", ["too few points"], "add"),
    ("collinear", ["not identifiable"], "vary one"),
    ("constant", ["not identifiable"], "check the column"),
    ("one size", ["not identifiable"], "add sizes"),
    ("wild", ["converged"], ""),
])
def test_bad_input_has_a_status_and_a_remedy_and_no_number_is_made_up(name, statuses, remedy):
    (fit,) = cvfp.fit(bad(name), LAW)
    assert fit.status in statuses
    assert remedy in fit.reason
    (ahead,) = cvfp.predict(bad(name), {"params": 3e10, "train_tokens": 6e10}, LAW)
    if name == "wild":
        truth = float(LAW.function(3e10, 6e10, **TRUTH))
        assert ahead.run_low < truth < ahead.run_high
        assert ahead.run_high / ahead.run_low < 1.2
    elif name != "constant":
        assert ahead.value is None
        assert ahead.reason


RUNS = Points(inputs=dict(zip(("params", "train_tokens"), grid(3), strict=True)), response=losses(*grid(3), 0.02),
              name="val_loss", series=np.full(9, "e", dtype=object))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("factor", [1.0, pytest.param(1e30, marks=pytest.mark.slow)])
def test_seven_runs_of_a_grid_are_fitted_or_refused_in_words(factor):
    """Some leave a size out or an input at two values; none ends in an error of linear algebra or a warning."""
    registry = installed()
    seven = [RUNS.take(np.array(chosen)) for chosen in list(combinations(range(9), 7))[::4]]
    seven = [replace(each, response=factor * each.response) for each in seven]
    for (fit,) in fit_each(LAW, seven, {}, registry, intervals=False):
        assert "rror" not in fit.reason
        assert fit.status == "converged" or ";" in fit.reason
        ahead = predict(fit, LAW, {"params": 3e10, "train_tokens": 6e11})
        assert all(value is None or np.isfinite(value) for value in (ahead.value, ahead.run_low, ahead.run_high))
        assert ahead.value is not None or ahead.reason


# --- series ---------------------------------------------------------------------------------------------------------

def two(**columns):
    """Two series, the second 5 % better at every size."""
    n, d = grid(4)
    runs = frame(np.tile(n, 2), np.tile(d, 2), np.outer([1, 0.95], losses(n, d)).ravel())
    return runs.with_columns(experiment=pl.lit("e"), variant=pl.Series(["a"] * 16 + ["b"] * 16), **columns)


def test_series_with_sizes_enough_are_fitted_and_forecast_apart_as_in_a_report():
    at = {"params": 1e11, "train_tokens": 1e12}
    made = cvfp.predict(two(), at)
    truth = LAW.function(1e11, 1e12, **TRUTH)
    assert [each.series for each in made] == ["e:a", "e:b"]
    assert [each.value for each in made] == pytest.approx([truth, 0.95 * truth], rel=1e-3)
    assert [fit.series for fit in cvfp.fit(two(), "chinchilla")] == ["e:a", "e:b"]
    assert "fitted as one" not in made.text(120)
    assert sweep.about(cvfp.read(two()).records)["by"] == ("experiment", "variant")


def test_series_with_too_few_sizes_are_pooled_and_both_they_and_what_differs_are_named():
    runs = two(corpus=pl.Series(["c"] * 16 + ["d"] * 16))
    few = pl.concat([runs[:16], runs[16:20]])
    (made,) = fits = cvfp.fit(few, "chinchilla")
    assert made.n == 20
    said = " ".join(fits.text(80).split())
    assert said.startswith("2 series are fitted as one, as e:b has too few params and train_tokens alone; it takes 6")
    assert "may not be comparable, as they differ in corpus (c, d)" in said
    (forecast,) = (made := cvfp.predict(few, {"params": 1e11, "train_tokens": 1e12}))
    assert forecast.series == "2 series"
    assert " ".join(made.text(80).split()).startswith("2 series are fitted as one")


def test_a_table_in_which_params_vary_too_is_fitted_by_the_law_that_its_report_takes():
    runs = two()[:16]
    (fit,) = cvfp.fit(runs)
    assert fit.law == "chinchilla"
    assert fit.value("alpha") == pytest.approx(TRUTH["alpha"], rel=1e-2)
    assert "chinchilla" in cvfp.read(runs).text(100)
    (curve,) = cvfp.fit(runs.filter(pl.col("params") == runs["params"][0]))
    assert curve.law == "power-law"
    assert cvfp.fit(runs, "power-law").text(100).startswith("params vary too (4 values), and this curve mixes them")


def test_many_runs_are_shown_without_the_law_of_both_sizes_which_is_named(monkeypatch):
    monkeypatch.setattr(results, "QUICK", 15)
    said = cvfp.read(two()[:16]).text(200)
    assert "params vary too (4 values), and this curve mixes them; --law chinchilla knows of both" in said
    assert "chinchilla  L(N, D)" not in said
