"""CSV and TSV, one run a row."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from cvfp_core.errors import IngestError
from cvfp_core.ingesting.aliases import names_of
from cvfp_core.ingesting.delimited import (
    LONGEST,
    cells_of,
    column_names,
    delimiter_of,
    first_lines,
    header,
    is_comment,
    lines,
    value,
)
from cvfp_core.ingesting.lines import encoding, shown
from cvfp_core.registry.kinds import IngestOptions
from cvfp_core.schema.found import Found, FoundRun, NotUnderstood, Remark, Tally
from cvfp_core.schema.quantities import QUANTITIES

_NUMBER = re.compile(r"\d+(?:\.\d*)?(?:[eE][-+]?\d+)?[kKMBGT]?", re.ASCII)
_WIDE = 3
"""Headings that are numbers, from which on they are a size."""


def matches(path: Path, head: bytes | None) -> bool:
    """Whether a file is a table: its first two lines have the same number of cells, two at least, the first names.

    Comments may stand before them. Where its name says so, one line is enough, headings may be numbers or repeat, and
    rows may be longer or shorter than the first.
    """
    if head is None or (b"\x00" in head[:1000] and encoding(head) == "utf-8"):
        return False
    first = [line for line in first_lines(head) if not is_comment(line)]
    if not first or len(first[0]) > LONGEST or first[0].lstrip()[0] in "[{<":
        return False
    delimiter = delimiter_of(first[0])
    names = cells_of(first[0], delimiter)
    named = [_is_name(name) for name in names]
    if len(names) < 2 or not any(named):
        return False
    if path.suffix.lower() in (".csv", ".tsv"):
        return not first[1:] or any(len(cells_of(line, delimiter)) > 1 for line in first[1:])
    return all(named) and len(set(names)) == len(names) == len(cells_of(first[1], delimiter) if first[1:] else ())


def read(path: Path, options: IngestOptions) -> Iterator[Found]:
    """One run a row; where headings are numbers, one run a cell below them."""
    heading = header(path)
    names = column_names(heading)
    sizes = [name for name in names if name and not _is_name(name)]
    wide = sizes if len(sizes) >= _WIDE else []
    yield from _remarks(heading, names, wide)
    count, noise, label = 0, 0, path.stem
    for line, row in lines(path, names_of(options.quantities), options.mapping):
        if wide and count == 0 and isinstance(row, dict) and _is_run(wide, row):
            raise IngestError(noise, "a heading, the names of columns", f"{shown(','.join(heading))}, which looks like "
                              "a run; write a heading line above it")
        if row is None:
            noise += 1
        elif isinstance(row, NotUnderstood | Remark):
            yield row
        else:
            count += 1
            for each in _of_cells(row, wide) if wide else [row]:
                yield run(line, each, label, options)
    if not count:
        yield Remark(text="it has a heading and no row of a run")
    yield Tally(record=count, noise=noise)


def run(line: int, row: dict[str, Any], label: str, options: IngestOptions) -> FoundRun:
    """A row as a run; its experiment is the one asked for, its own, or the label."""
    row["experiment"] = options.experiment or row.get("experiment") or label
    return FoundRun(line=line, columns=row)


def _is_name(heading: str) -> bool:
    return re.search(r"[^\W\d]", heading) is not None and not _NUMBER.fullmatch(heading)


def _is_run(wide: list[str], row: dict[str, Any]) -> bool:
    """Whether headings that are numbers are those of a run: in no order, as sizes are, or the same as below."""
    numbers = {name: number for name in wide if isinstance(number := value(name, QUANTITIES["params"]), int | float)}
    steps = {low < high for low, high in pairwise(numbers.values())}
    return len(steps) > 1 or any(row[name] in (name, number) for name, number in numbers.items())


def _of_cells(row: dict[str, Any], wide: list[str]) -> list[dict[str, Any]]:
    """A row for every cell below a number."""
    rest = {name: cell for name, cell in row.items() if name not in wide}
    return [rest | {"size": value(name, QUANTITIES["params"]), "value": row[name]} for name in wide
            if row[name] is not None]


def _remarks(heading: list[str], names: list[str], wide: list[str]) -> Iterator[Remark]:
    """What is to be said of the headings."""
    if names[:1] == [""]:
        yield Remark(text="the first column, which has no name, is taken for an index and left out")
    renamed = [f"{own or 'one without a name'} is called {name}"
               for own, name in zip(heading, names, strict=True) if own != name]
    if renamed:
        yield Remark(text=f"columns are told apart: {', '.join(renamed)}")
    if wide:
        yield Remark(text=f"headings {wide[0]} to {wide[-1]} are read as the column size, what stands below them as "
                          "the column value; say what they are, as in --map train_tokens=size --map val_loss=value")
