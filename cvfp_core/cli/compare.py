"""`cvfp compare`: is one arm better than another, by how much data or compute, and how sure is that."""

from __future__ import annotations

from typing import Annotated

import typer

from cvfp_core.cli import asked, completing


def compare(
    paths: asked.Paths,
    by: Annotated[
        list[str] | None, typer.Option("--by", metavar="COLUMN", help="Column whose values are the arms. Default: each "
                                       "path is an arm, or each series of one path.")
    ] = None,
    arm: Annotated[
        list[str] | None, typer.Option("--arm", metavar="NAME", help="Compare these arms only, the first being the "
                                       "baseline; may be repeated.")
    ] = None,
    law: Annotated[
        str, typer.Option("--law", metavar="NAME", autocompletion=completing.named("Law"),
                          help="The curve that multipliers are by.")
    ] = "saturating",
    x: asked.X = None,
    y: asked.Y = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="SIZE[,SIZE...]", help="Sizes at which the chance of being best is "
                                 "told. Default: ten times the largest.")
    ] = None,
    margin: Annotated[
        float, typer.Option("--margin", metavar="RATIO", help="Change of the metric that does not matter.")
    ] = 0.01,
    where: asked.Where = None,
    map_: asked.Map = None,
    no_map: asked.NoMap = False,
    take: asked.Take = None,
    json_: asked.Json = False,
) -> None:
    """Compare arms at equal size and seed: ratio, compute or data multiplier, chance of being best, verdict."""
    from cvfp_core.results.comparisons import compared

    sizes = [asked.number(each, "--at", positive=True) for each in at.split(",")] if at else []
    made = compared([str(each) for each in paths], by=by, law=law, x=x, y=y, at=sizes, margin=margin, names=arm or (),
                    where=where, map=asked.mapping(paths, map_, no_map=no_map), take=take or "last")
    if json_:
        asked.show_json(made.as_dict())
    else:
        asked.show(made)
