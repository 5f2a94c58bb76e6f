"""A store keeps whole records or none, names what is broken, and is safe for several processes at once."""

import json
import math
import os
import subprocess
import sys
from datetime import datetime, timedelta

import polars as pl
import pytest

from cvfp_core.errors import CvfpError, UsageError
from cvfp_core.schema import store
from cvfp_core.schema.records import CurvePoint, Record, RunResult, frame


def result(run_id="run-1", *, curve=(1.0, 2.0), **changed):
    facts = {"experiment": "made", "variant": "1L_8d_1tok", "num_input_tokens": 1, "num_layers": 1, "context_dim": 8}
    return RunResult(
        record=Record(run_id=run_id, **(facts | changed)),
        curves=tuple(CurvePoint(phase=1, step=i, metric="loss", value=value) for i, value in enumerate(curve)),
    )


@pytest.fixture
def folder(tmp_path):
    return store.create(tmp_path / "runs" / "made")


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_run_that_is_written_is_read_again(folder):
    store.write(folder, result(val_ppl=12.5, phase1_censored=True, reason='a "b" é'))
    (row,) = store.read(folder).to_dicts()
    (given,) = frame([result(val_ppl=12.5, phase1_censored=True, reason='a "b" é').record]).to_dicts()
    assert row == given | {"val_loss": pytest.approx(math.log(12.5)), "derived": "val_loss = log(val_ppl)"}
    curves = store.read_curves(folder)
    assert curves.rows() == [("run-1", 1, 0, "loss", 1.0), ("run-1", 1, 1, "loss", 2.0)]


@pytest.mark.parametrize("name", ["records", "curves"])
def test_a_crash_before_the_move_leaves_no_half_record(folder, monkeypatch, name):
    def crash(source, target):
        if os.path.basename(os.path.dirname(target)) == name:
            raise OSError(28, "No space left on device")
        move(source, target)

    move = os.replace
    before = files(folder)
    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(OSError, match="No space left"):
        store.write(folder, result())
    assert not store.recorded(folder, "run-1")
    assert not store.finished(folder, "run-1")
    assert set(files(folder)) - set(before) <= {"curves/run-1.parquet"}
    monkeypatch.undo()
    store.write(folder, result())
    assert store.finished(folder, "run-1")
    assert [name for name in files(folder) if "tmp" in name] == []


def test_a_crash_leaves_the_record_that_was_there(folder, monkeypatch):
    store.write(folder, result(val_ppl=12.5))
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        store.write(folder, result(val_ppl=99.0))
    assert store.read(folder)["val_ppl"].to_list() == [12.5]


def test_a_process_killed_while_it_writes_leaves_nothing_that_is_read(folder):
    code = ("import os, pathlib, sys; from cvfp_core.schema import atomic;"
            "atomic.write(pathlib.Path(sys.argv[1]), lambda path: (path.write_text('{half'), os._exit(9)))")
    done = subprocess.run([sys.executable, "-c", code, str(folder / "records" / "run-1.json")], check=False)
    assert done.returncode == 9
    assert len(list((folder / "records").iterdir())) == 1
    assert not store.recorded(folder, "run-1")
    assert store.read(folder).is_empty()


def test_not_a_number_is_no_value_of_a_record(folder):
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.write(folder, result(val_ppl=float("nan")))
    assert not store.recorded(folder, "run-1")


def test_records_are_read_in_order_of_series_and_size(folder):
    rows = [(layers, window, tokens, seed)
            for tokens in (300, 20, 1000) for layers in (10, 2) for window in (2, 1) for seed in (1, 0)]
    for layers, window, tokens, seed in rows:
        store.write(folder, result(
            f"{layers}L{window}-{tokens}-{seed}", variant=f"{layers}L_8d_{window}tok", num_layers=layers,
            num_input_tokens=window, train_tokens=tokens, seed=seed,
        ))
    found = store.read(folder).select("num_input_tokens", "num_layers", "train_tokens", "seed").rows()
    assert found == sorted(found)
    assert len(found) == len(rows)


def test_columns_of_other_versions_with_values_of_several_types_are_read(folder):
    for run_id, value in (("a", 1), ("b", "two"), ("c", None)):
        store.write_record(folder, {"run_id": run_id, "experiment": "made", "variant": "x", "lab": value})
    assert store.read(folder)["run_id"].to_list() == ["a", "b", "c"]


def test_a_folder_of_stores_is_read_as_one(folder):
    other = store.create(folder.parent / "also")
    store.write(folder, result("a"))
    store.write(other, result("b", experiment="also"))
    assert store.is_store(folder.parent)
    assert store.read(folder.parent)["run_id"].to_list() == ["b", "a"]


def test_what_is_no_store_is_said_to_be_none(tmp_path):
    assert not store.is_store(tmp_path)
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(CvfpError, match=r"no runs in '.*': expected a folder that `cvfp run`"):
            store.read(path)


def test_a_column_of_another_version_is_kept(folder):
    store.write(folder, result("a"))
    store.write_record(folder, {"run_id": "b", "experiment": "made", "variant": "x", "lab": "north"})
    found = store.read(folder)
    assert dict(found.select("run_id", "lab").rows()) == {"a": None, "b": "north"}


def test_a_record_of_a_newer_version_is_kept_whatever_is_in_it(folder):
    more = {"lab": "north", "cards": 8, "loss_4": 0.5, "done": True, "notes": ["a", "b"], "who": {"x": [1, 2]},
            "nothing": None}
    store.write(folder, result("a"))
    store.write_record(folder, {"run_id": "b", "experiment": "made", "variant": "x"} | more)
    record = folder / "records" / "b.json"
    before = record.read_bytes()
    found = store.read(folder).filter(pl.col("run_id") == "b").row(0, named=True)
    assert {name: found[name] for name in more} == more
    again = store.create(folder.parent / "copy")
    store.write_many(again, store.read(folder), store.read_curves(folder))
    copied = json.loads((again / "records" / "b.json").read_text())
    assert {name: copied[name] for name in more} == more
    assert record.read_bytes() == before


def test_the_last_command_is_the_last_whatever_the_clock_says(folder, monkeypatch, record_property):
    record_property("tried", 6)
    class Clock(datetime):
        hours = 0

        @classmethod
        def now(cls, tz=None):
            return datetime(2026, 1, 2, 3, tzinfo=tz) + timedelta(hours=cls.hours)

    monkeypatch.setattr(store, "datetime", Clock)
    for number, hours in enumerate([0, 0, -30, -31, 5, 4]):
        Clock.hours = hours
        store.write_manifest(folder, {"number": number})
        assert store.read_manifest(folder) == {"number": number}
    assert len(list((folder / "manifests").iterdir())) == 6


@pytest.mark.parametrize(("content", "reason"), [
    ('{"run_id": "ba', "not a record: Unterminated string"),
    ("", "not a record: Expecting value"),
    ("[1]", "not a record: expected an object, found list"),
])
def test_a_broken_record_file_is_named(folder, content, reason):
    store.write(folder, result("a"))
    broken = folder / "records" / "b.json"
    broken.write_text(content)
    for read in (lambda: store.read(folder), lambda: store.finished(folder, "b")):
        with pytest.raises(CvfpError) as caught:
            read()
        assert str(caught.value).startswith(f"{broken}: {reason}")
        assert str(caught.value).endswith(f"; `cvfp doctor {folder}` shows all, --mend moves it aside")


def test_a_record_file_that_is_not_utf8_is_named(folder):
    (folder / "records" / "b.json").write_bytes(b'{"run_id": "caf\xe9"}')
    with pytest.raises(CvfpError, match=r"b\.json: not a record: 'utf-8' codec"):
        store.read(folder)


@pytest.mark.parametrize(("column", "value", "reason"), [
    ("val_acc", 81.0, "must be a fraction from 0 to 1, found 81.0"),
    ("val_ppl", "low", "is not a finite number, found 'low'"),
    ("num_layers", 2.5, "is not a whole number, found 2.5"),
    ("experiment", None, "is missing, found None"),
])
def test_a_value_that_does_not_conform_is_named_with_its_file(folder, column, value, reason):
    store.write(folder, result("a"))
    row = {"run_id": "b", "experiment": "made", "variant": "x", column: value}
    (folder / "records" / "b.json").write_text(json.dumps(row))
    with pytest.raises(CvfpError) as caught:
        store.read(folder)
    assert str(caught.value) == (f"{folder / 'records' / 'b.json'}: column '{column}' {reason}; "
                                 f"`cvfp doctor {folder}` shows all, --mend moves it aside")


ODD_IDS = ["../../out", "/etc/passwd", "..", ".", "", ".hidden", "a/b", "a\\b", "a:b", "nul\0", "é" * 150, "x" * 500]


@pytest.mark.parametrize("run_id", ODD_IDS, ids=range(len(ODD_IDS)))
def test_a_run_id_cannot_leave_the_folder(folder, tmp_path, run_id):
    before = files(tmp_path)
    store.write(folder, result(run_id or "x", curve=()) if run_id else result(" "))
    with store.lock(folder, run_id):
        pass
    new = set(files(tmp_path)) - set(before)
    assert len([name for name in new if name.startswith("runs/made/records/") and name.endswith(".json")]) == 1
    assert all(name.count("/") == 3 and name.startswith("runs/made/") for name in new)


def test_odd_run_ids_do_not_share_a_file(folder):
    run_ids = [*filter(None, ODD_IDS), "a_b", "x" * 200, "x" * 499]
    for run_id in run_ids:
        store.write(folder, result(run_id))
    assert sorted(store.read(folder)["run_id"].to_list()) == sorted(run_ids)


WRITER = """
import sys
from pathlib import Path
from cvfp_core.schema import store
from cvfp_core.schema.records import CurvePoint, Record, RunResult
folder = store.create(Path(sys.argv[1]))
sys.stdin.read(1)
for index in range(40):
    store.write(folder, RunResult(
        record=Record(run_id=f"run-{index}", experiment="made", variant="x" * 2000, num_samples=index + 1),
        curves=tuple(CurvePoint(phase=1, step=step, metric="loss", value=index) for step in range(50)),
    ))
"""


def test_two_processes_writing_the_same_runs_leave_whole_ones(tmp_path):
    folder = tmp_path / "runs"
    writers = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", WRITER, str(folder)], stdin=subprocess.PIPE)
        for _ in range(2)
    ]
    for writer in writers:
        writer.stdin.write(b"g")
        writer.stdin.close()
    assert [writer.wait(timeout=900) for writer in writers] == [0, 0]
    found = store.read(folder)
    assert sorted(found["num_samples"].to_list()) == list(range(1, 41))
    curves = store.read_curves(folder)
    assert curves.height == 40 * 50
    assert curves.group_by("run_id").agg(pl.col("value").n_unique())["value"].unique().to_list() == [1]
    assert len(list((folder / "records").iterdir())) == 40


@pytest.mark.parametrize("below", ["file", "file/deeper"])
def test_a_folder_that_cannot_be_written_is_refused(tmp_path, below):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError) as caught:
        store.create(tmp_path / below)
    assert str(caught.value).startswith(f"cannot write to '{tmp_path / below}': ")
    assert str(caught.value).endswith("; choose another folder with --out")


@pytest.mark.parametrize(("status", "done"), [
    ("ok", True), ("diverged", True), ("failed", False), ("interrupted", False),
])
def test_a_run_is_finished_when_its_result_would_not_change(folder, status, done):
    assert not store.finished(folder, "run-1")
    store.write(folder, result(status=status))
    assert store.recorded(folder, "run-1")
    assert store.finished(folder, "run-1") is done
    store.forget_failure(folder, "run-1")
    assert store.recorded(folder, "run-1") is done


def test_a_failure_is_not_forgotten_while_a_process_runs_the_cell(folder):
    store.write(folder, result(status="failed"))
    code = ("import sys, pathlib; from cvfp_core import store;"
            "store.forget_failure(pathlib.Path(sys.argv[1]), 'run-1')")
    with store.lock(folder, "run-1"):
        subprocess.run([sys.executable, "-c", code, str(folder)], check=True, timeout=900)
    assert store.recorded(folder, "run-1")
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, timeout=900)
    assert not store.recorded(folder, "run-1")


def test_records_made_elsewhere_are_stored_with_their_curves(folder):
    records = frame([result("a").record, result("b").record])
    curves = pl.DataFrame([("a", 2, 1, "val_ppl", 7.0)], schema=store.CURVE_SCHEMA, orient="row")
    store.write_many(folder, records, curves)
    store.write_many(folder, records, curves)
    assert store.read(folder).equals(records)
    assert store.read_curves(folder).equals(curves)
