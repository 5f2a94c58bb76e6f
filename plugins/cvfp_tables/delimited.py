"""CSV and TSV: rows as a stream, every cell read as what it looks like."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cvfp_core.errors import IngestError
from cvfp_core.ingesting.lines import encoding, shown, text_of
from cvfp_core.registry.kinds import IngestOptions
from cvfp_core.schema.found import Found, FoundRun, NotUnderstood, Tally
from cvfp_core.schema.records import SCHEMA

_DELIMITERS = (",", "\t", ";")
_INTEGER = re.compile(r"[-+]?\d{1,18}", re.ASCII)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?%?|[-+]?(?:nan|inf|infinity)", re.ASCII | re.IGNORECASE)
_WORDS = {"true": True, "false": False}
_NOTHING = {"", "null", "none", "na", "n/a", "-"}
_LONGEST = 1 << 20


def matches(path: Path, head: bytes) -> bool:
    """Whether a file is a table: its first two lines have the same number of cells, two at least, the first all names.

    A one-line file is one if its name says so.
    """
    if b"\x00" in head[:1000] and encoding(head) == "utf-8":
        return False
    lines = [line for line in text_of(head).lstrip("\ufeff").splitlines()[:3] if line.strip()]
    if not lines or len(lines[0]) > _LONGEST or lines[0][0] in "[{<#":
        return False
    delimiter = delimiter_of(lines[0])
    names = _cells(lines[0], delimiter)
    if len(names) < 2 or not all(re.search(r"[^\W\d]", name) for name in names) or len(set(names)) < len(names):
        return False
    if path.suffix.lower() in (".csv", ".tsv"):
        return True
    return len(lines) > 1 and all(abs(len(_cells(line, delimiter)) - len(names)) == 0 for line in lines[1:2])


def delimiter_of(line: str) -> str:
    """The delimiter that cuts a header into most cells."""
    return max(_DELIMITERS, key=line.count)


def header(path: Path) -> list[str]:
    """The names in the first line of a table."""
    with path.open("rb") as file:
        text = text_of(file.read(1 << 16)).lstrip("\ufeff")
    first = text.splitlines()[0] if text else ""
    return _cells(first, delimiter_of(first))


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
    except (csv.Error, StopIteration):
        return []


def rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | NotUnderstood]]:
    """(line, row) of a table, cells as numbers where they are; a row that does not fit the header as NotUnderstood.

    Raises IngestError where the table cannot be read on.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    with path.open(encoding=encoding(head).replace("utf-8", "utf-8-sig").replace("-sig-sig", "-sig"), errors="replace",
                   newline="") as file:
        csv.field_size_limit(_LONGEST)
        first = file.readline(_LONGEST)
        delimiter = delimiter_of(first)
        names = _cells(first.rstrip("\r\n"), delimiter)
        if not names or not any(names):
            raise IngestError(1, "a header with column names", shown(first))
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise IngestError(1, "every column once", f"{twice!r} twice")
        reader = csv.reader(file, delimiter=delimiter)
        line = 2
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise IngestError(reader.line_num + 1, "cells of a table", str(error)) from None
            if cells and len(cells) != len(names):
                yield line, NotUnderstood(line=line, expected=f"{len(names)} cells", found=f"{len(cells)}: "
                                          f"{shown(delimiter.join(cells[:8]))}")
            elif cells:
                yield line, {name: value(cell, name) for name, cell in zip(names, cells, strict=True) if name}
            line = reader.line_num + 2


def value(cell: str, column: str) -> Any:
    """What a cell says: a number, a fraction (`81.3%`), a truth value, nothing, or text."""
    text = cell.strip()
    lower = text.lower()
    if lower in _NOTHING:
        return None
    dtype = str(SCHEMA.get(column, ""))
    if dtype == "String":
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    if lower in _WORDS and dtype != "Float64":
        return _WORDS[lower]
    return text


def read(path: Path, options: IngestOptions) -> Iterator[Found]:
    """One run a row."""
    count = 0
    for line, row in rows(path):
        if isinstance(row, NotUnderstood):
            yield row
            continue
        count += 1
        yield run(line, row, path, options)
    yield Tally(record=count, noise=1)


def run(line: int, row: dict[str, Any], path: Path, options: IngestOptions) -> FoundRun:
    """A row as a run; its experiment is the one asked for, its own, or the file's name."""
    row = dict(row)
    row["experiment"] = options.experiment or row.get("experiment") or path.stem
    return FoundRun(line=line, columns=row)
