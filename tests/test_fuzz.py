"""What the fuzzer starts from is taken, and what it looks for is found."""

import random

import pytest

import benchmarks_path

fuzz = benchmarks_path.fuzz()


@pytest.mark.parametrize("name", fuzz.KINDS)
def test_every_seed_is_an_input_that_is_taken(name):
    if name == "ingest":
        pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    kind = fuzz.KINDS[name]
    seeds = kind.seeds()[:: 4 if name == "ingest" else 1]  # test_formats reads them all
    refused = [seed[:200] for seed in seeds if not kind.tried(seed)]
    assert refused == []


def test_every_row_of_a_table_is_a_run_of_its_own_numbers_however_it_is_written(record_property):
    chance = random.Random(0)
    record_property("tried", 80)
    for _ in range(80):
        data = chance.randbytes(80)
        try:
            assert fuzz.one_row(data)
        except BaseException as error:
            error.add_note(f"input {data!r}: {fuzz.table(data)[1]!r}")
            raise


@pytest.mark.parametrize("column", fuzz.HEADINGS)
def test_a_number_from_another_row_is_a_fault(column, monkeypatch):
    name, content, rows = fuzz.table(bytes(10))
    rows[0][column], rows[1][column] = rows[1][column], rows[0][column]
    monkeypatch.setattr(fuzz, "table", lambda _: (name, content, rows))
    with pytest.raises(AssertionError, match=r"expected .*, found "):
        fuzz.one_row(b"")


@pytest.mark.parametrize(("kind", "data"), [
    ("maps", b"a=open('x')"), ("maps", b"a=N +"), ("run files", b"a = 1"), ("run files", b"\xff"),
    ("records", b'==> records/a.json <==\n{"run_id"'), ("templates", b"==> a.j2 <==\n{{ 'x' * 10**9 }}"),
    ("templates", b"==> a.j2 <==\n\xff"), ("ingest", b"==> a.csv <==\nval_loss,params\n-1,x"),
])
def test_what_is_wrong_is_refused_and_no_fault(kind, data):
    assert fuzz.KINDS[kind].tried(data) is False


def test_an_input_is_the_files_that_it_names(tmp_path):
    data = b"==> a/b.csv <==\nx,y\n\n==> ../c <==\nno\n==> a/b.csv/d <==\nno\n==> e <==\nz"
    assert fuzz.written(data, tmp_path) == ["a/b.csv", "e"]
    assert fuzz.joined(tmp_path) == b"==> a/b.csv <==\nx,y\n\n==> e <==\nz\n"
