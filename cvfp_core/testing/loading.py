"""Registries for tests: of plugins that need not be installed, and of items no plugin registers."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from types import SimpleNamespace

from cvfp_core import hookimpl
from cvfp_core.errors import unknown
from cvfp_core.registry import GROUP, HOOKS, Registry, given


def only(plugins: Iterable[object], beside: Iterable[str]) -> Registry:
    """See `load_only`."""
    points = {point.name: point for point in entry_points(group=GROUP)}
    homes = {point.value: point for point in points.values()}
    opened: dict[str, EntryPoint] = {}
    for name in beside:
        if name not in points:
            raise unknown("plugin", name, points)
        opened[name] = points[name]
    named: dict[str, object] = {}
    for plugin in plugins:
        name = getattr(plugin, "__name__", type(plugin).__name__)
        if name in homes:
            opened[homes[name].name] = homes[name]
        else:
            named[name if name not in named else f"{name} {len(named) + 1}"] = plugin
    return given(named, beside=opened.values()).require_healthy()


def holding(*items: object) -> Registry:
    """A registry of these items, as a plugin would register them."""
    def hook(kind: type) -> object:
        mine = [item for item in items if isinstance(item, kind)]
        return hookimpl(lambda: mine)

    plugin = SimpleNamespace(**{name: hook(kind) for name, kind in HOOKS.items()})
    return given({"kit": plugin}).require_healthy()
