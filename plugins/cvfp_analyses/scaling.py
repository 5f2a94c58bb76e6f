"""Whether the scaling exponent stays what it is when data grows."""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

from cvfp_core.claims import verdicts
from cvfp_core.claims.findings import finding
from cvfp_core.fitting import Fit
from cvfp_core.fitting.linear import t_p_value
from cvfp_core.schema.claims import Caveat, Finding, Measured, Table


def change_of_alpha(runs: pl.DataFrame, fits: Sequence[Fit]) -> list[Finding]:  # noqa: ARG001
    """Curvature of log-log curves over all series, and the change of alpha between the windows of each."""
    windows = [fit for fit in fits if fit.law == "sliding-window"]
    question = "Does alpha change with the amount of data?"
    found = []
    for each in (fit for fit in windows if fit.series == "all series" and fit.status == "converged"):
        bend, up = each.estimate("curvature"), each.value("bend upwards")
        singles = [fit for fit in windows if fit is not each and fit.value("curvature") is not None]
        measured = Measured(estimate=bend.value, low=bend.low, high=bend.high, stderr=bend.stderr, dof=each.dof,
                            p_value=t_p_value(bend.value or 0.0, bend.stderr, each.dof) if bend.stderr else None,
                            n=each.dof + 1, method="mean curvature, t interval", least=2)
        found.append(finding(
            measured, verdicts.of_direction(measured, "rises"), key="curvature", question=question,
            claim="Log-log curves flatten: the more data, the closer alpha is to zero.",
            values={"flattening": int(up or 0), "series": len(singles)}, unit="log PPL per squared log token",
            over="over series", caveats=[
                Caveat(text="{flattening} of {series} curves flatten; exact sign test p = {p:.2g}.",
                       values={"flattening": int(up or 0), "series": len(singles), "p": each.p_value}),
                "Series of the same sizes and validation text are not quite independent."],
            table=Table(columns=("series", "sizes", "curvature", "low", "high"), rows=tuple(
                (fit.series, fit.sizes, fit.value("curvature"), fit.estimate("curvature").low,
                 fit.estimate("curvature").high) for fit in singles)),
        ))
    return [*found, *(_windows(fit) for fit in windows if fit.value("change") is not None)]


def _windows(fit: Fit) -> Finding:
    change = fit.estimate("change")
    alphas = [each for each in fit.estimates if each.name.startswith("alpha ")]
    shared, width = (int(number) for number in re.findall(r"\d+", change.note))
    p = None
    if change.value is not None and change.stderr and fit.dof:
        p = t_p_value(change.value, change.stderr, fit.dof)
    measured = Measured(estimate=change.value, low=change.low, high=change.high, stderr=change.stderr, dof=fit.dof,
                        p_value=p, n=fit.n, method="last minus first window, variance about a parabola, t interval")
    return finding(
        measured, verdicts.of_direction(measured, "rises"), key=f"windows {fit.series}",
        question="Does alpha of {series} get closer to zero with more data?",
        claim="alpha of {series} gets closer to zero with more data: from {first:.3f} to {last:.3f}.",
        values={"series": fit.series, "first": alphas[0].value or 0.0, "last": alphas[-1].value or 0.0,
                "windows": len(alphas)},
        unit="", over="over runs", caveats=[Caveat(
            text="The first and last window share {shared} of {width} sizes.",
            values={"shared": shared, "width": width})],
        table=Table(columns=("window", "tokens", "alpha", "low", "high"), rows=tuple(
            (number, each.note, each.value, each.low, each.high) for number, each in enumerate(alphas, 1))),
    )
