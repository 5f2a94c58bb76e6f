"""Every law against values computed independently of the project."""

import json

import pytest

from cvfp_core.fitting import fit_all, fit_series, predict_all
from laws_data import SHARED, needs_shared, newllm

pytestmark = needs_shared


@pytest.fixture(scope="module")
def golden():
    return json.loads((SHARED / "golden.json").read_text())


@pytest.fixture(scope="module")
def records():
    return newllm()


def test_power_laws_of_all_series_equal_the_reference(golden, records):
    fits = {fit.series: fit for fit in fit_series(records)}
    assert set(fits) == set(golden["series"])
    for label, expected in golden["series"].items():
        fit, alpha = fits[label], fits[label].estimate("alpha")
        assert (fit.status, fit.n, fit.dof) == ("converged", expected["n"], expected["n"] - 2)
        assert alpha.value == pytest.approx(expected["alpha"], rel=1e-4)
        assert alpha.stderr == pytest.approx(expected["alpha_stderr"], rel=1e-4)
        assert [alpha.low, alpha.high] == pytest.approx(expected["alpha_ci95"], rel=1e-4)
        assert fit.value("A") == pytest.approx(expected["A"], rel=1e-4)
        assert fit.r_squared == pytest.approx(expected["r_squared"], rel=1e-4)
        assert fit.p_value == pytest.approx(expected["p_value"], rel=1e-4)


def test_windows_and_curvature_equal_the_reference(golden, records):
    fits = {fit.series: fit for fit in fit_all(records, ["sliding-window"])}
    for label, expected in golden["series"].items():
        windows = [e.value for e in fits[label].estimates if e.name.startswith("alpha ")]
        assert windows == pytest.approx([each["alpha"] for each in expected["windows4"]], rel=1e-4)
        assert fits[label].value("curvature") == pytest.approx(expected["curvature"], rel=1e-4)
    sign = golden["curvature_sign_test"]
    assert fits["all series"].p_value == pytest.approx(sign["p_value"], rel=1e-4)
    assert fits["all series"].value("bend upwards") == sign["positive"]


def test_the_largest_size_predicted_from_the_others_equals_the_reference(golden, records):
    for label, expected in golden["series"].items():
        experiment, variant = label.split(":")
        series = records.filter(experiment=experiment, variant=variant).sort("train_tokens")
        largest = series.tail(1).row(0, named=True)
        (forecast,) = predict_all(series.head(-1), largest["train_tokens"], "power-law").predictions
        held = expected["holdout_largest"]
        assert forecast.value == pytest.approx(held["predicted"], rel=1e-4)
        assert forecast.value / largest["val_ppl"] - 1 == pytest.approx(held["error"], rel=1e-4)


def test_log_linear_regression_equals_the_reference(golden, records):
    (fit,) = fit_all(records, ["log-linear-er"])
    expected = golden["log_linear_er"]
    assert fit.n == expected["n"]
    for name in ("alpha", "beta", "gamma"):
        assert fit.value(name) == pytest.approx(expected[name], rel=1e-4)
        assert fit.estimate(name).stderr == pytest.approx(expected[f"{name}_stderr"], rel=1e-4)
    beta = fit.estimate("beta")
    assert [beta.low, beta.high] == pytest.approx(expected["beta_ci95"], rel=1e-4)
    assert fit.p_value == pytest.approx(expected["beta_p"], rel=1e-4)
    assert fit.value("mape") == pytest.approx(expected["mape"], rel=1e-4)
    assert fit.value("leave-one-series-out") == pytest.approx(expected["leave_one_config_out_mape"], rel=1e-4)
    assert fit.value("leave-one-series-out, no covariate") == pytest.approx(
        expected["leave_one_config_out_mape_without_er"], rel=1e-4)


def test_the_proposed_line_over_rank_is_off_by_the_reference(golden, records):
    (fit,) = fit_all(records, ["linear-er"], options={"a": 500, "b": -4})
    for label, expected in golden["linear_500_minus_4er"].items():
        assert fit.value(f"error {label}") == pytest.approx(expected["error"], rel=1e-4)
