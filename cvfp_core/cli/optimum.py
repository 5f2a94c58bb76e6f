"""`cvfp optimum`: the best model size and data for a budget, and how sure that is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cvfp_core.cli import asked, completing


def optimum(
    paths: asked.Paths,
    flops: Annotated[
        str | None, typer.Option("--flops", metavar="C[,C...]", help="Budgets in FLOPs: 1e21,1e22. Required.")
    ] = None,
    law: Annotated[
        str, typer.Option("--law", metavar="NAME", autocompletion=completing.named("Law"),
                          help="A law of params and train_tokens.")
    ] = "chinchilla",
    convention: asked.Convention = "6ND",
    constraint: Annotated[
        list[str] | None, typer.Option("--constraint", metavar="LIMIT", help="params<=3e9 or train_tokens<=2e11; may "
                                       "be repeated.")
    ] = None,
    inference_tokens: Annotated[
        str | None, typer.Option("--inference-tokens", metavar="N", help="Tokens that will be served: the budget pays "
                                 "for them too, 2 FLOPs a parameter and token.")
    ] = None,
    y: asked.Y = None,
    by: asked.By = None,
    where: asked.Where = None,
    map_: asked.Map = None,
    weights: asked.Weights = None,
    no_map: asked.NoMap = False,
    take: asked.Take = None,
    options: asked.LawOptions = None,
    figure: Annotated[
        Path | None, typer.Option("--figure", metavar="FILE", help="Write the isoFLOP figure to it: .svg, .png, .pdf.")
    ] = None,
    json_: asked.Json = False,
) -> None:
    """Find the compute-optimal params and train_tokens for a budget, by three approaches, with 95 % intervals."""
    from cvfp_core.results.optima import optima_of

    budgets = [asked.number(each, "--flops", positive=True) for each in flops.split(",")] if flops else []
    served = 0.0 if inference_tokens is None else asked.number(inference_tokens, "--inference-tokens", positive=True)
    question = asked.runs(paths, y=y, by=by, where=where, map_=map_, no_map=no_map, take=take, weights=weights,
                          options=options)
    made = optima_of(question, budgets, law, convention=convention, constraints=constraint or [],
                     inference_tokens=served)
    asked.hand_over(made, figure, json_=json_)
