"""Objectives of Phase 1 side by side: against scipy and plain least squares, on records whose truth is known."""

import json
import re

import numpy as np
import polars as pl
import pytest
from scipy import stats

from cvfp_analyses.objectives import objectives
from cvfp_core import read, write_report
from cvfp_core.claims.matched import usable
from cvfp_core.claims.objectives import study
from cvfp_core.schema.records import frame
from made_objectives import SEEDS, SIZES, made, record


def arrays(records):
    """(objectives, seeds): Val ER and log PPL, means over sizes; the names."""
    rows = frame(records).with_columns(log=pl.col("val_ppl").log())
    table = rows.group_by("objective", "seed", maintain_order=True).agg(pl.col("val_er").mean(), pl.col("log").mean())
    names = table["objective"].unique(maintain_order=True).to_list()
    return *(table[name].to_numpy().reshape(len(names), -1) for name in ("val_er", "log")), names


def test_ranks_ratios_and_intervals_are_those_of_scipy():
    records = made()
    found = study(usable(frame(records)))
    ranks, logs, names = arrays(records)
    assert [each.name for each in found.standings] == [names[i] for i in np.argsort(-ranks.mean(axis=1))]
    assert found.reference == "mcdl"
    base = names.index("mcdl")
    for each in found.standings:
        i = names.index(each.name)
        low, high = stats.t.interval(0.95, 2, ranks[i].mean(), stats.sem(ranks[i]))
        assert (each.val_er.low, each.val_er.high) == pytest.approx((low, high))
        assert each.log_ratio.estimate == pytest.approx((logs[i] - logs[base]).mean())
        if i != base:
            assert each.log_ratio.p_value == pytest.approx(stats.ttest_rel(logs[i], logs[base]).pvalue)
            assert each.er_difference.p_value == pytest.approx(stats.ttest_rel(ranks[i], ranks[base]).pvalue)
    rho = stats.spearmanr(ranks.mean(axis=1), logs.mean(axis=1))
    assert (found.between.estimate, found.between.p_value) == pytest.approx((rho.statistic, rho.pvalue))


def test_within_objectives_it_is_least_squares_with_objectives_and_seeds_taken_off():
    records = made(within=-2.0)
    ranks, logs, names = arrays(records)
    which, seed = np.divmod(np.arange(ranks.size), len(SEEDS))
    design = np.column_stack([100 * ranks.ravel(), np.eye(len(names))[which], np.eye(len(SEEDS))[seed][:, 1:]])
    solved, rest, _, _ = np.linalg.lstsq(design, logs.ravel(), rcond=None)
    dof = ranks.size - design.shape[1]
    stderr = np.sqrt(rest[0] / dof * np.linalg.inv(design.T @ design)[0, 0])
    found = study(usable(frame(records))).within
    assert (found.estimate, found.stderr, found.dof) == pytest.approx((solved[0], stderr, dof))
    assert found.low < -0.02 < found.high < 0


@pytest.mark.parametrize(("effects", "between", "within"), [
    ({"between": -1.0}, "supported", "inconclusive"), ({"between": 1.0}, "contradicted", "inconclusive"),
    ({"within": -2.0}, "inconclusive", "supported"), ({"within": 2.0}, "inconclusive", "contradicted"),
])
def test_an_effect_between_objectives_is_told_from_one_within(effects, between, within):
    found = {each.key: each for each in objectives(usable(frame(made(seed=1, **effects))), [])}
    assert (found["between"].verdict, found["within"].verdict) == (between, within)
    assert found["order"].verdict == "supported"
    assert found["published: hsic"].verdict == "supported"


def test_runs_of_one_objective_say_nothing():
    assert study(usable(frame(made(["odcm"])))) is None
    assert objectives(usable(frame(made(["odcm"]))), []) == []


def test_only_equal_settings_sizes_and_seeds_are_compared():
    records = made(["mcdl", "odcm", "sdl"])
    odd = [record("oacd", seed, size, 0.9, 100.0, settings=json.dumps({"phase1": {
        "mode": "trained", "learning_rate": 0.5, "objective": "oacd"}})) for seed in SEEDS for size in SIZES]
    begun = [record("nuc", 1, SIZES[0], 0.9, 100.0)]
    found = study(usable(frame([*records, *odd, *begun])))
    assert {each.name for each in found.standings} == {"mcdl", "odcm", "sdl"}
    assert set(found.left_out) == {"oacd", "nuc"}
    assert (found.seeds, found.sizes) == (SEEDS, SIZES)
    assert "Left out, as they share no size and seed with the others" in str(objectives(
        usable(frame([*records, *begun])), [])[0].caveats[-1])


def test_controls_stand_beside_the_reference_of_their_settings():
    controls = [record("mcdl", seed, size, 0.5, 1000.0, phase1_mode="untrained", settings=json.dumps(
        {"phase1": {"mode": "untrained", "learning_rate": 0.01}})) for seed in SEEDS for size in SIZES]
    records = made(["mcdl", "odcm"])
    found = study(usable(frame([*records, *controls])))
    _, logs, _ = arrays(records)
    (untrained,) = found.controls
    assert (untrained.name, untrained.runs) == ("untrained", 6)
    assert untrained.log_ratio.estimate == pytest.approx(np.log(1000) - logs[0].mean())


@pytest.mark.parametrize(("lang", "answer"), [
    ("en", "**Between objectives: no, the one with the higher Val ER has the higher Val PPL."),
    ("ja", "**目的関数の間：低くない。Val ER が高い目的関数ほど Val PPL も高い。"),
], ids=["en", "ja"])
def test_the_report_answers_ranks_and_holds_the_published_order_against_it(lang, answer, tmp_path):
    table = tmp_path / "runs.csv"
    frame(made(between=1.0)).write_csv(table)
    text = str(write_report(table, template="objectives", lang=lang))
    assert answer in text
    assert text.index("| 1 | `sdl` | 94.8%") < text.index("| 12 | `hsic` | 37.5%") < text.index("| 12 | `sdl` | 1.150")
    assert "| `hsic` | 12, 36.8% | 12, 37.5% | " in text
    assert "None" not in text
    assert "nan" not in text.lower()


def test_runs_and_summary_say_the_objective_where_it_is_not_the_published_one():
    runs = read(frame([each for name in ("mcdl", "odcm") for each in made([name])]).with_columns(num_samples=10))
    text = re.sub(r"\s+", " ", str(runs))
    assert "study-odcm: 1L_8d_1tok objective: odcm" in text
    assert "objective: mcdl" not in text
    summary = str(write_report(runs, template="summary"))
    assert "### study-odcm: 1L_8d_1tok, objective: odcm" in summary
    assert "### study-mcdl: 1L_8d_1tok\n" in summary
    assert "目的関数: odcm" in str(write_report(runs, template="summary", lang="ja"))
