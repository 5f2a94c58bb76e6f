"""Published laws: known parameters recovered, what is refused, published tables read from a shell."""

import json

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import benchmarks_path
import cvfp_core as cvfp
import cvfp_laws
from cvfp_core.cli.app import app
from cvfp_core.fitting import fit_all
from cvfp_core.fitting.curve_fit import solve_points
from cvfp_core.fitting.run import grouped
from cvfp_core.fitting.selection import choose
from cvfp_core.registry import installed
from cvfp_core.registry.kinds import Law
from cvfp_laws.annealing import areas
from laws_data import SHARED, needs_shared
from published_laws import TRUTHS


def runs(law, parameters, inputs, noise=0.0):
    """Runs of the law, with normal noise on the scale its residuals are taken on."""
    values = law.function(**inputs, **parameters)
    off = noise * np.random.default_rng(0).standard_normal(len(values))
    return pl.DataFrame({"experiment": "e", "variant": "v", "status": "ok",
                         "run_id": [f"run-{i}" for i in range(len(values))], **inputs,
                         law.response: values * np.exp(off) if law.space == "log" else values + off})


@pytest.mark.parametrize("name", TRUTHS)
def test_parameters_that_made_a_table_are_recovered(name):
    law = installed().get(Law, name)
    parameters, inputs = TRUTHS[name]
    (points,) = grouped(runs(law, parameters, inputs), law)
    optimum = solve_points(law, points).optimum
    found = dict(zip((p.name for p in law.parameters), optimum.parameters[0], strict=True))
    assert found == pytest.approx(parameters, rel=1e-3)


def test_every_published_law_is_here_and_every_law_says_where_it_holds_and_where_not():
    named = {law.name for law in (*cvfp_laws.published.LAWS, *cvfp_laws.configured.LAWS)}
    assert named == set(TRUTHS)
    assert all(law.source and law.domain and law.not_for for law in installed().items(Law).values())


def test_areas_of_a_schedule_are_the_sums_that_define_them():
    rates = np.array([3.0, 3.0, 2.0, 2.5, 1.0]) * 1e-3
    forward, annealing = areas(rates, decay=0.9)
    falls = [(i, rates[i - 1] - rates[i]) for i in range(1, 5)]
    memory = [sum(fall * 0.9 ** (step - i) for i, fall in falls if i <= step) for step in range(5)]
    assert forward == pytest.approx(np.cumsum(rates))
    assert annealing == pytest.approx(np.cumsum(memory))


def test_columns_of_repeated_data_that_are_swapped_are_refused_with_the_remedy():
    law = installed().get(Law, "data-constrained")
    parameters, inputs = TRUTHS["data-constrained"]
    swapped = runs(law, parameters, inputs).rename({"tokens_seen": "unique_tokens", "unique_tokens": "tokens_seen"})
    (fit,) = fit_all(swapped, ["data-constrained"])
    assert fit.status == "bad data"
    assert "unique_tokens exceeds tokens_seen in 80 of 100 runs" in fit.reason
    assert "if the columns are swapped, map each to the other" in fit.reason


def test_no_sample_is_a_size_to_the_laws_of_fine_tuning_and_to_no_other():
    law = installed().get(Law, "rectified-gap")
    table = runs(law, *TRUTHS["rectified-gap"], noise=1e-3)
    fits = {fit.law: fit for fit in fit_all(table, ["rectified", "rectified-gap"])}
    assert fits["rectified-gap"].status == "converged"
    assert fits["rectified-gap"].sigma < 0.01 < fits["rectified"].sigma
    assert fits["rectified-gap"].predict(num_samples=0).value == pytest.approx(4.0, rel=5e-3)
    (other,) = fit_all(table, ["saturating"], x="num_samples", y="val_loss")
    assert (other.status, "num_samples must be positive" in other.reason) == ("bad data", True)


@pytest.mark.parametrize(("name", "count"), [("chinchilla-shared", 5), ("multiplicative", 5)])
def test_five_runs_are_enough_for_a_law_of_four_parameters(name, count):
    law = installed().get(Law, name)
    table = runs(law, *TRUTHS[name], noise=1e-4)[[0, 4, 12, 20, 24][:count]]
    (fit,) = fit_all(table, [name])
    assert fit.status == "converged"
    assert fit.value("alpha") == pytest.approx(TRUTHS[name][0]["alpha"], rel=0.05)


def test_repeated_tokens_are_not_taken_for_fresh_ones_in_silence():
    law = installed().get(Law, "chinchilla-shared")
    fresh = runs(law, *TRUTHS["chinchilla-shared"], noise=1e-3)
    told = "unique_tokens differ from train_tokens in 5 of 25 runs"
    for unique, said in ((pl.col("train_tokens"), False), (pl.col("train_tokens").clip(upper_bound=5e10), True)):
        table = fresh.with_columns(unique_tokens=unique)
        (fit,) = fit_all(table, [law])
        assert fit.status == "converged"
        assert (told in fit.reason) == said
        assert any(told in each for each in fit.predict(params=1e9, train_tokens=1e10).warnings) == said


def test_runs_at_no_sample_are_read_fitted_and_forecast_from_a_shell(tmp_path):
    parameters, inputs = TRUTHS["rectified"]
    table = pl.DataFrame({**inputs, "val_loss": installed().get(Law, "rectified").function(**inputs, **parameters)})
    table.write_csv(tmp_path / "tuned.csv")
    asked = ["predict", str(tmp_path / "tuned.csv"), "--law", "rectified", "--at", "num_samples=0,1e6", "--json"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.stderr
    first, second = json.loads(done.stdout)["predictions"]
    assert first["value"] == pytest.approx(4.0, rel=1e-3)
    assert second["value"] == pytest.approx(1.2 + 2.8 / (1 + 50**0.5), rel=1e-3)


@needs_shared
@pytest.mark.parametrize(("name", "larger"), [("moe", "moe-floor"), ("lr_batch", "step-law-coupled"),
                                              ("vocab", "vocabulary-joint"), ("sft_flan", "rectified-gap")])
def test_the_form_that_a_back_test_prefers_predicts_the_largest_size_better(name, larger):
    """The published form by plain least squares, the chosen one by our engine, R2 on runs that neither saw."""
    benchmark = benchmarks_path.published()
    table = benchmark.TABLES[name]
    table_runs = benchmark.read(SHARED / "anchors" / f"{name}.csv", table)
    rest, held = (table_runs.filter(pl.col(table.size) < table_runs[table.size].max()),
                  table_runs.filter(pl.col(table.size) == table_runs[table.size].max()))
    published, better = (installed().get(Law, each) for each in (table.laws[0], larger))
    assert choose([published, better], benchmark.points(rest, better), along=table.size).law == larger
    past, future = benchmark.points(rest, better), benchmark.points(held, better)
    truth = np.concatenate([each.response for each in future])
    ours = benchmark.ahead(better, past, future,
                           [solve_points(better, each).optimum.parameters[0] for each in past])
    theirs = benchmark.ahead(published, past, future, [benchmark.plain(published, each, 2) for each in past])
    assert benchmark.r_squared(truth, ours) > benchmark.r_squared(truth, theirs) + 0.05


def two_steps(seed):
    """Runs of a loss that falls with data, and of an accuracy that is a sigmoid of it, both with noise."""
    rng = np.random.default_rng(seed)
    tokens = np.geomspace(1e8, 1e10, 12)
    loss = (1.8 + 900 * tokens**-0.35) * np.exp(0.004 * rng.standard_normal(12))
    accuracy = 0.25 + 0.6 / (1 + np.exp(3 * (loss - 2.3))) + 0.004 * rng.standard_normal(12)
    return pl.DataFrame({"experiment": "e", "train_tokens": tokens, "val_loss": loss, "val_acc": accuracy})


def test_intervals_of_two_steps_hold_those_of_each_in_quadrature():
    first = cvfp.predict(two_steps(0), 4e10, "saturating", y="val_loss")
    both = first.then("accuracy-of-loss")[0]
    (fit,) = cvfp.fit(two_steps(0), law="accuracy-of-loss")
    own = fit.predict(val_loss=first[0].value)
    low, rise, k, middle = (fit.value(name) for name in ("low", "rise", "k", "L0"))
    moved = low + rise / (1 + np.exp(k * (first[0].run_high - middle)))  # the higher loss, so the lower accuracy
    assert both.value == own.value
    assert both.value - both.run_low == pytest.approx(np.hypot(own.value - own.run_low, own.value - moved))
    assert both.run_low < 0.25 + 0.6 / (1 + np.exp(3 * (1.8 + 900 * 4e10**-0.35 - 2.3))) < both.run_high
    assert both.run_low < both.mean_low < both.value < both.mean_high < both.run_high


def test_a_second_step_is_of_what_the_first_one_forecasts(tmp_path):
    two_steps(0).write_csv(tmp_path / "runs.csv")
    asked = ["predict", str(tmp_path / "runs.csv"), "--y", "val_loss", "--law", "saturating", "--tokens", "4e10"]
    done = CliRunner().invoke(app, [*asked, "--then", "accuracy-of-loss", "--json"])
    made = json.loads(done.stdout)["predictions"][0]
    assert (made["response"], made["law"]) == ("val_acc", "saturating, then accuracy-of-loss")
    assert made["value"] == pytest.approx(0.25 + 0.6 / (1 + np.exp(3 * (1.8 + 900 * 4e10**-0.35 - 2.3))), abs=0.02)
    wrong = CliRunner().invoke(app, [*asked, "--then", "ceiling"])
    assert wrong.exit_code == 2
    assert "law 'ceiling' is a function of train_tokens, and what is forecast is val_loss" in wrong.stderr
