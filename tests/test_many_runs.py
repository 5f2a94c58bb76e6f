"""Very many runs and series: some of them are taken, spread evenly, and it is said."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import special
from typer.testing import CliRunner

import cvfp_core as cvfp
from cvfp_core.cli.app import app
from cvfp_core.deciding import optimum
from cvfp_core.errors import CvfpWarning, UsageError
from cvfp_core.fitting import auto, averages, fit_all, points, posterior, selection
from cvfp_core.fitting.linear import LONG, t_share
from cvfp_core.fitting.run import find, grouped
from cvfp_core.ingesting.reading import read
from cvfp_core.registry import installed
from cvfp_core.reporting import sweep
from cvfp_core.reporting.figures import report as figures
from cvfp_core.reporting.view import FITTED, Asked, Facts
from cvfp_core.reporting.write import find as template
from cvfp_core.reporting.write import write
from cvfp_core.results import comparisons, forecasts, plots
from cvfp_core.results.printed import ROWS, about
from cvfp_core.results.runs import ask
from cvfp_core.schema import series

REGISTRY = installed()


def _records(count: int, sizes: int, *, apart: bool = False) -> pl.DataFrame:
    """Series of a power law with an exponent of -0.3 and noise of 1 %; apart: at sizes of their own."""
    rng = np.random.default_rng(0)
    tokens = [np.geomspace(1e5, 1e9, sizes) * (1 + 0.01 * index * apart) for index in range(count)]
    return pl.DataFrame({
        "variant": np.repeat([f"v{index}" for index in range(count)], sizes), "experiment": "e", "status": "ok",
        "train_tokens": np.concatenate(tokens),
        "val_ppl": np.concatenate([3e3 * each**-0.3 * np.exp(0.01 * rng.standard_normal(sizes)) for each in tokens]),
    }).with_row_index("run_id").with_columns(pl.col("run_id").cast(pl.String))


def _text(records: pl.DataFrame, folder: Path, name: str, **options: float) -> str:
    records.write_csv(folder / "runs.csv")
    inputs = read([folder / "runs.csv"], REGISTRY)
    return write(inputs, template(name, REGISTRY), REGISTRY, Asked(options=options)).text


@pytest.mark.parametrize(("counts", "most"), [((1000,), 50), ((300, 5, 40), 60), ((5,) * 400, 500), ((7, 9), 100)])
def test_runs_that_are_taken_are_spread_over_series_and_sizes(counts: tuple[int, ...], most: int) -> None:
    ends = [3, sum(counts) - 2]
    rows = series.spread(counts, most, ends)
    of = np.repeat(np.arange(len(counts)), counts)
    assert len(rows) <= min(most, sum(counts))
    assert set(ends) <= set(rows)
    assert sorted(set(rows)) == list(rows)
    for each in set(of[rows]):  # of a series that is taken, the smallest and the largest size
        assert {np.flatnonzero(of == each)[0], np.flatnonzero(of == each)[-1]} <= set(rows)
    if len(counts) * series.FEWEST <= most:
        assert len(set(of[rows])) == len(counts)
    gaps = np.diff(rows)[~np.isin(rows[1:], ends) & ~np.isin(rows[:-1], ends) & (np.diff(of[rows]) == 0)]
    assert len(set(counts)) > 1 or gaps.max() - gaps.min() <= 1


def test_a_law_is_fitted_to_some_of_very_many_runs_which_the_fit_says() -> None:
    records = _records(1, 3 * points.MOST)
    (fit,) = fit_all(records, ["power-law"])
    assert fit.n == points.MOST
    assert fit.reason == "5,000 of 15,000 runs are taken, spread evenly"
    assert fit.ranges["train_tokens"] == (records["train_tokens"].min(), records["train_tokens"].max())
    alpha = fit.estimate("alpha")
    assert alpha.low is not None
    assert alpha.high is not None
    assert alpha.low < -0.3 < alpha.high
    assert alpha.high - alpha.low < 0.001


def test_a_forecast_rests_on_some_of_the_many_runs_of_a_series_which_it_says() -> None:
    (made,) = auto.predict_all(_records(1, 2 * auto.FEWER), 1e10).predictions
    assert "200 of 400 runs are taken, spread evenly" in made.warnings
    assert made.run_low is not None
    assert made.run_high is not None
    assert made.run_low < 3e3 * 1e10**-0.3 < made.run_high


def test_weights_of_the_runs_taken_are_1_on_average() -> None:
    records = _records(1, 2 * points.MOST).with_columns(weight=1.0 + pl.int_range(pl.len()) % 2)
    (points_,) = grouped(points.weighted(records, "weight"))
    assert points_.weights is not None
    assert points_.weights.mean() == pytest.approx(1.0)


def test_a_law_is_chosen_from_some_of_many_series_which_the_choice_says(monkeypatch: pytest.MonkeyPatch) -> None:
    records = _records(12, 6)
    assert auto.choose_law(records).reason.endswith(" over 12 series")
    monkeypatch.setattr(auto, "TRIED", 24)
    choice = auto.choose_law(records)
    assert choice.reason.endswith(" over 4 series of 12")
    assert {each.series for each in choice.candidates if each.series} == {4}


def test_a_back_test_of_many_sizes_has_some_folds_each_as_if_fitted_alone() -> None:
    law = find("saturating", REGISTRY)
    x = np.geomspace(1e5, 1e9, 100)
    targets = np.log(20 + 3e3 * x**-0.3) + 0.01 * np.random.default_rng(0).standard_normal((2, 100))
    scores = selection.score(law, {"train_tokens": x}, targets)
    seen = selection.spread_folds(3, 100)
    assert scores.errors.shape == (2, len(seen)) == (2, selection.FOLDS)
    assert (seen[0], seen[-1]) == (3, 99)
    curve = selection.Curve(law, {"train_tokens": x})
    for fold, m in enumerate(seen):
        past = selection.solve(curve, targets, weights=np.broadcast_to(np.arange(100) < m, targets.shape))
        error = curve.fitted(past.parameters)[:, m] - targets[:, m]
        assert np.abs(scores.errors[:, fold]) == pytest.approx(np.abs(error))


def test_ends_of_a_linearised_law_are_those_of_its_profile_where_runs_are_many() -> None:
    x = np.geomspace(1e5, 1e9, 150)
    targets = np.log(20 + 3e3 * x**-0.3) + 0.01 * np.random.default_rng(0).standard_normal((2, 150))
    curve = selection.Curve(find("saturating", REGISTRY), {"train_tokens": x})
    optimum = selection.solve(curve, targets)
    about = {"variance": optimum.rss / 147, "dof": 147}
    linear, profiled = (np.array(ends(curve, targets, np.ones_like(targets), optimum, {"train_tokens": np.array([2e9])},
                                      **about)) for ends in (selection.linear_ends, selection.run_ends))
    assert linear[0] == pytest.approx(profiled[0])
    assert (linear[2] - linear[1]) == pytest.approx(profiled[2] - profiled[1], rel=0.02)


def test_shares_of_students_t_are_scipys() -> None:
    t = np.r_[-np.inf, -40, np.linspace(-8, 8, 201), 40, np.inf]
    dof = np.r_[1:120, 1000, 40_000][:, None].astype(float)
    every = np.broadcast_to(t, (len(dof), len(t)))
    assert t_share(dof, every) == pytest.approx(special.stdtr(dof, every), abs=2e-12)
    assert LONG in dof
    assert np.isnan(t_share(dof[:1], np.array([[np.nan]]))).all()


def test_a_report_is_of_some_of_many_runs_and_says_so(tmp_path: Path) -> None:
    text = _text(_records(3, 40), tmp_path, "summary", **{"limits.runs": 30})
    assert "30 runs in 3 series. They are some of 120 runs, spread evenly" in text
    assert "- 90: more than a report takes, which spreads them evenly" in text
    assert len([line for line in text.split("### e: v1")[1].split("###")[0].splitlines() if line.startswith("|")]) \
        == 2 + 10
    assert "some of" not in _text(_records(3, 40), tmp_path, "summary")


def test_a_report_lists_200_series_and_no_more_than_1000_runs(tmp_path: Path) -> None:
    text = _text(_records(210, 5), tmp_path, "summary")
    assert "... and 10 more; `cvfp fit --json` and `cvfp predict --json` list all." in text
    assert "More than 1,000 runs are not listed here" in text
    assert "### " not in text


def test_fits_of_every_law_are_of_some_of_many_series_and_say_of_how_many_not(tmp_path: Path) -> None:
    records = _records(FITTED + 3, 3)
    text = _text(records, tmp_path, "fits")
    own = text.split("## power-law")[1].split("\n## ")[0]
    assert "The fits of 3 more series are left out; `cvfp fit --law power-law` makes all." in own
    assert own.count("**e:v") == FITTED
    shared = text.split("## pinned-floor")[1].split("\n## ")[0]  # one law of all series
    assert "The fits of 3 more series are left out; `cvfp fit --law pinned-floor` makes all." in shared
    assert shared.count("**e:v") == FITTED


def test_a_law_of_two_sizes_is_drawn_at_few_of_many_params(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n, d = 10 ** rng.uniform(6, 9, 60), 10 ** rng.uniform(8, 11, 60)
    loss = (1.69 + 406.4 / n**0.34 + 410.7 / d**0.28) * np.exp(0.01 * rng.standard_normal(60))
    pl.DataFrame({"params": n, "train_tokens": d, "val_loss": loss}).write_csv(tmp_path / "runs.csv")
    facts = Facts(read([tmp_path / "runs.csv"], REGISTRY), REGISTRY, Asked(law="kaplan", figures="f"))
    plot = figures._sections(facts, str)
    assert plot is not None
    drawn = [mark for panel in plot.panels for mark in panel.marks if type(mark).__name__ == "Dots"]
    assert len(drawn) == figures.HUES
    assert sum(len(mark.x) for mark in drawn) == 60


def test_sizes_that_vary_apart_are_told_of_all_series_at_once_as_of_each_by_numpy() -> None:
    rng = np.random.default_rng(0)
    of, n = np.repeat(np.arange(300), 6), np.exp(rng.normal(size=(300, 6)))
    noise = 10 ** rng.uniform(-3, 0.5, (300, 1)) * rng.normal(size=(300, 6))
    d = np.where(rng.random((300, 6)) < 0.03, -1.0, n * np.exp(noise))
    n[::7, 2:] = n[::7, :1]  # two params
    records = pl.DataFrame({"experiment": "e", "variant": [f"v{each}" for each in of], "status": "ok",
                            "params": n.ravel(), "train_tokens": d.ravel()})
    told = sweep.by_series(records, sweep.BOTH)
    for row, one, other in zip(told.iter_rows(named=True), n, d, strict=True):
        logs = np.log([one[other > 0], other[other > 0]])
        least = min(len(np.unique(each)) for each in logs)
        apart = least >= sweep.FEWEST and abs(np.corrcoef(logs)[0, 1]) < sweep.STRAIGHT
        assert (row["_apart"], row["_runs"], row["_num_params"]) == (apart, 6, len(np.unique(one)))
        assert row["_apart"] == sweep.apart(records.filter(pl.col("variant") == row["variant"]))
    assert told["_label"].to_list() == [f"e:v{each}" for each in range(300)]
    assert 60 < told["_apart"].sum() < 240


def test_of_many_series_the_first_are_printed_and_the_last_line_says_how_to_have_all() -> None:
    fits = cvfp.fit(_records(ROWS + 7, 4))
    lines = fits.text(80).splitlines()
    assert len(fits) == ROWS + 7
    assert sum(line.startswith("e:v") and line.split()[1] == "4" for line in lines) == ROWS
    assert lines[ROWS + 2] == "and 7 more series; --where keeps some, --json (in Python to_frame()) has all"
    few = cvfp.fit(_records(ROWS, 4)).text(80)
    assert sum(line.startswith("e:v") and line.split()[1] == "4" for line in few.splitlines()) == ROWS
    assert "more series" not in few


def test_of_many_forecasts_the_first_are_printed() -> None:
    made = cvfp.predict(_records(ROWS + 7, 4), 1e10, "power-law")
    lines = made.text(80).splitlines()
    assert sum(line.startswith("e:v") and "power-law" in line for line in lines) == ROWS
    assert "and 7 more series; --where keeps some, --json (in Python to_frame()) has all" in lines
    assert made.to_frame().height == ROWS + 7


def test_forecasts_of_many_series_back_tested_in_parts_are_those_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    records = _records(9, 6)
    at_once = auto.predict_all(records, 1e10).predictions
    monkeypatch.setattr(averages, "AT_ONCE", 2)
    monkeypatch.setattr(posterior, "CACHED", 1_000)
    assert auto.predict_all(records, 1e10).predictions == at_once
    assert {each.law for each in at_once} == {averages.AVERAGE}


def test_of_many_lines_those_about_most_series_are_printed() -> None:
    said = [(f"alone {row}", "", f"s{row}") for row in range(ROWS + 4)] + [("both", "", name) for name in ("a", "b")]
    lines = [str(line) for line in about(said, 1000)]
    assert lines[0] == "a, b: both"
    assert lines[-1] == "and 5 more such lines, each about fewer series"
    assert len(lines) == ROWS + 1


def test_more_arms_than_are_compared_are_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparisons, "MOST", 3)
    records = _records(4, 5)
    with pytest.raises(UsageError, match=r"4 arms, and at most 3 are compared; name some: --arm NAME"):
        cvfp.compare(records)
    assert len(cvfp.compare(records.filter(pl.col("variant") != "v3"))) == 2


def test_the_arms_likeliest_to_be_best_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    made = cvfp.compare(_records(4, 5))
    (chance,) = made.chances
    monkeypatch.setattr(comparisons, "NAMED", 2)
    (line,) = (each for each in made.text(200).splitlines() if each.startswith("best at"))
    first, second = sorted(chance.best, key=lambda name: -chance.best[name])[:2]
    assert line.partition("): ")[2] == (f"{first} {chance.best[first]:.1%}, {second} {chance.best[second]:.1%} and 2 "
                                        "arms less likely")


def test_optima_of_more_series_than_are_searched_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimum, "MOST", 2)
    n, d = np.repeat([1e7, 1e8, 1e9], 3), np.tile([1e9, 1e10, 1e11], 3)
    records = pl.concat(pl.DataFrame({"variant": name, "params": n, "train_tokens": d,
                                      "val_loss": 1.7 + 400 / n**0.34 + 410 / d**0.28}) for name in "abc")
    with pytest.raises(UsageError, match="3 series, and optima of at most 2 are searched; keep some: --where EXPR"):
        cvfp.optimum(records, 1e20)


def test_some_of_the_series_asked_about_are_spread_evenly_and_are_whole() -> None:
    question = ask(_records(9, 4))
    few = question.some(3)
    assert few.of_series == 9
    assert few.runs.records["variant"].to_list() == [name for name in ("v0", "v4", "v8") for _ in range(4)]
    assert question.some(9) is question


def test_a_figure_of_many_series_shows_some_and_says_of_how_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                                ) -> None:
    monkeypatch.setattr(plots, "DRAWN", 3)
    records = _records(9, 5)
    panel = cvfp.fit(records, "power-law").plot().axes[0]
    assert panel.get_title("left") == "power-law; 3 of 9 series"
    assert len(panel.collections) + len(panel.lines) < 9 * 2
    assert cvfp.predict(records, 1e10, "power-law").plot().axes[0].get_title("left") == "power-law; 3 of 9 series"
    records.write_csv(tmp_path / "runs.csv")
    done = CliRunner().invoke(app, ["plot", str(tmp_path / "runs.csv"), "-o", str(tmp_path / "a.svg"), "--law",
                                    "power-law"])
    assert done.exit_code == 0
    assert "3 of 9 series are drawn, spread evenly, and forecast by their runs alone" in done.stderr
    assert "3 of 9 series" in (tmp_path / "a.svg").read_text()


def test_a_forecast_of_many_series_at_sizes_of_their_own_says_that_it_takes_long(monkeypatch: pytest.MonkeyPatch
                                                                                 ) -> None:
    monkeypatch.setattr(forecasts, "ALONE", 2)
    with pytest.warns(CvfpWarning, match="3 series at sizes of their own are forecast one after the other"):
        cvfp.predict(_records(3, 5, apart=True), 1e10)
    cvfp.predict(_records(3, 5), 1e10)  # warnings are errors


@pytest.mark.parametrize("seeds", [1, 2])
def test_values_without_intervals_are_those_with_them(seeds: int) -> None:
    records = pl.concat(_records(6, 6).with_columns(pl.col("val_ppl") * factor, run_id=pl.col("run_id") + str(factor))
                        for factor in (1.0, 1.02)[:seeds])
    at = {"train_tokens": ["3x", 1e11]}
    whole, bare = (auto.predict_all(records, at, intervals=each).predictions for each in (True, False))
    assert [(each.series, each.inputs, each.value) for each in whole] == \
        [(each.series, each.inputs, each.value) for each in bare]
    assert all(each.run_low is not None for each in whole)
    assert seeds == 1 or all(each.run_low is None for each in bare)


def test_straightness_is_asked_of_every_pair_of_sizes() -> None:
    sizes = ("params", "train_tokens", "flops")
    n = np.geomspace(1e6, 1e9, 8)
    d = n[[3, 0, 6, 1, 7, 2, 5, 4]]
    runs = {"experiment": "e", "status": "ok", "params": n, "train_tokens": d}
    for one, other in combinations(range(3), 2):
        third = {"flops": (n, d)[one] ** 2} if other == 2 else {"flops": n * d, "train_tokens": 20 * n}
        assert not sweep.apart(pl.DataFrame(runs | third), sizes)
    assert sweep.apart(pl.DataFrame(runs | {"flops": n[[6, 2, 4, 0, 5, 7, 1, 3]]}), sizes)


def test_what_names_series_is_no_axis_of_a_forecast():
    runs = pl.DataFrame({"variant": ["a", "b"] * 3, "train_tokens": [1e3, 2e3, 4e3] * 2,
                         "val_loss": [5.0, 4, 3, 2, 2, 1]})
    with pytest.raises(UsageError, match="column 'variant' holds no numbers"):
        cvfp.predict(runs, x="variant", at={"variant": 3})
