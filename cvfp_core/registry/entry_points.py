"""Entry points -> doors: a plugin before it is loaded, whose it is, and whether it was built for this cvfp."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint
from typing import TYPE_CHECKING

from cvfp_core import __version__
from cvfp_core.errors import PluginError

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

OURS = "cvfp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """The distribution a plugin comes from; `requires` are its requirements as they stand in its metadata."""

    name: str
    version: str
    requires: tuple[str, ...] = ()


UNKNOWN = Home(name="unknown distribution", version="?")
NOT_INSTALLED = Home(name="not installed", version="?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """A plugin before it is loaded: its name, whose it is, where its code stands, and how to get it."""

    name: str
    home: Home
    value: str
    load: Callable[[], object]

    @property
    def package(self) -> str:
        """The top-level package, or module, that its code stands in."""
        return re.split(r"[.:\s]", self.value, maxsplit=1)[0]


def doors(points: Iterable[EntryPoint]) -> list[Door]:
    """The doors of entry points. The metadata of a distribution, a file that is parsed each time, are read once."""
    known: dict[int, Home] = {}
    return [Door(name=point.name, home=_home(point.dist, known), value=point.value, load=point.load)
            for point in points]


def _home(dist: Distribution | None, known: dict[int, Home]) -> Home:
    if dist is None:
        return UNKNOWN
    if id(dist) not in known:
        known[id(dist)] = _read(dist)
    return known[id(dist)]


def _read(dist: Distribution) -> Home:
    try:
        facts = dist.metadata
        return Home(name=facts["Name"] or UNKNOWN.name, version=facts["Version"] or UNKNOWN.version,
                    requires=tuple(facts.get_all("Requires-Dist") or ()))
    except Exception:  # a torn METADATA: whose it is stays unknown, what it adds may still be sound
        return UNKNOWN


def require_compatible(home: Home, running: str = __version__) -> None:
    """Raises PluginError if the distribution asks for another cvfp than the one that runs, or in words nobody can read.

    A distribution that asks for nothing is taken as it is.
    """
    for asked in _asked(home):
        if not asked.contains(running, prereleases=True):
            raise PluginError(f"it asks for {OURS}{asked} and this is {OURS} {running}; install a "
                              f"{home.name} made for {running}, or the {OURS} it asks for")


def outgrown(home: Home, running: str = __version__) -> str | None:
    """A warning if the distribution asks for a version or any later one, and the one that runs promises other things.

    Who sets no upper bound has not said that it works for ever: what it was made for is the lower bound's promise.
    """
    for asked in _asked(home):
        from packaging.version import Version

        if any(each.operator not in (">=", ">", "!=") for each in asked):
            continue
        lower = max((Version(each.version) for each in asked if each.operator != "!="), default=None)
        if lower is not None and _promise(lower) != _promise(Version(running)):
            return (f"it was made for {OURS} {lower} (it asks for {asked}, without an upper bound), this is {OURS} "
                    f"{running}, and what is promised changed in between; look for a later {home.name}")
    return None


def _promise(version: Version) -> tuple[int, int]:
    """What is equal for versions that keep the same promises: before 1.0 the second number is as the first."""
    return (version.major, 0 if version.major else version.minor)


def _asked(home: Home) -> Iterator[SpecifierSet]:
    """What the distribution asks of cvfp. Raises PluginError for a requirement that cannot be read."""
    for line in home.requires if home.name != OURS else ():
        if not re.match(rf"{OURS}(?![\w.-])", line, re.IGNORECASE):
            continue
        from packaging.requirements import InvalidRequirement, Requirement

        try:
            asked = Requirement(line)
        except InvalidRequirement:
            raise PluginError(f"{home.name} requires '{line}', which cannot be read; mend its metadata") from None
        if asked.marker is None or asked.marker.evaluate({"extra": ""}):
            yield asked.specifier
