"""`cvfp plugin new`: the beginning of a plugin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cvfp_core.cli import screen


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The distribution's name, such as cvfp-mine.")],
    kinds: Annotated[
        list[str] | None,
        typer.Option("--kind", metavar="KIND", help="What it adds; again for more: variant, objective, ending, corpus, "
                     "ingester, preset, quantity, template, fitter, analysis, light, stop-rule, executor, observer. "
                     "[default: variant]"),
    ] = None,
    into: Annotated[Path, typer.Option("--into", metavar="FOLDER", help="Where its folder is made.")] = Path(),
) -> None:
    """Write a plugin that works, with tests, to be changed into yours. Overwrites nothing."""
    from cvfp_core.scaffold.write import write

    for file in write(name, kinds or ["variant"], into):
        screen.write(f"{file.as_posix()}\n")
