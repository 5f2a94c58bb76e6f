"""Hugging Face datasets, tokenizers and weights: the code that reads UltraChat and GPT-2, on small ones made here."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, processors

from cvfp_core.errors import UsageError
from cvfp_core.registry.kinds import Corpus
from cvfp_core.schema.settings import Scalar
from cvfp_corpora import cvfp_corpora, hub, recipe, tokens

SOURCES = {source.name: source for source in cvfp_corpora()}
VOCABULARY, WIDTH = 300, 16
CHATS = [
    [{"role": "user", "content": f"What is {i} and {i}?"}, {"role": "assistant", "content": f"It is {2 * i}, I think."}]
    for i in range(40)
]
JOINED = [f"What is {i} and {i}?\nIt is {2 * i}, I think." for i in range(40)]


def load(source: str, cache: Path, **changed: Scalar | None) -> Corpus:
    options: dict[str, Scalar | None] = {option.name: option.default for option in SOURCES[source].options}
    assert changed.keys() <= options.keys()
    return SOURCES[source].load(options | changed, cache)


def refusal(source: str, cache: Path, **changed: Scalar | None) -> str:
    with pytest.raises(UsageError) as caught:
        load(source, cache, **changed)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def table(rows: int = VOCABULARY, width: int = WIDTH) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(rows, width)).astype(np.float32)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like that of GPT-2: a tokenizer that would truncate, pad and add tokens if asked, and weights."""
    folder = tmp_path_factory.mktemp("models") / "gpt2-tiny"
    folder.mkdir()
    tokenizer = tokens.train_bpe([*JOINED, "the cat sat on the mat, and the dog sat on the cat"] * 3, VOCABULARY - 1)
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", VOCABULARY - 1)]
    )
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(folder / "tokenizer.json"))
    others = {"wpe.weight": table(32), "h.0.mlp.c_fc.weight": table(WIDTH), "ln_f.bias": np.ones(4)}
    save_file({"wte.weight": table(), **others}, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """UltraChat's layout, saved to disk: two splits with a list of messages each."""
    datasets = pytest.importorskip("datasets", reason="the extra hf is not installed")
    folder = tmp_path_factory.mktemp("data") / "chats"
    rows = datasets.Dataset.from_dict({"prompt_id": list(range(40)), "messages": CHATS})
    datasets.DatasetDict(train_sft=rows, test_sft=rows.select(range(3))).save_to_disk(str(folder))
    return folder


# --- datasets ---


def test_ultrachat_reads_its_first_conversations_with_gpt2_tokens_and_embeddings(
    chats: Path, gpt2: Path, tmp_path: Path
) -> None:
    model = {"tokenizer": str(gpt2), "embeddings": str(gpt2)}
    corpus = load("ultrachat", tmp_path, dataset=str(chats), max_documents=10, validation=5, **model)
    tokenizer = Tokenizer.from_file(str(gpt2 / "tokenizer.json"))
    assert corpus.name == "ultrachat:chats"
    assert corpus.tokenizer == "gpt2-tiny"
    assert (corpus.vocab_size, corpus.embed_dim, corpus.num_documents) == (VOCABULARY, WIDTH, 10)
    np.testing.assert_array_equal(corpus.embeddings, table())
    for n in (1, 4, 10):
        assert tokenizer.decode(corpus.sample(n).tolist()) == "\n".join(JOINED[:n])
    assert tokenizer.decode(corpus.val_tokens.tolist(), skip_special_tokens=False) == "\n".join(JOINED[-5:])
    again = load("ultrachat", tmp_path, dataset=str(chats), max_documents=10, validation=5, **model)
    assert again.hash == corpus.hash
    np.testing.assert_array_equal(again.embeddings, corpus.embeddings)
    longer = load("ultrachat", tmp_path, dataset=str(chats), max_documents=20, validation=5, **model)
    np.testing.assert_array_equal(longer.sample(10), corpus.train_tokens)
    np.testing.assert_array_equal(longer.val_tokens, corpus.val_tokens)


def test_the_cached_entry_does_not_repeat_the_weights(chats: Path, gpt2: Path, tmp_path: Path) -> None:
    load("hf", tmp_path, dataset=str(chats), split="train_sft", field="messages",
         tokenizer=str(gpt2 / "tokenizer.json"), embeddings=str(gpt2 / "model.safetensors"))
    (entry,) = tmp_path.glob("hf-*.safetensors")
    from cvfp_corpora.cache import read

    made = read(entry)
    assert made is not None
    assert made.embeddings.size == 0


def test_only_the_rows_a_kept_order_needs_are_read() -> None:
    options: dict[str, Scalar | None] = {option.name: option.default for option in SOURCES["ultrachat"].options}
    asked = recipe.Recipe.of(options | {"max_documents": 3, "validation": 2})
    assert list(hub.needed(10, asked)) == [0, 1, 2, 8, 9]
    assert list(hub.needed(5, asked)) == [0, 1, 2, 3, 4]
    assert list(hub.needed(10, recipe.Recipe.of(options | {"max_documents": None}))) == list(range(10))
    assert list(hub.needed(10, recipe.Recipe.of(options | {"order": "shuffled"}))) == list(range(10))


def test_a_dataset_saved_without_splits_is_read_whole(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra hf is not installed")
    datasets.Dataset.from_dict({"text": [*JOINED, "", "  "]}).save_to_disk(str(tmp_path / "plain"))
    corpus = load("hf", tmp_path / "cache", dataset=str(tmp_path / "plain"), vocab_size=270, embed_dim=8)
    assert corpus.name == "hf:plain"
    assert corpus.num_documents == 36  # blank rows are left out


@pytest.mark.parametrize("form", ["jsonl", "parquet", "folder"])
def test_local_files_are_read_without_a_network(form: str, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra hf is not installed")
    place = tmp_path / "data"
    place.mkdir()
    rows = datasets.Dataset.from_dict({"messages": CHATS})
    match form:
        case "jsonl":
            place = place / "chats.jsonl"
            place.write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in CHATS))
        case "parquet":
            place = place / "chats.parquet"
            rows.to_parquet(str(place))
        case "folder":
            (place / "data").mkdir()  # as a clone of the hub's repository has it
            rows.to_parquet(str(place / "data" / "train_sft-00000-of-00001.parquet"))
    split = "train_sft" if form == "folder" else "train"
    options: dict[str, Scalar | None] = {option.name: option.default for option in SOURCES["hf"].options}
    options |= {"dataset": str(place), "split": split, "field": "messages"}
    assert hub.dataset(options, tmp_path / "cache") == JOINED


def test_a_dataset_that_lacks_what_was_asked_for_says_what_it_has(chats: Path, tmp_path: Path) -> None:
    local = {"dataset": str(chats), "split": "train_sft"}
    assert "expected the split 'train', found train_sft, test_sft" in refusal("hf", tmp_path, dataset=str(chats))
    assert "expected the column 'text', found prompt_id, messages" in refusal("hf", tmp_path, **local)
    said = refusal("hf", tmp_path, field="prompt_id", **local)
    assert "row 0: column 'prompt_id': expected a text or a list of messages, found 0" in said
    assert "corpus option 'dataset' is required" in refusal("hf", tmp_path)


def test_a_dataset_path_that_is_missing_or_of_no_known_kind_is_named(tmp_path: Path) -> None:
    assert "no such file or folder" in refusal("hf", tmp_path, dataset="./nowhere")
    assert "no such file or folder" in refusal("hf", tmp_path, dataset="rows.jsonl")
    (tmp_path / "rows.xlsx").write_bytes(b"x")
    assert "ending in .jsonl, .json, .parquet, .csv" in refusal("hf", tmp_path, dataset=str(tmp_path / "rows.xlsx"))


def test_a_broken_local_dataset_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("datasets", reason="the extra hf is not installed")
    file = tmp_path / "rows.parquet"
    file.write_bytes(b"not parquet at all")
    assert refusal("hf", tmp_path / "cache", dataset=str(file)).startswith(f"dataset {file}: ")
    (tmp_path / "empty").mkdir()
    assert refusal("hf", tmp_path / "cache", dataset=str(tmp_path / "empty")).startswith("dataset ")


def test_a_name_the_hub_does_not_know_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra hf is not installed")

    def refuse(*asked: object, **_: object) -> None:
        raise FileNotFoundError("no such dataset\non the hub") from ConnectionError(f"offline: {asked[0]}")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    assert refusal("hf", tmp_path, dataset="some/name") == "dataset some/name: offline: some/name"


def test_without_the_package_datasets_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert "pip install 'cvfp[hf]'" in refusal("ultrachat", tmp_path)
    assert "pip install 'cvfp[hf]'" in refusal("hf", tmp_path, dataset="some/name")


# --- tokenizers and weights ---


def test_tokenizer_and_weights_of_a_hub_id_are_fetched_by_name(
    gpt2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = []

    def fetch(name: str, file: str) -> str:
        fetched.append((name, file))
        return str(gpt2 / file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    monkeypatch.chdir(tmp_path)
    corpus = load("embedded", tmp_path, tokenizer="lab/tiny", embeddings="lab/tiny")
    assert fetched == [("lab/tiny", "tokenizer.json"), ("lab/tiny", "model.safetensors")]
    assert (corpus.tokenizer, corpus.vocab_size, corpus.embed_dim) == ("tiny", VOCABULARY, WIDTH)
    assert corpus.hash == load("embedded", tmp_path, tokenizer=str(gpt2), embeddings=str(gpt2)).hash


def test_a_hub_that_does_not_answer_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> str:
        raise OSError("offline")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    assert refusal("embedded", tmp_path, tokenizer="bep") == (
        "tokenizer bep: expected bpe, a file, a folder, or an id on the Hugging Face hub; the hub says: offline"
    )
    assert refusal("embedded", tmp_path, embeddings="pmi").startswith("embeddings pmi: expected ppmi, random, a file")


def test_embeddings_can_be_made_for_a_tokenizer_that_was_read(gpt2: Path, tmp_path: Path) -> None:
    corpus = load("embedded", tmp_path, tokenizer=str(gpt2), embed_dim=24)
    assert corpus.embeddings.shape == (VOCABULARY, 24)
    np.testing.assert_allclose(np.linalg.norm(corpus.embeddings, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "padded", "only matrix", "shards"])
def test_weights_are_found_whatever_their_form(kind: str, gpt2: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    expected = table()
    match kind:
        case "float16":
            save_file({"transformer.wte.weight": expected.astype(np.float16)}, folder / "model.safetensors")
            expected = expected.astype(np.float16).astype(np.float32)
        case "bfloat16":
            import torch
            from safetensors.torch import save_file as save_torch

            low = torch.from_numpy(expected).bfloat16()
            save_torch({"model.embed_tokens.weight": low}, folder / "model.safetensors")
            expected = low.float().numpy()
        case "padded":
            save_file({"wte.weight": table(VOCABULARY + 20)}, folder / "model.safetensors")
            expected = table(VOCABULARY + 20)[:VOCABULARY]
        case "only matrix":
            save_file({"vectors": expected, "scale": np.ones(3)}, folder / "anything.safetensors")
        case "shards":
            save_file({"wte.weight": expected}, folder / "model-00001-of-00002.safetensors")
            save_file({"wpe.weight": expected}, folder / "model-00002-of-00002.safetensors")
    corpus = load("embedded", tmp_path, tokenizer=str(gpt2), embeddings=str(folder))
    np.testing.assert_array_equal(corpus.embeddings, expected)


def test_weights_that_do_not_fit_are_refused(gpt2: Path, tmp_path: Path) -> None:
    def said(**tensors: np.ndarray) -> str:
        file = tmp_path / "model.safetensors"
        save_file({name.replace("__", "."): tensor for name, tensor in tensors.items()}, file)
        return refusal("embedded", tmp_path / "cache", tokenizer=str(gpt2), embeddings=str(file))

    assert f"have 20 rows, but tokenizer {gpt2} has 300 tokens" in said(wte__weight=table(20))
    assert "found a, b" in said(a=table(), b=table())
    assert "found a.wte.weight, b.wte.weight" in said(a__wte__weight=table(), b__wte__weight=table())
    assert "found no matrix" in said(bias=np.ones(3))
    assert "values that are not finite" in said(wte__weight=table() * np.float32("inf"))


def test_files_that_are_not_what_they_should_be_are_named(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"version": "1.0"}')
    assert "expected a tokenizer.json, found" in refusal("embedded", tmp_path, tokenizer=str(wrong))
    wrong.write_bytes(b"\xff\xfe")
    assert "expected a tokenizer.json, found" in refusal("embedded", tmp_path, tokenizer=str(wrong))
    assert "expected a safetensors file" in refusal("embedded", tmp_path, embeddings=str(wrong))
    (tmp_path / "empty").mkdir()
    assert "has no tokenizer.json" in refusal("embedded", tmp_path, tokenizer=str(tmp_path / "empty"))
    assert "no file ending in .safetensors" in refusal("embedded", tmp_path, embeddings=str(tmp_path / "empty"))


def test_an_option_that_contradicts_what_was_read_is_refused(gpt2: Path, tmp_path: Path) -> None:
    said = refusal("embedded", tmp_path, tokenizer=str(gpt2), embeddings=str(gpt2), vocab_size=5000)
    assert said.startswith("corpus option 'vocab_size' is 5000, but tokenizer ")
    said = refusal("embedded", tmp_path, tokenizer=str(gpt2), embeddings=str(gpt2), embed_dim=64)
    assert said.startswith("corpus option 'embed_dim' is 64, but embeddings ")
    assert "have 300 rows, but tokenizer bpe has 2000 tokens" in refusal("embedded", tmp_path, embeddings=str(gpt2))
