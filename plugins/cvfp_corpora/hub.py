"""What the Hugging Face ecosystem keeps: datasets, tokenizers, model weights; from a local path, or by name."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cvfp_core.errors import UsageError
from cvfp_corpora.documents import document_of, local_path
from cvfp_corpora.recipe import Options, Recipe, text_option

if TYPE_CHECKING:
    from datasets import Dataset

READERS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}
"""Which of the `datasets` package's readers takes a single file."""

_HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*)?", re.ASCII)


def dataset(options: Options, cache: Path) -> list[str]:
    """The text of every row that is needed; rows whose text is blank are left out.

    Raises UsageError when the package `datasets`, the dataset, its split or its column is missing.
    """
    asked, field = text_option(options, "dataset"), text_option(options, "field")
    rows = _open(options, cache)
    if field not in rows.column_names:
        raise UsageError(
            f"dataset {asked}: expected the column '{field}', found {', '.join(rows.column_names)}; "
            "name another with the corpus option 'field'"
        )
    positions = needed(len(rows), Recipe.of(options))
    column = rows.select_columns([field]).select(positions, keep_in_memory=True)
    values = (value for batch in column.iter(batch_size=1000) for value in batch[field])
    documents = [
        document_of(value, f"dataset {asked}: row {position}: column '{field}'")
        for position, value in zip(positions, values, strict=True)
    ]
    return [document for document in documents if document.strip()]


def needed(rows: int, recipe: Recipe) -> Sequence[int]:
    """The rows the split will use: of a kept order the first for training and the last for validation, else all."""
    held_out = recipe.held_out(rows)
    if recipe.order != "kept" or recipe.max_documents is None or held_out + recipe.max_documents >= rows:
        return range(rows)
    return [*range(recipe.max_documents), *range(rows - held_out, rows)]


def _open(options: Options, cache: Path) -> Dataset:
    asked, split = text_option(options, "dataset"), text_option(options, "split")
    config = None if options.get("config") is None else text_option(options, "config")
    path = local_path(asked)
    local = path.is_dir() or path.is_file()
    if not local and (not _HUB_ID.fullmatch(asked) or path.suffix in READERS):
        raise UsageError(f"dataset {asked}: no such file or folder, and not a name on the Hugging Face hub")
    if path.is_file() and path.suffix not in READERS:
        raise UsageError(f"dataset {asked}: expected a folder or a file ending in {', '.join(READERS)}")
    try:
        import datasets
    except ImportError as error:
        raise UsageError(
            f"a Hugging Face dataset needs the package datasets; pip install 'cvfp[hf]' ({error})"
        ) from error
    saved = path.is_dir() and any((path / name).is_file() for name in ("dataset_dict.json", "state.json"))
    try:
        if saved:
            found = datasets.load_from_disk(str(path))
        elif path.is_file():  # the readers call a lone file's only split `train`
            found = datasets.load_dataset(
                READERS[path.suffix], data_files=str(path), split="train", cache_dir=str(cache / "datasets")
            )
        elif path.is_dir():
            found = datasets.load_dataset(str(path), config, split=split, cache_dir=str(cache / "datasets"))
        else:
            found = datasets.load_dataset(asked, config, split=split)
    except Exception as error:  # the package raises its own, pyarrow's, fsspec's, the network's
        raise UsageError(f"dataset {asked}: {_reason(error)}") from error
    if isinstance(found, datasets.DatasetDict):
        if split not in found:
            raise UsageError(f"dataset {asked}: expected the split '{split}', found {', '.join(found)}")
        return found[split]
    return found


def tokenizer_json(asked: str) -> bytes:
    """The content of a tokenizer.json: that file, in that folder, or by hub id. Raises UsageError if there is none."""
    path = local_path(asked)
    if path.is_dir():
        path = path / "tokenizer.json"
        if not path.is_file():
            raise UsageError(f"tokenizer {asked}: the folder has no tokenizer.json")
    elif not path.is_file():
        path = _download("tokenizer", "bpe", asked, "tokenizer.json")
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"tokenizer {asked}: cannot be read: {error.strerror}") from error


def model_files(asked: str) -> list[Path]:
    """A model's safetensors files: that file, in that folder, or by hub id. Raises UsageError if there are none."""
    path = local_path(asked)
    if path.is_file():
        return [path]
    if path.is_dir():
        whole = path / "model.safetensors"
        files = [whole] if whole.is_file() else sorted(path.glob("*.safetensors"))
        if not files:
            raise UsageError(f"embeddings {asked}: the folder has no file ending in .safetensors")
        return files
    return [_download("embeddings", "ppmi, random", asked, "model.safetensors")]


def title(asked: str) -> str:
    """What a record calls a tokenizer that was read: the last part of its name, not where it lies."""
    path = Path(os.path.abspath(local_path(asked)))
    return path.parent.name if path.name == "tokenizer.json" else path.stem if path.suffix == ".json" else path.name


def _download(option: str, words: str, asked: str, file: str) -> Path:
    """The file of that hub repository in the hub's own cache, fetched if it is not there yet."""
    expected = f"expected {words}, a file, a folder, or an id on the Hugging Face hub"
    if not _HUB_ID.fullmatch(asked) or asked.endswith((".json", ".safetensors")):
        raise UsageError(f"{option} {asked}: no such file or folder; {expected}")
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(asked, file))
    except Exception as error:  # of the network, the hub, or the disk
        raise UsageError(f"{option} {asked}: {expected}; the hub says: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """The innermost cause in one line: the packages above it only say that something failed."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
