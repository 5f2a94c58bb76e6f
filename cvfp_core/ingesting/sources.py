"""Paths -> what is to be read by which ingester. Chosen by content; folders are walked, loops and devices are not."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cvfp_core.errors import PluginError
from cvfp_core.kinds import Ingester
from cvfp_core.registry import Registry

HEAD = 1 << 16
_HIDDEN = (".", "__pycache__", "~")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file or folder, and the one ingester that knows it; or why there is none."""

    path: Path
    name: str
    """How it is called in records and messages: from the path given on, never from the root of a machine."""
    ingester: Ingester | None
    problem: str | None = None
    asked: bool = True
    """False: found in a folder; that no ingester knows it is then no failure."""


def find(paths: Sequence[Path], registry: Registry, format_: str | None = None) -> Iterator[Source]:
    """Everything to be read under the paths, in order of name; each file once, however often it is reached."""
    chosen = registry.get(Ingester, format_) if format_ else None
    seen: set[tuple[int, int]] = set()
    names = [path.name or path.absolute().name or "." for path in paths]
    for path, name in zip(paths, names, strict=True):
        if names.count(name) > 1 and path.absolute().parent.name:
            name = f"{path.absolute().parent.name}/{name}"
        yield from _walk(path, name, registry, chosen, seen, asked=True)


def _walk(
    path: Path, name: str, registry: Registry, chosen: Ingester | None, seen: set[tuple[int, int]], *, asked: bool
) -> Iterator[Source]:
    try:
        facts = path.stat()
    except OSError as error:
        yield Source(path=path, name=name, ingester=None, problem=_why(error), asked=asked)
        return
    key = (facts.st_dev, facts.st_ino)
    if key in seen:
        return
    seen.add(key)
    try:
        if stat.S_ISREG(facts.st_mode):
            yield _file(path, name, registry, chosen, asked=asked)
        elif not stat.S_ISDIR(facts.st_mode):
            yield Source(path=path, name=name, ingester=None, problem="neither a file nor a folder", asked=asked)
        else:
            yield from _folder(path, name, registry, chosen, seen)
    except PluginError as error:  # an ingester that cannot even look
        yield Source(path=path, name=name, ingester=None, problem=str(error))


def _folder(
    path: Path, name: str, registry: Registry, chosen: Ingester | None, seen: set[tuple[int, int]]
) -> Iterator[Source]:
    asked = _knowing(path, None, _candidates(registry, chosen), registry)
    if len(asked) == 1:
        yield Source(path=path, name=name, ingester=asked[0])
        return
    if asked:
        yield Source(path=path, name=name, ingester=None, problem=_several(asked))
        return
    try:
        entries = sorted(os.scandir(path), key=lambda entry: entry.name)
    except OSError as error:
        yield Source(path=path, name=name, ingester=None, problem=_why(error))
        return
    for entry in entries:
        if entry.name.startswith(_HIDDEN) or _links_to_folder(entry):
            continue
        yield from _walk(path / entry.name, f"{name}/{entry.name}", registry, chosen, seen, asked=False)


def _links_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_symlink() and entry.is_dir()
    except OSError:  # a link to itself
        return False


def _file(path: Path, name: str, registry: Registry, chosen: Ingester | None, *, asked: bool) -> Source:
    if chosen is not None and asked:
        return Source(path=path, name=name, ingester=chosen)
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        return Source(path=path, name=name, ingester=None, problem=_why(error), asked=asked)
    candidates = _candidates(registry, chosen)
    for general in (False, True):
        matching = _knowing(path, head, [each for each in candidates if each.general == general], registry)
        if len(matching) == 1:
            return Source(path=path, name=name, ingester=matching[0], asked=asked)
        if matching:
            return Source(path=path, name=name, ingester=None, problem=_several(matching), asked=asked)
    if not head:
        return Source(path=path, name=name, ingester=None, problem="the file is empty", asked=asked)
    known = ", ".join(sorted(each.name for each in candidates)) or "none installed"
    return Source(path=path, name=name, ingester=None, asked=asked,
                  problem=f"no ingester knows its content (asked: {known}); choose one with --format")


def _candidates(registry: Registry, chosen: Ingester | None) -> list[Ingester]:
    return [chosen] if chosen else list(registry.items(Ingester).values())


def _knowing(path: Path, head: bytes | None, asked: Sequence[Ingester], registry: Registry) -> list[Ingester]:
    """Those that say they know the content. Raises PluginError for one that fails to say."""
    found = []
    for each in asked:
        with registry.blaming(Ingester, each.name):
            found += [each] if each.matches(path, head) else []
    return found


def _several(matching: list[Ingester]) -> str:
    names = ", ".join(sorted(each.name for each in matching))
    return f"several ingesters know its content: {names}; choose one with --format"


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()

