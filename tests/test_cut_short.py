"""Runs whose best epoch is the last one allowed: marked, counted in fits, and left out to test each finding again."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import cvfp_core as cvfp
from cvfp_core import registry
from cvfp_core.claims.findings import test_all as every_finding
from cvfp_core.fitting import fit_all
from cvfp_core.schema.records import Record, conform, frame
from laws_data import SHARED, needs_shared

STORE = Path(__file__).parent / "data" / "made-for-0.1.0" / "store"
ROW = {"run_id": "a-1", "experiment": "a"}
SIZES = (1e5, 2e5, 4e5, 8e5)
RANKS = (0.60, 0.65, 0.70, 0.75, 0.80, 0.85)
NOTE = "4 of 4 runs cut short: the best epoch is the last one allowed"


def grid(cut_short=()):
    """Records of series whose exponent falls with their rank; those of the ranks that were cut short are far off."""
    noise = np.random.default_rng(3)
    return frame(
        Record(run_id=f"{rank}-{size}", experiment="e", variant=f"1L_{100 * rank:.0f}d_1tok", train_tokens=size,
               val_er=rank + noise.normal(0, 1e-4), train_er=rank + 0.01 + noise.normal(0, 1e-3),
               val_ppl=1e5 * size ** (-rank / 2 + 0.25 * (rank in cut_short)) * float(np.exp(noise.normal(0, 1e-3))),
               best_epoch=10 if rank in cut_short else 7, max_epochs=10, phase2_censored=rank in cut_short)
        for rank in RANKS for size in SIZES)


def by_key(records):
    """The findings by analysis and key; the fits of all records are at hand, as they are where a report is written."""
    found = every_finding(records, fit_all(records), registry.installed())
    return {(each.analysis, each.key): each for each in found}


# what is cut short

@pytest.mark.parametrize(("known", "expected"), [
    ({"best_epoch": 10, "max_epochs": 10}, True),
    ({"best_epoch": 9, "max_epochs": 10}, False),
    ({"best_epoch": 10, "settings": '{"phase2": {"epochs": 10}}'}, True),
    ({"best_epoch": 10, "settings": '{"phase2": {"epochs": 20}}'}, False),
    ({"best_epoch": 10, "max_epochs": 20, "settings": '{"phase2": {"epochs": 10}}'}, False),  # the column says more
    ({"best_epoch": 10, "epochs": 10}, None),
    ({"best_epoch": 10, "settings": "{not JSON"}, None),
    ({"best_epoch": 10, "settings": '{"phase1": {"epochs": 10}}'}, None),
    ({"max_epochs": 10}, None),
    ({"best_epoch": 9, "max_epochs": 10, "phase2_censored": True}, True),  # stated
])
def test_a_run_is_cut_short_if_its_best_epoch_is_the_last_allowed_and_nothing_is_said_where_either_is_unknown(
        known, expected):
    (row,) = conform(pl.DataFrame([ROW | known])).records.to_dicts()
    assert row["phase2_censored"] is expected
    derived = "phase2_censored = best_epoch >= max_epochs" in (row["derived"] or "")
    assert derived is (expected is not None and "phase2_censored" not in known)


def test_a_table_with_the_best_epoch_and_the_limit_under_another_name_says_so(tmp_path):
    (tmp_path / "runs.csv").write_text("params,val_loss,best_epoch,epoch_limit\n1e6,3.5,4,4\n2e6,3.1,3,4\n4e6,2.9,,4\n")
    assert cvfp.read(tmp_path / "runs.csv").records["phase2_censored"].to_list() == [True, False, None]


def test_a_store_of_an_earlier_version_says_so_as_it_stands():
    records = cvfp.read(STORE).records
    assert records.select("best_epoch", "max_epochs", "phase2_censored").rows() == [(3, 3, True)] * 3


# fits and tables

def test_a_fit_says_how_many_of_its_runs_were_cut_short_and_so_does_its_forecast():
    fits = cvfp.fit(grid(cut_short=(0.85,)))
    assert [each.caveats for each in fits] == [()] * 5 + [(NOTE,)]
    assert f"e:1L_85d_1tok: {NOTE}" in " ".join(str(fits).split())
    warnings = [each.warnings for each in fits.predict({"train_tokens": 1e6})]
    assert [NOTE in each for each in warnings] == [False] * 5 + [True]
    assert [each.caveats for each in cvfp.fit(grid(cut_short=(0.85,)), y="val_er")] == [()] * 6  # of Phase 1
    several = cvfp.fit(grid(cut_short=(0.85,)), "log-linear-er")[0]
    assert several.caveats == ("4 of 24 runs cut short: the best epoch is the last one allowed",)
    assert several.points.take(several.points.series == "e:1L_85d_1tok").caveats == (NOTE,)
    assert several.points.take(several.points.series == "e:1L_60d_1tok").caveats == ()


def test_iterations_that_are_lower_bounds_are_counted_in_fits_of_them():
    records = grid().with_columns(phase1_iterations=20 + pl.int_range(pl.len()) % 4,
                                  phase1_censored=pl.col("train_tokens") > 5e5)
    caveats = {each.caveats for each in cvfp.fit(records, y="phase1_iterations")}
    assert caveats == {
        ("1 of 4 runs cut short: ended before converging, whatever ended it: the count is a lower bound",)}


@pytest.mark.parametrize("columns", [{}, {"num_samples": pl.col("train_tokens") / 1000}], ids=["a table", "a grid"])
def test_tables_mark_the_runs_and_their_exponents(columns):
    text = str(cvfp.read(grid(cut_short=(0.85,)).with_columns(**columns)))
    assert "† cut short: the best epoch is the last one allowed" in text
    others, last, exponents = text.split("1L_85d_1tok")
    assert [each.count("†") for each in (others, last, exponents)] == [0, len(SIZES), 2]
    assert exponents.split()[0] == "4†"
    assert "†" not in str(cvfp.read(grid().with_columns(**columns)))


def test_a_law_of_runs_no_better_than_unigrams_or_of_controls_says_so_wherever_it_is_printed():
    records = grid().with_columns(unigram_ppl=pl.lit(1.0), phase1_mode=pl.lit("untrained"))
    said = ("4 of 4 runs have no lower Val PPL than the unigram model",
            "4 of 4 runs are controls, whose Phase 1 was not trained")
    fits = cvfp.fit(records)
    assert {each.marks for each in fits} == {"‡§"}
    forecasts = cvfp.predict(records, {"train_tokens": 1e7}, law="power-law")
    assert all(set(said) <= set(each.warnings) for each in forecasts)
    for text in (str(fits), str(forecasts), cvfp.write_report(records, template="fits").text):
        assert all(each in text for each in said)
    for text in (str(cvfp.read(records)), cvfp.write_report(records, template="summary").text):
        assert "4‡§" in text
        assert text.count("no lower") == 1
    assert not any(mark in str(cvfp.read(grid().with_columns(unigram_ppl=pl.lit(1e9)))) for mark in "†‡§")


# findings

def test_a_finding_says_what_it_would_be_without_the_runs_that_were_cut_short():
    whole, mixed = by_key(grid())["alpha-er", "correlation"], by_key(grid(cut_short=(0.60, 0.85)))
    each = mixed["alpha-er", "correlation"]
    assert (whole.verdict, whole.without_censored) == ("contradicted", None)
    assert (each.verdict, each.without_censored) == ("inconclusive", "contradicted")
    alone = by_key(grid().filter(~pl.col("val_er").round(2).is_in([0.60, 0.85])))["alpha-er", "correlation"]
    assert str(each.caveats[-1]) == (
        "Without the 8 of 24 runs that were cut short in Phase 2 the verdict would be contradicted, not inconclusive: "
        f"estimate {alone.estimate:.3g}, n = 4, corrected p = {alone.p_adjusted:.2g}.")


def test_where_one_run_of_a_series_was_cut_short_its_exponent_is_fitted_again_without_it():
    last = pl.col("run_id") == f"{RANKS[-1]}-{SIZES[-1]}"
    records = grid().with_columns(phase2_censored=last, val_ppl=pl.col("val_ppl") * pl.when(last).then(4).otherwise(1))
    each, alone = (by_key(part)["alpha-er", "correlation"] for part in (records, records.filter(~last)))
    assert (each.n, alone.n, each.without_censored) == (6, 6, "contradicted")
    assert f"Without the 1 of 24 runs that were cut short in Phase 2 the verdict would be contradicted, not " \
           f"inconclusive: estimate {alone.estimate:.3g}, n = 6" in str(each.caveats[-1])


def test_findings_that_rest_on_none_of_these_runs_or_not_on_phase_2_are_as_without_any():
    found = by_key(grid(cut_short=(0.85,)))
    pair = ("groups", "e:1L_60d_1tok vs e:1L_65d_1tok")
    for key in (pair, ("er-gap", "correlation"), ("er-constant", "constant"), ("grid", "missing")):
        assert found[key].without_censored is None, key
        assert "cut short" not in " ".join(map(str, found[key].caveats)), key
    apart = found["groups", "e:1L_60d_1tok vs e:1L_85d_1tok"]
    assert apart.without_censored == "not tested"
    assert str(apart.caveats[-1]) == "Without the 4 of 24 runs that were cut short in Phase 2 it cannot be tested."


def test_where_all_runs_were_cut_short_nothing_can_be_tested_without_them():
    found = by_key(grid(cut_short=RANKS))
    assert {found[key].without_censored for key in (("alpha-er", "correlation"), ("er-ppl", "matched"))} == {
        "not tested"}
    assert found["er-gap", "correlation"].without_censored is None


# the published runs

@pytest.fixture(scope="module")
def published():
    return cvfp.read(SHARED / "newllm").records


@needs_shared
def test_all_twelve_runs_of_v1_end_at_their_tenth_and_last_epoch_still_falling(published):
    cut = published.filter("phase2_censored")
    assert (cut["experiment"].unique().to_list(), cut.height) == (["v1"], 12)
    assert set(cut.select("best_epoch", "max_epochs").rows()) == {(10, 10)}
    assert published.filter(experiment="v1").height == 12
    unknown = published.filter(pl.col("phase2_censored").is_null())
    assert unknown["experiment"].unique().to_list() == ["v4"]  # without a log, its best epochs are not known
    curves = cvfp.read(SHARED / "newllm").inputs.curves()
    epochs = curves.filter((pl.col("phase") == 2) & (pl.col("metric") == "val_ppl")).join(
        cut.filter(num_samples=50).select("run_id", "variant"), on="run_id").sort("variant", "step")
    last = {name: each["value"].to_list()[-2:] for (name,), each in epochs.group_by("variant")}
    falls = {name: round(100 * (1 - after / before), 1) for name, (before, after) in last.items()}
    assert falls["1L_768d_1tok"] == 6.3


@needs_shared
def test_without_v1_alpha_against_rank_goes_from_inconclusive_to_contradicted(published):
    each = by_key(published)["alpha-er", "correlation"]
    assert (each.verdict, each.n, f"{each.estimate:.2f}") == ("inconclusive", 16, "-0.35")
    assert each.without_censored == "contradicted"
    assert str(each.caveats[-1]) == (
        "Without the 12 of 66 runs that were cut short in Phase 2 the verdict would be contradicted, not inconclusive: "
        "estimate -0.785, n = 13, corrected p = 0.0047.")
    alone = by_key(published.filter(pl.col("experiment") != "v1"))["alpha-er", "correlation"]
    assert (alone.verdict, f"{alone.estimate:.3f}", f"{alone.p_adjusted:.4f}") == ("contradicted", "-0.785", "0.0047")
