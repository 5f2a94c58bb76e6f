"""SQLite databases of trackers, opened to be read and never written."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from cvfp_core.errors import IngestError

_HEAD = b"SQLite format 3\0"


@contextmanager
def opened(path: Path) -> Iterator[Callable[..., list[tuple[Any, ...]]]]:
    """A function from a query and its parameters to rows. Raises IngestError for a database that is damaged."""
    whole = "" if path.with_name(f"{path.name}-wal").exists() else "&immutable=1"  # then nothing is locked or written
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{whole}", uri=True)) as connection:
            connection.text_factory = lambda text: text.decode("utf-8", "replace")
            yield lambda query, *given: connection.execute(query, given).fetchall()
    except (sqlite3.Error, UnicodeDecodeError) as error:  # a message of the library may be damaged too
        raise IngestError(1, "a database of runs", str(error)) from None


def has_tables(path: Path, head: bytes, *names: str) -> bool:
    """Whether the file is a database that has tables of these names."""
    return head.startswith(_HEAD) and all(columns(path, name) for name in names)


def columns(path: Path, table: str) -> list[str]:
    """The columns of a table; none if it is not there."""
    with suppress(IngestError), opened(path) as rows:
        return [str(row[1]) for row in rows(f"PRAGMA table_info({table})")]
    return []
