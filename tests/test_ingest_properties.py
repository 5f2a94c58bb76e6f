"""Inputs cut, shuffled and corrupted: no exception but CvfpError, and no line that is not accounted for."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cvfp_core.errors import CvfpError
from cvfp_core.ingesting.lines import encoding, read_lines
from cvfp_core.schema.records import SCHEMA
from ingesting import DATA, read

LOGS = [path.read_bytes() for path in sorted((DATA / "newllm").rglob("*.txt"))]
OTHERS = [path for folder in ("tables", "trainers", "trackers", "newllm", "console")
          for path in sorted((DATA / folder).rglob("*.*")) if path.is_file()]
WRONG = ["0", "-1", "nan", "inf", "1e999", "9" * 30, "٣", "1,2,3", "5.5.5", "²", "%", ""]
_quick = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def _check(data: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        try:
            made = read(path, format_="newllm-log" if name == "log.txt" else None)
        except CvfpError:
            return
        assert made.records.columns[: len(SCHEMA)] == list(SCHEMA)
        assert made.records["run_id"].is_unique().all()
        (file,) = made.files
        assert " failed: " not in str(file.problem), file.problem  # an ingester that broke
        if file.problem is None and name == "log.txt":
            lines = sum(len(batch) for _, _, batch in read_lines(path))
            counted = file.lines.record + file.lines.curve + file.lines.noise
            assert counted <= lines <= counted + file.reported - file.refused
            assert file.runs + file.refused <= lines


@_quick
@given(st.data())
def test_a_log_cut_anywhere_is_read(data: st.DataObject) -> None:
    log = data.draw(st.sampled_from(LOGS))
    _check(log[: data.draw(st.integers(0, len(log)))], "log.txt")


@_quick
@given(st.data())
def test_a_log_with_its_lines_shuffled_is_read(data: st.DataObject) -> None:
    lines = data.draw(st.sampled_from(LOGS)).split(b"\n")
    _check(b"\n".join(data.draw(st.permutations(lines))), "log.txt")


@_quick
@given(st.data())
def test_a_log_with_bytes_changed_is_read(data: st.DataObject) -> None:
    log = bytearray(data.draw(st.sampled_from(LOGS)))
    for _ in range(data.draw(st.integers(1, 30))):
        log[data.draw(st.integers(0, len(log) - 1))] = data.draw(st.integers(0, 255))
    _check(bytes(log), "log.txt")


@_quick
@given(st.data())
def test_a_log_with_numbers_changed_is_read(data: st.DataObject) -> None:
    words = data.draw(st.sampled_from(LOGS)).decode().split(" ")
    numbers = [index for index, word in enumerate(words) if any(sign.isdigit() for sign in word)]
    for _ in range(data.draw(st.integers(1, 20))):
        index = data.draw(st.sampled_from(numbers))
        words[index] = data.draw(st.sampled_from(WRONG))
    _check(" ".join(words).encode(), "log.txt")


@_quick
@given(st.data())
def test_any_other_input_cut_and_corrupted_is_read_or_named(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(OTHERS))
    content = bytearray(path.read_bytes())
    content = content[: data.draw(st.integers(0, len(content)))]
    for _ in range(data.draw(st.integers(0, 10))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    _check(bytes(content), path.name)


@_quick
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=300), max_size=50))
def test_the_lines_of_a_file_come_back_as_they_are(lines: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.txt"
        path.write_bytes("".join(line + "\n" for line in lines).encode())
        if encoding(path.read_bytes()[:4096]) != "utf-8":
            return  # a file may begin with a byte order mark by chance
        found = [(first + step * i, line) for first, step, batch in read_lines(path) for i, line in enumerate(batch)]
        assert found == list(enumerate(lines, 1))
