"""Found runs -> loose rows -> the gate, in batches: what was mapped, derived and refused on the way."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, compress
from typing import Any

import polars as pl

from cvfp_core.errors import UsageError, some
from cvfp_core.ingesting import mapping as columns_mapping
from cvfp_core.ingesting import tags
from cvfp_core.ingesting.aliases import adopt, names_of
from cvfp_core.ingesting.content import add_identity, once, safe, told_apart
from cvfp_core.ingesting.lines import shown
from cvfp_core.registry import Registry
from cvfp_core.registry.kinds import IngestOptions, VariantFamily
from cvfp_core.schema import options
from cvfp_core.schema.cells import Variant
from cvfp_core.schema.found import Curve, FoundRun
from cvfp_core.schema.quantities import Quantity, of
from cvfp_core.schema.records import PHASES, SCHEMA, conform, derive, with_schema

_BATCH = 10_000
_SIZES = ("num_layers", "context_dim", "num_input_tokens")
"""What a two-phase variant is named by."""
_DERIVED_FROM = {"variant", "settings", *_SIZES}
_OWN = {"_run": pl.UInt64, "_order": pl.UInt64, "_exact": pl.Boolean, "_curves": pl.Boolean, "_fingerprint": pl.String,
        "_given_id": pl.String, "_name": pl.Categorical, "_line": pl.Int64, "_joins": pl.Boolean}
_BLANKS, _CONTROLS = r"[\t\n\r\u2028\u2029]+", r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
"""Characters that would break a line or command a terminal wherever a text is printed."""
_SHOWN_COLUMNS = 12
_RUNS_IN_A_SERIES = 3
"""On average at least, for a column of texts to tell series apart."""
_SEVERAL = 2 * _RUNS_IN_A_SERIES
"""Runs of a table that may be of several series."""


@dataclass(slots=True, kw_only=True)
class Refusal:
    """Rows that are no record for one reason: the first of them, what it says, how many there are."""

    line: int
    text: str
    rows: int = 1

    def __str__(self) -> str:
        more = f"{self.rows - 1:,} more row{'s' if self.rows > 2 else ''}"
        return self.text if self.rows == 1 else f"{self.text} (and {more})"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """Rows of one file that may go through the gate."""

    batch: Batch
    rows: list[dict[str, Any]]
    own: list[tuple[Any, ...]]
    """What is known of each beside its columns, as `_OWN` lists it."""
    given: set[str]
    """The columns."""

    def form(self) -> tuple[Any, ...]:
        """What rows of several files must have in common to be taken for rows of one."""
        batch = self.batch
        columns = {name: frozenset(type(row.get(name)) for row in self.rows) for name in chain.from_iterable(self.rows)}
        return (batch.aliases, frozenset(batch.known), frozenset(self.given), *columns.items())


_SOME = Curve(phase=2, metric="", steps=(), values=())
"""In place of the curves of a run that waits: they are kept elsewhere."""


class Rows:
    """All rows that passed the gate, file by file; a file that failed leaves none."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.declared = registry.items(Quantity)
        self.names = names_of(self.declared)
        self.seen: set[str] = set()
        """Columns as the inputs call them."""
        self._frames: list[pl.DataFrame] = []
        self._waiting: dict[tuple[Any, ...], list[_Ready]] = {}
        """The rows of small files, by their form: a call of polars costs more than a row."""
        self._next = 0
        self._variants: dict[str, Variant | None] = {}
        self._settings: dict[tuple[str, str], str] = {}

    def batch(self, name: str, source: str, asked: IngestOptions, *, aliases: bool = False) -> Batch:
        """Where the rows of one file go; `keep` takes them over. aliases: whether its columns may go by other names."""
        return Batch(self, name, source, asked, aliases=aliases)

    def keep(self, batch: Batch) -> None:
        """Takes over the rows of a file; what is refused of a few is known when all are taken."""
        if batch.few is not None:
            waiting = self._waiting.setdefault(batch.few.form(), [])
            waiting.append(batch.few)
            if len(waiting) == _BATCH:
                self._frames += _through(self, waiting)
                waiting.clear()
        self._frames += batch.in_series()

    def number(self) -> int:
        self._next += 1
        return self._next - 1

    def take(self) -> tuple[pl.DataFrame, tuple[str, ...]]:
        """The rows in the record schema, with the columns inputs have beside it, and what is said of equal figures.

        They are handed over, not kept.
        """
        for waiting in self._waiting.values():
            self._frames += _through(self, waiting)
        self._waiting.clear()
        frames, self._frames = self._frames, []
        if not frames:
            own = {name: dtype() for name, dtype in _OWN.items()} | {"_times": pl.Int64()}
            return pl.DataFrame(schema=SCHEMA | own | {"content": pl.String()}), ()
        records = add_identity(with_schema(pl.concat(frames, how="diagonal_relaxed").sort("_order")))
        return told_apart(derive(records, self.declared))

    def variant(self, name: str) -> Variant | None:
        """The variant of that name, if a family knows it."""
        if name not in self._variants:
            try:
                self._variants[name] = self.registry.variant(name)
            except UsageError:
                self._variants[name] = None
        return self._variants[name]

    def with_model(self, settings: str, family: str) -> str:
        """Settings with every option of the family, as a run of the protocol has them."""
        if (settings, family) not in self._settings:
            try:
                made = json.loads(settings)
            except ValueError:
                return settings
            known = self.registry.items(VariantFamily).get(family)
            if known is not None and isinstance(made, dict):
                made["model"] = options.resolve("model", known.options, made.get("model", {}))
            self._settings[settings, family] = json.dumps(made, sort_keys=True)
        return self._settings[settings, family]


class Batch:
    """The rows of one file on their way through the gate."""

    def __init__(self, rows: Rows, name: str, source: str, asked: IngestOptions, *, aliases: bool) -> None:
        self.rows, self.name, self.source, self.asked, self.aliases = rows, name, source, asked, aliases
        self.frames: list[pl.DataFrame] = []
        self.refused: dict[str, Refusal] = {}
        self.taken: dict[str, str] = {}
        """Columns taken for quantities they are not called by: quantity -> column."""
        self.remarks: list[str] = []
        """What else is to be known of how its columns were read."""
        self.columns: dict[str, None] = {}
        """All it has, in order."""
        self.count = 0
        self.known: set[str] = set()
        """Columns whose meaning the ingester knows already."""
        self.few: _Ready | None = None
        """All its rows, if they are few: they go through the gate together with those of other files."""
        self._pending: list[tuple[int, FoundRun]] = []

    def add(self, found: FoundRun) -> int:
        """Takes a run; returns its number, which its curves go by."""
        number = self.rows.number()
        if found.taken:
            self.taken |= found.taken
            self.known.update(found.taken.values())
        self._pending.append((number, replace(found, curves=found.curves[:1] and (_SOME,))))
        if len(self._pending) >= _BATCH:
            self.frames += _through(self.rows, [self._ready()])
        return number

    def close(self) -> None:
        """Sends what waits through the gate; a few rows wait for those of other files."""
        if self._pending:
            ready = self._ready()
            if self.frames or len(ready.rows) >= _SEVERAL:
                self.frames += _through(self.rows, [ready])
            else:
                self.few = ready

    def _ready(self) -> _Ready:
        """What waits, with what follows from it; rows that are no runs are refused."""
        pending, self._pending = self._pending, []
        rows = _well_named([dict(found.columns) for _, found in pending])
        self.columns |= dict.fromkeys(chain.from_iterable(rows))
        self.rows.seen.update(self.columns)
        columns_mapping.apply(self.asked.mapping, rows)
        experiment = self.name.rpartition("/")[2].partition(".")[0]
        derivable = not _DERIVED_FROM.isdisjoint(chain(self.columns, self.asked.mapping))
        for row in rows:
            if derivable:
                self._derive(row)
            row.setdefault("experiment", experiment)
            row["source"] = row.get("source") or self.source
        ids = [row.pop("run_id", None) for row in rows]
        own = [(number, number, found.exact, bool(found.curves), found.fingerprint, safe(str(given)) if given else None,
                self.name, found.line, found.joins) for (number, found), given in zip(pending, ids, strict=True)]
        good = self._are_runs(rows, ids)
        given = {"run_id", *chain.from_iterable(rows)}
        if not all(good):
            for index in (index for index, is_run in enumerate(good) if not is_run):
                self.refuse(pending[index][1].line, text := self._no_run(rows[index]), text)
            rows, own = list(compress(rows, good)), list(compress(own, good))
        return _Ready(batch=self, rows=rows, own=own, given=given)

    def in_series(self) -> list[pl.DataFrame]:
        """The frames; in a table without variants, columns of few texts tell its series apart."""
        if not self.aliases or self.count < _SEVERAL or any(
                "variant" in each.columns and each["variant"].is_not_null().any() for each in self.frames):
            return self.frames
        texts = [name for name, dtype in self.frames[0].schema.items() if dtype == pl.String and name not in SCHEMA
                 and not name.startswith("_") and name != "content"
                 and all(each.schema.get(name) == pl.String for each in self.frames)]
        values = pl.concat([each.select(texts) for each in self.frames])
        chosen: list[str] = []
        for name in texts:
            several = values[name].n_unique() > 1
            if several and values.select(*chosen, name).n_unique() * _RUNS_IN_A_SERIES <= values.height:
                chosen.append(name)
        if not chosen:
            return self.frames
        self.remarks.append(f"series are told apart by {', '.join(chosen)} (--by overrides)")
        return [each.with_columns(variant=pl.concat_str(chosen, separator=" ", ignore_nulls=True))
                for each in self.frames]

    def refuse(self, line: int, reason: str, text: str) -> None:
        if reason in self.refused:
            self.refused[reason].rows += 1
        else:
            self.refused[reason] = Refusal(line=line, text=text)

    def _are_runs(self, rows: list[dict[str, Any]], ids: list[Any]) -> list[bool]:
        """Which rows are runs: a run has a variant or a run id, or is a row of a table with a size and a metric.

        One that has phases or an input window is of a variant, which three sizes name. Of a single row one of the
        numbers must be a metric by its name; else it may be a configuration.
        """
        names = dict.fromkeys(chain.from_iterable(rows))
        numbers = [name for name in names if not name.startswith("_") and of(name, self.rows.declared).kind in
                   ("size", "metric") and any(type(row.get(name)) in (int, float) for row in rows)]
        alone = len(rows) == 1 and not self.count
        table = len(numbers) > 1 and (not alone or any(map(self.rows.names.is_metric, numbers)))
        others = [name for name in ("num_input_tokens", *PHASES) if name in names]
        return [bool(row.get("variant") or given) or (
            table and all(row.get(name) is None for name in others)
            and any(row.get(name) is not None for name in numbers)) for row, given in zip(rows, ids, strict=True)]

    def _no_run(self, row: dict[str, Any]) -> str:
        """Why a row is no run, and what to do."""
        known = [f"{name} = {row[name]}" for name in _SIZES if row.get(name)]
        if known or any(row.get(name) is not None for name in PHASES):
            return (f"'variant' is missing ({'only ' + ', '.join(known) if known else 'no sizes either'} known); "
                    "give what lacks with --map context_dim=768 or --map \"variant='name'\"")
        names = [name for name in self.columns if name != "experiment"]  # every row has one
        there = some([repr(name) for name in names], _SHOWN_COLUMNS) or "none"
        return (f"is no run, which has a size and a metric; the columns are {there}; say which is which, as in "
                "--map params=COLUMN --map val_loss=COLUMN")

    def _derive(self, row: dict[str, Any]) -> None:
        """Fills what follows from the rest: the variant's name from its sizes, its sizes from its name."""
        sizes = [row.get(name) for name in _SIZES]
        if not row.get("variant") and all(isinstance(size, int) for size in sizes):
            row["variant"] = "{}L_{}d_{}tok".format(*sizes)
        known = self.rows.variant(str(row["variant"])) if row.get("variant") else None
        if known is not None:
            for name, value in (("family", known.family), ("num_layers", known.num_layers),
                                ("context_dim", known.context_dim), ("num_input_tokens", known.num_input_tokens)):
                if row.get(name) is None:
                    row[name] = value
        settings = row.get("settings")
        if isinstance(settings, Mapping):
            row["settings"] = json.dumps(settings, sort_keys=True)
        elif isinstance(settings, str) and str(row.get("settings_source", "")).startswith("preset"):
            row["settings"] = self.rows.with_model(settings, str(row.get("family")))


def _through(rows: Rows, ready: Sequence[_Ready]) -> list[pl.DataFrame]:
    """The rows that pass the gate, which have one form; every file is told what of it was refused and what was read."""
    runs = [row for each in ready for row in each.rows]
    if not runs:
        return []
    whose = {line[0]: each.batch for each in ready for line in each.own}
    own = pl.DataFrame([line for each in ready for line in each.own], schema=_OWN, orient="row").with_columns(
        run_id=pl.lit("-"), _times=pl.lit(1, pl.Int64))

    def refuse(records: pl.DataFrame, row: int, reason: str, text: str) -> None:
        whose[records["_run"][row]].refuse(records["_line"][row], reason, text)

    loose, unheld = _frame(runs)
    for row, (column, value) in unheld.items():
        refuse(own, row, f"{column} held", f"'{column}' is no value that can be kept, found {ascii(value)[:60]}")
    if unheld:
        numbers = {own["_run"][row] for row in unheld}
        return _through(rows, [_without(each, numbers) for each in ready])
    made = conform(loose.hstack(own), rows.declared, derived=False, whole=False)
    for each in made.rejected:
        refuse(own, each.row, f"{each.column} {each.reason}", _refusal(
            each.column, each.reason, runs[each.row].get(each.column)))
    records, batch, given = made.records, ready[0].batch, ready[0].given
    if batch.aliases:
        adopted = adopt(records, given, batch.asked.mapping, rows.names, batch.known | tags.no_cross_entropy(given))
        for each, column in adopted.rejected:
            refuse(records, each.row, f"{column} {each.reason}", _refusal(
                column, f"(read as {each.column}) {each.reason}", each.value))
        records = adopted.records
        for batch in dict.fromkeys(each.batch for each in ready):
            batch.taken |= adopted.taken
            batch.remarks += [text for text in adopted.left if text not in batch.remarks]
    for number in records["_run"]:
        whose[number].count += 1
    return [once(records) if len(ready) == 1 else records]


def _without(ready: _Ready, numbers: set[int]) -> _Ready:
    """The rows without those of the numbers."""
    held = [line[0] not in numbers for line in ready.own]
    return replace(ready, rows=list(compress(ready.rows, held)), own=list(compress(ready.own, held)))


def _well_named(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with column names of one printable line, as quantities have."""
    odd = {name: shown(name)[1:-1].strip() or "column" for name in dict.fromkeys(chain.from_iterable(rows))
           if not name.isprintable() or not name.strip()}
    return [{odd.get(name, name): value for name, value in row.items()} for row in rows] if odd else rows


def _frame(rows: list[dict[str, Any]]) -> tuple[pl.DataFrame, dict[int, tuple[str, Any]]]:
    """The rows as a loose frame, and by row what no frame can hold: half a character, an integer of 400 digits.

    A column of the schema that holds mixed types stays as it is, others become text.
    """
    names = dict.fromkeys(chain.from_iterable(rows))
    series = []
    unheld: dict[int, tuple[str, Any]] = {}
    for name in names:
        values = [row.get(name) for row in rows]
        try:
            made = pl.Series(name, values, strict=True, dtype=_number_type(values) if name not in SCHEMA else None)
            if made.dtype.is_nested() or made.dtype in (pl.Object, pl.Binary) or (
                    made.dtype.is_numeric() and bool in set(map(type, values))):
                raise TypeError(name)
        except (TypeError, OverflowError, ValueError, pl.exceptions.PolarsError):
            unheld |= {index: (name, value) for index, value in enumerate(values) if not _can_be_held(value)}
            values = [None if index in unheld else value for index, value in enumerate(values)]
            if name in SCHEMA:
                made = pl.Series(name, values, dtype=pl.Object)
            elif (number := _number_type(values)) is not None:
                made = pl.Series(name, values, dtype=number)
            else:
                made = pl.Series(name, [None if value is None else _text(value) for value in values], dtype=pl.String)
        series.append(made if made.dtype != pl.String else made.str.replace_all(_BLANKS, " ").str.replace_all(
            _CONTROLS, "\N{REPLACEMENT CHARACTER}"))
    return pl.DataFrame(series), unheld


def _can_be_held(value: Any) -> bool:
    """Whether a value can be a number or a text of a frame."""
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < 10**308
    return value is None or _text(value).encode("utf-8", "ignore").decode() == _text(value)


def _number_type(values: list[Any]) -> pl.DataType | None:
    """Float64 for a column of numbers that are not all of one type or 64 bits; None where polars knows the type."""
    types = set(map(type, values)) - {type(None)}
    if types == {int}:
        return pl.Float64() if any(value is not None and abs(value) >= 2**63 for value in values) else None
    return pl.Float64() if types == {int, float} else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _refusal(column: str, reason: str, value: Any) -> str:
    return f"'{column}' {reason}, found {shown(value) if isinstance(value, str) else repr(value)[:60]}"
