"""Lines and texts on their way to a terminal: nothing in them steers it, whatever data they quote."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from cvfp_core.errors import CvfpWarning, one_line, visible


def say(line: object) -> None:
    """Prints `cvfp: line` on stderr, as one line."""
    note(f"cvfp: {one_line(str(line))}")


@contextmanager
def heard_warnings() -> Iterator[set[str]]:
    """While it is open, warnings of ours are lines on stderr, each once; yields those that were said."""
    heard = set[str]()
    with warnings.catch_warnings():
        warnings.simplefilter("always", CvfpWarning)
        show = warnings.showwarning

        def tell(message: Warning | str, category: type[Warning], filename: str, lineno: int,
                 file: TextIO | None = None, line: str | None = None) -> None:
            if not issubclass(category, CvfpWarning):
                show(message, category, filename, lineno, file, line)
            elif (text := str(message)) not in heard:
                heard.add(text)
                say(f"warning: {text}")

        warnings.showwarning = tell
        yield heard


def note(line: str) -> None:
    """Prints a line on stderr; on a terminal it breaks between words."""
    if sys.stderr.isatty():
        from rich.console import Console

        line = wrapped(line, Console(stderr=True).width)
    with suppress(OSError):  # it is full, or its reader has gone: there is nobody to tell
        print(visible(line), file=sys.stderr, flush=True)


def wrapped(text: str, room: int, indent: int = 0) -> str:
    """The text broken between words into lines of that many columns, those after the first indented."""
    from rich.console import Console
    from rich.text import Text

    lines = Text(text).wrap(Console(), max(room - indent, 20))
    return f"\n{' ' * indent}".join(str(line).rstrip() for line in lines)


def write(text: str) -> None:
    """Writes a text to stdout: visibly on a terminal, as it is to a file or a program."""
    sys.stdout.write(visible(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def show_json(data: object, *, indent: int | None = 1, out: TextIO | None = None) -> None:
    """Prints plain data as JSON. out: stdout, if not as it stands now."""
    encoding = getattr(out or sys.stdout, "encoding", None) or "utf-8"
    unicode = encoding.lower().replace("-", "").startswith("utf")
    print(visible(as_json(data, indent=indent, unicode=unicode)), file=out, flush=True)


def as_json(data: object, *, indent: int | None = 1, unicode: bool = True) -> str:
    """Plain data as JSON, which has no NaN. unicode: whether what is not ASCII may stand as it is."""
    return json.dumps(data, indent=indent, ensure_ascii=not unicode, allow_nan=False, default=str)
