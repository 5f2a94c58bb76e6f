"""What an exception says in one line, and where in a plugin's own code it arose.

Plugins may raise anything: `sys.exit` in a constructor, a panic of a Rust extension that is no Exception. Where their
code is called, everything is caught but `PASSING`.
"""

from __future__ import annotations

from pathlib import PurePath
from traceback import walk_tb

PASSING = (KeyboardInterrupt, GeneratorExit)
"""What is never a plugin's fault: the user's Ctrl-C, and a generator that nobody reads on."""


def line(error: BaseException) -> str:
    """The exception on one line: its type and what it says."""
    try:
        text = str(error)
    except PASSING:
        raise
    except BaseException:  # its __str__ is a plugin's code too
        text = "(its text cannot be shown)"
    return " ".join(f"{type(error).__name__}: {text}".split())[:500]


def place(error: BaseException, package: str) -> str | None:
    """The innermost line of the package that the exception passed, `cvfp_mine/model.py:41`; None: it passed none."""
    found = None
    for frame, number in walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__name__")).partition(".")[0] == package:
            found = f"{_file(frame.f_code.co_filename, package)}:{number}"
    return found


def raised_by(error: BaseException, package: str) -> bool:
    """Whether the exception arose in the package's own code, not in what that called."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    return bool(frames) and str(frames[-1].f_globals.get("__name__")).partition(".")[0] == package


def told(error: BaseException, package: str) -> str:
    """The exception on one line, with the place in the package where it arose."""
    where = place(error, package)
    return line(error) if where is None else f"{line(error)} ({where})"


def out_of_memory(error: BaseException) -> bool:
    """Whether the machine or the device had no more memory to give."""
    return (isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
            or "can't allocate memory" in line(error))  # torch on a CPU raises a plain RuntimeError


def _file(path: str, package: str) -> str:
    """The file from its package on; by its name alone if the package is one file."""
    parts = PurePath(path).parts
    if package not in parts:
        return PurePath(path).name
    start = len(parts) - 1 - parts[::-1].index(package)
    return "/".join(parts[start:])
