"""What unfinished runs will end with: against the truth of runs that ended, made-up curves, and textbook formulas."""

import json
import re
from dataclasses import asdict, replace

import numpy as np
import polars as pl
import pytest
from scipy import stats

import benchmarks_path
import cvfp_core as cvfp
import made_grids
from cvfp_core.deciding import kriging
from cvfp_core.deciding.courses import Course, courses
from cvfp_core.deciding.curve_law import by_law
from cvfp_core.deciding.forecast import FinalForecast, forecast
from cvfp_core.deciding.outlook import After, outlook, score
from cvfp_core.errors import UsageError
from cvfp_core.schema import store
from cvfp_core.schema.records import CURVE_SCHEMA, CurvePoint, Record, RunResult, frame
from laws_data import SHARED, needs_shared

BENCHMARK = benchmarks_path.forecasts()


@pytest.fixture(scope="module")
def own():
    return BENCHMARK.read_own()


def course(ends=100.0, *, name="a", rate=0.5, last=12, size=1e5, final=True, **changed):
    """A run whose perplexity falls towards `ends` by a factor of its distance each epoch."""
    steps = np.arange(1, last + 1)
    values = ends * (1 + 5 * rate ** (steps - 1.0))
    return Course(**{"run_id": name, "series": f"e:{name}", "experiment": "e", "response": "val_ppl", "lower": True,
                     "steps": steps, "values": values, "size": size, "limit": 40,
                     "final": float(values.min()) if final else None} | changed)


# --- kriging ----------------------------------------------------------------------------------------------------------

def test_kriging_is_the_textbooks_generalised_least_squares(monkeypatch):
    """Universal formulas with an explicit inverse, for one range and noise; the mixture has then one part."""
    monkeypatch.setattr(kriging, "RANGES", (2.0,))
    monkeypatch.setattr(kriging, "NOISES", (0.1,))
    rng = np.random.default_rng(0)
    x, y, at = rng.standard_normal((7, 2)), rng.standard_normal(7), np.array([0.3, -0.2])
    made = kriging.krige(x, y, at)
    z, z0 = (x - x.mean(axis=0)) / x.std(axis=0), (at - x.mean(axis=0)) / x.std(axis=0)

    def covariance(a, b):
        return np.exp(-((a[:, None] - b) ** 2).sum(axis=-1) / 8) + a @ b.T

    inverse = np.linalg.inv(covariance(z, z) + 0.1 * np.eye(7))
    k, one = covariance(z, z0[None])[:, 0], np.ones(7)
    mean = one @ inverse @ y / (one @ inverse @ one)
    square = (y - mean) @ inverse @ (y - mean) + 6 * kriging.LEAST**2
    variance = covariance(z0[None], z0[None])[0, 0] + 0.1 - k @ inverse @ k + (1 - one @ inverse @ k) ** 2 / (
        one @ inverse @ one)
    assert made.means == pytest.approx([mean + k @ inverse @ (y - mean)])
    assert made.scales == pytest.approx([np.sqrt(square / 6 * variance)])
    assert made.quantile(0.9) == pytest.approx(stats.t.ppf(0.9, 6, made.means[0], made.scales[0]))


def test_kriging_follows_a_line_and_its_intervals_hold():
    """A linear truth with noise of 0.1: the value beyond the points, and 95 % held of 150."""
    held = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        x = rng.uniform(0, 1, (8, 2))
        y = x @ [2.0, -1.0] + 0.1 * rng.standard_normal(8)
        at = rng.uniform(0, 1, 2)
        made, truth = kriging.krige(x, y, at), at @ [2.0, -1.0] + 0.1 * rng.standard_normal()
        held.append(made.quantile(0.025) <= truth <= made.quantile(0.975))
    assert 0.90 <= np.mean(held) <= 0.99


def test_nothing_is_known_along_what_did_not_vary():
    x, y = np.column_stack([np.arange(6.0), np.full(6, 2.0)]), np.arange(6.0) + 0.01 * np.cos(np.arange(6))
    near, far = (kriging.krige(x, y, np.array([2.5, at])) for at in (2.0, 5.0))
    assert far.quantile(0.975) - far.quantile(0.025) > 2 * (near.quantile(0.975) - near.quantile(0.025))


# --- runs that ended --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("place", BENCHMARK.PLACES, ids=lambda place: place[0])
def test_own_runs_are_forecast_at_half_the_error_of_the_plain_way_and_intervals_hold(own, place):
    rows = BENCHMARK.each_from(own, place[1], lambda _, others: others)
    off = np.array([[abs(made.error), abs(plain / made.actual - 1)] for made, plain in rows])
    assert len(rows) == 64
    assert off[:, 0].mean() < 0.2 * off[:, 1].mean()
    assert off[:, 0].mean() < 0.015
    assert 0.90 <= np.mean([made.inside for made, _ in rows]) <= 0.99


@needs_shared
def test_source_logs_are_forecast_at_half_the_error_of_the_plain_way_and_intervals_hold():
    made = BENCHMARK.read_source()
    for _, place in BENCHMARK.PLACES:
        rows = BENCHMARK.each_from(made, place, lambda _, others: others)
        off = np.array([[abs(made.error), abs(plain / made.actual - 1)] for made, plain in rows])
        assert len(rows) == 61
        assert off[:, 0].mean() < 0.5 * off[:, 1].mean()
        assert 0.90 <= np.mean([made.inside for made, _ in rows]) <= 0.99


def test_larger_runs_are_held_by_what_smaller_ones_say(own):
    rows = BENCHMARK.each_from(own, lambda _: 3, lambda course, others: [
        each for each in others if each.size < course.size])
    assert np.mean([made.inside for made, _ in rows]) >= 0.9
    told = [abs(made.error) for made, _ in rows]
    assert np.mean(told) < 0.5 * np.mean([abs(plain / made.actual - 1) for made, plain in rows])


def test_a_score_counts_what_ended_and_no_more(own):
    made = forecast(own[0].upto(3), own[1:])
    assert score([made]).count == 0
    hit, miss = replace(made, actual=made.value), replace(made, actual=made.high * 1.1)
    told = score([made, hit, miss])
    assert (told.count, told.inside) == (2, 1)
    assert told.mean_error == pytest.approx(abs(made.value / (made.high * 1.1) - 1) / 2)


# --- what a forecast is made from -------------------------------------------------------------------------------------

def some(count=8, **changed):
    return [course(60.0 + 10 * i, name=f"r{i}", rate=0.45 + 0.02 * (i % 4), size=1e5 * (1 + i), **changed)
            for i in range(count)]


def test_a_forecast_is_never_worse_than_what_the_run_has_reached():
    made = forecast(course(80.0, name="new", last=12, final=False), some())
    assert made.high <= made.current
    accuracy = [replace(each, response="val_acc", lower=False, values=1 / each.values, final=1 / each.final)
                for each in some()]
    going = course(80.0, name="new", last=6, final=False, response="val_acc", lower=False)
    going = replace(going, values=1 / going.values)
    made = forecast(going, accuracy)
    assert made.low >= made.current
    assert made.low <= 1 / 80.0 <= made.high * 1.001


def test_a_longer_run_counts_as_it_was_at_the_limit_of_this_one_and_one_cut_short_before_it_does_not():
    going = course(90.0, name="new", last=3, limit=6, final=False)
    long, cut = some(), [course(5.0, name=f"c{i}", last=4, limit=4) for i in range(9)]
    made = forecast(going, [*long, *cut])
    assert made.rests_on == tuple(sorted(each.run_id for each in long))
    assert made.value == pytest.approx(90 * (1 + 5 * 0.5**5), rel=0.05)  # what it has after 6 epochs, not at the end
    assert forecast(replace(going, limit=40), long).value == pytest.approx(90.0, rel=0.05)


def test_runs_that_ended_before_this_step_say_nothing_and_too_few_are_said():
    made = forecast(course(name="new", last=10, final=False), some(2))
    assert made.value is None
    assert str(made.reason) == ("2 finished runs reach step 10, and 3 are needed; a run that stops by itself is "
                                "forecast from finished runs only")
    assert "0 finished runs reach step 13" in forecast(course(name="new", last=13, final=False), some()).reason
    assert "1 points of val_ppl so far" in forecast(course(name="new", last=1, final=False), some()).reason


def test_runs_of_other_experiments_are_named_where_its_own_are_too_few():
    made = forecast(course(80.0, name="new", last=3, final=False, experiment="other"), some())
    assert made.value is not None
    assert str(made.warnings[0]) == "by runs of other experiments (e): its own has 0 that reach step 3"


def steps_log(name, length, *, ends=2.0, gain=3.0, rates=None, last=None, size=1e6, final=True, limit=None):
    """A loss that depends on the share of its steps alone."""
    at = np.arange(length // 100, length + 1, length // 100)
    values = ends + gain * (at / length) ** -0.4 * 0.1
    kept = at <= (last or length)
    return Course(run_id=name, series=name, experiment="e", response="val_loss", lower=True, steps=at[kept],
                  values=values[kept], rates=None if rates is None else rates(at / length)[kept], size=size,
                  limit=limit, best=False, final=float(values[-1]) if final else None)


def test_step_logs_of_other_lengths_are_met_at_the_same_share_of_their_steps():
    others = [steps_log(f"r{i}", 1000 * (1 + i), ends=2 + 0.1 * i, gain=2 + 0.3 * i, size=1e6 * (1 + i))
              for i in range(6)]
    going = steps_log("new", 20_000, ends=2.25, gain=2.75, last=6000, size=3.5e6, final=False)
    assert "finished runs took 1000 to 6000 steps" in forecast(going, others).reason
    made = forecast(replace(going, limit=20_000), others)
    assert made.value == pytest.approx(2.25 + 0.275, rel=2e-3)
    assert made.low < 2.525 < made.high


def test_finished_runs_of_another_schedule_are_left_out():
    def constant(share):
        return np.ones(len(share))

    def falling(share):
        return 1 - 0.9 * share

    others = [steps_log(f"r{i}", 1000, ends=2 + 0.1 * i, rates=constant) for i in range(4)]
    others += [steps_log(f"f{i}", 1000, ends=1 + 0.1 * i, rates=falling) for i in range(5)]
    made = forecast(steps_log("new", 1000, last=500, rates=falling, final=False), others)
    assert made.rests_on == tuple(f"f{i}" for i in range(5))
    assert str(made.warnings[0]) == "4 finished runs left out: their learning rate took another course"


def test_without_finished_runs_a_law_of_the_curve_goes_on_where_the_rate_does_not_fall():
    rng = np.random.default_rng(1)
    going = steps_log("new", 4000, last=2000, final=False, limit=4000)
    noisy = replace(going, values=going.values * np.exp(0.002 * rng.standard_normal(len(going.values))))
    made = forecast(noisy, [])
    assert made.method == "curve law"
    assert made.low < 2.3 < made.high
    assert made.value == pytest.approx(2.3, rel=0.02)
    assert "the interval is of law saturating alone" in made.warnings[0]
    falls = replace(going, rates=np.linspace(1, 0.5, len(going.steps)))
    for wrong, why in ((falls, "learning rate falls"), (replace(going, limit=None), "--total STEPS"),
                       (going.upto(400), "needs 16 points beyond its first tenth, and it has 9")):
        assert why in str(by_law(wrong, wrong.limit))


# --- stores -----------------------------------------------------------------------------------------------------------

def record(each, **changed):
    return Record(**{"run_id": each.run_id, "experiment": "e", "variant": each.run_id, "train_tokens": each.size,
                     "phases": 2, "max_epochs": 40, "val_ppl": each.final, "epochs": float(each.last)} | changed)


@pytest.fixture
def folder(tmp_path):
    """A store with eight finished runs, and one after three epochs, the last of which is being written."""
    folder = store.create(tmp_path / "made")
    for each in some():
        store.write(folder, RunResult(record=record(each), curves=tuple(
            CurvePoint(phase=2, step=int(step), metric="val_ppl", value=float(value))
            for step, value in zip(each.steps, each.values, strict=True))))
    going = course(85.0, name="new-n10-s1-0123456789ab", last=4)
    store.begin(folder, asdict(record(going, status="interrupted", val_ppl=None)))
    for step, value in zip(going.steps[:3], going.values, strict=False):
        store.go_on(folder, going.run_id, {"epoch": int(step), "val_ppl": float(value), "val_acc": float("nan"),
                                           "improved": True})
    with (folder / "running" / f"{going.run_id}.jsonl").open("a") as file:
        file.write('{"epoch": 4, "val_p')
    return folder


def finish(folder, ends=85.0):
    going = course(ends, name="new-n10-s1-0123456789ab")
    store.write(folder, RunResult(record=record(going)))


def test_a_run_that_goes_on_can_be_read_until_its_record_is_there(folder):
    records, curves = store.read_running(folder)
    assert records["run_id"].to_list() == ["new-n10-s1-0123456789ab"]
    assert curves.select("step", "metric").rows() == [(1, "val_ppl"), (2, "val_ppl"), (3, "val_ppl")]
    finish(folder)
    assert store.read_running(folder)[0].is_empty()
    assert not list((folder / "running").iterdir())


def test_the_command_forecasts_what_goes_on_keeps_it_and_scores_it(folder):
    said = made_grids.in_process("forecast", folder, "--save", folder=folder).stdout
    (row,) = [line for line in said.splitlines() if line.startswith("new-n10-s1 ")]
    (made,) = cvfp.forecast(folder)
    assert made.low < 85.2 < made.high
    assert f"{made.value:.4g}" in row
    assert made.rests_on == tuple(f"r{i}" for i in range(8))
    assert "1 forecasts" not in said
    assert "no interval" not in said
    scored = json.loads(made_grids.in_process("forecast", folder, "--score", "--json", folder=folder).stdout)
    assert (len(scored["forecasts"]), scored["score"]["count"]) == (1, 0)
    finish(folder)
    scored = json.loads(made_grids.in_process("forecast", folder, "--score", "--json", folder=folder).stdout)
    off = pytest.approx(abs(made.value / course(85.0).final - 1))
    assert scored["score"] == {"count": 1, "inside": 1, "mean_error": off, "median_error": off}
    assert scored["forecasts"][0]["made"][:2] == "20"
    assert scored["forecasts"][0]["rests_on"] == [f"r{i}" for i in range(8)]
    shown = made_grids.in_process("forecast", folder, "--score", folder=folder).stdout
    assert "the interval held 1 of 1" in shown


def test_forecasts_are_added_and_never_changed(folder):
    for _ in range(3):
        cvfp.forecast(folder, save=True)
    kept = sorted((folder / "forecasts").iterdir())
    assert len(kept) == 3
    assert [each.run_id for each in store.read_forecasts(folder, FinalForecast)] == ["new-n10-s1-0123456789ab"] * 3


def test_a_forecast_of_a_run_that_has_ended_is_not_kept(folder):
    with pytest.raises(UsageError, match="r0 has ended, so nothing is forecast of it any more"):
        cvfp.forecast(folder, against=folder, save=True)
    assert not (folder / "forecasts").exists()


@pytest.mark.parametrize(("arguments", "said"), [
    (["--after", "soon"], "--after takes a number of steps or a share of them, such as 3 or 30%, not 'soon'"),
    (["--after", "0%"], "--after takes a number"), (["--after", "99"], "no finished run took more than 99 steps"),
    (["--after", "3", "--save"], "--save keeps forecasts of runs that have not ended"),
    (["--score", "--after", "3"], "--score looks at forecasts that are kept and takes no --after"),
    (["--score"], "no forecasts are kept here"),
    (["--y", "val_bpb"], "no run has a curve of val_bpb over its steps"),
    (["--series", "e:nwe-n10-s1-0123456789ab"],
     "no series 'e:nwe-n10-s1-0123456789ab' to forecast; did you mean 'e:new-"),
])
def test_what_cannot_be_forecast_is_one_line(folder, arguments, said):
    done = made_grids.in_process("forecast", folder, *arguments, folder=folder, code=2)
    assert done.stderr.startswith(f"cvfp: {said}")
    assert len(done.stderr.splitlines()) == 1


def test_where_all_runs_have_ended_the_line_says_what_there_is_and_what_to_do(folder):
    finish(folder)
    done = made_grids.in_process("forecast", folder, folder=folder, code=2)
    assert done.stderr == (
        "cvfp: no run is still going: there are 8 finished ones and 1 others, stopped, diverged "
        "or without a curve; --after 3 forecasts finished runs from "
        "their first 3 steps; of a log of steps say how many a run takes, by --total STEPS, or give finished runs by "
        "--against PATH\n")


def test_finished_runs_may_stand_elsewhere(folder, tmp_path):
    going = course(85.0, name="x", last=3, final=False)
    table = tmp_path / "log.csv"
    pl.DataFrame({"run_id": "x", "train_tokens": 2.5e5, "epoch": going.steps, "max_epochs": 40,
                  "val_ppl": going.values}).write_csv(table)
    (made,) = cvfp.forecast(table, against=folder, map=None)
    assert "3 are needed" in made.reason  # the log's record is its last step, and finished runs keep their best
    (made,) = cvfp.forecast(cvfp.read(table, take="best"), against=folder)
    assert made.low < 85.2 < made.high
    assert made.step == 3


def test_a_result_has_the_forms_of_the_others(folder, tmp_path):
    made = cvfp.forecast(folder, after=3)
    assert len(made) == 8
    table = made.to_frame()
    assert table["error"].to_list() == pytest.approx([each.value / each.actual - 1 for each in made])
    assert made.as_dict()["score"]["count"] == 8
    assert made.summary().splitlines()[-1].startswith("off by ")
    assert "<table>" in made._repr_html_()
    assert all(len(line) <= 80 for line in made.text(80).splitlines())
    cvfp.plot(cvfp.forecast(folder), tmp_path / "f.svg")
    assert "new-n10-s1" in (tmp_path / "f.svg").read_text()
    assert After.read("30%").of(some()[0]) == 4
    assert made.courses[0].final is not None


def test_a_share_of_the_steps_is_asked_for_by_percent(folder):
    made = outlook(cvfp.read(folder).inputs, after=After.read("50%"))
    assert {each.step for each in made.forecasts} == {6}


@needs_shared
def test_a_log_that_ends_within_a_run_is_forecast_from_the_runs_before_it(tmp_path):
    whole = SHARED / "newllm" / "1130_v2" / "output.txt"
    lines = whole.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    end = max(i for i, line in enumerate(lines) if line.startswith("  Epoch 4:")) + 1
    (tmp_path / "going.txt").write_text("".join(lines[:end]), encoding="utf-8")
    (made,) = cvfp.forecast(tmp_path / "going.txt")
    assert (made.step, made.current) == (4, float(re.search(r"val_ppl=([\d.]+)", lines[end - 1])[1]))
    assert made.low < 202.3 < made.high  # the log's own last best
    assert made.value == pytest.approx(202.3, rel=0.05)


def test_a_run_that_a_rule_ended_and_one_that_diverged_teach_nothing():
    rows = [record(course(name="ok")), record(course(name="ended"), status="interrupted", stopped_by="forecast"),
            record(course(name="nan"), status="diverged"), record(course(name="going"), status="interrupted")]
    points = [{"run_id": name, "phase": 2, "step": step, "metric": "val_ppl", "value": 9.0 / step}
              for name in ("ok", "ended", "nan", "going") for step in (1, 2)]
    made = courses(frame(rows), pl.DataFrame(points, schema=CURVE_SCHEMA))
    assert [(each.run_id, each.final is None) for each in made] == [("ok", False), ("going", True)]


def test_losses_of_a_trainer_are_read_as_perplexities_where_these_are_asked_for():
    rows = [Record(run_id="a", experiment="e", train_tokens=1.0, val_loss=2.0, taken_at="last, step 2")]
    points = [{"run_id": "a", "phase": 2, "step": step, "metric": metric, "value": value}
              for metric, value in (("eval/loss", 2.0), ("train/loss", 1.0)) for step in (1, 2)]
    curves = pl.DataFrame(points, schema=CURVE_SCHEMA)
    (loss,) = courses(frame(rows), curves)
    assert (loss.response, loss.best, loss.final) == ("val_loss", False, 2.0)
    assert loss.values == pytest.approx([2.0, 2.0])
    assert loss.beside == pytest.approx([1.0, 1.0])
    (ppl,) = courses(frame(rows), curves, y="val_ppl", total=5)
    assert ppl.values == pytest.approx(np.exp([2.0, 2.0]))
    assert (ppl.final, ppl.limit) == (None, 5)
    with pytest.raises(UsageError, match="no run has a curve of val_acc over its steps; curves there are: eval/loss"):
        courses(frame(rows), curves, y="val_acc")


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_the_report_says_what_the_command_says(folder, lang, tmp_path):
    made = cvfp.write_report(folder, tmp_path / "report.md", template="forecast", lang=lang, options={"after": "3"})
    (going,) = cvfp.forecast(folder)
    assert f"| new-n10-s1 | 3 | {going.current:.4g} | {going.value:.4g} |" in made.text
    told = cvfp.forecast(folder, after=3).score
    assert f"{100 * told.mean_error:.1f}%" in made.text
    assert ("Runs that are still going" in made.text) == (lang == "en")
    assert "courses.svg" in made.text
