"""What a saved model says of a run without being loaded: its parameters, and the trainer's arguments."""

from __future__ import annotations

import json
import math
import pickletools
import struct
import zipfile
from pathlib import Path
from typing import Any

_HEADER = 64 << 20
"""Bytes of a header of safetensors, at most."""
_ARGUMENTS = 1 << 20
_VALUES = {"BININT", "BININT1", "BININT2", "INT", "LONG1", "BINFLOAT", "NEWTRUE", "NEWFALSE"}
_MEMO = {"BINPUT", "LONG_BINPUT", "MEMOIZE", "PUT"}


def params(*folders: Path) -> dict[str, int]:
    """`params`: the elements of all tensors in the first folder that holds safetensors, each name counted once."""
    for folder in folders:
        shapes: dict[str, int] = {}
        for file in sorted(folder.glob("model*.safetensors")):
            shapes |= _elements(file)
        if shapes:
            return {"params": sum(shapes.values())}
    return {}


def _elements(file: Path) -> dict[str, int]:
    """Elements by tensor, from the header of a safetensors file; none if it is damaged."""
    try:
        with file.open("rb") as opened:
            (size,) = struct.unpack("<Q", opened.read(8))
            header = json.loads(opened.read(size)) if size <= _HEADER else {}
        return {name: math.prod(each["shape"]) for name, each in header.items() if name != "__metadata__"}
    except (OSError, ValueError, struct.error, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def arguments(file: Path) -> dict[str, Any]:
    """Numbers among a trainer's pickled arguments, read without running anything that is pickled."""
    try:
        with zipfile.ZipFile(file) as archive:
            name = next(each for each in archive.infolist() if each.filename.endswith("data.pkl"))
            if name.file_size > _ARGUMENTS:
                return {}
            pickled = archive.read(name)
        made: dict[str, Any] = {}
        key: str | None = None
        for code, value, _ in pickletools.genops(pickled):
            if "UNICODE" in code.name:
                key = str(value)
            elif code.name in _VALUES:
                if key is not None:
                    made.setdefault(key, {"NEWTRUE": True, "NEWFALSE": False}.get(code.name, value))
                key = None
            elif code.name not in _MEMO:
                key = None
        return made
    except (OSError, ValueError, StopIteration, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError):
        return {}
