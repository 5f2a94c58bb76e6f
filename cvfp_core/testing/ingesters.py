"""The check of an ingester: on its own input, on what is not its own, and on its input damaged."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from cvfp_core.errors import CvfpError
from cvfp_core.ingesting import sources
from cvfp_core.ingesting.run import FileReport, Ingested, ingest
from cvfp_core.registry import Registry, load
from cvfp_core.registry.kinds import Ingester, IngestOptions, Preset, VariantFamily
from cvfp_core.schema.found import Found
from cvfp_core.testing.expecting import expect, raised
from cvfp_core.testing.loading import holding

T = TypeVar("T")

CUTS = 24
"""Places at which an input is cut off, and as many at which bytes are exchanged."""
FOREIGN: dict[str, bytes] = {
    "an empty file": b"",
    "random bytes": random.Random(0).randbytes(3000),
    "a letter": b"Dear all,\n\nthe mat was taken by the cat. We shall see.\n\nYours\n",
    "a picture": b"\x89PNG\r\n\x1a\n" + random.Random(1).randbytes(500),
    "a web page": b"<!doctype html>\n<html><body><p>Nothing to see</p></body></html>\n",
    "a program": b"import sys\n\nfor line in sys.stdin:\n    print(line[::-1])\n",
}
"""Content that no ingester of runs may claim."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """The ingester under test, beside the families and settings that are installed, and what it raised."""

    ingester: Ingester
    options: IngestOptions
    registry: Registry
    errors: list[Exception] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"ingester '{self.ingester.name}'"

    def read(self, path: Path) -> Ingested:
        return ingest([path], self.registry, format_=self.ingester.name, experiment=self.options.experiment,
                      mapping=self.options.mapping)


def check(ingester: Ingester, path: Path, runs: int | None, lines: int | None, options: IngestOptions) -> None:
    """See `check_ingester`."""
    subject = _subject(ingester, options)
    _knows(subject, path)
    first = _reads(subject, path, runs, lines)
    again = subject.read(path)
    ids, same = (sorted(made.records["run_id"].to_list()) for made in (first, again))
    expect(ids == same, f"{subject.name} reads {path.name} twice", f"the run ids {ids[:3]}...", f"{same[:3]}...")
    with TemporaryDirectory() as folder:
        _leaves_alone(subject, path, Path(folder))
        _survives(subject, path, Path(folder) / "damaged")


def _subject(ingester: Ingester, options: IngestOptions) -> _Subject:
    """The subject with an ingester that notes what it raises and raises it again."""
    errors: list[Exception] = []

    def matches(path: Path, head: bytes | None) -> bool:
        return _noting(lambda: ingester.matches(path, head), errors)

    def read(path: Path, asked: IngestOptions) -> Iterator[Found]:
        items = _noting(lambda: iter(ingester.read(path, asked)), errors)
        while (item := _noting(lambda: next(items, None), errors)) is not None:
            yield item

    found = load()
    registry = holding(
        replace(ingester, matches=matches, read=read), *found.items(VariantFamily).values(),
        *found.items(Preset).values(),
    )
    return _Subject(ingester=ingester, options=options, registry=registry, errors=errors)


def _noting(call: Callable[[], T], errors: list[Exception]) -> T:
    try:
        return call()
    except Exception as error:
        errors.append(error)
        raise


def _knows(subject: _Subject, path: Path) -> None:
    found = [(each.name, each.problem) for each in sources.find([path], subject.registry)]
    _no_error(subject, f"{subject.name} looks at {path.name}")
    expect(found == [(path.name, None)], f"{subject.name} looks at {path.name}", "it knows the content",
           "; ".join(f"{name}: {problem or 'known'}" for name, problem in found))


def _reads(subject: _Subject, path: Path, runs: int | None, lines: int | None) -> Ingested:
    made = subject.read(path)
    report = made.files[0]
    what = f"{subject.name} reads {path.name}"
    _no_error(subject, what)
    expect(report.problem is None, what, "records", report.problem)
    expect(report.reported == 0, what, "every line understood, and every record through the gate",
           f"{report.reported} that are not: {'; '.join(report.messages[:5])}")
    height = made.records.height
    wanted = "at least 1 run" if runs is None else f"{runs} runs"
    expect(height > 0 if runs is None else height == runs, what, wanted, f"{height}")
    lines = _lines(path) if lines is None else lines
    if lines is not None:
        expect(_accounted(report) == lines, what, f"{lines} lines accounted for, as record, curve or noise",
               f"{_accounted(report)}: {report.lines}")
    return made


def _accounted(report: FileReport) -> int:
    """Lines accounted for; rows that the gate refused count once."""
    return report.lines.record + report.lines.curve + report.lines.noise + report.reported - report.refused


def _lines(path: Path) -> int | None:
    """Lines of a text file; None for a folder, a binary file, and a JSON document, whose lines mean nothing."""
    if path.is_dir() or b"\0" in (content := path.read_bytes()):
        return None
    try:
        json.loads(content)
    except ValueError:
        return len(content.splitlines())
    return None


def _leaves_alone(subject: _Subject, path: Path, folder: Path) -> None:
    """As a file of the same name, if the input is one, as what decides is content."""
    for index, (what, content) in enumerate(FOREIGN.items()):
        place = folder / str(index)
        place.mkdir()
        file = place / (path.name if path.is_file() else "notes.txt")
        file.write_bytes(content)
        known = []
        try:
            known = [each.name for each, head in ((file, content[: sources.HEAD]), (place, None))
                     if subject.ingester.matches(each, head)]
        except Exception as error:
            raise raised(f"{subject.name} looks at {what} called {file.name}", error) from error
        expect(not known, f"{subject.name} looks at {what} called {file.name}", "it leaves alone what is not its own",
               "it claims to know it")


def _survives(subject: _Subject, path: Path, folder: Path) -> None:
    """The input with one file cut off, or with bytes exchanged, at places all over it."""
    inside = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    for file in inside:
        content = file.read_bytes()
        chance = random.Random(2)
        for where in sorted({len(content) * step // CUTS for step in range(CUTS)} if content else ()):
            _reads_or_says(subject, path, folder, file, content[:where], f"cut off after {where} bytes")
            damaged = bytearray(content)
            for _ in range(3):
                damaged[chance.randrange(where, len(content))] = chance.randrange(256)
            _reads_or_says(subject, path, folder, file, bytes(damaged), f"with bytes exchanged after {where}")


def _reads_or_says(subject: _Subject, path: Path, folder: Path, file: Path, content: bytes, how: str) -> None:
    target = folder / path.name
    if path.is_dir():
        shutil.copytree(path, target, dirs_exist_ok=True)
        (target / file.relative_to(path)).write_bytes(content)
    else:
        folder.mkdir(exist_ok=True)
        target.write_bytes(content)
    subject.errors.clear()
    made = subject.read(target)
    what = f"{subject.name} reads {file.name} {how}"
    _no_error(subject, what)
    for said in (text for report in made.files for text in (report.problem, *report.messages) if text):
        expect("\n" not in said, what, "messages of one line", repr(said))


def _no_error(subject: _Subject, what: str) -> None:
    """What a user is told about an input is no failure of the ingester."""
    for error in subject.errors:
        if not isinstance(error, CvfpError | OSError):
            raise raised(what, error) from error
