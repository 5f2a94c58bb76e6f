"""A user's mapping of columns: `val_ppl=eval_ppl`, `val_ppl=exp(eval_loss)`, `val_acc=percent(acc)`, `seed=42`.

What stands on the right is an expression of `schema.expressions`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl

from cvfp_core.errors import UsageError
from cvfp_core.schema import atomic, expressions
from cvfp_core.schema.expressions import Expression

FILE = "cvfp-map.toml"
"""A mapping of this name counts for the files beside it."""


def read(given: Iterable[str]) -> dict[str, str]:
    """Record column -> what it is made from. Each of `given` is `column=source` or a saved mapping file.

    A mapping file is TOML with a table `[map]`. Raises UsageError saying what is wrong.
    """
    mapping: dict[str, str] = {}
    for text in given:
        target, equals, source = text.partition("=")
        if equals:
            mapping[target.strip()] = source.strip()
            continue
        mapping |= load(Path(text))
    for target, source in mapping.items():
        if not target or not source:
            raise UsageError(f"--map {target}={source}: expected column=source")
    return mapping


def load(path: Path) -> dict[str, str]:
    """The mapping in a file. Raises UsageError for what is no mapping file."""
    try:
        loaded = tomllib.loads(path.read_text(encoding="utf-8")).get("map")
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"--map {path}: expected column=source, or a mapping file: "
                         f"{getattr(error, 'strerror', None) or error}") from None
    if not isinstance(loaded, dict) or not all(isinstance(value, str) for value in loaded.values()):
        raise UsageError(f"--map {path}: expected a table [map] with lines such as val_ppl = \"exp(eval_loss)\"")
    return loaded


def beside(paths: Iterable[Path]) -> Path | None:
    """The mapping file that lies in a folder given, or beside a file given; None if there is none.

    Raises UsageError if there are several, as a mapping is of all that is read.
    """
    folders = dict.fromkeys(path if path.is_dir() else path.parent for path in paths)
    there = [folder / FILE for folder in folders if (folder / FILE).is_file()]
    if len(there) > 1:
        raise UsageError(f"several mappings: {', '.join(map(str, there))}; --no-map ignores them, --map FILE takes one")
    return there[0] if there else None


def save(path: Path, mapping: Mapping[str, str]) -> None:
    """Writes a mapping file that `read` takes. Raises UsageError if it cannot be written."""

    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    lines = [f"{quoted(target)} = {quoted(source)}\n" for target, source in mapping.items()]
    atomic.save(path, "[map]\n" + "".join(lines))


def require(mapping: Mapping[str, str], columns: Collection[str]) -> None:
    """Raises UsageError for a mapping that is not understood, or reads a column that no input has."""
    for target, source in mapping.items():
        expressions.parse(source, columns, asked=f"--map {target}={source}")


def columns_read(mapping: Mapping[str, str], columns: Collection[str]) -> set[str]:
    """Those of the columns that the mapping reads."""
    read: set[str] = set()
    for target, source in mapping.items():
        with suppress(expressions.UnknownColumn):
            read.update(expressions.parse(source, columns, asked=f"--map {target}={source}").columns)
    return read


def apply(mapping: Mapping[str, str], rows: Sequence[dict[str, Any]]) -> None:
    """Sets the mapped columns of the rows; what they are made from stays as it is.

    A column that these rows do not have leaves the target as it is, and a value that is no number is handed on, for the
    gate into the schema to refuse. Raises UsageError for a mapping that is not understood.
    """
    if not mapping:
        return
    columns = dict.fromkeys(name for row in rows for name in row)
    made: list[tuple[str, Expression, list[Any]]] = []
    for target, source in mapping.items():
        try:
            expression = expressions.parse(source, columns, asked=f"--map {target}={source}")
        except expressions.UnknownColumn:
            continue
        made.append((target, expression, _values(expression, rows)))
    has = [row.keys() for row in map(dict, rows)]
    for target, expression, values in made:
        for row, names, value in zip(rows, has, values, strict=True):
            if not expression.columns or not names.isdisjoint(expression.columns):
                row[target] = value


def _values(expression: Expression, rows: Sequence[dict[str, Any]]) -> list[Any]:
    if expression.constant is not None:
        return [expression.constant] * len(rows)
    given = {name: [row.get(name) for row in rows] for name in expression.columns}
    if expression.plain:
        return given[expression.columns[0]]
    wrong: dict[int, Any] = {}
    for name in expression.numbers:
        for i, value in enumerate(given[name]):
            if value is not None and not isinstance(value, bool | int | float):
                wrong[i], given[name][i] = value, None
    frame = pl.DataFrame([
        pl.Series(name, values, dtype=pl.Float64 if name in expression.numbers else None, strict=False)
        for name, values in given.items()])
    values = frame.select(expression.polars.alias("made"))["made"].to_list()
    return [wrong.get(i, value) for i, value in enumerate(values * len(rows) if len(values) == 1 else values)]
