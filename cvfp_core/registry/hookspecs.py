"""Every hook, on one screen.

Registration hooks take no arguments and return an iterable of the frozen values of `cvfp_core.registry.kinds`.
Lifecycle hooks only observe: they get copies, what they return is ignored and what they raise never ends a run.
"""

from collections.abc import Iterable

import pluggy

from cvfp_core.registry import kinds
from cvfp_core.schema.cells import Cell

hookspec = pluggy.HookspecMarker("cvfp")
hookimpl = pluggy.HookimplMarker("cvfp")


@hookspec
def cvfp_variants() -> Iterable[kinds.VariantFamily]:
    """Model families."""
    raise NotImplementedError


@hookspec
def cvfp_objectives() -> Iterable[kinds.Objective]:
    """What Phase 1 minimises beside the movement of contexts."""
    raise NotImplementedError


@hookspec
def cvfp_endings() -> Iterable[kinds.Ending]:
    """What ends Phase 1, before Phase 2."""
    raise NotImplementedError


@hookspec
def cvfp_corpora() -> Iterable[kinds.CorpusSource]:
    """Sources of text, tokens and frozen embeddings."""
    raise NotImplementedError


@hookspec
def cvfp_ingesters() -> Iterable[kinds.Ingester]:
    """Ways to read runs that were made elsewhere."""
    raise NotImplementedError


@hookspec
def cvfp_presets() -> Iterable[kinds.Preset]:
    """Protocol settings known by a name."""
    raise NotImplementedError


@hookspec
def cvfp_quantities() -> Iterable[kinds.Quantity]:
    """Sizes, settings and metrics that runs have beside those of a record: range, aliases, how they follow."""
    raise NotImplementedError


@hookspec
def cvfp_templates() -> Iterable[kinds.Template]:
    """Markdown reports."""
    raise NotImplementedError


@hookspec
def cvfp_fitters() -> Iterable[kinds.Fitter]:
    """Laws that can be fitted to records."""
    raise NotImplementedError


@hookspec
def cvfp_analyses() -> Iterable[kinds.Analysis]:
    """Questions asked of records and fits."""
    raise NotImplementedError


@hookspec
def cvfp_lights() -> Iterable[kinds.Light]:
    """Thresholds that judge a run after Phase 1."""
    raise NotImplementedError


@hookspec
def cvfp_stop_rules() -> Iterable[kinds.StopRule]:
    """Reasons to end a run during Phase 1."""
    raise NotImplementedError


@hookspec
def cvfp_executors() -> Iterable[kinds.Executor]:
    """Ways to have the cells of a grid executed."""
    raise NotImplementedError


@hookspec
def cvfp_run_started(cell: Cell) -> None:
    """A cell starts."""


@hookspec
def cvfp_phase_finished(cell: Cell, phase: int, metrics: dict[str, object]) -> None:
    """Phase 1 or 2 of a cell ended; `metrics` are the record columns it measured."""


@hookspec
def cvfp_run_finished(cell: Cell, record: dict[str, object]) -> None:
    """A cell ended; `record` is the row that was stored."""
