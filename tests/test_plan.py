"""The next runs for a target: what is expected of them against simulation, what is bought, and what is refused."""

import json
import tomllib
from dataclasses import replace
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from scipy import optimize, stats
from typer.testing import CliRunner

import cvfp_core as cvfp
import made_grids
from cvfp_core.cli.app import app
from cvfp_core.deciding.beliefs import of_average, of_laws
from cvfp_core.deciding.budgets import Cost
from cvfp_core.deciding.candidates import Cells, box
from cvfp_core.deciding.plan import planned
from cvfp_core.deciding.targets import Target
from cvfp_core.errors import UsageError
from cvfp_core.fitting.averages import scales_of
from cvfp_core.fitting.axes import on_axes
from cvfp_core.registry import installed
from cvfp_core.registry.kinds import Law, LeastSquares
from cvfp_core.reporting.numbers import significant
from cvfp_core.schema import store
from cvfp_core.schema.fits import Points

REGISTRY = installed()
SHARED_EXPONENT = REGISTRY.get(Law, "chinchilla-shared")
AT = {"params": 7e9, "train_tokens": 1.4e11}
NOISE = 0.004


def loss(n, d, e=1.8, a=480.0, b=900.0, alpha=0.35):
    return e + a / n**alpha + b / d**alpha


def sweep(seed=0, noise=NOISE, budgets=4, sizes=4):
    """Runs at equal compute, about the best sizes."""
    flops = np.repeat(np.geomspace(1e18, 1e20, budgets), sizes)
    n = 0.08 * flops**0.5 * np.tile(np.geomspace(0.3, 3, sizes), budgets)
    d = flops / (6 * n)
    noisy = loss(n, d) * np.exp(noise * np.random.default_rng(seed).standard_normal(len(n)))
    return pl.DataFrame({"params": n, "train_tokens": d, "val_loss": noisy})


def curve(sizes, seeds=1, noise=0.01, seed=0, floor=2.0):
    """A power law on top of a floor over tokens."""
    tokens = np.repeat(np.asarray(sizes, dtype=float), seeds)
    clean = floor + 40 * tokens**-0.2
    return pl.DataFrame({"params": 1e7, "train_tokens": tokens, "seed": np.tile(np.arange(seeds), len(sizes)),
                         "val_loss": clean * np.exp(noise * np.random.default_rng(seed).standard_normal(len(tokens)))})


def points(table, *inputs):
    return Points(inputs={name: table[name].to_numpy() for name in inputs}, response=table["val_loss"].to_numpy(),
                  series=np.full(table.height, "s", dtype=object), name="val_loss",
                  declared={"val_loss": REGISTRY.quantity("val_loss")})


def fitted(n, d, y, start=(1.8, 480.0, 900.0, 0.35)):
    """Parameters, covariance and residual variance of the law with one exponent, by scipy."""
    def law(_, e, a, b, alpha):
        return np.log(loss(n, d, e, np.exp(a), np.exp(b), alpha))

    first = (start[0], np.log(start[1]), np.log(start[2]), start[3])
    values, covariance = optimize.curve_fit(law, np.arange(len(n)), np.log(y), first)
    return values, covariance


def half(n, d, y):
    """Half of the 95 % interval of the mean at the target, by scipy, to first order."""
    values, covariance = fitted(n, d, y)

    def said(v):
        return float(np.log(loss(AT["params"], AT["train_tokens"], v[0], np.exp(v[1]), np.exp(v[2]), v[3])))

    slope = optimize.approx_fprime(values, said, 1e-6)
    return stats.t.ppf(0.975, len(n) - 4) * np.sqrt(slope @ covariance @ slope)


def test_the_interval_now_is_that_of_a_fit_by_scipy():
    table = sweep()
    plan = cvfp.plan(table, AT, 1e20, law="chinchilla-shared").plan
    known = half(*(table[name].to_numpy() for name in ("params", "train_tokens", "val_loss")))
    assert np.log(plan.high / plan.low) / 2 == pytest.approx(known, rel=5e-3)  # a profile against first order


@pytest.mark.parametrize(("table", "at", "law"), [
    (curve(np.geomspace(1e6, 1e8, 5)), {"train_tokens": 1e9}, None),
    (curve(np.geomspace(1e6, 1e8, 5)).with_columns(params="train_tokens", train_tokens=1e9), {"params": 1e9}, None),
    (curve(np.geomspace(1e6, 1e8, 5), seeds=2), {"train_tokens": 1e9}, None),
    (curve(np.geomspace(1e6, 1e8, 4), noise=0.05), {"train_tokens": 1e13}, None),
    (sweep(), AT, "chinchilla-shared"),
], ids=["few sizes", "another size", "seeds", "an end at 0", "a surface"])
def test_what_a_plan_says_of_now_is_the_forecast_which_its_runs_narrow(table, at, law):
    plan = cvfp.plan(table, at, 1e21, law=law, y="val_loss").plan
    x = None if "train_tokens" in at else "params"
    (now,) = cvfp.predict(table, at, law=law or "auto", x=x, y="val_loss")
    assert (plan.value, plan.low, plan.high) == pytest.approx((now.value, now.mean_low, now.mean_high))
    assert now.run_low <= plan.low < plan.high <= now.run_high
    steps = [plan, *plan.steps]
    assert all(one.low <= two.low < plan.value < two.high <= one.high for one, two in pairwise(steps))
    to = float if plan.low == 0 else np.log
    assert (to(steps[-1].high) - to(steps[-1].low)) / (to(plan.high) - to(plan.low)) == pytest.approx(steps[-1].of_now)


def test_a_plan_that_no_forecast_says_anything_of_says_so():
    def notes(table, at, law=None):
        return cvfp.plan(table, at, 1e22, law=law, y="val_loss").plan.notes

    assert any("`cvfp predict` gives no interval (no interval, as" in each
               for each in notes(curve(np.geomspace(1e6, 1e8, 4), seeds=3, noise=0.1), {"train_tokens": 1e13}))
    assert any("laws are averaged here: `cvfp predict` takes the one" in each for each in notes(sweep(), AT))
    assert not any("predict" in each for each in notes(sweep(), AT, "chinchilla-shared"))


def test_the_interval_expected_is_what_simulated_runs_give():
    table = sweep()
    plan = cvfp.plan(table, AT, 3e19, law="chinchilla-shared").plan
    chosen = plan.steps[:6]
    n, d, y = (table[name].to_numpy() for name in ("params", "train_tokens", "val_loss"))
    more = np.array([[each.inputs["params"], each.inputs["train_tokens"]] for each in chosen]).T
    values, covariance = fitted(n, d, y)
    rng, widths = np.random.default_rng(1), []
    sigma = np.sqrt(np.square(np.log(y) - np.log(loss(n, d, values[0], *np.exp(values[1:3]), values[3]))).sum() / 12)
    for _ in range(200):
        truth = rng.multivariate_normal(values, covariance)
        runs = loss(*more, truth[0], *np.exp(truth[1:3]), truth[3]) * np.exp(sigma * rng.standard_normal(6))
        widths.append(half(np.append(n, more[0]), np.append(d, more[1]), np.append(y, runs)) ** 2)
    expected = np.log(chosen[-1].high / chosen[-1].low) / 2
    assert chosen[-1].of_now < 0.9
    assert np.sqrt(np.mean(widths)) == pytest.approx(expected, rel=0.1)  # 200 draws: 3 %; the law is not linear


def test_laws_that_differ_are_uncertainty_which_a_run_far_out_removes():
    """Against a regression on draws: the part of the target's variance that the new run does not explain."""
    table = curve([1e6, 3e6, 1e7, 3e7, 1e8], seeds=2)
    laws = [on_axes(REGISTRY.get(Law, name), None, "val_loss") for name in ("power-law", "saturating")]
    laws = [replace(law, fit=None) for law in laws]
    aim, places = Target(kind="place", inputs={"train_tokens": 1e10}), {"train_tokens": np.array([2e6, 1e9])}
    both = of_laws(laws, points(table, "train_tokens"), places, aim, None)
    own = {law.name: of_laws([law], points(table, "train_tokens"), places, aim, None) for law in laws}
    assert sum(both.weights.values()) == pytest.approx(1)
    assert both.covariance[-1, -1] > sum(weight * own[name].covariance[-1, -1] for name, weight in both.weights.items())
    rng, draws = np.random.default_rng(2), []
    for name, weight in both.weights.items():
        count = round(40_000 * weight)
        draws.append(rng.multivariate_normal(own[name].centre, own[name].covariance, count, method="eigh"))
    near, far, goal = np.concatenate(draws).T
    for place, told in enumerate((near, far)):
        seen = told + np.sqrt(both.variance[place]) * rng.standard_normal(len(told))
        left = goal.var() * (1 - np.corrcoef(seen, goal)[0, 1] ** 2)
        assert both.after(place).covariance[-1, -1] == pytest.approx(left, rel=0.05)
        assert both.covariance[-1, -1] - both.gains()[place] == pytest.approx(both.after(place).covariance[-1, -1])
    assert both.gains()[1] > 10 * both.gains()[0]


@pytest.mark.parametrize("target", [AT, "optimum:1e22"])
def test_runs_are_planned_for_one_series_where_each_has_sizes_enough_and_else_for_all_which_is_said(target):
    two = pl.concat([sweep(seed).with_columns(variant=pl.lit(name)) for seed, name in enumerate(["old", "new"])])
    with pytest.raises(UsageError, match=r"2 series .*old.*: runs are planned for one"):
        cvfp.plan(two, target, 1e20)
    small = sweep().with_columns(variant=pl.col("params").rank("dense").cast(pl.String))
    assert "15 series are fitted as one" in str(cvfp.plan(small, target, 1e19))


def test_a_series_of_few_sizes_is_planned_by_the_average_that_forecasts_are_made_of():
    table = curve(np.geomspace(1e6, 1e8, 8), noise=0.003)
    inner, far = cvfp.predict(table, {"train_tokens": [1e7, 3e8]}, y="val_loss")
    law = on_axes(REGISTRY.get(Law, "saturating"), None, "val_loss")
    other = on_axes(REGISTRY.get(Law, "saturating"), None, "val_ppl")
    for made in (inner, far):
        told = of_average(points(table, "train_tokens"), scales_of([law, other], REGISTRY.quantity), np.array([2e8]),
                          Target(kind="place", inputs=made.inputs))
        assert told.centre[-1] == pytest.approx(made.value, rel=2e-3)
        assert told.half() == pytest.approx((made.mean_high - made.mean_low) / 2, rel=0.2)  # quantiles of a mixture
    assert "power-law (val_loss)" in cvfp.plan(table, {"train_tokens": 1e9}, 1e17, y="val_loss").plan.laws


def test_the_best_size_has_the_error_that_follows_from_its_formula():
    table = sweep(noise=0.002, budgets=5, sizes=7)
    law = replace(SHARED_EXPONENT, loss=LeastSquares())
    told = of_laws([law], points(table, "params", "train_tokens"), {"params": np.array([1e9]), "train_tokens":
                   np.array([1e10])}, Target(kind="optimum", flops=1e22), Cost(convention="6ND"))
    values, covariance = fitted(*(table[name].to_numpy() for name in ("params", "train_tokens", "val_loss")))

    def best(v):  # arXiv:2203.15556, equation 4, with one exponent
        return float((v[1] - v[2] + v[3] * np.log(1e22 / 6)) / (2 * v[3]))

    slope = optimize.approx_fprime(values, best, 1e-7)
    assert told.centre[-1] == pytest.approx(best(values), abs=1e-4)
    assert np.sqrt(told.covariance[-1, -1]) == pytest.approx(np.sqrt(slope @ covariance @ slope), rel=0.01)


def arms(factor=1.3, seed=0):
    rng = np.random.default_rng(seed)
    return pl.DataFrame([
        {"optimizer": name, "params": 1e8, "train_tokens": tokens,
         "val_loss": (2 + 100 * (worth * tokens) ** -0.2) * np.exp(0.004 * rng.standard_normal())}
        for tokens in np.geomspace(1e7, 1e9, 8) for name, worth in (("adam", 1.0), ("muon", factor))])


def test_a_multiplier_is_the_offset_of_two_arms_and_both_get_runs():
    table = arms()
    plan = cvfp.plan(table, "multiplier", 1e18, by="optimizer", y="val_loss", law="saturating").plan
    x, second = np.log(table["train_tokens"].to_numpy()), (table["optimizer"] == "muon").to_numpy()

    def law(_, e, a, alpha, offset):
        return np.log(e + np.exp(a - alpha * (x + offset * second)))

    values, covariance = optimize.curve_fit(law, x, np.log(table["val_loss"].to_numpy()), (2, np.log(100), 0.2, 0.2))
    assert plan.value == pytest.approx(np.exp(values[3]), rel=1e-3)
    reach = stats.t.ppf(0.975, 12) * np.sqrt(covariance[3, 3])
    assert np.log(plan.high / plan.low) / 2 == pytest.approx(reach, rel=0.01)
    assert {each.arm for each in plan.steps} == {"adam", "muon"} == set(plan.arms)
    assert all(later.of_now < earlier.of_now for earlier, later in zip(plan.steps, plan.steps[1:], strict=False))


@pytest.mark.parametrize("table", [sweep(), sweep(budgets=2, sizes=3)], ids=["16 runs", "6 runs"])
def test_each_run_is_the_one_that_narrows_the_interval_most_for_its_flops_and_the_budget_holds(table):
    laws, aim = [SHARED_EXPONENT], Target(kind="place", inputs=AT)
    n, d = np.geomspace(3e7, 3e9, 5), np.geomspace(1e9, 4e10, 5)
    cells = Cells(inputs={"params": np.repeat(n, 5), "train_tokens": np.tile(d, 5)},
                  flops=6 * np.repeat(n, 5) * np.tile(d, 5))
    plan = planned(points(table, "params", "train_tokens"), laws, aim, cells, 2e20, registry=REGISTRY)
    alone = [planned(points(table, "params", "train_tokens"), laws, aim, cells.take(np.arange(25) == index), 1e30,
                     registry=REGISTRY, least=0.0).steps[0] for index in range(25)]
    rate = [(each.of_now**-2 - 1) / each.flops for each in alone]
    assert plan.steps[0].inputs == alone[int(np.argmax(rate))].inputs
    assert plan.steps[-1].total == pytest.approx(sum(each.flops for each in plan.steps))
    assert plan.steps[-1].total <= 2e20
    assert [each.number for each in plan.steps] == list(range(1, len(plan.steps) + 1))
    assert len({tuple(each.inputs.values()) for each in plan.steps}) == len(plan.steps)
    assert plan.notes


def test_runs_on_a_line_are_mended_first_and_a_plan_after_that_trusts_a_law():
    n = np.geomspace(1e7, 1e9, 8)
    rng = np.random.default_rng(0)
    line = pl.DataFrame({"params": n, "train_tokens": 20 * n,
                         "val_loss": loss(n, 20 * n) * np.exp(1e-4 * rng.standard_normal(8))})
    plan = cvfp.plan(line, AT, 1e20).plan
    assert "train_tokens = 20 x params in all runs; vary one; these runs fill space until one is" in plan.notes[0]
    assert plan.value is None
    assert plan.steps
    assert all(each.low is None and each.reason == "fills space" for each in plan.steps)
    made = pl.DataFrame([dict(each.inputs) for each in plan.steps]).with_columns(
        val_loss=loss(pl.col("params"), pl.col("train_tokens")))
    ratio = (made["train_tokens"] / made["params"]).to_numpy()
    assert (np.abs(np.log(ratio / 20)) > 0.5).any()
    again = cvfp.plan(pl.concat([line, made]), AT, 1e20).plan
    assert again.value == pytest.approx(loss(*AT.values()), rel=0.01)


def test_too_few_sizes_are_filled_up_at_new_ones_from_the_cheaper_side():
    table = curve([1e6, 1e7], seeds=3)
    plan = cvfp.plan(table, {"train_tokens": 1e9}, 1e18, y="val_loss").plan
    assert plan.notes[0].startswith("no law is trusted yet: 2 sizes, needs 4; ")
    sizes = [each.inputs["train_tokens"] for each in plan.steps]
    assert len(sizes) == len(set(sizes)) == 2
    assert max(sizes) < 1e9


def test_the_run_that_makes_a_law_known_goes_before_one_that_is_farther_from_all_others():
    table = pl.DataFrame({"params": [1e8] * 3 + [1e9] * 3, "train_tokens": [1e9, 3e9, 9e9] * 2, "val_loss": 3.0})
    cells = Cells(inputs={"params": np.array([1e8, 3e8, 1e9]), "train_tokens": np.array([9e11, 3e9, 9e10])},
                  flops=np.array([1.0, 1.0, 1.0]))
    plan = planned(points(table, "params", "train_tokens"), [SHARED_EXPONENT], Target(kind="place", inputs=AT), cells,
                   10.0, registry=REGISTRY)
    assert plan.notes[0].startswith("no law is trusted yet: params has 2 distinct value(s), needs 3; ")
    assert [each.inputs["params"] for each in plan.steps] == [3e8]
    again = curve([1e6, 1e7], seeds=3)
    cells = Cells(inputs={"train_tokens": np.array([1e6, 1e6, 1e6, 2e7, 4e7])},
                  flops=np.array([1.0, 1.1, 1.2, 2.0, 4.0]))
    plan = planned(points(again, "train_tokens"), [on_axes(REGISTRY.get(Law, "saturating"), None, "val_loss")],
                   Target(kind="place", inputs={"train_tokens": 1e10}), cells, 10.0, registry=REGISTRY)
    assert [each.inputs["train_tokens"] for each in plan.steps] == [2e7, 4e7]


def test_a_cheap_run_that_says_nothing_but_of_the_noise_is_worth_its_price_where_that_is_not_known():
    law = on_axes(REGISTRY.get(Law, "saturating"), None, "val_loss")
    cells = Cells(inputs={"train_tokens": np.array([1.1e6])}, flops=np.array([1.0]))
    plan = planned(points(curve([1e6, 1e7, 3e7, 1e8]), "train_tokens"), [law], Target(kind="place", inputs={
        "train_tokens": 1e9}), cells, 10.0, registry=REGISTRY)
    assert plan.steps[0].of_now == pytest.approx(stats.t.ppf(0.975, 2) / stats.t.ppf(0.975, 1), rel=0.1)


def test_cells_are_those_of_the_box_and_unasked_none_with_a_ratio_far_from_all_runs():
    table = sweep()
    given = {"params": (1e8, 1e9), "train_tokens": (3e9, 3e9)}
    for each in cvfp.plan(table, AT, 1e20, cells=given):
        assert 1e8 <= each.inputs["params"] <= 1e9
        assert each.inputs["train_tokens"] == pytest.approx(3e9)
    assert box("params=1e8..1e9, train_tokens=3e9") == given
    known = (table["train_tokens"] / table["params"]).to_numpy()
    for each in cvfp.plan(table, AT, 1e22):
        ratio = each.inputs["train_tokens"] / each.inputs["params"]
        assert known.min() / 4.001 < ratio < known.max() * 4.001


def test_what_a_run_costs_is_counted_as_asked():
    table = curve(np.geomspace(1e6, 1e8, 6)).with_columns(cost=3 * pl.col("train_tokens") ** 1.2)
    plan = cvfp.plan(table, {"train_tokens": 1e9}, 1e12, y="val_loss", convention="cost").plan
    for each in plan.steps:
        assert each.flops == pytest.approx(3 * each.inputs["train_tokens"] ** 1.2)
    plan = cvfp.plan(table, {"train_tokens": "10x"}, 1e17, y="val_loss").plan
    assert plan.target.inputs == {"train_tokens": pytest.approx(1e9)}
    for each in plan.steps:
        assert each.flops == pytest.approx(6e7 * each.inputs["train_tokens"])
    assert "the target itself costs 6e+16 FLOPs" in plan.notes[0]


def test_runs_count_by_their_weights_and_those_cut_short_are_said():
    table = arms().with_columns(w=pl.when(pl.col("train_tokens") < 1e8).then(0.01).otherwise(1.0),
                                phase2_censored=pl.col("train_tokens") > 5e8)
    asked = {"by": "optimizer", "y": "val_loss", "law": "saturating"}
    plain, weighted = (cvfp.plan(table, "multiplier", 1e18, weights=each, **asked).plan for each in (None, "w"))
    assert weighted.value != plain.value
    assert any("runs cut short" in each for each in plain.notes)


def test_arms_of_other_sizes_cost_what_theirs_do_and_a_column_of_flops_is_its_own_cost():
    table = arms().with_columns(params=pl.when(pl.col("optimizer") == "muon").then(3e8).otherwise(1e8))
    for each in cvfp.plan(table, "multiplier", 1e18, by="optimizer", y="val_loss"):
        assert each.flops == pytest.approx(6 * {"adam": 1e8, "muon": 3e8}[each.arm] * each.inputs["train_tokens"])
    over = curve(np.geomspace(1e6, 1e8, 6)).select("val_loss", flops=pl.col("train_tokens") * 6e7)
    for each in cvfp.plan(over, {"flops": 1e18}, 1e17, y="val_loss"):
        assert each.flops == pytest.approx(each.inputs["flops"])


BAD = [
    ({"target": "best"}, "--target takes params=7e9,train_tokens=1.4e11, optimum:1e22"),
    ({"target": "optimum:much"}, "--target optimum must be a positive number, not 'much'"),
    ({"target": {"params": -1.0, "train_tokens": 1e9}}, "--target params must be a positive number"),
    ({"target": {"parms": 1e9, "train_tokens": 1e9}}, "is of parms, train_tokens; did you mean 'params'?; see"),
    ({"target": {"params": 1e9, "train_tokens": 5e9}}, "lies inside the runs (params 2.4e+07 to 2.4e+09, train_tokens"),
    ({"target": "multiplier"}, "say which column tells them apart: --by COLUMN"),
    ({"budget": 0.0}, "--budget takes FLOPs, a positive number"),
    ({"budget": 1e10}, "--budget 1e+10 is below the cheapest cell, "),
    ({"cells": "params=1e8"}, "--cells says nothing of train_tokens; give train_tokens=LOW..HIGH"),
    ({"cells": "params=1e9..1e8,train_tokens=1e9"}, "give positive sizes, the smaller first"),
    ({"cells": "parms=1e8,train_tokens=1e9"}, "--cells parms: the laws are of params, train_tokens; did you mean"),
    ({"cells": "params=a..b"}, "--cells takes a run file, or NAME=LOW..HIGH"),
    ({"cells": "nowhere.toml"}, "cannot read run file 'nowhere.toml'"),
    ({"law": "power-law"}, "the target is of params, train_tokens; law 'power-law' is a function of train_tokens"),
    ({"convention": "8ND"}, "no run has 8ND"),
    ({"arms": ["adam"]}, "--arm adam: arms are those of --target multiplier"),
    ({"x": "flops"}, "--x flops: the target is of params, train_tokens"),
]


@pytest.mark.parametrize(("change", "said"), BAD, ids=[said for _, said in BAD])
def test_what_cannot_be_planned_is_refused_in_one_line(change, said):
    with pytest.raises(UsageError) as error:
        cvfp.plan(sweep(), **({"target": AT, "budget": 1e20} | change))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("table", "asked", "said"), [
    (arms(), {"target": "multiplier", "by": "optimizer", "arms": ["adam", "moon"]}, "no arm 'moon' by optimizer"),
    (arms(), {"target": "multiplier", "by": "optimizer", "cells": "grid.toml"}, "what tells arms of a run file apart "
     "is their variant, not optimizer"),
    (arms().filter(optimizer="adam"), {"target": "multiplier", "by": "optimizer"}, "there are 1: adam; run another"),
    (arms(), {"target": {"train_tokens": 1e10}, "by": "optimizer"}, "2 series (adam, muon): runs are planned for one"),
    (curve([1e6, 1e7, 1e8]).drop("params"), {"target": {"train_tokens": 1e10}}, "what a run costs is not known, as no "
     "run has params"),
    (curve([1e6, 1e7, 1e8, 1e9]).with_columns(val_loss=pl.col("train_tokens").log()),
     {"target": {"train_tokens": 1e10}}, "rises with train_tokens"),
])
def test_runs_that_cannot_be_planned_from_say_why(table, asked, said):
    with pytest.raises(UsageError) as error:
        cvfp.plan(table, **({"budget": 1e20, "y": "val_loss"} | asked))
    assert said in str(error.value)


def test_the_command_prints_what_python_gives_writes_a_table_and_draws_it(tmp_path):
    table, out, figure = tmp_path / "sweep.csv", tmp_path / "next.csv", tmp_path / "f.svg"
    sweep().write_csv(table)
    given = ["plan", str(table), "--target", "params=7B,train_tokens=1.4e11", "--budget", "1e20"]
    done = CliRunner().invoke(app, [*given, "--json", "--figure", str(figure), "-o", str(out)])
    assert done.exit_code == 0, done.output
    made = cvfp.plan(str(table), AT, 1e20)
    assert json.loads(done.stdout) == json.loads(json.dumps(made.as_dict(), default=str))
    rows = pl.read_csv(out)
    assert rows.columns == ["number", "params", "train_tokens", "flops"]
    assert rows.height == len(made) == made.to_frame().height > 2
    assert rows["params"].to_list() == [float(f"{each.inputs['params']:.3g}") for each in made]
    assert rows["params"].dtype == pl.Int64
    assert figure.read_text().startswith("<?xml")
    assert "runs, " in made.summary()
    for line in made.text(80).splitlines():
        assert len(line) <= 80
    assert "<table>" in made._repr_html_()
    for file, said in ((tmp_path / "next.toml", "these runs are a table"), (table, "the runs are read from it")):
        refused = CliRunner().invoke(app, [*given, "-o", str(file)])
        assert refused.exit_code == 2
        assert said in refused.stderr
    assert pl.read_csv(table).height == sweep().height
    for option, said in (("--target", "no target; give --target"), ("--budget", "no budget; give --budget")):
        index = given.index(option)
        refused = CliRunner().invoke(app, given[:index] + given[index + 2 :])
        assert refused.exit_code == 2
        assert said in refused.stderr


def test_a_grid_of_ones_own_is_planned_as_a_run_file_that_runs(tmp_path):
    made_grids.corpus(tmp_path)
    made_grids.in_process("run", *made_grids.options(tmp_path, samples="2,3,5,8,13"), folder=tmp_path)
    grid = tmp_path / "grid.toml"
    shown = made_grids.in_process("run", *made_grids.options(tmp_path, samples="2,3,5,8,13,20,30,40"), "--seed", 1,
                                  "--seed", 42, "--show-config", folder=tmp_path)
    grid.write_text(shown.stdout)
    runs, out = tmp_path / "runs" / "default", tmp_path / "next.toml"
    done = made_grids.in_process("plan", runs, "--target", "train_tokens=1e5", "--budget", "1e11", "--cells", grid,
                                 "-o", out, folder=tmp_path)
    written = tomllib.loads(out.read_text())
    cells = [(each["variant"], each["samples"], each["seed"]) for each in written["cells"]]
    assert cells
    assert "variants" not in written
    assert "samples" not in written
    before = store.read(runs)
    assert not {*cells} & {*before.select("variant", "num_samples", "seed").rows()}
    assert f"next: cvfp run {out}" in " ".join(done.stdout.split())
    counted = json.loads(made_grids.in_process("run", out, "--dry-run", "--json", folder=tmp_path).stdout)
    told = json.loads(made_grids.in_process("plan", runs, "--target", "train_tokens=1e5", "--budget", "1e11", "--cells",
                                            grid, "--json", folder=tmp_path).stdout)
    cost = {(each["variant"], each["num_samples"], each["seed"]): each["flops"] for each in counted}
    assert {(each["cell"]["variant"], each["cell"]["samples"], each["cell"]["seed"]): each["flops"]
            for each in told["steps"]} == cost
    assert all(each["seconds"] > 0 for each in told["steps"])
    made_grids.in_process("run", out, "--out", tmp_path / "runs", "--jobs", 1, folder=tmp_path)
    after = store.read(runs)
    assert {*after.select("variant", "num_samples", "seed").rows()} == {
        *cells, *before.select("variant", "num_samples", "seed").rows()}
    sweep().write_csv(tmp_path / "sweep.csv")
    best = json.loads(made_grids.in_process("plan", tmp_path / "sweep.csv", "--target", "optimum:1e21", "--budget",
                                            "1e11", "--cells", out, "--json", folder=tmp_path).stdout)
    assert best["steps"]
    assert all(each["flops"] == cost[tuple(each["cell"].values())] for each in best["steps"])
    grid.write_text(out.read_text())
    refused = made_grids.in_process("plan", runs, "--target", "train_tokens=1e5", "--budget", "1e11", "--cells", grid,
                                    folder=tmp_path, code=2)
    assert "is still to be run; add sizes or seeds" in refused.stderr


OPTIONS = {"target": "params=7e9,train_tokens=1.4e11", "budget": "1e20"}


@pytest.mark.parametrize(("lang", "words"), [("en", ("The next runs", "Expected 95 % interval")),
                                             ("ja", ("次に行う実行", "予想される95%信頼区間", "で数える"))])
def test_a_report_has_the_plan_in_two_languages(lang, words):
    text = str(cvfp.write_report(sweep(), None, "plan", lang, options=OPTIONS, figures=False))
    last = cvfp.plan(sweep(), AT, 1e20)[-1]
    for word in words:
        assert word in text
    assert f"[{significant(last.low, 4)}, {significant(last.high, 4)}] | {last.of_now:.0%} |" in text
    with pytest.raises(UsageError, match="give --set target="):
        cvfp.write_report(sweep(), None, "plan", lang, figures=False)


@pytest.mark.parametrize("name", ["plan", "plan.md.j2"])
def test_the_report_can_be_extended_and_its_section_taken_in(name, tmp_path):
    file = tmp_path / "mine.md.j2"
    file.write_text(f'{{% extends "{name}" %}}{{% block body %}}{{% include "_plan.md.j2" %}}'
                    '{{ plan.steps | length }} of mine{% endblock %}')
    text = str(cvfp.write_report(sweep(), None, str(file), options=OPTIONS, figures=False))
    assert f"{len(cvfp.plan(sweep(), AT, 1e20))} of mine" in text
    assert "Expected 95 % interval" in text


@pytest.mark.slow
def test_a_report_shows_runs_made_and_planned_and_the_target(tmp_path):
    cvfp.write_report(sweep(), tmp_path / "report.md", "plan", "ja", options=OPTIONS)
    drawn = (tmp_path / "report_figures" / "plan.svg").read_text(encoding="utf-8")
    assert all(word in drawn for word in ("既存の実行", "計画した実行", "目標"))
