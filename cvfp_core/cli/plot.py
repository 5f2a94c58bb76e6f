"""`cvfp plot`: runs with the law that forecasts them, as a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cvfp_core.cli import asked
from cvfp_core.cli.screen import say


def plot(
    paths: asked.Paths,
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FILE", help="File to write: .svg, .png, .pdf, or .pgf with a TeX.")
    ],
    x: asked.X = None,
    y: asked.Y = None,
    by: asked.By = None,
    at: asked.At = None,
    law: asked.Law = "auto",
    where: asked.Where = None,
    map_: asked.Map = None,
    weights: asked.Weights = None,
    no_map: asked.NoMap = False,
    take: asked.Take = None,
    options: asked.LawOptions = None,
) -> None:
    """Draw runs, the law that forecasts them with the band of a new run, and the forecasts.

    By default at ten times each series' largest size. A law of several inputs: slices along each.
    """
    from cvfp_core.reporting.figures.paint import format_of
    from cvfp_core.results.fits import fits_of
    from cvfp_core.results.forecasts import forecast
    from cvfp_core.results.plots import DRAWN
    from cvfp_core.results.reports import refuse_unwritable_file

    refuse_unwritable_file(out)
    format_of(out)
    question = asked.runs(paths, x=x, y=y, by=by, where=where, map_=map_, no_map=no_map, take=take, weights=weights,
                          options=options)
    surface = law != "auto" and len(question.law(law).inputs) > 1
    if not surface and (few := question.some(DRAWN)) is not question:
        question = few
        say(f"{DRAWN} of {few.of_series:,} series are drawn, spread evenly, and forecast by their runs alone; --where "
            "keeps those you choose")
    if surface and at is None:
        fits_of(question, [law]).plot(out)
    else:
        size = x or ("train_tokens" if law == "auto" else question.law(law).inputs[0])
        forecast(question, asked.points(at, None) if at else {size: ["10x"]}, law).plot(out)
    say(f"{out} is written")
