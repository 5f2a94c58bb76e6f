"""Controls: series of their own wherever runs are grouped, run beside the trained ones, and what they say of them."""

import json
import re
from dataclasses import replace

import polars as pl
import pytest

import made_grids
from benchmarks_path import controls as benchmark
from cvfp_core import fitting
from cvfp_core.claims import decisions, matched
from cvfp_core.claims.findings import test_all as every_finding
from cvfp_core.registry.kinds import Light
from cvfp_core.schema import records as schema
from cvfp_core.schema import store
from cvfp_core.schema.records import Record, frame
from cvfp_core.schema.settings import Phase1Settings, Settings

MODES = ("trained", "untrained", "zero-context")
LABELS = ["made:1L_128d_2tok", "made:1L_128d_2tok:untrained", "made:1L_128d_2tok:zero-context"]


@pytest.fixture(scope="module")
def simulation():
    return benchmark()


@pytest.fixture
def grid(simulation):
    """Three modes, five sizes, three seeds; the trained ones far below their controls, and with metrics of Phase 1."""
    made = simulation.records(-0.5, 3, 0)
    er = pl.when(pl.col("phase1_mode") != "zero-context").then(0.81)
    return made.with_columns(val_er=er, train_er=er, phase1_iterations=er.is_not_null().cast(pl.Int64) * 20)


def on_controls(records, registry):
    return {each.key: each for each in every_finding(records, [], registry) if each.analysis == "controls"}


# --- kept apart -------------------------------------------------------------------------------------------------------

def test_every_mode_is_a_series_of_its_own(grid):
    assert [group["phase1_mode"].unique().to_list() for group in schema.series(grid)] == [[mode] for mode in MODES]
    usable = matched.usable(grid)
    assert usable["series"].unique(maintain_order=True).to_list() == LABELS
    assert usable.height == grid.height
    assert [each.label for each in matched.groups(usable)] == LABELS


@pytest.mark.parametrize("by", [("experiment", "variant"), ("variant",)])
def test_no_law_is_fitted_across_modes(grid, by):
    fits = fitting.fit_all(grid, by=by)
    assert [fit.series.removeprefix("made:") for fit in fits] == [label.removeprefix("made:") for label in LABELS]
    assert [fit.n for fit in fits] == [15] * 3
    alone = fitting.fit_all(grid.filter(phase1_mode="trained"), by=by)[0]
    assert fits[0].value("A") == alone.value("A") < 0.8 * fits[1].value("A")
    predicted = fitting.predict_all(grid, 1e6, by=by).predictions
    assert len(predicted) == 3
    assert predicted[0] == fitting.predict_all(grid.filter(phase1_mode="trained"), 1e6, by=by).predictions[0]


def test_laws_over_several_series_and_the_choice_of_law_leave_controls_out(grid):
    trained = grid.filter(phase1_mode="trained")
    for law in ("log-linear-er", "sliding-window", "pinned-floor"):
        mixed, alone = ({fit.series: fit for fit in fitting.fit_all(each, [law])} for each in (grid, trained))
        for series, fit in alone.items():
            assert mixed[series].as_dict()["estimates"] == fit.as_dict()["estimates"], law
    (fit,) = fitting.fit_all(grid, ["log-linear-er"])
    assert "30 of controls" in fit.left_out
    assert fitting.choose_law(grid) == fitting.choose_law(trained)


def test_where_there_are_controls_alone_they_are_what_is_looked_at(grid, simulation):
    only = grid.filter(phase1_mode="untrained")
    (fit,) = fitting.fit_all(only)
    assert (fit.series, fit.n, fit.left_out) == (LABELS[1], 15, ())
    assert fitting.choose_law(only).candidates
    found = every_finding(only, [], simulation.registry())
    assert "controls" not in {each.analysis for each in found}
    assert {each.key for each in found} >= {"repeats", "missing"}


def test_lights_and_rules_judge_no_control(grid):
    light = Light(name="val_er", title="", metric="val_er", better="higher", green=0.9, red=0.85)
    assert {each.series for each in decisions.lights(grid, [light])} == {LABELS[0]}
    (test,) = decisions.backtest(grid, [light])
    assert (test.judged, test.series) == (15, 1)
    curves = pl.DataFrame([{"run_id": run, "phase": 1, "step": 2, "metric": "loss", "value": 1.0}
                           for run in grid["run_id"]], schema=schema.CURVE_SCHEMA)
    rule = decisions.StopRule(name="never", title="", stops=lambda _iterations: None)
    assert {each.series for each in decisions.stops(grid, curves, [rule])} == {LABELS[0]}


def test_no_analysis_but_that_of_controls_sees_them(grid, simulation):
    mixed = every_finding(grid, [], simulation.registry())
    alone = every_finding(grid.filter(phase1_mode="trained"), [], simulation.registry())
    seen, expected = ({(each.analysis, each.key): (each.estimate, each.n) for each in found
                       if each.analysis != "controls"} for found in (mixed, alone))
    assert seen == expected


def test_runs_that_do_not_say_their_mode_belong_to_the_trained_ones(grid):
    silent = grid.filter(phase1_mode="trained").with_columns(phase1_mode=pl.lit(None, dtype=pl.String))
    assert matched.usable(silent)["series"].unique().to_list() == [LABELS[0]]
    mixed = pl.concat([silent.head(5), grid.filter(phase1_mode="trained").tail(10)])
    assert len(schema.series(mixed)) == len(fitting.fit_all(mixed)) == 1
    assert fitting.fit_all(mixed.drop("phase1_mode"))[0].n == 15


# --- what they say ----------------------------------------------------------------------------------------------------

@pytest.mark.slow
def test_training_that_does_nothing_is_seldom_said_to_do_something(simulation):
    """A small version of benchmarks/controls.py, which has the figures over 500 data sets."""
    for seeds in (2, 3):
        found = simulation.rates(simulation.verdicts(0.0, seeds, 60, first=1000))
        assert found["alone"] <= 0.11
        assert found["supported"] + found["contradicted"] <= 0.09


@pytest.mark.parametrize(("effect", "verdict"), [(-0.06, "supported"), (0.06, "contradicted")])
def test_what_training_does_is_found_with_its_sign_and_size(effect, verdict, simulation):
    every = simulation.verdicts(effect, 3, 20, first=1000)
    assert simulation.rates(every)[verdict] >= 0.8
    for each in every[0]:
        assert each.values["ratio"] == pytest.approx(1 + effect, abs=0.03)
        assert (each.n, each.values["sizes"], each.values["seeds"]) == (3, 5, 3)
        assert each.low < each.estimate < each.high


def test_one_seed_decides_nothing_and_says_what_it_takes(simulation):
    found = on_controls(simulation.records(-0.05, 1, 0), simulation.registry())
    assert list(found) == [f"{LABELS[0]} vs {mode}" for mode in MODES[1:]]
    for each in found.values():
        assert (each.verdict, each.p_value, each.low, each.n) == ("inconclusive", None, None, 1)
        first, second = map(str, each.caveats)
        assert first.startswith("One seed: ")
        assert "it takes 2 seeds or more" in first
        assert re.fullmatch("By the scatter over sizes, to tell a ratio of this size from 1 would take [2-4] seeds or "
                            r"more\.", second)


def test_a_series_without_a_control_is_said_not_to_be_tested(simulation):
    records = simulation.records(-0.05, 2, 0, modes=("trained", "untrained"))
    found = on_controls(records, simulation.registry())
    assert list(found) == [f"{LABELS[0]} vs untrained", "not tested"]
    missing = found["not tested"]
    assert (missing.verdict, missing.n, missing.estimate) == ("inconclusive", 0, None)
    assert str(missing.caveats[0]) == (
        "Not tested: no control run of made:1L_128d_2tok (zero-context). `cvfp run --controls` makes them.")


def test_a_control_of_other_settings_or_data_is_none_and_another_label_does_not_matter(simulation):
    records = simulation.records(-0.05, 2, 0, modes=("trained", "untrained"))
    control = pl.col("phase1_mode") == "untrained"
    other = json.dumps(replace(Settings(), phase1=Phase1Settings(mode="untrained", max_iterations=9)).as_dict())
    for changed in ({"settings": pl.lit(other)}, {"corpus_hash": pl.lit("other")}, {"variant": pl.lit("1L_64d_2tok")}):
        ((name, value),) = changed.items()
        strange = records.with_columns(pl.when(control).then(value).otherwise(pl.col(name)).alias(name))
        assert list(on_controls(strange, simulation.registry())) == ["not tested"], name
    elsewhere = records.with_columns(
        pl.when(control).then(pl.lit("random")).otherwise(pl.col("experiment")).alias("experiment"))
    assert f"{LABELS[0]} vs untrained" in on_controls(elsewhere, simulation.registry())


@pytest.mark.parametrize("seeds_differ", [False, True])
def test_only_runs_of_equal_settings_are_compared_where_a_series_mixes_them(simulation, seeds_differ):
    """Two stores under one label: at another learning rate training is ten times worse, and there is no control."""
    records = simulation.records(-0.05, 3, 0, modes=("trained", "untrained"))
    if seeds_differ:
        records = records.with_columns(pl.when(phase1_mode="untrained").then(pl.col("seed") + 10)
                                       .otherwise(pl.col("seed")).alias("seed"))
    other = json.dumps(replace(Settings(), phase1=Phase1Settings(learning_rate=0.2)).as_dict())
    worse = records.filter(phase1_mode="trained").with_columns(
        pl.lit(other).alias("settings"), pl.col("val_ppl") * 10, pl.format("other-{}", "run_id").alias("run_id"))
    alone = on_controls(records, simulation.registry())[f"{LABELS[0]} vs untrained"]
    mixed = on_controls(pl.concat([records, worse]), simulation.registry())[f"{LABELS[0]} vs untrained"]
    assert mixed.values == alone.values
    assert str(mixed.caveats[0]) == ("The series is of 2 different settings. Each is compared with controls of equal "
                                     "settings only; there are such for 1.")
    control = worse.with_columns(phase1_mode=pl.lit("untrained"), run_id=pl.format("control-{}", "run_id"),
                                 seed=pl.col("seed") + 10 * seeds_differ)
    both = on_controls(pl.concat([records, worse, control]), simulation.registry())[f"{LABELS[0]} vs untrained"]
    assert str(both.caveats[0]).endswith("there are such for 2.")
    assert both.values["ratio"] == pytest.approx(alone.values["ratio"] ** 0.5)  # the other's is 1


def test_only_sizes_and_seeds_that_both_have_are_paired(simulation):
    records = simulation.records(-0.05, 3, 0, modes=("trained", "untrained"))
    control = pl.col("phase1_mode") == "untrained"
    holes = records.filter(~(control & ((pl.col("seed") == 2) | (pl.col("train_tokens") == 5_000))))
    each = on_controls(holes, simulation.registry())[f"{LABELS[0]} vs untrained"]
    assert (each.values["seeds"], each.values["sizes"]) == (2, 4)
    assert [row[0] for row in each.table.rows] == [10_000, 20_000, 40_000, 80_000]
    apart = records.with_columns(pl.when(control).then(pl.col("seed") + 10).otherwise(pl.col("seed")).alias("seed"))
    each = on_controls(apart, simulation.registry())[f"{LABELS[0]} vs untrained"]
    assert (each.verdict, each.p_value, each.values["seeds"]) == ("inconclusive", None, 0)
    assert "no seed in common" in str(each.caveats[0])
    assert each.values["ratio"] == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize(("unigram", "verdict", "above"), [(3000.0, "supported", 0), (1500.0, "contradicted", 6)])
def test_every_run_is_held_against_the_unigram_model(unigram, verdict, above, simulation):
    records = simulation.records(0.0, 3, 0).with_columns(unigram_ppl=pl.lit(unigram))
    (each,) = [f for f in every_finding(records, [], simulation.registry()) if f.analysis == "unigram"]
    expected = int((records.filter(phase1_mode="trained")["val_ppl"] >= unigram).sum())
    assert (each.verdict, each.estimate, each.n) == (verdict, expected, 15)
    assert (expected > 0) == (above > 0)
    assert bool(each.caveats) == (above > 0)


# --- run and reported -------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A grid of one variant that was run with its controls, two seeds; it is only looked at."""
    folder = tmp_path_factory.mktemp("controls")
    made_grids.corpus(folder)
    options = [*made_grids.options(folder, samples="4,8,16"), "--seed", "1", "--seed", "2"]
    made_grids.in_process("run", *options, folder=folder)
    folder.joinpath("said.txt").write_text(
        made_grids.in_process("run", *options, "--controls", folder=folder).stdout)
    return folder


def test_controls_enter_the_experiment_and_differ_in_their_mode_alone(trained):
    records = store.read(trained / "runs" / "default")
    assert records.height == 18
    every = [json.loads(text) for text in records["settings"].to_list()]
    assert [each["phase1"].pop("mode") for each in every] == records["phase1_mode"].to_list()
    assert all(each == every[0] for each in every)
    assert records["phases"].unique().to_list() == [2]


def test_a_control_that_fails_is_still_told_apart(tmp_path, monkeypatch):
    def fail(*_arguments):
        raise MemoryError("none left")

    monkeypatch.setattr("cvfp_core.protocol.run.run_cell", fail)
    made_grids.corpus(tmp_path)
    options = made_grids.options(tmp_path, variants=("1L_16d_1tok", "transformer_1L_8d_2tok"), samples="4")
    said = made_grids.in_process("run", *options, "--controls", folder=tmp_path, code=3).stdout
    found = store.read(tmp_path / "runs").select("variant", "phases", "phase1_mode", "status").rows()
    assert found == [("1L_16d_1tok", 2, mode, "failed") for mode in MODES] + [
        ("transformer_1L_8d_2tok", 1, None, "failed")]
    assert "1L_16d_1tok, untrained n=4: failed: out of memory on cpu: MemoryError: none left" in " ".join(said.split())


def test_no_stop_rule_ends_a_control(tmp_path):
    made_grids.corpus(tmp_path)
    options = made_grids.options(tmp_path, samples="4", short=("--set", "phase1.max_iterations=30",
                                                               "--set", "phase1.context_noise=1.0"))
    made_grids.in_process("run", *options, "--controls", "--stop-rule", "stalled", folder=tmp_path)
    found = store.read(tmp_path / "runs").select("phase1_mode", "status").rows()
    assert found == [("trained", "interrupted"), ("untrained", "ok"), ("zero-context", "ok")]


def test_tables_name_the_control_and_the_plan_has_a_row_for_each_seed(trained):
    said = (trained / "said.txt").read_text()
    for mode in MODES[1:]:
        assert f"1L_16d_1tok  control: {mode}" in said
        assert f"\n1L_16d_1tok:{mode} " in said
    assert said.count("§ a control, whose Phase 1 was not trained; the report tests, seed by seed, whether"
                      ) == 1
    assert made_grids.in_process("show", trained / "runs" / "default", folder=trained).stdout == said
    options = [*made_grids.options(trained, samples="4"), "--seed", "1", "--seed", "2", "--controls", "--dry-run"]
    plan = made_grids.in_process("run", *options, folder=trained).stdout
    assert [line.split()[:2] for line in plan.splitlines()[1:7]][1::3] == [["1L_16d_1tok,", "untrained"]] * 2
    assert "seed" in plan.splitlines()[0]
    rows = json.loads(made_grids.in_process("run", *options, "--json", folder=trained).stdout)
    assert [(row["control"], row["seed"]) for row in rows] == [
        (mode, seed) for seed in (1, 2) for mode in (None, "untrained", "zero-context")]


def test_no_run_of_a_control_computes_more_than_the_plan_says_at_most(trained):
    options = [*made_grids.options(trained, samples="4"), "--controls", "--dry-run", "--json"]
    rows = json.loads(made_grids.in_process("run", *options, folder=trained).stdout)
    most = {row["control"] or "trained": row["flops"] for row in rows}
    made = store.read(trained / "runs").filter(pl.col("num_samples") == 4)
    flops = dict(made.select("phase1_mode", "flops").rows())
    assert flops.keys() == most.keys()
    assert all(flops[mode] <= most[mode] for mode in MODES)
    assert most["zero-context"] < most["untrained"] < most["trained"]


@pytest.mark.parametrize("template", ["summary", "phase1-to-ppl"])
@pytest.mark.parametrize(("effect", "seeds", "said"), [
    (0.0, 3, "does not beat its control ({}) beyond the spread of seeds."),
    (0.3, 3, "is worse than its control ({})."),
    (-0.3, 3, "beats its control ({})."),
    (-0.3, 1, "beats its control ({}) is undecided: with one seed the spread of seeds is not known."),
])
def test_reports_say_plainly_what_the_controls_say(effect, seeds, said, template, simulation, tmp_path):
    records = simulation.records(effect, seeds, 4)
    records.write_parquet(tmp_path / "made.parquet")
    text = made_grids.in_process("report", tmp_path / "made.parquet", "--template", template, folder=tmp_path).stdout
    for mode in MODES[1:]:
        assert said.format(mode) in text
        assert f"1L_128d_2tok{'' if template == 'summary' else ' (made)'}, control: {mode}" in text
    assert "unigram model: made:1L_128d_2tok" in text


def test_reports_say_that_nothing_was_tested_and_in_japanese_too(simulation, tmp_path):
    simulation.records(0.0, 3, 0, modes=("trained",)).write_parquet(tmp_path / "made.parquet")
    english, japanese = (made_grids.in_process("report", tmp_path / "made.parquet", "--lang", lang, "--template",
                                               "summary", folder=tmp_path).stdout for lang in ("en", "ja"))
    assert "Not tested, as there is no control run: made:1L_128d_2tok (untrained, zero-context)." in english
    assert "対照の実行がないため検定していない" in japanese


def reported(records, folder, *options):
    """The report in English and Japanese, by default the summary, the lines of either."""
    options = options if "--template" in options else ("--template", "summary", *options)
    records.write_parquet(folder / "made.parquet")
    return [made_grids.in_process("report", folder / "made.parquet", "--lang", lang, *options, folder=folder)
            .stdout.splitlines() for lang in ("en", "ja")]


UNTRAINED = pl.col("phase1_mode") == "untrained"


@pytest.mark.parametrize("template", ["summary", "phase1-to-ppl"])
@pytest.mark.parametrize(("changed", "english", "caveat", "japanese"), [
    ({"train_tokens": pl.col("train_tokens") + 1}, "they have no size in common.**",
     "  - They have no size in common: anything said of them would be an unmatched comparison.",
     "（共通のサイズがない）。**"),
    ({"seed": pl.col("seed") + 10}, "they have no seed in common.**",
     "  - They have no seed in common, so nothing is known of what seeds differ by.", "（共通のシードがない）。**"),
])
def test_reports_say_why_a_control_decides_nothing(changed, english, caveat, japanese, template, simulation, tmp_path):
    ((name, value),) = changed.items()
    records = simulation.records(-0.3, 3, 0, modes=("trained", "untrained")).with_columns(
        pl.when(UNTRAINED).then(value).otherwise(pl.col(name)).alias(name))
    one, two = reported(records, tmp_path, "--template", template)
    (place,) = [i for i, line in enumerate(one) if f"- **Whether {LABELS[0]} beats its control (untrained) is undecided"
                in line]
    assert english in one[place]
    assert one[place + 1] == caveat
    assert "with one seed" not in "".join(one)
    assert any(f"{LABELS[0]} が対照（学習なし）に勝るかは判定できない" in line and japanese in line for line in two)


@pytest.mark.parametrize("effect", [-0.02, 0.02])
def test_a_verdict_withdrawn_by_the_correction_is_not_said_to_be_one_within_the_spread(effect, simulation, tmp_path):
    def withdrawn(records):
        return any(each.p_value is not None and each.p_value <= 0.045 and each.verdict == "inconclusive"
                   for each in on_controls(records, simulation.registry()).values())

    records = next(made for number in range(60)
                   if withdrawn(made := simulation.records(effect, 3, number, modes=("trained", "untrained"))))
    one, two = reported(records, tmp_path)
    (line,) = [line for line in one if f"Whether {LABELS[0]} beats its control (untrained) is undecided" in line]
    assert "undecided once corrected for the number of claims tested.** Ratio of Val PPL" in line
    assert "beyond the spread" not in "".join(one)
    low, high = map(float, re.search(r"\[([\d.]+), ([\d.]+)\]", line).groups())
    assert high < 1 or low > 1
    assert any("検定した主張の数について補正すると判定できない。" in line for line in two)


def test_reports_say_that_the_tests_failed_and_not_that_there_are_no_controls(simulation, tmp_path, monkeypatch):
    def fail(_runs, _fits):
        raise ValueError("no such luck")

    for name in ("against_controls", "against_unigram"):
        monkeypatch.setattr(f"cvfp_analyses.controls.{name}", fail)
    one, two = reported(simulation.records(0.0, 2, 0), tmp_path)
    for name, tail in (("controls", " Whether Phase 1 was worth its training is not known."), ("unigram", "")):
        failed = f"analysis '{name}' of plugin 'analyses' (cvfp 0.1.0) failed: ValueError: no such luck"
        assert any(line.startswith(f"- **Not tested: {failed}") and line.endswith(f"**{tail}")
                   for line in one)
        assert any(line.startswith(f"- **検定していない：analysis '{name}'") for line in two)
    assert "no control run" not in "".join(one)


def test_without_a_finished_run_reports_say_that_nothing_was_measured(simulation, tmp_path):
    records = simulation.records(0.0, 2, 0).with_columns(status=pl.lit("diverged"), val_ppl=pl.lit(None, pl.Float64))
    one, _ = reported(records, tmp_path)
    assert "- **Not tested: No run has val_ppl.** Whether Phase 1 was worth its training is not known." in one


def test_the_catalogue_has_what_a_mixed_series_is_told(simulation, tmp_path):
    records = simulation.records(-0.05, 2, 0, modes=("trained", "untrained"))
    other = json.dumps(replace(Settings(), phase1=Phase1Settings(learning_rate=0.2)).as_dict())
    more = records.filter(~UNTRAINED).with_columns(pl.lit(other).alias("settings"), pl.col("val_ppl") * 2,
                                                   pl.format("other-{}", "run_id").alias("run_id"))
    one, two = reported(pl.concat([records, more]), tmp_path)
    assert any("is of 2 different settings" in line for line in one)
    assert any("2通りの異なる設定" in line for line in two)


ELSEWHERE = ("Whether training Phase 1 beats its controls is tested in the reports `summary`, `phase1-to-ppl` and "
             "`audit`.")
IN_JAPANESE = "Phase 1 の学習が対照に勝るかは、テンプレート `summary`、`phase1-to-ppl`、`audit` のレポートで検定する。"


@pytest.mark.slow
def test_the_other_reports_say_which_series_are_controls_and_where_they_are_tested(simulation, tmp_path):
    records = simulation.records(-0.3, 2, 0)
    one, two = reported(records, tmp_path, "--template", "fits", "--no-figures")
    assert (f"Controls of Phase 1, whose contexts were not trained: {LABELS[1]}, {LABELS[2]}. {ELSEWHERE}") in one
    assert any(line.endswith(IN_JAPANESE) for line in two)
    groups = ("--template", "compare", "--set", f"a={LABELS[1]}", "--set", "b=made")
    one, two = reported(records, tmp_path, *groups)
    assert [line for line in one if ELSEWHERE in line] == [
        f"{LABELS[1]} is a control of Phase 1: its contexts were not trained. {ELSEWHERE}"]
    assert any(line.endswith(IN_JAPANESE) for line in two)
    trained = records.filter(phase1_mode="trained")
    other = trained.with_columns(experiment=pl.lit("other"), run_id=pl.format("other-{}", "run_id"))
    both = pl.concat([trained, other])
    one, _ = reported(both, tmp_path, "--template", "compare", "--set", "a=made", "--set", "b=other")
    assert "ontrol" not in "".join(one)
    one, _ = reported(trained, tmp_path, "--template", "fits", "--no-figures")
    assert "ontrol" not in "".join(one)


def test_a_series_can_be_compared_with_its_control_by_name(simulation, tmp_path):
    simulation.records(-0.3, 2, 0).write_parquet(tmp_path / "made.parquet")
    said = made_grids.in_process(
        "report", tmp_path / "made.parquet", "--template", "compare", "--set", "a=made:1L_128d_2tok:untrained", "--set",
        "b=made", folder=tmp_path).stdout
    assert "Val PPL of made relative to made:1L" in said
    assert "| phase1.mode | untrained | trained |" in said
    assert "At equal data, made is better." in said


def test_a_folder_of_controls_alone_has_nothing_to_judge(tmp_path):
    runs = [Record(run_id=f"r{n}", experiment="a", variant="1L_8d_1tok", phase1_mode="untrained", num_samples=n,
                   train_tokens=n, val_ppl=100.0 / n, val_er=0.5) for n in (1, 2, 4)]
    frame(runs).write_parquet(tmp_path / "made.parquet")
    said = made_grids.in_process("check", tmp_path / "made.parquet", folder=tmp_path).stdout
    assert said == "nothing to judge: no finished run has a Phase 1 that was trained\n"
