"""`cvfp plan`: the next runs, one after another, that make a target known best for their FLOPs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cvfp_core.cli import asked
from cvfp_core.cli.screen import say


def plan(
    paths: asked.Paths,
    target: Annotated[
        str | None, typer.Option("--target", metavar="TARGET", help="What is to be known: params=7e9,train_tokens=2T "
                                 "or train_tokens=10x; optimum:1e22, the best params for a budget; multiplier, of the "
                                 "two arms that --by tells apart. Required.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", metavar="FLOPS", help="What all runs together may cost: 1e20. Required.")
    ] = None,
    cells: Annotated[
        str | None, typer.Option("--cells", metavar="CELLS", help="Runs to choose from: RUN.toml, the grid of a run "
                                 "file, or ranges of sizes, params=1e8..1e10,train_tokens=1e9..1e11. Default: from "
                                 "the smallest run to the target.")
    ] = None,
    law: asked.Laws = None,
    convention: asked.Convention = "6ND",
    arm: Annotated[
        list[str] | None, typer.Option("--arm", metavar="NAME", help="An arm of a multiplier, the baseline first; "
                                       "given twice.")
    ] = None,
    x: asked.X = None,
    y: asked.Y = None,
    by: asked.By = None,
    where: asked.Where = None,
    map_: asked.Map = None,
    weights: asked.Weights = None,
    no_map: asked.NoMap = False,
    take: asked.Take = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="Write the runs to it: a run file for `cvfp "
                                  "run`, or a table where they come from no run file.")
    ] = None,
    figure: Annotated[
        Path | None, typer.Option("--figure", metavar="FILE", help="Draw runs made, runs planned and target: .svg, "
                                  ".png, .pdf.")
    ] = None,
    json_: asked.Json = False,
) -> None:
    """Plan the next runs: those that shrink a target's 95 % interval most per FLOP."""
    from cvfp_core.errors import UsageError
    from cvfp_core.results.plans import plan_of

    if target is None:
        raise UsageError("no target; give --target, such as --target params=7e9,train_tokens=1.4e11")
    if budget is None:
        raise UsageError("no budget; give --budget, such as --budget 1e20")
    if out is not None and out.resolve() in [each.resolve() for each in paths]:
        raise UsageError(f"-o {out}: the runs are read from it; name another file")
    aim = asked.sizes(target, "--target") if "=" in target else target
    spent = asked.number(budget, "--budget", positive=True)
    question = asked.runs(paths, x=x, y=y, by=by, where=where, map_=map_, no_map=no_map, take=take, weights=weights)
    made = plan_of(question, aim, spent, cells=cells, laws=law or (), arms=arm or (), convention=convention)
    asked.hand_over(made, figure, json_=json_)
    if out is not None:
        made.save(out)
        if made.plan.written and not json_:
            asked.next_step(asked.command("run", [out], {}))
        elif not json_:
            say(f"{out} is written; train its runs, and add them with their {made.plan.response} to the runs read here")
