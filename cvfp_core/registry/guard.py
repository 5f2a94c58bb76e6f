"""What a plugin's code may do beside its work: print, change the folder, not return, raise KeyboardInterrupt."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from types import FrameType

from cvfp_core.errors import visible

PATIENCE = 30.0
"""Seconds after which a hook that has not returned is named."""


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
