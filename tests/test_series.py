"""What is one run, usable, a series: schema.series."""

import polars as pl
import pytest

from cvfp_core.schema import series
from cvfp_core.schema.records import Record, frame


def run(run_id, **values):
    return Record(run_id=run_id, experiment="e", **({"variant": "v", "seed": 1} | values))


@pytest.mark.parametrize(("parts", "control", "label"), [
    (("e", "v"), None, "e:v"), (("e", None), None, "e"), (("e", None), "untrained", "e:untrained"),
    ((None, "v"), None, "?:v"), ((None,), None, "?"), ((None, None), None, "?"), ((3, 0.5), None, "3:0.5"),
])
def test_a_series_without_a_variant_is_called_by_its_experiment(parts, control, label):
    assert series.label(parts, control) == label


def test_labels_are_those_of_the_records_in_order():
    records = frame([run("a"), run("b", variant=None), run("c", phase1_mode="untrained")])
    assert series.labels(records).to_list() == ["e:v", "e", "e:v:untrained"]
    assert series.labels(records, ["run_id"]).to_list() == ["a", "b", "c:untrained"]


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_of_checkpoints_of_one_run_the_last_is_kept_whatever_their_order(order):
    steps = [run("a", train_tokens=10.0, val_ppl=9.0), run("a", train_tokens=30.0, val_ppl=5.0),
             run("a", train_tokens=20.0, val_ppl=7.0)]
    records = frame([steps[i] for i in order] + [run("b", train_tokens=5.0, val_ppl=9.9)])
    for kept in (series.last_checkpoints(records), series.usable(records)):
        assert sorted(kept.select("run_id", "train_tokens", "val_ppl").rows()) == [("a", 30.0, 5.0), ("b", 5.0, 9.9)]


def test_runs_are_one_only_if_all_that_was_set_and_measured_is_equal():
    same = {"train_tokens": 10.0, "val_ppl": 5.0, "train_ppl": 4.0, "val_acc": 0.5}
    records = frame([run("a", **same), run("b", **same, seconds_phase1=3.0, device="cpu", source="elsewhere"),
                     run("c", **same, learning_rate=0.1), run("d", **same | {"val_acc": 0.6})])
    assert series.distinct(records)["run_id"].to_list() == ["a", "c", "d"]
    wide = records.with_columns(pl.Series("width", [1, 2, 2, 2]))
    assert series.distinct(wide)["run_id"].to_list() == ["a", "b", "c", "d"]


def test_a_usable_run_has_a_perplexity_and_a_size_and_ended_well():
    records = frame([run("a", train_tokens=10.0, val_ppl=5.0), run("b", train_tokens=20.0),
                     run("c", val_ppl=5.0), run("d", train_tokens=30.0, val_ppl=4.0, status="failed")])
    assert series.usable(records)["run_id"].to_list() == ["a"]
    assert series.usable(records.clear()).is_empty()
    documents = frame([run("a", num_samples=10.0, val_ppl=5.0)])
    assert series.usable(documents)["size"].to_list() == [10.0]
