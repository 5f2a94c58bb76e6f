"""The right to run a cell, among processes of one host and of several.

    locks/RUN_ID.lock         the system's lock on it belongs to who runs the cell, and is freed when that dies
    locks/RUN_ID.leases/N     who that is, with a beat that it counts on; of several the highest N

On network file systems a lock may hold on its own host only (NFS without lockd, Lustre with localflock). So who gets
the lock looks at the lease too. One of this host is of a process that died, for it had the lock. One of another host
counts until its beat has stood still for STALE seconds, by the clock of who looks: no two clocks are compared. It is
taken over by making the file of the next number, which one process can. Who was stopped meanwhile, and wakes, finds
that number taken: before it stores a record it makes the next one itself, or learns that it has lost the cell.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from cvfp_core.schema import damaged

BEAT = 10.0
"""Seconds between two beats."""
STALE = 60.0
"""Seconds after which a beat that stands still is of a process that died."""
_POLL = 0.1
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What a file system says that has no locks at all; leases do without."""


class Taken(Exception):
    """Another process has taken the cell over; the text says which."""


class RunLock:
    """The right to run a cell. Kept by who waits for it, since it remembers how long a beat has stood still."""

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(path)
        self._leases = path.with_suffix(".leases")
        self._owner = uuid.uuid4().hex
        self._number = self._beat = 0
        self._seen: tuple[str, float] | None = None
        self._ends, self._one = threading.Event(), threading.Lock()
        self._heart: threading.Thread | None = None
        self.lost: str | None = None
        """Who has taken the cell over, where somebody has."""
        self.unlocked: str | None = None
        """A host that was seen to run the cell though its lock was had here: locks do not hold between the two."""

    @contextmanager
    def acquire(self, timeout: float = -1) -> Iterator[RunLock]:
        """Holds the right; waits for it up to so many seconds, below 0 without end. Raises filelock.Timeout."""
        until = time.monotonic() + timeout
        try:
            self._lock.acquire(timeout=timeout)
        except (NotImplementedError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
                raise
        try:
            while not self._take():
                if timeout >= 0 and until <= time.monotonic():
                    raise Timeout(str(self._lock.lock_file))
                time.sleep(_POLL)
            try:
                yield self
            finally:
                self._give_back()
        finally:
            self._lock.release()

    def __enter__(self) -> RunLock:
        self._held = self.acquire()
        return self._held.__enter__()

    def __exit__(self, *raised: object) -> None:
        self._held.__exit__(*raised)  # type: ignore[arg-type]

    def renew(self) -> None:
        """Makes sure that the right is still held. Raises Taken if it is not."""
        with self._one:
            if self.lost is not None or not self._owned() or not self._make(self._number + 1):
                self._lose()
        self.check()

    def check(self) -> None:
        """Raises Taken if it was found before that the right is lost."""
        if self.lost is not None:
            raise Taken(f"another process has taken this cell over ({self.lost}); its record counts")

    def _take(self) -> bool:
        """Takes the lease if it is free, or of one that died."""
        numbers = self._numbers()
        if numbers:
            with suppress(FileNotFoundError):
                said = self._told(numbers[-1])
                host = _host_of(said)
                if host is None or host["boot"] != self._boot() or not self._lock.is_locked:
                    now = time.monotonic()
                    if self._seen is None or self._seen[0] != said:
                        if self._seen is not None and host is not None and self._lock.is_locked:
                            self.unlocked = host["host"]
                        self._seen = (said, now)
                    if now - self._seen[1] < STALE:
                        return False
        if not self._make((numbers or [0])[-1] + 1):
            return False
        self._seen, self.lost = None, None
        self._ends.clear()
        self._heart = threading.Thread(target=self._live, name="cvfp-lease", daemon=True)
        self._heart.start()
        return True

    def _make(self, number: int) -> bool:
        """Makes the lease of that number, which one process can; whether this one did, and none is higher.

        No number is free again before all are: who has listed them before may still go by what it saw.
        """
        try:
            self._leases.mkdir(exist_ok=True)
            handle = os.open(self._file(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        except (FileExistsError, FileNotFoundError):
            return False
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(self._said())
        except OSError:  # a full disk: who comes next is not to wait for nobody
            self._file(number).unlink(missing_ok=True)
            raise
        if self._numbers()[-1:] != [number]:
            self._file(number).unlink(missing_ok=True)
            return False
        self._number = number
        return True

    def _live(self) -> None:
        """Counts the beat on until the right is given back or lost. A beat that cannot be written is left out."""
        while not self._ends.wait(BEAT):
            with self._one:
                if not self._owned() or self._numbers()[-1:] > [self._number]:
                    self._lose()
                    return
                self._beat += 1
                with suppress(OSError), self._file(self._number).open("r+", encoding="utf-8") as file:
                    file.write(self._said())
                    file.truncate()

    def _owned(self) -> bool:
        with suppress(OSError):
            return self._owner in self._told(self._number)
        return False

    def _lose(self) -> None:
        who = None
        with suppress(OSError, IndexError):
            who = _host_of(self._told(self._numbers()[-1]))
        self.lost = "it has ended" if who is None else f"process {who['process']} on {who['host']}"

    def _give_back(self) -> None:
        self._ends.set()
        if self._heart is not None:
            self._heart.join()
        if self.lost is None and self._owned():
            with suppress(OSError):
                for number in self._numbers():
                    self._file(number).unlink()
                self._leases.rmdir()

    def _numbers(self) -> list[int]:
        """The numbers of the leases there are, the one that counts last."""
        with suppress(FileNotFoundError):
            return sorted(int(name) for name in os.listdir(self._leases) if name.isdecimal())
        return []

    def _file(self, number: int) -> Path:
        return self._leases / str(number)

    def _told(self, number: int) -> str:
        """What stands in a lease; nothing in one that is damaged, which counts as long as one that is being written."""
        try:
            return damaged.content(self._file(number)).decode("utf-8", "replace")
        except damaged.Unsound:
            return ""

    def _boot(self) -> str:
        return _boot()

    def _said(self) -> str:
        return json.dumps({"owner": self._owner, "host": platform.node(), "boot": self._boot(), "process": os.getpid(),
                           "beat": self._beat})


def _host_of(said: str) -> dict[str, str] | None:
    """Host, boot and process that a lease says; None where it is being written."""
    try:
        lease = json.loads(said)
        return {name: str(lease[name]) for name in ("host", "boot", "process")}
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def _boot() -> str:
    """What is the same for all processes whose locks this system keeps: the kernel's own start."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{platform.node()} {uuid.getnode():x}"
