"""RunConfig -> the cells of a grid, everything a user can get wrong checked before any training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cvfp_core import options
from cvfp_core.cells import Cell
from cvfp_core.config import RunConfig
from cvfp_core.errors import UsageError
from cvfp_core.kinds import Corpus, VariantFamily
from cvfp_core.registry import Registry


def cells(config: RunConfig, registry: Registry, corpus: Corpus, device: str, cache: Path) -> tuple[Cell, ...]:
    """Every (seed, variant, sample size), small sizes first, so that a table fills up early.

    Raises UsageError for an unknown variant, a model option its family does not have, more samples than the corpus has.
    """
    largest = max(config.samples)
    if largest > corpus.num_documents:
        raise UsageError(
            f"{largest} samples asked for; corpus '{corpus.name}' has {corpus.num_documents} training documents"
        )
    made = []
    variants = [registry.variant(name) for name in config.variants]
    for seed in config.seeds:
        for num_samples in config.samples:
            for variant in variants:
                family = registry.get(VariantFamily, variant.family)
                model = options.resolve("model", family.options, config.settings.model)
                made.append(Cell(
                    experiment=config.name,
                    variant=variant,
                    settings=replace(config.settings, model=model),
                    corpus=config.corpus,
                    corpus_hash=corpus.hash,
                    num_samples=num_samples,
                    train_tokens=int(corpus.document_ends[num_samples - 1]),
                    seed=seed,
                    device=device,
                    cache=cache,
                ))
    return tuple(made)
