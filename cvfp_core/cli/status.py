"""`cvfp status`: where a grid stands, on whichever machines it runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cvfp_core.cli import asked, screen
from cvfp_core.errors import UsageError

_EVERY = 5.0
"""Seconds between two looks."""

Stores = Annotated[list[Path], typer.Argument(metavar="RUNS...", help="Folders of runs.")]


def status(
    paths: Stores,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every 5 seconds until nobody is at work.")] = False,
    json_: asked.Json = False,
) -> None:
    """Print how many cells are done, running (where, since when, last loss), waiting and failed."""
    from cvfp_core.results.standings import standings

    if watch:
        if json_:
            raise UsageError("--watch shows a table that changes, and --json prints once; give one of them")
        _watch(paths)
        return
    found = standings(*paths)
    asked.show_json(found.as_dict()) if json_ else asked.show(found)


def _watch(paths: Sequence[Path]) -> None:
    """Shows the table anew on a terminal; elsewhere prints a line whenever it says something new."""
    from rich.console import Group
    from rich.live import Live

    from cvfp_core.results.printed import terminal
    from cvfp_core.results.standings import standings

    console, said = terminal(), ""
    if not console.is_terminal:
        while (found := standings(*paths)).active:
            if found.summary() != said:
                said = found.summary()
                screen.write(f"{said}\n")
            time.sleep(_EVERY)
        asked.show(found)
        return
    with Live(console=console, auto_refresh=False) as live:
        while True:
            found = standings(*paths)
            live.update(Group(*found.blocks(console.width)), refresh=True)
            if not found.active:
                return
            time.sleep(_EVERY)


def cancel(paths: Stores) -> None:
    """End what is at work on runs, here or on a cluster; what is finished is kept."""
    from cvfp_core import registry
    from cvfp_core.running import standing
    from cvfp_core.schema import store

    installed = registry.installed()
    for folder in (folder for path in paths for folder in store.require(path)):
        for line in standing.cancel(folder, installed) or [f"nobody is at work on {folder}"]:
            screen.write(f"{line}\n")
