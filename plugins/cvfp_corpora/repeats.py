"""How much of the validation text also stands in the training text: what a model may know by heart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

PASSAGE = 64
"""Characters in a row that count as repeated, a power of two: about 11 words or 13 tokens of GPT-2. Published checks
take 13 words (arXiv:2005.14165) or 50 characters (arXiv:2303.08774)."""
_BATCH = 1 << 18
"""Characters of training text hashed at once; bounds the memory."""
_BITS = 24
"""Of a hash that are looked up first, in a table of 16 MiB."""
_FACTOR = 0x9E3779B97F4A7C15
"""Odd, so that no information is lost in a product modulo 2^64 (Knuth, volume 3, section 6.4)."""


def repeated(train: Sequence[str], val: Sequence[str]) -> float:
    """The share of the validation text's characters that lie in a passage of the training text.

    A passage is 64 characters in a row within a document, or a whole document that is shorter. Runs of white space
    count as one blank. Passages are compared by hashes of 64 bits.
    """
    passages, ends = _passages(val)
    known = np.zeros(1 << _BITS, dtype=bool)
    known[passages >> np.uint64(64 - _BITS)] = True
    found = [np.zeros(0, dtype=np.uint64)]
    for batch in _batches(train):
        hashes, _ = _passages(batch)
        found.append(np.unique(hashes[known[hashes >> np.uint64(64 - _BITS)]]))
    hits = np.flatnonzero((passages != 0) & np.isin(passages, np.concatenate(found)))
    change = np.zeros(len(passages) + PASSAGE + 1, dtype=np.int64)
    np.add.at(change, hits, 1)
    np.add.at(change, np.minimum(hits + PASSAGE, ends[hits]), -1)
    total = sum(len(_plain(document)) for document in val)
    return int((np.cumsum(change) > 0).sum()) / total if total else 0.0


def _passages(documents: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """((characters,) uint64 hash of the passage that starts there, (characters,) where its document ends).

    Documents stand one after the other, each followed by 63 zeros; places where no passage starts have the hash 0.
    """
    plain = [_plain(document) for document in documents]
    gap = "\0" * (PASSAGE - 1)
    codes = np.frombuffer((gap.join(plain) + gap).encode("utf-32-le", "surrogatepass"), dtype="<u4")
    hashes = codes.astype(np.uint64)
    step = 1
    while step < PASSAGE:
        hashes = hashes[:-step] * np.uint64(pow(_FACTOR, step, 1 << 64)) + hashes[step:]
        step *= 2
    lengths = np.array([len(each) for each in plain], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths + len(gap))[:-1]])
    ends = np.repeat(starts + lengths, np.diff(starts, append=len(hashes)))
    places = np.arange(len(hashes))
    begins = places + PASSAGE <= ends
    begins[starts[lengths > 0]] = True
    return np.where(begins, hashes, np.uint64(0)), ends


def _plain(document: str) -> str:
    return " ".join(document.split())


def _batches(documents: Sequence[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document)
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
