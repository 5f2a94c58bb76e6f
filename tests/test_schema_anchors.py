"""What the schema promises to all above it, by values stated by hand: durable files, run ids, ranges, damage, locks."""

import errno
import json
import math
import os
import stat
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from filelock import Timeout

from cvfp_core.errors import CvfpWarning, UsageError
from cvfp_core.schema import atomic, damaged, expressions, filesystem, jobs, leases, series, store
from cvfp_core.schema.cells import Cell, CorpusChoice, Event, Variant
from cvfp_core.schema.claims import Finding
from cvfp_core.schema.fits import Estimate, Fit
from cvfp_core.schema.found import PublishedAlpha, Tally
from cvfp_core.schema.records import Record, conform, conform_rows, frame
from cvfp_core.schema.settings import Phase1Settings, Phase2Settings, Settings
from cvfp_newllm.presets import PRESETS

EARLIER = Path(__file__).parent / "data" / "made-for-0.1.0" / "store" / "records"


@pytest.fixture
def disk(monkeypatch):
    """What is put on the disk and moved, in order: the inode of an fsync, the name a file gets."""
    calls, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setenv(atomic.SYNC, "1")
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append(os.fstat(handle).st_ino), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda old, new: (calls.append(Path(new).name), replace(old, new)))
    return calls


def test_of_many_files_each_is_on_the_disk_before_its_name_and_the_folder_after_all(tmp_path, disk):
    atomic.write_each([(tmp_path / "a", "1"), (tmp_path / "b", b"2")])
    inode = {path.name: path.stat().st_ino for path in (tmp_path, *tmp_path.iterdir())}
    assert disk == [inode["a"], "a", inode["b"], "b", inode[tmp_path.name]]


def test_a_folder_is_made_with_those_above_it_and_their_names_are_on_the_disk(tmp_path, disk):
    inner = tmp_path / "x" / "y" / "z"
    assert atomic.folder(inner) == inner
    assert sorted(disk) == sorted(path.stat().st_ino for path in (tmp_path, tmp_path / "x", tmp_path / "x" / "y"))
    disk.clear()
    assert atomic.folder(inner) == inner
    assert disk == []
    atomic.save(tmp_path / "p" / "q" / "report.md", "text")
    assert (tmp_path / "p" / "q" / "report.md").read_text() == "text"


@pytest.mark.parametrize(("code", "of_folder", "raised"), [
    (errno.EINVAL, True, False), (errno.ENOTSUP, True, False), (errno.EIO, True, True), (errno.ENOSPC, True, True),
    (errno.EINVAL, False, True), (errno.EIO, False, True),
])
def test_only_that_a_folder_cannot_be_put_on_the_disk_by_itself_is_no_error(tmp_path, monkeypatch, code, of_folder,
                                                                           raised):
    def fsync(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode) == of_folder:
            raise OSError(code, os.strerror(code))

    monkeypatch.setenv(atomic.SYNC, "1")
    monkeypatch.setattr(os, "fsync", fsync)
    if raised:
        with pytest.raises(OSError, match=os.strerror(code)):
            atomic.write(tmp_path / "a", "1")
    else:
        atomic.write(tmp_path / "a", "1")
        assert (tmp_path / "a").read_text() == "1"


@pytest.mark.parametrize("file", sorted(EARLIER.glob("*.json")), ids=lambda file: file.stem)
def test_a_cell_has_the_run_id_that_the_first_version_gave_it(file):
    row = json.loads(file.read_text())
    said = json.loads(row["settings"])
    sizes = ("family", "num_layers", "context_dim", "num_input_tokens")
    cell = Cell(
        experiment="any", corpus=CorpusChoice(name="any"), device="any", cache=Path("any"), train_tokens=1,
        corpus_hash=row["corpus_hash"], num_samples=row["num_samples"], seed=row["seed"],
        variant=Variant(name=row["variant"], **{name: row[name] for name in sizes}),
        settings=Settings(phase1=Phase1Settings(**said["phase1"]), phase2=Phase2Settings(**said["phase2"]),
                          model=dict(reversed(said["model"].items())), precision=said["precision"]))
    assert cell.run_id == file.stem


def test_the_defaults_are_the_settings_of_the_published_experiments():
    (published,) = [each.overrides for each in PRESETS if each.name == "v4"]
    settings = Settings().as_dict()
    for phase in ("phase1", "phase2"):
        assert {name: settings[phase][name] for name in published[phase]} == published[phase]


@pytest.mark.parametrize(("verdict", "p", "n", "tested"), [
    ("inconclusive", 0.3, 5, True), ("inconclusive", 0.3, 4, False), ("inconclusive", None, 9, False),
    ("supported", None, 0, True), ("contradicted", 0.01, 9, True), ("confounded", 0.01, 9, False),
])
def test_a_claim_is_tested_where_the_runs_could_have_decided_it(verdict, p, n, tested):
    finding = Finding(analysis="a", key="k", question="q", claim="c", values={}, verdict=verdict, estimate=1.0,
                      low=None, high=None, unit="", n=n, method="m", p_value=p, least=5)
    assert finding.as_dict()["tested"] is tested
    assert finding.of_phase2  # so that runs whose Phase 2 was cut short limit it, unless its analysis says otherwise


@pytest.mark.parametrize(("low", "high", "trendless"), [
    (-0.1, 0.2, True), (0.1, 0.5, False), (0.2, 3.0, False), (-0.5, -0.1, False), (0.0, 1.0, False), (None, 1.0, False),
])
def test_an_exponent_whose_interval_holds_zero_is_no_trend(low, high, trendless):
    fit = Fit(status="converged", estimates=(Estimate(name="alpha", value=0.1, low=low, high=high),))
    assert fit.trendless is trendless


def test_a_fit_with_a_function_is_a_model_of_lmfit_and_one_without_says_so():
    with pytest.raises(ValueError, match="fit of 'made' has no function"):
        Fit(status="failed", law="made").to_lmfit()
    fit = Fit(status="converged", solver=SimpleNamespace(to_lmfit=lambda fit: ("lmfit", fit)))
    assert fit.to_lmfit() == ("lmfit", fit)
    assert not {"points", "draws", "basis", "solver"} & fit.as_dict().keys()


def test_what_an_ingester_does_not_count_is_none_and_what_it_states_is_exact():
    assert asdict(Tally()) == {"record": 0, "curve": 0, "noise": 0}
    assert PublishedAlpha(line=1, variant="v", alpha=-0.1).exact


@pytest.mark.parametrize(("text", "row", "value"), [
    ("-" * 30 + "a", {"a": 2.0}, 2.0),
    ("a b c + 1", {"a b": 1, "a b c": 20, "c": 300}, 21.0),
    ("a-b2 * 2", {"a-b": 100, "a": 7, "b2": 3}, 1.0),
    ("True and a < 3", {"a": 2.0}, True), ("a > 3 or False", {"a": 2.0}, False),
    *((f"a * 2{letter}", {"a": 1.0}, 2 * 10.0**power) for letters, power in (
        ("kK", 3), ("mM", 6), ("bBgG", 9), ("tT", 12)) for letter in letters),
])
def test_an_expression_is_what_it_says(text, row, value):
    table = pl.DataFrame([row])
    assert table.select(made=expressions.parse(text, table.columns).polars).item() == value


def test_columns_that_are_offered_have_values_and_are_the_users():
    table = pl.DataFrame({"loss": [1.0, None], "empty": [None, None], "_row": [0, 1]})
    with pytest.raises(UsageError) as raised:
        expressions.filter(table, "los > 1")
    assert str(raised.value) == "--where \"los > 1\": no column 'los'; did you mean 'loss'?; there are: loss"


@pytest.mark.parametrize(("loss", "whole"), [(0.5, True), (2, True), (None, True), (True, False), ("0.5", False)])
def test_a_number_in_a_file_is_a_number(loss, whole):
    facts = {"job": "j", "host": "h", "process": 1, "time": "t", "loss": loss}
    if whole:
        assert damaged.value(jobs.Beat, facts).loss == loss
    else:
        with pytest.raises(damaged.Unsound, match="'loss' is "):
            damaged.value(jobs.Beat, facts)


@pytest.mark.parametrize("text", ["1e999", "-1e999", "[1, -1e999]", '{"a": {"b": -1e999}}', '{"a": [[1e999]]}'])
def test_infinity_is_no_number_of_a_file_however_it_is_written(text):
    with pytest.raises(damaged.Unsound, match="a number that is too large"):
        damaged.json_of(text)


@pytest.mark.parametrize(("count", "more"), [(1, ""), (2, ", as is 1 more file"), (3, ", as are 2 more files")])
def test_files_that_are_left_out_are_counted_in_one_line(count, more):
    damages = [damaged.Damage(file=Path(f"{number}.json"), reason="is torn") for number in range(count)]
    with pytest.warns(CvfpWarning) as said:
        damaged.warn(damages, Path("runs"))
    assert [str(each.message) for each in said] == [
        f"0.json: is torn; it is left out{more}; `cvfp doctor runs` shows all, --mend moves it aside"]
    assert damaged.way_on(Path("runs")).endswith("--mend moves it aside")


def told(number):
    return Event(kind="warning", run_id="a", values={"text": str(number)})


def test_what_a_worker_tells_is_heard_once(tmp_path):
    journal, listener = jobs.Journal(tmp_path, "job"), jobs.Listener(tmp_path)
    for numbers in ((1, 2), (3,), (), (4,)):
        for number in numbers:
            journal(told(number))
        assert [event.values["text"] for event in listener.news()] == [*map(str, numbers)]


def test_the_age_of_a_beat_is_known_where_nothing_can_be_written(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "jobs" / "job").mkdir(parents=True)
    (tmp_path / "jobs" / "job" / "h-1.json").write_text(
        '{"job": "job", "host": "h", "process": 1, "time": "2026-01-01T00:00:00+00:00"}')
    monkeypatch.setattr(Path, "touch", refuse)
    (beat,) = jobs.beats(tmp_path)
    assert beat.age < jobs.SILENT


def test_a_cell_of_a_dead_process_of_this_host_is_free_at_once_where_the_kernel_does_not_say_its_start(
        tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", refuse)
    lease = tmp_path / "run.leases" / "1"
    with leases.RunLock(tmp_path / "run.lock").acquire(timeout=0):
        left = lease.read_bytes()
    lease.parent.mkdir()
    lease.write_bytes(left)
    with leases.RunLock(tmp_path / "run.lock").acquire(timeout=0) as held:
        held.check()


def test_a_lease_that_another_has_taken_away_meanwhile_is_not_held(tmp_path, monkeypatch):
    def listed(folder):
        names = real(folder)
        for name in names:
            os.unlink(f"{folder}/{name}")
        return [*names, "9"]

    real = os.listdir
    monkeypatch.setattr(leases.os, "listdir", listed)
    with pytest.raises(Timeout), leases.RunLock(tmp_path / "run.lock").acquire(timeout=0):
        pass


@pytest.mark.parametrize(("mounts", "named"), [
    ("22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n", "its file system, ext4, does not rename"),
    ("", "its file system does not rename"),
])
def test_the_file_system_that_will_not_do_is_named_where_it_is_known(tmp_path, monkeypatch, mounts, named):
    def refuse(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    (tmp_path / "mounts").write_text(mounts)
    monkeypatch.setattr(filesystem, "_MOUNTS", tmp_path / "mounts")
    monkeypatch.setattr(filesystem.os, "replace", refuse)
    with pytest.raises(UsageError, match=named):
        filesystem.try_rename(tmp_path)


@pytest.mark.parametrize(("column", "values", "made"), [
    ("variant", [1, "b", None], ["1", "b", None]),
    ("seed", [2**63 - 1, None, 1.0], [2**63 - 1, None, 1]),
    ("seed", [2**63, "x", 3], ["refused", "refused", 3]),
    ("learning_rate", [3e-4, 0.0, 1], [3e-4, 0.0, 1.0]),
    ("learning_rate", [-1e-9, 2.0], ["refused", 2.0]),
])
def test_every_value_of_a_column_is_judged_by_itself(column, values, made):
    rows = [{"run_id": str(row), "experiment": "e", column: value} for row, value in enumerate(values)]
    conformed = conform_rows(rows)
    kept = dict(conformed.records.select("run_id", column).rows())
    assert {each.column for each in conformed.rejected} <= {column}
    assert [kept.get(row["run_id"], "refused") for row in rows] == made


def test_a_run_without_a_perplexity_did_not_diverge_because_another_did():
    records = conform(pl.DataFrame({"run_id": ["a", "b", "c"], "experiment": "e", "val_ppl": [math.nan, None, 3.0]}))
    assert records.records.select("status", "reason", "val_ppl").rows() == [
        ("diverged", "val_ppl is nan", None), ("ok", None, None), ("ok", None, 3.0)]


@pytest.mark.parametrize(("columns", "above"), [
    ({"val_ppl": [9.0, 10.0, 11.0, None], "unigram_ppl": [10, 10, 10, 10]}, [False, True, True, False]),
    ({"val_ppl": [9.0, 11.0]}, [False, False]), ({"unigram_ppl": [9.0]}, [False]),
    ({"val_ppl": [9.0], "unigram_ppl": [None], "seed": [1]}, [False]),
])
def test_a_run_no_better_than_the_unigram_model_is_told(columns, above):
    assert series.above_unigram(pl.DataFrame(columns)).to_list() == above


@pytest.mark.parametrize(("objectives", "named"), [
    ([None, "mcdl"], None), (["mcdl"], None), ([], None), (["variance"], "variance"),
    (["mcdl", "variance", "mcdl"], "mcdl / variance"),
])
def test_what_phase_1_minimised_is_named_where_it_is_not_the_published_objective(objectives, named):
    assert series.objective_of([{"objective": each} for each in objectives]) == named


def test_a_control_of_the_same_name_is_no_checkpoint_of_the_run():
    runs = frame([Record(run_id="a", experiment="e", variant="v", phase1_mode=mode, train_tokens=tokens)
                  for mode, tokens in (("trained", 10.0), ("trained", 20.0), ("untrained", 5.0))])
    for each in (runs, runs.select("run_id", "experiment", "variant", "train_tokens")):
        kept = series.last_checkpoints(each)["train_tokens"].to_list()
        assert kept == ([5.0, 20.0] if each is runs else [20.0])


@pytest.fixture
def folder(tmp_path):
    return store.create(tmp_path / "runs")


def test_a_run_that_goes_on_keeps_the_notes_of_the_epochs_it_has_done(folder):
    row = {"run_id": "a", "experiment": "e"}
    store.begin(folder, row)
    for epoch in (1, 2, 3):
        store.go_on(folder, "a", {"epoch": epoch, "val_loss": 4.0 - epoch})
    store.begin(folder, row, done=2)
    assert store.read_running(folder)[1].select("step", "value").rows() == [(1, 3.0), (2, 2.0)]


@pytest.mark.parametrize(("facts", "whole"), [
    ({}, True), ({"run_ids": ["a"], "command": ["cvfp", "run"]}, True), ({"run_ids": [1]}, False),
    ({"run_ids": 5}, False), ({"command": "cvfp run"}, False), ({"command": ["cvfp", None]}, False),
])
def test_a_manifest_lists_texts(tmp_path, facts, whole):
    (tmp_path / "m.json").write_text(json.dumps(facts))
    if whole:
        assert store.manifest_in(tmp_path / "m.json") == facts
    else:
        with pytest.raises(damaged.Unsound, match="is no list of texts"):
            store.manifest_in(tmp_path / "m.json")


def test_the_checkpoints_of_both_phases_go_and_no_other(folder):
    atomic.folder(folder / "checkpoints")
    for name in ("a.phase1.pt", "a.phase2.pt", "b.phase2.pt"):
        (folder / "checkpoints" / name).touch()
    store.clear_checkpoint(folder, "a")
    assert [file.name for file in (folder / "checkpoints").iterdir()] == ["b.phase2.pt"]


def test_a_forecast_that_could_not_be_read_again_is_not_kept(folder):
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.keep_forecast(folder, {"run_id": "a", "step": 1, "value": math.nan})
    assert list((folder / "forecasts").iterdir()) == []
