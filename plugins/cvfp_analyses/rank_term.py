"""Whether effective rank adds to what data size says of perplexity: the log-linear law with and without it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from cvfp_analyses.words import OVER, several
from cvfp_core.claims import inference, verdicts
from cvfp_core.claims.findings import finding
from cvfp_core.fitting import Fit
from cvfp_core.reporting.numbers import LEAST_P
from cvfp_core.schema.claims import Caveat, Finding, Measured, Table
from cvfp_core.schema.fits import Array


def rank_term(runs: pl.DataFrame, fits: Sequence[Fit]) -> list[Finding]:
    """beta of log PPL = alpha log(tokens) + beta Val ER + gamma, and what it does for series left out."""
    rows = runs.drop_nulls("val_er")
    names = rows["series"].unique(maintain_order=True).to_list()
    index = np.array([names.index(name) for name in rows["series"]])
    target = np.log(rows["val_ppl"].to_numpy())
    size = np.log(rows["size"].to_numpy())
    design = np.column_stack([size - size.mean(), 100 * rows["val_er"].to_numpy(), np.ones(len(size))])
    beta = _jackknifed(design, target, index, len(names))
    fit = next((each for each in fits if each.value("beta") is not None), None)
    published = {"beta_runs": fit.value("beta") if fit else None, "p_runs": fit.p_value if fit else None,
                 "mape": fit.value("mape") if fit else None}
    question = "Does Val ER say more about perplexity than the amount of data does?"
    caveats: list[str | Caveat] = [*several(rows)]
    if published["p_runs"] is not None:
        caveats.append(Caveat(
            text="With all runs taken as independent p would be {p:.3g}; runs of one configuration share its rank.",
            values={"p": max(published["p_runs"], LEAST_P)}))
    found = [
        finding(
            beta, verdicts.of_direction(beta, "falls"), key="beta", question=question,
            claim="At equal data, log PPL falls with Val ER.", values=published, unit="per point", over=OVER,
            caveats=caveats,
        ),
    ]
    if len(names) > 3:
        found.append(_prediction(design, target, index, names))
    return found


def _jackknifed(design: Array, target: Array, index: Array, count: int) -> Measured:
    """beta with the jackknife over series, (series - 2) degrees of freedom, as rank hardly varies within a series.

    Source: MacKinnon, Nielsen and Webb 2023, on few clusters.
    """
    method = "least squares over runs, jackknife interval"
    if np.linalg.matrix_rank(design) < design.shape[1]:
        return Measured(estimate=None, n=count, method=method)
    value = float(_coefficients(design, target)[1])
    without = [design[index != series] for series in range(count)]
    if count < 3 or any(np.linalg.matrix_rank(each) < each.shape[1] for each in without):
        return Measured(estimate=value, n=count, method=method)
    each = np.array([_coefficients(rest, target[index != series])[1] for series, rest in enumerate(without)])
    error = float(np.sqrt((count - 1) / count * np.square(each - value).sum()))
    return inference.student(value, error, count - 2, n=count, method=method)


def _coefficients(design: Array, target: Array) -> Array:
    solved: Array = np.linalg.lstsq(design, target, rcond=None)[0]
    return solved


def _prediction(design: Array, target: Array, index: Array, names: Sequence[str]) -> Finding:
    """Errors on series that were left out, without and with the term, paired by series."""
    errors = np.empty((2, len(names)))
    for series in range(len(names)):
        out = index == series
        for row, columns in enumerate(([0, 2], [0, 1, 2])):
            line = _coefficients(design[~out][:, columns], target[~out])
            errors[row, series] = np.abs(np.expm1(design[out][:, columns] @ line - target[out])).mean()
    gained = inference.mean(100 * (errors[0] - errors[1]))
    return finding(
        gained, verdicts.of_direction(gained, "rises"), key="prediction",
        question="Is a straight line in log data with Val ER nearer to a configuration that was not fitted?",
        claim="With Val ER a straight line in log data is nearer to a configuration that was not fitted.",
        values={"error_without": float(errors[0].mean()), "error_with": float(errors[1].mean())},
        unit="points of relative error", over="error without it minus error with it, each series left out in turn",
        table=Table(columns=("series left out", "error without Val ER", "error with Val ER"), rows=tuple(
            (name, float(a), float(b)) for name, a, b in zip(names, errors[0], errors[1], strict=True))),
    )
