"""Published laws: known parameters recovered, what is refused, published tables read from a shell."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import cvfp_laws
from cvfp_core.fitting import fit_all
from cvfp_core.fitting.curve_fit import solve_points
from cvfp_core.fitting.run import grouped
from cvfp_core.registry import installed
from cvfp_core.registry.kinds import Law
from cvfp_laws.annealing import areas
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


def test_every_published_law_is_here_with_source_and_domain():
    named = {law.name for law in (*cvfp_laws.published.LAWS, *cvfp_laws.configured.LAWS)}
    assert named == set(TRUTHS)
    assert all(law.source and law.domain for law in installed().items(Law).values() if law.name in named)


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


@pytest.mark.parametrize("name", TRUTHS)
def test_the_table_of_the_docs_says_what_the_law_says(name):
    law = installed().get(Law, name)
    page = (Path(__file__).parents[1] / "docs" / "laws.md").read_text(encoding="utf-8")
    assert f"| `{name}` | `{law.written}` | {law.source} | {law.domain} |" in page.splitlines()


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
