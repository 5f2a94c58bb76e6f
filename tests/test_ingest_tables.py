"""Tables and what other trainers leave."""

from __future__ import annotations

import bz2
import gzip
import importlib
import json
import lzma
import math
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from cvfp_core.cli.app import app
from cvfp_core.cli.asked import points
from cvfp_core.errors import UsageError
from cvfp_core.ingesting import mapping, packed, reading
from cvfp_core.reporting import sweep
from cvfp_core.results.runs import ask
from ingesting import DATA, lines_of, read, rows, write
from made_formats import write_events

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
    assert made.files[0].messages == ("a.csv:2: 'train_tokens' is not a finite number, found 'many'",)
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
    assert (row["run_id"], row["experiment"]) == ("tiny-gpt", "trainers")
    assert (row["tokens_seen"], row["train_tokens"], row["epochs"]) == (10_000, 5_000, 2)
    assert row["val_ppl"] == pytest.approx(math.exp(3.0))
    assert row["flops"] == 123456.0
    evaluations = made.curves.filter(metric="eval_loss").select("step", "value").rows()
    assert evaluations == [(10, 4.0), (20, 3.0)]


def test_a_tracker_s_table_of_runs_becomes_records() -> None:
    made = read(DATA / "tables" / "wandb_runs.csv")
    assert made.files[0].ingester == "wandb-runs"
    assert made.records.sort("run_id").select("run_id", "status", "train_tokens").rows() == [
        ("run-a", "ok", 1_000_000), ("run-b", "failed", 500_000)]
    assert made.records.sort("run_id")["val_ppl"].to_list() == pytest.approx([math.exp(3), math.exp(4)])


def test_a_chart_s_history_becomes_curves_of_every_run() -> None:
    made = read(DATA / "tables" / "wandb_history.csv")
    assert made.records["run_id"].to_list() == ["run-a", "run-b"]
    assert made.records["val_ppl"].to_list() == pytest.approx([math.exp(3), math.exp(5)])
    assert made.curves.select("step", "value").rows() == [(10, 4.0), (20, 3.0), (10, 5.0)]


def test_an_event_file_becomes_a_record_with_curves(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    path = tmp_path / "lab" / "small" / "events.out.tfevents.1.host"
    path.parent.mkdir(parents=True)
    write_events(path, [("eval/loss", 10, 4.0), ("eval/loss", 20, 3.0), ("train/tokens", 20, 5000.0)])
    made = read(path)
    assert [file.problem for file in made.files] == [None]
    (row,) = rows(made)
    assert (row["run_id"], row["experiment"], row["train_tokens"]) == ("small", "lab", 5000)
    assert row["val_ppl"] == pytest.approx(math.exp(3.0))
    assert made.curves.filter(metric="eval/loss")["value"].to_list() == [4.0, 3.0]


ND = """n_params,n_tokens,flops,val_loss
1000000,10000000,60000000000000,5.31
1000000,40000000,240000000000000,4.62
4000000,10000000,240000000000000,5.05
4000000,40000000,960000000000000,4.21
"""


def test_a_table_without_variants_is_read_by_what_its_columns_are_called(tmp_path: Path) -> None:
    made = read(write(tmp_path, ND, "results.csv"))
    assert made.records.select("params", "train_tokens", "flops", "val_loss").rows()[1] == (4e6, 1e7, 2.4e14, 5.05)
    assert made.records["variant"].null_count() == 4
    assert made.records["n_params"].to_list() == [1e6, 4e6, 1e6, 4e6]
    assert made.notes == ("results.csv: n_tokens is read as train_tokens, n_params is read as params",)
    assert made.records["run_id"].n_unique() == 4


@pytest.mark.parametrize(("head", "found"), [
    ("N,D,C,loss", {"params", "train_tokens", "flops", "val_loss"}),
    ("Model Size,Training Tokens,Training FLOP,Eval Loss", {"params", "train_tokens", "flops", "val_loss"}),
    ("n,d,c,loss", {"val_loss"}), ("num_params,tokens,x,perplexity", {"params", "train_tokens", "val_ppl"}),
    ("params,train_tokens,C,val_loss", {"flops"}),
])
def test_aliases_are_taken_where_the_name_is_not_there(tmp_path: Path, head: str, found: set[str]) -> None:
    made = read(write(tmp_path, f"{head}\n1000000,20000000,120000000000000,3.5\n", "a.csv"))
    assert set(made.files[0].taken) == found
    assert all(made.records[name][0] == made.records[column][0] for name, column in made.files[0].taken.items())


def test_an_alias_is_not_taken_beside_what_it_follows_from_nor_where_a_mapping_reads_it(tmp_path: Path) -> None:
    path = write(tmp_path, "variant,train_tokens,val_ppl,loss\na,10,20.0,9.0\n", "a.csv")
    assert read(path).files[0].taken == {}
    assert rows(read(path))[0]["val_loss"] == pytest.approx(math.log(20.0))
    path = write(tmp_path, "params,loss\n10,9.0\n", "b.csv")
    made = read(path, mapping={"train_loss": "loss"})
    assert (made.files[0].taken, made.records["val_loss"].to_list()) == ({}, [None])


def test_a_value_out_of_range_under_an_alias_is_refused_with_row_column_and_value(tmp_path: Path) -> None:
    made = read(write(tmp_path, "params,ppl\n10,0.37\n20,15\n30,40%\n40,n/a\n", "a.csv"))
    assert made.files[0].messages == (
        "a.csv:2: 'ppl' (read as val_ppl) must be at least 1, found 0.37",
        "a.csv:4: 'ppl' (read as val_ppl) is not a finite number, found '40%'")
    assert made.records.select("params", "val_ppl", "status").rows() == [
        (20, 15, "ok"), (40, None, "ok")]
    made = read(write(tmp_path, "params,ppl\n10,inf\n20,15\n", "c.csv"))
    assert made.records.select("val_ppl", "status").rows() == [(None, "diverged"), (15, "ok")]
    mapped = read(write(tmp_path, "params,x\n10,40%\n20,2.5\n", "b.csv"), mapping={"val_loss": "x"})
    assert mapped.files[0].messages == ("b.csv:2: 'val_loss' is not a finite number, found '40%'",)


def test_rows_that_differ_in_anything_are_runs_of_their_own_and_equal_rows_one(tmp_path: Path) -> None:
    sweep = "variant,learning_rate,tokens,val_loss\ntiny,0.01,1000,3.7\ntiny,0.003,1000,3.7\ntiny,0.003,1000,3.7\n"
    made = read(write(tmp_path, sweep, "sweep.csv"))
    assert made.records["learning_rate"].to_list() == [0.01, 0.003]
    assert len(made.duplicates) == 1
    figures = "variant,lr,train_tokens,train_ppl,val_ppl,val_acc\na,0.1,10,5.0,6.0,0.5\na,0.2,10,5.0,6.0,0.5\n"
    assert read(write(tmp_path, figures, "figures.csv")).records["lr"].to_list() == [0.1, 0.2]
    few = "variant,lr,train_tokens,val_ppl\na,{},10,6.0\n"
    both = read(write(tmp_path, few.format(0.1), "one/sweep.csv"), write(tmp_path, few.format(0.2), "two/sweep.csv"))
    assert both.records["lr"].to_list() == [0.1, 0.2]


def test_what_a_row_is_called_does_not_hang_on_its_neighbours(tmp_path: Path) -> None:
    path = write(tmp_path, ND, "results.csv")
    alone = write(tmp_path, "".join(ND.splitlines(keepends=True)[:2]), "one/results.csv")
    assert read(alone).records["run_id"].to_list() == read(path).records["run_id"].to_list()[:1]


def test_a_configuration_is_no_run(tmp_path: Path) -> None:
    made = read(write(tmp_path, '{"vocab_size": 100, "hidden_size": 7}', "config.json"))
    assert made.records.is_empty()
    assert made.files[0].messages == (
        "config.json:1: is no run, which has a size and a metric; the columns are 'vocab_size', 'hidden_size'; say "
        "which is which, as in --map params=COLUMN --map val_loss=COLUMN",)


def test_one_source_may_feed_several_columns_and_stays(tmp_path: Path) -> None:
    made = read(write(tmp_path, "variant,x\na,5.0\n", "a.csv"), mapping={"left": "x", "right": "x", "val_ppl": "x"})
    assert made.records.select("left", "right", "val_ppl", "x").rows() == [(5.0, 5.0, 5.0, 5.0)]


@pytest.mark.parametrize(("source", "value"), [
    ("held-out/avg_loss", 3.0), ("exp(held-out/avg_loss)", math.exp(3.0)), ("42", 42.0),
    ("`Training FLOP` / (6 * `Model Size`)", 1e4),
    ("max(held-out/avg_loss, 4)", 4.0), ("2 ** 0.5", math.sqrt(2)),
])
def test_a_mapping_is_an_expression_over_the_columns(tmp_path: Path, source: str, value: float) -> None:
    text = "variant,held-out/avg_loss,Training FLOP,Model Size\na,3.0,6e10,1e6\n"
    made = read(write(tmp_path, text, "a.csv"), mapping={"val_ppl": source})
    assert made.records["val_ppl"].to_list() == [pytest.approx(value)]


@pytest.mark.parametrize(("cell", "said"), [
    ("abc", "'val_ppl' is not a finite number, found 'abc'"),
    ("-1e400", "'val_ppl' is not a finite number, found '-1e400'"),
    ("1000", None), ("", None),
])
def test_what_a_mapping_cannot_compute_is_refused_or_empty_and_never_an_exception(
        tmp_path: Path, cell: str, said: str | None) -> None:
    made = read(write(tmp_path, f"variant,loss\na,{cell}\nb,2.0\n", "a.csv"), mapping={"val_ppl": "exp(loss) / 1"})
    assert made.files[0].messages == ((f"a.csv:2: {said}",) if said else ())
    assert made.records["val_ppl"].to_list()[-1] == pytest.approx(math.exp(2.0))


def test_numbers_nobody_declared_stay_numbers_under_their_own_names(tmp_path: Path) -> None:
    made = read(write(tmp_path, "variant,width,score/x,lab\na,6,1,north\nb,7,0.5,south\n", "a.csv"))
    assert made.records.select("width", "score/x", "lab").rows() == [(6, 1.0, "north"), (7, 0.5, "south")]
    assert made.records.schema["score/x"] == pl.Float64


def test_a_percent_sign_in_what_is_no_fraction_is_refused(tmp_path: Path) -> None:
    made = read(write(tmp_path, "variant,train_tokens,val_acc,share\na,50%,40%,30%\nb,5,40%,30%\n", "a.csv"))
    assert made.files[0].messages == ("a.csv:2: 'train_tokens' is not a finite number, found '50%'",)
    assert made.records.select("val_acc", "share").rows() == [(0.4, 0.3)]


# what tables look like


def runs_of(folder: Path, text: str, name: str = "a.csv", **asked: object) -> list[dict[str, object]]:
    """The records, without what every record has."""
    made = read(write(folder, text, name), **asked)
    assert not made.failed, made.files[0]
    return [{key: value for key, value in row.items() if value is not None and key not in (
        "run_id", "status", "source", "content", "derived", "experiment")} for row in rows(made)]


@pytest.mark.parametrize(("heading", "cell", "name", "value"), [
    ("num_params (M)", "70", "params", 70e6), ("params_B", "1.4", "params", 1.4e9), ("N (1e6)", "7", "params", 7e6),
    ("Number of parameters", "70M", "params", 70e6), ("Model Size [billions]", "1", "params", 1e9),
    ("tokens in millions", "3", "train_tokens", 3e6), ("Training FLOPs (PF-days)", "1", "flops", 8.64e19),
    ("Compute [EFLOP]", "2", "flops", 2e18), ("C", "2e19", "flops", 2e19),
    ("Val Loss (bits)", "2", "val_loss", math.log(4)),
    ("Loss/val", "3.5", "val_loss", 3.5), ("valLoss", "3.5", "val_loss", 3.5),
    ("held-out loss", "3.5", "val_loss", 3.5),
    ("summary.eval/loss", "3.5", "val_loss", 3.5), ("config.n_layer", "4", "num_layers", 4),
    ("val_accuracy (%)", "40", "val_acc", 0.4), ("tokens (train)", "5", "train_tokens", 5),
    ("Eval PPL", "20", "val_ppl", 20), ("train/loss", "3", "train_loss", 3),
])
def test_a_heading_is_read_in_any_spelling_with_its_unit_and_it_is_said(
        tmp_path: Path, heading: str, cell: str, name: str, value: float) -> None:
    made = read(write(tmp_path, f"{heading},score\n{cell},1\n{cell},2\n", "a.csv"))
    assert made.records[name].to_list() == pytest.approx([value, value])
    assert made.notes[0].startswith(f"a.csv: {heading}")
    assert f"is read as {name}" in made.notes[0]


@pytest.mark.parametrize("heading", ["params (furlongs)", "params_phase3", "d", "n", "loss_2", "size"])
def test_a_heading_that_is_not_understood_is_taken_for_nothing(tmp_path: Path, heading: str) -> None:
    made = read(write(tmp_path, f"{heading},val_loss\n70,1\n80,2\n", "a.csv"))
    assert made.files[0].taken == {}
    assert ("its unit is not known" in "".join(made.notes)) == ("(" in heading)


def test_columns_that_lose_to_another_and_texts_are_said(tmp_path: Path) -> None:
    made = read(write(tmp_path, "params,eval_loss,loss,N_tokens\n1000,2.5,9,many\n2000,2.4,9,few\n", "a.csv"))
    assert made.notes == ("a.csv: eval_loss is read as val_loss; N_tokens is not read as train_tokens, as it holds no "
                          "numbers; loss is not read as val_loss, as eval_loss is",)


def test_an_index_comments_and_headings_that_lack_or_come_twice_are_no_obstacle(tmp_path: Path) -> None:
    text = '# by a script\n\n,params,loss,loss,\n0,"1,000,000",3.5 ,4,x\n# half\n1,2_000_000,3.25,5,y\n'
    assert runs_of(tmp_path, text) == [
        {"params": 1e6, "val_loss": 3.5, "val_ppl": math.exp(3.5), "loss": 3.5, "loss_2": 4, "column_5": "x"},
        {"params": 2e6, "val_loss": 3.25, "val_ppl": math.exp(3.25), "loss": 3.25, "loss_2": 5, "column_5": "y"}]
    made = read(tmp_path / "a.csv")
    assert made.files[0].lines.noise == 4
    assert "the first column, which has no name, is taken for an index and left out" in made.notes[0]
    assert "loss is called loss_2, one without a name is called column_5" in made.notes[0]


def test_headings_that_are_numbers_are_a_size(tmp_path: Path) -> None:
    made = read(write(tmp_path, "model,100,1k,1e4\na,5,4,3\nb,6,5,\n", "a.csv"))
    assert made.records.select("model", "size", "value").rows() == [
        ("a", 100, 5), ("a", 1000, 4), ("a", 10000, 3), ("b", 100, 6), ("b", 1000, 5)]
    assert "headings 100 to 1e4 are read as the column size" in made.notes[0]


DOCUMENTS = {
    "a list in an object": {"corpus": "c", "meta": {"seed": 3}, "runs": [
        {"config": {"n_params": 1e6}, "val_loss": 3.0}, {"config": {"n_params": 2e6}, "val_loss": 2.0}]},
    "runs by name": {"one": {"n_params": 1e6, "val_loss": 3.0}, "two": {"n_params": 2e6, "val_loss": 2.0}},
    "columns": {"n_params": [1e6, 2e6], "val_loss": [3.0, 2.0]},
    "columns of pandas": {"n_params": {"0": 1e6, "1": 2e6}, "val_loss": {"0": 3.0, "1": 2.0}},
    "split of pandas": {"columns": ["n_params", "val_loss"], "index": [0, 1], "data": [[1e6, 3.0], [2e6, 2.0]]},
}


@pytest.mark.parametrize("form", DOCUMENTS)
def test_runs_are_found_in_any_usual_form_of_json(tmp_path: Path, form: str) -> None:
    found = runs_of(tmp_path, json.dumps(DOCUMENTS[form]), "a.json")
    assert [(row["params"], row["val_loss"]) for row in found] == [(1e6, 3.0), (2e6, 2.0)]
    if form == "a list in an object":
        assert all((row["corpus"], row["meta.seed"]) == ("c", 3) for row in found)
    if form == "runs by name":
        assert [row["name"] for row in found] == ["one", "two"]


@pytest.mark.parametrize(("line", "said"), [
    ('{"params": 9, "val_loss": 3, "note": "\\ud800"}', "'note' is no value that can be kept"),
    ('{"params": %s, "val_loss": 3}' % ("9" * 401), "'params' is no value that can be kept, found 9999"),
    ('{"a":' * 5000 + "1" + "}" * 5000, "expected JSON"), ('{"params": 9, "val_loss": ', "expected JSON"),
    ("[1]", "expected an object"), ('{"params": 9, "val_loss": -3}', "'val_loss' must not be negative, found -3"),
])
def test_a_bad_line_costs_itself_and_is_counted(tmp_path: Path, line: str, said: str) -> None:
    text = '{"params": 1, "val_loss": 3.5}\n' + line + '\n{"params": 2, "val_loss": 3.25}\n'
    made = read(write(tmp_path, text, "a.jsonl"))
    assert made.records["params"].to_list() == [1, 2]
    assert made.files[0].reported == 1
    assert f"a.jsonl:2: {said}" in made.files[0].messages[0]


def test_a_control_character_in_a_heading_is_no_exception(tmp_path: Path) -> None:
    made = read(write(tmp_path, '{"pa\\u0001rams": 1, "": 2, "val_loss": 3.5, "params": 2}\n' * 2, "a.jsonl"))
    assert made.files[0].problem is None
    assert made.records["column"].to_list() == [2]


def test_a_file_without_runs_gives_one_message_that_lists_its_columns(tmp_path: Path) -> None:
    made = read(write(tmp_path, "lab,note\n" + "a,b\n" * 50, "a.csv"))
    assert made.files[0].messages == (
        "a.csv:2: is no run, which has a size and a metric; the columns are 'lab', 'note'; say which is which, as in "
        "--map params=COLUMN --map val_loss=COLUMN (and 49 more rows)",)
    assert made.files[0].refused == 50


def test_one_message_stands_for_all_values_refused_for_one_reason(tmp_path: Path) -> None:
    made = read(write(tmp_path, "params,val_ppl\n" + "".join(f"{i},0.5\n" for i in range(1, 31)) + "0,2\n", "a.csv"))
    assert made.files[0].messages == ("a.csv:2: 'val_ppl' must be at least 1, found 0.5 (and 29 more rows)",
                                      "a.csv:32: 'params' must be above 0, found 0")


def test_series_follow_from_what_is_no_size_metric_or_seed(tmp_path: Path) -> None:
    lines = [f"{optimizer},{size}000,{seed},note {size} {seed},{5 - size}" for optimizer in ("adam", "muon")
             for size in (1, 2, 3) for seed in (0, 1)]
    text = "optimizer,train_tokens,seed,note,val_loss\n" + "\n".join(lines)
    made = read(write(tmp_path, text, "a.csv"))
    assert made.records["variant"].unique().sort().to_list() == ["adam", "muon"]
    assert made.notes[0] == "a.csv: series are told apart by optimizer (--by overrides)"
    named = read(write(tmp_path, text.replace("note,", "variant,"), "b.csv"))
    assert (named.records["variant"].n_unique(), named.notes) == (6, ())


def test_more_runs_than_a_table_has_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame({"params": pl.repeat(1.0, 3_000_000, eager=True)}).write_parquet(path)
    assert path.stat().st_size < 200_000
    assert read(path).files[0].problem == "a.parquet:1: expected at most 2,000,000 runs in a file, found 3,000,000"


# in one command


def cli(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def table_of_both(folder: Path, head: str = "N,D,loss") -> Path:
    """Runs that follow L = 1.7 + 400 / N^0.34 + 2000 / D^0.37 on a grid."""
    lines = [f"{n:.0f},{d:.0f},{1.7 + 400 / n**0.34 + 2000 / d**0.37:.6f}"
             for n in (1e7, 3e7, 1e8, 3e8) for d in (1e8, 1e9, 1e10, 3e10)]
    return write(folder, "\n".join([head, *lines]), "table.csv")


@pytest.mark.parametrize("head", ["N,D,loss", "n_params,n_tokens,val_loss"])
def test_a_table_of_params_tokens_and_loss_is_forecast_by_a_law_of_both_in_one_command(
        tmp_path: Path, head: str) -> None:
    path = table_of_both(tmp_path, head)
    made = json.loads(cli("predict", str(path), "--at", "params=7e9", "--at", "train_tokens=1.4e11", "--json").stdout)
    (found,) = made["predictions"]
    assert found["law"] == "chinchilla"
    assert found["value"] == pytest.approx(1.7 + 400 / 7e9**0.34 + 2000 / 1.4e11**0.37, rel=1e-3)


def test_places_may_have_the_names_that_the_table_has_and_stand_in_one_option(tmp_path: Path) -> None:
    path = str(table_of_both(tmp_path, "model_size,tokens (B),loss"))
    asked = ask(path)
    at = {"params": 7e9, "train_tokens": [4e11, "10x"]}
    assert asked.places(at) == at
    assert asked.places({"model_size": 7e9, "tokens (B)": [400, "10x"]}) == at
    assert asked.places({"tokens (B)": (1, 2)}) == {"train_tokens": (1e9, 2e9)}
    assert points(["N=7B,D=4e11,10x"], None) == {"N": [7e9], "D": [4e11, "10x"]}
    assert asked.places({"N": 7e9, "D": [4e11, "10x"], "strange": 3}) == at | {"strange": 3}
    with pytest.raises(UsageError, match="'N' is params, which is given twice"):
        asked.places({"N": 7e9, "params": 7e9})
    near = cli("predict", path, "--at", "parms=7e9,D=4e11")
    assert "no law is a function of parms, train_tokens; did you mean 'params'?; of some of these: chin" in near.stderr
    (ahead,) = sweep.joint(asked.runs.records, "val_loss", asked.runs.registry, None, at | {"train_tokens": [4e11]}
                           )["predictions"]
    assert ahead.inputs == {"params": 7e9, "train_tokens": 4e11}


def test_a_curve_over_one_size_where_another_varies_says_how_to_ask_for_both(tmp_path: Path) -> None:
    path = str(table_of_both(tmp_path))
    said = " ".join(cli("predict", path, "--at", "train_tokens=1e11").stdout.split())
    assert said.startswith("params vary too (4 values), and this curve mixes them; --law chinchilla knows of both "
                           "(forecast by it with --at params=VALUE --at train_tokens=VALUE), --by params fits apart ")
    assert "vary too" not in cli("predict", path, "--at", "train_tokens=1e11", "--law", "power-law").stdout
    bad = cli("predict", path, "--at", "params=7e9", "--at", "epochs=3")
    assert bad.exit_code == 2
    assert bad.stderr.endswith("\ncvfp: no law is a function of params, epochs; of some of these: chinchilla of "
                               "params, train_tokens; cvfp laws lists all\n")


# what is said


def test_the_account_shows_the_range_of_every_size_and_metric_of_each_series(tmp_path: Path) -> None:
    text = "optimizer,params,train_tokens,val_ppl\n" + "".join(
        f"{optimizer},{size}000000,2e9,{1.2 + 2.2 * (2 - i)}\n" for optimizer in ("adam", "muon")
        for i, size in enumerate((1, 2, 3)))
    said = [line.split() for line in cli("ingest", str(write(tmp_path, text, "a.csv"))).stdout.splitlines()]
    assert said[0] == ["series", "runs", "train_tokens", "params", "val_ppl", "alpha"]
    assert " ".join(said[1][:11]) == "a adam 3 2e9 1e6 to 3e6 1.2 to 5.6 -"


def test_what_was_refused_is_said_first_with_its_remedy(tmp_path: Path) -> None:
    lines = ["variant,val_ppl", *["x"] * 40, "a,0.37", "b,20"]
    made = cli("ingest", str(write(tmp_path, "\n".join(lines), "a.csv")))
    assert made.stderr.startswith("reported: a.csv:42: 'val_ppl' must be at least 1, found 0.37\nreported: a.csv:2: ")
    assert "and others: 41 lines or rows were reported" in made.stderr


def test_explain_says_what_every_file_and_column_was_taken_for(tmp_path: Path) -> None:
    write(tmp_path, "N (M),lab,val_loss,x\n1,a,3.5,1\n2,b,3.25,2\n", "logs/a.csv")
    write(tmp_path, "Notes.", "logs/b.md")
    made = cli("ingest", str(tmp_path / "logs"), "--explain", "--map", "seed=x")
    assert made.exit_code == 0
    first, *lines, last = made.stdout.splitlines()
    assert first.startswith("logs/a.csv: CSV or TSV, one row a run (csv; a general form")
    assert lines == ["  N (M): by its name, params = N (M) * 1e+06", "  lab: kept under its own name",
                     "  val_loss: a quantity of this name", "  x: kept under its own name", "  seed: mapped, x"]
    assert last.startswith("skipped: logs/b.md: no ingester knows its content (asked: all ")
    assert cli("ingest", str(tmp_path), "--explain", "--json").exit_code == 2


# mappings

ARITHMETIC = """n_layer,n_embd,config.vocab,step,bpb,bytes_per_token
2,64,1000,1000,2.5,4
4,128,1000,2000,2.25,4
"""
MAPS = {"train_tokens": "step * 524288", "params": "n_layer*12*n_embd**2 + config.vocab * n_embd", "variant": "'a'",
        "val_loss": "bpb*0.693*bytes_per_token", "batch_tokens": "524288", "score": "bpb", "score_again": "bpb"}


def test_a_mapping_computes_with_constants_nested_names_and_one_source_for_several_targets(tmp_path: Path) -> None:
    row = rows(read(write(tmp_path, ARITHMETIC, "a.csv"), mapping=MAPS))[0]
    assert {name: row[name] for name in MAPS} == {
        "train_tokens": 524_288_000, "params": 2 * 12 * 64**2 + 64_000, "variant": "a", "batch_tokens": 524_288,
        "val_loss": pytest.approx(2.5 * 0.693 * 4), "score": 2.5, "score_again": 2.5}


def test_a_mapping_saved_beside_the_files_counts_is_said_and_can_be_ignored(tmp_path: Path) -> None:
    path = write(tmp_path / "a=b", "x,y\n1000,3.5\n2000,3.25\n", "a.csv")
    assert "is read as" not in cli("show", str(path)).stderr
    saved = cli("ingest", str(path), "--map", "train_tokens=x", "--map", "val_loss=y", "--save-map",
                str(path.with_name("cvfp-map.toml")))
    assert saved.exit_code == 0
    for given in (path, path.parent):
        made = cli("ingest", str(given), "--json")
        assert made.stderr.splitlines()[0] == (f"cvfp: {path.with_name('cvfp-map.toml')} maps train_tokens = x, "
                                               "val_loss = y (--no-map ignores it)")
        assert [row["train_tokens"] for row in json.loads(made.stdout)["records"]] == [1000, 2000]
        assert json.loads(made.stdout)["skipped"] == []
    over = json.loads(cli("ingest", str(path), "--json", "--map", "train_tokens=x * 2").stdout)
    assert [(row["train_tokens"], row["val_loss"]) for row in over["records"]] == [(2000, 3.5), (4000, 3.25)]
    ignored = json.loads(cli("ingest", str(path), "--json", "--no-map").stdout)
    assert [row["train_tokens"] for row in ignored["records"]] == [None, None]
    for command in ("show", "fit", "report", "check"):
        assert "cvfp-map.toml maps" in cli(command, str(path)).stderr
        assert "cvfp-map.toml maps" not in cli(command, str(path), "--no-map").stderr
    other = write(tmp_path / "other", '[map]\nseed = "x"\n', "cvfp-map.toml")
    assert cli("show", str(path), str(other.parent)).stderr.startswith("cvfp: several mappings: ")


# packed


def _zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_packed_table_is_read_as_what_is_in_it(tmp_path: Path, pack: Any) -> None:
    made = read(write(tmp_path, pack(ND.encode()), "results.csv.gz"))
    plain = read(write(tmp_path, ND, "results.csv"))
    assert made.records.drop("source").equals(plain.records.drop("source"))
    assert made.notes[0].startswith("results.csv.gz: ")
    kept = reading.read(tmp_path / "results.csv.gz")
    assert [(file.name, file.size) for file in kept.files()] == [("results.csv.gz", len(ND))]


def test_every_file_of_a_zip_is_read_and_none_gets_out_of_it(tmp_path: Path) -> None:
    members = {"a/x.csv": ND.encode(), "../../b.csv": b"params,loss\n1,2\n3,4\n", "c.md": b"Hi."}
    path = _zip(tmp_path / "all.zip", members)
    made = read(path)
    assert [(file.name, file.runs) for file in made.files] == [
        ("all.zip/a/x.csv", 4), ("all.zip/../../b.csv", 2), ("all.zip/c.md", 0)]
    assert not (tmp_path.parent / "b.csv").exists()


@pytest.mark.parametrize(("name", "content", "said"), [
    ("a.gz", b"\x1f\x8b\x08 torn", "expected a gzip file, found one that cannot be unpacked: "),
    ("a.csv.gz", gzip.compress(b"x" * 100_000)[:-20], "expected a gzip file, found one that cannot be unpacked: "),
    ("a.zip", b"PK torn", "expected a zip file, found one that cannot be unpacked: "),
    ("a.bz2", bz2.compress(b"x" * 1000)[:-9], "expected a bzip2 file"), ("a.xz", b"\xfd7zXZ\x00 torn", "expected a xz"),
])
def test_a_damaged_packed_file_is_a_named_failure(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    made = read(write(tmp_path, content, name))
    assert str(made.files[0].problem).startswith(f"{name}: {said}")


def test_more_than_fits_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "MOST", 1 << 20)
    path = write(tmp_path, gzip.compress(b"a,b\n" + b"1,2\n" * 500_000), "a.csv.gz")
    assert path.stat().st_size < 10_000
    assert "found more; unpack it first" in str(read(path).files[0].problem)


def test_zstd_is_read_where_python_can_and_else_says_what_to_do(tmp_path: Path) -> None:
    able = sys.version_info >= (3, 14)
    content = importlib.import_module("compression.zstd").compress(ND.encode()) if able else b"\x28\xb5\x2f\xfd"
    (file,) = read(write(tmp_path, content, "results.csv.zst")).files
    assert (file.runs, file.problem) == ((4, None) if able else (
        0, "results.csv.zst: zstd needs Python 3.14; or unpack it first: zstd -d results.csv.zst"))


# cases: shared, in the shape of real files

CASES = Path(os.environ.get("CVFP_SHARED", Path(__file__).parents[2] / "shared")) / "cases" / "ingest"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not here")


@needs_cases
@pytest.mark.parametrize(("name", "runs", "measured"), [
    ("table-nd/results.csv", 9, {"params", "train_tokens", "flops", "val_loss"}),
    ("table-dedupe/sweep.csv", 3, {"train_tokens", "learning_rate", "val_loss"}),
    ("table-pandas/frame.csv", 3, {"train_tokens", "val_ppl"}),
])
def test_a_shared_table_is_read_without_a_mapping(name: str, runs: int, measured: set[str]) -> None:
    made = read(CASES / name)
    assert (made.records.height, made.failed) == (runs, ())
    assert all(made.records[each].null_count() == 0 for each in measured)


@needs_cases
def test_the_shared_table_of_both_sizes_is_forecast_and_one_source_feeds_two_columns() -> None:
    path = CASES / "table-nd" / "results.csv"
    made = json.loads(cli("predict", str(path), "--at", "params=7e9", "--at", "train_tokens=1.4e11", "--json").stdout)
    assert made["predictions"][0]["law"] == "chinchilla"
    assert 1 < made["predictions"][0]["value"] < 3.38
    twice = read(path, mapping={"val_loss": "val_loss", "score": "val_loss", "train_loss": "val_loss"})
    assert twice.records["score"].equals(twice.records["train_loss"], check_names=False)


@needs_cases
def test_the_remedy_for_a_width_that_is_not_known_comes_first_and_works() -> None:
    path = CASES / "newllm-no-dim" / "run.txt"
    assert "--map context_dim=768" in cli("ingest", str(path)).stderr.splitlines()[0]
    assert read(path, mapping={"context_dim": "768"}).records["variant"].to_list() == ["1L_768d_1tok"]


ANCHORS = CASES.parents[1] / "data" / "anchors"


@pytest.mark.skipif(not ANCHORS.is_dir(), reason="the published sweeps are not here")
@pytest.mark.parametrize(("name", "runs", "measured"), [
    ("chinchilla", 245, {"params", "flops", "val_loss"}), ("isoflops", 261, {"params", "train_tokens", "val_loss"}),
    ("data_constrained", 161, {"params", "train_tokens", "unique_tokens", "val_loss"}),
    ("moe", 193, {"num_experts", "val_loss"}), ("vocab", 1080, {"vocab_size", "params_non_embedding"}),
    ("lr_batch", 1730, {"learning_rate", "params", "train_tokens", "val_loss"}), ("nanogpt_width", 72, {"val_loss"}),
    ("sft_flan", 14 * 13, {"size", "value"}),
])
def test_every_published_sweep_is_read_whole_without_a_mapping(name: str, runs: int, measured: set[str]) -> None:
    made = read(ANCHORS / f"{name}.csv")
    assert (made.records.height, made.failed, made.duplicates) == (runs, (), ())
    assert all(made.records[each].null_count() == 0 for each in measured)


def test_a_table_of_any_length_is_read_by_the_same_names_throughout(tmp_path: Path) -> None:
    made = read(write(tmp_path, "N,loss\n" + "".join(f"{i},2\n" for i in range(1, 25_001)), "a.csv"))
    assert made.records.select(pl.col("params").sum(), pl.col("val_loss").sum()).row(0) == (25_000 * 25_001 / 2, 50_000)


def test_a_file_that_is_packed_over_and_over_is_named(tmp_path: Path) -> None:
    content = ND.encode()
    for _ in range(3):
        content = gzip.compress(content)
    assert read(write(tmp_path, content, "three.gz")).records.height == 4
    made = read(write(tmp_path, gzip.compress(content), "four.gz"))
    assert [file.problem for file in made.files] == ["four.gz: packed more than 3 times over; unpack it first"]


def test_no_character_of_an_input_commands_a_terminal_or_breaks_a_line(tmp_path: Path) -> None:
    text = "variant,params,val_loss,note\n\x1b[31mred\x07,1,3,\"a\nb\"\n\x1b[31mred\x07,2,2,\u202edc\n"
    made = read(write(tmp_path, text, "a\n\x1b]0;b.csv"))
    printed = CliRunner().invoke(app, ["ingest", str(tmp_path)])
    assert made.records.select("variant", "note").rows() == [
        ("\ufffd[31mred\ufffd", "a b"), ("\ufffd[31mred\ufffd", "\ufffddc")]
    assert made.records["experiment"][0].isprintable()
    assert all(line.isprintable() for line in printed.output.splitlines())
    assert "a\ufffd\ufffd]0;b.csv" in printed.output


def test_lines_of_json_that_are_one_line_without_an_end_are_one_run(tmp_path):
    made = read(write(tmp_path, '{"params": 1000, "val_loss": 3.5}', "runs.jsonl"))
    assert [(file.ingester, file.runs) for file in made.files] == [("jsonl", 1)]


@pytest.mark.parametrize(("name", "text"), [
    ("runs.jsonl", '{"n_params": "12m", "n_tokens": "0.5B", "loss": "4.888"}\n{"n_params": "25M", "n_tokens": "1b", '
                   '"loss": "4.5"}\n'),
    ("runs.json", '[{"n_params": "12M", "n_tokens": "0.5B", "loss": 4.888}, {"n_params": 25e6, "n_tokens": 1e9, '
                  '"loss": 4.5}]'),
    ("runs.csv", "n_params;n_tokens;loss\n12M;0,5B;4,888\n25M;1b;4,5\n"),
])
def test_numbers_are_read_the_same_from_every_table(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    made = read(tmp_path / name)
    assert made.records.select("params", "train_tokens", "val_loss").sort("params").rows() == [
        (12e6, 0.5e9, 4.888), (25e6, 1e9, 4.5)]
    assert any("a comma is read as the decimal point: 0,5B as 0.5B" in note for note in made.notes) is (";" in text)


def test_a_size_that_may_have_a_decimal_comma_or_thousands_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text("params;train_tokens;val_loss\n12,500;1e9;4,888\n25000;1e9;4,5\n")
    (refusal,) = read(tmp_path / "runs.csv").messages
    assert "'params' is not a finite number, found '12,500'" in refusal
