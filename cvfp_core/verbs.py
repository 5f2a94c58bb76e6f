"""The verbs of the package, as `import cvfp_core as cvfp` gives them: read fit predict write_report run plot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cvfp_core.results.fits import Fits, fit
from cvfp_core.results.forecasts import Forecasts, predict
from cvfp_core.results.reports import Report, refuse_unwritable, report
from cvfp_core.results.runs import Readable, ask, read
from cvfp_core.running.run import run
from cvfp_core.schema.settings import Scalar

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["fit", "plot", "predict", "read", "run", "write_report"]


def plot(result: Fits | Forecasts, path: str | Path | None = None) -> Figure:
    """The result as a figure of matplotlib: points, laws, forecasts. path: a file to write it to as well."""
    return result.plot(path)


def write_report(runs: Readable, path: str | Path | None = None, template: str = "summary", lang: str = "en", *,
                 x: str | None = None, y: str | None = None, by: str | None = None, where: str | None = None,
                 map: Mapping[str, str] | None = None, options: Mapping[str, Scalar | None] | None = None,
                 embed: bool = False, figures: bool = True) -> Report:
    """A report of the runs by a template, written to the path if one is given, with its figures beside it.

    template: a name of `cvfp report --list`, or a file ending in .j2. options: of the template. embed: one HTML page
    with the figures inside; a path ending in .html is HTML without being asked for.

        cvfp.write_report("runs/default", "report.md", template="audit")
    """
    out = None if path is None else Path(path)
    if out is not None:
        refuse_unwritable(out)
    asked = ask(runs, x=x, y=y, by=by, where=where, map=map, options=options)
    made = report(asked, out, template, lang, embed=embed, figures=figures)
    if out is not None:
        made.save(out)
    return made
