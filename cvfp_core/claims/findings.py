"""Findings: claims about records, each with what the data says of it.

    findings = test_all(records, fits, registry)

Claims are messages with {named} places, so that a report can say them in another language.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import polars as pl

from cvfp_core.claims import verdicts
from cvfp_core.claims.matched import usable
from cvfp_core.claims.verdicts import Judged
from cvfp_core.fitting import Fit, fit_all
from cvfp_core.registry import Registry, culprits
from cvfp_core.registry.guard import listed, tidy
from cvfp_core.registry.kinds import Analysis, Light
from cvfp_core.schema import records as schema
from cvfp_core.schema.claims import Caveat, Finding, Measured, Plain, Table


def finding(
    measured: Measured,
    judged: Judged,
    *,
    key: str,
    question: str,
    claim: str,
    values: Mapping[str, Plain] | None = None,
    unit: str,
    over: str = "",
    caveats: Sequence[str | Caveat] = (),
    table: Table | None = None,
    of_phase2: bool = True,
    counts: str = "series",
) -> Finding:
    """The finding of one estimate. over: what n counts, added to the method. `test_all` fills in the analysis.

    counts: what n is a number of, in the plural, for the caveat that there are too few.
    """
    few = measured.n < measured.least and judged.verdict == "inconclusive"
    needs = [Caveat(text=NEEDS, values={"least": measured.least, "n": measured.n, "counts": counts})] if few else []
    return Finding(
        analysis="", key=key, question=question, claim=claim, values=values or {}, verdict=judged.verdict,
        estimate=measured.estimate, low=measured.low, high=measured.high, unit=unit, n=measured.n,
        method=", ".join(part for part in (measured.method, over) if part), p_value=judged.p_value,
        caveats=(*needs, *caveats), table=table, of_phase2=of_phase2, least=measured.least,
    )


NEEDS = "Not tested: it takes {least} {counts}, and there are {n}."
NOT_MEASURED = "No run has {columns}."
FAILED = "{whose} failed: {error}"
CHANGES = ("Without the {count} of {runs} runs that were cut short in Phase 2 the verdict would be {verdict}, not "
           "{now}: estimate {estimate:.3g}, n = {n}, corrected p = {p}.")
STAYS = ("Without the {count} of {runs} runs that were cut short in Phase 2 the verdict stays {verdict}: estimate "
         "{estimate:.3g}, n = {n}, corrected p = {p}.")
GONE = "Without the {count} of {runs} runs that were cut short in Phase 2 it cannot be tested."


def test_all(records: pl.DataFrame, fits: Sequence[Fit], registry: Registry,
             lights: Sequence[Light] | None = None) -> list[Finding]:  # noqa: PT028
    """The findings of every analysis on these records, corrected for their number (see `verdicts.adjusted`).

    Laws an analysis reads and `fits` lacks are fitted. An analysis that raises becomes a finding without a verdict that
    says whose it is. Where runs were cut short in Phase 2, all is tested again without them, and each finding that
    rests on them says what it would be. lights: in place of those installed, such as with other thresholds.
    """
    lit = list(registry.items(Light).values()) if lights is None else lights
    found = _tested(records, fits, registry, lit)
    cut = pl.col("phase2_censored").fill_null(False)
    runs = usable(records)
    if "phase2_censored" not in runs.columns or not (count := runs.filter(cut).height):
        return found
    again = {(each.analysis, each.key): each for each in _tested(records.filter(~cut), [], registry, lit)}
    counts = {"count": count, "runs": runs.height}
    return [_compared(each, again.get((each.analysis, each.key)), counts) for each in found]


test_all.__test__ = False  # type: ignore[attr-defined]  # no test, whatever pytest thinks of its name


def _compared(finding: Finding, again: Finding | None, counts: Mapping[str, Plain]) -> Finding:
    """The finding with what it would be without the runs that were cut short, if it rests on any."""
    if not finding.of_phase2 or finding.estimate is None:
        return finding
    if again is None or again.estimate is None or (finding.tested and not again.tested):
        return replace(finding, without_censored="not tested",
                       caveats=(*finding.caveats, Caveat(text=GONE, values=counts)))
    if not again.tested or (again.estimate, again.n, again.p_value) == (finding.estimate, finding.n, finding.p_value):
        return finding
    values = {**counts, "verdict": again.verdict, "now": finding.verdict, "estimate": again.estimate, "n": again.n,
              "p": "–" if again.p_adjusted is None else f"{again.p_adjusted:.2g}"}
    caveat = Caveat(text=STAYS if again.verdict == finding.verdict else CHANGES, values=values)
    return replace(finding, without_censored=again.verdict, caveats=(*finding.caveats, caveat))


def _tested(records: pl.DataFrame, fits: Sequence[Fit], registry: Registry, lit: Sequence[Light]) -> list[Finding]:
    """The findings on these records, corrected for their number."""
    runs = usable(records)
    known = list(fits)
    wanted = dict.fromkeys(law for analysis in registry.items(Analysis).values() for law in analysis.laws)
    missing = [law for law in wanted if law not in {fit.law for fit in known}]
    if missing and runs.height:
        known += fit_all(records, missing, registry=registry)
    studied = schema.without_controls(runs)
    apart = set(runs["series"]) - set(studied["series"])
    found = []
    for analysis in registry.items(Analysis).values():
        mine = [fit for fit in known if fit.law in analysis.laws and (analysis.controls or fit.series not in apart)]
        found += _findings(analysis, runs if analysis.controls else studied, mine, registry, lit)
    p_values = [each.p_value if each.tested and verdicts.rests_on_p(each.verdict) else None for each in found]
    count = sum(p is not None for p in p_values)
    return [
        _settled(finding, p, count) for finding, p in zip(found, verdicts.adjusted(p_values), strict=True)
    ]


def _settled(finding: Finding, p_adjusted: float | None, count: int) -> Finding:
    """The finding with its corrected p; a verdict that does not survive the correction is withdrawn, and says so."""
    finding = replace(finding, p_adjusted=p_adjusted)
    if p_adjusted is None or p_adjusted <= verdicts.LEVEL or finding.verdict not in ("supported", "contradicted"):
        return finding
    caveat = Caveat(
        text="Taken alone it would be {verdict} (p = {p:.2g}); corrected for {count} findings on these runs it is not.",
        values={"verdict": finding.verdict, "p": finding.p_value, "count": count},
    )
    return replace(finding, verdict="inconclusive", caveats=(*finding.caveats, caveat))


def _findings(analysis: Analysis, runs: pl.DataFrame, fits: Sequence[Fit], registry: Registry,
              lit: Sequence[Light]) -> list[Finding]:
    missing = [name for name in analysis.columns if name not in runs.columns or runs[name].null_count() == runs.height]
    if missing:
        return [_without_verdict(analysis, "not measured", NOT_MEASURED, {"columns": ", ".join(missing)})]
    try:
        with tidy():
            made = listed(analysis.analyse(runs, fits), "findings") if analysis.analyse else []
            if analysis.analyse_lights:
                made += listed(analysis.analyse_lights(runs, lit), "findings")
        return _checked(analysis, made)
    except culprits.PASSING:
        raise
    except BaseException as error:
        whose, _, what = registry.blame(Analysis, analysis.name, error, asked=False).partition(" failed: ")
        return [_without_verdict(analysis, "failed", FAILED, {"whose": whose, "error": what})]


def _checked(analysis: Analysis, made: list[Finding]) -> list[Finding]:
    """The findings under the analysis's name. Raises TypeError or ValueError for what no report could print."""
    keys: set[str] = set()
    for each in made:
        if not isinstance(each, Finding):
            raise TypeError(f"analyse must return findings, not {each!r:.60}")
        if each.key in keys:
            raise ValueError(f"two findings have the key '{each.key}'")
        keys.add(each.key)
        for text in (each.question, each.claim):
            text.format(**each.values)
        for caveat in each.caveats:
            str(caveat)
    return [replace(each, analysis=analysis.name) for each in made]


def _without_verdict(analysis: Analysis, key: str, text: str, values: Mapping[str, Plain]) -> Finding:
    return Finding(
        analysis=analysis.name, key=key, question=analysis.title, claim=text, values=values, verdict="inconclusive",
        estimate=None, low=None, high=None, unit="", n=0, method="", p_value=None,
    )
