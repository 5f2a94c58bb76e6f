"""Found runs -> loose rows -> the gate, in batches: what was mapped, derived and refused on the way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import polars as pl

from cvfp_core.errors import UsageError
from cvfp_core.ingesting import aliases, tags
from cvfp_core.ingesting import mapping as columns_mapping
from cvfp_core.ingesting.content import add_identity, safe, told_apart
from cvfp_core.ingesting.lines import shown
from cvfp_core.registry import Registry, options
from cvfp_core.registry.kinds import IngestOptions, VariantFamily
from cvfp_core.schema.cells import Variant
from cvfp_core.schema.found import FoundRun
from cvfp_core.schema.quantities import Quantity, of
from cvfp_core.schema.records import PHASES, SCHEMA, conform, derive

_BATCH = 2000
_SIZES = ("num_layers", "context_dim", "num_input_tokens")
"""What a two-phase variant is named by."""
_OWN = {"_run": pl.UInt64, "_order": pl.UInt64, "_exact": pl.Boolean, "_curves": pl.Boolean, "_fingerprint": pl.String,
        "_given_id": pl.String, "_name": pl.Categorical, "_line": pl.Int64}


class Rows:
    """All rows that passed the gate, file by file; a file that failed leaves none."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.declared = registry.items(Quantity)
        self.seen: set[str] = set()
        """Columns as the inputs call them."""
        self._frames: list[pl.DataFrame] = []
        self._next = 0
        self._variants: dict[str, Variant | None] = {}
        self._settings: dict[tuple[str, str], str] = {}

    def batch(self, name: str, source: str, asked: IngestOptions, *, aliases: bool = False) -> Batch:
        """Where the rows of one file go; `keep` takes them over. aliases: whether its columns may go by other names."""
        return Batch(self, name, source, asked, aliases=aliases)

    def keep(self, batch: Batch) -> None:
        self._frames += batch.frames

    def number(self) -> int:
        self._next += 1
        return self._next - 1

    def take(self) -> pl.DataFrame:
        """The rows in the record schema, with the columns inputs have beside it; they are handed over, not kept."""
        frames, self._frames = self._frames, []
        if not frames:
            own = {name: dtype() for name, dtype in _OWN.items()}
            return pl.DataFrame(schema=SCHEMA | own | {"content": pl.String()})
        return told_apart(pl.concat(frames, how="diagonal_relaxed"))

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
        self.refused: list[tuple[int, str]] = []
        self.taken: dict[str, str] = {}
        """Columns taken for quantities they are not called by: quantity -> column."""
        self.count = 0
        self._pending: list[tuple[int, FoundRun]] = []

    def add(self, found: FoundRun) -> int:
        """Takes a run; returns its number, which its curves go by."""
        number = self.rows.number()
        self.rows.seen.update(found.columns)
        self.taken |= found.taken
        self._pending.append((number, found))
        if len(self._pending) >= _BATCH:
            self.close()
        return number

    def close(self) -> None:
        """Sends what waits through the gate."""
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        rows = [dict(found.columns) for _, found in pending]
        columns_mapping.apply(self.asked.mapping, rows)
        for row, (number, found) in zip(rows, pending, strict=True):
            self._derive(row)
            row.setdefault("experiment", self.name.rpartition("/")[2].partition(".")[0])
            given = row.pop("run_id", None)
            row |= {
                "source": row.get("source") or self.source, "run_id": "-",
                "_given_id": safe(str(given)) if given else None, "_run": number, "_order": number,
                "_exact": found.exact, "_curves": bool(found.curves), "_fingerprint": found.fingerprint,
                "_name": self.name, "_line": found.line,
            }
        good = self._are_runs(rows)
        runs = [row for row, is_run in zip(rows, good, strict=True) if is_run]
        self.refused += [(row["_line"], _no_run(row)) for row, is_run in zip(rows, good, strict=True) if not is_run]
        if runs:
            self._through(runs, {name for row in rows for name in row})
        self.refused.sort(key=lambda each: each[0])

    def _through(self, runs: list[dict[str, Any]], given: set[str]) -> None:
        """Sends the runs through the gate. given: the columns there are."""
        made = conform(_frame(runs), self.rows.declared, derived=False)
        for each in made.rejected:
            row = runs[each.row]
            self.refused.append((row["_line"], _refusal(each.column, each.reason, row)))
        records = add_identity(made.records)
        if self.aliases:
            records, taken = aliases.adopt(records, given, self.asked.mapping, self.rows.declared,
                                           left={*self.taken.values(), *tags.no_cross_entropy(given)})
            self.taken |= taken
        self.frames.append(derive(records, self.rows.declared))
        self.count += records.height

    def _are_runs(self, rows: list[dict[str, Any]]) -> list[bool]:
        """Which rows are runs: a run has a variant or a run id, or is a row of a table with a size and a metric.

        One that has phases or an input window is of a variant, which three sizes name. Of a single row one of the
        numbers must be a metric by its name; else it may be a configuration.
        """
        declared = self.rows.declared
        numbers = {name for row in rows for name, value in row.items() if isinstance(value, int | float)
                   and not isinstance(value, bool) and not name.startswith("_")
                   and of(name, declared).kind in ("size", "metric")}
        alone = len(rows) == 1 and not self.count
        table = len(numbers) > 1 and (not alone or any(aliases.is_metric(name, declared) for name in numbers))
        return [bool(row.get("variant") or row["_given_id"]) or (
            table and not any(row.get(name) is not None for name in ("num_input_tokens", *PHASES))
            and any(row.get(name) is not None for name in numbers)) for row in rows]

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


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """The rows as a loose frame: a column of the schema that holds mixed types stays as it is, others become text."""
    names = dict.fromkeys(name for row in rows for name in row)
    series = []
    for name in names:
        values = [row.get(name) for row in rows]
        if name in _OWN:
            series.append(pl.Series(name, values, dtype=_OWN[name]))
            continue
        try:
            made = pl.Series(name, values, strict=True, dtype=_number_type(values) if name not in SCHEMA else None)
            if made.dtype.is_nested() or made.dtype in (pl.Object, pl.Binary):
                raise TypeError(name)
        except (TypeError, OverflowError, ValueError, pl.exceptions.PolarsError):
            if name in SCHEMA:
                made = pl.Series(name, values, dtype=pl.Object)
            else:
                made = pl.Series(name, [None if value is None else _text(value) for value in values], dtype=pl.String)
        series.append(made)
    return pl.DataFrame(series)


def _number_type(values: list[Any]) -> pl.DataType | None:
    """The type of a column of numbers of several types; None where the values are of one type, or no numbers."""
    types = {type(value) for value in values} - {type(None)}
    return pl.Float64() if types == {int, float} else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _no_run(row: dict[str, Any]) -> str:
    known = [f"{name} = {row[name]}" for name in _SIZES if row.get(name)]
    return (f"'variant' is missing ({'only ' + ', '.join(known) if known else 'no sizes either'} known); "
            "give what lacks with --map context_dim=768 or --map \"variant='name'\"")


def _refusal(column: str, reason: str, row: dict[str, Any]) -> str:
    value = row.get(column)
    return f"'{column}' {reason}, found {shown(value) if isinstance(value, str) else repr(value)[:60]}"
