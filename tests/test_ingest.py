"""Choosing the ingester, accounting for the input, hostile files, the store, the command."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from cvfp_core.errors import CvfpError, UsageError
from cvfp_core.ingesting import reading, storing
from cvfp_core.ingesting.run import ingest
from cvfp_core.registry.kinds import Ingester, IngestOptions
from cvfp_core.schema import store
from cvfp_core.schema.found import Found, FoundRun
from ingesting import DATA, LOG, read, registry, rows, with_ingesters, write
from test_newllm_log import RUN

# choosing by content


def test_content_decides_not_the_name(tmp_path: Path) -> None:
    made = read(write(tmp_path, RUN, "results.csv"))
    assert made.files[0].ingester == "newllm-log"


def test_a_file_nobody_knows_is_a_failure_that_lists_who_was_asked(tmp_path: Path) -> None:
    made = read(write(tmp_path, "Dear diary, today nothing happened.\n"))
    count = len(registry().items(Ingester))
    assert f"no ingester knows its content (asked: all {count} of `cvfp plugins`); " in str(made.files[0].problem)
    assert "no ingester knows its content (asked: parquet); " in read(tmp_path, format_="parquet").skipped[0]


def test_a_file_nobody_knows_inside_a_folder_is_skipped_and_named(tmp_path: Path) -> None:
    write(tmp_path, "Dear diary\n", "notes.md")
    write(tmp_path, RUN)
    made = read(tmp_path)
    assert made.records.height == 1
    assert [text.partition(":")[0] for text in made.skipped] == [f"{tmp_path.name}/notes.md"]
    assert not made.failed


def _greedy(name: str, read_: object = None) -> Ingester:
    def nothing(_path: Path, _options: IngestOptions) -> Iterator[Found]:
        yield FoundRun(line=1, columns={"variant": "x", "val_ppl": 2.0})

    return Ingester(
        name=name, title="everything", matches=lambda path, head: head is not None and path.suffix != ".csv",
        read=read_ or nothing,  # type: ignore[arg-type]
    )


def test_a_file_two_ingesters_know_is_a_failure_that_names_both_and_format_decides() -> None:
    both = with_ingesters(_greedy("greedy"))
    made = ingest([LOG], both)
    assert made.files[0].problem == (
        "output.txt: several ingesters know its content: greedy, newllm-log; choose one with --format"
    )
    assert ingest([LOG], both, format_="newllm-log").records.height == 2


def test_an_unknown_format_is_a_usage_error_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="unknown ingester 'newlm-log'; did you mean 'newllm-log'"):
        read(LOG, format_="newlm-log")


def test_a_plugin_that_breaks_costs_its_file_only_and_is_named(tmp_path: Path) -> None:
    def broken(_path: Path, _options: IngestOptions) -> Iterator[Found]:
        yield FoundRun(line=1, columns={"variant": "x"})
        raise KeyError("oops")

    made = ingest([write(tmp_path, "hello\n", "a.bin"), CSV], with_ingesters(_greedy("breaks", broken)), format_=None,
                  mapping={"variant": "model"})
    assert made.files[0].problem == "a.bin: ingester 'breaks' of plugin 'other' (other 1) failed: KeyError: 'oops'"
    assert "x" not in made.records["variant"].to_list()


CSV = DATA / "tables" / "runs.csv"

# hostile files


@pytest.mark.parametrize(("name", "change"), [
    ("CRLF", lambda text: text.replace("\n", "\r\n").encode()),
    ("UTF-16 with a mark", lambda text: text.encode("utf-16")),
    ("UTF-16 without", lambda text: text.encode("utf-16-le")),
    ("UTF-8 with a mark", lambda text: text.encode("utf-8-sig")),
    ("a wrong encoding", lambda text: text.encode("cp932", "replace")),
    ("read as Latin-1 and saved again", lambda text: text.encode().decode("latin-1").encode()),
    ("colours", lambda text: text.replace("Iter", "\x1b[32mIter\x1b[0m").replace("Epoch", "\x1b[1;31mEpoch").encode()),
    ("window titles", lambda text: text.replace("Done", "\x1b]0;title\x07Done").encode()),
    ("no newline at the end", lambda text: text.rstrip("\n").encode()),
])
def test_a_log_however_it_was_saved_gives_the_same_records(tmp_path: Path, name: str, change: object) -> None:
    made = read(write(tmp_path, change(LOG.read_text(encoding="utf-8")), "0101_v9.txt"))  # type: ignore[operator]
    expected = read(LOG)
    assert made.records["run_id"].to_list() == expected.records["run_id"].to_list(), name
    assert made.curves.height == expected.curves.height
    assert made.files[0].problem is None


def test_progress_a_terminal_overwrote_is_no_loss(tmp_path: Path) -> None:
    text = RUN.replace("  Done: 99%", " 10% 1/10 [00:01<00:09]\r 90% 9/10 [00:09<00:01]\r  Done: 99%")
    made = read(write(tmp_path, text))
    assert made.files[0].reported == 0
    assert rows(made)[0]["convergence_rate"] == 0.99


def test_line_numbers_are_those_an_editor_shows(tmp_path: Path) -> None:
    made = read(write(tmp_path, RUN.replace("  Done", "a 1%\rb 2%\rc 3%\r  Done") + "who knows\n"))
    assert made.files[0].messages[-1].startswith("log.txt:11: ")


def test_a_very_long_line_is_cut_and_reported(tmp_path: Path) -> None:
    made = read(write(tmp_path, RUN + "x" * 3_000_000 + "\n" + RUN.replace("5 samples", "6 samples")))
    assert made.records.height == 2
    assert made.files[0].reported == 1
    assert len(made.files[0].messages[0]) < 200


def test_binary_junk_between_lines_is_reported_not_fatal(tmp_path: Path) -> None:
    junk = bytes(range(256)) * 20
    made = read(write(tmp_path, RUN.encode() + junk + b"\n" + RUN.replace("5 samples", "6 samples").encode()))
    assert made.records.height == 2
    assert made.files[0].reported >= 1
    assert not any(ord(sign) < 32 for message in made.files[0].messages for sign in message)


JUNK = bytes(i * i * 167 % 251 for i in range(5000))


@pytest.mark.parametrize("content", [b"", b"\n\n\n", b"\x00" * 5000, JUNK, b"[", b"{", b"PAR1", b"\xff\xfe"])
def test_files_with_nothing_in_them_are_named_failures(tmp_path: Path, content: bytes) -> None:
    made = read(write(tmp_path, content))
    assert made.records.is_empty()
    assert str(made.files[0].problem).startswith("log.txt")


def test_a_symlink_loop_ends(tmp_path: Path) -> None:
    write(tmp_path, RUN, "a/log.txt")
    (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a" / "self")
    made = read(tmp_path)
    assert made.records.height == 1
    assert any("/a/self" in text for text in made.skipped)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    made = read(tmp_path / "pipe")
    assert made.files[0].problem == "pipe: neither a file nor a folder"


def test_the_same_file_given_twice_is_read_once(tmp_path: Path) -> None:
    path = write(tmp_path, RUN)
    assert len(read(path, tmp_path, path).files) == 1


@pytest.mark.slow
def test_a_folder_of_ten_thousand_files_is_walked(tmp_path: Path) -> None:
    for index in range(10_000):
        (tmp_path / f"{index}.md").write_bytes(b"nothing\n")
    write(tmp_path, RUN)
    made = read(tmp_path)
    assert made.records.height == 1
    assert len(made.skipped) == 10_000


def test_memory_does_not_grow_with_the_noise_in_a_log(tmp_path: Path) -> None:
    def peak(bars: int) -> int:
        path = write(tmp_path, RUN + "".join(f"model: {i % 100}% {i}/9 [00:01<00:09, 3.1MB/s]\n" for i in range(bars)))
        tracemalloc.start()
        made = read(path)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert made.files[0].lines.noise >= bars
        return size

    peak(100)  # imports what is imported once
    assert peak(60_000) < 1.3 * peak(15_000) + 200_000


# the store


def test_ingested_records_are_read_back_from_the_store_with_their_curves(tmp_path: Path) -> None:
    made = read(DATA / "newllm")
    assert storing.into(tmp_path / "store", made).written == made.records.height
    again = store.read(tmp_path / "store")
    assert again.select(sorted(again.columns)).equals(made.records.select(sorted(again.columns)))
    assert store.read_curves(tmp_path / "store").height == made.curves.height


def test_the_same_content_is_stored_once_and_both_sources_are_named(tmp_path: Path) -> None:
    storing.into(tmp_path / "store", read(LOG.parent))
    copy = Path(shutil.copytree(LOG.parent, tmp_path / "0102_rerun"))
    stored = storing.into(tmp_path / "store", read(copy))
    assert stored.written == 0
    assert [(each.kept.split()[0], each.also.split()[0]) for each in stored.known] == [("0101_v9", "0102_rerun")] * 2
    assert store.read(tmp_path / "store").height == 2


def test_names_in_the_input_cannot_leave_the_store(tmp_path: Path) -> None:
    path = write(tmp_path, "variant,experiment,run_id,val_ppl\n../../x,../..,../../../evil,2.0\n/abs,e,,3.0\n", "a.csv")
    storing.into(tmp_path / "in" / "store", read(path))
    inside = tmp_path / "in" / "store"
    outside = [each for each in tmp_path.rglob("*") if each.is_file() and inside not in each.parents]
    assert outside == [path]
    assert store.read(tmp_path / "in" / "store").height == 2


def test_read_records_takes_stores_and_logs_together_each_run_once(tmp_path: Path) -> None:
    storing.into(tmp_path / "store", read(LOG.parent))
    records = reading.read_records([tmp_path / "store", LOG, DATA / "newllm" / "died.txt"], registry())
    assert records.height == 3


def test_read_records_refuses_what_it_cannot_read_whole(tmp_path: Path) -> None:
    with pytest.raises(CvfpError, match=r"log.txt:1: 'variant' is missing"):
        reading.read_records([write(tmp_path, RUN.split("\n", 1)[1])], registry())


# the command


def _cli(*words: str) -> object:
    from cvfp_core.cli import app as cli

    if not any(each.name == "ingest" for each in cli.app.registered_commands):
        from cvfp_core.cli.ingest import ingest as function

        cli.command("ingest", function)
    return CliRunner().invoke(cli.app, ["ingest", *words])


def test_the_command_prints_a_row_a_series_and_an_account_of_the_lines() -> None:
    result = _cli(str(LOG))
    assert result.exit_code == 0
    assert "v9 1L_64d_2tok" in result.stdout
    assert "-0.415" in result.stdout
    assert "2 runs, 2 published exponents from 1 input" in result.stderr


def test_json_holds_records_counts_and_messages() -> None:
    made = json.loads(_cli(str(LOG), "--json").stdout)
    assert len(made["records"]) == 2
    assert sum(made["files"][0]["lines"].values()) == len(LOG.read_text(encoding="utf-8").splitlines())
    assert made["stored"] is None


def test_exit_codes_tell_all_some_and_none_apart(tmp_path: Path) -> None:
    bad = write(tmp_path, "Dear diary\n", "bad.txt")
    assert _cli(str(LOG)).exit_code == 0
    some = _cli(str(LOG), str(bad))
    assert some.exit_code == 3
    assert "cvfp: bad.txt: no ingester knows its content" in some.stderr
    assert _cli(str(bad)).exit_code == 1
    assert _cli(str(LOG), "--format", "nope").exit_code == 2
    assert _cli(str(LOG), "--map", "nope").exit_code == 2


def test_a_folder_without_runs_ends_in_one_line_that_says_what_is_there_instead(tmp_path: Path) -> None:
    def line(*arguments: str) -> str:
        result = _cli(str(tmp_path), *arguments)
        assert result.exit_code == 1
        assert result.stdout == ""
        (said,) = result.stderr.splitlines()
        return said

    remedy = "give logs, tables, or folders of them"
    assert line() == f"cvfp: no runs in '{tmp_path}': there are no files in it; {remedy}"
    (tmp_path / "runs.csv").write_text("variant,train_tokens,val_ppl\n")
    table = f"{tmp_path.name}/runs.csv"
    assert line("--json") == f"cvfp: no runs in '{tmp_path}': {table}: it has a heading and no row of a run"
    for name in ("a.md", "b.md"):
        (tmp_path / name).write_text("Notes.")
    said = line("--into", str(tmp_path / "kept"))
    assert re.fullmatch(rf"cvfp: no runs in '.*': {tmp_path.name}/a.md: no ingester knows its content \(asked: .*\); "
                        r"choose one with --format, .* \(and 1 more\)", said)
    assert not (tmp_path / "kept").exists()


def test_strict_makes_anything_unaccounted_an_error_and_stores_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, RUN + "who knows\n")
    result = _cli(str(path), "--strict", "--into", str(tmp_path / "store"))
    assert result.exit_code == 1
    assert "log.txt:11: expected a line of a new-llm log, found 'who knows'; nothing was stored" in result.stderr
    assert not (tmp_path / "store").exists()
    assert _cli(str(LOG), "--strict").exit_code == 0


def test_what_is_stored_can_be_shown_and_mapped_again(tmp_path: Path) -> None:
    result = _cli(str(LOG), "--into", str(tmp_path / "store"), "--experiment", "mine", "--map", "seed=42",
                  "--save-map", str(tmp_path / "map.toml"))
    assert result.exit_code == 0
    records = store.read(tmp_path / "store")
    assert (records["experiment"].unique().to_list(), records["seed"].to_list()) == (["mine"], [42, 42])
    assert (tmp_path / "map.toml").read_text() == '[map]\n"seed" = "42"\n'


# the gate


def test_a_column_of_mixed_types_is_judged_value_by_value(tmp_path: Path) -> None:
    path = write(tmp_path, json.dumps([
        {"variant": name, "train_tokens": value}
        for name, value in zip("abcdef", (5, "x", 7.0, 7.5, True, [1]), strict=True)
    ]), "a.json")
    made = read(path)
    assert made.records.select("variant", "train_tokens").rows() == [("a", 5), ("c", 7), ("d", 7.5)]
    assert made.files[0].refused == 3


def test_a_hundred_thousand_rows_pass_the_gate_by_columns() -> None:
    """No function is called for every row."""
    from cvfp_core.schema.records import conform

    size = 100_000
    loose = pl.DataFrame({
        "run_id": [str(i) for i in range(size)], "experiment": ["e"] * size, "variant": ["v"] * size,
        "val_ppl": [float(i) for i in range(size)],
    })
    calls = 0

    def count(_frame: object, _event: str, _argument: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    made = conform(loose)
    sys.setprofile(None)
    assert calls < size / 2
    assert [(each.row, each.column) for each in made.rejected] == [(0, "val_ppl")]


def test_a_log_that_runs_an_experiment_twice_and_names_no_settings_is_read(tmp_path):
    lines = "--- 10 samples ---\n--- 5 samples ---\nTrain: 6001 tokens (5 samples)\n--- 10 samples ---"
    made = read(write(tmp_path, f"✓ Training TokenBlock only: 816/11,616 parameters\n{lines}"), format_="newllm-log")
    assert sorted(made.records["num_samples"]) == [5, 10]
    assert len(made.duplicates) == 1


def test_a_folder_is_not_listed_for_each_of_its_files(tmp_path, monkeypatch):
    for number in range(30):
        write(tmp_path, f"params,train_tokens,val_loss\n{1000 + number},20000,3.5\n", f"run{number}.csv")
    listed, scandir, listdir = [], os.scandir, os.listdir
    monkeypatch.setattr(os, "scandir", lambda path=".": listed.append(path) or scandir(path))
    monkeypatch.setattr(os, "listdir", lambda path=".": listed.append(path) or listdir(path))
    assert read(tmp_path).records.height == 30
    assert len([path for path in listed if str(path) == str(tmp_path)]) < 10
