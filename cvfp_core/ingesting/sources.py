"""Paths -> what is to be read by which ingester. Chosen by content; folders are walked, loops and devices are not."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cvfp_core.errors import CvfpError, PluginError
from cvfp_core.ingesting import configs, mapping, packed
from cvfp_core.ingesting.lines import shown_name
from cvfp_core.registry import Registry
from cvfp_core.registry.guard import returned
from cvfp_core.registry.kinds import Declined, Ingester

HEAD = 1 << 16
_DEEPEST = 3
"""Packed files within one another: one can be made that holds itself."""
_LISTED = 3
"""Ingesters that a message names one by one."""
_HIDDEN = (".", "__pycache__", "~", mapping.FILE)


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
    fault: bool = False
    """The problem is that of an ingester that failed to look; it is not asked again, and the path comes once more."""
    root: Path | None = None
    """The folder that was given, if it was found in one."""


def find(paths: Sequence[Path], registry: Registry, format_: str | None = None) -> Iterator[Source]:
    """Everything to be read under the paths, in order of name; each file once, however often it is reached."""
    search = _Search(registry, registry.get(Ingester, format_) if format_ else None)
    names = [shown_name(path.name or path.absolute().name or ".") for path in paths]
    for path, name in zip(paths, names, strict=True):
        if names.count(name) > 1 and path.absolute().parent.name:
            name = f"{shown_name(path.absolute().parent.name)}/{name}"
        for source in search.walk(path, name, asked=True):
            beside = source.root is not None or (source.path == path and path.is_file())
            yield source if beside else replace(source, root=path)


class _Search:
    """One walk over all paths: what was seen already, and which ingesters are still asked."""

    def __init__(self, registry: Registry, chosen: Ingester | None) -> None:
        self.registry, self.chosen = registry, chosen
        self.seen: set[tuple[int, int]] = set()
        self.candidates = [chosen] if chosen else list(registry.items(Ingester).values())

    def walk(self, path: Path, name: str, *, asked: bool) -> Iterator[Source]:
        try:
            facts = path.stat()
        except OSError as error:
            yield Source(path=path, name=name, ingester=None, problem=_why(error), asked=asked)
            return
        key = (facts.st_dev, facts.st_ino)
        if key in self.seen:
            return
        self.seen.add(key)
        if stat.S_ISREG(facts.st_mode):
            yield from self._file(path, name, asked=asked)
        elif not stat.S_ISDIR(facts.st_mode):
            yield Source(path=path, name=name, ingester=None, problem="neither a file nor a folder", asked=asked)
        else:
            yield from self._folder(path, name)

    def _folder(self, path: Path, name: str) -> Iterator[Source]:
        knowing = yield from self._knowing(path, name, None, self.candidates)
        left_to_others: Callable[[Path], bool] = lambda _entry: True  # noqa: E731
        if len(knowing) == 1:
            yield Source(path=path, name=name, ingester=knowing[0])
            if knowing[0].parts is None:
                return
            with self.registry.blaming(Ingester, knowing[0].name, asked=False):
                parts = returned("parts", knowing[0].parts(path), Collection)
                own = {returned("parts", part, Path) for part in parts}
            left_to_others = lambda entry: entry not in own  # noqa: E731
        elif knowing:
            yield Source(path=path, name=name, ingester=None, problem=_several(knowing))
            return
        try:
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError as error:
            yield Source(path=path, name=name, ingester=None, problem=_why(error))
            return
        for entry in sorted(entries, key=lambda entry: configs.rank(entry.name)):
            if entry.name.startswith(_HIDDEN) or _links_to_folder(entry) or not left_to_others(path / entry.name):
                continue
            yield from self.walk(path / entry.name, f"{name}/{shown_name(entry.name)}", asked=False)

    def _file(self, path: Path, name: str, *, asked: bool, within: int = 0) -> Iterator[Source]:
        """within: how many packed files it was in."""
        try:
            with path.open("rb") as file:
                head = file.read(HEAD)
        except OSError as error:
            yield Source(path=path, name=name, ingester=None, problem=_why(error), asked=asked)
            return
        if (packing := packed.form(path, head)) is not None:
            if within == _DEEPEST:
                yield Source(path=path, name=name, ingester=None, asked=asked,
                             problem=f"packed more than {_DEEPEST} times over; unpack it first")
                return
            try:
                with packed.unpacked(path, packing) as parts:
                    for part, more in parts:
                        for source in self._file(part, name + shown_name(more), asked=asked, within=within + 1):
                            yield replace(source, root=part.parent)
            except CvfpError as error:
                yield Source(path=path, name=name, ingester=None, problem=str(error), asked=asked)
            return
        if self.chosen is not None and asked:
            yield Source(path=path, name=name, ingester=self.chosen)
            return
        for general in (False, True):
            candidates = [each for each in self.candidates if each.general == general]
            knowing = yield from self._knowing(path, name, head, candidates)
            if knowing:
                yield Source(path=path, name=name, ingester=knowing[0] if len(knowing) == 1 else None, asked=asked,
                             problem=_several(knowing) if len(knowing) > 1 else None)
                return
        known = ", ".join(sorted(each.name for each in self.candidates)) or "none installed"
        known = known if len(self.candidates) <= _LISTED else f"all {len(self.candidates)} of `cvfp plugins`"
        yield Source(path=path, name=name, ingester=None, asked=asked, problem="the file is empty" if not head else
                     f"no ingester knows its content (asked: {known}){self._nearest(path, head)}; choose one with "
                     "--format, or write one: cvfp plugin new NAME --kind ingester")

    def _nearest(self, path: Path, head: bytes) -> str:
        """Which ingester reads what is most like a file that none knows, and why it does not read this one."""
        found: dict[str, Declined] = {}
        for each in self.candidates:
            try:
                with self.registry.blaming(Ingester, each.name, asked=False):
                    declined = returned("near", each.near(path, head) if each.near else None, Declined | None)
            except PluginError as error:
                return f"; {error}"
            found |= {each.name: declined} if declined else {}
        best = max(found, key=lambda name: found[name].known, default=None)
        return "" if best is None else f"; nearest: '{best}', which declined it: {found[best].why}"

    def _knowing(
        self, path: Path, name: str, head: bytes | None, asked: Sequence[Ingester]
    ) -> Generator[Source, None, list[Ingester]]:
        """Those that say they know the content. One that fails to say is no candidate from now on."""
        found = []
        for each in asked:
            try:
                with self.registry.blaming(Ingester, each.name, asked=False):
                    found += [each] if each.matches(path, head) else []
            except PluginError as error:
                self.candidates = [other for other in self.candidates if other is not each]
                yield Source(path=path, name=name, ingester=None, problem=str(error), fault=True)
        return found


def _links_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_symlink() and entry.is_dir()
    except OSError:  # a link to itself
        return False


def _several(matching: list[Ingester]) -> str:
    names = ", ".join(sorted(each.name for each in matching))
    return f"several ingesters know its content: {names}; choose one with --format"


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
