"""Runs: what was read, from wherever, as a value that prints as tables; and what is asked of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import polars as pl
from rich.text import Text

from cvfp_core.errors import UsageError
from cvfp_core.fitting import Fit, fit_all
from cvfp_core.fitting.axes import filled, on_axes
from cvfp_core.fitting.points import require, weighted
from cvfp_core.fitting.run import check_options, find, option_values
from cvfp_core.ingesting import reading
from cvfp_core.ingesting.aliases import names_of
from cvfp_core.registry import Registry, installed
from cvfp_core.registry.kinds import Law
from cvfp_core.results import together
from cvfp_core.results.arguments import verb
from cvfp_core.results.overview import MANY, measured, number, overview
from cvfp_core.results.printed import WIDE, Block, Printed
from cvfp_core.results.together import Together
from cvfp_core.schema import expressions, series
from cvfp_core.schema.found import Take
from cvfp_core.schema.quantities import QUANTITIES, Quantity
from cvfp_core.schema.records import SCHEMA
from cvfp_core.schema.settings import Scalar

if TYPE_CHECKING:
    import lmfit

AnyLaw: TypeAlias = "str | Law | lmfit.Model"
"""A law by its name, itself, or as a model of lmfit."""
Readable: TypeAlias = "reading.One | Runs | Sequence[reading.One]"
"""What `read` takes, and whatever takes runs: paths, frames of polars or pandas, several of them, or runs."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Runs(Printed):
    """Runs as `cvfp.read` returns them: their records, their curves, and where they come from."""

    inputs: reading.Inputs
    registry: Registry = field(default_factory=installed)
    """What was installed when they were read; asking again takes a fifth of a second."""

    @property
    def records(self) -> pl.DataFrame:
        """One row a run; the columns of docs/quantities.md, and any the input has beside them."""
        return self.inputs.records

    def __len__(self) -> int:
        return self.records.height

    def to_frame(self) -> pl.DataFrame:
        """The records."""
        return self.records

    def summary(self) -> str:
        """How many runs of how many series, and the range of each size and metric that varies."""
        shown = [QUANTITIES[name] for name in measured(self.records, self.registry)
                 if name in SCHEMA and SCHEMA[name].is_numeric()]
        ends = [f"{each.name} {low} to {high}" for each in shown if each.kind in ("size", "metric")
                and (low := number(each, self.records[each.name].min()))
                != (high := number(each, self.records[each.name].max()))]
        left_out = [f"{self.inputs.left_out} left out by `where`"] if self.inputs.left_out else []
        return ", ".join([f"{len(self)} runs in {len(series.series(self.records))} series", *ends, *left_out])

    def blocks(self, room: int = WIDE) -> Iterator[Block]:
        """The runs, or their series if they are many, exponents, what is to be said, and what was taken for what."""
        made = overview(self.records, registry=self.registry, whole=len(self) <= MANY)
        yield from replace(made, more="to_frame() has every run, read(where=EXPR) keeps some").blocks(room)
        yield from (Text(note, style="dim") for note in self.inputs.notes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """What was asked of which runs: fits and forecasts keep it, so that one leads to the other."""

    runs: Runs
    x: str | None = None
    y: str | None = None
    by: tuple[str, ...] | None = None
    options: Mapping[str, Scalar | None] = field(default_factory=dict)
    of_series: int = 0
    """How many series there are, where these are some of them; see `some`."""

    def some(self, most: int) -> Asked:
        """What is asked, of at most so many of the series, spread evenly."""
        kept, count = series.few(self.runs.records, most, self.by or series.SERIES)
        return self if count <= most else replace(
            self, of_series=count, runs=replace(self.runs, inputs=replace(self.runs.inputs, records=kept)))

    def fit(self, laws: Sequence[AnyLaw], parted: Together | None = None, *, intervals: bool = True) -> list[Fit]:
        """The laws fitted to every series of the runs, without intervals of parameters if nobody looks at them.

        parted: what they are fitted to, where it is known.
        Raises UsageError where a law's quantities were not measured in any run, or no series has more than one size.
        """
        chosen = [self.law(law) for law in laws]
        check_options(chosen, self.options)
        by = (parted or self.together(chosen)).by
        fits = [fit for law in chosen for fit in fit_all(
            self.runs.records, [law], by=by[law.name], x=self.x, y=self.y, registry=self.runs.registry,
            options={each.name: self.options[each.name] for each in law.options if each.name in self.options},
            intervals=intervals)]
        if not fits:
            raise UsageError("no run has finished yet, so there is nothing to fit; `cvfp forecast` says what runs that "
                             "are still going will end with")
        if all(fit.sizes == fit.n == 1 for fit in fits):
            names = ", ".join(dict.fromkeys(fit.series for fit in fits))
            raise UsageError(f"every series has one run, so there is nothing to fit ({names}); name other columns that "
                             "tell series apart: --by COLUMN")
        return fits

    def together(self, laws: Sequence[Law]) -> Together:
        """What each of these laws is fitted to, and lines of what it takes together."""
        return together.together(self.runs.records, laws, self.runs.registry, self.by)

    def unasked(self) -> tuple[Asked, tuple[str, ...]]:
        """The law that a report of the runs takes, over its response; the power law where other axes are asked for."""
        free = self.x is self.y is None and self.by is None and not self.options
        found = together.unasked(self.runs.records, self.runs.registry) if free else None
        return (replace(self, y=found[1]), (found[0],)) if found else (self, ("power-law",))

    def law(self, law: AnyLaw) -> Law:
        """The law over the quantities asked for.

        Raises UsageError where one of them is measured in no run, or has no logarithm where the law takes it.
        """
        made = find(law, self.runs.registry)
        made = on_axes(filled(made, option_values(made, self.options)), self.x, self.y)
        self.require((*made.inputs, made.response), f"law '{made.name}'")
        values = self.runs.records[made.response].drop_nulls()
        if made.space == "log" and values.dtype.is_numeric() and len(values) and not (values > 0).any():
            raise UsageError(f"law '{made.name}' takes the logarithm of {made.response}, which is positive in no run; "
                             "map one that is: --map NAME=EXPR --y NAME")
        return made

    def places(self, at: Mapping[str, Any], laws: Sequence[AnyLaw] = ()) -> dict[str, Any]:
        """Values by quantity, of values by the names that tables use for them: `{"N": 7e9}` is of `params`.

        laws: whose inputs are names of their own. Raises UsageError for two names of one quantity.
        """
        registry, names = self.runs.registry, names_of(self.runs.registry.items(Quantity))
        own = {self.x, *names.quantities, *(name for law in (*registry.items(Law).values(), *laws)
                                            for name in getattr(law, "inputs", ()))}
        made: dict[str, Any] = {}
        for name, given in at.items():
            meaning = None if name in own else names.meaning(name)
            quantity, factor = (meaning.quantity.name, meaning.factor) if meaning and meaning.factor else (name, 1.0)
            if quantity in made or (quantity != name and quantity in at):
                raise UsageError(f"'{name}' is {quantity}, which is given twice; give it once")
            several = isinstance(given, list | tuple)
            values = [each if isinstance(each, str) or factor == 1 else each * factor
                      for each in (given if several else [given])]
            made[quantity] = type(given)(values) if several else values[0]
        return made

    def require(self, needs: Sequence[str], what: str) -> None:
        """Raises UsageError for a quantity that no run has, naming those there are, the nearest first."""
        records = self.runs.records.filter(pl.col("status") == "ok")
        there = [name for name in records.columns if records[name].is_not_null().any()]
        lacking = [name for name in needs if name not in there]
        if records.height and lacking:
            numbers = [name for name in there if records[name].dtype.is_numeric()]
            raise UsageError(
                f"{what} needs {', '.join(needs)}; no run has {' or '.join(lacking)}"
                f"{expressions.offer(lacking, numbers)}; say which it is: --map {lacking[0]}=COLUMN")


@verb
def read(runs: Readable, *, map: Mapping[str, str] | None = None, where: str | None = None,
         take: str = "last") -> Runs:
    """The runs of paths, of frames, or of both; each run once, whichever way it was reached.

    runs: a path or frame (polars or pandas), or several: folders of `cvfp run`, logs, tables. map: record column ->
    expression over the input's columns. where: an expression that is true for the runs to keep. take: which point of
    its curves the record of a foreign run is of: last, best or step=N.

        runs = cvfp.read("sweep.csv", map={"params": "N", "val_loss": "loss"}, where="params > 1e6")
    """
    if not isinstance(runs, Runs):
        registry = installed()
        return Runs(inputs=reading.read(runs, registry, mapping=map, where=where, take=Take.read(take)),
                    registry=registry)
    Take.read(take).require_last("runs that were read")
    records = reading.mapped(runs.records, map or {})
    kept = records if where is None else reading.kept(records, where)
    return replace(runs, inputs=replace(runs.inputs, records=kept, left_out=records.height - kept.height))


def ask(runs: Readable, *, x: str | None = None, y: str | None = None, by: str | Sequence[str] | None = None,
        where: str | None = None, map: Mapping[str, str] | None = None, take: str = "last", weights: str | None = None,
        options: Mapping[str, Scalar | None] | None = None, unfinished: bool = False) -> Asked:
    """What is asked of which runs, read. weights: the column of the runs' weights in what is minimised.

    Raises CvfpError where none has finished, unless unfinished ones will do.
    """
    made = read(runs, map=map, where=where, take=take)
    if made.records.is_empty() and not unfinished:
        from cvfp_core.running.standing import nothing_finished

        raise nothing_finished(made.inputs.stores, made.registry)
    if weights is not None:
        made = replace(made, inputs=replace(made.inputs, records=weighted(made.records, weights)))
    columns = (by,) if isinstance(by, str) else tuple(by) if by else None
    require(made.records, columns or (), "group")
    return Asked(runs=made, x=x, y=y, options=dict(options or {}), by=columns)


def listed(law: AnyLaw | Sequence[AnyLaw]) -> Sequence[AnyLaw]:
    """The laws, one or several. Raises UsageError for none."""
    if not isinstance(law, list | tuple):
        return [law]
    if not law:
        raise UsageError("no law in the list; name one, see `cvfp laws`")
    return law
