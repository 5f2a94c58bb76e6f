"""`cvfp show`: the tables of runs made before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def show(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="A folder that `cvfp run` made, or logs.")],
    json_: Annotated[bool, typer.Option("--json", help="Print records and fits as JSON.")] = False,
) -> None:
    """Print the runs, their metrics and exponents, as `cvfp run` does at its end."""
    from cvfp_core.cli import tables
    from cvfp_core.ingesting.reading import read_records

    records = read_records(paths)
    if json_:
        print(tables.as_json(records))
    else:
        tables.print_records(records, path=paths[0])
