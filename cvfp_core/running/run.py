"""A run file -> records in a store: what `cvfp run` does, for programs to call too."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from cvfp_core import registry as registries
from cvfp_core.errors import PluginError, UsageError, unwritten
from cvfp_core.registry import Registry
from cvfp_core.registry.kinds import Corpus, Executor, VariantFamily
from cvfp_core.running import config, grid, machine, submitted
from cvfp_core.running.corpora import leak, load_corpus, refuse_options_of_another
from cvfp_core.running.costs import costs, too_large
from cvfp_core.schema import options, store
from cvfp_core.schema.cells import Cell, Emit
from cvfp_core.schema.jobs import Job
from cvfp_core.schema.settings import Scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A grid whose every part was checked, before anything is written."""

    config: config.RunConfig
    registry: Registry
    executor: Executor
    executor_options: Mapping[str, Scalar | None]
    corpus: Corpus
    cells: tuple[Cell, ...]
    stop_rules: tuple[str, ...]
    folder: Path
    """Of the experiment."""
    warnings: tuple[str, ...]

    def finished(self, cell: Cell) -> bool:
        """Whether the cell has a result that is not to be made again."""
        return store.finished(self.folder, cell.run_id, cell.stop_rules)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """What a run left: the records of its cells, those of earlier runs among them."""

    folder: Path
    records: pl.DataFrame
    complete: bool
    """Whether every cell has ended well, or by a stop rule that was asked for."""
    warnings: tuple[str, ...] = ()
    registry: Registry
    """What was installed when the run began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """What was left to an engine."""

    folder: Path
    cells: int
    pending: int
    """Cells that had no result."""
    jobs: tuple[Job, ...]
    """The jobs that are at these."""
    warnings: tuple[str, ...] = ()


Progress = Callable[[Prepared, Sequence[Cell]], AbstractContextManager[Emit]]
"""(what is prepared, cells that are not finished) -> what hears the events while they run."""


@contextmanager
def silent(prepared: Prepared, pending: Sequence[Cell]) -> Iterator[Emit]:
    """Hears the events of a run and shows nothing."""
    del prepared, pending
    yield lambda _event: None


def run(
    run_file: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    assignments: Sequence[str] = (),
    *,
    out: str | Path = "runs",
    jobs: int = 0,
    stop_rules: Sequence[str] = (),
    progress: Progress = silent,
    command: Sequence[str] = (),
    registry: Registry | None = None,
) -> RunOutcome:
    """The records of every cell of a grid; those that have no result yet are executed.

    run_file: None: the default grid. overrides: top-level keys of it, `{"samples": [4, 8]}`. assignments: those of
    `--set`, `phase2.epochs=3`. jobs: processes; 0: as many as fit. command: kept in the store's manifest. Raises
    UsageError before anything is written, and PluginError for an executor that fails.
    """
    prepared = prepare(run_file, overrides, assignments, out=out, stop_rules=stop_rules, registry=registry,
                       ahead=jobs != 1)
    registry, cells, folder, executor = prepared.registry, prepared.cells, prepared.folder, prepared.executor
    pending = _begin(prepared, command, jobs)
    if not executor.elsewhere:
        prepared = _warned(prepared, pending)
    with progress(prepared, pending) as emit, registries.pinned(registry), registry.blaming(Executor, executor.name):
        if pending:
            submitted.execute(executor, pending, folder.absolute(), jobs, emit, prepared.executor_options)
    missing = sum(not store.recorded(folder, cell.run_id) for cell in cells)
    records = store.read(folder)
    records = records.filter(records["run_id"].is_in([cell.run_id for cell in cells]))
    ended = ((records["status"] == "ok") | records["stopped_by"].is_in(list(stop_rules))).fill_null(False)
    complete = not missing and bool(ended.all())
    return RunOutcome(folder=folder, records=records, complete=complete, registry=registry, warnings=(
        f"{missing} of {len(cells)} cells have no record: {registry.label(Executor, executor.name)} returned before "
        "they were done; run the same command again to go on",
    ) if missing else ())


def submit(
    run_file: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    assignments: Sequence[str] = (),
    *,
    out: str | Path = "runs",
    jobs: int = 0,
    stop_rules: Sequence[str] = (),
    command: Sequence[str] = (),
    registry: Registry | None = None,
) -> Submitted:
    """Has an engine that goes on without this program execute what `run` would, and returns at once.

    Arguments and errors are those of `run`; raises UsageError too for an executor that lives no longer than its caller.
    """
    prepared = prepare(run_file, overrides, assignments, out=out, stop_rules=stop_rules, registry=registry)
    registry, executor = prepared.registry, prepared.executor
    if executor.submit is None:
        able = [each.name for each in registry.items(Executor).values() if each.submit is not None]
        raise UsageError(f"executor '{executor.name}' ends with the command that started it, so its runs cannot be "
                         f"left alone; --executor {' or '.join(able) or 'of a plugin that submits jobs'} can")
    pending = _begin(prepared, command, jobs)
    living: list[Job] = []
    if pending:
        with registries.pinned(registry), registry.blaming(Executor, executor.name):
            living = submitted.submit(executor, pending, prepared.folder.absolute(), jobs, prepared.executor_options)
    return Submitted(folder=prepared.folder, cells=len(prepared.cells), pending=len(pending), jobs=tuple(living),
                     warnings=prepared.warnings)


def _begin(prepared: Prepared, command: Sequence[str], jobs: int) -> list[Cell]:
    """The cells that are not finished, when the store is ready for them."""
    folder = store.create(prepared.folder)
    pending = unfinished(prepared)
    try:
        store.write_manifest(folder, _manifest(prepared, command, jobs))
        for cell in pending:
            store.forget_failure(folder, cell.run_id, cell.stop_rules)  # what failed before is tried again
    except OSError as error:
        raise unwritten(error, error.filename or folder) from None
    store.clear_checkpoints(folder)
    return pending


def unfinished(prepared: Prepared) -> list[Cell]:
    """The cells that have no result yet. Raises UsageError for a store whose runs do not go with these cells."""
    if not store.is_store(prepared.folder):
        return list(prepared.cells)
    before = store.read(prepared.folder)
    grid.refuse_mixture(prepared.cells, before, prepared.registry)
    pending = [cell for cell in prepared.cells if not prepared.finished(cell)]
    grid.refuse_other_code(pending, before, prepared.registry)
    return pending


def _warned(prepared: Prepared, pending: Sequence[Cell]) -> Prepared:
    """With a word of cells that will not fit into memory, of families that know by arithmetic.

    A model is not built for it: code that ends the process would end it before any cell.
    """
    with suppress(PluginError):  # a family that fails: so do its cells, one by one, and their records say how
        families = prepared.registry.items(VariantFamily)
        sized = [cell for cell in pending if families[cell.variant.family].size is not None]
        if warning := too_large(costs(sized, prepared.registry, prepared.corpus)):
            return replace(prepared, warnings=(*prepared.warnings, warning))
    return prepared


def prepare(
    run_file: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    assignments: Sequence[str] = (),
    *,
    out: str | Path = "runs",
    stop_rules: Sequence[str] = (),
    registry: Registry | None = None,
    ahead: bool = False,
) -> Prepared:
    """The grid that `run` would execute. Arguments and errors are those of `run`. ahead: it is executed in a moment."""
    registry = registry or registries.installed()
    asked = config.read(None if run_file is None else Path(run_file), overrides or {}, assignments, registry)
    for name in (*asked.variants, *(each.variant for each in asked.listed)):
        registry.variant(name)
    executor = registry.get(Executor, asked.executor)
    executor_options = options.resolve("executor", executor.options, asked.executor_options)

    device, cache = machine.device(asked.device, elsewhere=executor.elsewhere), cache_folder()
    if asked.settings.precision == "bfloat16" and device == "cpu" and not executor.elsewhere:
        from cvfp_core.protocol.tuning import refuse_slow_bfloat16

        refuse_slow_bfloat16(asked.shortcuts, cache)
    if ahead and executor.ahead is not None and asked.several:
        with registry.blaming(Executor, executor.name):
            executor.ahead()
    if not any(assignment.startswith("corpus.name=") for assignment in assignments):
        refuse_options_of_another(registry, asked.corpus)
    corpus = load_corpus(registry, asked.corpus, cache)
    cells = grid.cells(asked, registry, corpus, device, cache, stop_rules)
    warnings = (leak(corpus), corpus.left_out)
    return Prepared(config=asked, registry=registry, executor=executor, executor_options=executor_options,
                    corpus=corpus, cells=cells, stop_rules=tuple(stop_rules), folder=Path(out) / asked.name,
                    warnings=tuple(filter(None, warnings)))


def cache_folder() -> Path:
    """Where corpora are cached: CVFP_CACHE, or where this system keeps such things."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("CVFP_CACHE") or user_cache_path("cvfp", appauthor=False))


def _manifest(prepared: Prepared, command: Sequence[str], jobs: int) -> dict[str, Any]:
    """Versions, command, host, configuration and corpus of one command."""
    corpus = prepared.corpus
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": list(command),
        "folder": str(Path.cwd()),
        "config": prepared.config.written,
        "settings": prepared.config.settings.as_dict(),
        "run_ids": [cell.run_id for cell in prepared.cells],
        "jobs": jobs,
        "device": prepared.cells[0].device,
        "corpus": {"name": corpus.name, "hash": corpus.hash, "documents": corpus.num_documents,
                   "train_tokens": len(corpus.train_tokens), "val_tokens": len(corpus.val_tokens),
                   "val_repeated": corpus.val_repeated, "vocab_size": corpus.vocab_size, "tokenizer": corpus.tokenizer},
        "host": {"node": platform.node(), "platform": platform.platform(), "machine": platform.machine(),
                 "cpus": os.cpu_count()},
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("cvfp", "torch", "numpy", "polars", "tokenizers", "lmfit")},
        "plugins": [{"name": plugin.name, "distribution": plugin.distribution, "version": plugin.version}
                    for plugin in prepared.registry.plugins],
    }
