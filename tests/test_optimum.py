"""The compute-optimal model for a budget: three approaches against a known truth and published runs."""

import json

import numpy as np
import polars as pl
import pytest
from scipy import optimize
from typer.testing import CliRunner

import cvfp_core as cvfp
from cvfp_core.cli.app import app
from cvfp_core.deciding.budgets import Cost, allowed, constraint
from cvfp_core.deciding.isoflops import by_budget, isoflops, line
from cvfp_core.deciding.optimum import Optimum, disagreements, frontier
from cvfp_core.errors import UsageError
from cvfp_core.registry import installed
from cvfp_core.registry.kinds import Law
from cvfp_core.reporting.measures import size
from cvfp_core.results.numbers import interval
from laws_data import SHARED, needs_shared

LAW = installed().get(Law, "chinchilla")
TRUTH = {"E": 1.82, "A": 478.0, "alpha": 0.347, "B": 2143.0, "beta": 0.367}


def loss(n, d):
    return LAW.function(params=n, train_tokens=d, **TRUTH)


def best(flops):
    """Params of the true optimum (arXiv:2203.15556, equation 4)."""
    a, b = TRUTH["alpha"], TRUTH["beta"]
    return (a * TRUTH["A"] / (b * TRUTH["B"])) ** (1 / (a + b)) * (flops / 6) ** (b / (a + b))


def sweep(noise=0.0, seed=0, budgets=5, sizes=7, off=1.0, reach=4.0, **columns):
    """Runs at equal compute over sizes about the best."""
    flops = np.repeat(np.geomspace(1e18, 1e21, budgets), sizes)
    n = off * best(flops) * np.tile(np.geomspace(1 / reach, reach, sizes), budgets)
    d = flops / (6 * n)
    noisy = loss(n, d) * np.exp(noise * np.random.default_rng(seed).standard_normal(len(n)))
    return pl.DataFrame({"params": n, "train_tokens": d, "val_loss": noisy, **columns})


def three(made):
    return {each.approach: each for each in made}


def test_every_approach_finds_the_optimum_of_a_dense_sweep():
    made = three(cvfp.optimum(sweep(sizes=21), 1e22))
    truth = best(1e22)
    assert made["surface"].params == pytest.approx(truth, rel=1e-4)
    assert made["isoFLOP"].params == pytest.approx(truth, rel=0.02)
    assert made["envelope"].params == pytest.approx(truth, rel=0.02)
    for each in made.values():
        assert each.value == pytest.approx(loss(truth, 1e22 / (6 * truth)), rel=2e-3)
        assert 6 * each.params * each.train_tokens == pytest.approx(1e22)
        assert each.tokens_per_param == pytest.approx(each.train_tokens / each.params)


def test_intervals_hold_the_truth_and_the_new_runs_is_the_wider():
    truth = best(1e22)
    held = 0
    for seed in range(8):
        surface = three(cvfp.optimum(sweep(0.005, seed), 1e22))["surface"]
        held += surface.params_low < truth < surface.params_high
        assert surface.run_low < surface.mean_low < surface.value < surface.mean_high < surface.run_high
        assert surface.train_tokens_low == pytest.approx(1e22 / (6 * surface.params_high))
    assert held >= 6  # of 8 at 95 %: fewer by chance once in 170


def test_an_asymmetric_sweep_gets_a_cubic_and_says_what_the_parabola_would_have_said():
    x = np.tile(np.linspace(-1.5, 2.5, 11), 3)
    flops = np.repeat([1e19, 1e20, 1e21], 11)
    middle = (flops / 1e11) ** 0.5
    uneven = np.exp(1 + 0.05 * (np.exp(-0.6 * x) / 0.6 + np.exp(0.2 * x) / 0.2))  # least at x = 0
    told = isoflops(middle * np.exp(x), uneven, flops)
    assert told.degree == 3
    assert told.p_value < 1e-6
    for each, truth in zip(told.minima, (1e4, 10**4.5, 1e5), strict=True):
        fit = np.polyfit(x[:11], np.log(uneven[:11]), 2)
        assert np.log(each.parabola / truth) == pytest.approx(-fit[1] / (2 * fit[0]))
        assert abs(np.log(each.params / truth)) < abs(np.log(each.parabola / truth)) / 3


def test_a_minimum_and_its_error_are_those_of_a_polynomial_fit():
    n = np.geomspace(1e8, 1e9, 9)
    y = np.exp(1 + 0.1 * (np.log(n) - np.log(4e8)) ** 2 + 0.003 * np.cos(np.arange(9) * 2.4))
    (budget,) = isoflops(n, y, np.full(9, 1e20)).budgets
    x = np.log(n) - np.log(n).mean()

    def curve(x, low, bend, at):
        return low + bend * (x - at) ** 2

    values, covariance = optimize.curve_fit(curve, x, np.log(y), [1, 0.1, 0])
    assert np.log(budget.params) - np.log(n).mean() == pytest.approx(values[2], rel=1e-5)
    assert budget.error == pytest.approx(np.sqrt(covariance[2, 2]), rel=1e-4)
    assert budget.loss == pytest.approx(np.exp(values[0]))


def test_a_line_is_that_of_least_squares():
    from scipy import stats

    x, y = np.arange(6.0), np.array([0.1, 1.2, 1.9, 3.2, 3.8, 5.1])
    known = stats.linregress(x, y)
    value, half = line(x, y).at(9.0)
    assert value == pytest.approx(known.intercept + 9 * known.slope)
    spread = np.hypot(known.stderr * (9 - x.mean()), np.sqrt(known.stderr**2 * np.square(x - x.mean()).sum() / 6))
    assert half == pytest.approx(stats.t.ppf(0.975, 4) * spread)


def test_budgets_are_runs_of_nearly_equal_compute():
    flops = np.array([1e18, 1.05e18, 0.98e18, 1e19, 1.1e19, 5e20])
    assert [sorted(rows.tolist()) for rows in by_budget(flops)] == [[0, 1, 2], [3, 4]]


def test_the_envelope_is_what_no_cheaper_run_beats():
    flops = np.array([1e18, 1e18 * (1 + 1e-12), 1e19, 1e20, 1e20])
    assert frontier(flops, np.array([3.2, 3.1, 3.3, 2.9, 2.8])) == [1, 4]


def test_a_constraint_holds_the_surface_and_the_other_approaches_say_that_they_know_no_loss():
    made = three(cvfp.optimum(sweep(), 1e22, constraints="params<=3e9"))
    assert made["surface"].params == pytest.approx(3e9)
    assert made["surface"].value == pytest.approx(loss(3e9, 1e22 / 1.8e10), rel=1e-3)
    assert made["surface"].reason == "held at params<=3e+09"
    assert made["isoFLOP"].params is None
    assert "breaks params<=3e+09" in made["isoFLOP"].reason
    free = three(cvfp.optimum(sweep(), 1e22, constraints=["params<=3e10"]))
    assert free["isoFLOP"].params == pytest.approx(best(1e22), rel=0.05)


def test_tokens_are_limited_too():
    made = three(cvfp.optimum(sweep(), 1e22, constraints="train_tokens<=1e11"))["surface"]
    assert made.train_tokens == pytest.approx(1e11)
    cost = Cost(convention="6ND", inference_tokens=1e12)
    low, _ = allowed(cost, 1e22, [constraint("train_tokens <= 1e11")], 1e8, 1e10)
    assert cost.tokens(1e22, np.exp(low)) == pytest.approx(1e11)


def test_tokens_that_are_served_ask_for_a_smaller_model():
    made = three(cvfp.optimum(sweep(), 1e22, inference_tokens=1e12))
    surface = made["surface"]

    def total(u):
        n = np.exp(u)
        return loss(n, (1e22 - 2e12 * n) / (6 * n))

    known = optimize.minimize_scalar(total, bounds=(np.log(1e8), np.log(4.9e9)), method="bounded")
    assert surface.params == pytest.approx(np.exp(known.x), rel=1e-3)
    assert surface.params < best(1e22)
    assert 6 * surface.params * surface.train_tokens + 2e12 * surface.params == pytest.approx(1e22)
    assert made["envelope"].params is None


def test_flops_are_counted_as_asked():
    runs = sweep().with_columns(flops=7 * pl.col("params") ** 1.02 * pl.col("train_tokens"),
                                params_non_embedding=pl.col("params") / 2)
    by_column = cvfp.optimum(runs, 1e22, convention="flops")
    (told,) = by_column.sweeps
    assert (told.cost.factor, told.cost.power) == pytest.approx((7, 1.02))
    made = three(by_column)["surface"]
    assert 7 * made.params**1.02 * made.train_tokens == pytest.approx(1e22)
    half = three(cvfp.optimum(runs, 1e22, convention="6ND-non-embedding"))["surface"]
    assert 6 * half.params * half.train_tokens == pytest.approx(1e22)
    assert half.params == pytest.approx(best(2e22) / 2, rel=1e-3)


def test_approaches_that_disagree_beyond_their_intervals_say_so():
    def said(low, high):
        one = Optimum(series="s", approach="envelope", flops=1e22, params=1e9, params_low=low, params_high=high)
        other = Optimum(series="s", approach="surface", flops=1e22, params=2e9, params_low=1.5e9, params_high=3e9)
        return list(disagreements([other, one], 1e22))

    assert said(9e8, 1.1e9) == ["at 1e+22 FLOPs surface says 2e+09 params and envelope 1e+09: further apart than their "
                                "intervals explain"]
    assert said(4e8, 1.9e9) == []  # within both intervals, taken together
    assert said(None, None) == []


def test_series_are_kept_apart_by_the_columns_asked_for():
    runs = pl.concat([sweep(0.002, seed, lab=[name] * 35) for seed, name in enumerate("ab")])
    assert [each.series for each in cvfp.optimum(runs, 1e22, by="lab").sweeps] == ["a", "b"]


def test_series_with_sizes_enough_are_apart_unasked_and_others_are_one_which_is_said():
    runs = pl.concat([sweep(0.002, seed, variant=[name] * 35) for seed, name in enumerate("ab")])
    apart, each = cvfp.optimum(runs, 1e22), cvfp.optimum(runs.filter(variant="a"), 1e22)
    assert [sweep.series.rpartition(":")[2] for sweep in apart.sweeps] == ["a", "b"]
    assert apart.items[2].params == each.items[2].params
    assert not apart.together
    small = sweep(0.002).with_columns(variant=pl.col("params").rank("dense").cast(pl.String))
    one = cvfp.optimum(small, 1e22)
    assert [sweep.runs for sweep in one.sweeps] == [35]
    assert "35 series are fitted as one" in str(one)


@pytest.mark.parametrize(("change", "said"), [
    ({"law": "power-law"}, "the optimum is of params and train_tokens; law 'power-law' is a function of train_tokens"),
    ({"flops": -1.0}, "--flops takes positive numbers"),
    ({"flops": []}, "no budget; give --flops"),
    ({"constraints": "params=3"}, "--constraint takes NAME<=VALUE"),
    ({"constraints": "parms<=3"}, "limits are on params and train_tokens; did you mean 'params'"),
    ({"constraints": ["params<=1e8", "train_tokens<=1e9"]},
     "cannot be spent within params<=1e+08 and train_tokens<=1e+09"),
    ({"inference_tokens": 1e30}, "--flops 1e+22 cannot be spent by C = 6 N D + 2 N 1e+30"),
    ({"options": {"foo": 3}}, "no option 'foo' for chinchilla"),
    ({"convention": "8ND"}, "no run has 8ND; give 6ND, 6ND-non-embedding, or a column of FLOPs; there are: "),
])
def test_what_cannot_be_answered_is_refused_in_one_line(change, said):
    with pytest.raises(UsageError) as error:
        cvfp.optimum(sweep(), **({"flops": 1e22} | change))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_runs_along_a_line_and_runs_of_one_budget_have_no_optimum_and_say_why():
    n = np.geomspace(1e7, 1e10, 9)
    line = pl.DataFrame({"params": n, "train_tokens": 20 * n, "val_loss": loss(n, 20 * n)})
    made = three(cvfp.optimum(line, 1e22))
    assert made["surface"].params is None
    assert "x params in all runs; vary one" in made["surface"].reason
    assert "0 budgets have a minimum between their sizes, needs 3" in made["isoFLOP"].reason
    assert "x params in all runs; vary one" in made["envelope"].reason
    same = pl.DataFrame({"params": 1e8, "train_tokens": 20 * n, "val_loss": loss(1e8, 20 * n)})
    assert "params has 1 distinct value(s), needs 3" in three(cvfp.optimum(same, 1e22))["envelope"].reason
    (said,) = cvfp.optimum(line, [1e21, 1e22]).text(1000).splitlines()  # no table of dashes
    assert said.startswith("frame 1: no best size for 1e21, 1e22 FLOPs by 9 runs; envelope: train_tokens = 20 x ")
    assert "; surface: " in said
    text = cvfp.write_report(line, template="optimum", options={"flops": "1e22"}).text
    assert "\n\nNo approach gives a best size:\n\n- envelope, 1e22 FLOPs: " in text
    one = three(cvfp.optimum(sweep(budgets=1), 1e22))
    assert "1 runs on the envelope, needs 3" in one["envelope"].reason


def test_runs_whose_flops_no_number_holds_are_blamed_and_no_budget_that_nobody_gave():
    table = sweep().with_columns(pl.col("params", "train_tokens") * 1e150)
    said = r"params up to \S+ and train_tokens up to \S+ make more FLOPs than a number"
    for made in (lambda: cvfp.write_report(table, template="scaling"), lambda: cvfp.optimum(table, 1e22)):
        with pytest.raises(UsageError, match=said):
            made()
    with pytest.raises(UsageError, match="--flops takes positive numbers such as 1e21, not inf"):
        cvfp.optimum(sweep(), float("inf"))


def test_a_best_size_of_the_envelope_is_not_known_better_than_the_sizes_that_were_run():
    (made,) = [each for each in cvfp.optimum(sweep(sizes=5, reach=4.0), 1e22) if each.approach == "envelope"]
    assert made.params == pytest.approx(best(1e22), rel=0.01)  # the middle size of every budget
    assert made.params_high / made.params == pytest.approx(np.sqrt(2), rel=1e-3)  # sizes are twice one another
    assert made.params / made.params_low == pytest.approx(np.sqrt(2), rel=1e-3)


def test_a_loss_that_does_not_vary_has_no_minimum_and_is_valid_json(tmp_path):
    sweep().with_columns(val_loss=pl.lit(2.0)).write_csv(tmp_path / "flat.csv")
    done = CliRunner().invoke(app, ["optimum", str(tmp_path / "flat.csv"), "--flops", "1e22", "--json"])
    (made,) = json.loads(done.stdout, parse_constant=pytest.fail)["sweeps"]
    assert [each["params"] for each in (*made["optima"], *made["isoflops"]["budgets"])] == [None] * 8


def test_runs_that_do_not_count_are_said():
    table = sweep(noise=0.003).with_row_index("row").with_columns(
        val_loss=pl.when(pl.col("row") == 3).then(float("nan")).otherwise(pl.col("val_loss"))).drop("row")
    (made,) = cvfp.optimum(table, 1e22).sweeps
    assert (made.runs, made.notes[0]) == (34, "left out: 1 diverged")


@pytest.mark.parametrize("scale", [1e-12, 1, 1e30])
def test_no_number_is_cut_off_in_a_narrow_terminal(scale):
    made = cvfp.optimum(sweep(noise=0.003).with_columns(pl.col("params") * scale), 1e22 * scale)
    text = made.text(80)
    assert max(map(len, text.splitlines())) <= 80
    joined = " ".join(text.split())
    for each in made:
        for value, low, high in ((each.params, each.params_low, each.params_high),
                                 (each.train_tokens, each.train_tokens_low, each.train_tokens_high),
                                 (each.value, each.mean_low, each.mean_high)):
            assert value is None or interval(low, high, method="", value=value) in joined
    rows = [line.split()[:2] for line in text.splitlines()]
    assert sum(row[:1] == ["95"] for row in rows) == sum(row == ["new", "run"] for row in rows) == 3 * (scale == 1)


def test_a_far_budget_and_one_below_the_runs_carry_a_warning():
    far, near = (three(cvfp.optimum(sweep(), flops))["surface"] for flops in (1e24, 1e17))
    assert far.distance == pytest.approx(1000)
    assert any("times the largest flops fitted" in each for each in far.warnings)
    assert any("below the smallest budget that was run" in each for each in near.warnings)


def test_the_command_prints_what_python_gives_and_draws_it(tmp_path):
    table = tmp_path / "sweep.csv"
    sweep(0.003).write_csv(table)
    figure = tmp_path / "f.svg"
    done = CliRunner().invoke(app, ["optimum", str(table), "--flops", "1e22,1e23", "--json", "--figure", str(figure)])
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    made = cvfp.optimum(str(table), [1e22, 1e23])
    assert printed == json.loads(json.dumps(made.as_dict(), default=str))
    assert figure.read_text().startswith("<?xml")
    assert len(made) == made.to_frame().height == len(made.summary().splitlines()) == 6
    for room in (60, 200):
        assert "surface" in made.text(room)
    done = CliRunner().invoke(app, ["optimum", str(table), "--flops", "much"])
    assert done.exit_code == 2
    assert done.stderr == "cvfp: --flops must be a positive number such as 5e6 or 2M, not 'much'\n"


@pytest.mark.parametrize(("lang", "words"), [("en", ("Compute-optimal model size and data", "surface")),
                                             ("ja", ("計算最適なモデルサイズとデータ量", "曲面"))])
def test_a_report_has_the_optimum_in_two_languages(lang, words, tmp_path):
    out = tmp_path / "report.md"
    text = str(cvfp.write_report(sweep(0.003), out, "optimum", lang, options={"flops": "1e22,1e23"}))
    made = three(cvfp.optimum(sweep(0.003), 1e22))["surface"]
    for word in words:
        assert word in text
    assert f"{size(made.params)} [{size(made.params_low)}, {size(made.params_high)}]" in text
    assert (tmp_path / "report_figures" / "isoflops.svg").is_file()


@needs_shared
def test_the_rule_of_twenty_tokens_a_parameter_follows_from_the_published_runs():
    table = pl.read_csv(SHARED / "anchors" / "chinchilla.csv").sort("loss").head(-5)
    made = cvfp.optimum(table, 5.76e23, map={
        "params": "`Model Size`", "train_tokens": "`Training FLOP` / (6 * `Model Size`)", "val_loss": "loss"})
    surface = three(made)["surface"]
    # arXiv:2404.10102: about 20 tokens a parameter, and 70B params for the budget of Chinchilla
    assert surface.tokens_per_param_low < 20 < surface.tokens_per_param_high
    assert surface.params_low < 70e9 < surface.params_high
    a, b, alpha, beta = 477.8, 2143.4, 0.34731, 0.36717
    known = (alpha * a / (beta * b)) ** (1 / (alpha + beta)) * (5.76e23 / 6) ** (beta / (alpha + beta))
    assert surface.params == pytest.approx(known, rel=0.01)
