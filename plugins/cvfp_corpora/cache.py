"""Tokens, tokenizer and embeddings of a corpus in one file, named by the hash of what they are made from.

A reader sees a whole entry or none: it is written beside its place and moved there, and carries a checksum. An entry
that is torn, or of another format, is made anew. Two processes that want the same entry at once make it once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from safetensors import safe_open
from safetensors.numpy import save

from cvfp_core.errors import UsageError
from cvfp_core.schema import atomic

FORMAT = "cvfp-corpus-1"
_ARRAYS = ("train_tokens", "document_ends", "val_tokens", "embeddings")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Made:
    """What is worth keeping: everything that takes time to make."""

    vocab_size: int
    train_tokens: np.ndarray
    document_ends: np.ndarray
    val_tokens: np.ndarray
    embeddings: np.ndarray
    """(V, embed_dim) float32; (0, 0) where they are read from a model's file anyway."""
    tokenizer_json: str
    """The tokenizer, to read tokens as text again."""
    val_repeated: float
    """Share of the validation text that also stands in the training text."""

    @property
    def tokens_hash(self) -> str:
        """Of the integers alone: floats may differ in their last bits from machine to machine."""
        digest = hashlib.sha256()
        for array in (self.train_tokens, self.document_ends, self.val_tokens):
            digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()


def fetch(folder: Path, name: str, make: Callable[[], Made]) -> Made:
    """The entry of that name; made and kept if there is none that is whole.

    Raises UsageError when the folder cannot be written.
    """
    entry = folder / f"{name}.safetensors"
    found = read(entry)
    if found is not None:
        return found
    try:
        atomic.folder(folder)
        with FileLock(folder / f"{name}.lock"):
            found = read(entry)  # another process may have made it meanwhile
            if found is None:
                found = make()
                _write(entry, found)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"{folder}: the cache of corpora cannot be written ({reason}); make room "
                         "there, or choose another: CVFP_CACHE=FOLDER"
                         ) from error
    return found


def read(entry: Path) -> Made | None:
    """The entry, or None if it is missing, torn, or not what it says it is."""
    try:
        with safe_open(entry, framework="np") as tensors:
            facts = tensors.metadata() or {}
            arrays = {name: tensors.get_tensor(name) for name in _ARRAYS}
        if facts["checksum"] not in (_checksum(facts, arrays), _checksum(facts, arrays, ())):
            return None
        return Made(vocab_size=int(facts["vocab_size"]), tokenizer_json=facts["tokenizer_json"],
                    val_repeated=float(facts["val_repeated"]), **arrays)
    except Exception:  # whatever is wrong with it, the remedy is the same
        return None


def _write(entry: Path, made: Made) -> None:
    atomic.clear(entry)  # what a process left that was killed; we hold the lock
    arrays = {name: np.ascontiguousarray(getattr(made, name)) for name in _ARRAYS}
    facts = {"format": FORMAT, "vocab_size": str(made.vocab_size), "tokenizer_json": made.tokenizer_json,
             "val_repeated": repr(float(made.val_repeated))}
    atomic.write(entry, save(arrays, metadata=facts | {"checksum": _checksum(facts, arrays)}))


def _checksum(facts: dict[str, str], arrays: dict[str, np.ndarray], more: tuple[str, ...] = ("val_repeated",)) -> str:
    """Of all that an entry says; of one that 0.1.0 made, without `more`."""
    named = [facts[name] for name in ("vocab_size", "tokenizer_json", *more)]
    digest = hashlib.sha256(json.dumps([FORMAT, *named]).encode())
    for name in _ARRAYS:
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(arrays[name].data.cast("B") if arrays[name].size else b"")
    return digest.hexdigest()
