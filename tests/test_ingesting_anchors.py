"""What is read against what stands in the files: lines that are refused, notes of several files, points given twice."""

import polars as pl
import pytest

import cvfp_core as cvfp
from cvfp_core.ingesting.doubts import doubts
from cvfp_core.ingesting.reading import _once
from cvfp_core.ingesting.run import ingest
from cvfp_core.registry import installed
from cvfp_core.schema.records import CURVE_SCHEMA, Record, frame


def test_files_that_are_read_alike_share_one_note(tmp_path):
    for number, name in enumerate("abc"):
        (tmp_path / f"{name}.csv").write_text(f"N,D,loss\n1e6,2e7,3.{number}\n2e6,4e7,2.{number}\n")
    both = ["D is read as train_tokens, loss is read as val_loss, N is read as params"]
    assert cvfp.read(tmp_path / "a.csv").inputs.notes == (f"a.csv: {both[0]}",)
    assert cvfp.read([tmp_path / "a.csv", tmp_path / "b.csv"]).inputs.notes == (f"a.csv and 1 more: {both[0]}",)
    assert cvfp.read([tmp_path / f"{name}.csv" for name in "abc"]).inputs.notes == (f"a.csv and 2 more: {both[0]}",)


def test_a_row_whose_step_is_no_step_is_reported_and_the_others_are_read(tmp_path):
    file = tmp_path / "s.csv"
    file.write_text("step,val_loss\n1,3.0\n1.5,2.9\n2,2.8\n")
    made = ingest([file], installed())
    assert [*map(str, made.messages)] == ["s.csv:3: expected a whole number in 'step', found '1.5'"]
    (run,) = made.records.to_dicts()
    assert run["val_loss"] == 2.8
    assert made.curves.filter(metric="val_loss").rows_by_key("step", named=False).keys() == {1, 2}


def test_of_a_point_given_twice_the_first_is_kept():
    points = pl.DataFrame([{"run_id": run, "phase": 2, "step": 1, "metric": "val_loss", "value": value}
                           for run, value in (("a", 3.0), ("a", 2.0), ("b", 1.0))], schema=CURVE_SCHEMA)
    made = _once(points, frame([Record(run_id="a", experiment="e")]))
    assert made.select("run_id", "value").rows() == [("a", 3.0)]


@pytest.mark.parametrize(("column", "values", "said"), [
    ("params", (124.0, 774.0), "params 124 to 774: all below 1,000; "),
    ("params", (124.0, 1e9), None),
    ("val_loss", (30.0, 90.0), "val_loss 30 to 90: mostly above "),
    ("val_loss", (2.0, 3.0), None),
])
def test_numbers_in_another_unit_are_questioned(column, values, said):
    records = frame([Record(run_id=str(at), experiment="e", **{column: value}) for at, value in enumerate(values)])
    told = list(doubts(records, {}))
    assert [line[: len(said)] for line in told] == [said] if said else not told
