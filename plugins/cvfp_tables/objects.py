"""JSON and JSON lines: one object a run. NaN and Infinity are read as such; they make a run diverged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cvfp_core.errors import IngestError
from cvfp_core.ingesting.aliases import names_of
from cvfp_core.ingesting.delimited import value
from cvfp_core.ingesting.lines import CUT, bad_json, encoding, read_lines, shown, text_of
from cvfp_core.registry.kinds import IngestOptions
from cvfp_core.schema.found import Found, NotUnderstood, Tally
from cvfp_core.schema.records import SCHEMA
from cvfp_tables.delimited import run

_DEEP = 20
"""Objects within one another whose names are joined by dots."""
_BIGGEST = 512 << 20
"""Bytes of a JSON document, which has to be read at once; JSON lines have no limit."""


def matches(path: Path, head: bytes | None) -> bool:
    """Whether a file begins a JSON document that holds a list of objects, or columns of lists."""
    text = text_of(head or b"").lstrip("\ufeff \t\r\n")
    if text.startswith("["):
        return text[1:].lstrip()[:1] in ("{", "]")
    return text.startswith("{") and not matches_lines(path, head) and text[1:].lstrip()[:1] == '"'


def matches_lines(path: Path, head: bytes | None) -> bool:
    """Whether a file's first line is a JSON object, and another follows or its name says so."""
    text = text_of(head or b"").lstrip("\ufeff \t\r\n")
    named_so = path.suffix.lower() in (".jsonl", ".ndjson") and "\n" not in text
    return text.startswith("{") and (_is_lines(text) or named_so)


def _is_lines(text: str) -> bool:
    first, newline, rest = text.partition("\n")
    try:
        whole = isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False
    return whole and bool(newline) and (bool(rest.strip()) or first.count("{") == 1)


def read(path: Path, options: IngestOptions) -> Iterator[Found]:
    """One run an object of the list; columns of equal length are turned into rows."""
    if path.stat().st_size > _BIGGEST:
        raise IngestError(1, f"at most {_BIGGEST >> 20} MiB of JSON (JSON lines have no limit)", "a longer document")
    with path.open("rb") as file:
        head = file.read(4096)
    text = path.read_text(encoding=encoding(head), errors="replace").removeprefix("\ufeff")
    try:
        made = json.loads(text)
    except json.JSONDecodeError as error:
        raise bad_json(error) from None
    except (ValueError, RecursionError) as error:
        raise IngestError(1, "JSON", str(error)) from None
    count = 0
    for number, item in enumerate(_items(made), 1):
        if isinstance(item, dict):
            count += 1
            yield run(number, flat(item, options), path.stem, options)
        else:
            yield NotUnderstood(line=number, expected="an object", found=shown(json.dumps(item)))
    yield Tally(record=count)


def flat(item: dict[str, Any], options: IngestOptions | None = None) -> dict[str, Any]:
    """The object with names of objects within it joined by dots; settings, and what is too deep, stay as they are.

    options: what its columns are, to read numbers that are written as texts, such as "12M".
    """
    made: dict[str, Any] = {}
    waiting = [("", item, 0)]
    while waiting:
        before, each, depth = waiting.pop()
        for name, part in each.items():
            if isinstance(part, dict) and part and depth < _DEEP and before + name not in SCHEMA:
                waiting.append((f"{before}{name}.", part, depth + 1))
            else:
                made[before + name] = part if options is None else _read(before + name, part, options)
    return made


def _read(name: str, text: Any, options: IngestOptions) -> Any:
    """A text as a cell of a table where its column is of a number, anything else as it is."""
    quantity = names_of(options.quantities).quantity(name, options.mapping) if isinstance(text, str) else None
    return value(text, quantity) if quantity is not None and quantity.dtype != "str" else text


def _items(made: Any) -> list[Any]:
    """The runs of a document: a list, columns, a table as pandas writes it, runs by name, or runs in an object."""
    if isinstance(made, list):
        return made
    if not isinstance(made, dict):
        raise IngestError(1, "a list of objects", type(made).__name__)
    if isinstance(made.get("columns"), list) and isinstance(made.get("data"), list) and set(made) <= {
            "columns", "data", "index"}:
        return [dict(zip(map(str, made["columns"]), cells, strict=False)) for cells in made["data"]]
    values = list(made.values())
    if values and all(isinstance(value, list) for value in values) and len({len(value) for value in values}) == 1:
        return [dict(zip(made, cells, strict=True)) for cells in zip(*values, strict=True)]
    if len(values) > 1 and all(isinstance(value, dict) and value.keys() == values[0].keys() for value in values):
        if all(name.isdecimal() for name in values[0]):
            return [{name: column[row] for name, column in made.items()} for row in values[0]]
        return [{"name": name} | value for name, value in made.items()]
    lists = [name for name, value in made.items() if isinstance(value, list) and value and isinstance(value[0], dict)]
    if len(lists) == 1:
        outer = flat({name: value for name, value in made.items() if name != lists[0]})
        return [outer | flat(item) if isinstance(item, dict) else item for item in made[lists[0]]]
    return [made]


def read_lines_of(path: Path, options: IngestOptions) -> Iterator[Found]:
    """One run a line; a line that is no object (a torn last one) is reported, the others are kept."""
    count = noise = 0
    for first, step, lines in read_lines(path):
        for index, line in enumerate(lines):
            number = first + index * step
            text = line.removeprefix("\ufeff").strip()
            if not text:
                noise += 1
                continue
            try:
                item = json.loads(text)
            except (ValueError, RecursionError) as error:
                why = "a line of at most 64 KiB" if text.endswith(CUT.strip()) else f"JSON ({error})"
                yield NotUnderstood(line=number, expected=why, found=shown(text))
                continue
            if not isinstance(item, dict):
                yield NotUnderstood(line=number, expected="an object", found=shown(text))
                continue
            count += 1
            yield run(number, flat(item, options), path.stem, options)
    yield Tally(record=count, noise=noise)
