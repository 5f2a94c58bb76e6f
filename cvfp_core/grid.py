"""RunConfig -> the cells of a grid, everything a user can get wrong checked before any training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cvfp_core import options
from cvfp_core.cells import Cell, Variant
from cvfp_core.config import RunConfig
from cvfp_core.errors import UsageError
from cvfp_core.kinds import Corpus, VariantFamily
from cvfp_core.registry import Registry
from cvfp_core.settings import Scalar


def cells(config: RunConfig, registry: Registry, corpus: Corpus, device: str, cache: Path) -> tuple[Cell, ...]:
    """Every (seed, variant, sample size), small sizes first, so that a table fills up early.

    Raises UsageError for an unknown variant, a model option its family does not have or that does not go
    with it, more samples than the corpus has.
    """
    largest = max(config.samples)
    if largest > corpus.num_documents:
        raise UsageError(
            f"{largest} samples asked for; corpus '{corpus.name}' has {corpus.num_documents} training documents, "
            "take fewer"
        )
    made = []
    variants = [registry.variant(name) for name in config.variants]
    models = {variant.name: _model_options(variant, config, registry) for variant in variants}
    for seed in config.seeds:
        for num_samples in config.samples:
            for variant in variants:
                made.append(Cell(
                    experiment=config.name,
                    variant=variant,
                    settings=replace(config.settings, model=models[variant.name]),
                    corpus=config.corpus,
                    corpus_hash=corpus.hash,
                    num_samples=num_samples,
                    train_tokens=int(corpus.document_ends[num_samples - 1]),
                    seed=seed,
                    device=device,
                    cache=cache,
                ))
    return tuple(made)


def _model_options(variant: Variant, config: RunConfig, registry: Registry) -> dict[str, Scalar | None]:
    """Every option of the variant's family, checked against the variant too."""
    family = registry.get(VariantFamily, variant.family)
    resolved = options.resolve("model", family.options, config.settings.model)
    if family.check is not None:
        family.check(variant, resolved)
    return resolved
