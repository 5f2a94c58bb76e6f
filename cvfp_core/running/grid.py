"""RunConfig -> the cells of a grid, everything a user can get wrong checked before any training."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import polars as pl

from cvfp_core.errors import UsageError
from cvfp_core.registry import Registry
from cvfp_core.registry.entry_points import OURS
from cvfp_core.registry.guard import returned
from cvfp_core.registry.kinds import Corpus, Preset, StopRule, VariantFamily
from cvfp_core.running import phase1
from cvfp_core.running.config import RunConfig
from cvfp_core.running.sizes import model_size
from cvfp_core.schema import options
from cvfp_core.schema.cells import Cell, Variant
from cvfp_core.schema.settings import Phase1Mode, Scalar, Settings, by_name


def cells(
    config: RunConfig, registry: Registry, corpus: Corpus, device: str, cache: Path, stop_rules: Sequence[str] = ()
) -> tuple[Cell, ...]:
    """Every (seed, variant, sample size), small sizes first, so that a table fills up early; with controls if asked.

    Several objectives are an experiment each, NAME-OBJECTIVE; controls are run under the first alone. A variant of one
    phase has neither: Phase 1 is empty, so its mode is always `trained`. No stop rule ends a control. Cells that are
    listed stand in the same order; one that the product has too is one cell.

    Raises UsageError for an unknown variant or stop rule, a model option that no family has or that does not go with a
    variant, more samples than the corpus has.
    """
    listed = [(seed, each.samples, each.variant) for each in config.listed
              for seed in (config.seeds if each.seed is None else [each.seed])]
    seeds = list(dict.fromkeys([*config.seeds, *(seed for seed, _, _ in listed)]))
    names = list(dict.fromkeys([*config.variants, *(name for _, _, name in listed)]))
    wanted = dict.fromkeys([*product(config.seeds, config.samples, config.variants), *listed])
    largest = max(num_samples for _, num_samples, _ in wanted)
    if largest > corpus.num_documents:
        raise UsageError(
            f"{largest} samples asked for; corpus '{corpus.name}' has {corpus.num_documents} training documents, "
            "take fewer"
        )
    rules = tuple(registry.get(StopRule, name).name for name in dict.fromkeys(stop_rules))
    variants = {name: registry.variant(name) for name in names}
    models = _model_options(list(variants.values()), config, registry, corpus)
    phases = {name: registry.get(VariantFamily, variant.family).phases for name, variant in variants.items()}
    every = {name: _in_each_mode(config, phases[name], model) for name, model in models.items()}
    made = tuple(Cell(
        experiment=f"{config.name}-{settings.phase1.objective}" if config.objectives else config.name,
        variant=variants[name],
        settings=settings,
        corpus=config.corpus,
        corpus_hash=corpus.hash,
        num_samples=num_samples,
        train_tokens=int(corpus.document_ends[num_samples - 1]),
        seed=seed,
        device=device,
        cache=cache,
        stop_rules=rules if settings.phase1.mode == "trained" else (),
        shortcuts=config.shortcuts,
    ) for seed, num_samples, name in sorted(wanted, key=lambda cell: (seeds.index(cell[0]), cell[1],
                                                                      names.index(cell[2])))
        for settings in every[name])
    return _with_earlier(made) if any(registry.get(StopRule, name).ends for name in rules) else made


def _with_earlier(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells, each with those it may be compared with: no later in seed, size and variant; controls are none.

    So what a rule sees does not depend on which process was first, and one that waits for a cell is never waited for
    by it: all of them stand earlier in the grid.
    """
    def places(values: Iterable[Any]) -> list[int]:
        order = {value: place for place, value in enumerate(dict.fromkeys(values))}
        return [order[value] for value in values]

    studied = [cell for cell in cells if cell.control is None]
    at = np.column_stack([places([getattr(cell, name) for cell in studied])
                          for name in ("seed", "num_samples", "variant")])
    earlier = {cell.run_id: tuple(studied[i].run_id for i in np.flatnonzero((at[:place] <= at[place]).all(axis=1)))
               for place, cell in enumerate(studied)}
    return tuple(replace(cell, earlier=earlier.get(cell.run_id, ())) for cell in cells)


def _in_each_mode(config: RunConfig, phases: int, model: Mapping[str, Scalar | None]) -> list[Settings]:
    """The settings of a variant: each objective, and each mode of Phase 1 asked for; `controls` asks for all."""
    if config.controls and config.settings.phase1.mode != "trained":
        mode = config.settings.phase1.mode
        raise UsageError(f"controls = true runs every phase1.mode: leave phase1.mode = {mode} out")
    modes: tuple[Phase1Mode, ...] = get_args(Phase1Mode) if config.controls else (config.settings.phase1.mode,)
    first, *others = config.objectives or (config.settings,)
    if phases == 1:
        modes = ("trained",)
    if phases == 1 or modes[0] != "trained":
        others = []
    return [replace(settings, phase1=replace(settings.phase1, mode=mode), model=model)
            for settings, chosen in ((first, modes), *((other, modes[:1]) for other in others)) for mode in chosen]


def _model_options(
    variants: Sequence[Variant], config: RunConfig, registry: Registry, corpus: Corpus
) -> dict[str, Mapping[str, Scalar | None]]:
    """By variant, every option of its family; of those given a family takes the ones it has.

    One that no family of the grid has is an error, unless it comes with the preset, which was not made for this grid.
    """
    families = {variant.family: registry.get(VariantFamily, variant.family) for variant in variants}
    given = config.settings.model
    known = {option.name for family in families.values() for option in family.options}
    preset = registry.get(Preset, config.preset).overrides.get("model", {}) if config.preset else {}
    for name in given:
        if name not in known and name not in preset:
            others = [each.name for each in registry.items(VariantFamily).values()
                      if any(option.name == name for option in each.options)]
            hint = f"; it is an option of family {', '.join(others)}" if others else ""
            raise UsageError(f"{options.unknown_key('model', name, known)}{hint}")
    return {variant.name: settled(variant, given, registry, corpus) for variant in variants}


def settled(
    variant: Variant, given: Mapping[str, Scalar | None], registry: Registry, corpus: Corpus
) -> Mapping[str, Scalar | None]:
    """Every option of the variant's family, checked, and filled in where one follows from others."""
    family = registry.get(VariantFamily, variant.family)
    names = {option.name for option in family.options}
    resolved = options.resolve("model", family.options, {n: value for n, value in given.items() if n in names})
    if family.check is not None:
        with registry.blaming(VariantFamily, family.name):
            family.check(variant, resolved)
    if family.settle is None:
        return resolved

    def count(name: str) -> int:
        other = registry.variant(name)
        return model_size(other, settled(other, given, registry, corpus), registry, corpus).trained

    with registry.blaming(VariantFamily, family.name):
        return returned("settle", family.settle(variant, resolved, corpus.embed_dim, count), Mapping)


def refuse_mixture(cells: Sequence[Cell], records: pl.DataFrame, registry: Registry) -> None:
    """Raises UsageError if a cell's experiment has runs of its variant made under other settings or of another corpus.

    One series is one law: runs that differ in more than data and seed belong in experiments of their own. Controls are
    series of their own, so `phase1.mode` may differ, but nothing else; a variant of one phase uses no `phase1`.
    """
    for row in records.drop_nulls("corpus_hash").unique("corpus_hash").to_dicts():
        if row["corpus_hash"] != cells[0].corpus_hash:
            raise UsageError(f"experiment '{cells[0].experiment}' has runs on another corpus, or on the same one read "
                             f"otherwise ({row['corpus']}, vocabulary {row['vocab_size']}); choose another label with "
                             "--name")
    for (experiment, variant), cell in {(cell.experiment, cell.variant.name): cell for cell in cells}.items():
        here = by_name(cell.settings.as_dict())
        unused = "phase1." if registry.get(VariantFamily, cell.variant.family).phases == 1 else "phase1.mode"
        for row in records.filter(experiment=experiment, variant=variant).unique("settings", maintain_order=True
                                                                                 ).to_dicts():
            there = by_name(json.loads(row["settings"] or "{}"))
            changed = [name for name in here if not name.startswith(unused) and here[name] != there.get(name)]
            if changed:
                what = ", ".join(f"{name} is {there.get(name)} there and {here[name]} here" for name in changed)
                raise UsageError(f"experiment '{cell.experiment}' has runs of {variant} made otherwise: {what}; "
                                 "choose another label with --name")


def refuse_other_code(pending: Sequence[Cell], records: pl.DataFrame, registry: Registry) -> None:
    """Raises UsageError if runs of a pending cell's variant were made by other code of its family, objective or ending.

    That code decides the result as the settings do, and no run id knows it. Versions of cvfp itself may differ: where
    the numbers do, the protocol's version does, which run ids know. Runs that failed, or are made again, do not count.
    """
    again = [cell.run_id for cell in pending]
    made = records.filter((pl.col("status") != "failed") & ~pl.col("run_id").is_in(again))
    for (experiment, variant), cell in {(cell.experiment, cell.variant.name): cell for cell in pending}.items():
        sources = {"family_source": registry.owner(VariantFamily, cell.variant.family).home,
                   **phase1.sources(cell, registry)}
        own = made.filter(experiment=experiment, variant=variant)
        for column, here in ((column, here) for column, here in sources.items() if here is not None):
            for there in own[column].drop_nulls().unique(maintain_order=True):
                ours = all(home.startswith(f"{OURS} ") for home in (here, there))
                if there != here and not ours:
                    raise UsageError(f"experiment '{cell.experiment}' has runs of {variant} made by {there}, and "
                                     f"{here} is installed; choose another label with --name, or install {there} again")
