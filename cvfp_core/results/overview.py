"""What runs look like: a table a series with its exponent, or a row a series where they are many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from rich.text import Text

from cvfp_core.fitting import Fit, fit_all
from cvfp_core.registry import Registry, installed
from cvfp_core.registry.kinds import Law
from cvfp_core.reporting.sweep import parted
from cvfp_core.results import together
from cvfp_core.results.fitted import NO_TREND, of_law
from cvfp_core.results.numbers import column, elapsed, meanings, short
from cvfp_core.results.printed import WIDE, Block, Lineless, Printed, about, no_room, table
from cvfp_core.schema import series
from cvfp_core.schema.fits import Array
from cvfp_core.schema.quantities import Quantity
from cvfp_core.schema.records import SCHEMA, plain

ALPHA_NOTE = "alpha of PPL = A * tokens^alpha, least squares in logarithms, Student-t interval"

MANY = 50
"""Runs up to which each is shown unasked."""
QUICK = 1000
"""Runs up to which the law of both sizes, which takes seconds of more, is fitted unasked."""
NUM_RUNS = "num_runs"
"""Column of how many runs a row is the mean of."""
_IN_VARIANT = ("num_layers", "context_dim", "num_input_tokens")


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
        yield from together.together(self.records, [law], self.registry, None).lines
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
    return fit_all(records, [law], y=response, by=parted(records, law, registry).by, registry=registry)


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
    return column(given, [number(quantity, value) for value in given])


def marks_of(records: pl.DataFrame) -> str:
    """The marks of `MARKS` that some of the runs bear."""
    borne = {"†": records["phase2_censored"].fill_null(False).any(), "‡": series.above_unigram(records).any(),
             "§": series.control(records).is_not_null().any()}
    return "".join(mark for mark, any_ in borne.items() if any_)


def _cut_short(row: Mapping[str, Any], quantity: Quantity) -> bool:
    return quantity.censored_by == "phase2_censored" and bool(row[quantity.censored_by])


def number(quantity: Quantity, value: Any) -> str:
    """A value as tables show it."""
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
