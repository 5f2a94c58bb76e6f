"""Tables of cells: rows as a stream, every cell read as what it looks like."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from cvfp_core.errors import IngestError
from cvfp_core.ingesting.aliases import Names, names_of
from cvfp_core.ingesting.lines import encoding, shown, text_of
from cvfp_core.schema.found import NotUnderstood, Remark
from cvfp_core.schema.quantities import POWERS, Quantity

_DELIMITERS = (",", "\t", ";")
_INTEGER = re.compile(r"[-+]?\d{1,18}", re.ASCII)
_DECIMAL = re.compile(r"-?\d{1,18}\.\d{1,18}(?:[eE][-+]?\d\d)?", re.ASCII)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
_BEGIN_NUMBERS = set("0123456789+-.")
_NOT_FINITE = re.compile(r"[-+]?(?:nan|inf|infinity)")
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:([,_ ])\d{3})(?:\1\d{3})*(?:\.\d+)?", re.ASCII)
_COMMA = re.compile(r"[-+]?\d+,\d+(?:[eE][-+]?\d+)?(?:%|\s?[kKmMbBgGtT])?", re.ASCII)
"""A number with a decimal comma, as it stands in tables whose cells are parted by `;`."""
_SCALED = re.compile(r"(\d+\.?\d*)\s?([kKmMbBgGtT])", re.ASCII)
_WORDS = {"true": True, "false": False}
_NOTHING = {"", "null", "none", "na", "n/a", "-"}
LONGEST = 1 << 20
"""Characters of a line, at most."""


def delimiter_of(line: str) -> str:
    """The delimiter that cuts a header into most cells."""
    return max(_DELIMITERS, key=line.count)


def header(path: Path) -> list[str]:
    """The names in the first line of a table that is no comment."""
    with _opened(path) as file:
        _, first = _heading(file)
    return cells_of(first.rstrip("\r\n"), delimiter_of(first))


def _opened(path: Path) -> TextIO:
    with path.open("rb") as file:
        head = file.read(4096)
    return path.open(encoding=encoding(head).replace("utf-8", "utf-8-sig").replace("-sig-sig", "-sig"),
                     errors="replace", newline="")


def _heading(file: TextIO) -> tuple[int, str]:
    """The first line that is no comment, and its number."""
    number = 1
    while is_comment(first := file.readline(LONGEST)) and first:
        number += 1
    return number, first


def first_lines(head: bytes) -> list[str]:
    """The lines that a file begins with, as a table has them: at line feeds and carriage returns alone."""
    return re.split(r"\r\n|\r|\n", text_of(head).lstrip("\ufeff").rstrip("\r\n"))


def is_comment(line: str) -> bool:
    """Whether a line before the header is empty or says something about the table."""
    return not line.strip() or line.lstrip().startswith("#")


def cells_of(line: str, delimiter: str) -> list[str]:
    """The cells of a line; none if it is no line of a table."""
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
    except (csv.Error, StopIteration):
        return []


def column_names(cells: list[str]) -> list[str]:
    """The cells of a header as names of columns: each once, `loss` and `loss_2`; the third, unnamed, is `column_3`.

    An unnamed first column is the index that pandas writes: its name stays empty.
    """
    names: list[str] = []
    for number, cell in enumerate(cells, 1):
        name = cell or (f"column_{number}" if number > 1 else "")
        count = 2
        while name in names:
            name, count = f"{cell}_{count}", count + 1
        names.append(name)
    return names


def rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | NotUnderstood]]:
    """(line, row) of a table, cells as numbers where they are; a row that does not fit the header as NotUnderstood.

    Raises IngestError where the table cannot be read on.
    """
    return ((line, row) for line, row in lines(path, names_of({}), {})
            if row is not None and not isinstance(row, Remark))


def lines(path: Path, names: Names, mapping: Mapping[str, str]
          ) -> Iterator[tuple[int, dict[str, Any] | NotUnderstood | Remark | None]]:
    """As `rows`, with None for a line that says nothing: the header, comments; and what is to be known of its numbers.

    names, mapping: what columns are, as cells of a size may say `7B` and those of a fraction `40%`.
    """
    with _opened(path) as file:
        csv.field_size_limit(LONGEST)
        number, first = _heading(file)
        yield from ((comment, None) for comment in range(1, number))
        delimiter = delimiter_of(first)
        heading = cells_of(first.rstrip("\r\n"), delimiter)
        if not any(heading):
            raise IngestError(number, "a header with column names", shown(first))
        yield number, None
        columns = [(name, reader_of(names.quantity(name, mapping), commas=delimiter != ";"))
                   for name in column_names(heading)]
        reader = csv.reader(file, delimiter=delimiter)
        line = number + 1
        points = delimiter != ";"
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise IngestError(reader.line_num + number, "cells of a table", str(error)) from None
            if not points and (comma := next(filter(_COMMA.fullmatch, cells), None)):
                points = True
                yield line, Remark(text=f"a comma is read as the decimal point: {comma} as {comma.replace(',', '.')}")
            if len(cells) == len(columns):
                yield line, {name: read(cell) for (name, read), cell in zip(columns, cells, strict=True) if name}
            elif cells and cells[0].lstrip().startswith("#"):
                yield line, None
            elif cells:
                yield line, NotUnderstood(line=line, expected=f"{len(columns)} cells", found=f"{len(cells)}: "
                                          f"{shown(delimiter.join(cells[:8]))}")
            line = reader.line_num + number + 1


def reader_of(quantity: Quantity | None, *, commas: bool = True) -> Callable[[str], Any]:
    """What reads the cells of a quantity's column.

    commas: whether they part thousands, as in `1,000,000`; else they are decimal points.
    """
    if quantity is not None and quantity.dtype == "str":
        return _text
    whole, decimal = _INTEGER.fullmatch, _DECIMAL.fullmatch

    def read(cell: str) -> Any:
        """As `value`, with most cells told by a glance."""
        if whole(cell):
            return int(cell)
        return float(cell) if decimal(cell) else value(cell, quantity, commas=commas)

    return read


def _text(cell: str) -> str | None:
    text = cell.strip()
    return None if text.lower() in _NOTHING else text


def value(cell: str, quantity: Quantity | None = None, *, commas: bool = True) -> Any:
    """What a cell says: a number, a fraction (`81.3%`), a truth value, nothing, or text.

    A quantity that is no fraction has no percent sign, and only a size is written `7B`. commas: see `reader_of`.
    """
    text = cell.strip()
    if not commas and _COMMA.fullmatch(text) and not (
            quantity is not None and quantity.kind == "size" and _THOUSANDS.fullmatch(text)):  # a size may mean either
        text = text.replace(",", ".")
    if text and text[0] in _BEGIN_NUMBERS:
        if _INTEGER.fullmatch(text):
            return int(text)
        if _NUMBER.fullmatch(text):
            number = float(text)
            return number if math.isfinite(number) else text
        if text.endswith("%") and _NUMBER.fullmatch(text[:-1]):
            return float(text[:-1]) / 100 if quantity is None or quantity.percent else text
        if (parted := _THOUSANDS.fullmatch(text)) and (commas or parted[1] != ","):
            return float(text.replace(parted[1], ""))
        if quantity is not None and quantity.kind == "size" and (scaled := _SCALED.fullmatch(text)):
            return float(scaled[1]) * POWERS[scaled[2]]
    lower = text.lower()
    if lower in _NOTHING:
        return None
    if _NOT_FINITE.fullmatch(lower):
        return float(lower)
    if lower in _WORDS and (quantity is None or quantity.dtype == "bool"):
        return _WORDS[lower]
    return text
