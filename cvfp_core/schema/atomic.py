"""Files that are there whole or not at all."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable
from pathlib import Path


def write(path: Path, put: Callable[[Path], object]) -> None:
    """Has `put` fill a temporary file beside `path`, then moves it there in one step."""
    writer = f"{platform.node()} {path.name}".encode("utf-8", "surrogateescape")
    temporary = path.with_name(f".{hashlib.sha256(writer).hexdigest()[:12]}.{os.getpid()}.tmp")
    try:
        put(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
