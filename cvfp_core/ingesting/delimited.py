"""Tables of cells: rows as a stream, every cell read as what it looks like."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cvfp_core.errors import IngestError
from cvfp_core.ingesting.lines import encoding, shown, text_of
from cvfp_core.schema.found import NotUnderstood
from cvfp_core.schema.quantities import QUANTITIES
from cvfp_core.schema.records import SCHEMA

_DELIMITERS = (",", "\t", ";")
_INTEGER = re.compile(r"[-+]?\d{1,18}", re.ASCII)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?%?|[-+]?(?:nan|inf|infinity)", re.ASCII | re.IGNORECASE)
_WORDS = {"true": True, "false": False}
_NOTHING = {"", "null", "none", "na", "n/a", "-"}
LONGEST = 1 << 20
"""Characters of a line, at most."""


def delimiter_of(line: str) -> str:
    """The delimiter that cuts a header into most cells."""
    return max(_DELIMITERS, key=line.count)


def header(path: Path) -> list[str]:
    """The names in the first line of a table."""
    with path.open("rb") as file:
        text = text_of(file.read(1 << 16)).lstrip("\ufeff")
    first = text.splitlines()[0] if text else ""
    return cells_of(first, delimiter_of(first))


def cells_of(line: str, delimiter: str) -> list[str]:
    """The cells of a line; none if it is no line of a table."""
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
        csv.field_size_limit(LONGEST)
        first = file.readline(LONGEST)
        delimiter = delimiter_of(first)
        names = cells_of(first.rstrip("\r\n"), delimiter)
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
        if not text.endswith("%"):
            return float(text)
        if column not in QUANTITIES or QUANTITIES[column].percent:
            return float(text[:-1]) / 100
    if lower in _WORDS and dtype != "Float64":
        return _WORDS[lower]
    return text
