"""Entry points -> plugins that are not loaded yet: their names, whose they are, and how to get them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint
from types import ModuleType

GROUP = "cvfp"
OURS = "cvfp"
_UNKNOWN = ("unknown distribution", "?")
NOT_INSTALLED = "not installed ?"
"""Home of a plugin that is at hand as a module or an object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginInfo:
    """A plugin as found: whose it is, what it adds, and what is wrong with it (None: nothing)."""

    name: str
    distribution: str
    version: str
    adds: tuple[tuple[str, str], ...] = ()
    """(kind, item name) pairs, in the order registered."""
    error: str | None = None
    package: str = ""
    """The top-level package, or module, that its code stands in."""
    disabled: str | None = None
    """The variable that leaves it out; it was not imported then."""

    @property
    def label(self) -> str:
        return f"plugin '{self.name}' ({self.home})"

    @property
    def home(self) -> str:
        """Its distribution and version."""
        return f"{self.distribution} {self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A plugin before it is loaded, and the value of its entry point."""

    info: PluginInfo
    value: str
    load: Callable[[], object]


def entries(points: Iterable[EntryPoint]) -> list[Entry]:
    """The plugins of entry points. The metadata of a distribution, a file that is parsed each time, are read once."""
    homes: dict[int, tuple[str, str]] = {}
    made = []
    for point in points:
        if id(point.dist) not in homes:
            homes[id(point.dist)] = _home(point.dist)
        made.append(_entry(point.name, homes[id(point.dist)], point.value, point.load))
    return made


def not_installed(plugins: Mapping[str, object]) -> list[Entry]:
    """Plugins that are at hand as modules or objects, by name."""
    return [_entry(name, ("not installed", "?"),
                   plugin.__name__ if isinstance(plugin, ModuleType) else type(plugin).__module__,
                   lambda plugin=plugin: plugin)  # type: ignore[misc]
            for name, plugin in plugins.items()]


def _entry(name: str, home: tuple[str, str], value: str, load: Callable[[], object]) -> Entry:
    package = re.split(r"[.:\s]", value, maxsplit=1)[0]
    return Entry(info=PluginInfo(name=name, distribution=home[0], version=home[1], package=package), value=value,
                 load=load)


def _home(distribution: Distribution | None) -> tuple[str, str]:
    try:
        facts = distribution.metadata if distribution else None
        return (facts["Name"], facts["Version"]) if facts and facts["Name"] and facts["Version"] else _UNKNOWN
    except Exception:  # torn metadata: whose it is stays unknown, what it adds may still be sound
        return _UNKNOWN
