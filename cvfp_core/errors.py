"""What a user can do wrong, said in one line: asked for, found, what to do."""

import errno
import importlib
import json
import re
import sys
import warnings
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line separators, marks that turn the direction of text, halves of characters."""


class CvfpError(Exception):
    """An error a user caused and can mend; printed as one line, exit code 1."""

    exit_code = 1


class UsageError(CvfpError):
    """The request itself is wrong (unknown name, impossible value); exit code 2."""

    exit_code = 2


class IngestError(CvfpError):
    """A file that cannot be read as what it is: line number, what was expected, what stands there."""

    def __init__(self, line: int, expected: str, found: str, file: str = "") -> None:
        place = f"{file}:{line}" if file else f"line {line}"
        super().__init__(f"{place}: expected {expected}, found {found}")


class PluginError(CvfpError):
    """A plugin broke one of the registry's rules; the text says whose it is."""


class CvfpWarning(UserWarning):
    """What a user should hear of a result that there is: one line; the commands then end with exit code 3."""


_ROOM = {errno.ENOSPC: "make room there", errno.EDQUOT: "make room within your quota there",
         errno.EIO: "see to that disk"}


def unwritten(error: OSError, file: object = None) -> CvfpError:
    """The error for a file that cannot be written, by default the one that it names: why, and what to do."""
    text = f"cannot write '{file or error.filename}': {error.strerror or error}"
    if error.errno in _ROOM:
        return CvfpError(f"{text}; {_ROOM[error.errno]}, then run the same command again")
    return UsageError(f"{text}; choose another place")


def some(names: Sequence[str], most: int) -> str:
    """The first names, and how many more there are: `a, b and 3 more`."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def suggestion(asked: str, names: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest of `names`, or nothing."""
    close = get_close_matches(asked, list(names), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


def shown(value: object) -> str:
    """The value as a run file writes it, on one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key} = {shown(each)}' for key, each in value.items())}}}"
    return str(value)


def visible(text: str) -> str:
    r"""The text as a terminal may have it: what steers one, or is no character, is written `\u001b`, as JSON does.

    Blanks, line ends and tabs stay. JSON stays the same JSON.
    """
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def one_line(text: str, longest: int = 2000) -> str:
    """The text on one line: what is not printable escaped, and cut in the middle where it is longer than a screen."""
    line = "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text)
    half = longest // 2
    return line if len(line) <= longest else f"{line[:half]} ... {line[-half:]}"


def unknown(kind: str, asked: str, names: Iterable[str], *, left_out: str = "") -> UsageError:
    """The error for a name nobody registered: what was asked, the nearest name, all there are, and what is disabled."""
    known = sorted(names)
    disabled = f"; plugins left out: {left_out}" if left_out else ""
    return UsageError(
        f"unknown {kind} '{asked}'{suggestion(asked, known)}; installed: {', '.join(known) or 'none'}{disabled}"
    )


def moved(old: str, new: str) -> None:
    """Makes a module at an earlier version's import path stand for the new one, with a DeprecationWarning.

    Where warnings are errors it is shown and raises nothing: what was made for the earlier version works on, its own
    tests included.
    """
    text = f"{old} is now {new}; import it from there"
    try:
        warnings.warn(text, DeprecationWarning, stacklevel=3)
    except DeprecationWarning:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn(text, DeprecationWarning, stacklevel=3)
    sys.modules[old] = importlib.import_module(new)
