"""The index of a large store is never trusted over its records, whatever becomes of either."""

import os
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cvfp_core.errors import CvfpError
from cvfp_core.schema import damaged, index, store

OLD = time.time_ns() - 3600 * 10**9


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A store of four records whose files are older than any tick of a clock."""
    monkeypatch.setattr(index, "WORTH", 2)
    monkeypatch.setattr(index, "_times", lambda key: int(key.rpartition(b"\0")[2].split()[0]))  # no test sets a ctime
    made = store.create(tmp_path / "runs")
    for name in "abcd":
        put(made, name, val_ppl=10.0)
    return made


def put(folder, name, *, when=OLD, **columns):
    store.write_record(folder, {"run_id": name, "experiment": "made", "variant": "x"} | columns)
    os.utime(folder / "records" / f"{name}.json", ns=(when, when))


def plain(folder):
    """The records without an index."""
    (folder / index.NAME).unlink(missing_ok=True)
    try:
        return store.read(folder)
    finally:
        (folder / index.NAME).unlink(missing_ok=True)


def indexed(folder):
    """The names of the record files that the index has."""
    found = index._loaded(folder)
    return sorted(key.partition(b".")[0].decode() for key in found.to_series(found.columns.index(index._FILE)))


@pytest.fixture
def opened(monkeypatch):
    """The names of the record files that are opened."""
    names = []
    load = damaged.json_object
    monkeypatch.setattr(damaged, "json_object", lambda path, what: (
        names.append(path.stem) if path.name != store.MARKER else None, load(path, what))[1])
    return names


def test_a_second_reading_opens_no_record_and_finds_the_same(folder, opened):
    first = store.read(folder)
    assert opened == ["a", "b", "c", "d"]
    opened.clear()
    assert store.read(folder).equals(first)
    assert opened == []


def test_a_small_store_has_no_index(folder, monkeypatch):
    monkeypatch.setattr(index, "WORTH", 5)
    store.read(folder)
    assert not (folder / index.NAME).exists()


def test_only_what_is_new_changed_or_gone_is_read_again(folder, opened):
    store.read(folder)
    opened.clear()
    put(folder, "b", val_ppl=99.0, when=OLD + 1)
    put(folder, "e", val_ppl=5.0)
    (folder / "records" / "c.json").unlink()
    found = store.read(folder)
    assert sorted(opened) == ["b", "e"]
    assert dict(found.select("run_id", "val_ppl").rows()) == {"a": 10.0, "b": 99.0, "d": 10.0, "e": 5.0}
    assert found.equals(plain(folder))


def test_an_edit_that_keeps_size_time_and_inode_is_seen_by_the_time_of_the_change(folder):
    store.read(folder)
    file = folder / "records" / "a.json"
    before = file.stat()
    file.write_text(file.read_text().replace("10.0", "11.0"))
    os.utime(file, ns=(OLD, OLD))
    after = file.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, OLD, before.st_ino)
    assert store.read(folder)["val_ppl"].to_list() == [11.0, 10.0, 10.0, 10.0]


@pytest.mark.parametrize("when", [OLD - 10**15, 0, time.time_ns() + 3600 * 10**9], ids=["earlier", "never", "later"])
def test_a_record_that_is_replaced_with_another_time_is_seen_wherever_the_clock_was_set(folder, when):
    store.read(folder)
    put(folder, "a", val_ppl=11.0, when=when)
    assert store.read(folder).filter(run_id="a")["val_ppl"].to_list() == [11.0]


def test_a_record_replaced_within_a_tick_of_the_clock_is_seen(folder, monkeypatch):
    """A file system that says the same of both: seconds only, inodes used again, the same size."""
    listed = index._listed
    coarse = {}
    monkeypatch.setattr(index, "_listed", lambda folder: {
        b"%s\0%d 0 1 1" % (path.name.encode(), coarse.setdefault(path.name, path.stat().st_mtime_ns // 10**9 * 10**9)):
        path for path in listed(folder).values()})
    put(folder, "a", val_ppl=10.0, when=time.time_ns())
    assert store.read(folder).filter(run_id="a")["val_ppl"].to_list() == [10.0]
    assert indexed(folder) == ["b", "c", "d"]
    put(folder, "a", val_ppl=11.0, when=time.time_ns())
    assert store.read(folder).filter(run_id="a")["val_ppl"].to_list() == [11.0]


def test_a_record_of_the_future_is_read_every_time(folder, opened):
    put(folder, "a", when=time.time_ns() + 3600 * 10**9)
    store.read(folder)
    opened.clear()
    store.read(folder)
    assert opened == ["a"]


@pytest.mark.parametrize("spoil", [
    lambda content: content[:-1], lambda content: content[:40], lambda _: b"",
    lambda content: content[:60] + bytes([content[60] ^ 1]) + content[61:],
], ids=["a byte less", "torn", "empty", "a bit"])
def test_a_spoiled_index_is_made_anew(folder, spoil):
    first = store.read(folder)
    whole = (folder / index.NAME).read_bytes()
    (folder / index.NAME).write_bytes(spoil(whole))
    assert store.read(folder).equals(first)
    assert (folder / index.NAME).read_bytes() == whole


def test_an_index_of_another_version_or_of_other_columns_is_made_anew(folder, monkeypatch):
    monkeypatch.setattr(index, "_FILE", "file as read by cvfp 0.0.1")
    store.read(folder)
    monkeypatch.undo()
    monkeypatch.setattr(index, "WORTH", 2)
    assert index._loaded(folder).is_empty()
    assert store.read(folder)["val_ppl"].to_list() == [10.0] * 4


def test_a_broken_record_is_named_whatever_the_index_says(folder):
    store.read(folder)
    (folder / "records" / "a.json").write_text('{"run_id": "a')
    for _ in range(2):
        with pytest.raises(CvfpError, match=r"a\.json: not a record"):
            store.read(folder)


def test_a_store_that_cannot_be_written_is_read_without(folder, monkeypatch):
    def refuse(*_args, **_more):
        raise OSError(30, "Read-only file system")

    first = plain(folder)
    monkeypatch.setattr(index.atomic, "write", refuse)
    monkeypatch.setattr(index.tempfile, "TemporaryFile", refuse)
    assert store.read(folder).equals(first)
    assert not (folder / index.NAME).exists()


values = st.one_of(st.none(), st.integers(-3, 3), st.floats(0, 1), st.sampled_from(["x", "y"]), st.booleans(),
                   st.lists(st.integers(0, 3), max_size=2))


columns = st.dictionaries(st.sampled_from(["lab", "depth"]), values)


@settings(max_examples=20)
@given(st.lists(columns, min_size=3, max_size=5), st.lists(st.tuples(st.integers(0, 5), columns), max_size=3))
def test_records_are_the_same_with_an_index_and_without(tmp_path_factory, first, then):
    folder = store.create(tmp_path_factory.mktemp("runs"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "WORTH", 2)
        patch.setattr(index, "_SETTLED", -10**18)  # all is taken in at once
        for number, more in enumerate(first):
            put(folder, str(number), **more)
        store.read(folder)
        for number, more in then:
            put(folder, str(number), when=OLD + number, **more)
            store.read(folder)
        found = store.read(folder)
    expected = plain(folder)
    assert found.schema == expected.schema
    assert found.to_dicts() == expected.to_dicts()


READER = """
import sys
from cvfp_core.schema import damaged, index, store
index.WORTH = 2
index._SETTLED = -10**18
for _ in range(60):
    found = store.read(store.Path(sys.argv[1]))
    assert found["seed"].is_between(0, 60).all() and found.height == 4, found
"""


def test_readers_and_a_writer_at_once_and_a_reader_that_is_killed_leave_no_wrong_index(folder):
    for name in "abcd":
        put(folder, name, seed=0)
    readers = [subprocess.Popen([sys.executable, "-c", READER, str(folder)]) for _ in range(2)]
    for number in range(61):
        for name in "abcd":
            store.write_record(folder, {"run_id": name, "experiment": "made", "variant": "x", "seed": number})
        if number == 30:
            readers[1].kill()
        time.sleep(0.01)
    assert readers[0].wait(timeout=900) == 0
    readers[1].wait(timeout=900)
    assert store.read(folder)["seed"].to_list() == [60] * 4
