"""What a new plugin may be made of: one part for each hook family, and what its module imports for it.

Standard library only. The texts are in `files/`: `KIND.entry` for the plugin module, `KIND.test` for its tests,
`KIND.try` for the README, and other modules under their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

ABC, PATHLIB, TYPING = "collections.abc", "pathlib", "typing"
CELLS, KINDS = "cvfp_core.schema.cells", "cvfp_core.registry.kinds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One kind of item a plugin may add."""

    hooks: tuple[str, ...]
    adds: str
    """What the example is, in words, with $short for the plugin's name."""
    item: str | None = "$short"
    """The name of the item it registers; None: it registers none."""
    files: tuple[str, ...] = ()
    """Files beside the plugin module; their texts are in `files/KIND.NAME.txt`."""
    imports: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What the plugin module imports, by module."""


_LAZY = {ABC: ("Iterable",), "cvfp_core.registry.lazy": ("lazy",)}

PARTS: Mapping[str, Part] = {
    "variant": Part(
        hooks=("cvfp_variants",),
        adds="model family `$short`: a leaky recurrent network, `${short}_{L}L_{d}d_{T}tok`",
        files=("model.py",),
        imports=_LAZY | {CELLS: ("Variant",), KINDS: ("Option", "VariantFamily")},
    ),
    "objective": Part(
        hooks=("cvfp_objectives",),
        adds="objective `$short-apart`: neighbours in the text get contexts that differ",
        item="$short-apart",
        files=("objective.py",),
        imports=_LAZY | {KINDS: ("Objective", "Option")},
    ),
    "ending": Part(
        hooks=("cvfp_endings",),
        adds="ending `$short-still`: Phase 1 ends where contexts hardly move on average",
        item="$short-still",
        imports={ABC: ("Iterable", "Mapping", "Sequence"), KINDS: ("Ending", "Iteration", "Option"),
                 "cvfp_core.schema.settings": ("Phase1Settings",), TYPING: ("Any",)},
    ),
    "corpus": Part(
        hooks=("cvfp_corpora",),
        adds="corpus `$short`: sentences about numbers, letter by letter",
        files=("corpus.py",),
        imports=_LAZY | {KINDS: ("CorpusSource", "Option")},
    ),
    "ingester": Part(
        hooks=("cvfp_ingesters",),
        adds="ingester `$short-log`: a console log, declared by the lines it prints",
        item="$short-log",
        imports={ABC: ("Iterable",), "cvfp_core.ingesting.grammars": ("Grammar",), KINDS: ("Ingester",)},
    ),
    "preset": Part(
        hooks=("cvfp_presets",),
        adds="settings `$short`: short runs for trying things out",
        imports={ABC: ("Iterable",), KINDS: ("Preset",)},
    ),
    "quantity": Part(
        hooks=("cvfp_quantities",),
        adds="quantity `${short}_dropout`: a setting that runs have beside those of a record",
        item="${short}_dropout",
        imports={ABC: ("Iterable",), KINDS: ("Quantity",)},
    ),
    "template": Part(
        hooks=("cvfp_templates",),
        adds="report template `$short`: the best run of every series",
        files=("report.md.j2",),
        imports={ABC: ("Iterable",), PATHLIB: ("Path",), KINDS: ("Template",)},
    ),
    "fitter": Part(
        hooks=("cvfp_fitters",),
        adds="law `$short-law`: perplexity falls by the same amount with every doubling of data",
        item="$short-law",
        imports={ABC: ("Iterable",), TYPING: ("Any",), KINDS: ("Fitter", "Parameter")},
    ),
    "analysis": Part(
        hooks=("cvfp_analyses",),
        adds="analysis `$short-by-heart`: are small samples learned by heart?",
        item="$short-by-heart",
        files=("analysis.py",),
        imports=_LAZY | {KINDS: ("Analysis",)},
    ),
    "light": Part(
        hooks=("cvfp_lights",),
        adds="light `$short-movement`: how far the contexts still moved when Phase 1 ended",
        item="$short-movement",
        imports={ABC: ("Iterable",), KINDS: ("Light",)},
    ),
    "stop-rule": Part(
        hooks=("cvfp_stop_rules",),
        adds="stop rule `$short-rising`: the loss of Phase 1 has risen three times in a row",
        item="$short-rising",
        imports={ABC: ("Iterable", "Sequence"), KINDS: ("Iteration", "StopRule")},
    ),
    "executor": Part(
        hooks=("cvfp_executors",),
        adds="executor `$short`: cells one after the other, in this process",
        imports={ABC: ("Iterable", "Sequence"), PATHLIB: ("Path",), CELLS: ("Cell", "Emit"), KINDS: ("Executor",)},
    ),
    "observer": Part(
        hooks=("cvfp_run_started", "cvfp_phase_finished", "cvfp_run_finished"),
        adds="an observer that logs what runs do, with Python's `logging` under the name `$package`",
        item=None,
        imports={CELLS: ("Cell",)},
    ),
}
