"""`cvfp fit`: laws fitted to series, with intervals."""

from __future__ import annotations

from typing import Annotated

import typer

from cvfp_core.cli import asked


def fit(
    paths: asked.Paths,
    laws: asked.Laws = None,
    x: asked.X = None,
    y: asked.Y = None,
    by: asked.By = None,
    where: asked.Where = None,
    map_: asked.Map = None,
    weights: asked.Weights = None,
    no_map: asked.NoMap = False,
    take: asked.Take = None,
    options: asked.LawOptions = None,
    sensitivity: Annotated[
        bool, typer.Option("--sensitivity", help="Fit again by raw least squares, Huber, and without each size.")
    ] = False,
    json_: asked.Json = False,
) -> None:
    """Fit laws to every series and print parameters with 95 % intervals.

    Without --law: the law of params and train_tokens where both vary, as in reports, else the power law.
    """
    from cvfp_core import fitting
    from cvfp_core.results.fits import fits_of
    from cvfp_core.results.fitted import of_sensitivity
    from cvfp_core.results.printed import terminal

    question = asked.runs(paths, x=x, y=y, by=by, where=where, map_=map_, no_map=no_map, take=take, weights=weights,
                          options=options)
    fits = fits_of(question, laws or [])
    fitters = {made.name: made for made in map(fits.asked.law, fits.laws)} if sensitivity else {}
    varied = [(each, fitting.sensitivity(each, fitters[each.law])) for each in fits if sensitivity]
    if json_:
        plain = [each.as_dict() for each in fits]
        for row, (_, variations) in zip(plain, varied, strict=False):
            row["sensitivity"] = [variation.as_dict() for variation in variations]
        asked.say_each(fits.together)
        asked.show_json(plain)
        return
    asked.show(fits)
    for each, variations in varied:
        if variations:
            terminal().print(*of_sensitivity(each, variations), sep="\n")
