"""`cvfp run`: a grid of cells, from a run file to a table of alphas."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cvfp_core.errors import UsageError

if TYPE_CHECKING:
    from cvfp_core.registry import Registry
    from cvfp_core.registry.kinds import Corpus
    from cvfp_core.running.config import RunConfig
    from cvfp_core.schema.cells import Cell


def run(
    run_file: Annotated[
        Path | None,
        typer.Argument(metavar="[RUN.toml]", help="Run file; without one, the default grid on the embedded corpus."),
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option("--variant", help="Variant such as 1L_128d_2tok; repeat for several."),
    ] = None,
    samples: Annotated[str | None, typer.Option("--samples", help="Sample sizes, comma-separated: 16,64,256.")] = None,
    settings: Annotated[str | None, typer.Option("--settings", help="Settings preset, such as small or v3.")] = None,
    corpus: Annotated[
        str | None,
        typer.Option("--corpus", help="Corpus source; its options by --set corpus.KEY=VALUE."),
    ] = None,
    seed: Annotated[list[int] | None, typer.Option("--seed", help="Seed; repeat for several.")] = None,
    controls: Annotated[
        bool,
        typer.Option("--controls", help="Run every cell also with an untrained and with a zero context, to compare."),
    ] = False,
    device: Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the run file: phase1.learning_rate=0.001."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for experiments.")] = Path("runs"),
    name: Annotated[str | None, typer.Option("--name", help="Label of the experiment and its folder.")] = None,
    jobs: Annotated[
        int,
        typer.Option("--jobs", min=0, help="Processes that share the grid; 0: as fits the machine."),
    ] = 0,
    stop_rule: Annotated[
        list[str] | None,
        typer.Option("--stop-rule", metavar="NAME", help="Rule that may end runs early; repeat for several. See "
                     "`cvfp plugins`."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the plan: cells, tokens, parameters, FLOPs, time."),
    ] = False,
    show_config: Annotated[bool, typer.Option("--show-config", help="Print the run file that would be used.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print events as JSON lines.")] = False,
    template: Annotated[str | None, typer.Option("--template", hidden=True)] = None,
) -> None:
    """Train every cell of a grid and print the laws it follows.

    Finished cells are skipped: run the same command again after an interruption, or twice at once, and it goes on.
    """
    if template is not None:
        where = out / (name or "default")
        raise UsageError(
            "`cvfp run` makes records and `cvfp report` writes them up: run first, then "
            f"cvfp report {where} --template {template}"
        )
    from cvfp_core import registry
    from cvfp_core.running import config, grid, runfile
    from cvfp_core.schema import store

    overrides = _overrides(
        name=name, variants=variant, samples=_sizes(samples), settings=settings, seeds=seed, device=device,
        controls=controls or None,
    )
    _refuse_twice([*overrides, *(["corpus.name"] if corpus else [])], set_ or [])
    assignments = [*([f"corpus.name={json.dumps(corpus)}"] if corpus else []), *(set_ or [])]
    installed = registry.installed()
    asked = config.read(run_file, overrides, assignments, installed)
    if show_config:
        print(runfile.as_toml(asked.written) if overrides or assignments else runfile.text(run_file), end="")
        return
    for each in asked.variants:
        installed.variant(each)

    from platformdirs import user_cache_path

    from cvfp_core.protocol import device as devices
    from cvfp_core.registry.kinds import Executor
    from cvfp_core.running.corpora import leak

    executor = installed.get(Executor, asked.executor)
    device = devices.resolve(asked.device)
    cache = Path(os.environ.get("CVFP_CACHE") or user_cache_path("cvfp", appauthor=False))
    loaded = _load(installed, asked, cache, named=corpus is not None)
    cells = grid.cells(asked, installed, loaded, device, cache, stop_rule or ())
    if warning := leak(loaded):
        print(f"cvfp: {warning}", file=sys.stderr)
    if dry_run:
        from cvfp_core.cli.plan import print_plan

        print_plan(cells, installed, loaded, json_=json_)
        return
    folder = store.create(out / asked.name)
    before = store.read(folder)
    grid.refuse_mixture(cells, before, installed)
    pending = [cell for cell in cells if not store.finished(folder, cell.run_id, cell.stop_rules)]
    grid.refuse_other_code(pending, before, installed)
    store.write_manifest(folder, _manifest(asked, cells, loaded, installed, jobs))
    for cell in pending:
        store.forget_failure(folder, cell.run_id, cell.stop_rules)  # what failed before is tried again

    from cvfp_core.cli.progress import open_sink

    with open_sink(cells, pending, json_=json_) as emit:
        try:
            if pending:
                with installed.blaming(Executor, asked.executor):
                    executor.run(pending, folder, jobs, emit)
        except KeyboardInterrupt:
            again = f"cvfp {shlex.join(sys.argv[1:])}"
            done = sum(store.finished(folder, cell.run_id, cell.stop_rules) for cell in cells)
            print(f"cvfp: interrupted; {done} of {len(cells)} cells are finished and kept in {folder}, go on with: "
                  f"{again}", file=sys.stderr)
            raise typer.Exit(130) from None
    missing = sum(not store.recorded(folder, cell.run_id) for cell in cells)
    records = store.read(folder)
    mine = records.filter(records["run_id"].is_in([cell.run_id for cell in cells]))
    if not json_:
        from cvfp_core.cli.asked import next_step, show
        from cvfp_core.results.runs import overview

        show(overview(mine))
        next_step(f"cvfp report {folder} -o report.md")
    if missing:
        print(f"cvfp: {missing} of {len(cells)} cells have no record: {installed.whose(Executor, asked.executor)} "
              "returned before they were done; run the same command again to go on", file=sys.stderr)
    if missing or not ((mine["status"] == "ok") | mine["stopped_by"].is_in(stop_rule or [])).fill_null(False).all():
        raise typer.Exit(3)


def _overrides(**given: Any) -> dict[str, Any]:
    return {key: value for key, value in given.items() if value is not None and value != []}


_FLAGS = {"variants": "--variant", "samples": "--samples", "settings": "--settings", "seeds": "--seed",
          "device": "--device", "name": "--name", "controls": "--controls", "corpus.name": "--corpus"}
"""Keys of the run file that have an option of their own."""


def _refuse_twice(given: Sequence[str], assignments: Sequence[str]) -> None:
    """Raises UsageError if `--set` gives a key that its own option gives too: one of them would be lost."""
    for assignment in assignments:
        key = assignment.partition("=")[0].strip()
        for name in given:
            if key == name or key.startswith(f"{name}.") or (name == "variants" and key.startswith("matrix")):
                raise UsageError(f"{_FLAGS[name]} and --set {assignment} both say what {name} is; give one of them")


def _load(installed: Registry, asked: RunConfig, cache: Path, *, named: bool) -> Corpus:
    """The corpus; an option it does not have may be one of another that was meant."""
    from cvfp_core.registry.kinds import CorpusSource
    from cvfp_core.running.corpora import load_corpus

    sources = installed.items(CorpusSource)
    known = {name: {option.name for option in source.options} for name, source in sources.items()}
    for option in asked.corpus.options:
        others = [name for name, options in known.items() if option in options]
        if not named and option not in known.get(asked.corpus.name, {option}) and others:
            raise UsageError(f"corpus '{asked.corpus.name}' has no option '{option}'; {', '.join(others)} "
                             f"{'have' if len(others) > 1 else 'has'} it: say --corpus {others[0]}")
    return load_corpus(installed, asked.corpus, cache)


def _sizes(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--samples takes whole numbers separated by commas, not '{text}'") from None


def _manifest(
    asked: RunConfig, cells: Sequence[Cell], corpus: Corpus, installed: Registry, jobs: int
) -> dict[str, Any]:
    """Versions, command, host, configuration and corpus of one command."""
    from datetime import UTC, datetime
    from importlib.metadata import version

    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": ["cvfp", *sys.argv[1:]],
        "folder": str(Path.cwd()),
        "config": asked.written,
        "settings": asked.settings.as_dict(),
        "run_ids": [cell.run_id for cell in cells],
        "jobs": jobs,
        "device": cells[0].device,
        "corpus": {"name": corpus.name, "hash": corpus.hash, "documents": corpus.num_documents,
                   "train_tokens": len(corpus.train_tokens), "val_tokens": len(corpus.val_tokens),
                   "val_repeated": corpus.val_repeated, "vocab_size": corpus.vocab_size, "tokenizer": corpus.tokenizer},
        "host": {"node": platform.node(), "platform": platform.platform(), "machine": platform.machine(),
                 "cpus": os.cpu_count()},
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("cvfp", "torch", "numpy", "polars", "tokenizers", "lmfit")},
        "plugins": [{"name": plugin.name, "distribution": plugin.distribution, "version": plugin.version}
                    for plugin in installed.plugins],
    }


