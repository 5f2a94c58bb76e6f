"""Tables and what other trainers leave."""

from __future__ import annotations

import json
import math
from pathlib import Path

import polars as pl
import pytest

from cvfp_core.errors import UsageError
from cvfp_core.ingesting import mapping
from ingesting import DATA, lines_of, read, rows, write

CSV = DATA / "tables" / "runs.csv"
MAP = {"variant": "model", "num_samples": "samples", "train_tokens": "tokens", "val_ppl": "exp(eval_loss)",
       "val_acc": "percent(acc)"}


def test_mapped_columns_become_records_and_others_keep_their_names() -> None:
    made = read(CSV, mapping=MAP)
    first = rows(made)[0]
    assert (first["variant"], first["num_samples"], first["val_acc"]) == ("tiny", 5, 0.125)
    assert first["val_ppl"] == pytest.approx(math.exp(6.0))
    assert (first["eval_loss"], first["note"], first["experiment"]) == (6.0, "first", "runs")
    assert rows(made)[1]["note"] == "second, longer"


def test_a_value_out_of_range_is_refused_with_its_row() -> None:
    made = read(CSV, mapping=MAP)
    assert made.files[0].messages == ("runs.csv:4: 'train_tokens' must be above 0, found 0",)
    assert made.failed


def test_a_perplexity_that_is_no_number_is_a_diverged_record() -> None:
    last = read(CSV, mapping=MAP).records.filter(num_samples=40).to_dicts()[0]
    assert (last["status"], last["val_ppl"], last["reason"]) == ("diverged", None, "val_ppl is nan")


@pytest.mark.parametrize("suffix", ["csv", "tsv", "json", "jsonl", "parquet", "columns.json"])
def test_every_form_of_a_table_gives_the_same_records(tmp_path: Path, suffix: str) -> None:
    table = pl.DataFrame({
        "variant": ["a", "a", "b"], "train_tokens": [10, 20, 30], "val_ppl": [5.5, 4.0, 3.25],
        "val_acc": [0.1, 0.2, None], "lab": ["x", "y", "z"],
    })
    path = tmp_path / f"made.{suffix}"
    if suffix == "csv":
        table.write_csv(path)
    elif suffix == "tsv":
        table.write_csv(path, separator="\t")
    elif suffix == "json":
        path.write_text(json.dumps(table.to_dicts(), indent=1))
    elif suffix == "columns.json":
        path.write_text(json.dumps(table.to_dict(as_series=False)))
    elif suffix == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_dicts()))
    else:
        table.write_parquet(path)
    made = read(path)
    assert not made.failed
    assert made.records.select(table.columns).equals(table)


def test_nan_and_infinity_in_json_diverge(tmp_path: Path) -> None:
    path = write(tmp_path, '[{"variant": "a", "val_ppl": NaN}, {"variant": "b", "val_ppl": Infinity}]', "a.json")
    assert read(path).records["status"].to_list() == ["diverged", "diverged"]


def test_a_torn_last_line_is_reported_and_the_others_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path, '{"variant": "a", "val_ppl": 2.0}\n{"variant": "b", "val_p', "a.jsonl")
    made = read(path)
    assert made.records["variant"].to_list() == ["a"]
    assert made.files[0].messages[0].startswith("a.jsonl:2: expected JSON")
    assert lines_of(made) == 2


def test_a_row_of_another_length_is_reported(tmp_path: Path) -> None:
    made = read(write(tmp_path, "variant,val_ppl\na,2.0\nb\nc,3.0\n", "a.csv"))
    assert made.records["variant"].to_list() == ["a", "c"]
    assert made.files[0].messages == ("a.csv:3: expected 2 cells, found 1: 'b'",)


def test_a_malformed_document_says_file_line_and_what_stands_there(tmp_path: Path) -> None:
    made = read(write(tmp_path, '[{"variant": "a"},\n{"variant": oops}]', "a.json"))
    assert made.files[0].problem == "a.json:2: expected JSON (expecting value), found '{\"variant\": oops}]'"


def test_text_in_a_number_column_is_refused(tmp_path: Path) -> None:
    made = read(write(tmp_path, "variant,train_tokens\na,many\nb,12\n", "a.csv"))
    assert made.files[0].messages == ("a.csv:2: 'train_tokens' is not a finite Float64, found 'many'",)
    assert made.records["variant"].to_list() == ["b"]


def test_percent_signs_are_fractions(tmp_path: Path) -> None:
    made = read(write(tmp_path, "variant,val_er\na,81.3%\n", "a.csv"))
    assert made.records["val_er"].to_list() == [pytest.approx(0.813)]


def test_a_column_nobody_has_is_a_usage_error_that_lists_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"--map val_ppl=ppl: no column 'ppl'; there are: eval_ppl, samples"):
        read(CSV, mapping={"val_ppl": "ppl"})


def test_a_saved_mapping_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "map.toml"
    mapping.save(path, MAP)
    assert mapping.read([str(path)]) == MAP
    assert mapping.read([str(path), "seed=42"]) == {**MAP, "seed": "42"}


def test_a_mapping_is_saved_in_a_new_folder_and_refused_where_it_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "new" / "map.toml"
    mapping.save(path, MAP)
    assert mapping.read([str(path)]) == MAP
    with pytest.raises(UsageError, match=f"cannot write '{path / 'below'}': "):
        mapping.save(path / "below", MAP)


@pytest.mark.parametrize("text", ["nonsense", "=x", "x="])
def test_a_mapping_that_is_none_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="expected column=source"):
        mapping.read([text])


def test_the_last_evaluation_of_a_trainer_state_is_the_record() -> None:
    made = read(DATA / "trainers")
    (row,) = rows(made)
    assert (row["variant"], row["experiment"]) == ("tiny-gpt", "trainers")
    assert (row["train_tokens"], row["epochs"]) == (10_000, 2)
    assert row["val_ppl"] == pytest.approx(math.exp(3.0))
    assert row["flops"] == 123456.0
    evaluations = made.curves.filter(metric="eval_loss").select("step", "value").rows()
    assert evaluations == [(10, 4.0), (20, 3.0)]


def test_a_tracker_s_table_of_runs_becomes_records() -> None:
    made = read(DATA / "tables" / "wandb_runs.csv")
    assert made.files[0].ingester == "wandb-runs"
    assert made.records["status"].to_list() == ["ok", "failed"]
    assert made.records["train_tokens"].to_list() == [1_000_000, 500_000]
    assert made.records["val_ppl"].to_list() == pytest.approx([math.exp(3), math.exp(4)])


def test_a_chart_s_history_becomes_curves_of_every_run() -> None:
    made = read(DATA / "tables" / "wandb_history.csv")
    assert made.records["variant"].to_list() == ["run-a", "run-b"]
    assert made.records["val_ppl"].to_list() == pytest.approx([math.exp(3), math.exp(5)])
    assert made.curves.select("step", "value").rows() == [(10, 4.0), (20, 3.0), (10, 5.0)]


def test_an_event_file_becomes_a_record_with_curves(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    path = tmp_path / "lab" / "small" / "events.out.tfevents.1.host"
    path.parent.mkdir(parents=True)
    _write_events(path, [("eval/loss", 10, 4.0), ("eval/loss", 20, 3.0), ("train/tokens", 20, 5000.0)])
    made = read(path)
    assert [file.problem for file in made.files] == [None]
    (row,) = rows(made)
    assert (row["variant"], row["experiment"], row["train_tokens"]) == ("small", "lab", 5000)
    assert row["val_ppl"] == pytest.approx(math.exp(3.0))
    assert made.curves.filter(metric="eval/loss")["value"].to_list() == [4.0, 3.0]


def _write_events(path: Path, scalars: list[tuple[str, int, float]]) -> None:
    """An event file as TensorBoard reads it: records framed by length and checksums."""
    import struct

    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    events = [Event(wall_time=0.0, file_version="brain.Event:2")] + [
        Event(wall_time=1.0, step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)]))
        for tag, step, value in scalars
    ]
    with path.open("wb") as file:
        for event in events:
            data = event.SerializeToString()
            header = struct.pack("<Q", len(data))
            checks = [struct.pack("<I", masked_crc32c(part)) for part in (header, data)]
            file.write(header + checks[0] + data + checks[1])
