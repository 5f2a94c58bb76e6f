"""`cvfp show`: the tables of runs made before."""

from __future__ import annotations

from cvfp_core.cli import asked


def show(
    paths: asked.Paths,
    x: asked.X = None,
    y: asked.Y = None,
    by: asked.By = None,
    where: asked.Where = None,
    map_: asked.Map = None,
    no_map: asked.NoMap = False,
    take: asked.Take = None,
    json_: asked.Json = False,
) -> None:
    """Print the runs, their metrics and exponents, as `cvfp run` does at its end."""
    from cvfp_core.results.runs import overview

    question = asked.runs(paths, x=x, y=y, by=by, where=where, map_=map_, no_map=no_map, take=take)
    made = overview(question.runs.records, x=x, y=y, by=question.by, registry=question.runs.registry)
    if json_:
        asked.show_json(made.as_dict())
    else:
        asked.show(made)
        said = {"--x": [x], "--y": [y], "--by": by, "--where": [where], "--map": map_, "--take": [take],
                "--no-map": no_map, **asked.REPORT}
        asked.next_step(asked.command("report", paths, said))
