"""The check of a corpus: its arrays, its hash, and that it is the same each time it is loaded."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cvfp_core.registry.kinds import Corpus, CorpusSource
from cvfp_core.running.corpora import load_corpus
from cvfp_core.schema import options as given_options
from cvfp_core.schema.cells import CorpusChoice
from cvfp_core.schema.settings import Scalar
from cvfp_core.testing.expecting import expect, raised
from cvfp_core.testing.loading import holding

Options = Mapping[str, Scalar | None]
TYPES = {"train_tokens": np.int32, "document_ends": np.int64, "val_tokens": np.int32, "embeddings": np.float32}


def check(source: CorpusSource, options: Options, others: Sequence[Options]) -> None:
    """See `check_corpus`."""
    name = f"corpus '{source.name}'"
    with tempfile.TemporaryDirectory() as folder:
        cache, empty = Path(folder) / "cache", Path(folder) / "empty"
        corpus = _load(name, source, options, cache)
        _strict(name, corpus)
        for what, place in (("with the same cache", cache), ("with an empty cache", empty)):
            _same(f"{name}, loaded again {what}", corpus, _load(name, source, options, place))
        hashes = {str(dict(each)): _load(name, source, each, cache).hash for each in others}
        _hashes_differ(name, {str(dict(options)): corpus.hash, **hashes})


def _load(name: str, source: CorpusSource, options: Options, cache: Path) -> Corpus:
    """The corpus, loaded as a run does; options the source does not have are a UsageError."""
    given_options.resolve("corpus", source.options, options)
    given = {key: value for key, value in options.items() if value is not None}
    try:
        return load_corpus(holding(source), CorpusChoice(name=source.name, options=given), cache)
    except Exception as error:
        raise raised(f"{name}, loaded with {dict(options)}", error) from error


def _strict(name: str, corpus: Corpus) -> None:
    """What a run lets pass: other types of numbers, and tokens after the last document."""
    for field, dtype in TYPES.items():
        found = getattr(corpus, field).dtype
        expect(found == dtype, f"{name}: {field}", f"numbers of type {np.dtype(dtype)}", found)
    expect(len(corpus.train_tokens) > 1, f"{name}: train_tokens", "2 tokens or more", len(corpus.train_tokens))
    expect(int(corpus.document_ends[-1]) == len(corpus.train_tokens), f"{name}: the last of document_ends",
           f"the number of train_tokens, {len(corpus.train_tokens)}", int(corpus.document_ends[-1]))
    share = corpus.val_repeated
    expect(share is None or 0 <= share <= 1, f"{name}: val_repeated", "a fraction from 0 to 1, or None", share)


def _same(what: str, one: Corpus, two: Corpus) -> None:
    off = [field for field in ("name", "tokenizer", "vocab_size", "hash", "val_repeated")
           if getattr(one, field) != getattr(two, field)]
    off += [field for field in TYPES if not np.array_equal(getattr(one, field), getattr(two, field))]
    expect(not off, what, "the same corpus", f"other {', '.join(off)}")


def _hashes_differ(name: str, hashes: Mapping[str, str]) -> None:
    seen: dict[str, str] = {}
    for options, text in hashes.items():
        expect(text not in seen, f"{name}: hash with {options}", f"another than with {seen.get(text)}", "the same")
        seen[text] = options
