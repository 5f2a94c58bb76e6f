"""Tokens: a byte-level BPE trained here or a tokenizer read from a file; streams of documents joined by newlines."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from cvfp_core.errors import UsageError
from cvfp_core.registry import culprits

BATCH = 256
"""Documents encoded at once; bounds the memory of encodings, and keeps all cores busy."""
LARGEST = 10_000_000
"""Tokens of a vocabulary, at most; the largest published ones have a million."""


def train_bpe(documents: list[str], vocab_size: int) -> Tokenizer:
    """A byte-level BPE of exactly that many tokens; every text decodes to itself. Source: arXiv:1508.07909, GPT-2.

    Raises UsageError when the text has too few different words for so many merges.
    """
    characters = sum(map(len, documents))
    if vocab_size > (most := 256 + 4 * characters):  # a merge needs a byte; the trainer would allocate first
        raise _too_large(vocab_size, f"{characters} characters of training text", most)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(pieces(documents), trainer, length=len(documents))
    if (most := tokenizer.get_vocab_size()) < vocab_size:
        raise _too_large(vocab_size, f"the training text gives at most {most} tokens", most)
    return tokenizer


def _too_large(vocab_size: int, reason: str, most: int) -> UsageError:
    return UsageError(f"corpus option 'vocab_size' is {vocab_size}, but {reason}; make it smaller "
                      f"(--set corpus.vocab_size={min(most, 500)}), or give more text")


def parse_tokenizer(content: bytes, name: str) -> Tokenizer:
    """The tokenizer a tokenizer.json describes, without truncation and padding. Raises UsageError naming the file."""
    try:
        tokenizer = Tokenizer.from_str(content.decode())
    except culprits.PASSING:
        raise
    except BaseException as error:  # the Rust side raises bare Exception, and panics, which are none
        found = " ".join(str(error).split())
        raise UsageError(f"tokenizer {name}: expected a tokenizer.json, found: {found}") from error
    if vocabulary(tokenizer) > LARGEST:
        raise UsageError(f"tokenizer {name}: token ids up to {vocabulary(tokenizer) - 1:,}; expected less than "
                         f"{LARGEST:,}")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def vocabulary(tokenizer: Tokenizer) -> int:
    """One more than the largest token id."""
    return max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1


def pieces(documents: list[str]) -> Iterator[str]:
    """What is encoded one by one: the first document, then each other behind a newline; so prefixes stay prefixes."""
    return (document if i == 0 else "\n" + document for i, document in enumerate(documents))


def encode(tokenizer: Tokenizer, documents: list[str], name: str = "bpe") -> tuple[np.ndarray, np.ndarray]:
    """((tokens,) int32, (documents,) int64 cumulative counts) of the documents joined by newlines.

    Raises UsageError naming the tokenizer if it cannot encode them, such as for want of an unknown token.
    """
    source = pieces(documents)
    parts: list[np.ndarray] = []
    while batch := list(islice(source, BATCH)):
        try:
            encodings = tokenizer.encode_batch_fast(batch, add_special_tokens=False)
        except culprits.PASSING:
            raise
        except BaseException as error:
            raise UsageError(f"tokenizer {name}: cannot encode the text: {culprits.line(error)}") from error
        parts += [np.asarray(encoding.ids, dtype=np.int32) for encoding in encodings]
    return np.concatenate(parts), np.cumsum([len(part) for part in parts], dtype=np.int64)
