"""`cvfp run`: a grid of cells, from a run file to a table of alphas."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cvfp_core.cli import completing
from cvfp_core.cli.asked import separated
from cvfp_core.cli.screen import say, show_json, write
from cvfp_core.cli.signals import ending_as_interrupted
from cvfp_core.errors import UsageError

if TYPE_CHECKING:
    from cvfp_core.running.run import Prepared, Submitted
    from cvfp_core.schema.cells import Cell, Emit


def run(
    run_file: Annotated[
        Path | None,
        typer.Argument(metavar="[RUN.toml]", help="Run file; without one, the default grid on the embedded corpus."),
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option("--variant", metavar="NAME[,NAME...]", callback=separated,
                     help="Variants: 1L_128d_2tok,2L_128d_2tok."),
    ] = None,
    samples: Annotated[
        str | None, typer.Option("--samples", metavar="N[,N...]", help="Sample sizes: 16,64,256.")
    ] = None,
    settings: Annotated[
        str | None, typer.Option("--settings", metavar="PRESET", autocompletion=completing.named("Preset"),
                                 help="Settings preset, such as small or v3.")
    ] = None,
    corpus: Annotated[
        str | None,
        typer.Option("--corpus", metavar="NAME", autocompletion=completing.named("CorpusSource"),
                     help="Corpus source; its options by --set corpus.KEY=VALUE."),
    ] = None,
    seed: Annotated[list[str] | None, typer.Option("--seed", metavar="N[,N...]", help="Seeds: 1,2,3.")] = None,
    controls: Annotated[
        bool,
        typer.Option("--controls", help="Run every cell also with an untrained and with a zero context, to compare."),
    ] = False,
    device: Annotated[
        str | None, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the run file: phase1.learning_rate=0.001."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Folder for experiments.")] = Path("runs"),
    name: Annotated[
        str | None, typer.Option("--name", metavar="LABEL", help="Label of the experiment and its folder.")
    ] = None,
    executor: Annotated[
        str | None,
        typer.Option("--executor", metavar="NAME", autocompletion=completing.named("Executor"),
                     help="What executes the cells; its options by --set "
                     "executor.KEY=VALUE. `cvfp plugins` lists them."),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option("--jobs", metavar="N", min=0, help="Processes that share the grid; 0: as fits the machine."),
    ] = 0,
    stop_rule: Annotated[
        list[str] | None,
        typer.Option("--stop-rule", metavar="NAME", autocompletion=completing.named("StopRule"), callback=separated,
                     help="Rules that may end runs early, comma-separated. See `cvfp plugins`."),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Submit to an engine such as Slurm and leave; see `cvfp status`."),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print what it would cost: cells, tokens, parameters, FLOPs, memory, time."),
    ] = False,
    no_time: Annotated[
        bool, typer.Option("--no-time", help="With --dry-run: measure no time, which takes torch and some seconds."),
    ] = False,
    show_config: Annotated[
        bool, typer.Option("--show-config", help="Print the whole run file that would be used, with comments."),
    ] = False,
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
    if detach and (dry_run or show_config):
        raise UsageError(f"--detach submits and {'--dry-run' if dry_run else '--show-config'} only prints; give one")
    from cvfp_core.running import run as running

    overrides = _overrides(
        name=name, variants=variant, samples=_whole("--samples", samples), settings=settings, device=device,
        seeds=_whole("--seed", ",".join(seed) if seed else None), controls=controls or None,
    )
    named = {"corpus.name": corpus, "executor.name": executor}
    named = {key: value for key, value in named.items() if value}
    _refuse_twice([*overrides, *named], set_ or [])
    assignments = [*(f"{key}={json.dumps(value)}" for key, value in named.items()), *(set_ or [])]
    if no_time and not dry_run:
        raise UsageError("--no-time says what --dry-run leaves out; give --dry-run too")
    if show_config:
        from cvfp_core import registry
        from cvfp_core.running import config, keys

        known = registry.installed()
        write(keys.run_file(config.read(run_file, overrides, assignments, known), known))
        return
    if dry_run:
        from cvfp_core.cli.dry_run import print_costs

        prepared = running.prepare(run_file, overrides, assignments, out=out, stop_rules=stop_rule or ())
        _warn(prepared.warnings)
        print_costs(prepared, times=not no_time, json_=json_)
        return
    if detach:
        _left(running.submit(run_file, overrides, assignments, out=out, jobs=jobs, stop_rules=stop_rule or (),
                             command=["cvfp", *sys.argv[1:]]), json_=json_)
        return
    with ending_as_interrupted():
        outcome = running.run(
            run_file, overrides, assignments, out=out, jobs=jobs, stop_rules=stop_rule or (),
            progress=partial(_shown, json_=json_), command=["cvfp", *sys.argv[1:]],
        )
    if not json_:
        from cvfp_core.cli import asked
        from cvfp_core.results.overview import MANY, overview

        asked.show(overview(outcome.records, registry=outcome.registry, whole=outcome.records.height <= MANY))
        asked.next_step(asked.command("report", [outcome.folder], asked.REPORT))
    _warn(outcome.warnings)
    if not outcome.complete:
        raise typer.Exit(3)


def _left(submitted: Submitted, *, json_: bool) -> None:
    """Says what was submitted, and how to hear of it."""
    _warn(submitted.warnings)
    if json_:
        show_json({"folder": str(submitted.folder), "cells": submitted.cells, "pending": submitted.pending,
                   "jobs": [{"executor": job.executor, **(job.handle or {})} for job in submitted.jobs]}, indent=None)
        return
    done = submitted.cells - submitted.pending
    write(f"{submitted.pending} of {submitted.cells} cells are left to {' and '.join(map(str, submitted.jobs))}\n"
          if submitted.pending else f"all {done} cells are finished\n")
    if submitted.pending:
        from cvfp_core.cli import asked

        asked.next_step(asked.command("status", [submitted.folder], {"--watch": True}))


@contextmanager
def _shown(prepared: Prepared, pending: Sequence[Cell], *, json_: bool) -> Iterator[Emit]:
    """Shows the events of a run, and what to do if it is interrupted."""
    import polars as pl

    from cvfp_core.cli.progress import open_sink
    from cvfp_core.deciding.watching import Watch
    from cvfp_core.schema import store

    _warn(prepared.warnings)
    def finished() -> pl.DataFrame:
        mine = [cell.run_id for cell in prepared.cells]
        return store.read(prepared.folder).filter(pl.col("run_id").is_in(mine))

    try:
        with open_sink(prepared.cells, pending, finished, prepared.registry, json_=json_) as show:
            watch = Watch(prepared.folder, pending)
            yield lambda event: show(watch(event))
    except KeyboardInterrupt:
        done = sum(map(prepared.finished, prepared.cells))
        say(f"interrupted; {done} of {len(prepared.cells)} cells are finished and kept in {prepared.folder}, "
            f"go on with: cvfp {shlex.join(sys.argv[1:])}")
        raise typer.Exit(130) from None


def _warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        say(warning)


def _overrides(**given: Any) -> dict[str, Any]:
    return {key: value for key, value in given.items() if value is not None and value != []}


_FLAGS = {"variants": "--variant", "samples": "--samples", "settings": "--settings", "seeds": "--seed",
          "device": "--device", "name": "--name", "controls": "--controls", "corpus.name": "--corpus",
          "executor.name": "--executor"}
"""Keys of the run file that have an option of their own."""


def _refuse_twice(given: Sequence[str], assignments: Sequence[str]) -> None:
    """Raises UsageError if `--set` gives a key that its own option gives too: one of them would be lost."""
    for assignment in assignments:
        key = assignment.partition("=")[0].strip()
        for name in given:
            if key == name or key.startswith(f"{name}.") or (
                (name == "variants" and key.startswith(("matrix", "cells")))
                or (key, name) == ("executor", "executor.name")
            ):
                raise UsageError(f"{_FLAGS[name]} and --set {assignment} both say what {name} is; give one of them")


def _whole(option: str, text: str | None) -> list[int] | None:
    """Whole numbers separated by commas."""
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"{option} takes whole numbers separated by commas, not '{text[:60]}'; such as "
                         f"{option} 4,16,64") from None
