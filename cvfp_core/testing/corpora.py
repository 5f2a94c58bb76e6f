"""The check of a corpus: its arrays, its hash, and that it is the same each time it is loaded."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cvfp_core.registry import options as given_options
from cvfp_core.registry.kinds import Corpus, CorpusSource
from cvfp_core.running.corpora import load_corpus
from cvfp_core.schema.cells import CorpusChoice
from cvfp_core.schema.settings import Scalar
from cvfp_core.testing.expecting import expect, raised
from cvfp_core.testing.loading import holding

Options = Mapping[str, Scalar | None]
SHAPES: Mapping[str, tuple[int, type[np.generic]]] = {
    "train_tokens": (1, np.int32), "document_ends": (1, np.int64), "val_tokens": (1, np.int32),
    "embeddings": (2, np.float32),
}
"""Dimensions and type of each array."""


def check(source: CorpusSource, options: Options, others: Sequence[Options]) -> None:
    """See `check_corpus`."""
    name = f"corpus '{source.name}'"
    with tempfile.TemporaryDirectory() as folder:
        cache, empty = Path(folder) / "cache", Path(folder) / "empty"
        corpus = _load(name, source, options, cache)
        _arrays(name, corpus)
        _documents(name, corpus)
        _facts(name, corpus)
        for what, place in (("with the same cache", cache), ("with an empty cache", empty)):
            _same(f"{name}, loaded again {what}", corpus, _load(name, source, options, place))
        chosen = CorpusChoice(name=source.name, options={key: value for key, value in options.items()
                                                         if value is not None})
        try:
            load_corpus(holding(source), chosen, cache)
        except Exception as error:
            raise raised(f"{name}, loaded as a run does", error) from error
        hashes = {str(dict(each)): _load(name, source, each, cache).hash for each in others}
        _hashes_differ(name, {str(dict(options)): corpus.hash, **hashes})


def _load(name: str, source: CorpusSource, options: Options, cache: Path) -> Corpus:
    """The corpus, as the core asks for it; options the source does not have are a UsageError."""
    given = given_options.resolve("corpus", source.options, options)
    try:
        corpus: object = source.load(given, cache)
    except Exception as error:
        raise raised(f"{name}, loaded with {dict(options)}", error) from error
    expect(isinstance(corpus, Corpus), f"{name}, loaded", "a Corpus", type(corpus).__name__)
    assert isinstance(corpus, Corpus)
    return corpus


def _arrays(name: str, corpus: Corpus) -> None:
    for field, (dimensions, dtype) in SHAPES.items():
        array: object = getattr(corpus, field)
        what = f"an array of {dimensions} dimension{'s' if dimensions > 1 else ''} and type {np.dtype(dtype)}"
        expect(isinstance(array, np.ndarray), f"{name}: {field}", what, type(array).__name__)
        assert isinstance(array, np.ndarray)
        expect(array.ndim == dimensions and array.dtype == dtype, f"{name}: {field}", what,
               f"{array.ndim} and {array.dtype}")
    expect(corpus.embeddings.shape[0] == corpus.vocab_size and corpus.embed_dim > 0, f"{name}: rows of embeddings",
           f"vocab_size, {corpus.vocab_size}, each of some width", corpus.embeddings.shape)
    expect(bool(np.isfinite(corpus.embeddings).all()), f"{name}: embeddings", "finite numbers", "others")
    for field in ("train_tokens", "val_tokens"):
        tokens = getattr(corpus, field)
        expect(len(tokens) > 1, f"{name}: {field}", "2 tokens or more, as the first is not predicted", len(tokens))
        expect(tokens.min() >= 0 and tokens.max() < corpus.vocab_size, f"{name}: {field}",
               f"ids from 0 to {corpus.vocab_size - 1}", f"{tokens.min()} to {tokens.max()}")


def _documents(name: str, corpus: Corpus) -> None:
    ends = corpus.document_ends
    expect(len(ends) > 0, f"{name}: documents", "1 or more", "none")
    rises = np.diff(ends, prepend=0) > 0
    where = int(np.argmin(rises))
    expect(bool(rises.all()), f"{name}: document_ends", "each above the one before, the first above 0",
           f"{ends[where]} of document {where + 1}")
    expect(int(ends[-1]) == len(corpus.train_tokens), f"{name}: the last of document_ends",
           f"the number of train_tokens, {len(corpus.train_tokens)}", int(ends[-1]))
    for count in sorted({1, (len(ends) + 1) // 2, len(ends)}):
        sample = corpus.sample(count)
        expect(np.array_equal(sample, corpus.train_tokens[: ends[count - 1]]), f"{name}: sample({count})",
               f"the first {ends[count - 1]} training tokens", f"{len(sample)}, or others")


def _facts(name: str, corpus: Corpus) -> None:
    for field in ("name", "tokenizer", "hash"):
        value: object = getattr(corpus, field)
        expect(isinstance(value, str) and bool(value), f"{name}: {field}", "a text that is not empty", repr(value))
    share = corpus.val_repeated
    expect(share is None or 0 <= share <= 1, f"{name}: val_repeated", "a fraction from 0 to 1, or None", share)


def _same(what: str, one: Corpus, two: Corpus) -> None:
    off = [field for field in ("name", "tokenizer", "vocab_size", "hash", "val_repeated")
           if getattr(one, field) != getattr(two, field)]
    off += [field for field in SHAPES if not np.array_equal(getattr(one, field), getattr(two, field))]
    expect(not off, what, "the same corpus", f"other {', '.join(off)}")


def _hashes_differ(name: str, hashes: Mapping[str, str]) -> None:
    seen: dict[str, str] = {}
    for options, text in hashes.items():
        expect(text not in seen, f"{name}: hash with {options}", f"another than with {seen.get(text)}", "the same")
        seen[text] = options
