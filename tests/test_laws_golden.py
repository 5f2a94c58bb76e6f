"""Every law against values computed independently of the project."""

import json

import pytest
from laws_data import SHARED, needs_shared, newllm

from cvfp_core.fitting import fit_series

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
