"""Files that are there whole or not at all, after a kill and after a power cut.

A file is written beside its place, put on the disk, moved there, and the move put on the disk: `fsync` of the file,
`rename`, `fsync` of the folder. CVFP_SYNC=0 in the environment leaves out both `fsync`, for disks on which they are
slow: then a kill does no harm, and a power cut may tear what was written in the last half minute.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from cvfp_core.errors import UsageError, unwritten

SYNC = "CVFP_SYNC"
"""Variable of the environment: 0 leaves out what a power cut asks for."""
_NO_SYNC = (errno.EINVAL, errno.EBADF, errno.ENOTSUP)
"""What file systems say that cannot put a folder on the disk by itself; they do so with the file."""


Content = str | bytes | Callable[[Path], object]
"""What a file is to hold, or what fills it."""


def write(path: Path, content: Content, *, durable: bool = True, new: bool = False) -> None:
    """Moves the content to `path` in one step. durable: False: for what can be made again.

    new: it replaces nothing: FileExistsError where there is a file, unless the file system has no hard links.
    Raises OSError, which names `path`.
    """
    _move(path, content, durable=durable, new=new)
    if durable:
        _settle(path.parent)


def write_each(files: Iterable[tuple[Path, Content]]) -> None:
    """As `write`, of many files; the moves are on the disk when all are made."""
    folders = dict[Path, None]()
    for path, content in files:
        _move(path, content)
        folders[path.parent] = None
    for each in folders:
        _settle(each)


def _move(path: Path, content: Content, *, durable: bool = True, new: bool = False) -> None:
    temporary = path.with_name(f"{_begun(path)}.{_short(platform.node())}-{os.getpid()}.tmp")
    try:
        if callable(content):
            content(temporary)
        else:
            temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        if durable:
            _settle(temporary)
        if not new or not _linked(temporary, path):
            os.replace(temporary, path)
    except OSError as error:
        raise _named(error, path) from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _linked(temporary: Path, path: Path) -> bool:
    """Gives the file its name as well, where it is free and the file system can. Raises FileExistsError."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        return False
    return True


def move(path: Path, place: Path) -> None:
    """Moves a file to a place where there is none, in the same file system. Raises OSError, which names `path`."""
    try:
        os.rename(path, place)
    except OSError as error:
        raise _named(error, path) from None
    for each in (place.parent, path.parent):
        _settle(each)


def append(path: Path, line: str) -> None:
    """Adds a line to a file. Raises OSError, also for what is no file, which may block."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is no file", str(path))
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(line)
    except OSError as error:
        raise _named(error, path) from None


def save(path: Path, content: str | bytes) -> None:
    """Writes a file that a user named, its folders made: whole or not at all, with the rights that it had.

    In place is written what is no file of its own (a link, a pipe, a device) or in a folder that takes no new one.
    Raises CvfpError where it cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        folder(path.parent)
        there = path.stat() if path.exists() else None
        if there is not None and (path.is_symlink() or not path.is_file() or not os.access(path.parent, os.W_OK)):
            path.write_bytes(data)
            return

        def put(temporary: Path) -> None:
            temporary.write_bytes(data)
            if there is not None:
                temporary.chmod(there.st_mode & 0o7777)

        write(path, put)
    except OSError as error:
        raise unwritten(error, path) from None


def folder(path: Path) -> Path:
    """The folder, made if it is missing, and those above it; on the disk when this returns."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for each in missing:
        _settle(each.parent)
    return path


def synced() -> bool:
    """Whether files are put on the disk before they count. Raises UsageError for a setting that is none."""
    asked = os.environ.get(SYNC, "1")
    if asked not in ("0", "1"):
        raise UsageError(f"{SYNC} is 1 (files are put on the disk) or 0 (slow disks: they are not), not '{asked}'")
    return asked == "1"


def clear(path: Path) -> None:
    """Removes what writers of `path` left that were killed; there must be no living one."""
    for left in path.parent.glob(f"{_begun(path)}.*.tmp"):
        with suppress(OSError):
            left.unlink()


def file_name(run_id: str) -> str:
    """The run id as a file name that cannot leave its folder; one that had to be changed gets a hash of the whole."""
    plain = re.sub(r"[^A-Za-z0-9_.\-+=@]", "_", run_id).lstrip(".")[:200]
    return plain if plain == run_id else f"{plain}~{hashlib.sha256(run_id.encode()).hexdigest()[:12]}"


def _settle(path: Path) -> None:
    """Puts a file, or the names in a folder, on the disk."""
    is_folder = path.is_dir()
    if not synced() or (is_folder and os.name == "nt"):  # Windows opens no folder
        return
    try:
        handle = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if not is_folder or error.errno not in _NO_SYNC:
            raise _named(error, path) from None


def _named(error: OSError, path: Path) -> OSError:
    """The error, naming the file that was to be written; the system names its temporary, or nothing."""
    return error if error.errno is None else OSError(error.errno, error.strerror, str(path))


def _begun(path: Path) -> str:
    return f".{_short(path.name)}"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]
