"""What a corpus is made by: its options, checked; the split of documents; the key that names the result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from cvfp_core.errors import UsageError
from cvfp_core.schema.settings import Scalar

RECIPE_VERSION = 1
"""Raised when the same texts and options would give other tokens or embeddings than before."""

VOCAB_SIZE = 2000
"""Default: 111,320 training tokens of the embedded text; at GPT-2's 50,257 most tokens would occur once or never."""

EMBED_DIM = 128

WIDEST = 16_384
"""The widest embedding made here; wider than that of any published model, narrow enough to fit in memory."""

Options = Mapping[str, Scalar | None]


def text_option(options: Options, name: str) -> str:
    """The option, a text that is not empty. Raises UsageError naming it if it is missing."""
    value = options.get(name)
    if value is None:
        raise UsageError(
            f"corpus option '{name}' is required: --set corpus.{name}=..., or in the run file under [corpus]"
        )
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise UsageError(f"corpus option '{name}' must be a text, not {value!r}")
    return value


def whole_option(options: Options, name: str, *, minimum: int) -> int:
    """The option, a whole number of at least `minimum`. Raises UsageError naming it otherwise."""
    value = options.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1 or value < minimum:
        raise UsageError(f"corpus option '{name}' must be a whole number of at least {minimum}, not {value!r}")
    return int(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The options every corpus takes."""

    validation: float
    order: str
    split_seed: int
    max_documents: int | None
    tokenizer: str
    vocab_size: int
    embeddings: str
    embed_dim: int

    @classmethod
    def of(cls, options: Options) -> Recipe:
        """The recipe the options ask for. Raises UsageError for a value no corpus can be made with."""
        held_out = options.get("validation")
        if (
            isinstance(held_out, bool) or not isinstance(held_out, int | float)
            or not 0 < held_out < 2**31 or (held_out >= 1 and held_out != int(held_out))
        ):
            raise UsageError(
                f"corpus option 'validation' must be a share between 0 and 1 or a count of documents, not {held_out!r}"
            )
        limit = options.get("max_documents")
        recipe = cls(
            validation=float(held_out),
            order=text_option(options, "order"),
            split_seed=whole_option(options, "split_seed", minimum=-(2**63)),
            max_documents=None if limit is None else whole_option(options, "max_documents", minimum=1),
            tokenizer=text_option(options, "tokenizer"),
            vocab_size=whole_option(options, "vocab_size", minimum=257),
            embeddings=text_option(options, "embeddings"),
            embed_dim=whole_option(options, "embed_dim", minimum=2),
        )
        if recipe.embed_dim > WIDEST:
            raise UsageError(f"corpus option 'embed_dim' is {recipe.embed_dim}; at most {WIDEST} is possible")
        if recipe.embeddings == "ppmi" and recipe.trains_bpe and recipe.embed_dim >= recipe.vocab_size:
            raise UsageError(
                f"corpus option 'embed_dim' is {recipe.embed_dim}: an SVD of {recipe.vocab_size} x {recipe.vocab_size} "
                "co-occurrences has fewer directions; make it smaller, or set embeddings = \"random\""
            )
        return recipe

    @property
    def trains_bpe(self) -> bool:
        return self.tokenizer == "bpe"

    @property
    def makes_embeddings(self) -> bool:
        return self.embeddings in ("ppmi", "random")

    def held_out(self, documents: int) -> int:
        """How many of that many documents are the validation."""
        return max(1, round(self.validation * documents)) if self.validation < 1 else int(self.validation)


def split(documents: list[str], recipe: Recipe, left_out: str = "") -> tuple[list[str], list[str]]:
    """(training documents, validation documents), both in the order they are used in.

    Shuffled is sorted by the hash of seed and text: the same on every machine and Python, whatever order files are
    found in. Raises UsageError when nothing is left to train on.
    """
    count = recipe.held_out(len(documents))
    if count >= len(documents):
        raise UsageError(
            f"too few documents to split: found {len(documents)}, of which validation would take {count}; "
            + (left_out or "give more text, cut it into smaller documents, or lower the corpus option 'validation'")
        )
    if recipe.order == "kept":
        train, val = documents[:-count], documents[-count:]
    else:
        salt = hashlib.sha256(str(recipe.split_seed).encode())

        def place(document: str) -> bytes:
            digest = salt.copy()
            digest.update(document.encode())
            return digest.digest()

        shuffled = sorted(documents, key=place)
        train, val = shuffled[count:], shuffled[:count]
    return train[: recipe.max_documents], val


def key(train: list[str], val: list[str], recipe: Recipe, *, tokenizer_hash: str, embeddings_hash: str) -> str:
    """The sha256 that names what these texts give, wherever they lie and however the split was asked for.

    The hashes are those of the files read, if any.
    """
    tokenizer = ["bpe", recipe.vocab_size] if recipe.trains_bpe else ["read", tokenizer_hash]
    match recipe.embeddings:
        case "ppmi":
            embeddings = ["ppmi", recipe.embed_dim]
        case "random":
            embeddings = ["random", recipe.embed_dim, recipe.split_seed]
        case _:
            embeddings = ["read", embeddings_hash]
    digest = hashlib.sha256(json.dumps([RECIPE_VERSION, tokenizer, embeddings]).encode())
    for part in (train, val):
        digest.update(len(part).to_bytes(8, "little"))
        for document in part:
            encoded = document.encode()
            digest.update(len(encoded).to_bytes(8, "little"))
            digest.update(encoded)
    return digest.hexdigest()
