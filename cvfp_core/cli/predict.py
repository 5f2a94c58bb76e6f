"""`cvfp predict`: what a series will be at more data, parameters or compute, and how sure that is."""

from __future__ import annotations

from typing import Annotated

import typer

from cvfp_core.cli import asked


def predict(
    paths: asked.Paths,
    at: asked.At = None,
    tokens: Annotated[
        str | None, typer.Option("--tokens", metavar="N", help="Short for --at train_tokens=N: 5e6, 2M, 10x.")
    ] = None,
    law: asked.Law = "auto",
    x: asked.X = None,
    y: asked.Y = None,
    by: asked.By = None,
    along: asked.Along = None,
    where: asked.Where = None,
    map_: asked.Map = None,
    take: asked.Take = None,
    no_map: asked.NoMap = False,
    options: asked.LawOptions = None,
    json_: asked.Json = False,
) -> None:
    """Predict a metric at other sizes, with 95 % intervals of the mean and of one new run."""
    from cvfp_core.results.forecasts import forecast

    points = asked.points(at, tokens)
    question = asked.runs(paths, x=x, y=y, by=by, where=where, map_=map_, no_map=no_map, take=take, options=options)
    made = forecast(question, points, law, along=along)
    if json_:
        asked.show_json(made.as_dict())
    else:
        asked.show(made)
