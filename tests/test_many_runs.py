"""Very many runs and series: some of them are taken, spread evenly, and it is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import special

from cvfp_core.fitting import auto, fit_all, points, selection
from cvfp_core.fitting.linear import LONG, t_share
from cvfp_core.fitting.run import find, grouped
from cvfp_core.ingesting.reading import read
from cvfp_core.registry import installed
from cvfp_core.reporting.figures import report as figures
from cvfp_core.reporting.view import FITTED, Asked, Facts
from cvfp_core.reporting.write import find as template
from cvfp_core.reporting.write import write
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
    assert "... and 10 more; `cvfp fit`" in text
    assert "More than 1,000 runs are not listed here" in text
    assert "### " not in text


def test_fits_of_every_law_are_of_some_of_many_series_and_say_of_how_many_not(tmp_path: Path) -> None:
    records = _records(FITTED + 3, 3)
    text = _text(records, tmp_path, "fits")
    own = text.split("## power-law")[1].split("\n## ")[0]
    assert "The fits of 3 more series are left out; `cvfp fit --law power-law` makes all." in own
    assert own.count("**e:v") == FITTED


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
