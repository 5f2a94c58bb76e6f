"""`cvfp doctor`: what is damaged or left over in folders of runs, and moved aside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cvfp_core.cli import asked
from cvfp_core.cli.status import Stores


def doctor(
    paths: Stores,
    mend: Annotated[
        bool, typer.Option("--mend", help="Move what is damaged or left over to RUNS/aside; nothing is removed.")
    ] = False,
    json_: asked.Json = False,
) -> None:
    """Check every file of runs: what is damaged, left over or of another version; and move it aside.

    Exit code 1: something is damaged. What --mend has moved, the command that made it makes again.
    """
    from cvfp_core.results.checkups import checkups
    from cvfp_core.results.printed import terminal
    from cvfp_core.schema import doctor as doctors

    found = checkups(*paths)
    moved: dict[Path, Path] = {}
    if mend:
        moved = {each.folder: aside for each in found if (aside := doctors.mend(each)) is not None}
        found = checkups(*paths)
    if json_:
        asked.show_json([facts | {"moved_to": str(moved[each.folder]) if each.folder in moved else None}
                         for each, facts in zip(found, found.as_dict(), strict=True)])
    else:
        _print(moved)
        for block in found.blocks():
            terminal().print(block, soft_wrap=True)
        if not mend and any(fault.moved for each in found for fault in each.faults):
            asked.next_step(asked.command("doctor", paths, {"--mend": True}))
    if not found.whole:
        raise typer.Exit(1)


def _print(moved: dict[Path, Path]) -> None:
    """Says what was moved, and how it is made again."""
    import shlex

    from cvfp_core.cli.screen import write
    from cvfp_core.schema import store

    for folder, aside in moved.items():
        for file in sorted(each for each in aside.rglob("*") if not each.is_dir() or each.is_symlink()):
            write(f"moved: {file.relative_to(aside)}\n")
        command = store.read_manifest(folder).get("command", ())
        again = shlex.join(command) if command else "what made it: `cvfp run`, or `cvfp ingest --into`"
        write(f"it is in {aside}; what was of use in it is made again by {again}\n")
