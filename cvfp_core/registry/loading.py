"""An entry point -> what its plugin registers, or a PluginError that says what is wrong with it.

pluggy is silent about a misspelt hook, a forgotten `@hookimpl`, and an entry point that another one repeats. Here that
is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from inspect import signature
from types import ModuleType
from typing import Any, get_args

import pluggy

from cvfp_core.errors import PluginError, suggestion
from cvfp_core.registry import hookspecs
from cvfp_core.registry.entry_points import GROUP, Entry
from cvfp_core.registry.guard import PATIENCE, watched
from cvfp_core.schema.quantities import QUANTITIES, Quantity

_SPECS: dict[str, Callable[..., Any]] = {
    name: function for name, function in vars(hookspecs).items() if name.startswith("cvfp_")
}
HOOKS: dict[str, type] = {
    name: get_args(signature(function).return_annotation)[0]
    for name, function in _SPECS.items() if not signature(function).parameters
}
"""Registration hooks and the kind of item each returns."""
TITLES: dict[type, str] = {kind: getattr(kind, "KIND", kind.__name__.lower()) for kind in HOOKS.values()}
"""What messages call an item of a kind."""
Observer = tuple[str, Callable[..., object], tuple[str, ...]]
"""(hook, function, the arguments it takes)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What a plugin registers: items by the kind their hook stands for (they may be of a subclass) and name."""

    items: dict[tuple[type, str], Any]
    observers: tuple[Observer, ...]


def new_manager() -> pluggy.PluginManager:
    """A manager that knows the hooks, and no plugin."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    return manager


def load(manager: pluggy.PluginManager, entry: Entry, patience: float = PATIENCE) -> Loaded:
    """Registers the plugin and calls its registration hooks. Raises PluginError, or whatever the plugin's code does.

    patience: seconds after which one that has not returned is named.
    """
    def guarded(what: str) -> AbstractContextManager[None]:
        return watched(f"{entry.info.label}: {what}", entry.info.name, patience)

    with guarded("its import"):
        plugin = entry.load()
    _check_hooks(manager, plugin)
    if other := manager.get_name(plugin):
        raise PluginError(f"'{entry.value}' is behind the entry point '{other}' too; remove one of the two")
    manager.register(plugin, name=entry.info.name)
    calls = [(name, call) for name in _SPECS for call in getattr(manager.hook, name).get_hookimpls()
             if call.plugin is plugin]
    items: dict[tuple[type, str], Any] = {}
    for hook, call in calls:
        if hook in HOOKS:
            with guarded(hook):
                _collect(hook, HOOKS[hook], call.function(), items)
    observers = tuple((hook, call.function, tuple(call.argnames)) for hook, call in calls if hook not in HOOKS)
    if not items and not observers:
        hooks = ", ".join(hook for hook, _ in calls)
        raise PluginError(f"it adds nothing: {hooks} returned no item; return one, or remove the plugin" if hooks else
                          "it has no hook, so it adds nothing; it should have a function that is decorated with "
                          "@hookimpl and called by what it adds, such as cvfp_variants")
    return Loaded(items=items, observers=observers)


def _check_hooks(manager: pluggy.PluginManager, plugin: object) -> None:
    """Raises PluginError for what pluggy would ignore: a misspelt hook, a hook without its decorator."""
    for name in dir(plugin):
        marks = manager.parse_hookimpl_opts(plugin, name)
        if marks is not None:
            hook = marks.get("specname") or name
            if hook in _SPECS:
                _check_arguments(hook, getattr(plugin, name))
            elif not marks.get("optionalhook"):
                raise _no_hook(hook)
        elif name.startswith("cvfp_"):
            value = getattr(plugin, name)
            if isinstance(value, ModuleType) or not callable(value):
                continue
            if name not in _SPECS:
                raise _no_hook(name)
            raise PluginError(f"'{name}' lacks its decorator @hookimpl (from cvfp_core import hookimpl), or is no "
                              "function")


def _no_hook(hook: str) -> PluginError:
    near = suggestion(hook, _SPECS) or f"; there are: {', '.join(_SPECS)}"
    return PluginError(f"there is no hook '{hook}'{near}")


def _check_arguments(hook: str, function: Callable[..., object]) -> None:
    """Raises PluginError if the function needs an argument that the hook does not give."""
    given = list(signature(_SPECS[hook]).parameters)
    for each in signature(function).parameters.values():
        needed = each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD
        if needed and each.name not in given:
            near = suggestion(each.name, given)
            raise PluginError(f"{hook} has no argument '{each.name}'{near}; it has: {', '.join(given) or 'none'}")


def _collect(hook: str, kind: type, returned: object, items: dict[tuple[type, str], Any]) -> None:
    if not isinstance(returned, Iterable) or isinstance(returned, str | bytes):
        raise PluginError(f"{hook} must return an iterable of {kind.__name__}, not {type(returned).__name__}")
    for item in returned:
        if not isinstance(item, kind):
            raise PluginError(f"{hook} must return values of {kind.__name__}, not {type(item).__name__}: {item!r:.80}")
        name = item.name  # type: ignore[attr-defined]
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise PluginError(f"{hook} returned a {kind.__name__} whose name is {name!r:.80}; a name is a text of one "
                              "line, and not empty")
        if kind is Quantity and name in QUANTITIES:
            raise PluginError(f"quantity '{name}' is a column of every record; declare yours under another name")
        if (kind, name) in items:
            raise PluginError(f"{TITLES[kind]} '{name}' is registered more than once")
        items[kind, name] = item
