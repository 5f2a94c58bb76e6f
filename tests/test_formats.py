"""Every format that is read stands on its page and has a small input here; damage to that breaks nothing else."""

from __future__ import annotations

import math
import random
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

import made_formats
from cvfp_core.errors import CvfpError
from cvfp_core.ingesting import lines
from cvfp_core.registry.kinds import Ingester
from cvfp_core.schema.records import SCHEMA
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


NASTY = (b'{"val_loss": "\\ud800", "params": 3}', b'{"params": ' + b"9" * 401 + b', "val_loss": 3.5}', b"[" * 3000,
         b'{"a":' * 1500, b"\x00\x01\x02\xff\xfe", b"40%,40%,40%,40%,40%", b"nan,inf,-inf,NaN,1e999", b'"' * 7,
         b"\xef\xbb\xbf", "\N{RIGHT-TO-LEFT OVERRIDE}٣".encode(), b"!!python/object/apply:os.system [x]")
WRONG = (b"0", b"-1", b"nan", b"inf", b"1e999", b"9" * 30, b"9" * 401, "٣".encode(), b"1,2,3", b"5.5.5", b"40%", b"7B",
         b"", b"0.37", b"1e-320", b"true", b"null", b"2026-01-01", b"0x1F", b"1_000")
BLOCK = 500
FACTORS = (1.0, *(10.0**power for power in (3, 6, 9, 12, 15, 18, 21)), 0.01, math.log(2), 8.64e19)
"""What a declared unit multiplies by: `(M)`, `%`, bits, petaflop/s-days."""
SUMS = {"seconds_phase1", "seconds_phase2", "params_phase1", "params_phase2", "params", "epochs", "trainer_steps"}
"""Columns that add up or count what a log says step by step, or what a header says tensor by tensor."""
COUNTED = {"build_nanogpt.log", "hf_console.log", "hf_console_5.log"}
"""Console logs whose points are of the step after the one printed, or are numbered."""
BINARY = {"table.csv.gz", "table.csv.bz2", "table.csv.xz", "tables.zip", "table.parquet", "tensorboard", "wandb-log",
          "mlflow.db", "trackio.db"}
"""Inputs whose numbers are not written as text."""
_NUMBER = re.compile(rb"[-+]?(?:\d[\d,_ ]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def _damaged(content: bytes, chance: random.Random) -> bytes:
    """The content cut, shuffled, or corrupted, in one to three ways."""
    for _ in range(chance.randint(1, 3)):
        parts = content.split(b"\n")
        at = chance.randrange(len(parts))
        numbers = list(_NUMBER.finditer(content))
        match chance.randrange(7):
            case 0:
                content = content[:chance.randint(0, len(content))]
            case 1:
                chance.shuffle(parts)
                content = b"\n".join(parts)
            case 2:
                changed = bytearray(content)
                for _ in range(chance.randint(1, 20) if changed else 0):
                    changed[chance.randrange(len(changed))] = chance.randrange(256)
                content = bytes(changed)
            case 3 if numbers:
                for number in sorted(chance.sample(numbers, min(3, len(numbers))), key=lambda each: -each.start()):
                    content = content[:number.start()] + chance.choice(WRONG) + content[number.end():]
            case 4:
                content = b"\n".join([*parts[:at], chance.choice(NASTY), *parts[at:]])
            case 5:
                content = b"\n".join([*parts[:at], parts[at], *parts[at:]])
            case _:
                content = b"\n".join(parts[:at] + parts[at + 1:])
    return content


def _keys(value: float) -> Iterator[str]:
    """A number as it is compared: to eleven digits, up or down in the last of them."""
    return (f"{value * (1 + off):.10e}" for off in (0, 1e-11, -1e-11))


def _numbers_of(folder: Path) -> set[str]:
    """Every number that stands in the files of a folder or in their names, by itself or as a part of another."""
    texts = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    texts += [str(path.relative_to(folder)).encode() for path in folder.rglob("*")]
    found = set()
    for text in texts:
        text = lines.text_of(text).encode("utf-8", "replace").replace(b"\xef\xbf\xbd", b"\x00")
        for pattern in (_NUMBER, re.compile(rb"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?"),
                        re.compile(rb"\d+"), re.compile(rb"\d+\.\d+"), re.compile(rb"\d{1,3}(?:,\d{3})+")):
            for match in pattern.finditer(text):
                plain = re.sub(rb"[,_ ]", b"", match[0])
                if len(plain) < 310:
                    found |= {key for factor in FACTORS for key in _keys(float(plain) * factor)}
        for match in re.finditer(rb"0x[0-9a-fA-F]{1,15}", text):  # as YAML writes it
            found |= set(_keys(int(match[0], 16)))
    return found


def _follows(row: dict[str, object]) -> set[str]:
    """The columns of a record that it says are derived from others."""
    return {part.partition(" = ")[0] for part in str(row.get("derived") or "").split("; ")}


def _check(name: str, folder: Path) -> int:
    """Reads a damaged input: what can be read is, the rest is named; how many runs there are."""
    try:
        made = read(folder)
    except CvfpError:
        return 0
    assert made.records.columns[: len(SCHEMA)] == list(SCHEMA)
    assert made.records["run_id"].is_unique().all()
    texts = [str(text) for file in made.files for text in (file.problem, *file.messages, *file.remarks)]
    for text in (*texts, *made.skipped, *made.faults):
        assert "\n" not in text
        assert not re.search(r" failed: |Traceback|panicked|rust|pyo3|polars", text), text  # an ingester that broke
    assert not made.faults
    if name in BINARY:
        return made.records.height
    there = _numbers_of(folder)
    for row in rows(made):
        for column, value in row.items():
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
                counted = column in SUMS or (column == "step" and name in COUNTED)
                known = counted or column in _follows(row) or there & set(_keys(abs(float(value))))
                assert known, f"{column} = {value!r} stands nowhere in the input"
    return made.records.height


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
            file.write_bytes(_damaged(file.read_bytes(), chance))
            try:
                survived += _check(name, copy) > 0
            except BaseException as error:
                error.add_note(f"input {number}: {name}, {file.name}: {file.read_bytes()[:2000]!r}")
                raise
    assert survived > BLOCK / 4
