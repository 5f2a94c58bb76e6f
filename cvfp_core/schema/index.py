"""The records of a store in one file beside them: ten thousand files are listed instead of read.

    records.index    SHA-256 of what follows, then Parquet: a row a record file, with what the system said of the file

The index is never trusted over the records. Its row of a file counts only while the system says of that file what it
said before it was read: size, inode, and both times to the nanosecond. Whoever writes records does not know the index,
so no writer, killed or not, can leave it wrong; readers add to it what they had to read, and the last one's stays.

A file that changes twice within a tick of the clock may look the same after the second change. So a file counts only
if the clock, when its row was made, had left the file's times behind; what is younger is read again. That clock is the
file system's, which may be another machine's. Where it is set back, files seem young until it has caught up.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from cvfp_core.schema import atomic, damaged
from cvfp_core.schema.damaged import Damage
from cvfp_core.schema.quantities import QUANTITIES
from cvfp_core.schema.records import SCHEMA
from cvfp_core.version import __version__

NAME = "records.index"
WORTH = 200
"""Record files from which on there is an index."""
_MOST = 1 << 32
"""Bytes of the largest index that is read."""
_SETTLED = 2 * 10**9
"""Nanoseconds between a file's times and the clock from which on no tick is both: FAT's is the longest, two seconds."""
_FILE = f"file as read by cvfp {__version__} {hashlib.sha256(repr(QUANTITIES).encode()).hexdigest()[:12]}"
"""Name of the column that tells the rows' files; an index of other columns or rules has none of that name."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Read:
    """The records in files, in the order of the files, and the files that hold none."""

    records: pl.DataFrame
    damages: tuple[Damage, ...] = ()


def read(folder: Path, conformed: Callable[[Sequence[Path]], Read]) -> Read:
    """All records of a store, in the order of their files' names; `conformed` reads those that the index lacks.

    Raises damaged.Unsound if the folder of records cannot be listed.
    """
    files = _listed(folder)
    if len(files) < WORTH:
        return conformed(list(files.values()))
    index = _loaded(folder)
    if set(index[_FILE]) == set(files):
        return Read(records=index.drop(_FILE))
    now = clock(folder)
    files = _listed(folder)  # what is written after this listing gets times that are not before the clock
    kept = _of(index, files)
    if kept.height < index.height and set(index.columns) - {_FILE, *SCHEMA}:
        kept = kept.clear()  # what is gone took part in the types of columns that the schema lacks

    def having(keys: Sequence[bytes]) -> Read:
        made = conformed([files[key] for key in keys])
        without = {damage.file for damage in made.damages}
        whole = pl.Series(_FILE, [key for key in keys if files[key] not in without], dtype=pl.Binary)
        return Read(records=made.records.with_columns(whole), damages=made.damages)

    known = set(kept[_FILE])
    new = having([key for key in files if key not in known])
    records = together([kept, new.records])
    if records is None:
        new = having(list(files))
        records = new.records
    records = records.sort(_FILE)
    settled = {key for key in records[_FILE] if _times(key) < now - _SETTLED}
    if settled != set(index[_FILE]):
        _store(folder, _of(records, settled))
    return Read(records=records.drop(_FILE), damages=new.damages)


def together(frames: Sequence[pl.DataFrame]) -> pl.DataFrame | None:
    """The frames of records below each other; None where a column that the schema lacks is of two types in them.

    Of such a column the type follows from all values, so that they have to be read together.
    """
    frames = [frame for frame in frames if frame.height] or frames[:1]
    types: dict[str, set[pl.DataType]] = {}
    for name, dtype in (item for frame in frames for item in frame.schema.items()):
        types.setdefault(name, set()).update(() if dtype == pl.Null else (dtype,))
    if any(len(each) > 1 or pl.Object() in each for each in types.values()):
        return None
    others = sorted(types.keys() - SCHEMA.keys())
    return pl.concat(frames, how="diagonal_relaxed").select(*SCHEMA, *others)


def _listed(folder: Path) -> dict[bytes, Path]:
    """The record files by their names and what the system says of them, in the order of their names."""
    found = {}
    try:
        with os.scandir(folder / "records") as entries:
            for entry in entries:
                if entry.name.endswith(".json"):
                    try:
                        said = entry.stat()
                    except OSError:
                        if not entry.is_symlink():  # gone meanwhile
                            continue
                        said = entry.stat(follow_symlinks=False)
                    facts = f"{said.st_mtime_ns} {said.st_ctime_ns} {said.st_size} {said.st_ino}"
                    found[os.fsencode(entry.name) + b"\0" + facts.encode()] = Path(entry.path)
    except PermissionError as error:
        raise damaged.Denied(f"cannot be listed: {error.strerror}; its owner can allow it (chmod)") from None
    except OSError as error:
        raise damaged.Unsound(f"cannot be listed: {error.strerror or error}") from None
    return dict(sorted(found.items()))


def _of(records: pl.DataFrame, keys: Collection[bytes]) -> pl.DataFrame:
    return records.filter(pl.Series([key in keys for key in records[_FILE]], dtype=pl.Boolean))


def _times(key: bytes) -> int:
    """The later of the two times of a file, in nanoseconds."""
    return max(map(int, key.rpartition(b"\0")[2].split()[:2]))


def clock(folder: Path) -> int:
    """The time by the file system's clock, in nanoseconds; 0 where nothing can be written."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            return os.fstat(file.fileno()).st_mtime_ns
    except OSError:
        return 0


def check(file: Path) -> None:
    """Raises FileNotFoundError; damaged.Unsound for an index that is not whole."""
    content = damaged.content(file, _MOST)
    if hashlib.sha256(content[32:]).digest() != content[:32]:
        raise damaged.Unsound("not an index that is whole; without it, it is made anew")


def _loaded(folder: Path) -> pl.DataFrame:
    """The index; an empty one where there is none, or none that is whole and of this version."""
    with suppress(OSError, damaged.Unsound):
        content = damaged.content(folder / NAME, _MOST)
        if hashlib.sha256(content[32:]).digest() == content[:32]:
            index = pl.read_parquet(io.BytesIO(content[32:]))
            if _FILE in index.columns:
                return index
    return pl.DataFrame(schema={_FILE: pl.Binary})


def _store(folder: Path, index: pl.DataFrame) -> None:
    """Keeps the index; where it cannot be, for want of rights or room, the next reader does without."""
    content = io.BytesIO()
    with suppress(OSError, pl.exceptions.PolarsError):
        index.write_parquet(content)
        whole = hashlib.sha256(content.getvalue()).digest() + content.getvalue()
        atomic.write(folder / NAME, whole, durable=False)
