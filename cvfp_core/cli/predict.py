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
    laws: Annotated[
        list[str] | None, typer.Option("--law", metavar="NAME", help="A law, or several to choose from. Default: auto.")
    ] = None,
    x: asked.X = None,
    y: asked.Y = None,
    by: asked.By = None,
    along: asked.Along = None,
    where: asked.Where = None,
    map_: asked.Map = None,
    options: asked.LawOptions = None,
    then: Annotated[
        str | None, typer.Option("--then", metavar="LAW", help="A second step: a law of what the first one forecasts.")
    ] = None,
    json_: asked.Json = False,
) -> None:
    """Predict a metric at other sizes, with 95 % intervals of the mean and of one new run."""
    from cvfp_core.results.forecasts import forecast

    points = asked.points(at, tokens)
    question = asked.runs(paths, x=x, y=y, by=by, where=where, map_=map_, options=options)
    made = forecast(question, points, laws if laws and laws != ["auto"] else "auto", along=along)
    if then is not None:
        made = made.then(then)
    if json_:
        asked.show_json(made.as_dict())
    else:
        asked.show(made)
