"""Records, fits, findings, decisions -> the view: what a template may use, as plain data.

Only the names a template uses are computed. Same records, same view: it holds no time and nothing of the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cached_property
from importlib.metadata import version
from typing import Any, cast, get_type_hints

import polars as pl

import cvfp_core
from cvfp_core.errors import UsageError
from cvfp_core.fitting import Fit, Forecast, choose_law, fit_all, predict_all
from cvfp_core.ingesting.reading import Inputs
from cvfp_core.registry import Registry
from cvfp_core.registry.kinds import Fitter
from cvfp_core.reporting.comparison import compare
from cvfp_core.reporting.names import CaveatView, ForecastView, FormulaView, LawView, SeriesView, View
from cvfp_core.reporting.series import fit_view, usable, views
from cvfp_core.schema.fits import message_of
from cvfp_core.schema.settings import Scalar

POWER_LAW, WINDOWS, LINEAR, LOG_LINEAR = "power-law", "sliding-window", "linear-er", "log-linear-er"
WIDTH = 4
"""Sizes in a window."""
AHEAD = 10
"""Forecasts are made for so many times the largest size of all series."""
PROPOSED = {"a": ("intercept", 500.0), "b": ("slope", -4.0)}
"""A line over effective rank that was proposed: parameter -> (option of a template that replaces it, value)."""
_PACKAGES = ("cvfp", "polars", "numpy", "scipy", "jinja2")


def view(
    inputs: Inputs,
    registry: Registry,
    names: Collection[str] | None = None,
    *,
    lang: str = "en",
    options: Mapping[str, Scalar | None] | None = None,
    command: str = "",
) -> View:
    """The names of the view, all of them by default (`comparison` only if the options name two groups)."""
    options = dict(options or {})
    known = set(get_type_hints(View))
    wanted = known if names is None else known & set(names)
    if names is None and not (options.get("a") and options.get("b")):
        wanted.discard("comparison")
    facts = _Facts(inputs, registry, options)
    plain = {"lang": lang, "options": options, "command": command, "cvfp_version": cvfp_core.__version__}
    made = {name: plain[name] if name in plain else _BUILDERS[name](facts) for name in sorted(wanted)
            if name in plain or name in _BUILDERS}
    return cast(View, made)


class _Facts:
    """What builders share: each part is computed when first asked for."""

    def __init__(self, inputs: Inputs, registry: Registry, options: Mapping[str, Scalar | None]) -> None:
        self.inputs, self.registry, self.options = inputs, registry, options
        self.left_out = 0
        self.records = inputs.records
        chosen = options.get("experiments")
        if chosen:
            labels = [label.strip() for label in str(chosen).split(",") if label.strip()]
            known = self.records["experiment"].unique(maintain_order=True).to_list()
            for label in labels:
                if label not in known:
                    raise UsageError(f"no experiment '{label}'; there are: {', '.join(known)}")
            self.records = self.records.filter(pl.col("experiment").is_in(labels))
            self.left_out = inputs.records.height - self.records.height

    def fits(self, law: str, options: Mapping[str, Scalar | None] | None = None) -> list[Fit]:
        """The fits of a law, none if it is not installed."""
        if law not in self.registry.items(Fitter):
            return []
        return fit_all(self.records, [law], options=options, registry=self.registry)

    @cached_property
    def power_laws(self) -> dict[str, Fit]:
        return {fit.series: fit for fit in self.fits(POWER_LAW)}

    @cached_property
    def windows(self) -> dict[str, Fit]:
        return {fit.series: fit for fit in self.fits(WINDOWS)}

    @cached_property
    def series(self) -> list[SeriesView]:
        return views(self.records, self.power_laws, self.windows, WIDTH)

    @cached_property
    def forecast(self) -> Forecast:
        largest = max((s["largest"]["train_tokens"] for s in self.series if s["largest"]), default=1)
        return predict_all(self.records, AHEAD * largest, registry=self.registry)

    @cached_property
    def findings(self) -> list[dict[str, Any]]:
        from cvfp_core.claims.findings import test_all

        fits = [*self.power_laws.values(), *self.windows.values()]
        return [each.as_dict() for each in test_all(self.records, fits, self.registry)]


def _forecasts(facts: _Facts) -> list[ForecastView]:
    reasons = [list(dict.fromkeys(text for text in (each.reason, *each.warnings) if text))
               for each in facts.forecast.predictions]
    return [
        {"label": each.series, "train_tokens": each.inputs["train_tokens"], "law": each.law, "value": each.value,
         "low": each.run_low, "high": each.run_high, "interval_law": each.interval_law or each.law,
         "reason": "; ".join(why), "why": [cast(CaveatView, message_of(text)) for text in why]}
        for each, why in zip(facts.forecast.predictions, reasons, strict=True)
    ]


def _laws(facts: _Facts) -> list[LawView]:
    return [
        {"name": name, "title": fitter.title, "form": fitter.written.replace("val_er", "ValER(%)"),
         "plugin": facts.registry.owner(Fitter, name).name, "fits": [fit_view(fit) for fit in facts.fits(name)]}
        for name, fitter in facts.registry.items(Fitter).items()
    ]


def _formulas(facts: _Facts) -> list[FormulaView]:
    """The line over effective rank as proposed and as fitted, and the regression on size and rank."""
    given = {name: float(cast(float, facts.options.get(option, value))) for name, (option, value) in PROPOSED.items()}
    made: list[FormulaView] = []
    for law, options in ((LINEAR, given), (LINEAR, None), (LOG_LINEAR, None)):
        for fit in facts.fits(law, options):
            if fit.status == "converged":
                made.append(_formula(facts, fit, given=options is not None))
    return made


def _formula(facts: _Facts, fit: Fit, *, given: bool) -> FormulaView:
    form = fit.form.replace("val_er", "ValER(%)")
    for name in ("a", "b", "alpha", "beta", "gamma"):
        value = fit.value(name)
        if value is not None:
            text = f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
            form = form.replace(f"+ {name} *", f"- {text.removeprefix('-')} *" if value < 0 else f"+ {text} *")
            form = form.replace(f"= {name} ", f"= {text} ").replace(f"+ {name}", f"+ {text}")
    errors = []
    for series in facts.series:
        error = fit.value(f"error {series['label']}")
        if error is not None and series["best"] is not None:
            ppl = series["best"]["val_ppl"]
            errors.append({"label": series["label"], "error": error, "val_ppl": ppl, "predicted": ppl * (1 + error)})
    return {"law": fit.law, "form": form, "given": given, "fit": fit_view(fit), "errors": errors}


def _rows(facts: _Facts) -> dict[str, Any]:
    records = facts.records
    no_ppl = sum(not usable(run) for run in records.select("status", "val_ppl").to_dicts())
    dropped = [
        {"reason": "read more than once", "count": facts.inputs.duplicates},
        {"reason": "of other experiments than asked for", "count": facts.left_out},
        {"reason": "without a perplexity (diverged, failed or interrupted): shown, not fitted", "count": no_ppl},
    ]
    return {"read": sum(each.runs for each in facts.inputs.sources), "used": records.height,
            "dropped": [each for each in dropped if each["count"]]}


def _comparison(facts: _Facts) -> Any:
    a, b = facts.options.get("a"), facts.options.get("b")
    if not a or not b:
        raise UsageError("two groups are compared: give --set a=NAME --set b=NAME, where a name is an experiment, a "
                         "variant, experiment:variant or, of a control, experiment:variant:control")
    return compare(facts.records, str(a), str(b))


def _verdicts(facts: _Facts) -> dict[str, int]:
    order = ("supported", "contradicted", "confounded", "inconclusive")
    found = [each["verdict"] for each in facts.findings]
    return {name: found.count(name) for name in (*order, *sorted(set(found) - set(order)))}


def _decisions(facts: _Facts) -> dict[str, Any]:
    from cvfp_core.reporting.decided import decisions

    return decisions(facts.records, facts.registry)


def _stops(facts: _Facts) -> dict[str, Any]:
    from cvfp_core.reporting.decided import stops

    return stops(facts.records, facts.inputs.curves(), facts.registry)


def _distinct(values: Iterable[Any]) -> list[Any]:
    return [value for value in dict.fromkeys(values) if value is not None]


_BUILDERS: dict[str, Callable[[_Facts], Any]] = {
    "versions": lambda _: {name: version(name) for name in _PACKAGES},
    "plugins": lambda facts: [{"name": each.name, "distribution": each.distribution, "version": each.version}
                              for each in facts.registry.plugins],
    "num_records": lambda facts: facts.records.height,
    "statuses": lambda facts: {name: facts.records["status"].to_list().count(name)
                               for name in ("ok", "diverged", "failed", "interrupted")
                               if name in set(facts.records["status"])},
    "experiments": lambda facts: _distinct(facts.records["experiment"]),
    "corpora": lambda facts: facts.records.select(
        "corpus", "corpus_hash", "tokenizer", "vocab_size", "unigram_ppl", "val_tokens"
    ).filter(pl.col("corpus").is_not_null()).sort("val_tokens", nulls_last=True, maintain_order=True)
    .unique(["corpus", "corpus_hash"], keep="first", maintain_order=True).to_dicts(),
    "devices": lambda facts: _distinct(facts.records["device"]),
    "sources": lambda facts: _distinct(facts.records["source"]),
    "inputs": lambda facts: [{"name": each.name, "ingester": each.ingester, "runs": each.runs, "problem": each.problem}
                             for each in facts.inputs.sources],
    "files": lambda facts: [{"name": each.name, "ingester": each.ingester, "sha256": each.sha256, "size": each.size}
                            for each in facts.inputs.files()],
    "rows": _rows,
    "series": lambda facts: facts.series,
    "laws": _laws,
    "choice": lambda facts: choose_law(facts.records, registry=facts.registry).as_dict(),
    "bend": lambda facts: fit_view(facts.windows["all series"]) if "all series" in facts.windows else None,
    "forecasts": _forecasts,
    "formulas": _formulas,
    "findings": lambda facts: facts.findings,
    "verdicts": _verdicts,
    "decisions": _decisions,
    "stops": _stops,
    "comparison": _comparison,
}
