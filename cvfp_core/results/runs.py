"""Runs: what was read, from wherever, as a value that prints as tables: the runs, the exponents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import polars as pl
from rich.text import Text

from cvfp_core.errors import UsageError
from cvfp_core.fitting import Fit, fit_all
from cvfp_core.fitting.axes import filled, on_axes
from cvfp_core.fitting.points import weighted
from cvfp_core.fitting.run import check_options, find, option_values
from cvfp_core.ingesting import reading
from cvfp_core.ingesting.aliases import names_of
from cvfp_core.registry import Registry, installed
from cvfp_core.registry.kinds import Law
from cvfp_core.reporting.sweep import by_law
from cvfp_core.results import together
from cvfp_core.results.arguments import verb
from cvfp_core.results.fitted import NO_TREND, of_law
from cvfp_core.results.numbers import column, elapsed, meanings, short
from cvfp_core.results.printed import WIDE, Block, Lineless, Printed, about, no_room, table
from cvfp_core.schema import expressions, series
from cvfp_core.schema.fits import Array
from cvfp_core.schema.found import Take
from cvfp_core.schema.quantities import QUANTITIES, Quantity
from cvfp_core.schema.records import SCHEMA, plain
from cvfp_core.schema.settings import Scalar

if TYPE_CHECKING:
    import lmfit

AnyLaw: TypeAlias = "str | Law | lmfit.Model"
"""A law by its name, itself, or as a model of lmfit."""
Readable: TypeAlias = "reading.One | Runs | Sequence[reading.One]"
"""What `read` takes, and whatever takes runs: paths, frames of polars or pandas, several of them, or runs."""

ALPHA_NOTE = "alpha of PPL = A * tokens^alpha, least squares in logarithms, Student-t interval"

MANY = 50
"""Runs up to which each is shown unasked."""
QUICK = 1000
"""Runs up to which the law of both sizes, which takes seconds of more, is fitted unasked."""
NUM_RUNS = "num_runs"
"""Column of how many runs a row is the mean of."""
_IN_VARIANT = ("num_layers", "context_dim", "num_input_tokens")


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
                and (low := _number(each, self.records[each.name].min()))
                != (high := _number(each, self.records[each.name].max()))]
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

    def fit(self, laws: Sequence[AnyLaw], *, intervals: bool = True) -> list[Fit]:
        """The laws fitted to every series of the runs, without intervals of parameters if nobody looks at them.

        Raises UsageError where a law's quantities were not measured in any run, or no series has more than one size.
        """
        chosen = [self.law(law) for law in laws]
        check_options(chosen, self.options)
        fits = [fit for law in chosen for fit in fit_all(
            self.runs.records, [law], by=self.by_of(law), x=self.x, y=self.y, registry=self.runs.registry,
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

    def by_of(self, law: Law) -> tuple[str, ...] | None:
        """The columns whose values name what the law is fitted to: those asked for, or where sizes suffice, series."""
        return self.by or by_law(self.runs.records, law, self.runs.registry)

    def unasked(self) -> tuple[Asked, tuple[str, ...]]:
        """The law that a report of the runs takes, over its response; the power law where other axes are asked for."""
        free = self.x is self.y is None and self.by is None and not self.options
        found = together.unasked(self.runs.records, self.runs.registry) if free else None
        return (replace(self, y=found[1]), (found[0],)) if found else (self, ("power-law",))

    def notes(self, laws: Sequence[Law]) -> Iterator[Text]:
        """Lines of what these laws take together: series, or sizes that a curve knows nothing of."""
        records, registry = self.runs.records, self.runs.registry
        said = [together.mixed(records, {law.inputs for law in laws}, registry, self.by), *together.notes(
            records, laws, registry, named=self.by is not None)]
        yield from (Text(line, style="yellow") for line in said if line)

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
            numbers = [name for name in there if records.schema[name].is_numeric()]
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
    return Asked(runs=made, x=x, y=y, options=dict(options or {}),
                 by=(by,) if isinstance(by, str) else tuple(by) if by else None)


def listed(law: AnyLaw | Sequence[AnyLaw]) -> Sequence[AnyLaw]:
    """The laws, one or several. Raises UsageError for none."""
    if not isinstance(law, list | tuple):
        return [law]
    if not law:
        raise UsageError("no law in the list; name one, see `cvfp laws`")
    return law


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Overview(Printed):
    """Runs with the power law of every series, or the law of both sizes where both vary, as `cvfp show` prints them."""

    records: pl.DataFrame
    fits: tuple[Fit, ...]
    registry: Registry
    whole: bool = True
    """Whether every run is shown; else a row a series, and `MANY` of those."""
    more: str = "--all prints every run, --where EXPR keeps some"
    """How to see those that are not shown."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"records": plain(self.records), "fits": [fit.as_dict() for fit in self.fits]}

    def blocks(self, room: int = WIDE) -> Iterator[Block]:
        """The runs of every series, their exponents, and what is to be said of single runs."""
        if not self.whole:
            yield from self._summary(room)
            return
        records, fits = self.records, self.fits
        several = records["experiment"].n_unique() > 1
        gone: dict[str, None] = {}
        for group in series.series(records):
            made = _runs(group, several, self.registry)
            gone |= dict.fromkeys(made.gone(room))
            yield made
            yield Text()
        if gone:
            yield Text(f"{no_room(gone)}; --columns chooses, --csv has all", style="dim")
        if records["phase1_censored"].fill_null(False).any():
            yield Text("+ stopped at the iteration limit before converging: a lower bound", style="dim")
        for row in records.filter(pl.col("status") != "ok").to_dicts():
            name = series.label([row["variant"] or row["experiment"]], None)
            control = f", {mode}" if (mode := series.control_of(row)) else ""
            size = "" if row["num_samples"] is None else f" n={row['num_samples']:.0f}"
            yield Text(f"{name}{control}{size}: {row['status']}: {row['reason']}", style="red")
        if NUM_RUNS in records.columns:
            yield Text("means of runs, ± their standard deviation; laws are fitted to the runs themselves", style="dim")
        if self.surface:
            yield from self._of_surface(room)
            return
        if fits:
            yield _exponents(fits, several)
            yield from self._about_alpha(several)
        yield from meanings(marks_of(records) + "".join(fit.marks for fit in fits))
        for fit in fits:
            if fit.status != "converged" and fit.reason:
                yield Text(f"{_label(fit, several)}: {fit.status}: {fit.reason}", style="yellow")

    @property
    def surface(self) -> bool:
        """Whether the fits are of a law of several sizes."""
        return any(len(fit.inputs) > 1 for fit in self.fits)

    def _about_alpha(self, several: bool) -> Iterator[Text]:
        """What alpha is the exponent of, of which series none was found, and which sizes it mixes."""
        fits, first = self.fits, self.fits[0]
        usual = (*first.inputs, first.response) == ("train_tokens", "val_ppl")
        yield Text(ALPHA_NOTE if usual else f"alpha of {first.form}, least squares in logarithms, Student-t interval",
                   style="dim")
        yield from about(((NO_TREND, "yellow", _label(fit, several)) for fit in fits if fit.trendless), len(fits))
        if self.records.height > QUICK and (mixes := together.mixed(self.records, {first.inputs}, self.registry, None)):
            yield Text(mixes, style="yellow")

    def _of_surface(self, room: int) -> Iterator[Block]:
        """The law of several sizes, and what it takes together."""
        law = self.registry.get(Law, self.fits[0].law)
        yield from (Text(line, style="yellow") for line in
                    together.notes(self.records, [law], self.registry, named=False))
        yield from of_law(law.name, self.fits[:MANY], room)
        yield from meanings(marks_of(self.records) + "".join(fit.marks for fit in self.fits))

    def _summary(self, room: int) -> Iterator[Block]:
        """A row a series, and what is to be said of them together."""
        records, fits = self.records, () if self.surface else self.fits
        if fits:
            several = records["experiment"].n_unique() > 1
            yield _exponents(fits[:MANY], several, ranges=True)
            yield from self._about_alpha(several)
        else:
            from cvfp_core.results import ingested

            yield from ingested.runs(pl.concat(series.series(records)[:MANY]), room)
        yield from meanings(marks_of(records) + "".join(fit.marks for fit in fits))
        ended = records.filter(pl.col("status") != "ok")["status"].value_counts().sort("status").rows()
        yield from (Text(f"{count:,} {status}", style="red") for status, count in ended)
        yield from about(((f"{fit.status}: {fit.reason}", "yellow", fit.series) for fit in fits
                          if fit.status != "converged" and fit.reason), len(fits))
        if self.surface:
            yield from self._of_surface(room)
        count = len(fits) or len(series.series(records))
        if count > MANY:
            yield Text(f"and {count - MANY:,} more series", style="dim")
        yield Text(f"{records.height:,} runs in {count:,} series; {self.more}", style="dim")


def overview(records: pl.DataFrame, *, fitted: pl.DataFrame | None = None, x: str | None = None, y: str | None = None,
             by: Sequence[str] | None = None, registry: Registry | None = None, whole: bool = True) -> Overview:
    """The records with the law of both sizes where a report takes it, else with the power law of every series.

    fitted: the records the law is fitted to, if others. whole: see `Overview`.
    """
    registry, fitted = registry or installed(), records if fitted is None else fitted
    fits = _of_both(fitted, registry) if x is y is None and by is None else []
    return Overview(records=records, registry=registry, whole=whole,
                    fits=tuple(fits or power_laws(fitted, x=x, y=y, by=by, registry=registry)))


def _of_both(records: pl.DataFrame, registry: Registry) -> list[Fit]:
    """The fits of the law of both sizes; none where a report takes a curve."""
    found = together.unasked(records, registry) if records.height <= QUICK else None
    if found is None:
        return []
    law, response = registry.get(Law, found[0]), found[1]
    return fit_all(records, [law], y=response, by=by_law(records, law, registry), registry=registry)


def power_laws(records: pl.DataFrame, *, x: str | None = None, y: str | None = None, by: Sequence[str] | None = None,
               registry: Registry) -> list[Fit]:
    """The power law of every series; none where no record has x and y, or no plugin has the law."""
    measured = {name for name in records.columns if x or y or by or records[name].is_not_null().any()}
    if "power-law" not in registry.items(Law) or not {x or "train_tokens", y or "val_ppl"} <= measured:
        return []
    return fit_all(records, ["power-law"], x=x, y=y, by=by, registry=registry)


def _runs(group: pl.DataFrame, several: bool, registry: Registry) -> Lineless:
    """The runs of a series: as the protocol's where they are of it, else all columns there are."""
    first = group.row(0, named=True)
    name = ": ".join(str(each) for each in (first["experiment"] if several or first["variant"] is None else None,
                                            first["variant"]) if each is not None)
    what = _what(first, group)
    title = Text.assemble((name, "bold"), (f"  {what}" if what else "", "italic"))
    if group["num_samples"].null_count() < group.height:
        return _of_protocol(group, title)
    names = measured(group, registry)
    columns = cells(group, names, registry)
    types = group.schema
    made = table([(name, "l" if types[name] == pl.String else "r") for name in names], title=title, quiet=True)
    for row in zip(*columns.values(), strict=True):
        made.add_row(*map(Text, row))
    return made


def measured(records: pl.DataFrame, registry: Registry) -> list[str]:
    """Columns that any run has and that say something of it: declared ones first, in their order.

    Without what follows from another column, or is said by the variant's name.
    """
    derived = set(records["derived"]) if "derived" in records.columns else {None}
    known = {name.partition(" = ")[0] for text in derived if text and len(derived) == 1 for name in text.split("; ")}
    known -= {"train_tokens"}  # which laws are of
    known |= {"content", *(_IN_VARIANT if records["variant"].is_not_null().all() else ())}
    names = [name for name in records.columns if records[name].null_count() < records.height and name not in known
             and registry.quantity(name).kind not in ("identity", "provenance")]
    types = records.schema
    first: dict[tuple[bool, tuple[Any, ...]], str] = {}
    for name in names:
        first.setdefault((types[name] == pl.Boolean, tuple(map(_comparable, records[name]))), name)
    return sorted(first.values(), key=lambda name: (name not in SCHEMA, types[name] == pl.String))


def _comparable(value: Any) -> Any:
    return value if isinstance(value, int | float | str | None) else repr(value)


def cells(group: pl.DataFrame, names: Sequence[str], registry: Registry) -> dict[str, list[str]]:
    """The cells of the columns, by name; perplexities bear their marks."""
    rows = group.to_dicts()
    above = series.above_unigram(group)
    return {each.name: [text + ("†" if _cut_short(row, each) else "")
                        + ("‡" if each.name == "val_ppl" and worse else "")
                        for text, row, worse in zip(_numbers(each, group[each.name]), rows, above, strict=True)]
            for each in map(registry.quantity, names)}


def _numbers(quantity: Quantity, values: Iterable[Any]) -> list[str]:
    given = list(values)
    return column(given, [_number(quantity, value) for value in given])


def marks_of(records: pl.DataFrame) -> str:
    """The marks of `MARKS` that some of the runs bear."""
    borne = {"†": records["phase2_censored"].fill_null(False).any(), "‡": series.above_unigram(records).any(),
             "§": series.control(records).is_not_null().any()}
    return "".join(mark for mark, any_ in borne.items() if any_)


def _cut_short(row: Mapping[str, Any], quantity: Quantity) -> bool:
    return quantity.censored_by == "phase2_censored" and bool(row[quantity.censored_by])


def _number(quantity: Quantity, value: Any) -> str:
    if value is None or isinstance(value, bool) or not isinstance(value, int | float):
        return "-" if value is None else str(value)
    if quantity.percent:
        return f"{value:.1%}"
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e9 else short(value)


def _what(record: Mapping[str, Any], group: pl.DataFrame) -> str:
    """What is to be known of the Phase 1 of a series, given one of its runs; empty where it is the published one."""
    if record["phases"] == 1:
        return "one phase: no contexts"
    control = series.control_of(record)
    objective = None if control else series.objective_of(group.to_dicts())
    return f"control: {control}" if control else f"objective: {objective}" if objective else ""


def _of_protocol(group: pl.DataFrame, title: Text) -> Lineless:
    rows = group.to_dicts()
    seeds = len({row["seed"] for row in rows}) > 1
    contexts = rows[0]["phases"] != 1 and series.control_of(rows[0]) != "zero-context"
    means = NUM_RUNS in group.columns
    headings = ["samples", "tokens", *(["seed"] if seeds else []), *(["runs"] if means else []),
                *(["P1 iter", "train ER", "val ER"] if contexts else []), "train PPL", "val PPL", "acc", "time"]
    made = table([(heading, "r") for heading in headings], title=title, quiet=True,
                 spare=("train ER", "time", "acc", "train PPL", "P1 iter"))
    marks = [("†" if row["phase2_censored"] else "") + ("‡" if worse else "")
             for row, worse in zip(rows, series.above_unigram(group), strict=True)]
    room = max(map(len, marks))

    def spread(row: Mapping[str, Any]) -> str:
        return f" ± {row['val_ppl_sd']:,.1f}" if row.get("val_ppl_sd") is not None else ""

    for row, mark in zip(rows, marks, strict=True):
        made.add_row(
            _form(row["num_samples"], ",.0f"),
            _form(row["train_tokens"], ",.0f"),
            *([_form(row["seed"], ".0f")] if seeds else []),
            *([_form(row[NUM_RUNS], ".0f")] if means else []),
            *([_form(row["phase1_iterations"], ".0f") + ("+" if row["phase1_censored"] else " "),
               _form(row["train_er"], ".1%"), _form(row["val_er"], ".1%")] if contexts else []),
            _form(row["train_ppl"], ",.1f"),
            _form(row["val_ppl"], ",.1f") + spread(row) + mark.ljust(room) if row["status"] == "ok" else row["status"],
            _form(row["val_acc"], ".1%"),
            _seconds(row["seconds_phase1"], row["seconds_phase2"]),
        )
    return made


def _exponents(fits: Sequence[Fit], several: bool, *, ranges: bool = False) -> Lineless:
    """A row a fit. ranges: with those of the size and of the metric."""
    first = fits[0]
    names = (first.inputs[0], first.response) if ranges else ()
    made = table([("series", "l"), ("n", "r"), *((name, "r") for name in names), ("alpha", "r"),
                  ("95 % interval", "l"), ("A", "r"), ("R²", "r")], spare=("A", *names, "R²"))
    for fit in fits:
        alpha = next((each for each in fit.estimates if each.name == "alpha"), None)
        interval = "-"
        if alpha is not None and alpha.low is not None and alpha.high is not None:
            interval = f"[{alpha.low:.3f}, {alpha.high:.3f}]"
        points = fit.points
        held = [] if points is None or not ranges else [next(iter(points.inputs.values())), points.response]
        made.add_row(Text(_label(fit, several)), f"{fit.n}{fit.marks}", *(_range(each) for each in held),
                     _form(fit.value("alpha"), ".3f"), interval, short(fit.value("A")), _form(fit.r_squared, ".3f"))
    return made


def _range(values: Array) -> str:
    """The least and the largest of the values."""
    ends = list(dict.fromkeys(short(float(end)) for end in (values.min(), values.max()))) if len(values) else ["-"]
    return "–".join(ends)


def _label(fit: Fit, several: bool) -> str:
    return fit.series if several else fit.series.partition(":")[2] or fit.series


def _form(value: Any, form: str) -> str:
    return "-" if value is None else format(value, form)


def _seconds(*parts: float | None) -> str:
    measured = [part for part in parts if part is not None]
    return elapsed(sum(measured)) if measured else "-"
