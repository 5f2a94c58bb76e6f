"""What a plugin's code may do beside its work: print, change the folder, not return, raise KeyboardInterrupt."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from itertools import islice
from types import FrameType, UnionType
from typing import TypeVar, get_args

from cvfp_core.errors import visible

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds after which a hook that has not returned is named."""
MOST = 10_000
"""Fits of a law, or findings of an analysis, that are taken at once."""


@contextmanager
def tidy() -> Iterator[None]:
    """While it is open, what is printed goes to stderr, so that stdout has results alone; then the folder is reset."""
    folder = None
    with suppress(OSError):  # it was removed
        folder = os.getcwd()
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        with suppress(OSError):
            if folder is not None and os.getcwd() != folder:
                os.chdir(folder)


def returned(function: str, value: object, kind: type[T] | UnionType) -> T:
    """The value, of that type. Raises TypeError for what a plugin's function must not return."""
    if not isinstance(value, kind):
        expected = " or ".join(each.__name__.replace("NoneType", "None") for each in get_args(kind) or (kind,))
        raise TypeError(f"{function} must return {expected}, not {value!r:.60}")
    return value


def listed(made: Iterable[T], what: str) -> list[T]:
    """All of an iterable of a plugin's. Raises ValueError for more than MOST: it may never end."""
    items = list(islice(made, MOST + 1))
    if len(items) > MOST:
        raise ValueError(f"more than {MOST:,} {what}; expected an iterable that ends")
    return items


@contextmanager
def watched(what: str, plugin: str, patience: float) -> Iterator[None]:
    """As `tidy`; says on stderr whose code has not returned after `patience` seconds, and waits on."""
    timer = threading.Timer(patience, _say, [f"cvfp: {what} has not returned for {patience:g} s; Ctrl-C ends the wait, "
                                             f"CVFP_DISABLE={plugin} leaves it out"])
    timer.daemon = True
    timer.start()
    try:
        with tidy():
            yield
    finally:
        timer.cancel()


def _say(line: str) -> None:
    print(visible(line), file=sys.stderr, flush=True)


@contextmanager
def heeding_signals() -> Iterator[Callable[[], bool]]:
    """Yields whether a signal has come since; a KeyboardInterrupt without one was raised by somebody's code."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: True
        return

    def chained(before: Callable[[int, FrameType | None], object]) -> Callable[[int, FrameType | None], None]:
        def handler(number: int, frame: FrameType | None) -> None:
            came.append(number)
            before(number, frame)

        return handler

    handlers = {number: handler for name in ("SIGINT", "SIGTERM", "SIGHUP")
                if (number := getattr(signal, name, None)) is not None
                and callable(handler := signal.getsignal(number))}
    try:
        for number, handler in handlers.items():
            signal.signal(number, chained(handler))
        yield lambda: bool(came)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
