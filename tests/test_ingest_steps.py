"""Steps and runs: a row of a history is a step of a run, what stands beside it joins it, and names say sizes."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from cvfp_core.errors import UsageError
from cvfp_core.ingesting.histories import History
from cvfp_core.schema.found import Take
from ingesting import lines_of, read, registry, rows, write

CURVE = "step,train_loss,val_loss,tokens\n100,5.0,,1000\n100,,5.1,\n200,4.0,3.9,2000\n300,3.5,4.2,3000\n"


def _take(text: str, *paths: Path) -> list[dict[str, object]]:
    return rows(read(*paths, take=Take.read(text)))


def test_steps_of_one_run_are_one_run_with_a_curve(tmp_path: Path) -> None:
    made = read(write(tmp_path, CURVE, "exp/tiny/metrics.csv"))
    (row,) = rows(made)
    assert (row["run_id"], row["experiment"], row["step"]) == ("tiny", "exp", 300)
    assert (row["val_loss"], row["train_loss"], row["tokens_seen"]) == (4.2, 3.5, 3000)
    assert (row["train_tokens"], row["taken_at"]) == (3000, "last, step 300")
    assert "train_tokens = tokens_seen" in str(row["derived"])
    assert made.curves.filter(metric="val_loss").select("step", "value").rows() == [(100, 5.1), (200, 3.9), (300, 4.2)]
    assert (made.files[0].lines.curve, lines_of(made)) == (4, 5)
    assert any("rows are steps of one run, counted by 'step'" in note for note in made.notes)


@pytest.mark.parametrize(("text", "expected"), [
    ("last", (4.2, 3.5, 3000, "last, step 300")), ("best", (3.9, 4.0, 2000, "best val_loss, step 200")),
    ("step=100", (5.1, 5.0, 1000, "step 100")),
])
def test_a_record_takes_the_point_that_is_asked_for(tmp_path: Path, text: str, expected: object) -> None:
    (row,) = _take(text, write(tmp_path, CURVE, "metrics.csv"))
    assert (row["val_loss"], row["train_loss"], row["tokens_seen"], row["taken_at"]) == expected


def test_a_step_that_was_not_logged_is_said_and_no_neighbour_is_taken(tmp_path: Path) -> None:
    made = read(write(tmp_path, CURVE, "metrics.csv"), take=Take.read("step=150"))
    assert made.records.is_empty()
    assert made.files[0].messages == ("metrics.csv:2: expected values for --take step=150, found steps up to 300 of "
                                      "train_loss, tokens, val_loss",)
    history = History()
    history.add(100, {"val_loss": 3.0})
    history.add(150, {"train_loss": 2.0})
    taken = history.take(Take.read("step=150"))
    assert taken is not None
    assert taken.values == {"train_loss": 2}


@pytest.mark.parametrize("text", ["first", "step", "step=-1", "step=x", "best,last", ""])
def test_take_is_last_best_or_a_step(text: str) -> None:
    with pytest.raises(UsageError, match="--take takes last, best or step=N"):
        Take.read(text)


@pytest.mark.parametrize("form", ["csv", "jsonl", "json", "parquet", "frame"])
def test_every_form_of_a_history_gives_the_same_run(tmp_path: Path, form: str) -> None:
    table = pl.DataFrame({"step": [1, 2, 3], "val_loss": [5.0, 4.0, 3.5], "params": [10, 10, 10]})
    path = tmp_path / f"mine.{form}"
    if form == "csv":
        table.write_csv(path)
    elif form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_dicts()))
    elif form == "json":
        path.write_text(json.dumps(table.to_dicts()))
    elif form == "parquet":
        table.write_parquet(path)
    made = read(tables=[table]) if form == "frame" else read(path)
    (row,) = rows(made)
    assert (row["val_loss"], row["params"], row["step"]) == (3.5, 10, 3)
    assert made.curves.filter(metric="val_loss")["value"].to_list() == [5.0, 4.0, 3.5]


def test_several_runs_of_one_table_are_told_apart(tmp_path: Path) -> None:
    text = "run,step,val_loss\n" + "".join(f"{run},{step},{5 - step - i}\n" for i, run in enumerate("ab")
                                           for step in (1, 2))
    made = read(write(tmp_path, text, "runs.csv"))
    assert sorted((row["run"], row["val_loss"]) for row in rows(made)) == [("a", 3.0), ("b", 2.0)]
    text = "N,step,val_loss\n" + "".join(f"{size},{step},{9 - step - size / 100}\n" for size in (100, 200)
                                         for step in (1, 2))
    made = read(write(tmp_path, text, "sizes.csv"))
    assert sorted((row["params"], row["val_loss"]) for row in rows(made)) == [(100, 6.0), (200, 5.0)]


def test_a_column_tells_runs_apart_if_their_steps_contradict_each_other_without_it(tmp_path: Path) -> None:
    text = "step,width,val_loss,lr\n" + "".join(
        f"{step},{width},{9 - step - width / 100},{0.1 / step}\n" for width in (64, 128) for step in (1, 2, 3))
    made = read(write(tmp_path, text, "sweep.csv"))
    assert sorted((row["width"], row["val_loss"]) for row in rows(made)) == [(64, 5.36), (128, 4.72)]
    assert any("2 runs, told apart by width" in note for note in made.notes)


def test_runs_that_nothing_tells_apart_are_refused_with_a_remedy(tmp_path: Path) -> None:
    text = "step,val_loss\n1,5.0\n2,4.0\n1,5.5\n2,4.5\n"
    made = read(write(tmp_path, text, "both.csv"))
    assert made.files[0].problem == (
        "both.csv:1: expected a column that tells the runs apart whose steps these are, found the same steps several "
        "times; name it with --map run_id=COLUMN (there are: none that repeat)")


def test_a_resumed_run_is_one_run_and_the_later_value_counts(tmp_path: Path) -> None:
    made = read(write(tmp_path, "step,val_loss\n1,5.0\n2,4.0\n3,3.0\n2,4.5\n3,3.5\n4,3.2\n", "run.csv"))
    assert made.curves["value"].to_list() == [5.0, 4.5, 3.5, 3.2]
    assert any("steps go back to 2" in note for note in made.notes)


@pytest.mark.parametrize("text", [
    "name,step,val_loss\na,100,3.0\nb,200,2.5\n", "params,train_tokens,step,val_loss\n1,10,5,3.0\n2,20,9,2.5\n",
    "lr,params,epoch,val_loss\n0.1,7,10,3.0\n0.2,7,12,2.5\n",
])
def test_a_table_of_runs_with_their_last_steps_stays_one_of_runs(tmp_path: Path, text: str) -> None:
    assert sorted(row["val_loss"] for row in rows(read(write(tmp_path, text, "a.csv")))) == [2.5, 3.0]


def test_every_row_is_a_run_where_the_user_says_so(tmp_path: Path) -> None:
    made = read(write(tmp_path, CURVE.replace("100,,5.1,\n", ""), "a.csv"), mapping={"run_id": "step"})
    assert made.records["run_id"].to_list() == ["100", "200", "300"]


def test_tokens_may_follow_from_the_step_of_the_record(tmp_path: Path) -> None:
    path = write(tmp_path, "step,val_loss\n10,5.0\n20,4.0\n", "metrics.csv")
    made = read(path, mapping={"train_tokens": "step * 512"})
    assert made.records["train_tokens"].to_list() == [20 * 512]


def test_a_line_of_settings_before_the_steps_belongs_to_the_run(tmp_path: Path) -> None:
    lines = [{"n_params": 5_000, "optimizer": "adam"}, {"step": 1, "split": "train", "loss": 5.0},
             {"step": 1, "split": "val", "loss": 5.2}, {"step": 2, "split": "val", "loss": 4.8}]
    (row,) = rows(read(write(tmp_path, "".join(json.dumps(line) + "\n" for line in lines), "r/log.jsonl")))
    assert (row["params"], row["optimizer"], row["train_loss"], row["val_loss"]) == (5_000, "adam", 5.0, 4.8)


def test_a_loss_of_rewards_is_no_cross_entropy_in_a_table_either(tmp_path: Path) -> None:
    text = "step,loss,rewards/margins\n1,0.69,0.0\n2,0.11,4.2\n"
    (row,) = rows(read(write(tmp_path, text, "log.csv")))
    assert (row["train_loss"], row["train_ppl"], row["val_loss"], row["loss"]) == (None, None, None, 0.11)


@pytest.mark.parametrize(("name", "text"), [
    ("config.json", '{"model": {"n_layer": 4, "hidden_size": 64}, "lr": 0.1, "user": "me", "optimizer": "adam"}'),
    ("hparams.yaml", "model: !!python/object:argparse.Namespace\n  n_layer: 4\n  hidden_size: 64\nlr: 1e-1\nuser: me\n"
                     "optimizer: adam\n"),
    (".hydra/config.yaml", "model: {n_layer: 4, hidden_size: 64}\nlr: 0.1\nuser: me\noptimizer: adam\n"),
    ("args.json", '{"n_layer": 4, "hidden_size": 64, "lr": 0.1, "optimizer": "adam"}'),
    ("config.yaml", "n_layer: {value: 4}\nhidden_size: {desc: null, value: 64}\nlr: {value: 0.1}\n"
                    "optimizer: {value: adam}\n_wandb: {value: {host: x}}\n"),
    ("config.toml", "lr = 0.1\noptimizer = 'adam'\n[model]\nn_layer = 4\nhidden_size = 64\n"),
])
def test_a_configuration_beside_a_metrics_file_joins_it(tmp_path: Path, name: str, text: str) -> None:
    write(tmp_path, CURVE, "exp/tiny/metrics.csv")
    write(tmp_path, text, f"exp/tiny/{name}")
    made = read(tmp_path / "exp")
    (row,) = rows(made)
    assert (row["num_layers"], row["context_dim"], row["learning_rate"], row["optimizer"]) == (4, 64, 0.1, "adam")
    assert not [column for column in row if "user" in column or "wandb" in column]
    assert row["host"] is None
    assert [file.name for file in made.files] == ["exp/tiny/metrics.csv"]
    assert made.skipped == ()
    assert any(f"joined with {Path(name).name}: " in note for note in made.notes)


def test_a_configuration_that_cannot_be_read_is_said_and_the_run_stays(tmp_path: Path) -> None:
    write(tmp_path, CURVE, "tiny/metrics.csv")
    write(tmp_path, "a: [1\nb: }", "tiny/config.yaml")
    made = read(tmp_path)
    assert made.records.height == 1
    assert any("config.yaml: expected a configuration, found" in note for note in made.notes)


def test_a_configuration_alone_is_looked_at_as_any_other_file(tmp_path: Path) -> None:
    write(tmp_path, '[{"params": 1, "val_loss": 3.0}, {"params": 2, "val_loss": 2.5}]', "config.json")
    assert read(tmp_path).records.height == 2


def test_a_planned_number_of_tokens_is_not_that_of_an_earlier_step(tmp_path: Path) -> None:
    write(tmp_path, "step,val_loss\n1,5.0\n2,4.0\n", "tiny/metrics.csv")
    write(tmp_path, '{"train_tokens": 1000, "n_params": 7}', "tiny/config.json")
    assert [row["train_tokens"] for row in _take("last", tmp_path)] == [1000]
    (row,) = _take("step=1", tmp_path)
    assert (row["params"], row["val_loss"]) == (7, 5.0)
    assert row["train_tokens"] is None


def test_names_of_folders_and_files_say_sizes(tmp_path: Path) -> None:
    for size in ("1e7", "2e7"):
        write(tmp_path, CURVE, f"sweep/N{size}_D4e8-lr=3e-4_seed1/metrics.csv")
    write(tmp_path, CURVE.replace("3.9", "3.8"), "sweep/params3M_tokens2B.csv")
    made = read(tmp_path / "sweep")
    found = {(row["params"], row["learning_rate"], row["seed"]) for row in rows(made)}
    assert found == {(1e7, 3e-4, 1), (2e7, 3e-4, 1), (3e6, None, None)}
    assert {row["experiment"] for row in rows(made)} == {"sweep"}
    assert any("by its name learning_rate, params, seed" in note for note in made.notes)


def test_runs_of_the_protocol_and_published_logs_are_left_as_they_are() -> None:
    from ingesting import DATA

    made = read(DATA / "newllm")
    assert made.records["taken_at"].null_count() == made.records.height
    assert registry()


def test_commands_and_python_take_the_point_that_is_asked_for(tmp_path: Path) -> None:
    import cvfp_core
    from cvfp_core.ingesting import storing

    path = write(tmp_path, CURVE, "tiny/metrics.csv")
    assert cvfp_core.read(path, take="best").records["val_loss"].to_list() == [3.9]
    storing.into(tmp_path / "store", read(path))
    with pytest.raises(UsageError, match="--take best: records have one point each; give the logs or tables"):
        cvfp_core.read(tmp_path / "store", take="best")


def test_last_values_beside_the_steps_are_of_the_same_run(tmp_path: Path) -> None:
    write(tmp_path, "step,train_loss\n1,5.0\n2,4.0\n", "exp/tiny/metrics.csv")
    write(tmp_path, '{"val_loss": 4.5, "train_loss": 9.0, "tokens": 640}', "exp/tiny/summary.json")
    write(tmp_path, '{"n_params": 7}', "exp/tiny/config.json")
    made = read(tmp_path / "exp")
    (row,) = rows(made)
    assert "summary.json says train_loss 9.0, not 4: what the steps say counts" in made.files[0].remarks
    assert [row[name] for name in ("run_id", "val_loss", "train_loss", "tokens_seen", "train_tokens", "params")] == [
        "tiny", 4.5, 4.0, 640, 640, 7]
    (first,) = _take("step=1", tmp_path / "exp")
    assert (first["train_loss"], first["val_loss"]) == (5.0, None)


def test_a_configuration_beside_a_table_of_runs_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    write(tmp_path, "params,val_loss\n1,3.0\n2,2.5\n", "runs.csv")
    write(tmp_path, "a: 1\n", "config.yaml")
    made = read(tmp_path)
    assert made.records.height == 2
    assert [text.partition(":")[0] for text in made.skipped] == [f"{tmp_path.name}/config.yaml"]


def test_a_metric_of_a_step_that_is_no_number_is_named_and_costs_its_step(tmp_path: Path) -> None:
    made = read(write(tmp_path, "step,note,val_loss\n1,a,4.5\n2,b,4.0\n3,c,3.x\n4,d,1e999\n", "a.csv"))
    assert made.records.select("val_loss", "taken_at").rows() == [(4.0, "last, step 2")]
    assert made.messages == ("a.csv:4: expected a number in 'val_loss', found '3.x'",
                             "a.csv:5: expected a number in 'val_loss', found '1e999'")


def test_a_size_that_is_spelt_otherwise_tells_runs_apart(tmp_path: Path) -> None:
    """Every spelling that a table's columns are read under counts, not only names and aliases as they are declared."""
    lines = [f"{size},{step},{4 - step / 10}" for size, steps in ((1, (1, 2, 3)), (2, (4, 5, 6))) for step in steps]
    made = read(write(tmp_path, "\n".join(["Params (M),step,val_loss", *lines]), "a.csv"))
    assert sorted(made.records.select("params", "val_loss").rows()) == [(1e6, 3.7), (2e6, 3.4)]
