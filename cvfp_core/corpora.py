"""A corpus choice -> the corpus, its options checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cvfp_core import options
from cvfp_core.cells import CorpusChoice
from cvfp_core.kinds import Corpus, CorpusSource
from cvfp_core.registry import Registry

REPEATED = 0.15
"""Share of validation text that stands in the training text, from which on a run warns. Of the embedded text it is 3 to
10 % by phrases alone, and 22 % if its repeats are kept."""


def load_corpus(registry: Registry, choice: CorpusChoice, cache: Path) -> Corpus:
    """The corpus, from the cache where its content is known. An unexpected error names the plugin it comes from."""
    source = registry.get(CorpusSource, choice.name)
    given = options.resolve("corpus", source.options, choice.options)
    with registry.blaming(CorpusSource, choice.name):
        return source.load(given, cache)


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


def leak(corpus: Corpus) -> str | None:
    """A warning if much of the validation text also stands in the training text; None if not, or if it is not known."""
    share = corpus.val_repeated
    if share is None or share <= REPEATED:
        return None
    return (f"warning: {share:.0%} of the validation text of corpus '{corpus.name}' also stands in its training text, "
            f"so perplexities will be lower than on new text; remove what is repeated, or split by source")
