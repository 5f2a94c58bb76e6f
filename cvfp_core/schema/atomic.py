"""Files that are there whole or not at all."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Callable
from pathlib import Path


def write(path: Path, put: Callable[[Path], object]) -> None:
    """Has `put` fill a temporary file beside `path`, then moves it there in one step."""
    temporary = path.with_name(f"{_begun(path)}.{_short(platform.node())}-{os.getpid()}.tmp")
    try:
        put(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def clear(path: Path) -> None:
    """Removes what writers of `path` left that were killed; there must be no living one."""
    for left in path.parent.glob(f"{_begun(path)}.*.tmp"):
        left.unlink(missing_ok=True)


def file_name(run_id: str) -> str:
    """The run id as a file name that cannot leave its folder; one that had to be changed gets a hash of the whole."""
    plain = re.sub(r"[^A-Za-z0-9_.\-+=@]", "_", run_id).lstrip(".")[:200]
    return plain if plain == run_id else f"{plain}~{hashlib.sha256(run_id.encode()).hexdigest()[:12]}"


def _begun(path: Path) -> str:
    return f".{_short(path.name)}"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]
