"""A corpus choice -> the corpus, its options checked."""

from __future__ import annotations

from pathlib import Path

from cvfp_core import options
from cvfp_core.cells import CorpusChoice
from cvfp_core.kinds import Corpus, CorpusSource
from cvfp_core.registry import Registry


def load_corpus(registry: Registry, choice: CorpusChoice, cache: Path) -> Corpus:
    """The corpus, from the cache where its content is known. An unexpected error names the plugin it comes from."""
    source = registry.get(CorpusSource, choice.name)
    given = options.resolve("corpus", source.options, choice.options)
    with registry.blaming(CorpusSource, choice.name):
        return source.load(given, cache)
