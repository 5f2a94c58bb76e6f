"""Paths and frames -> records: whatever holds them, each run once, filtered, with an account."""

import math
from types import SimpleNamespace

import polars as pl
import pytest

from cvfp_core.errors import CvfpError, UsageError
from cvfp_core.ingesting import reading
from cvfp_core.schema import store
from cvfp_core.schema.records import Record, RunResult
from ingesting import registry, write

TABLE = pl.DataFrame({"N": [1e6, 2e6, 4e6], "loss": [5.0, 4.0, None], "lab": ["x", "y", "y"]})


def read(given, **asked):
    return reading.read(given, registry(), **asked)


def of_pandas(frame):
    """What a pandas frame offers: columns, and lists by name with NaN for what is missing."""
    values = {name: [math.nan if value is None else value for value in frame[name]] for name in frame.columns}
    return SimpleNamespace(columns=frame.columns, to_dict=lambda kind: values if kind == "list" else None)


@pytest.mark.parametrize("made", ["text", "path", "list", "polars", "pandas", "arrow"])
def test_a_path_or_a_frame_gives_the_same_records(made, tmp_path):
    path = write(tmp_path, TABLE.write_csv(), "frame.csv")
    given = {"text": str(path), "path": path, "list": [str(path)], "polars": TABLE, "pandas": of_pandas(TABLE),
             "arrow": SimpleNamespace(__arrow_c_stream__=TABLE.__arrow_c_stream__)}[made]
    inputs = read(given)
    assert inputs.records.select("params", "val_loss", "lab", "status").rows() == [
        (1e6, 5.0, "x", "ok"), (2e6, 4.0, "y", "ok"), (4e6, None, "y", "ok")]
    assert inputs.notes[0].endswith("loss is read as val_loss, N is read as params")


def test_a_store_a_table_and_a_frame_of_records_are_read_together_each_run_once(tmp_path):
    folder = store.create(tmp_path / "made")
    for number in (1, 2):
        store.write(folder, RunResult(record=Record(
            run_id=f"r{number}", experiment="made", variant="v", train_tokens=number * 10, val_ppl=9.0 / number)))
    first = read(str(folder)).records
    inputs = read([folder, first, TABLE])
    assert inputs.records["run_id"].to_list()[:2] == ["r1", "r2"]
    assert (inputs.records.height, inputs.duplicates) == (5, 2)


@pytest.mark.parametrize("stored", [True, False])
def test_a_mapping_and_a_filter_mean_the_same_of_a_store_and_of_a_table(stored, tmp_path):
    if stored:
        given = store.create(tmp_path / "made")
        for number in (1, 2, 4):
            store.write(given, RunResult(record=Record(run_id=f"r{number}", experiment="e", train_tokens=10.0 * number,
                                                       val_ppl=9.0 - number)))
    else:
        given = write(tmp_path, "train_tokens,val_ppl\n10,8.0\n20,7.0\n40,5.0\n", "a.csv")
    inputs = read(given, mapping={"gain": "log(val_ppl) / train_tokens"}, where="gain < 0.2 and train_tokens > 10")
    assert inputs.records["gain"].to_list() == [pytest.approx(math.log(7) / 20), pytest.approx(math.log(5) / 40)]
    assert inputs.left_out == 1


@pytest.mark.parametrize(("asked", "message"), [
    ({"where": "val_los < 3"}, r"no column 'val_los'; did you mean 'val_loss'\?; there are: val_loss"),
    ({"where": "params > 1e9"}, "none of 3 runs"),
    ({"mapping": {"val_ppl": "exp(los)"}}, r"no column 'los'; did you mean 'loss'\?; there are: loss"),
    ({"where": "lab > 3"}, "no numbers"),
])
def test_what_is_asked_of_columns_that_are_not_so_is_a_usage_error(asked, message):
    with pytest.raises(UsageError, match=message):
        read(TABLE, **asked)


def test_what_is_no_frame_and_no_path_is_refused():
    with pytest.raises(UsageError, match="cannot read runs from a int; give a path, or a frame"):
        read([3])
    with pytest.raises(CvfpError, match="'nowhere' does not exist"):
        read("nowhere")


def test_a_record_that_is_none_names_its_row():
    with pytest.raises(CvfpError, match=r"row 2 of the frame: 'val_ppl' must be at least 1, found 0.5"):
        read(pl.DataFrame({"run_id": ["a", "b"], "experiment": "e", "val_ppl": [2.0, 0.5]}))
