"""Laws fitted to series: the fits as a value that prints as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl
from rich.text import Text

from cvfp_core.fitting import Fit
from cvfp_core.fitting.auto import At
from cvfp_core.results.arguments import verb
from cvfp_core.results.fitted import of_law
from cvfp_core.results.forecasts import Forecasts, forecast
from cvfp_core.results.numbers import of
from cvfp_core.results.printed import WIDE, Block, Listed
from cvfp_core.results.runs import AnyLaw, Asked, Readable, ask, listed
from cvfp_core.schema.settings import Scalar

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Fits(Listed[Fit]):
    """One fit for each series and law, in the order of the laws."""

    items: tuple[Fit, ...]
    laws: tuple[AnyLaw, ...]
    asked: Asked
    together: tuple[Text, ...] = ()
    """Lines of what the laws take together."""

    @verb
    def predict(self, at: At, *, law: AnyLaw | None = None) -> Forecasts:
        """What the law says at other inputs; see `cvfp.predict`. law: one of those fitted, by default the first."""
        return forecast(self.asked, at, law or self.laws[0])

    @verb
    def plot(self, path: str | Path | None = None) -> Figure:
        """The points and the laws through them; see `cvfp.plot`."""
        from cvfp_core.results.plots import draw

        return draw(self.items, path=path)

    def to_frame(self) -> pl.DataFrame:
        """One row an estimate: law, series, parameter, value, low, high, and the fit's n and status."""
        return pl.DataFrame([
            {"law": fit.law, "series": fit.series, "response": fit.response, "status": fit.status, "n": fit.n,
             "parameter": each.name, **{name: getattr(each, name) for name in ("value", "low", "high", "stderr")},
             "method": each.method, "unit": each.unit}
            for fit in self.items for each in fit.estimates
        ], schema=_SCHEMA)

    def summary(self) -> str:
        """A line for each fit: its law, its series, its parameters with intervals, or why there are none."""
        return "\n".join(map(_sentence, self.items))

    def blocks(self, room: int = WIDE) -> Iterator[Block]:
        """What is taken together; for each law its form, a table of the parameters, what is said of single fits."""
        yield from self.together
        for index, law in enumerate(dict.fromkeys(fit.law for fit in self.items)):
            if index:
                yield Text()
            yield from of_law(law, [fit for fit in self.items if fit.law == law], room)


_SCHEMA = {"law": pl.String, "series": pl.String, "response": pl.String, "status": pl.String, "n": pl.Int64,
           "parameter": pl.String, "value": pl.Float64, "low": pl.Float64, "high": pl.Float64, "stderr": pl.Float64,
           "method": pl.String, "unit": pl.String}


@verb
def fit(runs: Readable, law: AnyLaw | Sequence[AnyLaw] | None = None, *, x: str | None = None, y: str | None = None,
        by: str | Sequence[str] | None = None, where: str | None = None, map: Mapping[str, str] | None = None,
        weights: str | None = None, options: Mapping[str, Scalar | None] | None = None) -> Fits:
    """Laws fitted to every series of the runs, with 95 % intervals.

    runs: what `read` takes or gave. law: a name (see `cvfp laws`), a `Law`, a model of lmfit, or several; by default
    the law of params and train_tokens where both vary, as in reports, else the power law. x, y: what a curve is a
    function of and what it explains, if not what the law declares. by: the columns that tell series apart, by default
    `experiment` and `variant`. weights: the column of the runs' weights in what is minimised. options: of the laws,
    such as `{"E": 20}`.

        fits = cvfp.fit("runs.csv", "saturating", x="flops", y="val_loss")
    """
    return fits_of(ask(runs, x=x, y=y, by=by, where=where, map=map, weights=weights, options=options),
                   () if law is None else listed(law))


def fits_of(asked: Asked, laws: Sequence[AnyLaw]) -> Fits:
    """The fits of what was asked, with these laws, each once; without any, with the law that a report takes."""
    if not laws:
        asked, laws = asked.unasked()
    every = tuple(laws[i] for i in range(len(laws)) if laws[i] not in laws[:i])
    parted = asked.together([asked.law(law) for law in every])
    return Fits(items=tuple(asked.fit(every, parted)), laws=every, asked=asked, together=parted.lines)


def _sentence(fit: Fit) -> str:
    head = f"{fit.law}, {fit.series}, n {fit.n}: "
    if not fit.usable:
        return f"{head}{fit.status}: {fit.reason}"
    parts = [" ".join(filter(None, (each.name, *of(each)))) for each in fit.estimates]
    return head + ", ".join(parts) + ("" if fit.status == "converged" else f" ({fit.status}: {fit.reason})")
