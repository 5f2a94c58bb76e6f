"""Console logs: what each variant of a line becomes."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import pytest

from cvfp_core.errors import CvfpError
from cvfp_core.ingesting.storing import into
from cvfp_core.schema import store
from ingesting import DATA, LOG, lines_of, read, rows, write

STATED = """\
RESULTS SUMMARY
1L_64d_2tok        -0.5   1.2e+05   0.99   700.4
"""
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


def test_objective_and_early_stop_are_those_that_the_lines_name(tmp_path) -> None:
    log = tmp_path / "algorithms.txt"
    log.write_text((DATA / "newllm" / "algorithms.txt").read_text(encoding="utf-8").replace("AAA", "ODCM").replace(
        "BBB", "MCDL"), encoding="utf-8")
    made = read(log).records.sort("objective", descending=True)
    assert made.select("objective", "ending").rows() == [("odcm", "val-er"), ("mcdl", "converged")]
    odcm, mcdl = (json.loads(each)["phase1"] for each in made["settings"])
    assert (odcm["objective"], odcm["ending"], odcm["dist_reg_weight"]) == ("odcm", "val-er", 0.5)
    assert not {"objective", "ending"} & set(mcdl)
    unknown = read(DATA / "newllm" / "algorithms.txt").records
    assert unknown["objective"].to_list() == [None, None]


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


def test_a_file_that_contradicts_the_preset_of_its_name_is_not_that_experiment(tmp_path: Path) -> None:
    made = read(write(tmp_path, RUN + RUN.replace("5 samples", "9 samples") + STATED, "1130_v3.txt"))
    assert made.records["experiment"].to_list() == ["1130_v3", "1130_v3"]
    assert made.records["settings_source"][0] == "log: phase1.max_iterations, phase2.epochs"
    assert made.records["published_alpha"].to_list() == [-0.5, -0.5]
    assert made.files[0].messages == (
        "1130_v3.txt:2: expected max_iterations = 60 as in preset 'v3', which is not used for runs of '1130_v3', "
        "found 30",)
    asked = read(write(tmp_path, RUN, "1130_v3.txt"), experiment="v3")
    assert asked.records.select("experiment", "settings_source").rows() == [
        ("v3", "log: phase1.max_iterations, phase2.epochs")]


def test_the_effective_rank_of_a_run_with_checks_is_the_last_and_not_the_best(tmp_path: Path) -> None:
    made = read(DATA / "newllm" / "algorithms.txt")
    assert made.records["val_er"].to_list() == [0.817, 0.725]  # 83.9%/82.5% says the first run's summary
    better = (DATA / "newllm" / "algorithms.txt").read_text(encoding="utf-8").replace("ER: 81.7%", "ER: 82.9%")
    measured = read(write(tmp_path, better))  # then 82.5 % is no best check: the log measured it itself
    assert measured.records["val_er"].to_list() == [0.825, 0.725]


def test_equal_figures_under_different_settings_are_two_runs_and_it_is_said(tmp_path: Path) -> None:
    text = (DATA / "newllm" / "algorithms.txt").read_text(encoding="utf-8")
    half = write(tmp_path, text, "weight_050.txt")
    nine = write(tmp_path, text.replace("dist_reg_weight: 0.5", "dist_reg_weight: 0.9"), "weight_090.txt")
    for paths in ((half, nine), (nine, half)):
        made = read(*paths)
        assert sorted(made.records["experiment"]) == [
            "weight_050-AAA", "weight_050-BBB", "weight_090-AAA", "weight_090-BBB"]
        assert made.records["content"].n_unique() == made.records["run_id"].n_unique() == 4
        assert made.notes == made.alike
        assert len(made.alike) == 2
        assert "have the same figures under phase1.dist_reg_weight" in made.alike[0]
    copy = write(tmp_path, text, "copy.txt")
    assert read(half, copy).records.height == 2
    assert read(half, copy).alike == ()


def test_a_store_keeps_equal_figures_under_different_settings_apart(tmp_path: Path) -> None:
    text = (DATA / "newllm" / "algorithms.txt").read_text(encoding="utf-8")
    half = write(tmp_path, text, "weight_050.txt")
    nine = write(tmp_path, text.replace("dist_reg_weight: 0.5", "dist_reg_weight: 0.9"), "weight_090.txt")
    folder = tmp_path / "store"
    assert [into(folder, read(path, experiment="same")).written for path in (half, nine, half, nine)] == [2, 2, 0, 0]
    assert into(folder, read(half, nine, experiment="same")).written == 0
    weights = [json.loads(text)["phase1"]["dist_reg_weight"] for text in store.read(folder)["settings"]]
    assert sorted(weights) == [0.5, 0.5, 0.9, 0.9]
    curves = store.read_curves(folder)
    assert curves["run_id"].n_unique() == 4
    assert curves.height == 2 * read(half).curves.height


@pytest.mark.parametrize("label", [None, "mine"])
def test_labels_and_stated_exponents_do_not_depend_on_the_order_of_files(tmp_path: Path, label: str | None) -> None:
    text = LOG.read_text(encoding="utf-8")
    paths = [write(tmp_path, text, "saved.txt"), write(tmp_path, text, "0102_other.txt"), LOG.parent]
    seen = set()
    for order in permutations(paths):
        made = read(*order, experiment=label)
        seen.add((tuple(made.records.select("experiment", "variant", "run_id", "val_ppl", "published_alpha",
                                            "published_windows").rows()), tuple(made.published.rows())))
    ((records, published),) = seen
    assert {row[0] for row in records} == {label or "v9"}
    assert [row[2] for row in published] == [-0.41505, -0.41505] or len(published) == 2


def test_exponents_that_contradict_each_other_are_named_whatever_the_order(tmp_path: Path) -> None:
    first, other = (write(tmp_path, RUN + STATED.replace("-0.5", alpha), f"{name}/output.txt")
                    for name, alpha in (("a", "-0.5"), ("b", "-0.7")))
    for paths in ((first, other), (other, first)):
        made = read(*paths)
        assert made.records["published_alpha"].to_list() == [-0.5]
        (message,) = (message for file in made.files for message in file.messages)
        assert message.endswith(": expected the alpha of a 1L_64d_2tok that a/output.txt states, -0.5, found -0.7")


def test_refusals_come_before_what_was_not_understood_in_any_file(tmp_path: Path) -> None:
    write(tmp_path, RUN + "what is this?\n" * 30, "a.txt")
    write(tmp_path, RUN.split("\n", 1)[1] + "what is this?\n" * 30, "b.txt")
    write(tmp_path, RUN.split("\n", 1)[1].replace("575", "576"), "c.txt")
    made = read(tmp_path)
    files = [message.partition(":")[0].rpartition("/")[2] for message in made.messages]
    assert files[:3] == ["b.txt", "c.txt", "a.txt"]
    assert "--map context_dim=768" in made.messages[0]
    with pytest.raises(CvfpError, match=r"b\.txt:1: 'variant' is missing"):
        made.require_complete()


def test_a_preset_gives_the_settings_a_log_does_not_print(tmp_path: Path) -> None:
    text = RUN.replace("30 iterations", "60 iterations").replace("4 epochs", "20 epochs")
    made = read(write(tmp_path, text, "1130_v3.txt"))
    settings = json.loads(made.records["settings"][0])
    assert (settings["phase1"]["dist_reg_weight"], settings["phase1"]["batch_tokens"]) == (0.9, 5000)
    assert settings["model"]["feed_forward"] == "relu"
    assert made.records["settings_source"][0].startswith("preset v3; logged: phase1.max_iterations")


@pytest.mark.parametrize(("name", "label"), [
    ("1130_v12/output.txt", "v12"), ("1201_wide.txt", "wide"), ("plain.txt", "plain"), ("20991231_v12/log.txt", "v12"),
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
