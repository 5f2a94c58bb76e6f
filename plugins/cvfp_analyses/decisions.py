"""Whether stopping the runs a light shows red would have stopped the worse ones."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from cvfp_core.claims.decisions import Backtest, backtest
from cvfp_core.claims.findings import finding
from cvfp_core.claims.verdicts import LEVEL, Judged
from cvfp_core.registry.kinds import Light
from cvfp_core.schema.claims import Caveat, Finding, Measured, Table


def lights(runs: pl.DataFrame, lit: Sequence[Light]) -> list[Finding]:
    """The back-test of each light, and of all together, as a finding."""
    return [_finding(each) for each in backtest(runs, lit)]


def _finding(test: Backtest) -> Finding:
    decided = test.worse + test.lost
    measured = Measured(estimate=test.worse / decided if decided else None, n=test.series, p_value=test.p_value,
                        method="share of stopped runs in the worse half at their size, test over orders of series")
    p = test.p_value
    verdict = Judged(verdict="inconclusive", p_value=p)
    if p is not None and p <= LEVEL:
        verdict = Judged(verdict="supported", p_value=p)
    caveats: list[str | Caveat] = []
    if test.stopped == 0:
        caveats.append("It would have stopped no run.")
    elif p is None:
        caveats.append("It would have stopped every run: nothing to compare.")
    return finding(
        measured, verdict, key=test.rule, question="Does the light '{light}' stop the worse runs?",
        claim="Runs the light '{light}' shows red are in the worse half at their size more often than chance has it.",
        values={"light": test.rule, "judged": test.judged, "stopped": test.stopped, "worse": test.worse,
                "lost": test.lost, "good": test.good, "seconds_saved": test.seconds_saved,
                "seconds_total": test.seconds_total},
        unit="fraction", caveats=caveats,
        table=Table(columns=("judged", "stopped", "of the worse half", "of the better half", "better half in all"),
                    rows=((test.judged, test.stopped, test.worse, test.lost, test.good),)),
    )
