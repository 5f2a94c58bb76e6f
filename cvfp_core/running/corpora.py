"""A corpus choice -> the corpus, its options checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cvfp_core.errors import PluginError, UsageError
from cvfp_core.registry import Registry
from cvfp_core.registry.kinds import Corpus, CorpusSource
from cvfp_core.schema import options
from cvfp_core.schema.cells import CorpusChoice

REPEATED = 0.15
"""Share of validation text that stands in the training text, from which on a run warns. Of the embedded text it is 3 to
10 % by phrases alone, and 22 % if its repeats are kept."""


def load_corpus(registry: Registry, choice: CorpusChoice, cache: Path) -> Corpus:
    """The corpus, from the cache where its content is known.

    An unexpected error names the plugin it comes from, and so does data that no model could be trained on.
    """
    source = registry.get(CorpusSource, choice.name)
    given = options.resolve("corpus", source.options, choice.options)
    with registry.blaming(CorpusSource, choice.name):
        loaded = source.load(given, cache)
        found = problem(loaded)
    if found is not None:
        raise PluginError(f"{registry.label(CorpusSource, choice.name)} returned bad data: {found}")
    return loaded


def refuse_options_of_another(registry: Registry, choice: CorpusChoice) -> None:
    """Raises UsageError for an option that the corpus has not and others have: one of them may have been meant."""
    known = {name: {option.name for option in source.options} for name, source in registry.items(CorpusSource).items()}
    for option in choice.options:
        others = [name for name, names in known.items() if option in names]
        if option not in known.get(choice.name, {option}) and others:
            raise UsageError(f"corpus '{choice.name}' has no option '{option}'; {', '.join(others)} "
                             f"{'have' if len(others) > 1 else 'has'} it: say --corpus {others[0]}")


def problem(corpus: object) -> str | None:
    """What is wrong with what a source returned, and how it should be; None: nothing. A few passes over the arrays."""
    import numpy as np

    if not isinstance(corpus, Corpus):
        return f"it must be a Corpus, not {type(corpus).__name__}"
    for name in ("name", "tokenizer", "hash"):
        if not isinstance(getattr(corpus, name), str) or not getattr(corpus, name):
            return f"{name} must be a text, not {getattr(corpus, name)!r:.60}"
    if not isinstance(corpus.vocab_size, int) or corpus.vocab_size < 1:
        return f"vocab_size must be a whole number above 0, not {corpus.vocab_size!r:.60}"
    for name, least in (("train_tokens", 1), ("val_tokens", 2), ("document_ends", 1)):
        values = getattr(corpus, name)
        if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in "iu":
            shape = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
            return f"{name} must be whole numbers in one dimension, not {shape}"
        if len(values) < least:
            return f"{name} must hold at least {least}, not {len(values)}"
        low, high = int(values.min()), int(values.max())
        if name != "document_ends" and not 0 <= low <= high < corpus.vocab_size:
            return f"{name} must be ids from 0 to {corpus.vocab_size - 1}, and go from {low} to {high}"
    ends = corpus.document_ends
    if ends[0] < 1 or (ends[1:] <= ends[:-1]).any() or ends[-1] > len(corpus.train_tokens):
        return f"document_ends must rise from above 0 to at most {len(corpus.train_tokens)}, the number of train_tokens"
    vectors = corpus.embeddings
    size = vectors.shape if isinstance(vectors, np.ndarray) and vectors.dtype.kind == "f" else ()
    if len(size) != 2 or size[0] != corpus.vocab_size or size[1] < 1:
        what = f"{vectors.dtype} {vectors.shape}" if isinstance(vectors, np.ndarray) else type(vectors).__name__
        return f"embeddings must be floats ({corpus.vocab_size}, embed_dim), not {what}"
    if not np.isfinite(vectors).all():
        return f"embeddings must be finite; {int((~np.isfinite(vectors)).sum())} numbers of them are not"
    return None


def leak(corpus: Corpus) -> str | None:
    """A warning if much of the validation text also stands in the training text; None if not, or if it is not known."""
    share = corpus.val_repeated
    if share is None or share <= REPEATED:
        return None
    return (f"warning: {share:.0%} of the validation text of corpus '{corpus.name}' also stands in its training text, "
            f"so perplexities will be lower than on new text; remove what is repeated, or split by source")


def without_defaults_of_another(
    corpus: Mapping[str, Any], default: Mapping[str, Any], assignments: Sequence[str], registry: Registry
) -> dict[str, Any]:
    """A run file's corpus section without what the default file says of its own corpus and the chosen one has not.

    default: the default run file's section. assignments: what the user set, `corpus.key=value`, which stays.
    """
    source = registry.items(CorpusSource).get(str(corpus.get("name")))
    if source is None or source.name == default.get("name"):
        return dict(corpus)
    asked = {assignment.partition("=")[0].strip() for assignment in assignments}
    known = {"name", *(option.name for option in source.options)}
    return {key: value for key, value in corpus.items()
            if key in known or key not in default or f"corpus.{key}" in asked}
