"""Corpora: documents, the split, tokens, embeddings, the cache."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

import made_grids
from cvfp_core import registry
from cvfp_core.registry.kinds import Corpus, CorpusSource
from cvfp_core.schema.settings import Scalar
from cvfp_corpora import cache as entries
from cvfp_corpora import cvfp_corpora, documents, embeddings, recipe, tokens

SOURCES = {source.name: source for source in cvfp_corpora()}
Options = dict[str, Scalar | None]


def options(source: str, **changed: Scalar | None) -> Options:
    """All options of that source: its defaults, and what is changed."""
    defaults: Options = {option.name: option.default for option in SOURCES[source].options}
    assert changed.keys() <= defaults.keys()
    return defaults | changed


def load(source: str, cache: Path, **changed: Scalar | None) -> Corpus:
    return SOURCES[source].load(options(source, **changed), cache)


def tokenizer_of(cache: Path) -> Tokenizer:
    """The tokenizer of the only entry in that cache."""
    (entry,) = cache.glob("*.safetensors")
    made = entries.read(entry)
    assert made is not None
    return Tokenizer.from_str(made.tokenizer_json)


def assert_same(one: Corpus, other: Corpus) -> None:
    for name in ("name", "tokenizer", "vocab_size", "hash"):
        assert getattr(one, name) == getattr(other, name)
    for name in ("train_tokens", "document_ends", "val_tokens", "embeddings"):
        left, right = getattr(one, name), getattr(other, name)
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def embedded(cache: Path) -> Corpus:
    return load("embedded", cache)


@pytest.fixture
def stories(tmp_path: Path) -> Path:
    """A folder of 30 small text files that differ."""
    folder = tmp_path / "stories"
    (folder / "more").mkdir(parents=True)
    for i in range(30):
        place = folder / "more" if i % 2 else folder
        (place / f"{i:02}.txt").write_text(f"Story {i}. The fox number {i} jumps over the lazy dog again and again.\n")
    return folder


SMALL: Options = {"vocab_size": 270, "embed_dim": 8}


# --- the door ---


def test_the_registry_lists_every_corpus_with_its_options() -> None:
    found = registry.load().items(CorpusSource)
    assert {"embedded", "text", "jsonl", "hf", "ultrachat"} <= set(found)
    for source in SOURCES.values():
        names = [option.name for option in source.options]
        assert len(names) == len(set(names))
        assert all(option.help for option in source.options)
        for option in source.options:
            assert not option.choices or option.default in option.choices


def test_the_shop_window_imports_nothing_heavy() -> None:
    heavy = {"numpy", "torch", "scipy", "tokenizers", "datasets", "huggingface_hub", "safetensors"}
    script = f"import sys, cvfp_corpora; list(cvfp_corpora.cvfp_corpora()); print(*({heavy} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""


def test_ultrachat_has_the_settings_of_the_published_experiments() -> None:
    chosen = options("ultrachat")
    assert chosen["dataset"] == "HuggingFaceH4/ultrachat_200k"
    assert (chosen["split"], chosen["field"], chosen["order"], chosen["validation"]) == (
        "train_sft", "messages", "kept", 20,
    )
    assert chosen["tokenizer"] == chosen["embeddings"] == "openai-community/gpt2"


# --- the embedded default ---


def test_the_embedded_corpus_has_the_size_its_text_promises(embedded: Corpus) -> None:
    # CPython 3.11 gives 92,715 and 12,245 tokens in 188 documents; other versions carry other text.
    assert embedded.name == "embedded"
    assert embedded.tokenizer == "bpe-2000"
    assert embedded.vocab_size == 2000
    assert 90_000 < len(embedded.train_tokens) < 200_000
    assert 8_000 < len(embedded.val_tokens) < 25_000
    assert 180 < embedded.num_documents < 400
    assert embedded.train_tokens.dtype == np.int32
    assert embedded.document_ends.dtype == np.int64
    assert embedded.document_ends[-1] == len(embedded.train_tokens)
    assert int(embedded.train_tokens.max()) < embedded.vocab_size
    assert embedded.embeddings.shape == (2000, 128)
    assert embedded.embeddings.dtype == np.float32


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the figures are those of CPython 3.11's text")
def test_at_vocabulary_2048_the_embedded_corpus_has_the_measured_tokens(tmp_path: Path) -> None:
    corpus = load("embedded", tmp_path, vocab_size=2048, embeddings="random", repeats="kept")
    assert len(corpus.train_tokens) == pytest.approx(110_648, rel=0.005)
    assert len(corpus.val_tokens) == pytest.approx(13_140, rel=0.005)


def test_every_embedded_document_has_at_least_1500_characters() -> None:
    found = documents.embedded(options("embedded"), Path())
    assert min(map(len, found)) >= 1500
    assert np.median([len(document) for document in found]) < 2500
    assert 300_000 < sum(map(len, found)) < 700_000
    assert len(set(found)) == len(found)


def test_repeated_paragraphs_can_be_dropped_so_that_validation_text_is_new() -> None:
    def shared(repeats: str) -> float:
        chosen = options("embedded", repeats=repeats)
        train, val = recipe.split(documents.embedded(chosen, Path()), recipe.Recipe.of(chosen))
        known = {part for document in train for part in documents.paragraphs_of(document)}
        parts = [part for document in val for part in documents.paragraphs_of(document)]
        return sum(len(part) for part in parts if part in known) / sum(map(len, parts))

    assert shared("kept") > 0.05  # 0.18 of CPython 3.11's text
    assert shared("dropped") == 0


def test_initial_logits_of_the_embedded_corpus_are_of_order_one(embedded: Corpus) -> None:
    outputs = np.random.default_rng(0).normal(size=(500, embedded.embed_dim))
    outputs = (outputs - outputs.mean(1, keepdims=True)) / outputs.std(1, keepdims=True)  # LayerNorm
    assert 0.9 < (outputs @ embedded.embeddings.T).std() < 1.1
    np.testing.assert_allclose(np.linalg.norm(embedded.embeddings, axis=1), 1, rtol=1e-5)


def test_tokens_and_hash_do_not_depend_on_the_number_of_threads(embedded: Corpus, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from cvfp_corpora import cvfp_corpora\n"
        "source = next(s for s in cvfp_corpora() if s.name == 'embedded')\n"
        "print(source.load({o.name: o.default for o in source.options}, Path(sys.argv[1])).hash)"
    )
    threads = dict.fromkeys(("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    ran = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env=os.environ | threads | {"PYTHONHASHSEED": "7", "TOKENIZERS_PARALLELISM": "false"},
        capture_output=True, text=True, check=True,
    )
    assert ran.stdout.strip() == embedded.hash
    (entry,) = tmp_path.glob("*.safetensors")
    other = entries.read(entry)
    assert other is not None
    np.testing.assert_array_equal(other.train_tokens, embedded.train_tokens)
    np.testing.assert_array_equal(other.embeddings, embedded.embeddings)


# --- documents ---


def test_a_folder_gives_one_document_a_file_in_the_order_of_paths(stories: Path) -> None:
    found = documents.text(options("text", path=str(stories)), Path())
    assert len(found) == 30
    assert [found[0][:8], found[15][:8]] == ["Story 0.", "Story 1."]
    below = documents.text(options("text", path=str(stories), glob="more/*.txt"), Path())
    assert len(below) == 15


def test_files_of_a_folder_that_are_not_read_are_said(stories: Path, tmp_path: Path) -> None:
    plan = ("run", "--dry-run", "--no-time", "--variant", "1L_16d_1tok", "--samples", "4", "--corpus", "text", "--set",
            f"corpus.path={stories}", "--set", "corpus.vocab_size=300", "--set", "corpus.embed_dim=16")
    assert made_grids.in_process(*plan, folder=tmp_path).stderr == ""
    (stories / "notes.md").write_text("# Notes")
    said = made_grids.in_process(*plan, folder=tmp_path).stderr
    assert said == (f"cvfp: {stories}: 30 of 31 files are read, those that match '**/*.txt'; there are also 1 .md: "
                    "--set corpus.glob='**/*.md'\n")
    assert made_grids.in_process(*plan, "--set", "corpus.glob=**/*.*", folder=tmp_path).stderr == ""


def test_a_single_file_is_split_at_blank_lines(tmp_path: Path) -> None:
    file = tmp_path / "novel.txt"
    file.write_bytes("\ufeffone\r\nstill one\r\n \r\n\r\n    two\r\n\r\nthree\r\n".encode())
    assert documents.text(options("text", path=str(file)), Path()) == ["one\nstill one", "    two", "three"]
    grouped = options("text", path=str(file), document_characters=8)
    assert documents.text(grouped, Path()) == ["one\nstill one", "    two\n\nthree"]
    assert len(documents.text(options("text", path=str(file), document="file"), Path())) == 1


def test_a_short_rest_of_paragraphs_joins_the_last_document() -> None:
    assert documents.grouped(["aaaa", "bb", "cc", "d"], 4) == ["aaaa", "bb\n\ncc\n\nd"]
    assert documents.grouped(["a", "b"], 100) == ["a\n\nb"]
    assert documents.grouped([], 4) == []


def test_links_to_folders_are_followed_once_even_in_a_loop(stories: Path, tmp_path: Path) -> None:
    (stories / "more" / "loop").symlink_to(stories)
    (stories / "broken.txt").symlink_to(tmp_path / "nowhere.txt")
    (stories / ".hidden.txt").write_text("hidden")
    (tmp_path / "entrance").symlink_to(stories)
    assert len(documents.text(options("text", path=str(tmp_path / "entrance")), Path())) == 30


@pytest.mark.parametrize(("pattern", "found"), [
    ("**/*.txt", {"a.txt", "b/c.txt", "b/d/e.txt"}),
    ("*.txt", {"a.txt"}),
    ("b/**", {"b/c.txt", "b/d/e.txt", "b/f.md"}),
    ("b/?.*", {"b/c.txt", "b/f.md"}),
    ("**", {"a.txt", "b/c.txt", "b/d/e.txt", "b/f.md", "[1].csv"}),
    ("[1].csv", {"[1].csv"}),
])
def test_globs_mean_what_shells_mean(tmp_path: Path, pattern: str, found: set[str]) -> None:
    for name in ("a.txt", "b/c.txt", "b/d/e.txt", "b/f.md", "[1].csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    assert set(documents.text(options("text", path=str(tmp_path), glob=pattern), Path())) == found


def test_a_path_may_start_at_home_or_at_the_current_folder(stories: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(stories.parent))
    assert len(documents.text(options("text", path="~/stories"), Path())) == 30
    monkeypatch.chdir(stories.parent)
    assert len(documents.text(options("text", path="stories"), Path())) == 30


def test_json_lines_give_texts_and_messages_joined_by_newlines(tmp_path: Path) -> None:
    file = tmp_path / "chats.jsonl"
    rows = [
        {"text": "plain \u2028 text"},
        {"text": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "good day"}]},
        {"text": ["a", "b"]},
        {"text": "  "},
    ]
    file.write_text("\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    expected = ["plain \u2028 text", "hello\ngood day", "a\nb"]
    assert documents.jsonl(options("jsonl", path=str(file)), Path()) == expected


# --- the split ---


def test_the_split_is_a_shuffle_that_does_not_depend_on_the_order_of_documents() -> None:
    found = [f"document {i}" for i in range(100)]
    asked = recipe.Recipe.of(options("embedded"))
    train, val = recipe.split(found, asked)
    assert (len(train), len(val)) == (90, 10)
    assert sorted(train + val) == sorted(found)
    assert train != sorted(train)
    assert (train, val) == recipe.split(found[::-1], asked)
    assert val != recipe.split(found, recipe.Recipe.of(options("embedded", split_seed=1)))[1]


def test_a_limit_on_training_documents_leaves_validation_as_it_is() -> None:
    found = [f"document {i}" for i in range(100)]
    for order in ("shuffled", "kept"):
        train, val = recipe.split(found, recipe.Recipe.of(options("text", order=order, validation=20)))
        limited = recipe.Recipe.of(options("text", order=order, validation=20, max_documents=7))
        assert recipe.split(found, limited) == (train[:7], val)
    assert train == found[:80]
    assert val == found[80:]


def test_tokenizer_and_embeddings_see_no_validation_text(tmp_path: Path) -> None:
    def corpus(last: str) -> Corpus:
        file = tmp_path / "lines.txt"
        file.write_text("\n\n".join([*(f"the cat number {i} sat on the mat" for i in range(20)), last]))
        return load("text", tmp_path / "cache", path=str(file), order="kept", validation=1, **SMALL)

    one, other = corpus("the cat sat"), corpus("zebras, zebras, zebras, zebras, zebras")
    np.testing.assert_array_equal(one.train_tokens, other.train_tokens)
    np.testing.assert_array_equal(one.embeddings, other.embeddings)
    assert one.hash != other.hash


# --- tokens ---


@settings(max_examples=60, deadline=None)
@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_every_text_decodes_to_itself(text: str) -> None:
    assert BPE.decode(BPE.encode(text).ids) == text


BPE = tokens.train_bpe(["the cat sat on the mat", "the dog sat on the log", "a cat and a dog"] * 3, 270)


@settings(max_examples=40, deadline=None)
@given(texts=st.lists(st.text(alphabet="ab \n\té", min_size=1, max_size=12), min_size=1, max_size=8))
def test_the_first_documents_are_a_prefix_that_decodes_to_them_joined_by_newlines(texts: list[str]) -> None:
    stream, ends = tokens.encode(BPE, texts)
    for n in range(1, len(texts) + 1):
        assert BPE.decode(stream[: ends[n - 1]].tolist()) == "\n".join(texts[:n])
        np.testing.assert_array_equal(stream[: ends[n - 1]], tokens.encode(BPE, texts[:n])[0])


def test_samples_of_a_corpus_decode_to_its_documents(stories: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    corpus = load("text", cache, path=str(stories), **SMALL)
    chosen = options("text", path=str(stories), **SMALL)
    train, val = recipe.split(documents.text(chosen, cache), recipe.Recipe.of(chosen))
    tokenizer = tokenizer_of(cache)
    assert corpus.name == "text:stories"
    assert corpus.num_documents == 27
    for n in (1, 2, 27):
        assert tokenizer.decode(corpus.sample(n).tolist()) == "\n".join(train[:n])
    assert tokenizer.decode(corpus.val_tokens.tolist()) == "\n".join(val)


def test_more_documents_than_one_batch_are_encoded_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"the cat {i}" for i in range(10)]
    whole = tokens.encode(BPE, texts)
    monkeypatch.setattr(tokens, "BATCH", 3)
    for one, other in zip(whole, tokens.encode(BPE, texts), strict=True):
        np.testing.assert_array_equal(one, other)


# --- embeddings ---


def naive_ppmi(stream: list[int], vocab_size: int, window: int) -> np.ndarray:
    """The definition, read aloud: every ordered pair of positions at most `window` apart."""
    pairs = Counter(
        (a, b) for i, a in enumerate(stream) for j, b in enumerate(stream) if i != j and abs(i - j) <= window
    )
    total = sum(pairs.values())
    single = Counter[int]()
    for (a, _), count in pairs.items():
        single[a] += count
    table = np.zeros((vocab_size, vocab_size))
    for (a, b), count in pairs.items():
        pmi = math.log((count / total) / ((single[a] / total) * (single[b] / total)))
        table[a, b] = max(0.0, pmi)
    return table


@pytest.mark.parametrize("window", [1, 2, 3])
def test_ppmi_agrees_with_its_definition(window: int) -> None:
    stream = np.random.default_rng(1).zipf(1.6, size=300).clip(max=11).astype(np.int32)
    found = embeddings.positive_pmi(embeddings.co_occurrences(stream, 14, window)).toarray()
    np.testing.assert_allclose(found, naive_ppmi(stream.tolist(), 14, window), atol=1e-12)


def test_co_occurrences_counted_in_blocks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = np.random.default_rng(4).integers(0, 9, size=100).astype(np.int32)
    whole = embeddings.co_occurrences(stream, 9).toarray()
    monkeypatch.setattr(embeddings, "BLOCK", 7)
    np.testing.assert_array_equal(embeddings.co_occurrences(stream, 9).toarray(), whole)


@pytest.mark.parametrize("width", [20, 10], ids=["dense solver", "Lanczos"])
def test_embeddings_keep_the_angles_of_the_truncated_svd(width: int) -> None:
    stream = np.random.default_rng(2).integers(0, 59, size=1000).astype(np.int32)
    found = embeddings.ppmi_svd(stream, 60, width)
    u, s, _ = np.linalg.svd(naive_ppmi(stream.tolist(), 60, 2))
    rows = (u * s)[:-1, :width]  # the last token does not occur
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(found[:-1] @ found[:-1].T, rows @ rows.T, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(found, embeddings.ppmi_svd(stream, 60, width))


def test_words_used_alike_get_embeddings_alike() -> None:
    draw = np.random.default_rng(3)
    # sentences of subject (0-4), verb (5-9), object (10-14), stop (15)
    sentences = np.stack([draw.integers(5 * k, 5 * k + 5, size=2000) for k in range(3)], axis=1)
    stream = np.concatenate([sentences, np.full((2000, 1), 15)], axis=1).ravel().astype(np.int32)
    found = embeddings.ppmi_svd(stream, 16, 3)
    same, other = found[:5] @ found[:5].T, found[:5] @ found[5:10].T
    assert same.min() > 0.95
    assert other.max() < 0.5


def test_random_rows_are_normal_directions_of_unit_length() -> None:
    rows = embeddings.random_rows(3000, 64, seed=0)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    assert abs(float((rows[0] @ rows[1:].T).std()) - 1 / 8) < 0.01
    np.testing.assert_array_equal(rows, embeddings.random_rows(3000, 64, seed=0))
    assert not np.array_equal(rows, embeddings.random_rows(3000, 64, seed=-1))


# --- the cache ---


def test_a_cached_corpus_is_the_same_and_needs_no_tokenizer_and_no_svd(
    embedded: Corpus, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr("cvfp_corpora.build._make", refuse)
    assert_same(embedded, load("embedded", cache))


def test_a_cache_hit_imports_neither_tokenizers_nor_scipy(cache: Path, embedded: Corpus) -> None:
    script = (
        "import sys; from pathlib import Path; from cvfp_corpora import cvfp_corpora\n"
        "source = next(s for s in cvfp_corpora() if s.name == 'embedded')\n"
        "print(source.load({o.name: o.default for o in source.options}, Path(sys.argv[1])).hash)\n"
        "print(*({'tokenizers', 'scipy', 'torch', 'datasets', 'huggingface_hub'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", script, str(cache)], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == [embedded.hash, ""]


def test_the_hash_follows_content_and_not_the_place(stories: Path, tmp_path: Path) -> None:
    first = load("text", tmp_path / "cache", path=str(stories), **SMALL)
    moved = stories.rename(tmp_path / "stories2")
    cache = tmp_path / "other"
    assert load("text", cache, path=str(moved), **SMALL).hash == first.hash
    hashes = {first.hash}
    for changed in ({"vocab_size": 271}, {"embed_dim": 9}, {"embeddings": "random"}, {"split_seed": 1},
                    {"validation": 4}, {"max_documents": 20}):
        hashes.add(load("text", cache, path=str(moved), **(SMALL | changed)).hash)
    (moved / "00.txt").write_text("Another story altogether, of a fox and a dog.")
    hashes.add(load("text", cache, path=str(moved), **SMALL).hash)
    assert len(hashes) == 8


@pytest.mark.parametrize("damage", ["half", "empty", "one bit", "another file"])
def test_a_damaged_entry_is_made_anew(stories: Path, tmp_path: Path, damage: str) -> None:
    cache = tmp_path / "cache"
    first = load("text", cache, path=str(stories), **SMALL)
    (entry,) = cache.glob("*.safetensors")
    content = bytearray(entry.read_bytes())
    if damage == "one bit":
        content[-5] ^= 1
    damaged = {"half": content[: len(content) // 2], "empty": b"", "one bit": content, "another file": b"hello" * 100}
    entry.write_bytes(bytes(damaged[damage]))
    assert entries.read(entry) is None
    assert_same(first, load("text", cache, path=str(stories), **SMALL))
    assert entries.read(entry) is not None


def tiny_entry(folder: Path) -> tuple[Path, list[object]]:
    """The file of a small entry, and what is in it."""
    made = entries.Made(vocab_size=3, train_tokens=np.array([1, 2], np.int32), document_ends=np.array([2]),
                        val_tokens=np.array([0], np.int32), embeddings=np.ones((3, 2), np.float32),
                        tokenizer_json='{"a": 1}', val_repeated=0.25)
    entries._write(folder / "tiny.safetensors", made)
    return folder / "tiny.safetensors", facts_of(made)


def facts_of(made: entries.Made) -> list[object]:
    return [made.vocab_size, made.tokenizer_json, made.val_repeated, made.tokens_hash, made.embeddings.tobytes()]


def test_an_entry_with_any_byte_changed_is_the_same_or_none(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    entry, facts = tiny_entry(tmp_path)
    content = entry.read_bytes()
    record_property("tried", 2 * len(content))
    for at in range(len(content)):
        for change in (1, 0xff):
            entry.write_bytes(content[:at] + bytes([content[at] ^ change]) + content[at + 1:])
            made = entries.read(entry)
            assert made is None or facts_of(made) == facts, f"byte {at} of {content!r}"


def test_an_entry_of_an_earlier_version_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(entries._checksum, "__defaults__", ((),))
        entry, facts = tiny_entry(tmp_path)
    made = entries.read(entry)
    assert made is not None
    assert facts_of(made) == facts


def test_an_interrupted_write_leaves_no_entry(
    stories: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            load("text", cache, path=str(stories), **SMALL)
    assert not [*cache.glob("*.safetensors"), *cache.glob(".*.tmp")]
    (lock,) = cache.glob("*.lock")
    begun = hashlib.sha256(f"{lock.stem}.safetensors".encode()).hexdigest()[:12]
    torn = cache / f".{begun}.0123456789ab-1234.tmp"  # of a process that was killed
    torn.write_bytes(b"half")
    load("text", cache, path=str(stories), **SMALL)
    assert len(list(cache.glob("*.safetensors"))) == 1
    assert not torn.exists()


def test_two_that_want_one_entry_at_once_make_it_once(tmp_path: Path) -> None:
    made = entries.Made(
        vocab_size=3,
        train_tokens=np.arange(3, dtype=np.int32),
        document_ends=np.array([3], dtype=np.int64),
        val_tokens=np.arange(2, dtype=np.int32),
        val_repeated=0.25,
        embeddings=np.zeros((0, 0), dtype=np.float32),
        tokenizer_json="{}",
    )
    calls, found = [], []

    def make() -> entries.Made:
        calls.append(1)
        time.sleep(0.1)
        return made

    threads = [threading.Thread(target=lambda: found.append(entries.fetch(tmp_path, "x", make))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert {each.tokens_hash for each in found} == {made.tokens_hash}
    assert found[0].embeddings.shape == (0, 0)
