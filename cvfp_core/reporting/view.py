"""Records, fits, findings, decisions -> the view: what a template may use, as plain data.

Only the names a template uses are computed. Same records, same view: it holds no time and nothing of the machine.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from typing import Any, cast, get_type_hints

import polars as pl

from cvfp_core.deciding.forecast import FinalForecast
from cvfp_core.deciding.optimum import Sweep
from cvfp_core.deciding.outlook import After, Outlook
from cvfp_core.deciding.plan import Plan
from cvfp_core.errors import UsageError
from cvfp_core.fitting import Choice, Fit, Prediction, choose_law, fit_all, predict_all
from cvfp_core.fitting.points import require
from cvfp_core.ingesting.reading import Inputs
from cvfp_core.registry import Registry
from cvfp_core.registry.kinds import Law, Light
from cvfp_core.reporting import sweep
from cvfp_core.reporting.limited import Limits
from cvfp_core.reporting.names import View
from cvfp_core.reporting.series import fit_view, usable, views
from cvfp_core.reporting.way import way_to
from cvfp_core.schema import quantities, series
from cvfp_core.schema.fits import message_of
from cvfp_core.schema.plain import plain
from cvfp_core.schema.series import SERIES
from cvfp_core.schema.settings import Scalar
from cvfp_core.version import __version__

POWER_LAW, WINDOWS, LINEAR, LOG_LINEAR = "power-law", "sliding-window", "linear-er", "log-linear-er"
USUAL = ("train_tokens", "val_ppl")
"""What a report is about, unless other axes are asked for."""
OPTIMUM_LAW = "chinchilla"
AFTER = "30%"
"""First steps from which finished runs are forecast."""
AHEAD = 10
"""Forecasts are made for so many times the largest size of all series."""
PROPOSED = {"a": ("intercept", 500.0), "b": ("slope", -4.0)}
"""A line over effective rank that was proposed: parameter -> (option of a template that replaces it, value)."""
METRICS = "val_er,train_er,phase1_iterations,convergence_rate,cvfp_loss,diversity_loss"
"""What Phase 1 measures; an option of a template replaces it."""
FITTED = 25
"""Series whose fits of every law are shown; of more, as many, spread evenly."""
NOT_TESTED = "not_tested"
"""Counted beside the verdicts: claims of which there is too little for a test."""
_PACKAGES = ("cvfp", "polars", "numpy", "scipy", "jinja2")
_BY_WRITER = {"figures", "figures_missing", "sections"}
"""Names whose values the writer knows, which renders them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a user says about a report."""

    lang: str = "en"
    options: Mapping[str, Scalar | None] = field(default_factory=dict)
    command: str = ""
    figures: str | None = None
    """Folder of the figures as the report links to it; None: no figures."""
    formats: Sequence[str] = ("svg",)
    """Of the figures; the report links to the first."""
    x: str | None = None
    y: str | None = None
    law: str | None = None
    at: Mapping[str, Any] | None = None
    by: Sequence[str] | None = None


def view(inputs: Inputs, registry: Registry, names: Collection[str] | None = None, *, asked: Asked | None = None,
         options: Mapping[str, Scalar | None] | None = None) -> View:
    """The names of the view, all of them by default (`comparison` and `plan` only with their options)."""
    asked = asked or Asked()
    facts = Facts(inputs, registry, asked if options is None else replace(asked, options=options))
    known = set(get_type_hints(View)) - _BY_WRITER
    wanted = known if names is None else known & set(names)
    if names is None and not (facts.options.get("a") and facts.options.get("b")):
        wanted.discard("comparison")
    if names is None and not (facts.options.get("target") and facts.options.get("budget")):
        wanted.discard("plan")
    return facts.view(wanted)


class Facts:
    """The names of the view as properties, each computed when first asked for, and the values behind them."""

    def __init__(self, inputs: Inputs, registry: Registry, asked: Asked, most: int = Limits().runs) -> None:
        self.given, self.registry, self.asked = inputs, registry, asked
        self.drawn: dict[str, list[Fit]] = {}  # of the law of two sizes, once it is known
        self.lang, self.options, self.command = asked.lang, dict(asked.options), asked.command
        self.cvfp_version = __version__
        declared = registry.items(quantities.Quantity)
        law = None if asked.law is None else registry.get(Law, asked.law)
        self.surface = law is not None and len(law.inputs) > 1
        x, y = USUAL if law is None or "{" in law.inputs[0] + law.response else (law.inputs[0], law.response)
        self.axes = quantities.of(asked.x or x, declared), quantities.of(asked.y or y, declared)
        self.usual = (self.axes[0].name, self.axes[1].name) == USUAL and asked.by is None
        require(inputs.records, [each.name for each in self.axes])
        self.by = tuple(asked.by or SERIES)
        records = inputs.records
        if self.options.get("experiments"):
            labels = [label.strip() for label in str(self.options["experiments"]).split(",") if label.strip()]
            known = records["experiment"].unique(maintain_order=True).to_list()
            for label in labels:
                if label not in known:
                    raise UsageError(f"no experiment '{label}'; there are: {', '.join(known)}")
            records = records.filter(pl.col("experiment").is_in(labels))
        self.left_out = inputs.records.height - records.height
        self.of_runs = records.height
        self.records = series.some(records, most, self.by, [self.axes[0].name, *sweep.BOTH])
        self.num_records = self.records.height
        self.experiments, self.devices, self.sources, statuses = (
            [value for value in dict.fromkeys(self.records[name]) if value is not None]
            for name in ("experiment", "device", "source", "status"))
        self.statuses = {name: self.records.filter(status=name).height
                         for name in ("ok", "diverged", "failed", "interrupted") if name in statuses}
        self.inputs = plain(inputs.sources)
        self.plugins = [{"name": each.name, "distribution": each.distribution, "version": each.version}
                        for each in registry.plugins]

    def view(self, names: Iterable[str]) -> View:
        """These names of the view."""
        return cast(View, {name: getattr(self, name) for name in sorted(names)})

    def fits(self, law: str, options: Mapping[str, Scalar | None] | None = None,
             records: pl.DataFrame | None = None) -> list[Fit]:
        """The fits of a law over the report's axes, none if it is not installed. records: by default all."""
        item = self.registry.items(Law).get(law)
        if item is None:
            return []
        axes = self.asked_axes(surface=len(item.inputs) > 1)
        records = self.records if records is None else records
        return fit_all(records, [law], options=options, registry=self.registry, **axes)

    def asked_axes(self, *, surface: bool = False) -> dict[str, Any]:
        """Axes and grouping as the engine takes them: no x for a law of several inputs, none where they are usual."""
        x, y = (None, None) if self.usual else (each.name for each in self.axes)
        return {"x": None if surface else x, "y": y, "by": self.asked.by}

    @property
    def x(self) -> dict[str, Any]:
        return axis(self.axes[0])

    @property
    def y(self) -> dict[str, Any]:
        return axis(self.axes[1])

    @cached_property
    def law(self) -> str:
        return self.asked.law or (POWER_LAW if self.usual else self.chosen_law.law)

    @cached_property
    def law_fits(self) -> dict[str, Fit]:
        return {fit.series: fit for fit in self.fits(self.law)}

    @property
    def law_form(self) -> str:
        return next((fit.form for fit in self.law_fits.values()), self.law)

    @property
    def fitted(self) -> list[dict[str, Any]]:
        return [fit_view(fit) for fit in self.law_fits.values()]

    @cached_property
    def windows(self) -> dict[str, Fit]:
        return {fit.series: fit for fit in self.fits(WINDOWS)} if self.usual else {}

    @cached_property
    def series(self) -> list[dict[str, Any]]:
        return views(self.records, self.law_fits, self.windows, *self.axes, self.by)

    @property
    def choice(self) -> dict[str, Any]:
        return self.chosen_law.as_dict()

    @cached_property
    def chosen_law(self) -> Choice:
        if self.surface:
            return Choice(law=self.law, scale=self.asked.y or "val_ppl", distinguishable=False, reason="given",
                          candidates=())
        return choose_law(self.records, registry=self.registry, **self.asked_axes())

    @property
    def chosen(self) -> list[dict[str, Any]]:
        if self.surface:
            return []
        axes = self.asked_axes() | {"y": self.chosen_law.scale}
        return [fit_view(fit) for fit in fit_all(self.records, [self.chosen_law.law], registry=self.registry, **axes)]

    @property
    def bend(self) -> dict[str, Any] | None:
        return fit_view(self.windows["all series"]) if "all series" in self.windows else None

    @cached_property
    def findings(self) -> list[dict[str, Any]]:
        from cvfp_core.claims.findings import test_all

        usual = self.usual and self.law == POWER_LAW
        known = [*self.law_fits.values(), *self.windows.values()] if usual else []
        return [each.as_dict() for each in test_all(self.records, known, self.registry, self.lights)]

    @property
    def verdicts(self) -> dict[str, int]:
        order = ("supported", "contradicted", "confounded", "inconclusive")
        found = [each["verdict"] if each["tested"] or each["verdict"] != "inconclusive" else NOT_TESTED
                 for each in self.findings]
        return {name: found.count(name) for name in (*order, NOT_TESTED, *sorted({*found} - {*order, NOT_TESTED}))}

    @cached_property
    def forecasts(self) -> list[dict[str, Any]]:
        return [_forecast(each) for every in self.ahead.values() for each in every]

    @property
    def ahead(self) -> dict[str, list[Prediction]]:
        """By series, what it will be where forecasts are made."""
        return self._predicted[0]

    @property
    def way(self) -> dict[str, list[Prediction]]:
        """By series, what the law says from the smallest size to the forecast; nothing where no figure is asked for."""
        return self._predicted[1]

    @cached_property
    def _predicted(self) -> tuple[dict[str, list[Prediction]], dict[str, list[Prediction]]]:
        """Forecasts, and with figures the way to them: one prediction, as most of its work serves both."""
        at: Any = self.asked.at
        if at is None and self.surface:
            return {}, {}
        name = self.axes[0].name
        if at is None:
            largest = max((each["largest"][name] for each in self.series if each["largest"]), default=1)
            at = {name: [AHEAD * largest]}
        way: list[float] = []
        if self.asked.figures is not None and not self.surface and list(at) == [name]:
            way = _way(self.records[name], at[name], self.axes[0])
            at = {name: [*at[name], *way]}
        choice = None if self.asked.law else self.chosen_law
        made = predict_all(self.records, at, self.asked.law or "auto", choice=choice, registry=self.registry,
                           **self.asked_axes(surface=self.surface))
        series: dict[str, list[Prediction]] = {}
        for each in made.predictions:
            series.setdefault(each.series, []).append(each)
        return ({label: every[:len(every) - len(way)] for label, every in series.items()},
                {label: every[len(every) - len(way):] for label, every in series.items()})

    @cached_property
    def every_fit(self) -> dict[str, list[Fit]]:
        """The fits of the law asked for, or of every law tried unasked that can be fitted to what the records have."""
        if self.asked.law:
            return {self.asked.law: list(self.law_fits.values())}
        some, _ = series.few(self.records, FITTED, self.by)
        made = {}
        for name, law in self.registry.items(Law).items():
            if law.automatic:
                with suppress(*(() if self.usual else (UsageError,))):  # a law whose axes cannot be renamed
                    made[name] = self.fits(name, records=some if law.scope == "series" else None)
        return made

    @property
    def laws(self) -> list[dict[str, Any]]:
        items = self.registry.items(Law)
        made, many = [], len(self.series) > FITTED and not self.asked.law
        for name, fits in self.every_fit.items():
            names = list(dict.fromkeys(fit.series for fit in fits))
            shown = {names[row] for row in series.evenly(len(names), FITTED)} if many else {*names}
            count = len(self.series) if items[name].scope == "series" else len(names)
            form = fits[0].form if fits and not self.usual else items[name].written
            made.append({"name": name, "title": items[name].title, "form": form.replace("val_er", "ValER(%)"),
                         "more": max(count - len(shown), 0) if many else 0,
                         "plugin": self.registry.owner(Law, name).name,
                         "fits": [fit_view(fit) for fit in fits if fit.series in shown]})
        return made

    @property
    def proposed(self) -> dict[str, float]:
        """The line that was proposed."""
        return {name: float(cast(float, self.options.get(option, value)))
                for name, (option, value) in PROPOSED.items()}

    @property
    def formulas(self) -> list[dict[str, Any]]:
        """The line over effective rank as proposed and as fitted, and the regression on size and rank."""
        given = self.proposed
        return [_formula(fit, self.series, given=options is not None)
                for law, options in ((LINEAR, given), (LINEAR, None), (LOG_LINEAR, None))
                for fit in self.fits(law, options) if fit.status == "converged"]

    @property
    def comparison(self) -> dict[str, Any]:
        from cvfp_core.reporting.comparison import compare

        a, b = self.options.get("a"), self.options.get("b")
        if not a or not b:
            raise UsageError("two groups are compared: give --set a=NAME --set b=NAME, where a name is an experiment, "
                             "a variant, experiment:variant or, of a control, experiment:variant:control")
        return compare(self.records, str(a), str(b), self.registry)

    @cached_property
    def joint(self) -> dict[str, Any] | None:
        found = sweep.joint(self.records, self.axes[1].name, self.registry, self.asked.by, self.asked.at)
        if found is None:
            return None
        fits = fit_all(self.records, [found["law"]], y=self.axes[1].name, by=self.asked.by, registry=self.registry)
        self.drawn = {found["law"]: fits}
        return {"law": found["law"], "choice": found["choice"], "fits": [fit_view(fit) for fit in fits],
                "forecasts": [_forecast(each) for each in found["predictions"]]}

    @property
    def one_size(self) -> bool:
        return not self.surface

    @property
    def arms(self) -> list[dict[str, Any]]:
        return sweep.arms(self.records, self.axes[0].name, self.axes[1].name, self.registry)

    @property
    def sizes(self) -> list[dict[str, Any]]:
        about = (self.axes[0].name, self.axes[1].name)
        found = sweep.ranges(self.records, (about[0], *sweep.SIZES, about[1]))
        first = next((dict(each) for each in found if each["name"] == about[0]), {})
        return [dict(each) | axis(self.registry.quantity(each["name"])) for each in found
                if each["name"] in about or (each["values"] > 1 and dict(each) | {"name": about[0]} != first)]

    @cached_property
    def sweeps(self) -> tuple[Sweep, ...]:
        """What the compute-optimal models are made from; none where no run has the sizes and the response."""
        from cvfp_core.deciding.budgets import SIX_N_D, constraint
        from cvfp_core.deciding.optimum import optima

        given = self.options
        needs = ("params", "train_tokens", self.asked.y or "val_loss")
        if any(name not in self.records.columns or self.records[name].is_null().all() for name in needs):
            return ()
        limits = [constraint(each) for each in str(given.get("constraint") or "").split(",") if each]
        law = self.registry.get(Law, self.asked.law or OPTIMUM_LAW)
        return optima(self.records, self.budgets, law, registry=self.registry, y=self.asked.y,
                      by=self.asked.by or sweep.parted(self.records, law, self.registry).by,
                      convention=str(given.get("convention") or SIX_N_D), constraints=limits,
                      inference_tokens=float(given.get("inference_tokens") or 0.0))

    @property
    def budgets(self) -> list[float]:
        """FLOPs that the compute-optimal models are asked for."""
        given = self.options.get("flops")
        if given is None:
            spent = 6 * self.records["params"].cast(float) * self.records["train_tokens"].cast(float)
            return [AHEAD * float(spent.max() or 0.0)]  # type: ignore[arg-type]
        try:
            return [float(each) for each in str(given).split(",")]
        except ValueError:
            raise UsageError(f"--set flops takes budgets such as 1e21 or '1e21,1e22', not '{given}'") from None

    @property
    def optimum(self) -> dict[str, Any]:
        made = [each.as_dict() | {
            "cost": each.cost.as_dict() | {"form": each.cost.form},
            "optima": [one.as_dict() | {"why": [message_of(text) for text in (one.reason, *one.warnings) if text]}
                       for one in each.optima],
            "isoflops": each.isoflops.as_dict() | {"minima": [one.as_dict() for one in each.isoflops.minima]},
            "notes": [message_of(note) for note in each.notes]} for each in self.sweeps]
        return {"flops": self.budgets if made else [], "law": self.asked.law or OPTIMUM_LAW, "sweeps": made}

    @cached_property
    def answer(self) -> dict[str, Any]:
        from cvfp_core.claims import prediction
        from cvfp_core.reporting.phase1 import answer_view

        metrics = [each.strip() for each in str(self.options.get("metrics") or METRICS).split(",") if each.strip()]
        margin = cast(float, self.options.get("margin", prediction.MARGIN))
        if not margin > 0:
            raise UsageError(f"--set margin must be a change of the error above 0, such as 0.01, not {margin:g}")
        x, y = self.axes
        return answer_view(prediction.answer(self.records, metrics, x=x.name, y=y.name, by=self.by, margin=margin,
                                             declared=self.registry.items(quantities.Quantity)))

    @property
    def objectives(self) -> dict[str, Any] | None:
        from cvfp_core.reporting.objectives import objectives

        return objectives(self.records)

    @property
    def evidence(self) -> dict[str, Any]:
        from cvfp_core.claims.prediction import evidence

        return evidence(self.records).as_dict()

    @property
    def trade_offs(self) -> list[dict[str, Any]]:
        from cvfp_core.reporting.phase1 import trade_offs

        return trade_offs(self.records, self.series, str(self.options.get("trade_off") or ""))

    @property
    def examples(self) -> list[dict[str, Any]]:
        from cvfp_core.reporting.phase1 import examples, numbers_of

        return examples(self.records, numbers_of("examples", self.options.get("examples") or ""), self.proposed,
                        self.series, self.registry.items(quantities.Quantity))

    @property
    def lights(self) -> list[Light]:
        """The lights, with the thresholds that `--set thresholds` gives."""
        from cvfp_core.claims.decisions import with_thresholds

        given = [each.partition("=") for each in str(self.options.get("thresholds") or "").split(",") if each.strip()]
        try:
            return with_thresholds(self.registry.items(Light), {key.strip(): float(value) for key, _, value in given})
        except ValueError:
            raise UsageError("--set thresholds takes thresholds such as val_er.green=0.8,val_er.red=0.75, not "
                             f"'{self.options['thresholds']}'") from None

    @cached_property
    def planned(self) -> Plan:
        from cvfp_core.deciding.budgets import SIX_N_D
        from cvfp_core.deciding.plan import plan

        text, budget, cells = (self.options.get(name) for name in ("target", "budget", "cells"))
        if text is None or budget is None:
            raise UsageError("runs are planned for a target: give --set target=params=7e9,train_tokens=1.4e11 and "
                             "--set budget=1e20")
        if cells is not None and "=" not in str(cells):
            raise UsageError(f"--set cells takes ranges in a report, NAME=LOW..HIGH, not '{cells}'; `cvfp plan` takes "
                             "run files")
        parts = [part.partition("=") for part in str(text).split(",")]
        aim = {name.strip(): value for name, _, value in parts} if "=" in str(text) else str(text)
        try:
            spent = float(budget)
        except ValueError:
            raise UsageError(f"--set budget takes FLOPs such as 1e20, not '{budget}'") from None
        return plan(self.records, aim, spent, registry=self.registry, cells=None if cells is None else str(cells),
                    laws=[self.asked.law] if self.asked.law else (), y=self.asked.y, by=self.asked.by,
                    arms=[each for each in str(self.options.get("arms") or "").split(",") if each],
                    convention=str(self.options.get("convention") or SIX_N_D))

    @property
    def plan(self) -> dict[str, Any]:
        return self.planned.as_dict() | {"notes": [message_of(note) for note in self.planned.notes]}

    @cached_property
    def next_runs(self) -> dict[str, Any]:
        from cvfp_core.deciding.plan import plan

        names = sweep.BOTH if self.joint is not None else (self.axes[0].name,)
        runs = self.records.filter(status="ok").select(pl.col(
            *({*names, *sweep.BOTH} & set(self.records.columns))).cast(pl.Float64))
        at = {name: float(f"{AHEAD * float(runs[name].max() or 0):.3g}") for name in names}  # type: ignore[arg-type]
        spent = float((6 * runs[sweep.BOTH[0]] * runs[sweep.BOTH[1]]).max() or 0)  # type: ignore[arg-type]
        try:
            made = plan(self.records, at, spent, registry=self.registry, y=self.asked.y, by=self.asked.by,
                        laws=[self.joint["law"]] if self.joint else [],
                        choice=None if self.joint or self.asked.law else self.chosen_law)
        except UsageError:  # which the command that is shown instead says in full
            return {"target": at, "plan": None}
        return {"target": at, "plan": made.as_dict() | {"notes": [message_of(note) for note in made.notes]}}

    @cached_property
    def outlooks(self) -> tuple[Outlook | None, Outlook | None]:
        """Forecasts of the runs still going, and of finished ones from their first steps; None where there are none."""
        from cvfp_core.deciding.outlook import outlook

        inputs = replace(self.given, records=self.records)
        made: list[Outlook | None] = [None, None]
        for place, after in enumerate((None, After.read(str(self.options.get("after") or AFTER)))):
            with suppress(UsageError):  # there is nothing to forecast
                made[place] = outlook(inputs, y=self.asked.y, after=after)
        return made[0], made[1]

    @property
    def finals(self) -> dict[str, Any]:
        from cvfp_core.deciding.outlook import kept, score

        going, ended = self.outlooks
        known: Sequence[FinalForecast] = ()
        with suppress(UsageError):  # none was kept
            known = kept(replace(self.given, records=self.records))
        back = ended.forecasts if ended else ()
        return {
            "forecasts": [each.as_dict() | {"name": each.name, "why": [
                message_of(text) for text in (each.reason, *each.warnings) if text]}
                for each in (going.forecasts if going else ())],
            "after": str(self.options.get("after") or AFTER), "total": score(back).as_dict(),
            "backtest": [{"series": name} | score([each for each in back if each.series == name]).as_dict()
                         for name in dict.fromkeys(each.series for each in back)],
            "kept": score(known).as_dict(),
        }

    @property
    def decisions(self) -> dict[str, Any]:
        from cvfp_core.claims import decisions, prices
        from cvfp_core.reporting.phase1 import bands

        lit = self.lights
        judged = plain(decisions.lights(self.records, lit))
        series: dict[str, dict[str, dict[str, int]]] = {}
        for each in judged:
            counts = series.setdefault(each["series"], {light.name: {} for light in lit})[each["light"]]
            counts[each["colour"] or "none"] = counts.get(each["colour"] or "none", 0) + 1
        return {"lights": plain(lit), "runs": judged,
                "series": [{"label": label, "lights": counts} for label, counts in series.items()],
                "bands": bands(judged, self.records) if judged else [],
                "backtests": plain(decisions.backtest(self.records, lit)) if judged else [],
                "prices": plain(prices.prices(self.records, lit)) if judged else [],
                "hindsight": plain(prices.hindsight(self.records, lit)) if judged else None}

    @property
    def stops(self) -> dict[str, Any]:
        from cvfp_core.claims import decisions

        rules = [rule for rule in self.registry.stop_rules() if rule.stops]
        curves = self.given.curves()
        found = plain(decisions.stops(self.records, curves, rules))
        return {"rules": [{"name": rule.name, "title": rule.title} for rule in rules],
                "seen": {rule.name: sum(each["rule"] == rule.name for each in found) for rule in rules},
                "runs": [each for each in found if each["iteration"] is not None],
                "backtests": plain(decisions.backtest_stops(self.records, curves, rules)) if found else []}

    @property
    def rows(self) -> dict[str, Any]:
        name = self.axes[1].name
        lacking = "without a perplexity (diverged, failed or interrupted): shown, not fitted"
        dropped = [
            {"reason": "read more than once", "count": self.given.duplicates},
            {"reason": "of other experiments than asked for", "count": self.left_out},
            {"reason": "more than a report takes, which spreads them evenly", "count": self.of_runs - self.num_records},
            {"reason": "for which the condition of --where is not true", "count": self.given.left_out},
            {"reason": lacking if name == "val_ppl" else "without a value of what is explained: shown, not fitted",
             "count": sum(not usable(run, name) for run in self.records.select("status", name).to_dicts())},
        ]
        return {"read": sum(each.runs for each in self.given.sources), "used": self.records.height,
                "dropped": [each for each in dropped if each["count"]]}

    @property
    def versions(self) -> dict[str, str]:
        return {name: version(name) for name in _PACKAGES}

    @property
    def files(self) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = plain(self.given.files())
        return made

    @property
    def corpora(self) -> list[dict[str, Any]]:
        columns = ("corpus", "corpus_hash", "tokenizer", "vocab_size", "unigram_ppl", "val_tokens")
        found = self.records.select(columns).drop_nulls("corpus").sort("val_tokens", nulls_last=True,
                                                                       maintain_order=True)
        return found.unique(["corpus", "corpus_hash"], keep="first", maintain_order=True).to_dicts()


def _forecast(each: Prediction) -> dict[str, Any]:
    why = list(dict.fromkeys(text for text in (each.reason, *each.warnings) if text))
    return {"label": each.series, "inputs": plain(each.inputs), "train_tokens": each.inputs.get("train_tokens"),
            "law": each.law, "value": each.value, "low": each.run_low, "high": each.run_high,
            "distances": plain(each.distances), "interval_law": each.interval_law or each.law,
            "reason": "; ".join(why), "why": [message_of(text) for text in why]}


def _way(sizes: pl.Series, at: Sequence[float | str], x: quantities.Quantity) -> list[float]:
    """Places from the smallest size to the farthest of the forecasts."""
    known = sizes.drop_nulls().cast(float).to_numpy()
    largest = max(known, default=1.0)
    ends = [float(str(each)[:-1]) * largest if str(each).endswith("x") else float(each) for each in at]
    return way_to(known, ends, x)


def axis(quantity: quantities.Quantity) -> dict[str, Any]:
    made = {name: getattr(quantity, name) for name in ("name", "heading", "unit", "kind", "percent", "better", "scale",
                                                       "censored_by")}
    return made | {"label": quantity.label or quantity.name}


def _formula(fit: Fit, series: Sequence[Mapping[str, Any]], *, given: bool) -> dict[str, Any]:
    form = fit.form.replace("val_er", "ValER(%)")
    for name in ("a", "b", "alpha", "beta", "gamma"):
        value = fit.value(name)
        if value is not None:
            text = f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
            form = form.replace(f"+ {name} *", f"- {text.removeprefix('-')} *" if value < 0 else f"+ {text} *")
            form = form.replace(f"= {name} ", f"= {text} ").replace(f"+ {name}", f"+ {text}")
    errors = []
    for each in series:
        error = fit.value(f"error {each['label']}")
        if error is not None and each["best"] is not None:
            ppl = each["best"]["val_ppl"]
            errors.append({"label": each["label"], "error": error, "val_ppl": ppl, "predicted": ppl * (1 + error)})
    return {"law": fit.law, "form": form, "given": given, "fit": fit_view(fit), "errors": errors}
