"""What cvfp-old adds, in words. The goods are imported when one is used."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cvfp_core import hookimpl
from cvfp_core.cells import Cell, Emit, Variant
from cvfp_core.ingesting.found import Found
from cvfp_core.kinds import (
    Analysis,
    Corpus,
    CorpusSource,
    Executor,
    Fitter,
    Ingester,
    IngestOptions,
    Iteration,
    Light,
    Option,
    Parameter,
    Preset,
    StopRule,
    Template,
    VariantFamily,
)
from cvfp_core.settings import Scalar

if TYPE_CHECKING:
    import polars as pl
    import torch
    from cvfp_core.findings import Finding
    from cvfp_core.fitting.values import Fit
    from cvfp_core.protocol.model import TwoPhaseModel


def _parse(name: str) -> Variant | None:
    return Variant.parse(name, family="old", prefix="old_")


def _build(
    variant: Variant, options: Mapping[str, Scalar | None], embeddings: torch.Tensor, generator: torch.Generator
) -> TwoPhaseModel:
    from cvfp_old.model import Model

    return Model(variant, options, embeddings, generator)


@hookimpl
def cvfp_variants() -> Iterable[VariantFamily]:
    yield VariantFamily(
        name="old",
        title="a leaky recurrent network",
        form="old_{L}L_{d}d_{T}tok",
        parse=_parse,
        build=_build,
        options=(
            Option(name="leak", default=0.7, minimum=0, help="share of a context that is new at every token"),
            Option(name="gain", default=2.0, minimum=0, help="initial weights, times the square root of their inputs"),
        ),
    )


def _load(options: Mapping[str, Scalar | None], cache: Path) -> Corpus:
    from cvfp_old.corpus import load

    return load(options, cache)


@hookimpl
def cvfp_corpora() -> Iterable[CorpusSource]:
    yield CorpusSource(
        name="old",
        title="sentences about numbers, letter by letter",
        load=_load,
        options=(
            Option(name="documents", default=200, minimum=20, help="sentences; the last tenth is the validation"),
            Option(name="embed_dim", default=16, minimum=2, help="width of the embeddings, which are random"),
        ),
    )


def _matches(path: Path, head: bytes | None) -> bool:
    del path
    return head is not None and head.startswith(b"old-log v1")


def _read(path: Path, options: IngestOptions) -> Iterator[Found]:
    from cvfp_old.log import read

    return read(path, options)


@hookimpl
def cvfp_ingesters() -> Iterable[Ingester]:
    yield Ingester(
        name="old-log",
        title="text file with one run a line",
        matches=_matches,
        read=_read,
    )


@hookimpl
def cvfp_presets() -> Iterable[Preset]:
    yield Preset(
        name="old",
        title="short runs for trying things out",
        overrides={
            "phase1": {"learning_rate": 0.01, "context_noise": 0.0, "max_iterations": 20},
            "phase2": {"learning_rate": 0.003, "epochs": 5},
        },
    )


@hookimpl
def cvfp_templates() -> Iterable[Template]:
    yield Template(
        name="old",
        title="the best run of every series",
        path=Path(__file__).with_name("report.md.j2"),
        needs=("val_ppl",),
    )


def _law(train_tokens: Any, a: Any, b: Any) -> Any:
    import numpy as np

    return a - b * np.log2(train_tokens)


@hookimpl
def cvfp_fitters() -> Iterable[Fitter]:
    yield Fitter(
        name="old-law",
        title="perplexity falls by the same amount with every doubling of data",
        form="PPL = a - b * log2(tokens)",
        parameters=(
            Parameter(name="a", meaning="perplexity at one token"),
            Parameter(name="b", meaning="what a doubling of data removes", minimum=0),
        ),
        function=_law,
        linear=("a", "b"),
    )


def _analyse(runs: pl.DataFrame, fits: Sequence[Fit]) -> Iterable[Finding]:
    from cvfp_old.analysis import by_heart

    return by_heart(runs, fits)


@hookimpl
def cvfp_analyses() -> Iterable[Analysis]:
    yield Analysis(
        name="old-by-heart",
        title="Are small samples learned by heart?",
        columns=("train_ppl", "val_ppl"),
        analyse=_analyse,
    )


@hookimpl
def cvfp_lights() -> Iterable[Light]:
    yield Light(
        name="old-movement",
        title="how far the contexts still moved when Phase 1 ended",
        metric="cvfp_loss",
        better="lower",
        green=0.01,
        red=0.03,
    )


def _rises(iterations: Sequence[Iteration]) -> str | None:
    losses = [each.loss for each in iterations[-4:] if each.loss is not None]
    if len(losses) == 4 and losses == sorted(set(losses)):
        return f"the loss has risen three times in a row, to {losses[-1]:.3g}"
    return None


@hookimpl
def cvfp_stop_rules() -> Iterable[StopRule]:
    yield StopRule(
        name="old-rising",
        title="the loss of Phase 1 has risen three times in a row",
        stops=_rises,
    )


def _run(cells: Sequence[Cell], folder: Path, jobs: int, emit: Emit) -> None:
    from cvfp_core.execute import execute_cells

    del jobs  # always one; a queue would hand cells and folder to as many workers as it likes
    execute_cells(cells, folder, emit)


@hookimpl
def cvfp_executors() -> Iterable[Executor]:
    yield Executor(
        name="old",
        title="cells one after the other, in this process",
        run=_run,
    )


_LOG = logging.getLogger(__name__)


@hookimpl
def cvfp_run_started(cell: Cell) -> None:
    _LOG.info("%s: started", cell.run_id)


@hookimpl
def cvfp_phase_finished(cell: Cell, phase: int, metrics: dict[str, object]) -> None:
    _LOG.info("%s: phase %d took %s s", cell.run_id, phase, metrics.get(f"seconds_phase{phase}"))


@hookimpl
def cvfp_run_finished(cell: Cell, record: dict[str, object]) -> None:
    _LOG.info("%s: %s, val_ppl %s", cell.run_id, record["status"], record["val_ppl"])
