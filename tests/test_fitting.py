"""Fits, intervals, selection and bad input, on made-up records with known answers."""
# ruff: noqa: ARG001, ARG005

import json
import math
from dataclasses import replace
from email import message_from_string
from importlib.metadata import entry_points
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import optimize

from cvfp_core import hookimpl, registry
from cvfp_core.errors import CvfpError, UsageError
from cvfp_core.fitting import auto, fit_all, fit_series, predict_all, search, sensitivity
from cvfp_core.fitting.auto import widen
from cvfp_core.fitting.curve_fit import solve_points
from cvfp_core.fitting.curves import Curve
from cvfp_core.fitting.duals import seeds
from cvfp_core.fitting.linear import t_quantile
from cvfp_core.fitting.lmfit_models import as_model, from_model, lmfit_result
from cvfp_core.registry.kinds import Fitter, Parameter
from cvfp_core.schema.quantities import QUANTITIES, Follows, Quantity
from cvfp_core.testing import load_only
from laws_data import made, power

TOKENS = 6e4 * 2.0 ** np.arange(6)
CURVES = ("power-law", "saturating", "exp-decay", "hill")


def law(name):
    return registry.installed().get(Fitter, name)


def strangers(*fitters):
    """A registry with the first-party laws and a plugin that adds these."""
    module = SimpleNamespace(cvfp_fitters=hookimpl(lambda: list(fitters)))
    point = SimpleNamespace(name="strange", value="strange", load=lambda: module,
                            dist=SimpleNamespace(metadata=message_from_string("Name: cvfp-strange\nVersion: 3.1\n")))
    return registry.load([*entry_points(group="cvfp"), point])


# --- known truths are recovered -------------------------------------------------------------------------------------

@pytest.mark.parametrize(("name", "truth"), [
    ("power-law", {"A": 1e5, "alpha": -0.5}),
    ("saturating", {"E": 90.0, "A": 1e6, "alpha": -0.7}),
    ("exp-decay", {"E": 50.0, "A": 3000.0, "b": 0.02, "c": 0.35}),
    ("hill", {"E": 40.0, "A": 900.0, "t0": 3e5, "b": 0.9}),
])
def test_noiseless_curves_give_back_their_parameters(name, truth):
    ppl = law(name).function(TOKENS, *truth.values())
    (fit,) = fit_series(made(TOKENS, ppl), name)
    assert fit.status == "converged"
    for parameter, value in truth.items():
        assert fit.value(parameter) == pytest.approx(value, rel=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.0, 0.9), st.floats(-1.5, -0.1), st.floats(1e-3, 1e6), st.floats(1.0, 1e8), st.integers(0, 999))
@example(0.0, -1.356931240272647, 911227.091796875, 99910774.0, 300)  # a floor that ended a last digit above its bound
def test_the_optimum_does_not_depend_on_the_units_of_tokens_and_loss(share, alpha, loss_unit, token_unit, seed):
    tokens = 2.0 ** np.arange(6)
    ppl = power(tokens, alpha=alpha, a=1 - share, floor=share, noise=0.01, seed=seed)
    fits = [fit_series(made(1000 * tokens, ppl))[0],
            fit_series(made(1000 * round(token_unit) * tokens, loss_unit * ppl))[0]]
    assert fits[0].value("alpha") == pytest.approx(fits[1].value("alpha"), rel=1e-6)
    curve = law("saturating")
    rss = [float(solve_points(curve, fit.points).optimum.rss[0]) for fit in fits]
    assert rss[0] == pytest.approx(rss[1], rel=1e-6, abs=1e-15)


def test_a_law_that_is_linear_in_all_it_has_is_fitted_without_a_search():
    both = Fitter(
        name="doublings", title="", form="PPL = a - b * log2(tokens)", linear=("a", "b"),
        parameters=(Parameter(name="a"), Parameter(name="b", minimum=0)),
        function=lambda train_tokens, a, b: a - b * np.log2(train_tokens),
    )
    (fit,) = fit_all(made(TOKENS, 1000 - 35 * np.log2(TOKENS)), ["doublings"], registry=strangers(both))
    assert fit.status == "converged", fit.reason
    assert fit.value("a") == pytest.approx(1000, rel=1e-6)
    assert fit.value("b") == pytest.approx(35, rel=1e-6)


@pytest.mark.parametrize("opaque", [False, True])
def test_what_a_law_has_beside_its_linear_parameters_is_not_taken_for_theirs(opaque):
    """E is linear, the rest of the law is not: with exact derivatives, and with a function that takes only arrays."""
    def law(train_tokens, E, B, c):
        B, c = (np.asarray(B, dtype=float), np.asarray(c, dtype=float)) if opaque else (B, c)
        return E + (B / train_tokens) ** c

    shared = Fitter(name="shared", form="E + (B / D)^c", function=law, linear=("E",), floor="E", parameters=(
        Parameter(name="E", minimum=0), Parameter(name="B", minimum=1, maximum=1e12),
        Parameter(name="c", minimum=0.02, maximum=2)))
    (fit,) = fit_all(made(TOKENS, law(TOKENS, 20.0, 1e10, 0.4)), [shared])
    assert fit.status == "converged", fit.reason
    assert [fit.value(name) for name in ("E", "B", "c")] == pytest.approx([20.0, 1e10, 0.4], rel=1e-4)


@pytest.mark.parametrize("name", ["exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "square",
                                  "reciprocal", "tanh", "sin", "cos", "arctan", "negative", "absolute"])
def test_exact_derivatives_are_those_of_differences(name):
    """First and second derivatives of a function of two parameters, against central differences."""
    function = getattr(np, name)

    def law(x, a, b):
        return function(a / x + b) * x**b - np.where(x > 1, a * b, b / a) + np.maximum(a, b) ** (b - 1) / (a + x) \
            + np.where(a * x > b + 0.3, a**2 * b, 3 * a)

    x, at, step = np.array([[0.5, 1.7, 3.0]]), np.array([0.7, 0.4]), 1e-4
    dual = law(x, **seeds({"a": at[:1, None], "b": at[1:, None]}))
    assert dual.value == pytest.approx(law(x, *at))
    for i in range(2):
        move = step * np.eye(2)[i]
        expected = (law(x, *(at + move)) - law(x, *(at - move))) / (2 * step)
        assert np.broadcast_to(dual.first[i], x.shape) == pytest.approx(expected, rel=1e-5)
        for j in range(i, 2):
            other = step * np.eye(2)[j]
            expected = (law(x, *(at + move + other)) - law(x, *(at + move - other)) - law(x, *(at - move + other))
                        + law(x, *(at - move - other))) / (4 * step**2)
            assert np.broadcast_to(dual.second[i, j], x.shape) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_what_no_derivative_is_known_of_is_refused():
    (a,) = seeds({"a": np.array([[0.7], [0.4]])}).values()
    for call in (lambda: np.add.reduce(a), lambda: np.exp(a, where=True), lambda: np.floor(a), lambda: np.sort(a),
                 lambda: np.where(a)):
        with pytest.raises(TypeError, match="no derivative of"):
            call()


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3))])
def test_lmfit_started_anywhere_finds_nothing_better(name, seed):
    """lmfit's own least squares from random starts, with the law's function as an lmfit model."""
    fitter = law(name)
    (fit,) = fit_series(made(TOKENS, power(TOKENS, alpha=-0.6, a=6e5, floor=80, noise=0.01, seed=seed)), name)
    polished = lmfit_result(fit, fitter)
    assert fit.rss <= polished.chisqr * (1 + 1e-6)
    model, rng = as_model(fitter), np.random.default_rng(seed)
    scale = {"E": 60.0, "A": 5e5, "alpha": -0.5, "b": 0.5, "c": 0.3, "t0": 1e4}
    for _ in range(5):
        start = model.make_params(**{p.name: scale[p.name] * rng.uniform(0.5, 1.5) for p in fitter.parameters})
        with np.errstate(all="ignore"):
            theirs = model.fit(np.log(fit.points.response), start, train_tokens=TOKENS, method="least_squares",
                               nan_policy="omit", max_nfev=2000)
        assert fit.rss <= theirs.chisqr * (1 + 1e-6)


@pytest.mark.parametrize("name", ["saturating", "hill", "exp-decay"])
def test_starts_given_up_behind_another_change_no_optimum(name, monkeypatch):
    response = np.log(power(TOKENS, alpha=-0.6, a=6e5, floor=80)) \
        + np.repeat([0.01, 1.0], 60)[:, None] * np.random.default_rng(0).standard_normal((120, len(TOKENS)))
    curve, steps, local = Curve(law(name), {"train_tokens": TOKENS}), [], search._local
    monkeypatch.setattr(search, "_local", lambda *given: steps.append(len(given[-2])) or local(*given))
    given_up = search.solve(curve, response).rss
    short = sum(steps)
    monkeypatch.setattr(search, "BEHIND", search.STEPS)
    assert given_up == pytest.approx(search.solve(curve, response).rss, rel=1e-9)
    assert short < sum(steps) - short


def test_an_lmfit_model_is_a_law_too():
    from lmfit.models import PowerLawModel

    borrowed = from_model(PowerLawModel(), name="lmfit-power", title="lmfit's power law", form="A x^k")
    ppl = power(TOKENS, noise=0.01)
    (fit,) = fit_all(made(TOKENS, ppl), ["lmfit-power"], registry=strangers(borrowed))
    (own,) = fit_series(made(TOKENS, ppl))
    assert fit.value("exponent") == pytest.approx(own.value("alpha"), rel=1e-5)


def test_the_linear_law_profiled_gives_students_interval():
    """A profile of a law linear in log space must be the t interval the closed form gives."""
    records = made(TOKENS, power(TOKENS, noise=0.02))
    exact = fit_series(records)[0].estimate("alpha")
    plain = Fitter(name="line", title="", form="", parameters=law("power-law").parameters,
                   function=law("power-law").function, linear=("A",), starts=law("power-law").starts)
    profiled = fit_all(records, ["line"], registry=strangers(plain))[0].estimate("alpha")
    assert profiled.method == "profile F"
    for end in ("value", "low", "high"):
        assert getattr(profiled, end) == pytest.approx(getattr(exact, end), rel=1e-4)


@pytest.mark.slow
def test_intervals_of_the_automatic_choice_cover_the_truth():
    """A small version of benchmarks/coverage.py: 95 % of 200, less four standard errors of chance."""
    from benchmarks_path import coverage

    for name in ("ppl saturating", "loss saturating"):
        result = coverage().simulate(name, 0.005, 4, 200, 1)
        assert result["held"] >= 0.89
        assert result["width"] < result["oracle"]  # of the profile of the one law that is true


# --- repeats --------------------------------------------------------------------------------------------------------

def test_seeds_that_scatter_as_the_law_does_are_pooled():
    tokens = np.repeat(TOKENS, 3)
    (fit,) = fit_series(made(tokens, power(tokens, noise=0.02, seed=2)))
    assert (fit.n, fit.sizes, fit.dof) == (18, 6, 16)
    assert fit.lack_of_fit_p > 0.5


def test_seeds_that_agree_about_a_bent_curve_do_not_narrow_the_interval():
    tokens = np.repeat(TOKENS, 3)
    (fit,) = fit_series(made(tokens, power(tokens, floor=150, noise=0.001, seed=3)))
    (once,) = fit_series(made(TOKENS, power(TOKENS, floor=150)))
    assert fit.lack_of_fit_p < 1e-6
    assert fit.dof == 4
    assert fit.estimate("alpha").stderr == pytest.approx(once.estimate("alpha").stderr, rel=0.05)


def test_checkpoints_of_one_run_are_one_run():
    records = made(TOKENS, power(TOKENS)).with_columns(run_id=pl.lit("one"))
    (fit,) = fit_series(records)
    assert fit.status == "too few points"
    assert "5 earlier checkpoint" in fit.left_out
    assert "1 run" in fit.reason


def test_the_same_records_loaded_twice_count_once():
    records = made(TOKENS, power(TOKENS, noise=0.02))
    again = records.with_columns(run_id=pl.col("run_id") + "-again")
    (fit,) = fit_series(pl.concat([records, again]))
    assert fit.n == 6
    assert "6 identical" in fit.left_out


def test_an_identical_rerun_under_another_label_is_no_further_evidence():
    er = [0.7, 0.72, 0.71, 0.73, 0.75, 0.74]
    records = made(TOKENS, power(TOKENS, floor=90, noise=0.02), val_er=er)
    again = records.with_columns(experiment=pl.lit("rerun"), run_id=pl.col("run_id") + "-again")
    both = pl.concat([records, again])
    (once,), (twice,) = (fit_all(each, ["log-linear-er"]) for each in (records, both))
    assert (once.n, twice.n) == (6, 6)
    assert "6 identical" in twice.left_out
    assert once.estimate("beta") == twice.estimate("beta")
    assert predict_all(records, 1e7).choice.candidates == predict_all(both, 1e7).choice.candidates
    assert len(fit_series(both)) == 2


# --- bad input ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(
    "name", [*CURVES, "pinned-floor", "sliding-window", "chinchilla", "log-linear-er", "linear-er",
             "new-configuration"])
@pytest.mark.parametrize(("tokens", "ppl"), [
    ([], []),
    ([1000], [50.0]),
    ([1000, 2000], [50.0, 40.0]),
    ([1000, 1000, 1000], [50.0, 40.0, 45.0]),
    ([1000, 2000, 4000, 8000], [50.0, 40.0, -3.0, 20.0]),
    ([1000, 2000, 4000, 8000], [50.0, 40.0, math.inf, 20.0]),
    ([1000, 2000, 4000, 8000], [50.0, math.nan, 30.0, 20.0]),
    ([1000, 2000, 4000, 8000, 16000], [20.0, 30.0, 40.0, 50.0, 60.0]),
    ([1000, 2000, 4000, 8000, 16000], [50.0] * 5),
    ([1000, 2000, 4000, 8000, 16000], [1.0] * 5),
    ([1, 2, 3, 4, 5, 10**15], [1e300, 1e200, 1e100, 1.0, 1e-100, 1e-300]),
])
def test_bad_input_is_a_status_with_a_reason(name, tokens, ppl):
    extra = {"val_er": [0.7 + 0.01 * i for i in range(len(ppl))],
             "params": [1000.0 * (i + 1) for i in range(len(ppl))], "val_loss": ppl}
    for fit in fit_all(made(tokens, ppl, **extra), [name]):
        json.dumps(fit.as_dict(), allow_nan=False)  # no number that is none
        if fit.status != "converged":
            assert fit.reason
        for estimate in fit.estimates:
            assert estimate.value is None or math.isfinite(estimate.value)


def test_two_sizes_give_a_line_without_interval_and_one_run_is_refused():
    (line,) = fit_series(made([1000, 4000], [100.0, 50.0]))
    assert line.status == "no interval"
    assert line.value("alpha") == pytest.approx(-0.5)
    assert line.estimate("alpha").low is None
    assert line.estimate("alpha").method is None
    (one,) = fit_series(made([1000], [100.0]))
    assert (one.status, one.estimates) == ("too few points", ())
    assert "1 run" in one.reason


def test_three_parameters_through_three_points_have_no_interval():
    (fit,) = fit_series(made(TOKENS[:3], power(TOKENS[:3], floor=100)), "saturating")
    assert fit.status == "no interval"
    assert all(estimate.low is None for estimate in fit.estimates)


def test_a_rising_series_is_called_so_and_nothing_is_predicted_of_it():
    records = made(TOKENS, TOKENS[:6] ** 0.3)
    for name in CURVES:
        (fit,) = fit_series(records, name)
        assert fit.status == "rises"
        assert fit.reason
    assert predict_all(records, 1e7).predictions[0].value is None


def test_failed_runs_are_counted_not_fitted():
    records = made(TOKENS, power(TOKENS)).with_columns(
        status=pl.when(pl.col("train_tokens") == 60000).then(pl.lit("diverged")).otherwise(pl.lit("ok")))
    (fit,) = fit_series(records)
    assert fit.n == 5
    assert fit.left_out == ("1 diverged",)


def test_a_bent_curve_warns_who_fits_a_line_to_it():
    (fit,) = fit_series(made(TOKENS, power(TOKENS, floor=150, noise=0.003)))
    assert "flattens" in fit.reason
    (straight,) = fit_series(made(TOKENS, power(TOKENS, noise=0.01, seed=2)))
    assert straight.reason == ""


def test_unknown_names_are_errors_that_name_what_there_is():
    records = made(TOKENS, power(TOKENS))
    with pytest.raises(UsageError, match="did you mean 'saturating'"):
        fit_series(records, "saturatin")
    with pytest.raises(UsageError, match=r"no option 'F'.*known: E"):
        fit_all(records, ["pinned-floor"], options={"F": 3})
    with pytest.raises(CvfpError, match="no column 'nonsense'"):
        fit_all(records, ["log-linear-er"], options={"covariate": "nonsense"})
    with pytest.raises(CvfpError, match="no column 'nonsense'"):
        fit_all(records, by=["nonsense"])
    with pytest.raises(CvfpError, match="holds no numbers"):
        fit_all(records, ["linear-er"], options={"covariate": "variant"})


# --- selection and prediction ---------------------------------------------------------------------------------------

def test_the_choice_and_the_prediction_are_the_same_whatever_comes_later():
    """Nothing beyond the points given can reach the choice: it is a function of them alone."""
    full = power(TOKENS, floor=120, a=4e5, alpha=-0.6, noise=0.004, seed=5)
    seen = predict_all(made(TOKENS[:5], full[:5]), TOKENS[5])
    assert seen.as_dict() == predict_all(made(TOKENS[:5], full[:5]), TOKENS[5]).as_dict()
    assert seen.predictions[0].run_low < full[5] < seen.predictions[0].run_high


def test_a_clear_floor_is_found_and_a_straight_line_is_not_called_certain():
    tokens = 6e4 * 2.0 ** np.arange(8)
    bent = predict_all(made(tokens, power(tokens, floor=100, noise=0.005)), 10 * tokens[-1])
    assert bent.choice.law == "saturating"
    straight = predict_all(made(tokens, power(tokens, noise=0.005, seed=1)), 10 * tokens[-1])
    assert straight.choice.law == "power-law"
    assert not straight.choice.distinguishable
    (prediction,) = straight.predictions
    assert prediction.interval_law == "power-law and saturating"
    weights = {(each.law, each.scale): each.weight for each in straight.choice.candidates}
    assert weights["power-law", "val_ppl"] > 0.5
    runs = made(tokens, power(tokens, noise=0.005, seed=1))
    (prediction,) = predict_all(runs, 10 * tokens[-1], prior=False).predictions
    assert prediction.interval_law == "saturating"
    assert "do not rule out a floor" in prediction.reason


def test_far_predictions_warn_and_three_sizes_get_no_interval():
    far = predict_all(made(TOKENS, power(TOKENS, noise=0.01)), 11 * TOKENS[-1]).predictions[0]
    assert any("11 times" in warning for warning in far.warnings)
    three = predict_all(made(TOKENS[:3], power(TOKENS[:3], noise=0.01)), 1e6).predictions[0]
    assert three.value is not None
    assert three.run_low is None
    assert "cannot tell" in three.reason


def test_no_prediction_is_below_the_least_perplexity_there_is():
    steep = made(TOKENS[:3], power(TOKENS[:3], noise=0.01))
    (near,) = predict_all(steep, 1e9, "power-law").predictions
    assert near.value > 1
    assert near.run_low >= 1
    (far,) = predict_all(steep, 1e12, "power-law").predictions
    assert (far.value, far.mean_low, far.mean_high, far.run_low, far.run_high) == (None,) * 5
    assert far.distance == pytest.approx(1e12 / TOKENS[2])
    assert far.reason == ("below 1 at 1e+12 train_tokens, as no perplexity can be: the law has left its range; "
                          "ask nearer")
    forecast = predict_all(steep, 1e12)
    assert forecast.choice.scale == "val_loss"  # as a loss it stays above 0
    assert forecast.predictions[0].value > 1


def test_an_interval_of_a_perplexity_ends_at_one():
    records = made(TOKENS, power(TOKENS, floor=30, noise=0.05, seed=3))
    for law_name, options in (("auto", {}), ("auto", {"prior": False}), ("saturating", {})):
        (each,) = predict_all(records, 1e10, law_name, **options).predictions
        assert 1 <= each.run_low <= each.value <= each.run_high
        assert 1 <= each.mean_low <= each.value <= each.mean_high
    assert each.run_low == each.mean_low == 1
    stretched = widen(each, each.value, 3.0, QUANTITIES["val_ppl"])
    assert stretched.run_low == 1
    assert stretched.run_high > each.run_high


def test_a_quantity_of_a_plugin_is_forecast_within_its_limits_as_the_core_s_own_is():
    mine = [Quantity(name="dev_ppl", label="dev PPL", minimum=1, kind="metric", better="lower",
                     follows=(Follows(expression="exp(dev_loss)"),)),
            Quantity(name="dev_loss", label="dev loss", minimum=0, kind="metric", better="lower",
                     follows=(Follows(expression="log(dev_ppl)"),)),
            Quantity(name="vocabulary", label="Vocabulary", kind="size")]
    installed = load_only(SimpleNamespace(cvfp_quantities=hookimpl(lambda: mine)), beside=["laws"])
    for seed in range(4):
        records = made(TOKENS[:5], power(TOKENS[:5], floor=30, noise=0.08, seed=seed)).with_columns(
            dev_ppl=pl.col("val_ppl"), vocabulary=pl.col("train_tokens"))
        (own,) = predict_all(records, 1e10, registry=installed).predictions
        (theirs,) = predict_all(records, {"vocabulary": 1e10}, x="vocabulary", y="dev_ppl",
                                registry=installed).predictions
        assert own.value is not None
        assert (theirs.run_low, theirs.mean_low, theirs.mean_high, theirs.run_high) == pytest.approx(
            (own.run_low, own.mean_low, own.mean_high, own.run_high))
    with pytest.raises(UsageError, match="vocabulary must be a positive number"):
        predict_all(records, {"vocabulary": -5}, x="vocabulary", registry=installed)


def test_without_the_law_that_would_carry_the_interval_there_is_none_and_the_reason_says_so(monkeypatch):
    def without_floors(fitter, asked, registry, **options):
        made_of = predicted(fitter, asked, registry, **options)
        return [replace(one, value=None, reason="lost its way") for one in made_of] if fitter.floor else made_of

    predicted = auto._predict_each
    monkeypatch.setattr(auto, "_predict_each", without_floors)
    (each,) = predict_all(made(TOKENS, power(TOKENS, noise=0.01)), 1e7, prior=False).predictions
    assert each.value > 1
    assert (each.mean_low, each.mean_high, each.run_low, each.run_high) == (None,) * 4
    assert each.reason == "no interval, as it would be that of saturating: lost its way"


def test_the_new_run_interval_holds_the_mean_interval():
    for name in CURVES:
        (each,) = predict_all(made(TOKENS, power(TOKENS, floor=60, noise=0.01)), 1e7, name).predictions
        assert each.run_low <= each.mean_low <= each.value <= each.mean_high <= each.run_high


def test_leaving_out_a_size_and_other_objectives_are_reported():
    (fit,) = fit_series(made(TOKENS, power(TOKENS)), "power-law")
    varied = sensitivity(fit, law("power-law"))
    assert len(varied) == 3 + 6
    for each in varied:  # a noiseless law is the same by every objective
        assert each.values == pytest.approx((1e5, -0.5), rel=1e-3)


def test_a_shared_floor_is_found_over_series():
    records = pl.concat([
        made(TOKENS[:4], power(TOKENS[:4], floor=100, a=1e5, alpha=-0.5), variant="1L_64d_1tok"),
        made(TOKENS[:4], power(TOKENS[:4], floor=100, a=3e5, alpha=-0.6), variant="1L_96d_1tok"),
    ])
    first, second = fit_all(records, ["pinned-floor"])
    assert first.value("E") == second.value("E") == pytest.approx(100, rel=1e-3)
    assert first.value("alpha") == pytest.approx(-0.5, rel=1e-2)
    assert second.value("alpha") == pytest.approx(-0.6, rel=1e-2)
    (given,) = fit_all(records.head(4), ["pinned-floor"], options={"E": 100})
    assert given.estimate("E").method == "given"
    assert given.value("alpha") == pytest.approx(-0.5, rel=1e-5)
    (above,) = fit_all(records.head(4), ["pinned-floor"], options={"E": 1e6})
    assert above.status == "bad data"


def test_at_the_ends_of_a_shared_floor_the_sum_of_squares_is_what_is_allowed():
    noise = 0.02 * np.random.default_rng(0).standard_normal(12)
    sizes, values = TOKENS[:4], [power(TOKENS[:4], floor=100, a=a, alpha=-0.5) for a in (5e4, 1e5, 2e5)]
    values = [each * np.exp(part) for each, part in zip(values, noise.reshape(3, 4), strict=True)]
    records = pl.concat([made(sizes, each, variant=f"1L_{width}d_1tok") for each, width in zip(values, (64, 96, 128),
                                                                                              strict=True)])
    floor = fit_all(records, ["pinned-floor"])[0].estimate("E")

    def rss(level):
        """Of the power laws above a floor, by scipy."""
        return sum(2 * optimize.least_squares(
            lambda u, y=each: np.log((level + np.exp(u[0]) * (sizes / sizes[0]) ** u[1]) / y),
            [np.log(each[0] - level), -0.5], xtol=1e-12, ftol=1e-12).cost for each in values)

    best = optimize.minimize_scalar(rss, bounds=(1, min(each.min() for each in values) - 1), method="bounded",
                                    options={"xatol": 1e-6})
    most = best.fun * (1 + t_quantile(5) ** 2 / 5)
    assert floor.value == pytest.approx(best.x, rel=1e-3)
    assert [rss(end) for end in (floor.low, floor.high)] == pytest.approx([most, most], rel=1e-5)


# --- a stranger's fitter --------------------------------------------------------------------------------------------

def log_power():
    return Fitter(
        name="log-power", title="a power of the logarithm", form="PPL = A * log(tokens)^-b",
        parameters=(Parameter(name="A", minimum=0), Parameter(name="b", minimum=0, maximum=20)),
        function=lambda train_tokens, A, b: A * np.log(train_tokens) ** -b,
    )


def test_a_strangers_ten_lines_get_fit_interval_selection_backtest_and_report():
    found = strangers(log_power())
    ppl = 1e7 * np.log(TOKENS) ** -4.5 * np.exp(0.003 * np.random.default_rng(0).standard_normal(6))
    (fit,) = fit_all(made(TOKENS, ppl), ["log-power"], registry=found)
    b = fit.estimate("b")
    assert (fit.status, fit.dof, b.method) == ("converged", 4, "profile F")
    assert b.low < 4.5 < b.high
    forecast = predict_all(made(TOKENS, ppl), 1e7, registry=found)
    mine = next(each for each in forecast.choice.candidates if each.law == "log-power")
    assert (mine.folds, mine.aicc is not None, mine.backtest < 0.02) == (3, True, True)
    (own,) = predict_all(made(TOKENS, ppl), 1e7, "log-power", registry=found).predictions
    assert own.run_low < own.value < own.run_high
    assert len(sensitivity(fit, log_power())) == 9
    assert json.loads(json.dumps(fit.as_dict()))["estimates"][1]["name"] == "b"


@pytest.mark.parametrize("function", [
    lambda train_tokens, A, b: 1 / 0,
    lambda train_tokens, A, b: [1, 2],
    lambda train_tokens, A: A,
    lambda train_tokens, A, b: "text",
    lambda train_tokens, A, b: np.full_like(train_tokens * A, np.nan),
    lambda train_tokens, A, b: -A - b - train_tokens,
])
def test_a_strangers_broken_function_is_a_failed_fit_that_names_its_owner(function):
    broken = Fitter(name="broken", title="", form="", function=function,
                    parameters=(Parameter(name="A", minimum=0), Parameter(name="b", minimum=0)))
    found = strangers(broken)
    records = made(TOKENS, power(TOKENS, noise=0.01))
    (fit,) = fit_all(records, ["broken"], registry=found)
    assert fit.status == "failed"
    assert "plugin 'strange' (cvfp-strange 3.1)" in fit.reason or "not positive and finite" in fit.reason
    forecast = predict_all(records, 1e7, registry=found)  # the rest goes on
    assert forecast.predictions[0].value is not None
    (alone,) = predict_all(records, 1e7, "broken", registry=found).predictions
    assert alone.value is None


def test_a_strangers_own_code_may_raise_or_return_nonsense():
    def boom(points, options):
        raise RuntimeError("no idea")

    cases = ((boom, "RuntimeError: no idea"), (lambda p, o: [], "TypeError"), (lambda p, o: [3], "TypeError"))
    for code, text in cases:
        odd = Fitter(name="odd", title="", form="", parameters=(), fit=code)
        (fit,) = fit_all(made(TOKENS, power(TOKENS)), ["odd"], registry=strangers(odd))
        assert fit.status == "failed"
        assert text in fit.reason
        assert "cvfp-strange 3.1" in fit.reason


@pytest.mark.slow
def test_every_installed_law_keeps_the_contract():
    """What each law promises in its descriptor holds for what it returns."""
    rng = np.random.default_rng(0)
    extra = {"val_er": 0.7 + 0.1 * rng.random(6), "params": [float(v) for v in 1e5 * 2.0 ** rng.integers(0, 5, 6)],
             "val_acc": [0.10, 0.21, 0.28, 0.34, 0.38, 0.41], "val_loss": [4.1, 3.8, 3.6, 3.45, 3.3, 3.2]}
    records = pl.concat([made(TOKENS, power(TOKENS, floor=80, noise=0.02, seed=i), variant=f"1L_{i}d_1tok",
                              **{name: list(values) for name, values in extra.items()}) for i in (1, 2)])
    there = {name for name in records.columns if records[name].null_count() < records.height} | {"{covariate}"}
    laws = {name: law for name, law in registry.installed().items(Fitter).items()
            if there.issuperset(law.inputs) and law.least_points <= len(TOKENS)}
    assert len(laws) >= 15  # the others need inputs or sizes that are not here: tests/test_published_laws.py has data
    for name, fitter in laws.items():
        assert all((fitter.title, fitter.form)), name
        fits = fit_all(records, [name])
        assert fits, name
        again = fit_all(records, [name])
        assert [fit.as_dict() for fit in fits] == [fit.as_dict() for fit in again], name  # same input, same bytes
        for fit in fits:
            assert fit.law == name
            assert fit.status in ("converged", "at a bound", "not identifiable"), (name, fit.status, fit.reason)
            json.dumps(fit.as_dict(), allow_nan=False)
            for each in fit.estimates:
                if each.low is not None and each.value is not None:
                    assert each.low <= each.value, (name, each)
                if each.high is not None and each.value is not None:
                    assert each.value <= each.high, (name, each)


@pytest.mark.slow
def test_a_series_too_short_to_show_a_floor_has_no_say_in_the_choice():
    bent = made(TOKENS, power(TOKENS, floor=100, noise=0.005))
    short = made(TOKENS[:3], power(TOKENS[:3], noise=0.005), variant="2L_64d_1tok")
    together = predict_all(pl.concat([bent, short]), 1e6)
    assert together.choice.law == predict_all(bent, 1e6).choice.law == "saturating"
    assert together.predictions[0].as_dict() == predict_all(bent, 1e6).predictions[0].as_dict()


@pytest.mark.parametrize("seed", range(8))
def test_the_intervals_of_a_forecast_hold_its_value(seed):
    for size in (4, 5):
        tokens = TOKENS[:size]
        (each,) = predict_all(made(tokens, power(tokens, floor=40, noise=0.02, seed=seed)), 1e7).predictions
        for low, high in ((each.mean_low, each.mean_high), (each.run_low, each.run_high)):
            assert low is None or low <= each.value
            assert high is None or each.value <= high


# --- what was said wrongly ------------------------------------------------------------------------------------------

def test_a_fit_over_several_series_is_labelled_by_their_number():
    both = pl.concat([made(TOKENS, power(TOKENS, noise=0.01, seed=i), variant=f"1L_{i}d_1tok") for i in (1, 2)])
    whole = replace(law("saturating"), name="whole", scope="records")
    (fit,) = fit_all(both, [whole])
    assert fit.series == "2 series"
    assert fit.n == 12


def test_the_only_law_that_could_be_fitted_is_not_called_distinguishable():
    choice = predict_all(made(TOKENS[:3], power(TOKENS[:3], noise=0.01)), 1e6).choice
    assert choice.law == "power-law"
    assert not choice.distinguishable
    assert choice.reason.startswith("the only law that could be fitted; too few sizes for ")
    assert "saturating" in choice.reason


def test_a_form_names_the_covariate_it_was_fitted_with():
    task_loss = pl.Series([0.9, 0.7, 0.75, 0.6, 0.55, 0.5])
    records = made(TOKENS, power(TOKENS, noise=0.02)).with_columns(task_loss=task_loss)
    (fit,) = fit_all(records, ["linear-er"], options={"covariate": "task_loss"})
    assert fit.form == "PPL = a + b * task_loss"
    (default,) = fit_all(made(TOKENS, power(TOKENS), val_er=[0.7, 0.72, 0.71, 0.73, 0.75, 0.74]), ["linear-er"])
    assert default.form == "PPL = a + b * val_er"


def test_two_inputs_in_a_fixed_ratio_are_not_identifiable_and_the_ratio_is_named():
    n = np.geomspace(1e6, 1e9, 8)
    records = made(20 * n, 1.7 + 400 / n**0.34 + 2000 / (20 * n) ** 0.37, params=list(n),
                   val_loss=list(1.7 + 400 / n**0.34 + 2000 / (20 * n) ** 0.37))
    (fit,) = fit_all(records, ["chinchilla"])
    assert fit.status == "not identifiable"
    assert "train_tokens = 20 x params in all runs; vary one" in fit.reason


def test_a_response_that_is_better_when_higher_is_refused_where_it_falls():
    falling = made(TOKENS, power(TOKENS), val_acc=[0.5, 0.4, 0.3, 0.25, 0.2, 0.1])
    (fit,) = fit_all(falling, ["ceiling"])
    assert fit.status == "falls"
    assert "val_acc falls with train_tokens" in fit.reason
    rising = made(TOKENS, power(TOKENS), val_acc=list(0.6 - 20 * TOKENS**-0.4))
    (fit,) = fit_all(rising, ["ceiling"])
    assert fit.status == "converged"
    assert [fit.value(name) for name in ("E", "A", "alpha")] == pytest.approx([0.6, 20, -0.4], rel=1e-4)
    (ahead,) = predict_all(rising, 1e12, "auto", y="val_acc").predictions
    assert ahead.law == "ceiling"
    assert 0.599 < ahead.run_low <= ahead.value <= ahead.run_high < 0.6
