"""`cvfp ingest`: records from logs and tables of runs made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cvfp_core.cli import asked
from cvfp_core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from cvfp_core.ingesting.run import Ingested
    from cvfp_core.ingesting.storing import Stored
    from cvfp_core.results.printed import Block

_WIDTH = 120
"""Columns where no terminal says how many there are."""


def ingest(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Logs, tables, or folders of them.")],
    into: Annotated[
        Path | None, typer.Option("--into", metavar="STORE", help="Store the records in this folder.")
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", metavar="NAME", help="Read with this ingester; else content decides.")
    ] = None,
    experiment: Annotated[
        str | None, typer.Option("--experiment", metavar="LABEL", help="Label of the runs.")
    ] = None,
    map_: asked.Map = None,
    no_map: asked.NoMap = False,
    take: asked.Take = None,
    save_map: Annotated[
        Path | None, typer.Option("--save-map", metavar="FILE", help="Save the mapping, to give as --map FILE.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Make anything not accounted for an error, and store nothing.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Print what each file and column was taken for, and why; store nothing.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print records, counts and messages as JSON.")] = False,
) -> None:
    """Read runs made elsewhere: logs, result folders, tables, trainer states, exports.

    Prints one row a series, then what became of every line. Files are told apart by content; `cvfp plugins` lists the
    ingesters. Exit code 1: there is no run in it, or an ingester failed to look; 3: some files or rows could not be
    taken, the others were.
    """
    from cvfp_core import registry
    from cvfp_core.ingesting import mapping as columns_mapping
    from cvfp_core.ingesting.run import ingest as read
    from cvfp_core.results import ingested
    from cvfp_core.schema.found import Take

    if explain and (into is not None or json_):
        raise UsageError(f"--explain stores nothing and prints no JSON; leave out {'--json' if json_ else '--into'}")
    mapping = asked.mapping(paths, map_, no_map=no_map)
    if save_map is not None:
        columns_mapping.save(save_map, mapping)
    made = read(paths, registry.installed(), format_=format_, experiment=experiment, mapping=mapping,
                take=Take.read(take or "last"))
    if strict:
        made.require_complete()
    if explain:
        _print(ingested.explanation(made, registry.installed(), format_, mapping), soft_wrap=True)
        return
    if not made.failed and not made.faults and made.published.is_empty():
        made.require_runs(paths)
    stored = None
    if into is not None and not made.records.is_empty():
        from cvfp_core.ingesting.storing import into as write

        stored = write(into, made)
    if json_:
        asked.show_json(_plain(made, stored))
    else:
        _print(ingested.messages(made), stderr=True, soft_wrap=True)
        _print(ingested.runs(made.records, _console().width))
        _print(ingested.account(made, stored, into), stderr=True)
    if made.failed or made.faults:
        raise typer.Exit(1 if made.records.is_empty() or made.faults else 3)


def _plain(made: Ingested, stored: Stored | None) -> dict[str, object]:
    from dataclasses import asdict

    from cvfp_core.schema.records import plain

    return {
        "records": plain(made.records),
        "published": made.published.to_dicts(),
        "files": [asdict(file) for file in made.files],
        "skipped": list(made.skipped),
        "faults": list(made.faults),
        "duplicates": [asdict(each) for each in (*made.duplicates, *(stored.known if stored else ()))],
        "stored": stored.written if stored else None,
    }


def _print(blocks: Iterable[Block], *, stderr: bool = False, soft_wrap: bool = False) -> None:
    """Prints blocks; where there is no terminal, as wide as tables need."""
    console = _console(stderr=stderr)
    for block in blocks:
        console.print(block, soft_wrap=soft_wrap or (stderr and not console.is_terminal))


def _console(*, stderr: bool = False) -> Console:
    from cvfp_core.results.printed import terminal

    console = terminal(stderr=stderr)
    return console if console.is_terminal else terminal(stderr=stderr, width=_WIDTH)
