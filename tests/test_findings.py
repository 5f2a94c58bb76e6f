"""Findings: verdicts where the truth is known, corrections, other people's analyses, what is compared with what."""

import json
from dataclasses import replace
from email import message_from_string

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks_path import findings as benchmark
from cvfp_core import hookimpl, registry
from cvfp_core.claims import findings, inference, matched, verdicts
from cvfp_core.claims.verdicts import LEVEL, of_direction, of_range
from cvfp_core.fitting import fit_all, linear
from cvfp_core.registry.kinds import Analysis
from cvfp_core.schema.claims import Caveat, Finding, Measured
from cvfp_core.schema.records import Record, frame


@pytest.fixture(scope="module")
def simulation():
    return benchmark()


# --- verdicts where the truth is known ------------------------------------------------------------------------------

@pytest.mark.parametrize("which", [
    pytest.param(0, id="nothing", marks=pytest.mark.slow), pytest.param(1, id="lasting differences"),
])
def test_where_there_is_nothing_verdicts_are_wrong_at_the_stated_rate(simulation, which):
    """A small version of benchmarks/findings.py, which has the figures over 500 data sets."""
    truth = simulation.NOTHING[which]
    measured = simulation.wrong(simulation.verdicts(truth, 40, first_seed=1000), truth)
    assert measured["wrong by p alone"] < 0.09
    assert measured["wrong share of verdicts"] <= LEVEL


def test_what_is_true_by_construction_is_supported(simulation):
    counts = simulation.rates(simulation.verdicts(simulation.LEVELS, 10, first_seed=1000))
    for claim in (("er-ppl", "matched"), ("er-term", "beta"), ("er-term", "prediction"), ("er-gap", "correlation"),
                  ("er-gap", "gap"), ("er-gap", "gap over data"), ("er-constant", "constant"),
                  ("iterations-ppl", "matched"), ("train-val-ppl", "matched"), ("context-dim", "val_er"),
                  ("context-dim", "val_ppl")):
        assert counts[claim]["supported"] >= 8, claim
        assert counts[claim]["contradicted"] == 0, claim
    counts = simulation.rates(simulation.verdicts(simulation.EXPONENTS, 10, first_seed=1000))
    for claim in (("alpha-er", "correlation"), ("alpha-change", "curvature")):
        assert counts[claim]["supported"] >= 8, claim


def test_what_is_the_opposite_of_a_claim_is_contradicted(simulation):
    opposite = replace(simulation.LEVELS, of_rank=0.02, rank_of_width=3.0)
    counts = simulation.rates(simulation.verdicts(opposite, 10, first_seed=1000))
    for claim in (("er-ppl", "matched"), ("er-term", "beta"), ("context-dim", "val_er")):
        assert counts[claim]["contradicted"] >= 8, claim
        assert counts[claim]["supported"] == 0, claim


def test_a_rank_that_moves_with_data_is_not_constant(simulation):
    records = simulation.records(simulation.NOTHING[0], 1)
    moved = records.with_columns(pl.col("val_er") - 0.01 * (pl.col("train_tokens").log(2) - 18))
    found = {(f.analysis, f.key): f for f in findings.test_all(moved, [], simulation.registry())}
    assert found["er-constant", "constant"].verdict == "contradicted"
    assert found["er-constant", "constant"].estimate == pytest.approx(-1.0, abs=0.1)


# --- the rules ------------------------------------------------------------------------------------------------------

def measured(estimate, stderr=0.1, dof=6):
    return inference.student(estimate, stderr, dof, n=8, method="")


@pytest.mark.parametrize(("estimate", "claimed", "verdict"), [
    (1.0, "rises", "supported"), (1.0, "falls", "contradicted"), (1.0, "differs", "supported"),
    (-1.0, "differs", "supported"), (-1.0, "rises", "contradicted"), (0.1, "rises", "inconclusive"),
])
def test_a_direction_needs_an_interval_on_one_side_of_zero(estimate, claimed, verdict):
    assert of_direction(measured(estimate), claimed).verdict == verdict


@pytest.mark.parametrize(("estimate", "stderr", "low", "high", "verdict"), [
    (0.0, 0.1, -1, 1, "supported"), (0.0, 1.0, -1, 1, "inconclusive"), (3.0, 0.1, -1, 1, "contradicted"),
    (-3.0, 0.1, -1, 1, "contradicted"), (0.9, 0.1, -1, 1, "inconclusive"), (1.1, 0.1, -1, 1, "inconclusive"),
    (-50.0, 0.1, -np.inf, 2, "supported"), (1.9, 0.1, -np.inf, 2, "inconclusive"),
    (3.0, 0.1, -np.inf, 2, "contradicted"), (0.5, 0.0, -1, 1, "supported"), (1.5, 0.0, -1, 1, "contradicted"),
])
def test_a_range_needs_both_ends_excluded_from_outside_or_one_from_inside(estimate, stderr, low, high, verdict):
    assert of_range(measured(estimate, stderr), low, high).verdict == verdict


def test_nothing_measured_is_inconclusive():
    assert of_direction(Measured(estimate=None), "rises").verdict == "inconclusive"
    assert of_direction(Measured(estimate=1.0, n=1), "rises").verdict == "inconclusive"
    assert of_range(Measured(estimate=1.0, n=1), 0, 2).verdict == "inconclusive"


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=30))
def test_corrected_p_values_are_those_of_scipy(p_values):
    known = [p for p in p_values if p is not None]
    expected = iter(stats.false_discovery_control(known)) if known else iter(())
    assert verdicts.adjusted(p_values) == [None if p is None else pytest.approx(next(expected)) for p in p_values]


# --- numbers --------------------------------------------------------------------------------------------------------

PAIRS = st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=4, max_size=12)


@given(PAIRS)
def test_correlations_are_those_of_scipy(pairs):
    x, y = np.array(pairs, dtype=float).T
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert inference.pearson(x, y).estimate is None
        assert inference.spearman(x, y).estimate is None
        return
    expected = stats.pearsonr(x, y)
    assert inference.pearson(x, y).estimate == pytest.approx(expected.statistic, abs=1e-9)
    if abs(expected.statistic) < 0.999:
        assert inference.pearson(x, y).p_value == pytest.approx(expected.pvalue, abs=1e-9)
        made = inference.pearson(x, y)
        assert (made.low * made.high > 0) == (made.p_value < 0.05)  # the interval is that of the test
        fisher, ours = (np.arctanh([*ends]) for ends in (expected.confidence_interval(), (made.low, made.high)))
        assert ours.mean() == pytest.approx(fisher.mean(), abs=1e-6)
        assert np.ptp(ours) == pytest.approx(np.ptp(fisher), rel=0.07)
    assert inference.spearman(x, y).estimate == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-9)


def test_rank_correlations_of_few_pairs_have_the_exact_p():
    """Four pairs in perfect order: 2 of 24 orders are as extreme, so no claim can follow from them."""
    x = np.arange(4.0)
    assert inference.spearman(x, x).p_value == pytest.approx(2 / 24)
    assert inference.spearman(x, x).least == 5  # so four are no test
    assert inference.spearman(x, x).low is None
    assert inference.spearman(np.arange(5.0), np.arange(5.0)).p_value == pytest.approx(2 / 120)


@given(st.integers(0, 10_000))
def test_slopes_are_those_of_scipy_and_of_intercepts_as_columns(seed):
    rng = np.random.default_rng(seed)
    x, y, strata = rng.normal(size=9), rng.normal(size=9), np.repeat([0, 1, 2], 3)
    plain = stats.linregress(x, y)
    made = inference.slope(x, y)
    assert [made.estimate, made.stderr, made.p_value] == pytest.approx([plain.slope, plain.stderr, plain.pvalue])
    design = np.column_stack([x, *(strata == each for each in range(3))]).astype(float)
    expected = np.linalg.lstsq(design, y, rcond=None)[0][0]
    within = inference.slope(x, y, strata)
    assert within.estimate == pytest.approx(expected)
    assert within.dof == 9 - 3 - 1


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 1.0], [1.0, 2.0]])
def test_few_values_give_what_they_can(values):
    made = inference.mean(np.array(values))
    assert made.n == len(values)
    assert (made.low is None) == (len(values) < 2)
    for function in (inference.pearson, inference.spearman, inference.slope):
        assert function(np.array(values), np.array(values)).p_value is None


# --- what is compared with what -------------------------------------------------------------------------------------

def run(series, size, ppl, *, settings=None, **columns):
    experiment, variant = series.split(":")
    layers, width, window = (int(part[:-1].rstrip("to")) for part in variant.split("_"))
    return Record(**{
        "run_id": f"{series}-{size}-{columns.get('seed', 0)}", "experiment": experiment, "variant": variant,
        "num_layers": layers, "context_dim": width, "num_input_tokens": window, "train_tokens": size, "val_ppl": ppl,
        "settings": json.dumps(settings or {"phase1": {"a": 1}}), **columns,
    })


def series(label, sizes, ppl, **columns):
    return [run(label, size, value, **columns) for size, value in zip(sizes, ppl, strict=True)]


def test_groups_are_compared_at_the_sizes_both_have_and_seeds_are_averaged():
    rows = [*series("a:1L_64d_1tok", [100, 200, 400], [40, 30, 20]),
            *series("a:1L_64d_2tok", [100, 200, 800], [44, 33, 5]),
            run("a:1L_64d_2tok", 100, 44 * 1.21, seed=1)]
    left, right = matched.groups(matched.usable(frame(rows)))
    made = matched.compare(left, right)
    assert made.sizes.tolist() == [100, 200]
    assert made.ratios == pytest.approx([1.1 * 1.1, 1.1])
    assert made.best == (20, 5)
    assert made.largest == (400, 800)
    assert [each.name for each in made.differences] == ["num_input_tokens"]


def test_groups_without_a_size_in_common_get_no_verdict():
    rows = [*series("a:1L_64d_1tok", [100, 200], [40, 30]), *series("a:1L_64d_2tok", [400, 800], [20, 10])]
    found = {(f.analysis, f.key): f for f in findings.test_all(frame(rows), [], registry.installed())}
    pair = found["groups", "a:1L_64d_1tok vs a:1L_64d_2tok"]
    assert (pair.verdict, pair.n, pair.estimate) == ("inconclusive", 0, None)
    assert any("no size in common" in str(each) for each in pair.caveats)
    assert found["input-tokens", "val_ppl"].verdict == "inconclusive"


def test_groups_that_differ_in_two_settings_are_confounded_however_clear_the_difference():
    rows = [*series("a:1L_64d_1tok", [100, 200, 400, 800], [40, 30, 20, 10]),
            *series("b:1L_64d_2tok", [100, 200, 400, 800], [20.1, 15, 10, 5.1], settings={"phase1": {"a": 2}})]
    found = {(f.analysis, f.key): f for f in findings.test_all(frame(rows), [], registry.installed())}
    pair = found["groups", "a:1L_64d_1tok vs b:1L_64d_2tok"]
    assert pair.verdict == "confounded"
    assert pair.values["names"] == "num_input_tokens (1, 2), phase1.a (1, 2)"
    assert found["input-tokens", "val_ppl"].verdict == "confounded"
    assert "phase1.a (1, 2)" in found["input-tokens", "val_ppl"].values["confounded_with"]


def test_a_setting_only_one_group_states_counts_as_a_difference():
    rows = [*series("a:1L_64d_1tok", [100], [40]),
            *series("b:1L_64d_1tok", [100], [40], settings={"phase1": {"a": 1, "b": 2}})]
    left, right = matched.groups(matched.usable(frame(rows)))
    (difference,) = matched.differences(left, right)
    assert (difference.name, difference.left, difference.right) == ("phase1.b", None, 2)


def test_settings_of_a_preset_are_marked_as_assumed():
    rows = frame([*series("a:1L_64d_1tok", [100], [40], settings={"phase1": {"a": 1, "b": 1}}),
                  *series("b:1L_64d_1tok", [100], [40], settings={"phase1": {"a": 2, "b": 2}})])
    rows = rows.with_columns(pl.lit("preset v1; logged: phase1.b").alias("settings_source"))
    left, right = matched.groups(matched.usable(rows))
    assert {each.name: each.assumed for each in matched.differences(left, right)} == {
        "phase1.a": True, "phase1.b": False}


def test_series_at_other_sizes_are_compared_by_their_effects():
    """Each series 1.5 times the one before it, at sizes that overlap in pairs only; the law itself is not even."""
    level = {100: 90.0, 200: 70.0, 400: 20.0, 800: 19.0}
    rows = [*series("a:1L_64d_1tok", [100, 200], [level[100], level[200]]),
            *series("a:1L_65d_1tok", [200, 400], [1.5 * level[200], 1.5 * level[400]]),
            *series("a:1L_66d_1tok", [400, 800], [2.25 * level[400], 2.25 * level[800]]),
            *series("a:1L_67d_1tok", [1600, 3200], [1, 1])]
    made = matched.series_effects(matched.usable(frame(rows)), {"val_ppl": True})
    assert np.diff(made.values["val_ppl"]) == pytest.approx(np.log([1.5, 1.5]))
    assert made.left_out == ("a:1L_67d_1tok",)


def test_the_same_run_under_two_labels_and_holes_in_a_grid_are_found():
    ppl = {"train_ppl": 3.0, "val_er": 0.8}
    rows = [*series("a:1L_64d_1tok", [100, 200], [40, 30], **ppl),
            *series("b:1L_64d_1tok", [100, 200], [40, 30], **ppl),
            *series("b:1L_64d_2tok", [100], [41], **ppl)]
    found = {(f.analysis, f.key): f for f in findings.test_all(frame(rows), [], registry.installed())}
    repeats, missing = found["grid", "repeats"], found["grid", "missing"]
    assert (repeats.verdict, repeats.estimate) == ("contradicted", 2)
    assert (missing.verdict, missing.table.rows) == ("contradicted", (("b", "b:1L_64d_2tok", 200),))


# --- bad and odd input ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("rows", [
    [], [run("a:1L_64d_1tok", 100, 40)], [run("a:1L_64d_1tok", 100, None)],
    [run("a:1L_64d_1tok", 100, 40, status="failed")], series("a:1L_64d_1tok", [100, 200], [40, 30]),
    series("a:1L_64d_1tok", [100, 200, 300], [40, 40, 40], val_er=0.8, train_er=0.8, train_ppl=9.0,
           phase1_iterations=7),
    [*series("a:1L_64d_1tok", [100], [40], val_er=0.8), *series("b:1L_64d_1tok", [100], [40], val_er=0.8)],
    [Record(run_id="x", experiment="e", variant="stranger", num_samples=3, val_ppl=9.0),
     Record(run_id="y", experiment="e", variant="another", num_samples=3, val_ppl=8.0)],
], ids=lambda rows: f"{len(rows)} runs")
def test_few_or_odd_records_never_break_an_analysis(rows):
    for each in findings.test_all(frame(rows), [], registry.installed()):
        assert each.key != "failed", each.values
        assert each.verdict in ("inconclusive", "supported", "confounded", "contradicted")
        if each.p_value is None and each.analysis != "grid":
            assert each.verdict in ("inconclusive", "confounded")


def test_every_finding_is_plain_data_with_messages_that_can_be_filled(simulation):
    records = simulation.records(simulation.LEVELS, 3)
    fits = fit_all(records, ["power-law"])
    made = findings.test_all(records, fits, registry.installed())
    assert {each.analysis for each in made} == set(registry.installed().items(Analysis)) - {"objectives"}  # of one
    for each in made:
        plain = json.loads(json.dumps(each.as_dict(), allow_nan=False))
        assert plain["claim"].format(**plain["values"])
        assert plain["question"].format(**plain["values"])
        for caveat in plain["caveats"]:
            assert caveat["text"].format(**caveat["values"])
        if each.table is not None:
            assert all(len(row) == len(each.table.columns) for row in each.table.rows)
        if each.estimate is not None and each.low is not None:
            assert each.low <= each.estimate <= each.high
    assert [each.as_dict() for each in findings.test_all(records, fits, registry.installed())] == [
        each.as_dict() for each in made]


class Entry:
    """An entry point of a made-up distribution."""

    def __init__(self, name, *items):
        class Plugin:
            @hookimpl
            def cvfp_analyses(self):
                return items

        metadata = message_from_string(f"Name: cvfp-{name}\nVersion: 9.8\n")
        self.name, self.value, self.plugin = name, f"{name}_module", Plugin()
        self.dist = type("Dist", (), {"metadata": metadata})()

    def load(self):
        return self.plugin


def finding(**changed):
    return Finding(**{
        "analysis": "", "key": "k", "question": "?", "claim": "{x}", "values": {"x": 1}, "verdict": "supported",
        "estimate": 1.0, "low": None, "high": None, "unit": "", "n": 1, "method": "", "p_value": 0.04, **changed})


def strangers(analyse, **changed):
    item = Analysis(**{"name": "odd", "title": "Is it?", "analyse": analyse, **changed})
    return registry.load([Entry("stranger", item)], only=[], disabled=[]).require_healthy()


ONE = frame([run("a:1L_64d_1tok", 100, 40)])


def boom(_runs, _fits):
    raise ZeroDivisionError("no idea")


@pytest.mark.parametrize(("analyse", "said"), [
    (boom, "ZeroDivisionError: no idea"), (lambda _runs, _fits: 3, "TypeError"),
    (lambda _runs, _fits: [3], "TypeError"),
    (lambda _runs, _fits: [finding(), finding()], "two findings have the key 'k'"),
    (lambda _runs, _fits: [finding(values={})], "KeyError"),
    (lambda _runs, _fits: [finding(caveats=(Caveat(text="{y}"),))], "KeyError"),
])
def test_what_a_strangers_analysis_does_wrong_is_a_finding_that_says_whose_it_is(analyse, said):
    (made,) = findings.test_all(ONE, [], strangers(analyse))
    assert (made.analysis, made.key, made.verdict, made.n) == ("odd", "failed", "inconclusive", 0)
    text = made.claim.format(**made.values)
    assert "analysis 'odd' of plugin 'stranger' (cvfp-stranger 9.8)" in text
    assert said in text


def test_columns_that_no_run_has_are_named_and_the_analysis_is_not_asked():
    (made,) = findings.test_all(ONE, [], strangers(boom, columns=("val_er", "nonsense")))
    assert (made.key, made.verdict) == ("not measured", "inconclusive")
    assert made.claim.format(**made.values) == "No run has val_er, nonsense."


def test_a_verdict_that_does_not_survive_the_number_of_findings_is_withdrawn_and_says_so():
    def analyse(_runs, _fits):
        return [finding(key=str(i), p_value=p) for i, p in enumerate([1e-4, 0.04, 0.5, 0.6])] + [
            finding(key="c", verdict="confounded", p_value=1e-9), finding(key="n", p_value=None),
            finding(key="few", verdict="inconclusive", p_value=0.3, least=5)]  # which could not have decided

    made = {each.key: each for each in findings.test_all(ONE, [], strangers(analyse))}
    assert [made[key].verdict for key in "01cn"] == ["supported", "inconclusive", "confounded", "supported"]
    assert made["0"].p_adjusted == pytest.approx(4e-4)
    assert made["1"].p_adjusted == pytest.approx(0.08)
    assert made["c"].p_adjusted is made["few"].p_adjusted is None
    assert "corrected for 4 findings" in str(made["1"].caveats[-1])


def test_a_corrected_p_of_five_per_cent_still_carries_a_verdict():
    (made,) = findings.test_all(ONE, [], strangers(lambda _runs, _fits: [finding(p_value=LEVEL)]))
    assert (made.p_adjusted, made.verdict) == (LEVEL, "supported")


@pytest.mark.parametrize("controls", [False, True])
def test_an_analysis_is_given_the_fits_of_its_laws_and_those_of_controls_only_if_it_asks(controls):
    tokens = (100, 200, 400)
    rows = pl.concat([
        frame([Record(run_id=f"{kind}-{size}", experiment="e", variant="v", phase1_mode=kind, train_tokens=size,
                      val_ppl=level * size**-0.5) for size in tokens])
        for kind, level in (("trained", 500.0), ("random", 900.0))])
    fits, given = fit_all(rows, ["power-law", "saturating"]), []

    def analyse(runs, fits):
        given.append((sorted({fit.law for fit in fits}), len(fits), runs.height))
        return []

    findings.test_all(rows, fits, strangers(analyse, laws=("power-law",), controls=controls))
    assert given == [(["power-law"], 2, 6) if controls else (["power-law"], 1, 3)]


@pytest.mark.parametrize(("t", "dof", "p"), [
    (12.7062047, 1, 0.05), (1e6, 1, 2 / np.pi * 1e-6), (1e8, 2, 1e-16), (4.5407029, 3, 0.02), (0.0, 5, 1.0),
])
def test_the_p_value_of_a_t_statistic_is_right_far_out_in_the_tail(t, dof, p):
    """Quantiles from tables; with one degree of freedom p is 2/pi atan(1/t), with two 1 - t / sqrt(2 + t^2)."""
    assert linear.t_p_value(-t, 1.0, dof) == pytest.approx(p, rel=1e-4)
    assert linear.t_p_value(0.0, 0.0, dof) == 1
    assert linear.t_p_value(1.0, 0.0, dof) == 0


def test_the_p_value_of_a_correlation_near_one_has_the_digits_that_the_correlation_lacks():
    """Four points 1e-9 off a line: with two degrees of freedom p = 1 - r, here 4e-19."""
    x = np.array([-1.5, -0.5, 0.5, 1.5])
    off = 1e-9
    measured = inference.pearson(x, x + off * np.array([1.0, -1.0, -1.0, 1.0]))
    assert measured.p_value == pytest.approx(0.4 * off**2, rel=1e-4)
