"""CSV and TSV, one run a row."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cvfp_core.ingesting.delimited import LONGEST, cells_of, delimiter_of, rows
from cvfp_core.ingesting.lines import encoding, text_of
from cvfp_core.registry.kinds import IngestOptions
from cvfp_core.schema.found import Found, FoundRun, NotUnderstood, Tally


def matches(path: Path, head: bytes | None) -> bool:
    """Whether a file is a table: its first two lines have the same number of cells, two at least, the first all names.

    A one-line file is one if its name says so.
    """
    if head is None or (b"\x00" in head[:1000] and encoding(head) == "utf-8"):
        return False
    lines = [line for line in text_of(head).lstrip("\ufeff").splitlines()[:3] if line.strip()]
    if not lines or len(lines[0]) > LONGEST or lines[0][0] in "[{<#":
        return False
    delimiter = delimiter_of(lines[0])
    names = cells_of(lines[0], delimiter)
    if len(names) < 2 or not all(re.search(r"[^\W\d]", name) for name in names) or len(set(names)) < len(names):
        return False
    if path.suffix.lower() in (".csv", ".tsv"):
        return True
    return len(lines) > 1 and all(abs(len(cells_of(line, delimiter)) - len(names)) == 0 for line in lines[1:2])


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
