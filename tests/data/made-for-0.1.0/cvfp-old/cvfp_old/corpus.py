"""Sentences about numbers, letter by letter: the smallest corpus that is one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from cvfp_core.kinds import Corpus
from cvfp_core.settings import Scalar


def load(options: Mapping[str, Scalar | None], cache: Path) -> Corpus:
    """The corpus. What takes long to make would be kept in the folder `cache`."""
    del cache
    documents, embed_dim = int(options["documents"] or 0), int(options["embed_dim"] or 0)
    texts = [f"{i} times {i + 1} is {i * (i + 1)}\n" for i in range(documents)]
    letters = sorted({letter for text in texts for letter in text})
    held_out = documents // 10
    train, val = texts[:-held_out], texts[-held_out:]
    embeddings = np.random.default_rng(0).normal(size=(len(letters), embed_dim)).astype(np.float32)
    return Corpus(
        name="old",
        tokenizer="letters",
        vocab_size=len(letters),
        train_tokens=_tokens(train, letters),
        document_ends=np.cumsum([len(text) for text in train]),
        val_tokens=_tokens(val, letters),
        embeddings=embeddings,
        hash=hashlib.sha256("".join([*train, "|", *val]).encode() + embeddings.tobytes()).hexdigest(),
    )


def _tokens(texts: list[str], letters: list[str]) -> np.ndarray:
    """(tokens,) places of the letters in the vocabulary."""
    places = {letter: place for place, letter in enumerate(letters)}
    return np.array([places[letter] for letter in "".join(texts)], dtype=np.int32)
