"""The `.wandb` file of a run: records in protocol buffers, framed as LevelDB frames its log. No library is needed.

Only what a run is made of is decoded: its history, its configuration, its name and group.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cvfp_core.ingesting.histories import History, whole

MAGIC = b":W&B"
_HEADER = 7
_BLOCK = 32768
_FRAME = 7
"""Bytes before the data of a frame: checksum, length, type."""
_HISTORY, _SUMMARY, _CONFIG, _RUN = 2, 3, 5, 17
"""Fields of a record."""
_RUN_CONFIG, _RUN_FACTS = 4, {6: "group", 8: "name"}
"""Fields of a run; the others name people, machines and places."""


@dataclass(slots=True)
class Logged:
    """What the file says of its run."""

    history: History = field(default_factory=History)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    """`name`, `group`."""


def read(path: Path) -> Logged:
    """The run up to where the file ends or is damaged."""
    made = Logged()
    for record in _records(path.read_bytes()):
        for number, content in _fields(record):
            if number == _HISTORY:
                values = dict(_items(content))
                step = whole(values.pop("_step", None))
                if step is not None:
                    made.history.add(step, {name: value for name, value in values.items() if name != "_timestamp"})
            elif number == _SUMMARY:
                made.summary |= dict(_items(content))
            elif number == _CONFIG:
                made.config |= dict(_items(content))
            elif number == _RUN:
                for name, text in _fields(content):
                    if name == _RUN_CONFIG:
                        made.config |= dict(_items(text))
                    elif name in _RUN_FACTS:
                        made.facts[_RUN_FACTS[name]] = text.decode("utf-8", "replace")
    return made


def _records(data: bytes) -> Iterator[bytes]:
    """The records: each one frame, or a first, middle ones and a last."""
    at, carried = _HEADER, b""
    while at + _FRAME <= len(data):
        left = _BLOCK - at % _BLOCK
        if left < _FRAME:
            at += left
            continue
        size, kind = int.from_bytes(data[at + 4:at + 6], "little"), data[at + 6]
        if not 1 <= kind <= 4 or at + _FRAME + size > len(data):
            return
        carried = (b"" if kind in (1, 2) else carried) + data[at + _FRAME:at + _FRAME + size]
        if kind in (1, 4):
            yield carried
        at += _FRAME + size


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """(number, content) of the fields of a message that have a length; numbers are skipped."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            _, at = _varint(message, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        elif kind == 2:
            size, at = _varint(message, at)
            yield key >> 3, message[at:at + size]
            at += size
        else:
            return


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 70:
        value |= (message[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if message[at - 1] < 128:
            break
    return value, at


def _items(message: bytes) -> Iterator[tuple[str, Any]]:
    """Names and values of a history, a summary or a configuration; nested names are joined by dots."""
    for number, item in _fields(message):
        if number != 1:
            continue
        parts = list(_fields(item))
        name = ".".join(text.decode("utf-8", "replace") for key, text in parts if key in (1, 2))
        text = next((text for key, text in parts if key == 16), None)
        if name and text is not None:
            try:
                yield name, json.loads(text)
            except (ValueError, RecursionError):
                continue
