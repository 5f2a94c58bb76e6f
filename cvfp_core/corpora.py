"""A corpus choice -> the corpus, its options checked."""

from __future__ import annotations

from pathlib import Path

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


def leak(corpus: Corpus) -> str | None:
    """A warning if much of the validation text also stands in the training text; None if not, or if it is not known."""
    share = corpus.val_repeated
    if share is None or share <= REPEATED:
        return None
    return (f"warning: {share:.0%} of the validation text of corpus '{corpus.name}' also stands in its training text, "
            f"so perplexities will be lower than on new text; remove what is repeated, or split by source")
