"""`cvfp predict`: what a series will be at more data, parameters or compute, and how sure that is."""

from __future__ import annotations

from typing import Annotated

import typer

from cvfp_core.cli import asked, completing


def predict(
    paths: asked.Paths,
    at: asked.At = None,
    tokens: Annotated[
        str | None, typer.Option("--tokens", metavar="N", help="Short for --at train_tokens=N: 5e6, 2M, 10x.")
    ] = None,
    laws: Annotated[
        list[str] | None, typer.Option("--law", metavar="NAME", autocompletion=completing.named("Law"),
                                       callback=asked.separated,
                                       help="A law, or several to choose from, comma-separated. Default: auto.")
    ] = None,
    x: asked.X = None,
    y: asked.Y = None,
    by: asked.By = None,
    along: asked.Along = None,
    where: asked.Where = None,
    map_: asked.Map = None,
    weights: asked.Weights = None,
    no_map: asked.NoMap = False,
    take: asked.Take = None,
    options: asked.LawOptions = None,
    new: Annotated[
        list[str] | None,
        typer.Option("--new", metavar="NAME=VALUE", help="Predict a configuration nobody trained, by what is known of "
                     "it: val_er=0.81; may be repeated."),
    ] = None,
    margin: Annotated[
        float | None, typer.Option("--margin", metavar="FRACTION", help="With --new: change of the left-out error that "
                                   "does not matter. Default: 0.01.", show_default=False)
    ] = None,
    then: Annotated[
        str | None, typer.Option("--then", metavar="LAW", help="A second step: a law of what is forecast, such as "
                                   "accuracy-of-loss; `cvfp laws` lists them.")
    ] = None,
    prior: Annotated[
        bool, typer.Option("--prior/--no-prior", help="With auto: exponents of published laws and the odds of a floor "
                           "count where points are few.")
    ] = True,
    pool: Annotated[
        bool, typer.Option("--pool/--no-pool", help="With auto: series tell each other of exponents and noise.")
    ] = True,
    json_: asked.Json = False,
) -> None:
    """Predict a metric at other sizes, with 95 % intervals of the mean and of one new run."""
    from cvfp_core.claims.prediction import MARGIN
    from cvfp_core.errors import UsageError
    from cvfp_core.results.forecasts import forecast

    points, covariates = asked.points(at, tokens), asked.covariates(new)
    if covariates is None and margin is not None:
        raise UsageError("--margin is of covariates; give them: --new NAME=VALUE")
    question = asked.runs(paths, x=x, y=y, by=by, where=where, map_=map_, no_map=no_map, take=take, weights=weights,
                          options=options)
    law = laws[0] if laws and len(laws) == 1 else laws or "auto"
    made = forecast(question, points, law, along=along, new=covariates, margin=MARGIN if margin is None else margin,
                    prior=prior, pool=pool)
    if then is not None:
        made = made.then(then)
    if json_:
        asked.say_each(made.together)
        asked.show_json(made.as_dict())
    else:
        asked.show(made)
