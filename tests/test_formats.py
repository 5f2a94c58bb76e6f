"""Every format that is read stands on its page and has a small input here; damage to that breaks nothing else."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

import polars as pl
import pytest

import made_formats
from cvfp_core.registry.kinds import Ingester
from damage import check, damaged
from ingesting import DATA, read, registry, rows, write

PAGE = (Path(__file__).parents[1] / "docs" / "formats.md").read_text(encoding="utf-8")
EXPECTED = {
    "table.csv": ("csv", 4, {"params": 1.5e6, "train_tokens": 2e7, "val_loss": 4.31, "learning_rate": 6e-4}),
    "table.tsv": ("csv", 4, {"params": 1.5e6, "train_tokens": 2e7, "val_loss": 4.31}),
    "table.csv.gz": ("csv", 4, {"params": 1.5e6}), "table.csv.bz2": ("csv", 4, {"params": 1.5e6}),
    "table.csv.xz": ("csv", 4, {"params": 1.5e6}), "tables.zip": ("csv", 7, {"val_loss": 4.31}),
    "wide.csv": ("csv", 8, {"size": 0, "value": 5.01}),
    "history.csv": ("csv", 2, {"tokens_seen": 3e6, "train_tokens": 3e6, "val_loss": 4.6}),
    "list.json": ("json", 3, {"params": 1.5e6, "train_tokens": 2e7, "val_loss": 4.31, "val_acc": 0.21}),
    "nested.json": ("json", 2, {"corpus": "books", "params": 1.5e6, "train_tokens": 2e7, "flops": 1.8e14}),
    "lines.jsonl": ("jsonl", 3, {"params": 1.5e6, "tokens_seen": 2e7, "val_loss": 4.31, "num_layers": 4}),
    "table.parquet": ("parquet", 2, {"train_tokens": 3e6, "train_loss": 4.4, "val_loss": 4.6}),
    "lightning": ("csv", 1, {"params": 3.2e6, "train_tokens": 4e6, "val_loss": 3.72, "context_dim": 256}),
    "run-folder": ("jsonl", 1, {"params": 1e6, "train_tokens": 2e7, "val_loss": 4.6, "val_acc": 0.21}),
    "hugging-face": ("trainer-state", 1, {"params": 808, "train_tokens": 5000, "val_loss": 3.0}),
    "wandb-runs": ("wandb-runs", 2, {"run_id": "run-a", "train_tokens": 1e6, "val_loss": 3.0}),
    "wandb-chart": ("wandb-history", 2, {"run_id": "run-a", "val_loss": 3.0}),
    "wandb-folder": ("wandb-folder", 1, {"num_layers": 4, "train_tokens": 640, "val_loss": 3.0}),
    "wandb-log": ("wandb-folder", 1, {"params": 1000, "train_tokens": 30, "val_loss": 4.625}),
    "tensorboard": ("tensorboard", 1, {"params": 4096, "train_tokens": 1e6, "val_loss": 3.5}),
    "mlflow": ("mlflow", 1, {"params": 1.5e6, "train_tokens": 2048, "val_loss": 3.0, "num_layers": 4}),
    "mlflow.db": ("mlflow", 2, {"run_id": "tiny", "params": 1000, "val_loss": 3.0}),
    "trackio.db": ("trackio", 2, {"run_id": "tiny", "params": 1000, "val_loss": 3.0}),
    "newllm-log": ("newllm-log", 2, {"num_samples": 5, "train_tokens": 6001, "val_ppl": 600.3}),
    "newllm-folder": ("newllm-folder", 2, {"num_samples": 5, "train_tokens": 6001, "val_ppl": 600.3125}),
    "newllm-json": ("newllm-json", 2, {"num_samples": 5, "train_tokens": 6001, "val_ppl": 600.3125}),
    "lm-eval": ("lm-eval", 1, {"run_id": "tiny", "val_loss": 4.6, "hellaswag/acc": 0.2901}),
    "nanogpt.log": ("nanogpt", 1, {"params": 1.065e7, "train_tokens": 500 * 16_384, "val_loss": 1.7249}),
    "build_nanogpt.log": ("build-nanogpt", 1, {"params": 124_475_904, "val_loss": 5.9002}),
    "build_nanogpt_log.txt": ("build-nanogpt-log", 1, {"step": 250, "val_loss": 5.9002}),
    "modded_nanogpt.txt": ("modded-nanogpt", 1, {"step": 1770, "val_loss": 3.2798}),
    "nanochat.log": ("nanochat", 1, {"params": 135_267_480, "train_tokens": 2520 * 524_288, "val_bpb": 0.860123}),
    "llm_c.log": ("llm-c", 1, {"params": 124_475_904, "train_tokens": 18_865 * 524_288, "val_loss": 3.283377}),
    "llm_c_main.log": ("llm-c-log", 1, {"step": 18_865, "val_loss": 3.2834}),
    "megatron.log": ("megatron", 1, {"params": 4.11e8, "train_tokens": 512_000 * 1024, "val_loss": 3.409587}),
    "gpt_neox.log": ("megatron", 1, {"params": 162_322_944, "train_tokens": 1000 * 32 * 2048, "val_loss": 3.601234}),
    "torchtitan.log": ("torchtitan", 1, {"params": 6_163_712, "train_tokens": 10 * 64 * 2048, "val_loss": 4.2345}),
    "olmo.log": ("olmo", 1, {"params": 1_176_764_416, "train_tokens": 8_388_608, "train_loss": 10.73}),
    "olmo_core.log": ("olmo", 1, {"params": 190_354_176, "train_tokens": 524_288_000, "val_loss": 3.512}),
    "composer.log": ("composer", 1, {"params": 125_311_488, "train_tokens": 261_619_712, "val_loss": 4.0512}),
    "hf_console.log": ("hf-console", 1, {"step": 3, "val_loss": 3.1512}),
    "hf_console_5.log": ("hf-console", 1, {"params": 124_439_808, "tokens_seen": 118_700, "val_loss": 1.498}),
}
"""Input -> what reads it, how many runs there are, and what one of them says."""


def _needs_extra(name: str) -> None:
    if name == "tensorboard":
        pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")


@pytest.mark.parametrize("name", made_formats.MADE)
def test_a_format_is_read_as_its_page_says(tmp_path: Path, name: str) -> None:
    _needs_extra(name)
    made_formats.MADE[name](tmp_path)
    ingester, count, said = EXPECTED[name]
    made = read(next(tmp_path.iterdir()) if name == "newllm-json" else tmp_path)
    assert ingester in {file.ingester for file in made.files}
    assert (made.skipped, made.records.height) == ((), count)
    assert any({column: row.get(column) for column in said} == pytest.approx(said) for row in rows(made))


def test_every_ingester_stands_on_the_page_and_has_a_small_input() -> None:
    assert EXPECTED.keys() == made_formats.MADE.keys()
    for name in registry().items(Ingester):
        assert f"`{name}`" in PAGE, name
    assert {ingester for ingester, *_ in EXPECTED.values()} == set(registry().items(Ingester))
    for path in (DATA / "formats").rglob("*"):
        assert path.is_dir() or len(path.read_text().splitlines()) <= 30, path


# damage


def test_a_damaged_parquet_file_is_named_without_the_words_of_a_library(
        tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    made_formats.MADE["table.parquet"](tmp_path)
    content = (tmp_path / "table.parquet").read_bytes()
    problems = []
    for at in range(4, len(content), 12):
        (tmp_path / "table.parquet").write_bytes(content[:at] + b"\x15" * 12 + content[at + 12:])
        problems += [str(file.problem) for file in read(tmp_path).files if file.problem]
    assert capfd.readouterr().err == ""
    assert any(text.endswith(":1: expected a Parquet file, found damage") for text in problems)
    assert not any(" failed: " in text for text in problems)


@pytest.mark.parametrize("sign", ["\x1d", "\x0b", "\x85", "\u2028"])
def test_a_line_of_a_table_ends_where_lines_end_and_nowhere_else(tmp_path: Path, sign: str) -> None:
    (tmp_path / "a.csv").write_text(f"mod{sign}el,200,400,800\ngpt2,4.5,4.25,4\n", encoding="utf-8")
    made = read(tmp_path)
    assert [file.problem for file in made.files] == [None]
    assert made.records["value"].to_list() == [4.5, 4.25, 4.0]


def test_damaged_metadata_of_a_results_folder_costs_itself_and_is_said(tmp_path: Path) -> None:
    made_formats.MADE["newllm-folder"](tmp_path)
    (tmp_path / "0101_v9" / "metadata.json").write_text("[" * 3000)
    made = read(tmp_path)
    assert made.records.height == 2
    assert [text.partition(": ")[2] for text in made.messages] == ["expected an object, found JSON that is none"]


@pytest.mark.parametrize("column", ["num_layers", "n_layer"])
def test_true_among_numbers_is_no_number(tmp_path: Path, column: str) -> None:
    lines = "".join(f'{{"params": {n}, "val_loss": 4.5, "{column}": {said}}}\n' for n, said in ((1, 4), (2, "true")))
    made = read(write(tmp_path, lines, "runs.jsonl"))
    assert made.records["num_layers"].to_list() == [4]
    assert "found 'true'" in made.messages[0] or "found True" in made.messages[0]


def test_a_loss_of_hundreds_of_digits_costs_its_point(tmp_path: Path) -> None:
    lines = "".join(f'{{"step": {step}, "loss": {loss}, "val_loss": 4.5}}\n' for step, loss in ((1, "9" * 401), (2, 3)))
    made = read(write(tmp_path, lines, "metrics.jsonl"))
    assert [file.problem for file in made.files] == [None]
    assert made.curves.filter(pl.col("metric") == "loss")["value"].to_list() == [None, 3.0]


def test_a_number_that_is_cut_within_its_groups_of_digits_is_none(tmp_path: Path) -> None:
    text = made_formats.CONSOLE["olmo.log"].read_text().replace("1,073,741,824", "1,073,7?1,824")
    assert "params_non_embedding" not in {
        name for name, value in rows(read(write(tmp_path, text, "olmo.log")))[0].items() if value is not None}


BLOCK = 500


@pytest.mark.parametrize("block", [0, *(pytest.param(block, marks=pytest.mark.slow) for block in range(1, 20))])
def test_damage_costs_what_it_hits_and_no_number_is_made_up(block: int, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    for name, make in made_formats.MADE.items():
        (tmp_path / name).mkdir()
        make(tmp_path / name)
    survived = 0
    for number in range(block * BLOCK, (block + 1) * BLOCK):
        chance = random.Random(number)
        name = chance.choice(list(made_formats.MADE))
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(shutil.copytree(tmp_path / name, Path(folder) / "runs"))
            file = chance.choice(sorted(path for path in copy.rglob("*") if path.is_file()))
            file.write_bytes(damaged(file.read_bytes(), chance))
            try:
                survived += check(name, copy) > 0
            except BaseException as error:
                error.add_note(f"input {number}: {name}, {file.name}: {file.read_bytes()[:2000]!r}")
                raise
    assert survived > BLOCK / 4
