"""`cvfp forecast`: what a run that is still going will end with, and how earlier forecasts came out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cvfp_core.cli import asked
from cvfp_core.errors import UsageError


def forecast(
    paths: asked.Paths,
    against: Annotated[
        list[Path] | None, typer.Option("--against", metavar="PATH", help="Finished runs to learn from; all runs of "
                                        "PATH... are then still going. May be repeated.")
    ] = None,
    series: Annotated[
        list[str] | None, typer.Option("--series", metavar="NAME", help="Forecast runs of this series only; may be "
                                       "repeated.")
    ] = None,
    after: Annotated[
        str | None, typer.Option("--after", metavar="STEPS", help="Forecast finished runs from their first steps, such "
                                 "as 3 or 30%, each by the others, and say how far off that is.")
    ] = None,
    total: Annotated[
        int | None, typer.Option("--total", metavar="STEPS", min=1, help="Steps that runs of a log are to take; those "
                                 "with fewer are still going.")
    ] = None,
    save: Annotated[
        bool, typer.Option("--save", help="Keep the forecasts in the store, to be scored when the runs have ended.")
    ] = False,
    score: Annotated[
        bool, typer.Option("--score", help="Say how the forecasts that are kept came out.")
    ] = False,
    y: asked.Y = None,
    where: asked.Where = None,
    map_: asked.Map = None,
    no_map: asked.NoMap = False,
    take: asked.Take = None,
    figure: Annotated[
        Path | None, typer.Option("--figure", metavar="FILE", help="Write the courses and forecasts as a figure to it: "
                                  ".svg, .png, .pdf.")
    ] = None,
    json_: asked.Json = False,
) -> None:
    """Forecast the final metric of runs that are still going, from their curves so far and from finished runs."""
    from cvfp_core.results.finals import finals, scored

    mapping = asked.mapping(paths, map_, no_map=no_map)
    given = {"--against": against, "--series": series, "--after": after, "--total": total, "--save": save, "--y": y,
             "--figure": figure, "--take": take}
    if score and (also := [name for name, value in given.items() if value]):
        raise UsageError(f"--score looks at forecasts that are kept and takes no {also[0]}; leave one of them out")
    made = scored(paths, where=where, map=mapping) if score else finals(
        paths, against=against or None, y=y, series=series or (), after=after, total=total, where=where, map=mapping,
        take=take or "last", save=save)
    asked.hand_over(made, figure, json_=json_)
