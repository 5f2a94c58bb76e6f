"""The verbs of the package, as `import cvfp_core as cvfp` gives them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cvfp_core.deciding.comparison import MARGIN
from cvfp_core.errors import UsageError
from cvfp_core.fitting.auto import At
from cvfp_core.results.arguments import verb
from cvfp_core.results.comparisons import Comparisons, compared
from cvfp_core.results.finals import FinalForecasts, finals
from cvfp_core.results.fits import Fits, fit
from cvfp_core.results.forecasts import Forecasts, predict
from cvfp_core.results.optima import Optima, optimum
from cvfp_core.results.plans import Plans, plan
from cvfp_core.results.reports import Report, refuse_unwritable, report
from cvfp_core.results.runs import AnyLaw, Readable, Runs, ask, read
from cvfp_core.schema.cells import Cell, Emit
from cvfp_core.schema.settings import Scalar

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["compare", "fit", "forecast", "optimum", "plan", "plot", "predict", "read", "run", "write_report"]


@verb
def run(run_file: str | Path | None = None, overrides: Mapping[str, Any] | None = None, *, set: Sequence[str] = (),
        out: str | Path = "runs", jobs: int = 0, stop_rules: Sequence[str] = ()) -> Runs:
    """The runs of a grid, trained where they are not finished yet, as `cvfp run` does.

    Nothing is printed, but a notebook shows how far it is. run_file: without one, the default grid. overrides: keys of
    it, `{"samples": [4, 8]}`. set: `phase2.epochs=3`. out: the folder of experiments. jobs: processes; 0: as many as
    fit the machine.

        cvfp.run(overrides={"name": "wide", "variants": ["1L_256d_2tok"]}, set=["phase2.learning_rate=0.002"])
    """
    from cvfp_core.results import notebook
    from cvfp_core.running import run as running

    def shown(prepared: running.Prepared, pending: Sequence[Cell]) -> AbstractContextManager[Emit]:
        for warning in prepared.warnings:
            warnings.warn(warning, stacklevel=5)  # of who called the verb
        return (notebook.shown if notebook.is_kernel() else running.silent)(prepared, pending)

    if jobs < 0:
        raise UsageError(f"run(): jobs must be at least 0, which is as many as fit the machine; found {jobs}")
    outcome = running.run(run_file, overrides, set, out=out, jobs=jobs, stop_rules=stop_rules, progress=shown)
    for warning in outcome.warnings:
        warnings.warn(warning, stacklevel=3)
    made = read(outcome.folder)
    return replace(made, inputs=replace(made.inputs, records=outcome.records))


@verb
def compare(*runs: Readable, by: str | Sequence[str] | None = None, law: AnyLaw = "saturating", x: str | None = None,
            y: str | None = None, at: float | Sequence[float] = (), margin: float = MARGIN, arms: Sequence[str] = (),
            where: str | None = None, map: Mapping[str, str] | None = None) -> Comparisons:
    """Arms at equal size and seed: ratio of the metric, data or compute multiplier, chance of being best, verdict.

    runs: one for each arm, the first being the baseline; or one with several, told apart by the columns `by`, or by
    series. law: the curve that multipliers are by. y: the metric, by default the one that was measured. at: sizes at
    which the chance of being best is told; by default ten times the largest. margin: ratio that does not matter. arms:
    those of several to compare, the baseline first.

        cvfp.compare("sweep.csv", by="optimizer", x="flops", y="val_loss", arms=["adam", "muon"])
    """
    sizes = [at] if isinstance(at, int | float) else at
    return compared(runs, by=by, law=law, x=x, y=y, at=sizes, margin=margin, names=arms, where=where, map=map)


@verb
def forecast(runs: Readable, *, against: Readable | None = None, y: str | None = None, series: str | Sequence[str] = (),
             after: str | float | None = None, total: int | None = None, where: str | None = None,
             map: Mapping[str, str] | None = None, save: bool = False) -> FinalForecasts:
    """What the runs that are still going will end with, from their curves so far and from finished runs.

    runs: a store, logs or frames with some of either; or, with `against`, runs that are going, and those that have
    ended. y: the metric, by default Val PPL. series: those to forecast. after: forecasts of finished runs from their
    first steps instead, such as 3 or "30%", to see how far off they are. total: steps that a run of a log is to take.
    save: keeps the forecasts in the store, for `cvfp forecast --score`.

        print(cvfp.forecast("runs/default", after=3))
    """
    return finals(runs, against=against, y=y, series=series, after=after, total=total, where=where, map=map, save=save)


@verb
def plot(result: Fits | Forecasts | Optima | Comparisons | Plans | FinalForecasts, path: str | Path | None = None
         ) -> Figure:
    """The result as a figure of matplotlib: points, laws, forecasts, optima, arms, plans, courses.

    path: a file to write.
    """
    return result.plot(path)


@verb
def write_report(runs: Readable, path: str | Path | None = None, template: str | None = None, lang: str = "en", *,
                 x: str | None = None, y: str | None = None, by: str | None = None, where: str | None = None,
                 map: Mapping[str, str] | None = None, law: str | None = None, at: At | None = None,
                 weights: str | None = None,
                 options: Mapping[str, Scalar | None] | None = None, embed: bool = False,
                 interactive: bool = False, figures: bool | Sequence[str] = True) -> Report:
    """A report of the runs by a template, written to the path if one is given, with its figures beside it.

    path: its ending says what is written: .md, .html or .tex. template: a name of `cvfp report --list`, or a file
    ending in .j2; by default the one that suits the runs. law: the law fitted to series, the power law by default. at:
    what forecasts are made for, as `predict` takes it. weights: as of `fit`. options: of the template. embed: one HTML
    page with the figures inside; interactive: with figures to hover over. figures: formats beside the one that the
    report shows, such as ["png", "pdf"]; False: none.

        cvfp.write_report("runs/default", "report.md", template="audit")
    """
    out = None if path is None else Path(path)
    if out is not None:
        refuse_unwritable(out)
    named = f"template={template!r}, " if template else ""
    command = f"cvfp.write_report(runs, {named}lang={lang!r})"
    asked = ask(runs, x=x, y=y, by=by, where=where, map=map, weights=weights, options=options, unfinished=True)
    places = at if at is None or isinstance(at, Mapping) else {x or "train_tokens": at}
    listed = places and {name: each if isinstance(each, list) else [each] for name, each in places.items()}
    made = report(asked, out, template, lang, law=law, at=listed, embed=embed, interactive=interactive,
                  figures=figures, command=command)
    if out is not None:
        made.save(out)
    return made
