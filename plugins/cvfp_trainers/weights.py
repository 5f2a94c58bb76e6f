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
_LONGEST = 1 << 40
"""Elements along one side of a tensor, at most."""
_SIDES = 64
"""Sides of a tensor, at most: PyTorch's own limit."""
_ARGUMENTS = 1 << 20
_VALUES = {"BININT", "BININT1", "BININT2", "INT", "LONG1", "BINFLOAT", "NEWTRUE", "NEWFALSE"}
_MEMO = {"BINPUT", "LONG_BINPUT", "MEMOIZE", "PUT"}


def params(*folders: Path) -> int | str | None:
    """The elements of all tensors in the first folder that holds safetensors, each name counted once.

    The name of a file whose header is damaged, if one is; None if there are no files.
    """
    for folder in folders:
        shapes: dict[str, int] = {}
        for file in sorted(folder.glob("model*.safetensors")):
            elements = _elements(file)
            if elements is None:
                return file.name
            shapes |= elements
        if shapes:
            return sum(shapes.values())
    return None


def _elements(file: Path) -> dict[str, int] | None:
    """Elements by tensor, from the header of a safetensors file; None if it is damaged."""
    try:
        with file.open("rb") as opened:
            (size,) = struct.unpack("<Q", opened.read(8))
            header: Any = json.loads(opened.read(size)) if size <= _HEADER else None
        shapes = {name: each["shape"] for name, each in header.items() if name != "__metadata__"}
        sound = all(len(shape) <= _SIDES for shape in shapes.values()) and all(
            type(side) is int and 0 <= side <= _LONGEST for shape in shapes.values() for side in shape)
        return {name: math.prod(shape) for name, shape in shapes.items()} if sound else None
    except (OSError, ValueError, struct.error, KeyError, TypeError, AttributeError, RecursionError):
        return None


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
