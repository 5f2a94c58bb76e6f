"""What a store asks of the file system under it: a rename in one step, and files that one process alone can make."""

from __future__ import annotations

import os
import re
from pathlib import Path

from cvfp_core.errors import UsageError

OBJECT_STORES = ("s3fs", "goofys", "geesefs", "mountpoint-s3", "gcsfuse", "blobfuse", "blobfuse2", "rclone", "ossfs",
                 "cosfs", "obsfs")
"""Object stores mounted as folders: there a rename is a copy and a removal, or does not exist."""
_MOUNTS = Path("/proc/self/mountinfo")
_ADVICE = "choose a folder on a disk, NFS or Lustre with --out, and copy it there when the runs are done"


def refuse_object_store(folder: Path) -> None:
    """Raises UsageError for a folder of an object store, by the address or by the mount it is under."""
    if re.match(r"[a-z][a-z0-9+]+:/", str(folder)):
        scheme = str(folder).partition(":")[0]
        raise UsageError(f"cannot keep runs in '{folder}': {scheme} is no file system, so no file is renamed in "
                         f"one step; {_ADVICE}")
    kind = _kind(folder.absolute())
    if kind.removeprefix("fuse.") in OBJECT_STORES:
        raise UsageError(f"cannot keep runs in '{folder}': it is on {kind}, an object store, where no file is renamed "
                         f"in one step; {_ADVICE}")


def try_rename(folder: Path) -> None:
    """Raises UsageError unless files of the folder can be renamed over others, and made by one process alone.

    Raises OSError where nothing can be written at all.
    """
    paths = [folder / f".{os.getpid()}.{name}.tmp" for name in ("old", "new")]
    try:
        for path in paths:
            path.write_text(path.name, encoding="utf-8")
        try:
            os.replace(paths[1], paths[0])
            if paths[1].exists() or paths[0].read_text(encoding="utf-8") != paths[1].name:
                raise OSError("the old file stays")
        except OSError as error:
            raise UsageError(f"cannot keep runs in '{folder}': its file system{_named(folder)} does not rename a file "
                             f"over another in one step ({error.strerror or error}); {_ADVICE}") from None
        try:
            os.close(os.open(paths[0], os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        raise UsageError(f"cannot keep runs in '{folder}': its file system{_named(folder)} lets two processes make the "
                         f"same file; {_ADVICE}")
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


def _named(folder: Path) -> str:
    kind = _kind(folder.absolute())
    return f", {kind}," if kind else ""


def _kind(path: Path) -> str:
    """The type of the file system the path is on, as the system names it; empty where it does not say."""
    try:
        lines = [line.split() for line in _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return ""
    while not path.exists() and path != path.parent:
        path = path.parent
    path = path.resolve()
    mounts = {Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[4])):
              fields[fields.index("-") + 1] for fields in lines if "-" in fields[6:]}
    return next((mounts[each] for each in (path, *path.parents) if each in mounts), "")
