"""A configuration nobody trained: the estimator against other computations, intervals, what covariates are worth."""

import json
import re
import shlex

import numpy as np
import polars as pl
import pytest
from scipy import optimize, stats

import cvfp_core as cvfp
from cvfp_core.cli.asked import covariates
from cvfp_core.errors import UsageError
from cvfp_core.fitting import mixed
from cvfp_core.fitting.linear import t_quantile
from cvfp_core.schema.fits import Points
from cvfp_core.schema.quantities import QUANTITIES
from laws_data import SHARED, needs_shared
from test_laws_cli import command

SIZES = 6e4 * 2.0 ** np.arange(4)


def curve(tokens):
    """Log perplexity less its level."""
    log = np.log(tokens / 2e5)
    return -0.5 * log + 0.06 * log**2


def sweep(count, *, between=0.05, within=0.03, effect=0.0, seed=0, experiments=1):
    """Runs of configurations at four sizes, and their levels; effect: of one standard deviation of val_er."""
    rng = np.random.default_rng(seed)
    score = rng.standard_normal(count)
    level = 5.8 + between * rng.standard_normal(count) + effect * score
    rows = [{"experiment": f"e{i % experiments}", "variant": f"v{i:03d}", "train_tokens": size, "width": 10.0 + i % 5,
             "val_er": 0.75 + 0.05 * score[i], "constant": 2.0, "twice": 2 * (10.0 + i % 5),
             "val_ppl": float(np.exp(level[i] + curve(size) + within * rng.standard_normal()))}
            for i in range(count) for size in SIZES]
    return pl.DataFrame(rows), level


def points(runs, *names):
    inputs = ("train_tokens", *names)
    return Points(inputs={name: runs[name].to_numpy() for name in inputs}, response=runs["val_ppl"].to_numpy(),
                  series=runs["variant"].to_numpy().astype(object),
                  declared={name: QUANTITIES[name] for name in (*inputs, "val_ppl")})


@pytest.fixture(scope="module")
def unbalanced():
    """(design, target, groups) of six configurations with two to seven runs, one of them odd."""
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(6), [2, 3, 4, 4, 5, 7])
    size = rng.uniform(-1.5, 1.5, len(groups))
    target = 5.8 - 0.5 * size + 0.06 * rng.standard_normal(6)[groups] + 0.03 * rng.standard_normal(len(groups))
    return np.column_stack([np.ones(len(groups)), size]), target + 0.3 * (groups == 2), groups


@pytest.mark.parametrize("nu", [4.0, np.inf])
def test_the_fit_is_the_maximum_of_the_plain_likelihood_that_scipy_has(unbalanced, nu):
    design, target, groups = unbalanced

    def minus(parameters):
        *coefficients, within, ratio = parameters
        total = 0.0
        for group in range(6):
            rows = groups == group
            rest = target[rows] - design[rows] @ coefficients
            shape = np.exp(2 * within) * (np.eye(rows.sum()) + np.exp(ratio))
            total -= stats.multivariate_t.logpdf(rest, shape=shape, df=nu)
        return total

    plain = optimize.minimize(minus, [5.8, -0.5, -3.0, 0.5], method="Nelder-Mead",
                              options={"maxiter": 4000, "maxfev": 4000, "xatol": 1e-7, "fatol": 1e-10})
    made = mixed.solve(design, target, groups, np.ones((1, 6)), nu)
    np.testing.assert_allclose(made.coefficients[0], plain.x[:2], rtol=1e-5)
    np.testing.assert_allclose(made.variance[0], np.exp(2 * plain.x[2]), rtol=2e-3)
    np.testing.assert_allclose(made.ratio[0], np.exp(plain.x[3]), rtol=5e-3)
    np.testing.assert_allclose(made.log_likelihood[0], -plain.fun, atol=1e-5)


def test_a_configuration_left_out_is_left_out_of_everything(unbalanced):
    design, target, groups = unbalanced
    every = mixed.solve(design, target, groups, np.vstack([np.ones(6), 1 - np.eye(6)]))
    for group in range(6):
        rows = groups != group
        renamed = np.unique(groups[rows], return_inverse=True)[1]
        alone = mixed.solve(design[rows], target[rows], renamed, np.ones((1, 5)))
        np.testing.assert_allclose(every.coefficients[1 + group], alone.coefficients[0], rtol=1e-6)
        np.testing.assert_allclose(every.ratio[1 + group], alone.ratio[0], rtol=1e-4)


def test_what_is_said_of_a_configuration_left_out_is_what_the_others_alone_say():
    """Errors, the variance they calibrate, and the jackknife (Efron & Tibshirani 1993, 11.5), each fit made anew."""
    runs, _ = sweep(8, effect=0.06, seed=3)
    made = mixed.fit(points(runs, "val_er"), degree=1)
    errors, scaled, without = [], [], []
    for label in made.labels:
        own = runs.filter(pl.col("variant") == label)
        alone = mixed.fit(points(runs.filter(pl.col("variant") != label), "val_er"), degree=1)
        told = [alone.at({"train_tokens": row["train_tokens"], "val_er": row["val_er"]}) for row in own.to_dicts()]
        errors.append(np.array([log for log, *_ in told]) - np.log(own["val_ppl"].to_numpy()))
        spread = 1 + made.ratio + np.array([mean**2 for _, mean, _ in told]) / alone.variance
        scaled.append((errors[-1] ** 2 / spread).mean())
        without.append(alone.fitted.coefficients[0, 1:])
    np.testing.assert_allclose(made.errors, np.concatenate(errors), atol=1e-6)
    np.testing.assert_allclose(made.by_configuration, [np.abs(np.expm1(each)).mean() for each in errors], atol=1e-6)
    assert made.left_out == pytest.approx(np.abs(np.expm1(np.concatenate(errors))).mean(), abs=1e-6)
    assert made.variance == pytest.approx(np.mean(scaled), rel=1e-4)
    coefficients, stderr = made.effects
    np.testing.assert_allclose(coefficients, made.fitted.coefficients[0])
    np.testing.assert_allclose(stderr[1:], np.std(without, axis=0) * np.sqrt(7), rtol=1e-3)


def test_a_new_configuration_s_intervals_are_student_s_and_its_covariates_are_shrunk_by_wald_s_statistic():
    runs, _ = sweep(8, effect=0.06, seed=3)
    made = mixed.fit(points(runs, "val_er"))
    assert made.degree == 2
    effect, fitted = made.fitted.coefficients[0, -1], made.fitted
    wald = effect**2 / (fitted.inverse[0, -1, -1] * fitted.variance[0]) * (8 - 1 - 1) / 8
    assert made.kept == pytest.approx(1 - 1 / wald)
    assert 0 < made.kept < 1
    assert made.coefficients[-1] == pytest.approx(made.kept * effect)
    assert made.dof == pytest.approx(8 - 1 - made.kept)
    place = {"train_tokens": 6e5, "val_er": 0.8}
    log, mean, run = made.at(place)
    assert run**2 - mean**2 == pytest.approx(made.variance * (1 + made.ratio))
    told = made.predict(place)
    half = stats.t.ppf(0.975, made.dof)
    assert told.value == pytest.approx(np.exp(log))
    assert (told.mean_low, told.mean_high) == pytest.approx((np.exp(log - half * mean), np.exp(log + half * mean)))
    assert (told.run_low, told.run_high) == pytest.approx((np.exp(log - half * run), np.exp(log + half * run)))
    at_turn, *beside = (made.at({**place, "train_tokens": made.turn * times})[0] for times in (1.0, 1.1, 1 / 1.1))
    assert beside[0] == pytest.approx(beside[1])
    assert min(beside) > at_turn
    assert mixed.fit(points(runs.filter(pl.col("train_tokens") < 4e5), "val_er")).degree == 1


def test_one_odd_configuration_does_not_move_the_others(unbalanced):
    design, target, groups = unbalanced

    def level(odd, nu):
        return mixed.solve(design, target + odd * (groups == 2), groups, np.ones((1, 6)), nu).coefficients[0, 0]

    assert abs(level(0.3, 4.0) - level(-0.3, 4.0)) < abs(level(0.3, np.inf) - level(-0.3, np.inf)) / 3


@pytest.mark.parametrize("effect", [0.0, 0.08])
def test_intervals_hold_new_configurations_in_simulation(effect):
    held = []
    for seed in range(12):
        runs, _ = sweep(8, effect=effect, seed=seed)
        made = mixed.fit(points(runs, "val_er"), degree=2)
        rng = np.random.default_rng(100 + seed)
        for score in rng.standard_normal(40):
            log, _, error = made.at({"train_tokens": 4.8e5, "val_er": 0.75 + 0.05 * score})
            truth = 5.8 + effect * score + curve(4.8e5) + rng.normal(0, 0.05) + rng.normal(0, 0.03)
            held.append(abs(log - truth) <= t_quantile(made.dof) * error)
    assert 0.88 < np.mean(held) < 0.995


def test_a_covariate_that_explains_the_configurations_helps_and_noise_adds_nothing():
    told = cvfp.predict(sweep(16, effect=0.15, between=0.02)[0], {"train_tokens": ["1x", 1e6]}, new={"val_er": 0.85})
    (worth,) = told.configuration.worth
    assert worth.verdict == "helps"
    assert worth.change_high < 0
    assert worth.p_value < 0.05
    assert worth.low < 0.15 / 5 < worth.high  # a standard deviation is five points
    assert told.configuration.kept > 0.9
    np.testing.assert_allclose(np.log(told[0].value), 5.8 + 2 * 0.15 + curve(4.8e5), atol=0.05)
    none = cvfp.predict(sweep(16)[0], 4.8e5, new={"val_er": 0.85}, margin=0.02)
    (worth,) = none.configuration.worth
    assert (worth.verdict, worth.margin) == ("adds nothing that matters", 0.02)
    assert -0.02 < worth.change_low < worth.change_high < 0.02
    (strict,) = cvfp.predict(sweep(16)[0], 4.8e5, new={"val_er": 0.85}, margin=1e-5).configuration.worth
    assert strict.verdict != "adds nothing that matters"
    assert strict.change == worth.change


def test_a_configuration_is_its_variant_in_whatever_experiment_it_stands():
    runs, _ = sweep(6, experiments=1)
    again = runs.with_columns(experiment=pl.lit("again"), val_ppl=pl.col("val_ppl") * 1.01)
    told = cvfp.predict(pl.concat([runs, again]), 4.8e5, new={"val_er": 0.8}).configuration
    assert (len(told.configurations), told.runs) == (6, 48)
    (fit,) = cvfp.fit(pl.concat([runs, again]), "new-configuration")
    assert (fit.series, fit.n, fit.status) == ("6 configurations", 48, "converged")
    apart = cvfp.predict(pl.concat([runs, again]), 4.8e5, new={"val_er": 0.8}, by=["experiment", "variant"])
    assert len(apart.configuration.configurations) == 12


def test_a_parabola_says_nothing_beyond_its_turn_and_a_covariate_outside_is_said():
    runs, _ = sweep(8)
    told = cvfp.predict(runs, {"train_tokens": ["1x", "20x", "1000x"]}, new={"val_er": 0.99})
    assert told[2].value is None
    assert "turns at train_tokens" in told[2].reason
    assert "val_er = 0.99 is outside the configurations'" in told[0].warnings[0]
    assert any("times the largest train_tokens" in text for text in told[1].warnings)
    assert told[0].run_low < told[0].mean_low < told[0].value < told[0].mean_high < told[0].run_high
    with pytest.raises(UsageError, match="has no figure"):
        told.plot()


@needs_shared
def test_the_question_of_the_source_report_is_answered():
    done = json.loads(command("predict", SHARED / "newllm", "--new", "val_er=0.81", "--at", "train_tokens=948524",
                              "--json").stdout)
    (told,), model = done["predictions"], done["configuration"]
    assert told["run_low"] < 168.0 < told["run_high"]  # v3's run of that size, val_er 0.813
    assert abs(told["value"] / 168.0 - 1) < 0.05
    assert (len(model["configurations"]), model["runs"], model["degree"]) == (12, 66, 2)
    assert model["error"] <= 0.0425  # 0.0539 straight, 0.0422 curved by least squares
    (worth,) = model["worth"]
    assert (worth["verdict"], worth["margin"]) == ("adds nothing that matters", 0.01)
    assert worth["low"] < 0 < worth["high"]
    assert any("val_er is taken at the size asked for" in note for note in model["notes"])
    shown = command("predict", SHARED / "newllm", "--new", "val_er=0.81", "--tokens", "948524", width=120).stdout
    for text in ("val_ppl at train_tokens = 948,524", "12 configurations, 66 runs, curved in log train_tokens",
                 "adds nothing that matters", "val_er, per point"):
        assert text in shown


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Files of eight and of three configurations."""
    folder = tmp_path_factory.mktemp("sweeps")
    sweep(8)[0].write_csv(folder / "runs.csv")
    sweep(3)[0].write_csv(folder / "few.csv")
    pl.DataFrame([{**row, "width": 1.0 + (row["variant"] == "v000")} for row in sweep(8)[0].to_dicts()]
                 ).write_csv(folder / "one.csv")
    return folder


WRONG = {
    "runs.csv --new val_re=0.8 --at train_tokens=1e6":
        r"a new configuration needs train_tokens, val_ppl, val_re; no run has val_re; did you mean 'val_er'.*",
    "runs.csv --new val_er=81 --at train_tokens=1e6": r"--new val_er must be a fraction from 0 to 1, not 81.0",
    "runs.csv --new val_er --at train_tokens=1e6": r"--new takes NAME=VALUE, not 'val_er'; such as .*",
    "runs.csv --new val_er=.8 --new val_er=.7 --at train_tokens=1e6": r"--new val_er is given twice; .*",
    "runs.csv --new val_ppl=300 --at train_tokens=1e6": r"--new val_ppl: that is what the forecast is of; .*",
    "runs.csv --new val_er=.8 --at val_er=.8": r"a new .* is predicted at --at train_tokens=VALUE, .* --new .*",
    "runs.csv --new val_er=.8 --at train_tokens=-1": r"train_tokens must be a positive number, .*",
    "runs.csv --new constant=2 --at train_tokens=1e6":
        r"a new configuration cannot be predicted: constant is the same in all configurations, .*; leave it out, .*",
    "runs.csv --new width=2 --new twice=4 --at train_tokens=1e6":
        r"a new configuration cannot be predicted: width, twice cannot be told apart, .*; leave one out",
    "one.csv --new width=2 --at train_tokens=1e6": r".*: width is the same in all configurations without v000, .*",
    "few.csv --new val_er=.8 --at train_tokens=1e6":
        r".*: 3 configuration\(s\) \(v000, v001, v002\), needs 5 for 1 covariate\(s\); add configurations or .*",
    "runs.csv --new val_er=.8 --at train_tokens=1e6 --where 'train_tokens < 7e4'":
        r".*: all 8 runs have train_tokens 60,000; add another size",
    "runs.csv --new val_er=.8 --at train_tokens=1e6 --law saturating": r"--new is predicted by law .*",
    "runs.csv --new val_er=.8 --at train_tokens=1e6 --set E=1": r"--new is predicted by .*; leave out --set E",
    "runs.csv --new val_er=.8 --at train_tokens=1e6 --margin 0": r"--margin must be .* above 0, such as 0.01, not 0.0",
    "runs.csv --at train_tokens=1e6 --margin 0.01": r"--margin is of covariates; give them: --new NAME=VALUE",
    "runs.csv --at train_tokens=1e6 --law new-configuration": r"law '.*' predicts .*: --new NAME=VALUE, .*",
}


@pytest.mark.parametrize("line", WRONG)
def test_what_cannot_be_predicted_is_said_in_one_line(line, table):
    done = command("predict", table / line.split()[0], *shlex.split(line)[1:], code=2)
    said = [each for each in done.stderr.splitlines() if "--where keeps" not in each]
    assert (done.stdout, len(said)) == ("", 1)
    assert re.fullmatch(f"cvfp: {WRONG[line]}", said[0]), said


def test_runs_that_lack_a_covariate_are_counted(table):
    runs = pl.read_csv(table / "runs.csv").with_columns(
        val_er=pl.when(pl.col("variant") == "v001").then(None).otherwise(pl.col("val_er")))
    told = cvfp.predict(runs, 4.8e5, new={"val_er": 0.8})
    assert told.configuration.left_out == ("4 not measured",)
    assert "left out: 4 not measured" in told.text(120)


def test_covariates_are_parsed_as_numbers_or_refused():
    assert covariates(["context_dim=1k", "val_er = 0.8"]) == {"context_dim": 1000.0, "val_er": 0.8}
    assert covariates(None) is None
    with pytest.raises(UsageError, match="--new val_er must be a number"):
        covariates(["val_er=high"])
