"""A corpus, in one straight line: documents -> split -> tokenizer -> tokens -> embeddings."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from cvfp_core.errors import UsageError
from cvfp_core.registry.kinds import Corpus
from cvfp_corpora import cache as entries
from cvfp_corpora import documents, embeddings, hub, recipe
from cvfp_corpora.documents import local_path
from cvfp_corpora.recipe import EMBED_DIM, VOCAB_SIZE, Options, Recipe


def load(source: str, read: Callable[[Options, Path], list[str]], options: Options, cache: Path) -> Corpus:
    """The corpus of the documents that `read(options, cache)` finds; from the cache if it was made before.

    Raises UsageError for anything wrong with the options or with what they name.
    """
    asked = Recipe.of(options)
    left_out = documents.left_out(options)
    train, val = recipe.split(read(options, cache), asked, left_out)
    tokenizer = None if asked.trains_bpe else hub.tokenizer_json(asked.tokenizer)
    table = None
    if not asked.makes_embeddings:
        table = embeddings.read_table(hub.model_files(asked.embeddings), asked.embeddings)

    key = recipe.key(
        train, val, asked,
        tokenizer_hash=hashlib.sha256(tokenizer or b"").hexdigest(),
        embeddings_hash=hashlib.sha256(b"" if table is None else table.data.cast("B")).hexdigest(),
    )
    made = entries.fetch(cache, f"{source}-{key[:24]}", lambda: _make(train, val, asked, tokenizer))
    table = made.embeddings if table is None else table

    _refuse_mismatch(asked, made.vocab_size, table)
    return Corpus(
        name=_name(source, options),
        tokenizer=f"bpe-{made.vocab_size}" if asked.trains_bpe else hub.title(asked.tokenizer),
        vocab_size=made.vocab_size,
        train_tokens=made.train_tokens,
        document_ends=made.document_ends,
        val_tokens=made.val_tokens,
        embeddings=table[: made.vocab_size],  # models pad their tables to round sizes
        val_repeated=made.val_repeated,
        left_out=left_out,
        hash=hashlib.sha256(f"{key} {made.tokens_hash}".encode()).hexdigest(),
    )


load_embedded = partial(load, "embedded", documents.embedded)
load_text = partial(load, "text", documents.text)
load_jsonl = partial(load, "jsonl", documents.jsonl)
load_hf = partial(load, "hf", hub.dataset)
load_ultrachat = partial(load, "ultrachat", hub.dataset)


def _make(train: list[str], val: list[str], asked: Recipe, tokenizer_json: bytes | None) -> entries.Made:
    from cvfp_corpora import repeats, tokens

    if tokenizer_json is None:
        tokenizer = tokens.train_bpe(train, asked.vocab_size)
    else:
        tokenizer = tokens.parse_tokenizer(tokenizer_json, asked.tokenizer)
    vocab_size = tokens.vocabulary(tokenizer)
    train_tokens, document_ends = tokens.encode(tokenizer, train, asked.tokenizer)
    val_tokens, _ = tokens.encode(tokenizer, val, asked.tokenizer)
    for part, stream in (("training", train_tokens), ("validation", val_tokens)):
        if len(stream) < 2:
            raise UsageError(
                f"the {part} documents give {len(stream)} tokens: there is nothing to predict; give more text"
            )
    match asked.embeddings:
        case "ppmi":
            table = embeddings.ppmi_svd(train_tokens, vocab_size, asked.embed_dim)
        case "random":
            table = embeddings.random_rows(vocab_size, asked.embed_dim, seed=asked.split_seed)
        case _:
            table = np.zeros((0, 0), dtype=np.float32)
    return entries.Made(
        vocab_size=vocab_size,
        train_tokens=train_tokens,
        document_ends=document_ends,
        val_tokens=val_tokens,
        embeddings=table,
        tokenizer_json=tokenizer.to_str(),
        val_repeated=repeats.repeated(train, val),
    )


def _refuse_mismatch(asked: Recipe, vocab_size: int, table: np.ndarray) -> None:
    """Raises UsageError when tokenizer and embeddings do not fit, or an option contradicts what was read."""
    if len(table) < vocab_size:
        raise UsageError(
            f"embeddings {asked.embeddings} have {len(table)} rows, but tokenizer {asked.tokenizer} has "
            f"{vocab_size} tokens; take both from the same model"
        )
    if not asked.trains_bpe and asked.vocab_size not in (VOCAB_SIZE, vocab_size):
        raise UsageError(
            f"corpus option 'vocab_size' is {asked.vocab_size}, but tokenizer {asked.tokenizer} has {vocab_size} "
            "tokens; leave the option out"
        )
    if not asked.makes_embeddings and asked.embed_dim not in (EMBED_DIM, table.shape[1]):
        raise UsageError(
            f"corpus option 'embed_dim' is {asked.embed_dim}, but embeddings {asked.embeddings} are {table.shape[1]} "
            "wide; leave the option out"
        )


def _name(source: str, options: Options) -> str:
    """What records call the corpus: its source, and the last part of what it was read from."""
    place = options.get("path") or options.get("dataset")
    return f"{source}:{os.path.basename(os.path.abspath(local_path(str(place))))}" if place else source
