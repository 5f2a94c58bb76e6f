"""The run file (TOML) as text and as plain data, with what the command line lays over it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from cvfp_core.errors import UsageError, shown

DEFAULT = Path(__file__).with_name("default.toml")


def merged(path: Path | None, overrides: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """The run file (None: the embedded default) with assignments, then overrides laid over it, as plain data."""
    data = parse(path)
    for assignment in assignments:
        _assign(data, assignment)
    if "variants" in overrides:
        matrix = data.pop("matrix", None)
        if isinstance(matrix, dict) and "objective" in matrix:
            data["matrix"] = {"objective": matrix["objective"]}
        data.pop("cells", None)
    return data | dict(overrides)


def as_toml(data: Mapping[str, Any]) -> str:
    """The data of a run file as a run file."""
    tables = {key: value for key, value in data.items() if isinstance(value, dict)}
    lists = {key: value for key, value in data.items() if isinstance(value, list) and value
             and all(isinstance(each, dict) for each in value)}
    plain = [f"{key} = {shown(value)}" for key, value in data.items() if key not in {**tables, **lists}]
    sections = [(f"[{key}]", section) for key, section in tables.items()]
    sections += [(f"[[{key}]]", section) for key, several in lists.items() for section in several]
    return "\n".join([*plain, *("\n".join(["", head, *(f"{name} = {shown(value)}" for name, value in section.items())])
                                for head, section in sections)]) + "\n"


def text(path: Path | None) -> str:
    """The run file (None: the embedded default) as it is written. Raises UsageError if it cannot be read."""
    path = path or DEFAULT
    if path.is_dir():
        raise UsageError(f"cannot read run file '{path}': it is a folder; `cvfp show {path}` prints the runs in one")
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read run file '{path}': {error.strerror or error}{_instead(path)}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"run file '{path}' is not UTF-8: byte 0x{error.object[error.start]:02x} at offset "
                         f"{error.start}") from None


def _instead(path: Path) -> str:
    """A run file of a similar name beside it, or how to have one written."""
    beside = {each.stem: each for each in path.parent.glob("*.toml")}
    near = get_close_matches(path.stem, beside, n=1)
    return f"; did you mean '{beside[near[0]]}'?" if near else "; `cvfp run --show-config` prints one"


def located(message: str, path: Path | None, overrides: Mapping[str, Any], assignments: Sequence[str]) -> str:
    """The message, after file and line of the key that it begins with, where the run file is what gives that key."""
    key = re.match(r"(?:unknown key ')?([\w.]+)", message)
    given = {*overrides, *(assignment.partition("=")[0].strip() for assignment in assignments)}
    if path is None or key is None or any(key[1] == each or key[1].startswith(f"{each}.") for each in given):
        return message
    line = _line_of(key[1], text(path))
    return message if line is None else f"{path}:{line}: {message}"


def _line_of(key: str, text: str) -> int | None:
    """The line that gives a dotted key, or the section or table it is in; None: no line, or which of `[[cells]]`."""
    section, around = "", None
    for number, line in enumerate(text.splitlines(), start=1):
        if head := re.match(r"\s*\[\s*([\w.]+)\s*\]", line):
            name, section = head[1], f"{head[1]}."
        elif line.lstrip().startswith("[["):
            section = "[["
            continue
        elif given := re.match(r"\s*([\w.]+)\s*=", line):
            name = section + given[1]
        else:
            continue
        if name == key:
            return number
        around = number if key.startswith(f"{name}.") else around
    return around


def parse(path: Path | None) -> dict[str, Any]:
    """The run file (None: the embedded default) as plain data. Raises UsageError naming the line of a syntax error."""
    try:
        return _loads(text(path))
    except ValueError as error:
        raise UsageError(f"run file '{path}' is not TOML: {error}") from None


_LONG = "a whole number of more than 64 bits, the most TOML has"


def _loads(text: str) -> dict[str, Any]:
    """The data of a TOML text. Raises ValueError, in one line, for all that Python's reader raises or lets pass."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise ValueError("brackets in brackets, too many to be read") from None
    except ValueError:
        raise ValueError(_LONG) from None  # of more digits than Python reads
    if not all(-(2**63) <= number < 2**63 for number in _whole_numbers(data)):
        raise ValueError(_LONG)
    return data


def _whole_numbers(value: Any) -> Iterator[int]:
    if isinstance(value, int):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _whole_numbers(each)


def value_of(key: str, text: str) -> Any:
    """The value that `--set KEY=text` gives: TOML, or an unquoted word. Raises UsageError for a number too long."""
    try:
        return _loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()
    except ValueError as error:
        raise UsageError(f"--set {key}={text[:20]}...: {error}") from None


def _assign(data: dict[str, Any], assignment: str) -> None:
    key, equals, text = assignment.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", key.strip()):
        raise UsageError(f"--set takes key=value, such as phase1.learning_rate=0.001, not '{assignment}'")
    value = value_of(key.strip(), text)
    *sections, name = key.strip().split(".")
    place = data
    for section in sections:
        if section == "executor" and isinstance(place.get(section), str):
            place[section] = {"name": place[section]}
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise UsageError(f"--set {assignment}: '{section}' is not a section")
    place[name] = value
