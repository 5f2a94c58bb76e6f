"""A stranger's laws, a dozen lines and an lmfit model: fitted, forecast, drawn and reported by flags only."""

import json
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

import made_grids
import made_plugins

PACKAGE = '''
from cvfp_core import hookimpl
from cvfp_core.registry.kinds import Law, Parameter

SURFACE = Law(
    name="mine", form="L = E + A / N^a + B / D^b", inputs=("params", "train_tokens"), response="val_loss",
    function=lambda params, train_tokens, E, A, a, B, b: E + A / params**a + B / train_tokens**b,
    linear=("E", "A", "B"), floor="E",
    parameters=(Parameter(name="E", minimum=0), Parameter(name="A", minimum=0), Parameter(name="a", minimum=0),
                Parameter(name="B", minimum=0), Parameter(name="b", minimum=0)),
)

def model():
    import lmfit

    made = lmfit.Model(lambda x, E, A, total: E + A * x ** (E / 10 - total), name="borrowed")
    made.set_param_hint("E", min=0, max=10)
    made.set_param_hint("A", min=0, max=1e4)
    made.set_param_hint("slope", min=0.05, max=2, value=0.5)
    made.set_param_hint("total", expr="slope + E / 10")
    return made

BORROWED = Law(name="borrowed", form="L = E + A * x^-slope", response="val_loss", model=model)

@hookimpl
def cvfp_fitters():
    return [SURFACE, BORROWED]
'''
TRUTH = {"E": 1.7, "A": 400.0, "a": 0.34, "B": 2000.0, "b": 0.37}


def loss(n, d):
    return TRUTH["E"] + TRUTH["A"] / n ** TRUTH["a"] + TRUTH["B"] / d ** TRUTH["b"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A folder with the stranger's package on the path, a table over N and D, and one over compute."""
    folder = tmp_path_factory.mktemp("lab")
    made_plugins.install(folder / "site", "strange", PACKAGE)
    rng = np.random.default_rng(0)
    n, d = (each.ravel() for each in np.meshgrid(np.geomspace(1e7, 3e9, 5), np.geomspace(1e9, 3e11, 5)))
    pl.DataFrame({"params": n, "train_tokens": d, "val_loss": loss(n, d) * np.exp(0.002 * rng.standard_normal(25))}
                 ).write_csv(folder / "grid.csv")
    flops = np.geomspace(1e17, 1e21, 8)
    pl.DataFrame({"flops": flops, "val_loss": 1.8 + 5e3 * flops**-0.2 * np.exp(0.002 * rng.standard_normal(8))}
                 ).write_csv(folder / "compute.csv")
    return folder


def cvfp(lab, *arguments):
    done = subprocess.run([sys.executable, "-c", "from cvfp_core.cli import main; main()", *arguments], cwd=lab,
                          env=made_grids.environment(lab, PYTHONPATH=str(lab / "site")), text=True,
                          capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_surface_recovers_its_truth_with_intervals(lab):
    (fit,) = json.loads(cvfp(lab, "fit", "grid.csv", "--law", "mine", "--json"))
    assert fit["status"] == "converged"
    assert fit["inputs"] == ["params", "train_tokens"]
    for estimate in fit["estimates"]:
        assert estimate["low"] <= TRUTH[estimate["name"]] <= estimate["high"], estimate
    assert "mine" in cvfp(lab, "fit", "grid.csv", "--law", "mine")


def test_the_surface_is_forecast_with_intervals_and_back_tested_along_an_input(lab):
    made = json.loads(cvfp(lab, "predict", "grid.csv", "--law", "mine", "--at", "params=7e9", "--at",
                           "train_tokens=1e11,10x", "--along", "params", "--json"))
    near, far = made["predictions"]
    for each in (near, far):
        truth = loss(each["inputs"]["params"], each["inputs"]["train_tokens"])
        assert each["run_low"] <= truth <= each["run_high"]
        assert each["run_low"] <= each["mean_low"] <= each["value"] <= each["mean_high"] <= each["run_high"]
    assert far["inputs"]["train_tokens"] == pytest.approx(3e12)
    assert far["distances"] == {"params": pytest.approx(7e9 / 3e9), "train_tokens": pytest.approx(10)}
    assert any("hull" in warning for warning in far["warnings"])
    (candidate,) = made["choice"]["candidates"]
    assert candidate["folds"] >= 2
    assert candidate["backtest"] < 0.05


def test_the_lmfit_model_keeps_its_bounds_and_expressions_and_takes_any_axis(lab):
    arguments = ("compute.csv", "--law", "borrowed", "--x", "flops")
    (fit,) = json.loads(cvfp(lab, "fit", *arguments, "--json"))
    assert fit["status"] == "converged", fit["reason"]
    values = {each["name"]: each["value"] for each in fit["estimates"]}
    assert set(values) == {"E", "A", "slope"}  # `total` follows from an expression
    assert values["slope"] == pytest.approx(0.2, rel=0.1)
    (ahead,) = json.loads(cvfp(lab, "predict", *arguments, "--at", "flops=1e22", "--json"))["predictions"]
    assert ahead["run_low"] <= 1.8 + 5e3 * 1e22**-0.2 <= ahead["run_high"]
    assert ahead["response"] == "val_loss"


@pytest.mark.parametrize(("table", "law", "axes"), [
    ("grid.csv", "mine", []), ("compute.csv", "borrowed", ["--x", "flops", "--y", "val_loss"]),
])
def test_both_are_drawn_and_reported(lab, table, law, axes):
    cvfp(lab, "report", table, "--template", "fits", "--law", law, *axes, "-o", f"{law}.md")
    text = (lab / f"{law}.md").read_text()
    assert law in text
    figures = list((lab / f"{law}_figures").glob("*.svg"))
    assert figures
    assert all("<svg" in figure.read_text() for figure in figures)
