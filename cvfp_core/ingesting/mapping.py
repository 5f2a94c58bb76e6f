"""A user's mapping of columns: `val_ppl=eval_ppl`, `val_ppl=exp(eval_loss)`, `val_acc=percent(acc)`, `seed=42`."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cvfp_core.errors import UsageError

_FUNCTION = re.compile(r"(exp|percent)\((.+)\)")
_LITERAL = re.compile(r"'(.*)'|\"(.*)\"|(-?\d+(?:\.\d+)?(?:e-?\d+)?)")


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
        try:
            loaded = tomllib.loads(Path(text).read_text(encoding="utf-8")).get("map")
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise UsageError(f"--map {text}: expected column=source, or a mapping file: {error}") from None
        if not isinstance(loaded, dict) or not all(isinstance(value, str) for value in loaded.values()):
            raise UsageError(f"--map {text}: expected a table [map] with lines such as val_ppl = \"exp(eval_loss)\"")
        mapping |= loaded
    for target, source in mapping.items():
        if not target or not source:
            raise UsageError(f"--map {target}={source}: expected column=source")
    return mapping


def save(path: Path, mapping: Mapping[str, str]) -> None:
    """Writes a mapping file that `read` takes. Raises UsageError if it cannot be written."""

    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    lines = [f"{quoted(target)} = {quoted(source)}\n" for target, source in mapping.items()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("[map]\n" + "".join(lines), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write '{path}': {error.strerror or error}") from None


def source_column(source: str) -> str | None:
    """The input column a mapping reads; None for a constant."""
    if _LITERAL.fullmatch(source):
        return None
    match = _FUNCTION.fullmatch(source)
    return match[2].strip() if match else source


def apply(mapping: Mapping[str, str], row: dict[str, Any]) -> None:
    """Sets the mapped columns of the row; a column that was renamed no longer stands under its own name."""
    renamed = []
    made: dict[str, Any] = {}
    for target, source in mapping.items():
        if literal := _LITERAL.fullmatch(source):
            made[target] = _constant(literal)
        elif match := _FUNCTION.fullmatch(source):
            if (value := row.get(match[2].strip())) is not None:
                made[target] = _apply(match[1], value)
        elif source in row:
            made[target] = row[source]
            renamed.append(source)
    for name in renamed:
        if name not in made:
            del row[name]
    row.update(made)


def _constant(literal: re.Match[str]) -> str | int | float:
    if literal[3] is None:
        return literal[1] if literal[1] is not None else literal[2]
    return float(literal[3]) if re.search(r"[.e]", literal[3]) else int(literal[3])


def _apply(function: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value  # the gate into the schema refuses it, with its row
    if function == "percent":
        return value / 100
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf
