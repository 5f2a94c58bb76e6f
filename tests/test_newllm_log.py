"""Console logs: what each variant of a line becomes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ingesting import DATA, LOG, lines_of, read, rows, write

RUN = """\
--- Experiment: 5 samples, 1L, 64d, 2tok ---
[Phase 1] Train: 6,001 tokens, 30 iterations
  Iter 2: conv=99% loss=-0.2000 [1.5s]
  → Converged at iter 2
  Done: 99% converged
  ER: train=81.9%, val=81.5%
[Phase 2] 6,001 train / 1,000 val tokens, 4 epochs
  Epoch 1: train_ppl=900.1 val_ppl=700.4 acc=9.0% [1.0s] ★
  Best: epoch 1, ppl=700.4, acc=9.0%
  Result: PPL=700.4, Acc=9.0%
"""


def test_a_run_has_every_figure_its_log_prints() -> None:
    first = rows(read(LOG))[0]
    expected = {
        "experiment": "v9", "variant": "1L_64d_2tok", "num_samples": 5, "train_tokens": 6001, "val_tokens": 1000,
        "phase1_iterations": 4, "phase1_censored": False, "convergence_rate": 0.99, "train_er": 0.819, "val_er": 0.815,
        "epochs": 3, "best_epoch": 2, "train_ppl": 500.5, "val_ppl": 600.3, "val_acc": 0.115,
        "seconds_phase1": 3.0, "seconds_phase2": 3.0, "device": "cuda (GPU X, 10.0GB)", "vocab_size": 100,
        "embed_dim": 8,
        "status": "ok",
    }
    assert {name: first[name] for name in expected} == expected


def test_parameters_are_told_apart_by_phase() -> None:
    # 816 trainable are the token block and the embedding norm (2 * 8); 11616 - 816 - 100 * 8 embeddings are Phase 1's.
    first = rows(read(LOG))[0]
    assert (first["params_phase1"], first["params_phase2"], first["params_total"]) == (10_000, 800, 11_616)


def test_a_run_that_hits_the_maximum_is_censored() -> None:
    second = rows(read(LOG))[1]
    assert (second["phase1_iterations"], second["phase1_censored"], second["phase1_stop"]) == (3, True, "maximum")


def test_curves_hold_every_iteration_and_epoch() -> None:
    made = read(LOG)
    curves = made.curves.filter(run_id=made.records["run_id"][0])
    values = {(row["phase"], row["metric"], row["step"]): row["value"] for row in curves.to_dicts()}
    assert values[1, "convergence_rate", 3] == 0.41
    assert values[1, "loss", 4] == -0.26
    assert values[2, "val_ppl", 3] == 610.7
    assert values[2, "val_acc", 2] == 0.115
    assert len(values) == 3 * 3 + 3 * 4


def test_every_line_of_a_log_is_accounted_for() -> None:
    made = read(LOG)
    assert made.files[0].reported == 0
    assert lines_of(made) == len(LOG.read_text(encoding="utf-8").splitlines())


def test_the_artefact_of_a_zero_effective_rank_is_not_a_measurement() -> None:
    assert "ER: 0.0%" in LOG.read_text(encoding="utf-8")
    assert rows(read(LOG))[0]["val_er"] == 0.815


def test_alphas_a_log_states_are_kept_beside_the_records() -> None:
    made = read(LOG)
    assert made.records["published_alpha"].to_list() == [-0.4151, -0.4151]
    assert json.loads(made.records["published_windows"][0]) == [[5, 10, -0.41505]]


def test_several_algorithms_in_one_file_are_experiments_of_their_own() -> None:
    made = read(DATA / "newllm" / "algorithms.txt")
    assert made.records["experiment"].to_list() == ["algorithms-AAA", "algorithms-BBB"]
    assert made.records["phase1_stop"].to_list() == ["val_early_stop", "early_stop"]
    assert made.records["phase1_censored"].to_list() == [True, False]
    assert json.loads(made.records["settings"][0])["phase1"]["dist_reg_weight"] == 0.5
    val_er = made.curves.filter(metric="val_er")
    assert val_er.select("step", "value").rows() == [(5, 0.825), (6, 0.817)]
    assert made.files[0].reported == 0


def test_a_script_without_phase_2_gives_whole_records() -> None:
    (row,) = rows(read(DATA / "newllm" / "phase1_only.txt"))
    assert (row["variant"], row["status"], row["val_ppl"]) == ("2L_40d_1tok", "ok", None)
    assert (row["train_er"], row["val_er"], row["seconds_phase1"]) == (0.677, 0.643, 22.2)


def test_a_run_that_died_half_way_is_a_failed_record_with_its_reason() -> None:
    (row,) = rows(read(DATA / "newllm" / "died.txt"))
    assert row["status"] == "failed"
    assert "CUDA out of memory" in str(row["reason"])
    assert (row["epochs"], row["best_epoch"], row["val_ppl"]) == (3, 2, 700.0)


def test_a_loss_that_is_not_finite_makes_a_diverged_record() -> None:
    made = read(DATA / "newllm" / "modes.txt")
    (row,) = rows(made)
    assert (row["status"], row["val_ppl"], row["experiment"]) == ("diverged", None, "modes-L2_F")
    assert made.curves.filter(metric="val_ppl")["value"].to_list() == [None]


@pytest.mark.parametrize(("cut", "status", "reason"), [
    (1, "interrupted", "before Phase 1"),
    (3, "interrupted", "in Phase 1 after 2 iterations"),
    (6, "interrupted", "before Phase 2"),
    (8, "interrupted", "in Phase 2 after 1 epochs"),
    (9, "ok", None),
])
def test_a_log_that_ends_early_says_where(tmp_path: Path, cut: int, status: str, reason: str | None) -> None:
    text = "".join(RUN.splitlines(keepends=True)[:cut])
    (row,) = rows(read(write(tmp_path, text)))
    assert row["status"] == status
    assert str(row["reason"]).endswith(reason) if reason else row["reason"] is None


def test_a_keyboard_interrupt_is_an_interrupted_run(tmp_path: Path) -> None:
    (row,) = rows(read(write(tmp_path, "".join(RUN.splitlines(keepends=True)[:3]) + "KeyboardInterrupt\n")))
    assert row["status"] == "interrupted"


def test_what_is_not_understood_is_reported_with_its_line(tmp_path: Path) -> None:
    made = read(write(tmp_path, RUN + "  Gradient norm exploded: 12.5\n"))
    assert made.files[0].messages == (
        "log.txt:11: expected a line of a new-llm log, found 'Gradient norm exploded: 12.5'",
    )
    assert len(rows(made)) == 1


def test_an_iteration_with_an_unreadable_number_is_reported(tmp_path: Path) -> None:
    made = read(write(tmp_path, RUN.replace("loss=-0.2000", "loss=-0.2.0")))
    assert made.files[0].messages[0].startswith("log.txt:3: expected 'Iter K: conv=P% loss=X [Ts]', found")


def test_a_table_that_contradicts_its_run_is_reported(tmp_path: Path) -> None:
    text = LOG.read_text(encoding="utf-8").replace("500.5   600.3  11.5%", "500.5   601.3  11.5%")
    made = read(write(tmp_path, text))
    assert "expected Val PPL 600.3 of 1L_64d_2tok at 5 samples" in made.files[0].messages[0]


def test_a_preset_is_not_used_where_the_log_contradicts_it(tmp_path: Path) -> None:
    made = read(write(tmp_path, RUN, "1130_v3.txt"))
    assert made.records["experiment"][0] == "v3"
    assert made.records["settings_source"][0] == "log: phase1.max_iterations, phase2.epochs"
    assert "expected max_iterations = 60 as in preset 'v3', which is not used, found 30" in made.files[0].messages[0]


def test_a_preset_gives_the_settings_a_log_does_not_print(tmp_path: Path) -> None:
    text = RUN.replace("30 iterations", "60 iterations").replace("4 epochs", "20 epochs")
    made = read(write(tmp_path, text, "1130_v3.txt"))
    settings = json.loads(made.records["settings"][0])
    assert (settings["phase1"]["dist_reg_weight"], settings["phase1"]["batch_tokens"]) == (0.9, 5000)
    assert settings["model"]["feed_forward"] == "relu"
    assert made.records["settings_source"][0].startswith("preset v3; logged: phase1.max_iterations")


@pytest.mark.parametrize(("name", "label"), [
    ("1130_v3/output.txt", "v3"), ("1201_wide.txt", "wide"), ("plain.txt", "plain"), ("20991231_v12/log.txt", "v12"),
])
def test_runs_are_labelled_by_their_folder_or_file(tmp_path: Path, name: str, label: str) -> None:
    assert read(write(tmp_path, RUN, name)).records["experiment"][0] == label


def test_a_label_that_is_asked_for_wins(tmp_path: Path) -> None:
    assert read(write(tmp_path, RUN), experiment="mine").records["experiment"][0] == "mine"


def test_a_run_without_sizes_is_refused_and_a_mapping_mends_it(tmp_path: Path) -> None:
    path = write(tmp_path, RUN.split("\n", 1)[1])
    made = read(path)
    assert made.records.is_empty()
    assert "log.txt:1: 'variant' is missing" in made.files[0].messages[0]
    assert made.failed
    assert read(path, mapping={"variant": "'tiny'"}).records["variant"].to_list() == ["tiny"]
