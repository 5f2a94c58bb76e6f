"""Files that are there whole or not at all."""

from __future__ import annotations

import hashlib
import os
import platform
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


def _begun(path: Path) -> str:
    return f".{_short(path.name)}"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]
