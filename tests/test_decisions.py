"""Lights, their back-test, and stop rules: as functions, in a run, on the command line."""

import json
from dataclasses import asdict
from types import SimpleNamespace

import polars as pl
import pytest
from typer.testing import CliRunner

from cvfp_analyses import LIGHTS, STOP_RULES
from cvfp_core import hookimpl
from cvfp_core.claims import decisions
from cvfp_core.claims.findings import test_all as every_finding
from cvfp_core.cli.app import app
from cvfp_core.errors import UsageError
from cvfp_core.protocol.run import run_cell
from cvfp_core.registry.kinds import Iteration, Light, StopRule
from cvfp_core.schema import store
from cvfp_core.schema.records import CURVE_SCHEMA, Record, frame
from cvfp_core.testing import load_only
from laws_data import SHARED, needs_shared
from made_runs import RESIDUAL, made_cell, made_corpus

BY_NAME = {light.name: light for light in LIGHTS}
RULES = {rule.name: rule for rule in STOP_RULES}


@pytest.mark.parametrize(("name", "value", "colour"), [
    ("val_er", 0.801, "green"), ("val_er", 0.80, "yellow"), ("val_er", 0.75, "yellow"), ("val_er", 0.749, "red"),
    ("phase1_iterations", 23, "green"), ("phase1_iterations", 25, "green"), ("phase1_iterations", 26, "yellow"),
    ("phase1_iterations", 30, "yellow"), ("phase1_iterations", 31, "red"),
    ("er_gap", 0.02, "green"), ("er_gap", 0.03, "yellow"), ("er_gap", 0.05, "yellow"), ("er_gap", 0.051, "red"),
    ("er_gap", -0.01, "green"), ("val_er", None, None),
])
def test_lights_change_colour_where_the_source_says(name, value, colour):
    assert decisions.colour(BY_NAME[name], value) == colour


def test_a_lower_bound_is_red_if_it_is_over_the_limit_and_else_tells_nothing():
    iterations = BY_NAME["phase1_iterations"]
    assert decisions.colour(iterations, 40, censored=True) == "red"
    assert decisions.colour(iterations, 20, censored=True) is None


def test_thresholds_are_overridden_by_name_and_must_make_sense():
    made = {each.name: each for each in decisions.with_thresholds(BY_NAME, {"val_er.red": 0.7, "val_er.green": 0.72})}
    assert (made["val_er"].red, made["val_er"].green) == (0.7, 0.72)
    assert made["er_gap"] == BY_NAME["er_gap"]
    for given, said in (({"val_er.rde": 1}, "did you mean 'val_er.red'"), ({"val_er": 1}, "unknown threshold"),
                        ({"val_er.red": "low"}, "must be a number"), ({"val_er.red": True}, "must be a number"),
                        ({"val_er.red": 0.9}, "must be worse than green"),
                        ({"phase1_iterations.red": 3}, "must be worse than green")):
        with pytest.raises(UsageError, match=said):
            decisions.with_thresholds(BY_NAME, given)


def runs(count=6, sizes=(100, 200), *, rank=lambda i: 0.7 + 0.02 * i, ppl=lambda i: 100.0 - i, **columns):
    """`count` series, the better the higher their rank; 10 s in Phase 1 and 30 s in Phase 2 each."""
    return frame([
        Record(run_id=f"{i}-{size}", experiment="e", variant=f"v{i}", train_tokens=size, val_er=rank(i), val_ppl=ppl(i),
               **{"seconds_phase1": 10.0, "seconds_phase2": 30.0, **columns})
        for i in range(count) for size in sizes
    ])


def test_a_light_that_is_always_right_loses_nothing_and_saves_phase_2_of_what_it_stops():
    (made,) = decisions.backtest(runs(), [BY_NAME["val_er"]])
    assert (made.judged, made.stopped, made.worse, made.lost, made.good) == (12, 6, 6, 0, 6)
    assert (made.seconds_saved, made.seconds_total) == (6 * 30, 12 * 40)
    assert made.p_value == pytest.approx(1 / 20)  # of choosing 3 of 6 series
    assert made.series == 6


def test_a_run_in_the_middle_of_its_size_is_neither_worse_nor_lost():
    (made,) = decisions.backtest(runs(5, rank=lambda _: 0.7), [BY_NAME["val_er"]])
    assert (made.stopped, made.ranked, made.worse, made.lost, made.good) == (10, 10, 4, 4, 4)


def test_of_several_lights_any_red_one_stops_a_run():
    """Ranks rise with the series: val_er stops the first three; train_er - val_er is 0.08 too high for the last two."""
    rows = runs().with_columns(train_er=pl.col("val_er") + pl.when(pl.col("variant").is_in(["v4", "v5"]))
                               .then(0.08).otherwise(0.0))
    rank, gap, both = decisions.backtest(rows, [BY_NAME["val_er"], BY_NAME["er_gap"]])
    assert (rank.stopped, gap.stopped, both.stopped) == (6, 4, 10)
    assert (both.rule, both.judged, both.worse, both.lost) == ("any", 12, 6, 4)
    assert both.seconds_saved == 10 * 30


def test_a_light_that_is_always_wrong_loses_what_is_good():
    (made,) = decisions.backtest(runs(ppl=lambda i: 100.0 + i), [BY_NAME["val_er"]])
    assert (made.worse, made.lost) == (0, 6)
    assert made.p_value == 1.0


def test_runs_are_only_compared_with_runs_of_their_size():
    """Every series at a size of its own: nothing is worse or better than anything."""
    rows = pl.concat([runs(1, (100 * (i + 1),), rank=lambda _: 0.7, ppl=lambda _, i=i: 90.0 - i).with_columns(
        pl.lit(f"r{i}").alias("run_id"), pl.lit(f"v{i}").alias("variant")) for i in range(4)])
    (made,) = decisions.backtest(rows, [BY_NAME["val_er"]])
    assert (made.stopped, made.ranked, made.worse, made.lost, made.good, made.p_value) == (4, 0, 0, 0, 0, None)


def test_without_times_nothing_is_said_of_compute():
    (made,) = decisions.backtest(runs(seconds_phase1=None), [BY_NAME["val_er"]])
    assert (made.seconds_saved, made.seconds_total, made.timed) == (None, None, 0)


def test_a_difference_of_columns_can_be_a_light():
    rows = runs(1, (100,)).with_columns(pl.lit(0.78).alias("train_er"))
    (judged,) = decisions.lights(rows, [BY_NAME["er_gap"]])
    assert judged.value == pytest.approx(0.08)
    assert judged.colour == "red"
    (judged,) = decisions.lights(runs(1, (100,)), [BY_NAME["er_gap"]])
    assert (judged.value, judged.colour) == (None, None)


def test_a_light_of_another_plugin_is_tested_like_those_that_come_with_cvfp():
    made = Light(name="mine", title="made", metric="val_er", better="higher", green=0.78, red=0.76)
    stranger = SimpleNamespace(cvfp_lights=hookimpl(lambda: [made]))
    found = {each.key: each for each in every_finding(runs(), [], load_only(stranger, beside=["analyses", "laws"]))
             if each.analysis == "lights"}
    assert set(found) == {*BY_NAME, "mine", "any"}
    assert (found["mine"].estimate, found["mine"].values["stopped"]) == (1.0, 6)


def test_a_light_whose_red_is_better_than_its_green_is_refused():
    with pytest.raises(ValueError, match="must be worse than green"):
        Light(name="x", title="", metric="val_er", better="higher", green=0.1, red=0.2)


# --- stop rules -----------------------------------------------------------------------------------------------------

def course(count, **columns):
    """Iterations 2 to count; each column a function of the iteration."""
    return [Iteration(iteration=i, **{name: value(i) for name, value in columns.items()}) for i in range(2, count + 1)]


def first_stop(rule, iterations):
    return next((each.iteration for n, each in enumerate(iterations, 1) if rule.stops(iterations[:n])), None)


def test_low_rank_stops_at_iteration_20_and_nowhere_else():
    low = course(30, val_er=lambda _: 0.69)
    assert first_stop(RULES["low-er"], low) == 20
    assert first_stop(RULES["low-er"], course(30, val_er=lambda _: 0.70)) is None
    assert first_stop(RULES["low-er"], course(30)) is None


def test_a_convergence_rate_that_does_not_rise_after_iteration_15_stops_at_20():
    rule = RULES["stalled"]
    assert first_stop(rule, course(30, convergence_rate=lambda i: min(i, 15) / 100)) == 20
    assert first_stop(rule, course(30, convergence_rate=lambda i: i / 100)) is None
    assert first_stop(rule, course(30, convergence_rate=lambda i: 0.1 if i < 19 else 0.11)) is None
    assert first_stop(rule, course(30)) is None


def test_a_loss_that_does_not_fall_stops_from_iteration_15_on():
    rule = RULES["loss-not-falling"]
    assert first_stop(rule, course(30, cvfp_loss=lambda _: 1.0)) == 15
    assert first_stop(rule, course(30, cvfp_loss=lambda i: 1 / i)) is None
    assert first_stop(rule, course(30, cvfp_loss=lambda i: abs(i - 20.0))) == 25
    assert first_stop(rule, course(30, loss=lambda _: 1.0)) == 15  # logs hold the whole loss only
    assert first_stop(rule, course(30)) is None


def test_rules_are_evaluated_on_curves_and_back_tested():
    records = runs(2)
    points = [
        {"run_id": f"{i}-{size}", "phase": 1, "step": step, "metric": "convergence_rate",
         "value": step / 100 if i else 0.1}
        for i in range(2) for size in (100, 200) for step in range(2, 41)
    ]
    curves = pl.DataFrame(points, schema=CURVE_SCHEMA)
    found = decisions.stops(records, curves, STOP_RULES)
    assert {(each.run_id, each.rule): each.iteration for each in found if each.iteration} == {
        ("0-100", "stalled"): 20, ("0-200", "stalled"): 20}
    assert {each.rule for each in found} == {"stalled", "loss-not-falling"}  # nobody measured rank on the way
    made = {each.rule: each for each in decisions.backtest_stops(records, curves, STOP_RULES)}
    assert (made["stalled"].judged, made["stalled"].stopped, made["stalled"].worse) == (4, 2, 2)
    assert made["stalled"].seconds_saved == pytest.approx(2 * (30 + 10 * 20 / 40))
    assert made["low-er"].judged == 0


def rule(stops, **changed):
    return StopRule(**{"name": "mine", "title": "", "stops": stops, **changed})


def test_a_run_that_a_rule_ends_is_interrupted_with_the_metrics_of_phase_1_only():
    seen = []

    def stops(iterations):
        seen.append(iterations[-1])
        return "enough" if iterations[-1].iteration == 4 else None

    result = run_cell(made_cell(), RESIDUAL, made_corpus(), lambda _: None, [rule(stops, val_er_at=(3,))])
    record = result.record
    assert (record.status, record.reason, record.stopped_by) == ("interrupted", "stop rule 'mine': enough", "mine")
    assert (record.phase1_iterations, record.phase1_censored) == (4, True)
    assert record.val_er is not None
    assert (record.val_ppl, record.epochs, record.seconds_phase2) == (None, None, None)
    assert record.flops > 0
    assert [each.iteration for each in seen] == [2, 3, 4]
    assert [each.val_er is not None for each in seen] == [False, True, False]
    assert [(p.step, p.value) for p in result.curves if p.metric == "val_er"] == [(3, seen[1].val_er)]


def test_a_rule_that_never_stops_changes_no_bit_of_the_result():
    plain = run_cell(made_cell(), RESIDUAL, made_corpus(), lambda _: None)
    asked = run_cell(made_cell(), RESIDUAL, made_corpus(), lambda _: None, [
        rule(lambda _: None, val_er_at=(2, 5))])
    machine = ("seconds_phase1", "seconds_iteration", "seconds_phase2", "peak_memory", "created")
    first, second = ({k: v for k, v in asdict(each.record).items() if k not in machine} for each in (plain, asked))
    assert first == second


def test_a_rule_that_raises_is_named_and_not_asked_again():
    said, asked = [], []

    def stops(iterations):
        asked.append(iterations[-1].iteration)
        raise RuntimeError("no idea")

    record = run_cell(made_cell(), RESIDUAL, made_corpus(), said.append, [rule(stops)]).record
    assert record.status == "ok"
    assert asked == [2]
    warnings = [event.values["text"] for event in said if event.kind == "warning"]
    assert any("stop rule 'mine' raised RuntimeError: no idea" in text for text in warnings)


def test_a_stopped_run_is_finished_for_its_rule_and_made_anew_without_it(tmp_path):
    folder = store.create(tmp_path / "s")
    record = Record(run_id="r", experiment="e", variant="v", status="interrupted", stopped_by="mine")
    store.write_record(folder, asdict(record))
    assert store.finished(folder, "r", ("other", "mine"))
    assert not store.finished(folder, "r", ("other",))
    assert not store.finished(folder, "r")
    store.forget_failure(folder, "r", ("mine",))
    assert store.recorded(folder, "r")
    store.forget_failure(folder, "r")
    assert not store.recorded(folder, "r")


def test_a_run_failed_otherwise_is_never_finished(tmp_path):
    folder = store.create(tmp_path / "s")
    store.write_record(folder, asdict(Record(run_id="r", experiment="e", variant="v", status="failed")))
    assert not store.finished(folder, "r", ("mine",))


# --- the command line -----------------------------------------------------------------------------------------------

def cvfp(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_check_prints_lights_and_back_test_of_a_store(tmp_path):
    folder = store.create(tmp_path / "s")
    for row in runs().to_dicts():
        store.write_record(folder, row)
    plain = cvfp("check", folder, "--json")
    assert plain.exit_code == 0, plain.output
    made = json.loads(plain.stdout)
    assert set(made) == {"thresholds", "lights", "backtest", "stops", "stops_backtest"}
    assert made["backtest"][0]["stopped"] == 6
    moved = json.loads(cvfp("check", folder, "--json", "--set", "val_er.red=0.71").stdout)
    assert moved["backtest"][0]["stopped"] == 2
    shown = cvfp("check", folder)
    assert "● r" in shown.stdout
    assert all(len(line) <= 80 for line in shown.stdout.splitlines())


def test_a_threshold_or_rule_that_does_not_exist_is_a_usage_error(tmp_path):
    folder = store.create(tmp_path / "s")
    for row in runs(1).to_dicts():
        store.write_record(folder, row)
    bad = cvfp("check", folder, "--set", "er=3")
    assert bad.exit_code == 2
    assert "unknown threshold 'er'" in bad.stderr
    bad = cvfp("run", "--variant", "1L_16d_1tok", "--samples", "2", "--out", tmp_path, "--stop-rule", "stall",
               "--set", "corpus.embed_dim=16", "--set", "corpus.vocab_size=300")
    assert bad.exit_code == 2
    assert "did you mean 'stalled'" in bad.stderr


@needs_shared
def test_on_the_published_runs_the_lights_would_have_lost_good_runs():
    """Found by hand from the logs: 17 runs below 75 %, 22 with more than 30 iterations, no gap above 5 points."""
    made = json.loads(cvfp("check", SHARED / "newllm", "--json").stdout)
    tests = {each["rule"]: each for each in made["backtest"]}
    assert [tests[name]["stopped"] for name in ("val_er", "phase1_iterations", "er_gap")] == [17, 22, 0]
    assert tests["val_er"]["worse"] + tests["val_er"]["lost"] == 17
    assert tests["val_er"]["lost"] > 0
    assert tests["val_er"]["p_value"] > 0.05
    assert {each["rule"]: each["stopped"] for each in made["stops_backtest"]} == {
        "low-er": 0, "stalled": 0, "loss-not-falling": 0}
