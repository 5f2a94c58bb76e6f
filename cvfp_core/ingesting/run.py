"""Runs made elsewhere -> records: one ingester a path, every line accounted for, one gate, each content once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from cvfp_core.errors import CvfpError, IngestError
from cvfp_core.ingesting import beside, joining, published, sources, steps
from cvfp_core.ingesting import mapping as columns_mapping
from cvfp_core.ingesting.content import Duplicate, merge, unique_ids
from cvfp_core.ingesting.delimited import reader_of
from cvfp_core.ingesting.doubts import doubts, expression
from cvfp_core.ingesting.rows import Batch, Rows
from cvfp_core.ingesting.spool import Spool
from cvfp_core.registry import Registry, culprits
from cvfp_core.registry.guard import tidy
from cvfp_core.registry.kinds import Ingester, IngestOptions, Preset, Quantity
from cvfp_core.schema.found import Found, FoundRun, NotUnderstood, PublishedAlpha, Remark, Take, Tally
from cvfp_core.schema.records import CURVE_SCHEMA, SCHEMA

_ORDER = ("experiment", "num_input_tokens", "num_layers", "context_dim", "variant", "train_tokens", "seed")
"""As a store returns records."""
_SHOWN = 20
"""Lines of a file kept to show; the others are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """What became of one file or folder: every line is counted in one of the four numbers."""

    name: str
    ingester: str | None
    runs: int = 0
    lines: Tally = field(default_factory=Tally)
    reported: int = 0
    """Lines or rows that were not understood, contradict others, or are no record."""
    messages: tuple[str, ...] = ()
    """The first of them, refusals first: file, line, what was expected, what stands there."""
    refusals: tuple[str, ...] = ()
    """Of the messages: those of rows that are no record, with the remedy."""
    refused: int = 0
    """Of the reported: rows that are no record (a value out of range, a column missing)."""
    alphas: int = 0
    """Scaling exponents it states."""
    problem: str | None = None
    """Why nothing of it was taken, if nothing was."""
    taken: Mapping[str, str] = field(default_factory=dict)
    """Quantities under other names: which column was taken for which; the column itself is kept."""
    remarks: tuple[str, ...] = ()
    """What else is to be known of how it was read."""
    columns: tuple[str, ...] = ()
    """What its runs have, in order, under the input's names."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was taken for what, in words."""
        read = ", ".join(f"{column} is read as {name}" for name, column in self.taken.items())
        return (*([read] if read else []), *self.remarks)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ingested:
    """Records of runs made elsewhere, in the record schema, each content once, with an account of the input."""

    records: pl.DataFrame
    published: pl.DataFrame
    """Scaling exponents that the input states: `published.SCHEMA`."""
    files: tuple[FileReport, ...]
    skipped: tuple[str, ...]
    """Files inside given folders that no ingester knows, with the reason."""
    duplicates: tuple[Duplicate, ...]
    faults: tuple[str, ...]
    """Ingesters that failed to look at what they were asked about: what they would have read is missing."""
    alike: tuple[str, ...]
    """Runs with the figures of another that are kept, as their settings differ."""
    doubts: tuple[str, ...]
    """Quantities whose values are hardly in their unit."""
    _spool: Spool
    _runs: pl.DataFrame

    @property
    def failed(self) -> tuple[FileReport, ...]:
        """The files of which something that looks like data was not taken."""
        return tuple(file for file in self.files if file.problem or file.refused)

    @property
    def messages(self) -> tuple[str, ...]:
        """What was refused, of all files, then what else was not understood."""
        return (*(message for file in self.files for message in file.refusals),
                *(message for file in self.files for message in file.messages[len(file.refusals):]))

    @property
    def notes(self) -> tuple[str, ...]:
        """What was read as what, one line a file; what is said of several files comes once."""
        said: dict[str, list[str]] = {}
        for file in self.files:
            if file.notes:
                said.setdefault("; ".join(file.notes), []).append(file.name)
        return (*(f"{names[0]}{f' and {len(names) - 1:,} more' if len(names) > 1 else ''}: {text}"
                  for text, names in said.items()), *self.alike, *self.doubts)

    @property
    def curves(self) -> pl.DataFrame:
        """All curves, long, in the curve schema; `curve_parts` needs less memory."""
        return pl.concat([pl.DataFrame(schema=CURVE_SCHEMA), *self.curve_parts()])

    def curve_parts(self) -> Iterator[pl.DataFrame]:
        """The curves in parts of bounded size; the curves of one run are in one part."""
        return self._spool.frames(self._runs)

    def require_complete(self) -> None:
        """Raises CvfpError naming the first line or file that is not accounted for, if any is."""
        messages = [*self.faults, *(file.problem for file in self.files if file.problem), *self.messages, *self.skipped]
        if messages:
            count = sum(file.reported + bool(file.problem) for file in self.files) + len(self.skipped + self.faults)
            more = f" (and {count - 1} more)" if count > 1 else ""
            raise CvfpError(f"{messages[0]}{more}; nothing was stored")

    def require_runs(self, paths: Sequence[Path]) -> None:
        """Raises CvfpError saying what was found under the paths instead, if no run was."""
        if not self.records.is_empty():
            return
        more = f" (and {len(self.skipped) - 1:,} more)" if len(self.skipped) > 1 else ""
        found = f"{self.skipped[0]}{more}" if self.skipped and not self.messages else next(
            iter(self.messages or self.notes), "nothing in it is a run; give logs, tables, or folders of them"
            if self.files else "there are no files in it; give logs, tables, or folders of them")
        asked = ", ".join(f"'{path}'" for path in paths) or "the frame"
        raise CvfpError(f"no runs in {asked}: {found}")


def ingest(
    paths: Sequence[Path],
    registry: Registry,
    *,
    format_: str | None = None,
    experiment: str | None = None,
    mapping: Mapping[str, str] | None = None,
    tables: Sequence[pl.DataFrame] = (),
    take: Take | None = None,
) -> Ingested:
    """Everything the paths hold, read by the one ingester that knows each. A bad file is reported, not raised.

    tables: frames of one run a row, read beside the paths. take: which point of a curve a record is of, by default the
    last.

    Raises UsageError for an unknown format, or a mapped column that no input has.
    """
    options = IngestOptions(experiment=experiment, mapping=mapping or {}, presets=registry.items(Preset),
                            quantities=registry.items(Quantity), take=take or Take())
    rows, spool = Rows(registry), Spool()
    reader = _Reader(registry, options, rows, spool)
    read = [reader.table(f"frame {number}", table) for number, table in enumerate(tables, 1)]
    skipped, faults = [], []
    for source in sources.find(paths, registry, format_):
        if source.path.absolute() in reader.joined:
            continue
        if source.fault:
            faults.append(f"{source.name}: {source.problem}")
        elif source.ingester is None and not source.asked:
            skipped.append(f"{source.name}: {source.problem}")
        elif source.ingester is None:
            read.append(_Read(FileReport(name=source.name, ingester=None, problem=f"{source.name}: {source.problem}")))
        else:
            read.append(reader.read(source, source.ingester))
    if rows.seen:
        columns_mapping.require(options.mapping, rows.seen)
    found, said = rows.take()
    joined = joining.by_name(found)
    files = [each.whole() for each in read]
    records, duplicates = merge(joined.records)
    stated = published.link(published.relabelled(reader.published, joined.records, records), records)
    records = unique_ids(records)
    records = published.beside(records, stated.frame).sort(_ORDER, nulls_last=True, maintain_order=True)
    for name, message in stated.unlinked:
        files = [_with_message(file, message) if file.name == name else file for file in files]
    for name, remark in joined.alone:
        files = [replace(file, remarks=(*file.remarks, remark)) if file.name == name else file for file in files]
    adopted = {name: expression(column) for file in files for name, column in file.taken.items()}
    return Ingested(
        doubts=tuple(doubts(records, adopted | {name: f"({each})" for name, each in options.mapping.items()})),
        records=records.select(*SCHEMA, pl.exclude("^_.*$", *SCHEMA)), published=stated.frame, files=tuple(files),
        skipped=tuple(skipped), duplicates=duplicates, faults=tuple(faults), alike=said, _spool=spool,
        _runs=records.select(pl.col("_run").alias("run"), "run_id"),
    )


@dataclass(frozen=True, slots=True)
class _Read:
    """What became of a file, but for what its rows said on their way through the gate."""

    report: FileReport
    batch: Batch | None = None
    """None: nothing of it was taken."""

    def whole(self) -> FileReport:
        """All that became of it, when its rows are through."""
        batch, report = self.batch, self.report
        if batch is None:
            return report
        refused = sorted(batch.refused.values(), key=lambda each: each.line)
        count = sum(each.rows for each in refused)
        refusals = tuple(f"{report.name}:{each.line}: {each}" for each in refused[:_SHOWN])
        return replace(report, runs=batch.count, refused=count, taken=batch.taken, remarks=tuple(batch.remarks),
                       columns=tuple(batch.columns), reported=report.reported + count, refusals=refusals,
                       messages=(*refusals, *report.messages))


class _Reader:
    """Reads one source after the other into shared rows and curves."""

    def __init__(self, registry: Registry, options: IngestOptions, rows: Rows, spool: Spool) -> None:
        self.registry, self.options, self.rows, self.spool = registry, options, rows, spool
        self.published: list[tuple[str, PublishedAlpha]] = []
        self.joined: set[Path] = set()
        """Files that were read as a part of the run beside them."""

    def read(self, source: sources.Source, ingester: Ingester) -> _Read:
        owner = self.registry.owner(Ingester, ingester.name)
        place = f"{source.name} ({ingester.name}, {owner.name} {owner.version})"
        batch = self.rows.batch(source.name, place, self.options, aliases=ingester.general)
        options = replace(self.options, root=source.root)
        report = FileReport(name=source.name, ingester=ingester.name)
        stated: list[tuple[str, PublishedAlpha]] = []
        messages: list[str] = []
        record = curve = noise = reported = 0
        try:
            with tidy():
                for item in self._joined(ingester, source.path, options):
                    if isinstance(item, FoundRun):
                        self.spool.add(batch.add(item), item.curves)
                    elif isinstance(item, Tally):
                        record, curve, noise = record + item.record, curve + item.curve, noise + item.noise
                    elif isinstance(item, PublishedAlpha):
                        stated.append((source.name, item))
                    elif isinstance(item, Remark):
                        batch.remarks += [item.text] if item.text not in batch.remarks else []
                    else:
                        reported += 1
                        if len(messages) < _SHOWN:
                            messages.append(_message(source.name, item))
                batch.close()
        except IngestError as error:
            return _Read(replace(report, problem=f"{source.name}{_join(str(error))}"))
        except CvfpError as error:
            return _Read(replace(report, problem=f"{source.name}: {error}"))
        except OSError as error:
            return _Read(replace(report, problem=f"{source.name}: {(error.strerror or str(error)).lower()}"))
        except culprits.PASSING:
            raise
        except BaseException as error:  # a plugin's fault must not cost the other files
            why = self.registry.blame(Ingester, ingester.name, error)
            return _Read(replace(report, problem=f"{source.name}: {why}"))
        self.published += stated
        self.rows.keep(batch)
        return _Read(replace(report, alphas=len(stated), reported=reported, messages=tuple(messages),
                             lines=Tally(record=record, curve=curve, noise=noise)), batch)

    def _joined(self, ingester: Ingester, path: Path, options: IngestOptions) -> Iterator[Found]:
        """What the ingester finds, steps joined to runs and a run with what stands beside it."""
        found: Iterator[Found] = iter(ingester.read(path, options))
        if ingester.general:
            found = steps.join(found, path, options)
        return beside.join(found, path, options, self.joined)

    def table(self, name: str, table: pl.DataFrame) -> _Read:
        """Reads a frame of one run a row, or of steps of runs; its texts as cells of a table."""
        batch = self.rows.batch(name, name, self.options, aliases=True)
        texts = {column: reader_of(self.rows.names.quantity(column, self.options.mapping))
                 for column, dtype in table.schema.items() if dtype == pl.String}
        rows = (FoundRun(line=number, columns=row | {
            column: read(row[column]) for column, read in texts.items() if row[column] is not None})
            for number, row in enumerate(table.to_dicts(), 1))
        for item in steps.join(rows, Path(name), self.options):
            if isinstance(item, FoundRun):
                self.spool.add(batch.add(item), item.curves)
            elif isinstance(item, Remark):
                batch.remarks.append(item.text)
        batch.close()
        self.rows.keep(batch)
        return _Read(FileReport(name=name, ingester=None, lines=Tally(record=table.height)), batch)


def _message(name: str, item: NotUnderstood) -> str:
    place = f"{name}/{item.file}" if item.file else name
    return f"{place}:{item.line}: expected {item.expected}, found {item.found}"


def _join(text: str) -> str:
    """How an error of a file's line continues the file's name."""
    if text.startswith("line "):
        return ":" + text.removeprefix("line ")
    return "/" + text


def _with_message(file: FileReport, message: str) -> FileReport:
    return replace(file, messages=(*file.messages, message), reported=file.reported + 1)
