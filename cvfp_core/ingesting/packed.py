"""Packed files (gzip, bzip2, xz, zstd, zip): unpacked into a folder for as long as they are read."""

from __future__ import annotations

import lzma
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO

from cvfp_core.errors import CvfpError

MOST = 2 << 30
"""Bytes of what was packed, at most: a file of 10 MB may hold 10 GB."""
_CHUNK = 1 << 20
_MARKS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_MODULES = {"gzip": "gzip", "bzip2": "bz2", "xz": "lzma", "zstd": "compression.zstd"}
_DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError, NotImplementedError)


def form(path: Path, head: bytes) -> str | None:
    """How the file is packed; None: it is not. Only what is called so counts as zip: other programs' files are too."""
    if path.suffix.lower() == ".zip" and head.startswith(b"PK"):
        return "zip"
    return next((name for mark, name in _MARKS.items() if head.startswith(mark)), None)


@contextmanager
def unpacked(path: Path, packing: str) -> Iterator[list[tuple[Path, str]]]:
    """What is in the file: where it lies meanwhile, and what is added to the file's name to name it.

    Raises CvfpError for a file that is damaged, and for more than `MOST` bytes.
    """
    with tempfile.TemporaryDirectory(prefix="cvfp-unpacked-") as folder:
        try:
            made = _of_zip(path, Path(folder)) if packing == "zip" else [
                (_written(_opened(path, packing), Path(folder) / (path.stem or "file"), MOST), "")]
        except _DAMAGED as error:
            raise CvfpError(f"expected a {packing} file, found one that cannot be unpacked: {error}") from None
        yield made


def _of_zip(path: Path, folder: Path) -> list[tuple[Path, str]]:
    made, left = [], MOST
    with zipfile.ZipFile(path) as file:
        for number, member in enumerate(each for each in file.infolist() if not each.is_dir()):
            name = Path(member.filename).name
            if name.startswith(".") or "__MACOSX" in member.filename:
                continue
            (folder / str(number)).mkdir()
            place = _written(file.open(member), folder / str(number) / name, left)
            left -= place.stat().st_size
            made.append((place, f"/{member.filename}"))
    return made


def _opened(path: Path, packing: str) -> IO[bytes]:
    try:
        opened: IO[bytes] = import_module(_MODULES[packing]).open(path)
    except ImportError:
        raise CvfpError(f"{packing} needs Python 3.14; or unpack it first: {packing} -d {path.name}") from None
    return opened


def _written(source: IO[bytes], place: Path, most: int) -> Path:
    with source, place.open("wb") as file:
        while data := source.read(_CHUNK):
            most -= len(data)
            if most < 0:
                raise CvfpError(f"expected at most {MOST >> 30} GiB when unpacked, found more; unpack it first")
            file.write(data)
    return place
