"""A store that somebody has damaged: one line names the file and the way on, the rest is shown, and doctor mends it."""

import json
import os
import random
import shutil
import time

import pytest

import benchmarks_path
import made_grids
from cvfp_core.errors import CvfpError, CvfpWarning
from cvfp_core.protocol.checkpoint import DISTURBED
from cvfp_core.schema import damaged, doctor, index, store

reliability = benchmarks_path.reliability()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A store with a file of every kind; it is copied."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "WORTH", 1)
        return reliability.made_store(tmp_path_factory.mktemp("made") / "runs")


@pytest.fixture
def folder(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(index, "WORTH", 1)
    return shutil.copytree(whole, tmp_path / "runs")


def damage(folder, place, how):
    reliability.DAMAGES[how](folder / place, random.Random(1))


def test_a_whole_store_is_one_line_and_no_error(folder):
    code, out, err = reliability.called("doctor", folder)
    assert (code, out, err) == (0, f"{folder}: whole: 3 records, 3 curves\n", "")


JSON = ("empty", "torn", "100,000 brackets", "half a character", "NaN", "1e999", "a name twice", "texts for numbers",
        "of no name", "a list", "a number of 400 digits", "1 TiB of nothing", "a folder", "a FIFO", "a socket",
        "a link to /dev/zero", "a link to itself", "a link to nowhere")


@pytest.mark.parametrize("how", JSON)
def test_a_damaged_record_is_named_the_rest_is_shown_and_mend_moves_it_aside(folder, how):
    damage(folder, "records/a.json", how)
    with reliability.limited(20), pytest.warns(CvfpWarning) as said:
        assert store.shown(folder)["run_id"].to_list() == ["b", "c"]
    (line,) = [str(each.message) for each in said]
    assert line.startswith(f"{folder / 'records' / 'a.json'}: ")
    assert line.endswith(f"; it is left out; `cvfp doctor {folder}` shows all, --mend moves it aside")
    with pytest.raises(CvfpError, match=r"records/a\.json: .*; `cvfp doctor "):
        store.read(folder)
    (fault,) = [each for each in doctor.examine(folder).faults if each.state == "damaged"]
    assert fault.file == folder / "records" / "a.json"
    aside = doctor.mend(doctor.examine(folder))
    assert os.path.lexists(aside / "records" / "a.json")
    assert store.read(folder)["run_id"].to_list() == ["b", "c"]
    assert doctor.examine(folder).whole


@pytest.mark.parametrize("how", ["empty", "its first 100 bytes", "random bytes", "a FIFO", "a link to /dev/zero",
                                 "a folder"])
def test_damaged_curves_are_named_and_moved_with_their_record(folder, how):
    damage(folder, "curves/a.parquet", how)
    with reliability.limited(20), pytest.warns(CvfpWarning, match=r"curves/a\.parquet: .* left out; `cvfp doctor"):
        assert set(store.read_curves(folder)["run_id"]) == {"b", "c"}
    with pytest.raises(CvfpError, match=r"curves/a\.parquet: "):
        store.read_run(folder, "a")
    aside = doctor.mend(doctor.examine(folder))
    assert os.path.lexists(aside / "curves" / "a.parquet")
    assert (aside / "records" / "a.json").exists()  # or `cvfp run` would take the run as finished
    assert not store.recorded(folder, "a")
    assert doctor.examine(folder).whole


def test_curves_of_other_columns_or_of_another_run_are_damaged(folder):
    import polars as pl

    pl.DataFrame({"step": [1]}).write_parquet(folder / "curves" / "a.parquet")
    shutil.copy(folder / "curves" / "b.parquet", folder / "curves" / "c.parquet")
    reasons = {fault.file.name: fault.reason for fault in doctor.examine(folder).faults}
    assert reasons == {"a.parquet": "has the columns step, not run_id, phase, step, metric, value, or other types",
                       "c.parquet": "holds curves of 'b'"}


def test_a_copy_of_a_record_is_named_and_does_not_count(folder):
    shutil.copy(folder / "records" / "a.json", folder / "records" / "copy.json")
    with pytest.warns(CvfpWarning, match=r"copy\.json: holds the record of 'a', and would be a\.json"):
        assert store.shown(folder)["run_id"].to_list() == ["a", "b", "c"]


def test_the_index_takes_in_what_is_whole_and_damage_is_said_each_time(folder, monkeypatch):
    monkeypatch.setattr(index, "_SETTLED", -10**18)
    damage(folder, "records/a.json", "torn")
    opened = []
    load = damaged.json_object
    monkeypatch.setattr(damaged, "json_object", lambda file, what: (opened.append(file.name), load(file, what))[1])
    for _ in range(2):
        opened.clear()
        with pytest.warns(CvfpWarning, match=r"a\.json"):
            assert store.shown(folder)["run_id"].to_list() == ["b", "c"]
    assert [name for name in opened if name != store.MARKER] == ["a.json"]


def test_many_damaged_files_are_one_line(folder):
    for name in "ab":
        damage(folder, f"records/{name}.json", "torn")
    code, out, err = reliability.called("show", folder)
    assert code == 3
    assert len(err.splitlines()) == 1
    assert "records/a.json: not a record: " in err
    assert "; it is left out, as is 1 more file; `cvfp doctor" in err
    assert "256" not in out.split("next:")[0]  # samples of c are 64, of a 4


def test_a_report_says_in_itself_what_it_was_not_made_from(folder):
    damage(folder, "records/a.json", "a list")
    code, out, _ = reliability.called("report --template audit", folder)
    assert code == 3
    assert "| runs/records/a.json | not read: not a record: expected an object, found list | 0 |" in out


@pytest.mark.parametrize(("content", "state"), [
    ('{"store": "cvfp", "format": 2}', "other version"), ("{}", "damaged"), ("", "damaged"),
])
def test_a_store_of_another_format_is_refused_and_left_as_it_is(folder, content, state):
    (folder / store.MARKER).write_text(content)
    for command in ("show", "report", "status"):
        code, _, err = reliability.called(command, folder)
        assert (code, len(err.splitlines())) == (1, 1)
        assert f"{folder / store.MARKER}: " in err
    with pytest.raises(CvfpError, match=store.MARKER):
        store.create(folder)
    (fault,) = doctor.examine(folder).faults
    assert fault.state == state
    code, _, _ = reliability.called("doctor --mend", folder)
    assert code == (1 if state == "other version" else 0)
    assert ((folder / store.MARKER).read_text() == content) is (state == "other version")


def test_of_several_stores_one_that_cannot_be_read_is_said_and_the_others_are_shown(folder):
    shutil.copytree(folder, folder.parent / "other")
    (folder / store.MARKER).write_text('{"store": "cvfp", "format": 2}')
    with pytest.warns(CvfpWarning, match="a store of format 2, and cvfp .* reads format 1; install a cvfp that reads"):
        assert store.read(folder.parent).height == 3


def test_what_is_left_over_is_no_error_and_is_moved(folder):
    old = time.time() - 7200
    (folder / "records" / "b.json").unlink()
    for name in ("records/.0123456789ab.0123456789ab-7.tmp", "running/a.jsonl", "curves/x.txt"):
        shutil.copy(folder / "running" / "d.jsonl", folder / name)
        os.utime(folder / name, (old, old))
    shutil.copy(folder / "curves" / "a.parquet", folder / "records" / ".0123456789ab.0123456789ab-8.tmp")  # is young
    os.utime(folder / "records" / ".0123456789ab.0123456789ab-8.tmp")
    found = doctor.examine(folder)
    assert {str(fault.file.relative_to(folder)) for fault in found.faults if fault.state == "left over"} == {
        "records/.0123456789ab.0123456789ab-7.tmp", "running/a.jsonl", "curves/x.txt", "curves/b.parquet"}
    assert found.whole
    doctor.mend(found)
    assert doctor.examine(folder).faults == ()
    assert (folder / "records" / ".0123456789ab.0123456789ab-8.tmp").exists()


def test_nothing_is_moved_while_somebody_is_at_work(folder):
    damage(folder, "records/a.json", "torn")
    beat = folder / "jobs" / "j" / "h-1.json"
    beat.write_text(beat.read_text())  # a young one
    with pytest.raises(CvfpError, match=r"process 1 on h is at work on '.*'; wait for it, or end it \(`cvfp cancel "):
        doctor.mend(doctor.examine(folder))
    assert (folder / "records" / "a.json").exists()


def test_a_file_that_one_may_not_read_is_no_damage_and_stays(folder, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    read = type(folder).read_bytes
    monkeypatch.setattr(type(folder), "read_bytes", lambda path: refuse() if path.name == "a.json" else read(path))
    (fault,) = doctor.examine(folder).faults
    assert (fault.state, fault.reason) == (
        "not readable", "cannot be read: Permission denied; its owner can allow it (chmod)")
    assert doctor.mend(doctor.examine(folder)) is None
    with pytest.warns(CvfpWarning, match=r"a\.json: cannot be read: Permission denied"):
        assert store.shown(folder)["run_id"].to_list() == ["b", "c"]


def test_json_of_doctor_has_every_fault_and_where_it_went(folder):
    damage(folder, "records/a.json", "a list")
    code, out, _ = reliability.called("doctor --json", folder)
    (found,) = json.loads(out)
    assert code == 1
    assert found["faults"] == [{"file": "records/a.json", "state": "damaged",
                                "reason": "not a record: expected an object, found list"}]
    code, out, _ = reliability.called("doctor --mend --json", folder)
    (found,) = json.loads(out)
    assert (code, found["whole"], found["faults"]) == (0, True, [])
    assert found["moved_to"].startswith(str(folder / "aside"))


SOME = [("jobs/j/job.json", "of no name"), ("jobs/j/h-1.json", "texts for numbers"), ("jobs/j/h-1.events", "a FIFO"),
        ("jobs/attempts/d.jsonl", "lists for texts"), ("running/d.jsonl", "a list"), ("running/d.jsonl", "a FIFO"),
        ("forecasts/1.json", "lists for texts"), ("manifests/1.json", "texts for numbers"), ("records", "a FIFO"),
        ("manifests/1.json", "lists for texts"), ("records.index", "a FIFO"), ("curves", "a FIFO"), ("jobs", "a FIFO"),
        ("checkpoints/d.phase1.pt", "a FIFO"), ("locks/a.leases/1", "a FIFO"), ("locks/a.leases", "a FIFO")]


@pytest.mark.parametrize(("place", "how"), SOME)
def test_no_damage_beside_the_records_ends_in_a_traceback_or_never(whole, tmp_path, place, how, monkeypatch):
    monkeypatch.setattr(index, "WORTH", 1)
    for command in ("status", "forecast --score", "doctor --mend"):
        assert reliability.under(command, whole, tmp_path / "runs", place, how, random.Random(1)) is None


@pytest.mark.slow
def test_a_run_makes_again_what_was_moved(tmp_path):
    made_grids.corpus(tmp_path)
    words = ("run", *made_grids.options(tmp_path))
    made_grids.in_process(*words, folder=tmp_path)
    runs = tmp_path / "runs" / "default"
    before = store.read(runs).drop(DISTURBED)
    record, curves = (sorted((runs / part).iterdir())[number] for part, number in (("records", 0), ("curves", 1)))
    for file in (record, curves):
        os.truncate(file, 100)
    refused = made_grids.in_process(*words, folder=tmp_path, code=1)
    assert refused.stderr.startswith(f"cvfp: {record}: not a record: ")
    assert len(refused.stderr.splitlines()) == 1
    mended = made_grids.in_process("doctor", runs, "--mend", folder=tmp_path)
    assert f"moved: records/{record.name}\n" in mended.stdout
    assert f"moved: curves/{curves.name}\n" in mended.stdout
    assert store.read(runs).height == 1
    made_grids.in_process(*words, folder=tmp_path)
    assert store.read(runs).drop(DISTURBED).equals(before)
    assert made_grids.in_process("doctor", runs, folder=tmp_path).stdout == f"{runs}: whole: 3 records, 3 curves\n"


@pytest.mark.slow
def test_no_command_ends_in_a_traceback_or_never_on_a_store_with_any_damage(monkeypatch):
    monkeypatch.setattr(index, "WORTH", 1)
    outcomes = list(reliability.damaged(1, 1500))
    assert len(outcomes) == 1500
    assert [each for each in outcomes if each] == []
