"""Work in a process of its own, which may take so long and so much memory.

A template may ask for anything: a text times 10**9, a comparison that takes years in one operation. What Python can
interrupt ends with an exception where it stands; the rest is killed, and says where it stood.
"""

from __future__ import annotations

import faulthandler
import gc
import math
import os
import select
import signal
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import NoReturn

from cvfp_core.errors import CvfpError
from cvfp_core.schema.options import Option, Scalar, resolve

GRACE = 0.5
"""Seconds from the exception in the work to the end of its process."""
PREFIX = "limits."
Lift = Callable[[], None]
_DIED = "the process that rendered it died, as where calls go deeper than its stack"
_DONE, _FAILED = b"+", b"-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a template may take: time, memory beside what the program has, length of its text; runs that it is of."""

    seconds: float = 60.0
    memory_gib: float = 2.0
    output_mib: float = 100.0
    runs: int = 5_000

    @classmethod
    def of(cls, given: Mapping[str, Scalar | None]) -> Limits:
        """The limits among what `--set` gave: `limits.seconds=600`. Raises UsageError for what is none."""
        options = [Option(name=name, default=default, above=0, help="") for name, default in asdict(cls()).items()]
        own = {name.removeprefix(PREFIX): value for name, value in given.items() if name.startswith(PREFIX)}
        return cls(**resolve("limits", options, own))  # type: ignore[arg-type]


class LimitError(Exception):
    """Work reached a limit."""

    def __init__(self, limits: Limits, name: str) -> None:
        what = {"seconds": "s", "memory_gib": "GiB of memory", "output_mib": "MiB of text"}[name]
        super().__init__(f"takes more than {getattr(limits, name):g} {what}; --set limits.{name}=N allows more")


class Stopped(Exception):
    """The process ended without an answer: why, and where it stood as `faulthandler` writes it."""

    def __init__(self, why: str, stack: str) -> None:
        super().__init__(why)
        self.stack = stack


def run(work: Callable[[Lift], bytes], limits: Limits) -> bytes:
    """What the work returns. Raises the CvfpError that it raised, or Stopped.

    work: is given what lifts the limits, for what is left to be said about an error. LimitError is raised in it when
    its time is over, MemoryError by what asks for too much. Where a system cannot fork, nothing is limited.
    """
    if not hasattr(os, "fork"):
        return work(lambda: None)
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, whose locks no work of ours takes
        child = os.fork()
    if child == 0:
        _work(work, limits, writing)
    os.close(writing)
    try:
        return _answer(reading, child, limits)
    finally:
        os.close(reading)
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _work(work: Callable[[Lift], bytes], limits: Limits, writing: int) -> NoReturn:
    """The child's side: nothing of the parent's is closed, flushed or collected."""
    answer = b""
    try:
        gc.disable()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        faulthandler.register(signal.SIGUSR1, file=writing, all_threads=False)

        def over(*_: object) -> NoReturn:
            raise LimitError(limits, "seconds")

        signal.signal(signal.SIGALRM, over)
        signal.setitimer(signal.ITIMER_REAL, limits.seconds, GRACE / 2)  # again, should something have caught it
        lift = _limit_memory(limits)
        try:
            answer = _DONE + work(lift)
        except CvfpError as error:
            answer = _FAILED + str(error).encode(errors="backslashreplace")
        lift()
        sent = memoryview(answer)
        while sent:
            sent = sent[os.write(writing, sent):]
    finally:
        os._exit(0)


def _limit_memory(limits: Limits) -> Lift:
    """Allows so much beside what the process has, where the system says how much; returns what lifts all limits.

    One stays: of processor time, should the parent be killed while one operation takes years.
    """
    import resource

    most, hard = math.ceil(limits.seconds + 4 * GRACE), resource.getrlimit(resource.RLIMIT_CPU)[1]
    most = most if hard < 0 else min(most, hard)  # of `ulimit -t`
    resource.setrlimit(resource.RLIMIT_CPU, (most, most))
    before = resource.getrlimit(resource.RLIMIT_AS)
    with suppress(OSError), open("/proc/self/statm", encoding="ascii") as file:
        size = int(file.read().split()[0]) * resource.getpagesize() + int(limits.memory_gib * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (size if before[0] < 0 else min(size, before[0]), before[1]))

    def lift() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, before)

    return lift


def _answer(reading: int, child: int, limits: Limits) -> bytes:
    """The parent's side."""
    parts: list[bytes] = []
    end, asked = time.monotonic() + limits.seconds + GRACE, False
    while True:
        if not select.select([reading], [], [], max(end - time.monotonic(), 0))[0]:
            if asked:
                break
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGUSR1)  # writes where it stands
            end, asked = time.monotonic() + GRACE / 2, True
        elif part := os.read(reading, 2**20):
            parts.append(part)
        else:
            break
    text = b"".join(parts)
    if text[:1] == _DONE and not asked:
        return text[1:]
    if text[:1] == _FAILED and not asked:
        raise CvfpError(text[1:].decode())
    raise Stopped(str(LimitError(limits, "seconds")) if asked else _DIED, text.decode(errors="replace"))
