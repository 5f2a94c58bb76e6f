"""What trainers and trackers leave: Hugging Face, Weights & Biases, TensorBoard, Lightning. One run is one record."""

from __future__ import annotations

import json
import math
import pickle
import struct
import zipfile
from pathlib import Path

import pytest

from cvfp_core.ingesting import tags
from cvfp_core.schema.found import Take
from ingesting import SHARED, read, rows, write
from made_formats import MLFLOW, TRACKIO, database, frames, items, message, tensors, write_events

CASES = SHARED.parent.parent / "cases" / "ingest"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason="the small inputs of other trainers are not here")


def _state(folder: Path, steps: int, *, name: str = "trainer_state.json", **more: object) -> Path:
    """A trainer's state after so many steps; it logs every 100 and evaluates every 200."""
    history: list[dict[str, object]] = []
    for step in range(100, steps + 1, 100):
        history.append({"step": step, "epoch": step / 200, "loss": 5 - step / 100, "learning_rate": 1e-4})
        if step % 200 == 0:
            history.append({"step": step, "epoch": step / 200, "eval_loss": 5.5 - step / 100, "eval_runtime": 1.0})
    state = {"epoch": steps / 200, "global_step": steps, "num_input_tokens_seen": 0, "total_flos": 1e12 * steps,
             "train_batch_size": 4, "log_history": history, **more}
    return write(folder, json.dumps(state), name)


# Hugging Face


def test_a_folder_of_checkpoints_is_one_run_of_its_last_state(tmp_path: Path) -> None:
    for steps in (200, 1000, 400):
        _state(tmp_path / "tiny" / f"checkpoint-{steps}", min(steps, 400))
    _state(tmp_path / "tiny" / "checkpoint-1000", 400, global_step=1000)
    made = read(tmp_path)
    (row,) = rows(made)
    assert (row["run_id"], row["trainer_steps"], row["val_loss"], row["train_loss"]) == ("tiny", 1000, 1.5, 1.0)
    assert (row["taken_at"], row["params"], row["train_tokens"]) == ("last, step 400", None, None)
    assert made.files[0].lines.record == 3
    assert any("tokens are not known: " in note for note in made.notes)
    assert any("params are not known: no model.safetensors" in note for note in made.notes)
    known = _state(tmp_path / "other", 400, num_input_tokens_seen=1_000_000, total_flos=6e12).parent
    (hint,) = (note.partition("--map ")[2] for note in read(known).notes if "params are not known" in note)
    assert hint == "params='flops / (6 * tokens_seen)'"
    mapped = read(known, mapping={"params": "flops / (6 * tokens_seen)"})
    assert rows(mapped)[0]["params"] == 1e6
    assert not any("params are not known" in note for note in mapped.notes)
    assert [row["run_id"] for row in rows(read(tmp_path / "tiny"))] == ["tiny"]


def test_runs_of_a_folder_are_of_one_series_and_what_is_not_theirs_is_looked_at(tmp_path: Path) -> None:
    for size in (1, 2):
        _state(tmp_path / f"n{size}", 400, num_input_tokens_seen=1000 * size)
        tensors(tmp_path / f"n{size}", wte=[100, size], head=[size])
    write(tmp_path / "n1", "Notes.", "README.md")
    made = read(tmp_path)
    assert made.records.select("run_id", "experiment", "params", "tokens_seen", "train_tokens", "epochs").rows() == [
        ("n1", tmp_path.name, 101, 1000, 500, 2), ("n2", tmp_path.name, 202, 2000, 1000, 2)]
    assert [text.partition(":")[0] for text in made.skipped] == [f"{tmp_path.name}/n1/README.md"]


def test_tokens_follow_from_steps_batches_and_lengths_where_these_stand(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    _state(folder, 400)
    write(folder, '{"n_positions": 64, "n_layer": 2, "n_embd": 8, "vocab_size": 100}', "config.json")
    assert rows(read(folder))[0]["train_tokens"] is None
    arguments = {"learning_rate": 1e-4, "gradient_accumulation_steps": 8, "bf16": True}
    with zipfile.ZipFile(folder / "training_args.bin", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(arguments, protocol=2))
    made = read(folder)
    (row,) = rows(made)
    assert (row["tokens_seen"], row["train_tokens"]) == (400 * 4 * 8 * 64, 400 * 4 * 8 * 64 / 2)
    assert (row["num_layers"], row["context_dim"], row["vocab_size"]) == (2, 8, 100)
    assert row["derived"] == (
        "tokens_seen = global_step * train_batch_size * gradient_accumulation_steps * n_positions; "
        "train_tokens = tokens_seen / epochs; train_ppl = exp(train_loss); val_ppl = exp(val_loss)")
    assert any("= 400 * 4 * 8 * 64, of one process and full sequences" in note for note in made.notes)


def test_an_earlier_step_has_its_share_of_tokens_and_flops(tmp_path: Path) -> None:
    _state(tmp_path / "tiny", 400, num_input_tokens_seen=1000)
    (row,) = rows(read(tmp_path, take=Take.read("step=200")))
    assert (row["val_loss"], row["train_loss"], row["tokens_seen"], row["flops"]) == (3.5, 3.0, 500, 2e14)
    assert "tokens_seen = num_input_tokens_seen * 200 / 400" in str(row["derived"])


def test_the_evaluation_after_training_stands_beside_the_state(tmp_path: Path) -> None:
    _state(tmp_path / "tiny", 300)
    assert rows(read(tmp_path))[0]["val_loss"] == 3.5
    write(tmp_path / "tiny", '{"epoch": 1.5, "eval_loss": 2.25, "train_loss": 9.0}', "all_results.json")
    (row,) = rows(read(tmp_path))
    assert (row["val_loss"], row["train_loss"]) == (2.25, 2.0)


def test_the_mean_loss_of_training_is_not_its_last(tmp_path: Path) -> None:
    history = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0},
               {"step": 2, "train_loss": 7.0, "train_runtime": 3.0, "total_flos": 5.0}]
    _state(tmp_path / "tiny", 2, log_history=history)
    assert rows(read(tmp_path))[0]["train_loss"] == 1.0


def test_several_validation_sets_are_named_and_none_is_chosen(tmp_path: Path) -> None:
    history = [{"step": 1, "eval_c4_loss": 3.0, "eval_wiki_loss": 4.0, "loss": 3.0}]
    _state(tmp_path / "tiny", 1, log_history=history)
    made = read(tmp_path)
    assert rows(made)[0]["val_loss"] is None
    assert any("several sets: eval_c4_loss, eval_wiki_loss; choose one with --map val_loss=eval_c4_loss" in note
               for note in made.notes)
    assert rows(read(tmp_path, mapping={"val_loss": "eval_wiki_loss"}))[0]["val_loss"] == 4.0
    _state(tmp_path / "tiny", 1, log_history=[{"step": 1, "eval_c4_loss": 3.0}])
    assert rows(read(tmp_path))[0]["val_loss"] == 3.0


@pytest.mark.parametrize("name", ["rewards/margins", "eval_rewards/chosen", "reward_std", "completions/length", "kl"])
def test_a_loss_of_preferences_is_no_cross_entropy(tmp_path: Path, name: str) -> None:
    _state(tmp_path / "dpo", 1, log_history=[{"step": 1, "loss": 0.69, "eval_loss": 0.7, name: 0.5}])
    made = read(tmp_path)
    (row,) = rows(made)
    assert [row[each] for each in ("train_loss", "val_loss", "train_ppl", "val_ppl")] == [None] * 4
    assert row["loss"] == 0.69
    assert any("no cross-entropy" in note for note in made.notes)


def test_a_train_loss_many_times_the_validation_loss_is_remarked(tmp_path: Path) -> None:
    _state(tmp_path / "sum", 1, log_history=[{"step": 1, "loss": 24.0, "eval_loss": 3.0}])
    assert any("8.0 times its validation loss: probably summed" in note for note in read(tmp_path).notes)


@pytest.mark.parametrize("damaged", [
    b"\xff" * 40, b"\x02", struct.pack("<Q", 2) + b"[]", struct.pack("<Q", 17) + b'{"a":{"shape":-1}}'[:17],
    struct.pack("<Q", 20) + b'{"a":{"shape":[-7]}}',
])
def test_damaged_weights_and_arguments_give_no_number_and_it_is_said(tmp_path: Path, damaged: bytes) -> None:
    _state(tmp_path / "tiny", 200)
    tensors(tmp_path / "tiny", "model-00001-of-00002.safetensors", a=[2, 3])
    write(tmp_path / "tiny", damaged, "model-00002-of-00002.safetensors")
    write(tmp_path / "tiny", b"PK\x03\x04broken", "training_args.bin")
    made = read(tmp_path)
    assert rows(made)[0]["params"] is None
    assert "the header of model-00002-of-00002.safetensors is damaged" in made.notes[0]


# Weights & Biases


def test_a_table_of_runs_is_known_by_its_names_alone_and_keeps_nobody_s(tmp_path: Path) -> None:
    text = '"Name","User","host","lr","val/loss","n_params","tokens"\n"a","me","box","0.1","3.0","100","2000"\n'
    made = read(write(tmp_path, text, "runs.csv"))
    (row,) = rows(made)
    assert made.files[0].ingester == "wandb-runs"
    assert (row["run_id"], row["val_loss"], row["params"], row["train_tokens"]) == ("a", 3.0, 100, 2000)
    assert "User" not in row
    assert row["host"] is None
    assert "; left out: User, host" in made.notes[0]


def test_a_chart_over_another_axis_has_that_axis_as_a_curve(tmp_path: Path) -> None:
    text = ('"train/tokens","a - val/loss","a - val/loss__MIN","a - _step"\n'
            '"1000","4.0","4.0","1"\n"2000","3.0","3.0","2"\n')
    made = read(write(tmp_path, text, "chart.csv"))
    (row,) = rows(made)
    assert (row["run_id"], row["val_loss"], row["train_tokens"]) == ("a", 3.0, 2000)


def test_a_run_on_disk_is_its_summary_and_its_configuration(tmp_path: Path) -> None:
    run = tmp_path / "wandb" / "run-20260102_030405-ab12cd34"
    write(run, '{"val/loss": 3.0, "_step": 50, "_runtime": 9.5, "tokens": 640, "_wandb": {"runtime": 9}}',
          "files/wandb-summary.json")
    write(run, "n_layer:\n    value: 4\n", "files/config.yaml")
    write(run, '{"host": "box", "username": "me"}', "files/wandb-metadata.json")
    made = read(tmp_path / "wandb")
    (row,) = rows(made)
    assert (row["run_id"], row["val_loss"], row["train_tokens"], row["num_layers"]) == ("ab12cd34", 3.0, 640, 4)
    assert (row["taken_at"], row["seconds_phase2"]) == ("last, step 50", 9.5)
    assert not [name for name in row if "user" in name]
    assert row["host"] is None
    assert made.skipped == ()


def test_the_log_of_a_run_on_disk_has_its_curves_its_name_and_its_configuration(tmp_path: Path) -> None:
    run = tmp_path / "wandb" / "offline-run-20260102_030405-ab12cd34"
    about = message((1, b"ab12cd34"), (4, items(n_params=1000, lr=0.1)), (8, b"tiny"), (13, b"box"))
    steps = [message((2, items(_step=step, val__loss=5 - step / 1000, tokens=step * 10))) for step in range(1, 1001)]
    content = frames(message((17, about)), *steps)
    assert len(content) > 32768
    write(run, content, "run-ab12cd34.wandb")
    write(run.parent, '{"level": "INFO"}\n', "debug-internal.log")
    made = read(run.parent)
    (row,) = rows(made)
    assert (row["run_id"], row["params"], row["val_loss"], row["train_tokens"]) == ("tiny", 1000, 4.0, 10_000)
    assert made.curves.filter(metric="val/loss")["value"].to_list() == [5 - step / 1000 for step in range(1, 1001)]
    assert "box" not in row.values()
    assert (made.skipped, made.failed) == ((), ())
    assert rows(read(run.parent, take=Take.read("step=10")))[0]["val_loss"] == 4.99
    write(run, content[:40_000], "run-ab12cd34.wandb")
    assert 0 < read(run).curves.filter(metric="val/loss").height < 1000


def test_words_in_the_place_of_figures_of_an_export_are_named(tmp_path: Path) -> None:
    made = read(write(tmp_path, "Name,State,val/loss\na,finished,40%\nb,finished,3\n", "runs.csv"))
    assert made.messages == ("runs.csv:2: 'val_loss' is not a finite number, found '40%'",)
    assert made.records["run_id"].to_list() == ["b"]
    made = read(write(tmp_path, '"Step","a - val/loss"\n"1","bad"\n"2","3"\n', "chart.csv"))
    assert made.messages == ("chart.csv:2: expected a number in 'a - val/loss', found 'bad'",)
    assert made.records["val_loss"].to_list() == [3.0]


# TensorBoard


def test_a_folder_of_event_files_is_one_run(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    run = tmp_path / "lab" / "tiny"
    run.mkdir(parents=True)
    write_events(run / "events.out.tfevents.1.h.1.0", [("Loss/val", 100, 3.9), ("tokens", 100, 1e6)])
    write_events(run / "events.out.tfevents.2.h.2.0", [("Loss/val", 200, 3.1), ("tokens", 200, 2e6)])
    write(run, "lr: 0.1\n", "config.yaml")
    made = read(tmp_path / "lab")
    (row,) = rows(made)
    assert (row["run_id"], row["val_loss"], row["train_tokens"], row["learning_rate"]) == (
        "tiny", pytest.approx(3.1), 2e6, 0.1)
    assert made.curves.filter(metric="Loss/val")["value"].to_list() == pytest.approx([3.9, 3.1])


def test_folders_of_training_and_validation_are_one_run_and_unknown_tags_are_listed(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    for split, loss in (("train", 2.0), ("validation", 2.5)):
        (tmp_path / "keras" / split).mkdir(parents=True)
        write_events(tmp_path / "keras" / split / "events.out.tfevents.1.h", [("epoch_loss", 3, loss)])
    (row,) = rows(read(tmp_path))
    assert (row["run_id"], row["train_loss"], row["val_loss"]) == ("keras", 2.0, 2.5)
    (tmp_path / "other").mkdir()
    write_events(tmp_path / "other" / "events.out.tfevents.1.h", [("bleu", 3, 2.0), ("score", 3, 1.0)])
    made = read(tmp_path / "other")
    assert any("there are: bleu, score; say what one is: --map val_loss=bleu" in note for note in made.notes)


def test_hyperparameters_in_event_files_are_of_the_run_above(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
    from tensorboard.summary.writer.record_writer import RecordWriter

    run = tmp_path / "tiny"
    (run / "1795660178.05").mkdir(parents=True)
    write_events(run / "events.out.tfevents.1.h", [("val/loss", 3, 2.0)])
    said = HParamsPluginData()
    said.session_start_info.hparams["lr"].number_value = 0.5
    said.session_start_info.hparams["optimizer"].string_value = "adam"
    plugin = SummaryMetadata.PluginData(plugin_name="hparams", content=said.SerializeToString())
    value = Summary.Value(tag="_hparams_/session_start_info", metadata=SummaryMetadata(plugin_data=plugin))
    with (run / "1795660178.05" / "events.out.tfevents.2.h").open("wb") as file:
        writer = RecordWriter(file)
        writer.write(Event(wall_time=1.0, file_version="brain.Event:2").SerializeToString())
        writer.write(Event(wall_time=1.0, summary=Summary(value=[value])).SerializeToString())
    (row,) = rows(read(tmp_path))
    assert (row["run_id"], row["val_loss"], row["learning_rate"], row["optimizer"]) == ("tiny", 2.0, 0.5, "adam")


# MLflow, Trackio


def test_a_folder_of_mlflow_is_a_run_with_its_parameters(tmp_path: Path) -> None:
    run = tmp_path / "mlruns" / "12" / "0a1b"
    write(run, "run_id: 0a1b\nrun_name: tiny\nstatus: 4\nuser_id: me\n", "meta.yaml")
    write(run.parent, "name: sweep\n", "meta.yaml")
    write(run, "1700 4.0 100\n1701 3.0 200\n1702 torn\n", "metrics/val_loss")
    write(run, "1701 2048 200\n", "metrics/train/tokens")
    write(run, "4", "params/n_layer")
    made = read(tmp_path / "mlruns")
    (row,) = rows(made)
    assert (row["run_id"], row["experiment"], row["status"]) == ("tiny", "sweep", "failed")
    assert (row["val_loss"], row["train_tokens"], row["num_layers"]) == (3.0, 2048, 4)
    assert "me" not in row.values()
    assert made.skipped == ()
    assert made.files[-1].messages == (
        "mlruns/12/0a1b/metrics/val_loss:3: expected time, value and step, found '1702 torn'",)


@pytest.mark.parametrize(("script", "name", "group"), [(MLFLOW, "mlflow", "sweep"), (TRACKIO, "trackio", "mine")])
def test_the_database_of_a_tracker_holds_runs(tmp_path: Path, script: str, name: str, group: str) -> None:
    made = read(database(tmp_path / "mine.db", script))
    assert made.files[0].ingester == name
    found = made.records.sort("run_id", descending=True)
    assert found.select("run_id", "experiment", "params", "val_loss").rows() == [
        ("tiny", group, 1000, 3.0), ("small", group, 2000, 2.0)]
    assert "me" not in found.to_dicts()[0].values()
    assert made.curves.height == 3
    assert made.files[0].reported == (name == "trackio")


def test_an_integer_of_hundreds_of_digits_in_a_configuration_costs_itself_alone(tmp_path: Path) -> None:
    write(tmp_path, '{"val/loss": 3.0, "_step": 5}', "run-1-a/files/wandb-summary.json")
    write(tmp_path, f"n_layer: {{value: {'9' * 401}}}\nlr: {{value: 0.5}}\n", "run-1-a/files/config.yaml")
    (row,) = rows(read(tmp_path))
    assert (row["val_loss"], row["num_layers"], row["learning_rate"]) == (3.0, None, 0.5)


def test_a_damaged_database_is_a_named_failure(tmp_path: Path) -> None:
    path = database(tmp_path / "mine.db", MLFLOW)
    path.write_bytes(path.read_bytes()[:5000] + b"\0" * 3000)
    assert read(path, format_="mlflow").files[0].problem
    names = database(tmp_path / "named.db", TRACKIO)
    names.write_bytes(names.read_bytes().replace(b"run_name TEXT", b"run_\xf9\xf9me TEXT"))
    assert " failed: " not in str(read(names, format_="trackio").files[0].problem)
    path = database(tmp_path / "other.db", "CREATE TABLE a (b TEXT)")
    assert "no ingester knows its content" in str(read(path).files[0].problem)


# names


@pytest.mark.parametrize(("name", "quantity"), [
    ("eval/loss", "val_loss"), ("Loss/val", "val_loss"), ("validation_loss", "val_loss"), ("val loss", "val_loss"),
    ("val_loss_epoch", "val_loss"), ("valid/nll", "val_loss"), ("test_cross_entropy", "val_loss"),
    ("eval_perplexity", "val_ppl"), ("perplexity", "val_ppl"), ("val/bpb", "val_bpb"), ("eval_accuracy", "val_acc"),
    ("loss", "train_loss"), ("train/loss", "train_loss"), ("Loss/train", "train_loss"), ("train_ppl", "train_ppl"),
    ("num_input_tokens_seen", "tokens_seen"), ("train/num_tokens", "tokens_seen"), ("total_flos", "flops"),
    ("held-out/avg_loss", None), ("aux_loss", None), ("eval_mean_token_accuracy", None), ("grad_norm", None),
    ("val_loss_delta", None), ("loss_scale", None),
])
def test_names_that_trainers_give_are_known_or_left_alone(name: str, quantity: str | None) -> None:
    assert tags.quantities((name,)).get(name) == quantity


def test_of_several_names_for_a_quantity_the_surest_counts() -> None:
    assert tags.quantities(("test_loss", "val_loss", "loss", "train_loss_step", "train_loss_epoch")) == {
        "val_loss": "val_loss", "train_loss_epoch": "train_loss"}


# small inputs in the shape of real files


@needs_cases
@pytest.mark.parametrize(("name", "expected"), [
    ("hf-checkpoints", [{"val_loss": 3.3, "train_tokens": None}]), ("hf-dpo", [{"train_ppl": None, "val_ppl": None}]),
    ("lightning", [{"val_loss": 3.42, "train_loss": 3.1, "num_layers": 4, "context_dim": 256}]),
    ("wandb-chart", [{"held-out/avg_loss": 3.8}, {"held-out/avg_loss": 3.5}]),
    ("wandb-local", [{"val_ppl": 30.4, "num_layers": 4, "learning_rate": 0.0006, "train_tokens": 20480000}]),
    ("run-folders", [{"params": 1e6, "val_loss": 1.21, "train_tokens": 1e8}, {"params": 8e6, "val_loss": 1.07}]),
])
def test_the_small_inputs_are_read_without_a_map(name: str, expected: list[dict[str, object]]) -> None:
    found = sorted(rows(read(CASES / name)), key=lambda row: str(row["run_id"]))
    if name == "run-folders":
        found.reverse()
    assert [{key: row[key] for key in each} for row, each in zip(found, expected, strict=True)] == expected


@needs_cases
def test_a_chart_s_metric_can_be_mapped() -> None:
    made = read(CASES / "wandb-chart", mapping={"val_ppl": "exp(held-out/avg_loss)"})
    assert sorted(made.records["val_ppl"].to_list()) == pytest.approx([math.exp(3.5), math.exp(3.8)])
    assert any("there are: held-out/avg_loss" in note for note in read(CASES / "wandb-chart").notes)


@needs_cases
def test_event_files_of_an_interrupted_run_are_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    import runpy
    import sys

    monkeypatch.setattr(sys, "argv", ["make", str(tmp_path)])
    runpy.run_path(str(CASES / "make_tensorboard.py"), run_name="__main__")
    (resumed,), (tagged,) = rows(read(tmp_path / "resumed")), rows(read(tmp_path / "tags"))
    assert (resumed["train_tokens"], resumed["val_loss"]) == (2e6, pytest.approx(3.1))
    assert tagged["val_loss"] == pytest.approx(3.5)


# lm-evaluation-harness

HARNESS = Path(__file__).parent / "data" / "trackers" / "results_2026-01-05T10-00-00.json"


def _harness(folder: Path, **said: str) -> Path:
    results = json.loads(HARNESS.read_text())
    results["config"]["model_args"] = ",".join(f"{name}={value}" for name, value in said.items())
    return write(folder, json.dumps(results), f"results_{len(list(folder.glob('*')))}.json")


def test_scores_of_the_harness_join_the_run_of_their_model(tmp_path: Path) -> None:
    for steps in (200, 400):
        _state(tmp_path / "tiny" / f"checkpoint-{steps}", steps, global_step=steps)
    _harness(tmp_path / "evals", pretrained="out/tiny/checkpoint-400", dtype="bfloat16")
    made = read(tmp_path)
    (row,) = rows(made)
    assert (row["run_id"], row["val_loss"], row["step"]) == ("tiny", 1.5, None)
    assert {name: row[name] for name in row if "/" in name} == {
        "hellaswag/acc": 0.2901, "hellaswag/acc_stderr": 0.0045, "hellaswag/acc_norm": 0.3012,
        "hellaswag/acc_norm_stderr": 0.0046, "gsm8k/exact_match/strict-match": 0.011,
        "wikitext/word_perplexity": 33.41, "wikitext/bits_per_byte": 0.946}
    assert str(row["source"]).count("; also ") == 1
    assert made.curves["metric"].n_unique() > 1
    assert made.duplicates == ()


def test_scores_of_another_step_or_of_no_run_are_kept_apart_and_said(tmp_path: Path) -> None:
    _state(tmp_path / "tiny" / "checkpoint-400", 400, global_step=400)
    _harness(tmp_path / "evals", pretrained="out/tiny/checkpoint-200")
    _harness(tmp_path / "evals", pretrained="EleutherAI/pythia-160m", revision="step3000")
    made = read(tmp_path)
    assert sorted((str(row["run_id"])[:4], str(row["hellaswag/acc"])) for row in rows(made)) == [
        ("pyth", "0.2901"), ("tiny", "0.2901"), ("tiny", "None")]
    said = "; ".join(made.notes)
    assert "of step 200 of 'tiny', whose record is of step 400: kept as a run of its own; --take step=200" in said
    assert "its run 'pythia-160m-step3000' is not read beside it" in said
    taken = read(tmp_path, take=Take.read("step=200"))
    assert sorted(str(row["run_id"]) for row in rows(taken)) == ["pythia-160m-step3000", "tiny"]


def test_a_table_of_runs_takes_the_scores_of_each(tmp_path: Path) -> None:
    write(tmp_path, "name,params,train_tokens,val_loss\na,1e6,1e8,4.0\nb,2e6,1e8,3.8\n", "runs.csv")
    _harness(tmp_path / "evals", pretrained="me/b")
    made = read(tmp_path, mapping={"run_id": "name"})
    assert {row["run_id"]: row["hellaswag/acc"] for row in rows(made)} == {"a": None, "b": 0.2901}


def test_what_is_no_result_of_the_harness_is_refused_in_a_line(tmp_path: Path) -> None:
    for text, problem in (('{"results": [], "a": {"acc,none": 1}}', "expected an object 'results', found list"),
                          ('{"results": {}, "a": {"acc,none": 1}}', "expected scores under 'results', found '{}'"),
                          ('{"results": {"a": {"acc,none": 0.5}', "expected JSON (")):
        (file,) = read(write(tmp_path, text, "results_1.json")).files
        assert file.ingester == "lm-eval"
        assert problem in str(file.problem)
