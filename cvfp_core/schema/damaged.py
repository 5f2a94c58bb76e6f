"""Files of a store that others may have damaged: read if they are what they should be, else told why they are not.

No file that blocks or has no end (a FIFO, a device) is opened.
"""

from __future__ import annotations

import io
import json
import math
import stat
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

from cvfp_core.errors import CvfpWarning, visible

if TYPE_CHECKING:
    import polars as pl

MOST = 1 << 24
"""Bytes of the largest JSON file that is read; a record has some thousand."""
MOST_CURVES = 1 << 30
"""Bytes of the largest file of curves that is read."""
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
          stat.S_IFSOCK: "a socket"}

T = TypeVar("T")


class Unsound(Exception):
    """A file is not what it should be; the text says why."""

    mendable = True
    """Whether it is to be moved aside."""


class Denied(Unsound):
    """A file that this user may not read; nothing says that it is damaged."""

    mendable = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A file that cannot be taken for what it should be."""

    file: Path
    reason: str
    mendable: bool = True
    """Whether it is to be moved aside; not what this user may not read, or another version made."""

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}"


def of(file: Path, error: Unsound) -> Damage:
    """The damage that was found on reading a file."""
    return Damage(file=file, reason=visible(str(error)), mendable=error.mendable)


def way_on(folder: Path, *, mendable: bool = True) -> str:
    """What to do about damage in a store."""
    return f"`cvfp doctor {folder}` shows all{', --mend moves it aside' if mendable else ''}"


def warn(damages: Sequence[Damage], folder: Path) -> None:
    """Tells of files that were left out, in one line."""
    if damages:
        more = f", as {'is 1 more file' if len(damages) == 2 else f'are {len(damages) - 1} more files'}"
        way = way_on(folder, mendable=any(each.mendable for each in damages))
        warnings.warn(CvfpWarning(f"{damages[0]}; it is left out{more if len(damages) > 1 else ''}; {way}"),
                      stacklevel=3)


def content(file: Path, most: int = MOST) -> bytes:
    """The bytes of a regular file. Raises FileNotFoundError, or Unsound for anything else that is none."""
    try:
        if (size := regular(file)) > most:
            raise Unsound(f"has {size:,} bytes, more than any has ({most:,})")
        return file.read_bytes()
    except PermissionError as error:
        raise _denied(error) from None
    except (OSError, MemoryError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise Unsound(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None


def regular(file: Path) -> int:
    """The size of a file, in bytes. Raises FileNotFoundError; Unsound for what is no file, or cannot be looked at."""
    try:
        facts = file.stat()
    except FileNotFoundError:
        if file.is_symlink():
            raise Unsound("is a link to a file that is not there") from None
        raise
    except PermissionError as error:
        raise _denied(error) from None
    except OSError as error:
        raise Unsound(f"cannot be read: {error.strerror or error}") from None
    if not stat.S_ISREG(facts.st_mode):
        raise Unsound(f"is {_KINDS.get(stat.S_IFMT(facts.st_mode), 'no file')}, not a file")
    return facts.st_size


def _denied(error: PermissionError) -> Denied:
    return Denied(f"cannot be read: {error.strerror}; its owner can allow it (chmod)")


def json_of(text: bytes | str) -> Any:
    """What the JSON says. Raises Unsound where it is none, or has a name twice, infinity or half a character."""
    try:
        made = json.loads(text, parse_constant=_no_number, object_pairs_hook=_each_once)
        if "\\u" in text if isinstance(text, str) else b"\\u" in text:
            json.dumps(made, ensure_ascii=False).encode()
        if not _finite(made):
            raise Unsound("a number that is too large")
    except RecursionError:
        raise Unsound("brackets within brackets, thousands of them") from None
    except UnicodeEncodeError:
        raise Unsound("half a character (a surrogate)") from None
    except ValueError as error:
        raise Unsound(str(error)) from None
    return made


def json_object(file: Path, what: str) -> dict[str, Any]:
    """The object in a JSON file. Raises FileNotFoundError; Unsound naming `what` it should be: `a record`."""
    data = content(file)
    try:
        made = json_of(data)
    except Unsound as error:
        raise Unsound(f"not {what}: {error}") from None
    if not isinstance(made, dict):
        raise Unsound(f"not {what}: expected an object, found {type(made).__name__}")
    return made


def parquet(file: Path, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """The frame in a Parquet file of these columns. Raises FileNotFoundError, Unsound."""
    import polars as pl

    data = content(file, MOST_CURVES)
    try:
        made = pl.read_parquet(io.BytesIO(data))
    except (pl.exceptions.PanicException, Exception) as error:  # whatever a torn file makes of the reader
        why = "it is empty" if not data else str(error).partition("\n")[0] or type(error).__name__
        raise Unsound(f"not Parquet that is whole: {why}") from None
    if dict(made.schema) != dict(schema):
        raise Unsound(f"has the columns {', '.join(made.columns) or 'none'}, not {', '.join(schema)}, or other types")
    return made


def value(kind: type[T], facts: object) -> T:
    """The facts as a frozen dataclass of plain fields. Raises Unsound for a field that is missing, or of another type.

    Fields that it does not know, of another version, are left out.
    """
    if not isinstance(facts, dict):
        raise Unsound(f"expected an object, found {type(facts).__name__}")
    types, made = get_type_hints(kind), {}
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name not in facts:
            if field.default is MISSING and field.default_factory is MISSING:
                raise Unsound(f"'{field.name}' is missing")
            continue
        given = facts[field.name]
        given = tuple(given) if isinstance(given, list) else given
        if not _is(given, types[field.name]):
            raise Unsound(f"'{field.name}' is {given!r:.60}")
        made[field.name] = given
    return kind(**made)


def sound(files: Iterable[Path], read: Callable[[Path], T]) -> tuple[list[tuple[Path, T]], list[Damage]]:
    """What is read from each file, and the files that cannot be; those that have gone meanwhile are neither."""
    made, damages = [], []
    for file in files:
        try:
            made.append((file, read(file)))
        except FileNotFoundError:
            continue
        except Unsound as error:
            damages.append(of(file, error))
    return made, damages


def _is(given: object, kind: Any) -> bool:
    """Whether a value of JSON, lists as tuples, is of a type; a whole number is a float too."""
    if kind is Any:
        return True
    if kind is float:
        return isinstance(given, int | float) and not isinstance(given, bool)
    origin, within = get_origin(kind), get_args(kind)
    if origin is None:
        return isinstance(given, kind) and (kind is not int or not isinstance(given, bool))
    if origin is tuple:
        return isinstance(given, tuple) and all(_is(each, within[0]) for each in given)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(given, dict) and all(_is(each, within[1]) for each in given.values())
    return given in within if not all(isinstance(each, type) or get_origin(each) for each in within) else any(
        _is(given, each) for each in within)


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"'{next(name for name in names if names.count(name) > 1)}' is there twice")
    return made


def _finite(value: Any) -> bool:
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
    return math.inf not in values and -math.inf not in values and all(
        _finite(each) for each in values if each.__class__ in (dict, list))
