"""What can be wrong with a corpus: each is one line, before anything is trained."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import hostile
from cvfp_core.errors import UsageError
from cvfp_core.registry.kinds import CorpusSource
from cvfp_core.schema.settings import Scalar
from cvfp_corpora import cvfp_corpora, embeddings, tokens
from cvfp_trainers import weights

SOURCES = {source.name: source for source in cvfp_corpora()}


def refusal(source: CorpusSource | str, cache: Path, **changed: Scalar | None) -> str:
    """The one line that refuses to load the corpus."""
    chosen = SOURCES[source] if isinstance(source, str) else source
    options: dict[str, Scalar | None] = {option.name: option.default for option in chosen.options}
    with pytest.raises(UsageError) as caught:
        chosen.load(options | changed, cache)
    assert caught.value.exit_code == 2
    line = str(caught.value)
    assert "\n" not in line
    assert "corpora_cache" not in os.listdir(cache.parent)
    return line


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "corpora_cache"


def write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


@pytest.mark.parametrize(("content", "expected"), [
    (b"", "the file is empty; expected text"),
    (b" \n\n", "the file is empty; expected text"),
    (b"abc\0def", "expected UTF-8 text, found a binary file (a zero byte at offset 3)"),
    (b"caf\xe9 au lait", "expected UTF-8 text, found byte 0xe9 at offset 3; convert the file to UTF-8"),
    ("hi".encode("utf-16"), "expected UTF-8 text, found a binary file (a zero byte at offset 3)"),
])
def test_a_file_that_is_no_text_is_named(tmp_path: Path, cache: Path, content: bytes, expected: str) -> None:
    write(tmp_path / "good.txt", b"one\n\ntwo")
    write(tmp_path / "bad.txt", content)
    assert refusal("text", cache, path=str(tmp_path)) == f"{tmp_path / 'bad.txt'}: {expected}"


def test_a_path_that_is_missing_or_neither_file_nor_folder_is_named(cache: Path) -> None:
    assert "corpus option 'path' is required" in refusal("text", cache)
    assert "corpus option 'path' is required" in refusal("jsonl", cache)
    assert "corpus option 'path' must be a text, not 7" in refusal("text", cache, path=7)
    missing = refusal("text", cache, path="no/such/place")
    assert missing.startswith("no/such/place: no such file or folder")
    assert "found something else" in refusal("text", cache, path=os.devnull)
    assert "no such file or folder" in refusal("text", cache, path="~nobody-of-that-name/x")
    assert "no such file or folder" in refusal("text", cache, path="x" * 5000)


def test_a_folder_without_matching_files_is_named(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    assert "has no files that match '**/*.txt'" in refusal("text", cache, path=str(folder))
    write(folder / "a.md", b"text")
    assert "has no files that match '**/*.txt'" in refusal("text", cache, path=str(folder))
    assert "has no files that match '**/*.jsonl'" in refusal("jsonl", cache, path=str(folder))


def test_too_few_documents_to_split_are_counted(tmp_path: Path, cache: Path) -> None:
    write(tmp_path / "a.txt", b"only one document")
    assert "found 1, of which validation would take 1" in refusal("text", cache, path=str(tmp_path))
    write(tmp_path / "b.txt", b"and another")
    assert "found 2, of which validation would take 2" in refusal("text", cache, path=str(tmp_path), validation=2)
    write(tmp_path / "rows.jsonl", b'{"text": ""}\n')
    assert "found 0" in refusal("jsonl", cache, path=str(tmp_path))


@pytest.mark.parametrize(("line", "expected"), [
    (b'{"text": "torn', "expected a JSON object, found {\"text\": \"torn (Unterminated string"),
    (b"[1, 2]", "expected a JSON object with the field 'text', found [1, 2]"),
    (b'{"body": "x", "id": 1}', "expected the field 'text', found body, id; name another"),
    (b"{}", "expected the field 'text', found no fields"),
    (b'{"text": 3}', "field 'text': expected a text or a list of messages, found 3"),
    (b'{"text": null}', "field 'text': expected a text or a list of messages, found None"),
    (b'{"text": [{"role": "user"}]}', "message 1: expected a text or an object with a text 'content', found {'role'"),
    (b'{"text": "\\ud800"}', "expected Unicode text, found half a surrogate pair"),
    (b"[" * 100_000, "expected a JSON object, found [[["),
    (b'{"text": ' + b"9" * 5000 + b"}", "expected a JSON object, found {\"text\": 999"),
])
def test_a_json_line_that_is_wrong_is_named_with_its_number(
    tmp_path: Path, cache: Path, line: bytes, expected: str
) -> None:
    write(tmp_path / "rows.jsonl", b'{"text": "fine"}\n\n' + line + b"\n")
    said = refusal("jsonl", cache, path=str(tmp_path / "rows.jsonl"))
    assert said.startswith(f"{tmp_path / 'rows.jsonl'}:3: ")
    assert expected in said
    assert len(said) < 500


@pytest.mark.parametrize(("changed", "expected"), [
    ({"vocab_size": 10**14}, "'vocab_size' is 100000000000000, but "),
    ({"vocab_size": 400_000}, "the training text gives at most "),
    ({"vocab_size": 256}, "'vocab_size' must be a whole number of at least 257, not 256"),
    ({"vocab_size": 2000.5}, "'vocab_size' must be a whole number"),
    ({"embed_dim": 2000}, "an SVD of 2000 x 2000 co-occurrences has fewer directions"),
    ({"embed_dim": 10**9, "embeddings": "random"}, "'embed_dim' is 1000000000; at most 16384 is possible"),
    ({"embed_dim": 1}, "'embed_dim' must be a whole number of at least 2"),
    ({"validation": 0}, "'validation' must be a share between 0 and 1 or a count"),
    ({"validation": 1.5}, "'validation' must be a share between 0 and 1 or a count"),
    ({"validation": float("nan")}, "'validation' must be a share between 0 and 1 or a count"),
    ({"validation": True}, "'validation' must be a share between 0 and 1 or a count"),
    ({"validation": 100_000}, "validation would take 100000"),
    ({"document_characters": 10**9}, "too few documents to split: found 1"),
    ({"max_documents": 0}, "'max_documents' must be a whole number of at least 1"),
    ({"tokenizer": "no/such/tokenizer.json"}, "no such file or folder; expected bpe, a file, a folder, or an id"),
    ({"embeddings": "no/such/model.safetensors"}, "no such file or folder; expected ppmi, random, a file, a folder"),
])
def test_an_impossible_value_names_its_option(
    tmp_path: Path, changed: dict[str, Scalar], expected: str
) -> None:
    chosen = SOURCES["embedded"]
    options: dict[str, Scalar | None] = {option.name: option.default for option in chosen.options}
    with pytest.raises(UsageError) as caught:
        chosen.load(options | changed, tmp_path)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.parametrize("embed_dim", [100, 40], ids=["dense solver", "Lanczos"])
@pytest.mark.parametrize("text", ["ab" * 6, "a" * 9])
def test_a_text_with_fewer_directions_than_dimensions_is_refused(tmp_path: Path, text: str, embed_dim: int) -> None:
    file = tmp_path / "few.txt"
    file.write_text("\n\n".join([text, text[1:], text[2:]] * 4))
    chosen = SOURCES["text"]
    options: dict[str, Scalar | None] = {option.name: option.default for option in chosen.options}
    options |= {"path": str(file), "vocab_size": 257, "embed_dim": embed_dim}
    with pytest.raises(UsageError, match=r"'embed_dim' is \d+, but .* have only \d directions"):
        chosen.load(options, tmp_path)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    chosen: CorpusSource = SOURCES["embedded"]
    load: Callable[..., object] = chosen.load
    with pytest.raises(UsageError, match="the cache of corpora cannot be written"):
        load({option.name: option.default for option in chosen.options}, blocked)


def test_a_python_without_the_language_reference_says_so(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pydoc_data.topics", None)
    assert "needs the module pydoc_data" in refusal("embedded", cache)


# tokenizers and weights of others


@pytest.mark.parametrize(("content", "expected"), hostile.TOKENIZERS)
def test_a_hostile_tokenizer_is_named(content: bytes, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        tokens.encode(tokens.parse_tokenizer(content, "t.json"), ["zz"], "t.json")
    assert str(caught.value).startswith("tokenizer t.json: ")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_panic_of_a_tokenizer_is_named() -> None:
    class Panic(BaseException):
        """As Rust extensions raise: no Exception."""

    class Broken:
        def encode_batch_fast(self, *_: object, **__: object) -> None:
            raise Panic("index out of bounds")

    with pytest.raises(UsageError, match=r"tokenizer t: cannot encode the text: Panic: index out of bounds"):
        tokens.encode(Broken(), ["a"], "t")  # type: ignore[arg-type]


@pytest.mark.parametrize(("content", "expected"), hostile.WEIGHTS)
def test_hostile_weights_are_named(content: bytes, expected: str, tmp_path: Path) -> None:
    write(tmp_path / "model.safetensors", content)
    with pytest.raises(UsageError) as caught:
        embeddings.read_table([tmp_path / "model.safetensors"], "m")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_header_whose_shapes_would_take_years_to_multiply_is_damaged(tmp_path: Path) -> None:
    write(tmp_path / "model.safetensors", hostile.weights_of(hostile.tensor("F32", *[2**40] * 100_000)))
    assert weights.params(tmp_path) == "model.safetensors"


def test_the_vocabulary_that_is_offered_for_one_too_large_is_taken() -> None:
    documents = ["the the the the"] * 300
    with pytest.raises(UsageError, match=r"at most 259 tokens; make it smaller .*vocab_size=259"):
        tokens.train_bpe(documents, 300)
    assert tokens.train_bpe(documents, 259).get_vocab_size() == 259
