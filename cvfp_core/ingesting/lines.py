"""The lines of a text file as a stream: any encoding, any line ends, any length, in memory that does not grow."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path

from cvfp_core.errors import IngestError

CHUNK = 1 << 18
LONGEST = 1 << 16
"""Characters kept of a line; what a longer one holds beyond is cut off and marked."""
CUT = " […]"

_CONTROLS = bytes(set(range(32)) - {9, 10}) + b"\x7f"
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
_OTHER_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def encoding(head: bytes) -> str:
    """The encoding a file starts in: by its mark, or UTF-16 by its zeros (as PowerShell writes), else UTF-8."""
    marks = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
    for mark, name in marks.items():
        if head.startswith(mark):
            return name
    sample = head[:2000]
    if len(sample) >= 20:
        if sample[1::2].count(0) > 0.4 * len(sample) and not sample[::2].count(0):
            return "utf-16-le"
        if sample[::2].count(0) > 0.4 * len(sample) and not sample[1::2].count(0):
            return "utf-16-be"
    return "utf-8"


def first_bytes(path: Path, size: int) -> bytes:
    """The first bytes of a file; none of one that cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError:
        return b""


def text_of(head: bytes) -> str:
    """The first bytes of a file as text, for a look at what it is."""
    return codecs.getincrementaldecoder(encoding(head))("replace").decode(head)


def plain_text(head: bytes) -> str:
    """The first bytes of a file as text without terminal control sequences; overwritten parts on lines of their own."""
    return _ESCAPES.sub("", text_of(head)).replace("\r", "\n")


def read_lines(path: Path) -> Iterator[tuple[int, int, list[str]]]:
    """Batches of (number of the first line, step, lines): line i of a batch has the number first + i * step.

    Lines end at a newline, numbers are those an editor shows. A line that a terminal overwrote (carriage returns)
    comes as its parts, in a batch of step 0. Terminal control sequences are taken out.
    """
    with path.open("rb") as file:
        head = file.read(4096)
        name = encoding(head)
        decoder = codecs.getincrementaldecoder(name)("replace")
        number, carry, too_long = 1, "", False
        data = head
        while True:
            plain = data.replace(b"\r\n", b"\n") if b"\r\n" in data else data
            dirty = name.startswith("utf-16") or len(plain.translate(None, _CONTROLS)) != len(plain)
            dirty = dirty or _OTHER_CONTROLS.search(carry) is not None or "\r" in carry
            text = carry + decoder.decode(data, final=not data)
            lines = text.replace("\r\n", "\n").split("\n")
            carry = lines.pop()
            if lines and too_long:
                lines[0] += CUT
                too_long = False
            if len(carry) > LONGEST:
                carry, too_long = carry[:LONGEST], True
            if not data and carry:
                lines.append(carry + CUT if too_long else carry)
            if dirty:
                yield from _cleaned(lines, number)
            elif lines:
                yield number, 1, lines
            number += len(lines)
            if not data:
                return
            data = file.read(CHUNK)


def _cleaned(lines: list[str], number: int) -> Iterator[tuple[int, int, list[str]]]:
    plain: list[str] = []
    for index, raw in enumerate(lines):
        line = _ESCAPES.sub("", raw) if "\x1b" in raw else raw
        line = line.rstrip("\r")
        parts = [part for part in line.split("\r") if part] if "\r" in line else [line]
        parts = [_OTHER_CONTROLS.sub("\N{REPLACEMENT CHARACTER}", part) for part in parts]
        if len(parts) == 1:
            plain.append(parts[0])
            continue
        if plain:
            yield number + index - len(plain), 1, plain
            plain = []
        yield number + index, 0, parts or [""]
    if plain:
        yield number + len(lines) - len(plain), 1, plain


def shown(text: str, width: int = 70) -> str:
    """The text as an error message quotes it: one line, no control characters, not longer than `width`."""
    flat = _OTHER_CONTROLS.sub("\N{REPLACEMENT CHARACTER}", " ".join(text.split()))
    flat = flat.encode("utf-8", "replace").decode()
    return repr(flat if len(flat) <= width else flat[: width - 1] + "…")


def shown_name(name: str) -> str:
    """The name of a file as messages and records call it: what is no printable character is replaced."""
    return name if name.isprintable() else "".join(
        sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in name)


def bad_json(error: json.JSONDecodeError, file: str = "") -> IngestError:
    """The error as a user needs it: the line, what was expected, what stands there."""
    lines = error.doc.splitlines() or [""]
    what = error.msg[:1].lower() + error.msg[1:].removesuffix(" starting at")
    return IngestError(error.lineno, f"JSON ({what})", shown(lines[min(error.lineno, len(lines)) - 1]), file)
