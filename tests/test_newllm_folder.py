"""Results folders, and the published experiments themselves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from ingesting import DATA, LOG, SHARED, needs_shared, read, rows

FOLDER = LOG.parent
ROUNDED = {"train_er": (3, 1), "val_er": (3, 1), "train_ppl": (1, 1), "val_ppl": (1, 1), "val_acc": (3, 1)}
NOT_COMPARED = {"source", "created", "train_loss", "val_loss", "content", "run_id", "published_alpha",
                "published_windows"}


def assert_same_records(log: pl.DataFrame, folder: pl.DataFrame) -> None:
    """The log's records are the folder's, to the digits the log prints; run ids and all else are equal."""
    assert log["run_id"].to_list() == folder["run_id"].to_list()
    assert log["content"].to_list() == folder["content"].to_list()
    for name in set(log.columns) - NOT_COMPARED - set(ROUNDED):
        assert log[name].to_list() == folder[name].to_list(), name
    for name, (digits, _) in ROUNDED.items():
        half = 0.5 * 10**-digits * 1.0001
        for printed, exact in zip(log[name], folder[name], strict=True):
            assert abs(printed - exact) <= half, name


def test_a_folder_gives_exact_figures_with_the_logs_costs_and_curves() -> None:
    made = read(FOLDER)
    first = rows(made)[0]
    assert (first["val_ppl"], first["val_er"], first["seconds_phase1"]) == (600.3125, 0.8149876, 3.0)
    assert first["created"] == "2099-01-01T00:10:00"
    assert made.curves.height == read(LOG).curves.height
    assert made.files[0].reported == 0


def test_a_log_alone_and_its_folder_give_the_same_records() -> None:
    assert_same_records(read(LOG).records, read(FOLDER).records)


def test_a_folder_and_a_copy_of_it_are_one_piece_of_evidence(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(FOLDER, tmp_path / "0102_again"))
    made = read(FOLDER, copy)
    assert made.records["experiment"].to_list() == ["v9", "v9"]
    assert [(each.kept, each.also) for each in made.duplicates] == [
        ("0101_v9:1", "0102_again:1"), ("0101_v9:2", "0102_again:2"),
    ]
    assert "also 0102_again" in made.records["source"][0]


def test_a_log_given_with_its_folder_keeps_the_exact_figures(tmp_path: Path) -> None:
    copy = Path(shutil.copy(LOG, tmp_path / "saved.txt"))
    for paths in ((copy, FOLDER), (FOLDER, copy)):
        made = read(*paths)
        assert made.records["val_ppl"].to_list() == [600.3125, 450.2421]
        assert len(made.duplicates) == 2


def test_results_that_contradict_the_log_are_reported(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(FOLDER, tmp_path / "0101_v9"))
    results = copy / "detailed_results.json"
    results.write_text(results.read_text().replace("600.3125", "700.3125"))
    made = read(copy)
    assert "expected the figures of row 1 of detailed_results.json, found '600.3" in made.files[0].messages[0]


def test_a_torn_results_file_says_where_and_the_other_inputs_are_read(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(FOLDER, tmp_path / "0102_torn"))
    results = copy / "detailed_results.json"
    results.write_text(results.read_text()[:300])
    made = read(copy, DATA / "newllm" / "died.txt")
    assert made.files[0].problem is not None
    assert made.files[0].problem.startswith("0102_torn/detailed_results.json:5: expected JSON")
    assert made.records.height == 1


def test_a_folder_without_a_log_is_censored_where_it_reached_its_presets_maximum(tmp_path: Path) -> None:
    folder = tmp_path / "1130_v4"
    folder.mkdir()
    results = (FOLDER / "detailed_results.json").read_text().replace('"phase1_iter": 4', '"phase1_iter": 60')
    (folder / "detailed_results.json").write_text(results)
    made = read(folder)
    assert made.records["phase1_censored"].to_list() == [True, False]
    assert made.records["settings_source"].to_list() == ["preset v4", "preset v4"]


@pytest.fixture(scope="module")
def published() -> pl.DataFrame:
    return read(SHARED).records


@needs_shared
def test_the_published_experiments_are_34_records_and_32_more_of_the_matrix(published: pl.DataFrame) -> None:
    counts = dict(published.group_by("experiment").len().iter_rows())
    assert counts == {"v1": 12, "v2": 12, "v3": 5, "v4": 5, "matrix": 32}
    assert published["status"].unique().to_list() == ["ok"]
    made = read(SHARED)
    assert sum(file.reported for file in made.files) == 0
    assert not made.skipped


@needs_shared
def test_every_exact_figure_is_the_results_files(published: pl.DataFrame) -> None:
    names = {"phase1_iterations": "phase1_iter", **{n: n for n in ("train_tokens", "train_er", "val_er", "train_ppl",
                                                                   "val_ppl", "val_acc")}}
    checked = 0
    for folder, label in (("1130_context_dim", "v1"), ("1130_v2", "v2"), ("1130_v3", "v3"), ("1130_v4", "v4")):
        for row in json.loads((SHARED / folder / "detailed_results.json").read_text()):
            (record,) = published.filter(
                experiment=label, variant=row["config_name"], num_samples=row["num_samples"]
            ).to_dicts()
            for name, printed in names.items():
                assert record[name] == row[printed]
                checked += 1
    assert checked == 30 * 7


@needs_shared
@pytest.mark.parametrize("folder", ["1130_context_dim", "1130_v2", "1130_v3"])
def test_a_published_log_alone_gives_the_records_of_its_folder(folder: str) -> None:
    assert_same_records(read(SHARED / folder / "output.txt").records, read(SHARED / folder).records)


@needs_shared
def test_every_figure_of_the_matrix_is_the_logs(published: pl.DataFrame) -> None:
    import re

    text = (SHARED / "1130_all.txt").read_text(encoding="utf-8")
    blocks = re.split(r"--- Experiment: ", text)[1:]
    assert len(blocks) == 36
    for block in blocks:
        samples, layers, width, window = map(int, re.match(r"(\d+) samples, (\d)L, (\d+)d, (\d)tok", block).groups())
        (record,) = published.filter(
            pl.col("experiment").is_in(["matrix", "v1"]), variant=f"{layers}L_{width}d_{window}tok", num_samples=samples
        ).to_dicts()
        ranks = re.search(r"ER: train=([\d.]+)%, val=([\d.]+)%", block)
        best = re.search(r"Best: epoch (\d+), ppl=([\d.]+), acc=([\d.]+)%", block)
        train = re.search(rf"Epoch {best[1]}: train_ppl=([\d.]+)", block)
        assert record["train_er"] * 100 == pytest.approx(float(ranks[1]), abs=1e-9)
        assert record["val_er"] * 100 == pytest.approx(float(ranks[2]), abs=1e-9)
        assert (record["best_epoch"], record["val_ppl"]) == (int(best[1]), float(best[2]))
        assert record["val_acc"] * 100 == pytest.approx(float(best[3]), abs=1e-9)
        assert record["train_ppl"] == float(train[1])
        assert record["phase1_iterations"] == int(re.findall(r"Iter (\d+):", block)[-1])


@needs_shared
def test_published_alphas_are_kept_exactly(published: pl.DataFrame) -> None:
    summary = {row["config_name"]: row["alpha"] for row in json.loads((SHARED / "summary.json").read_text())}
    matrix = published.filter(pl.col("experiment").is_in(["matrix", "v1"]), pl.col("context_dim") == 768)
    assert dict(matrix.select("variant", "published_alpha").unique().iter_rows()) == summary
    (v3,) = published.filter(experiment="v3").select("published_alpha", "published_windows").unique().rows()
    assert v3[0] == -0.465795150444167
    assert [window[:2] for window in json.loads(v3[1])] == [[50, 400], [100, 800]]


@needs_shared
def test_parameters_of_the_published_runs_are_those_of_the_model(published: pl.DataFrame) -> None:
    # 1L_768d_2tok: context block (768 + 1536) * 768 + 768 + 1536; token block the same and 1536 * 768 + 768 for R.
    (row,) = published.filter(experiment="v3", num_samples=50).to_dicts()
    assert (row["params_phase1"], row["params_phase2"]) == (1_771_776, 2_952_192)
