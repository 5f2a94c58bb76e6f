"""Entry points -> plugins -> one immutable Registry. The only user of pluggy's PluginManager.

pluggy is silent about a misspelt hook, a forgotten `@hookimpl`, a second entry point of one name, and whose exception
it was. The registry is not: it names the plugin, its distribution and version, what failed, and how to disable it.
"""

from __future__ import annotations

import copy
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any, TypeVar

import pluggy

from cvfp_core import culprits, hookspecs
from cvfp_core.cells import Variant
from cvfp_core.doors import NOT_INSTALLED, Door, doors, require_compatible
from cvfp_core.errors import CvfpError, PluginError, UsageError, suggestion, unknown
from cvfp_core.kinds import (
    Analysis,
    CorpusSource,
    Executor,
    Fitter,
    Ingester,
    Light,
    Preset,
    StopRule,
    Template,
    VariantFamily,
)

GROUP = "cvfp"

HOOKS: dict[str, type] = {
    "cvfp_variants": VariantFamily,
    "cvfp_corpora": CorpusSource,
    "cvfp_ingesters": Ingester,
    "cvfp_presets": Preset,
    "cvfp_templates": Template,
    "cvfp_fitters": Fitter,
    "cvfp_analyses": Analysis,
    "cvfp_lights": Light,
    "cvfp_stop_rules": StopRule,
    "cvfp_executors": Executor,
}
TITLES: dict[type, str] = {
    VariantFamily: "variant family",
    CorpusSource: "corpus",
    Ingester: "ingester",
    Preset: "settings preset",
    Template: "template",
    Fitter: "fitter",
    Analysis: "analysis",
    Light: "light",
    StopRule: "stop rule",
    Executor: "executor",
}
_HOOK_NAMES = tuple(name for name in vars(hookspecs) if name.startswith("cvfp_"))

Item = TypeVar("Item")


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

    @property
    def label(self) -> str:
        return f"plugin '{self.name}' ({self.distribution} {self.version})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """What is installed, by kind and name. Made once by `load`, then only read."""

    plugins: tuple[PluginInfo, ...]
    _items: Mapping[type, Mapping[str, Any]]
    _owners: Mapping[tuple[type, str], PluginInfo]
    _observers: Mapping[str, tuple[tuple[PluginInfo, Callable[..., object], tuple[str, ...]], ...]] = field(
        default_factory=dict
    )

    def items(self, kind: type[Item]) -> Mapping[str, Item]:
        """All items of a kind, by name."""
        return self._items.get(kind, {})

    def get(self, kind: type[Item], name: str) -> Item:
        """The item of that name. Raises UsageError with the nearest name and all there are."""
        items = self.items(kind)
        if name not in items:
            raise unknown(TITLES[kind], name, items)
        return items[name]

    def owner(self, kind: type, name: str) -> PluginInfo:
        """The plugin that registered the item."""
        return self._owners[kind, name]

    def whose(self, kind: type, name: str) -> str:
        """The item and the plugin that registered it, as messages name them."""
        return f"{TITLES[kind]} '{name}' of {self.owner(kind, name).label}"

    def blame(self, kind: type, name: str, error: BaseException, *, asked: bool = True) -> str:
        """One line: the item, whose it is, what it raised and where.

        asked: False where nobody asked for the item by name, so that one can go on without its plugin.
        """
        _trace(error)
        owner = self.owner(kind, name)
        remedy = "" if asked else f"; CVFP_DISABLE={owner.name} leaves it out"
        return f"{self.whose(kind, name)} failed: {culprits.told(error, owner.package)}{remedy}"

    def account(self, kind: type, name: str, error: BaseException) -> str:
        """One line for an error that may be the item's or the core's: the item is blamed if its code was passed."""
        _trace(error)
        owner = self.owner(kind, name)
        where = culprits.place(error, owner.package)
        if where is None:
            return culprits.told(error, "cvfp_core")
        return f"{culprits.line(error)} ({self.whose(kind, name)}, {where})"

    @contextmanager
    def blaming(self, kind: type, name: str, *, asked: bool = True) -> Iterator[None]:
        """Where the item's code is called: what it raises, but for errors a user can mend, is a PluginError."""
        try:
            yield
        except (CvfpError, BrokenPipeError, *culprits.PASSING):
            raise
        except BaseException as error:
            raise PluginError(self.blame(kind, name, error, asked=asked)) from error

    def stop_rules(self, names: Iterable[str] | None = None) -> list[StopRule]:
        """The rules of these names, all by default; what one raises is a PluginError."""
        def guarded(rule: StopRule) -> StopRule:
            return replace(rule, stops=self.blaming(StopRule, rule.name, asked=names is not None)(rule.stops))

        return [guarded(self.get(StopRule, name)) for name in (self.items(StopRule) if names is None else names)]

    def variant(self, name: str) -> Variant:
        """The variant of that name; exactly one family must know it."""
        families = self.items(VariantFamily)
        found = []
        for family in families.values():
            with self.blaming(VariantFamily, family.name, asked=False):
                found += [variant] if (variant := family.parse(name)) is not None else []
        if not found:
            forms = ", ".join(family.form for family in families.values()) or "none"
            raise UsageError(f"unknown variant '{name}'; names have the form {forms}")
        if len(found) > 1:
            raise UsageError(f"variant '{name}' is claimed by families {', '.join(v.family for v in found)}")
        return found[0]

    def require_healthy(self) -> Registry:
        """This registry; raises PluginError naming every broken plugin, for commands that compute."""
        broken = [plugin for plugin in self.plugins if plugin.error]
        if broken:
            reasons = "; ".join(f"{plugin.label}: {plugin.error}" for plugin in broken)
            names = ",".join(sorted({plugin.name for plugin in broken}))
            raise PluginError(f"{reasons}; mend or uninstall it, or set CVFP_DISABLE={names}")
        return self

    def notify(self, hook: str, **facts: object) -> list[str]:
        """Tells every observer, each with a copy of its own; returns one line for each that failed."""
        failures = []
        for plugin, function, accepted in self._observers.get(hook, ()):
            try:
                function(**{name: copy.deepcopy(facts[name]) for name in accepted})
            except culprits.PASSING:
                raise
            except BaseException as error:
                _trace(error)
                failures.append(f"{plugin.label}: {hook} failed: {culprits.told(error, plugin.package)}; "
                                f"CVFP_DISABLE={plugin.name} leaves it out")
        return failures


def load(
    found: Iterable[EntryPoint] | None = None,
    *,
    only: Iterable[str] | None = None,
    disabled: Iterable[str] | None = None,
) -> Registry:
    """The registry of the installed plugins. A broken plugin is listed with its error and adds nothing.

    found: the entry points; by default those of group `cvfp`.
    only, disabled: names; by default from the environment, CVFP_PLUGINS and CVFP_DISABLE (comma-separated).
    """
    points = list(entry_points(group=GROUP) if found is None else found)
    wanted = _names("CVFP_PLUGINS") if only is None else set(only)
    unwanted = _names("CVFP_DISABLE") if disabled is None else set(disabled)
    points = [p for p in points if p.name not in unwanted and (not wanted or p.name in wanted)]
    return _load(doors(points))


def given(plugins: Mapping[str, object], *, beside: Iterable[EntryPoint] = ()) -> Registry:
    """The registry of these plugins, by name, and of entry points beside them; the environment has no say."""
    opened = [Door(name=name, home=NOT_INSTALLED, value=_module(plugin), load=lambda plugin=plugin: plugin)  # type: ignore[misc]
              for name, plugin in plugins.items()]
    return _load([*opened, *doors(beside)])


def installed() -> Registry:
    """The registry of what is installed; raises PluginError if any plugin is broken."""
    return load().require_healthy()


def _module(plugin: object) -> str:
    return plugin.__name__ if isinstance(plugin, ModuleType) else type(plugin).__module__


def _trace(error: BaseException) -> None:
    """Prints the traceback for who asks for it, with CVFP_TRACEBACK=1: a message has room for one line of it."""
    if os.environ.get("CVFP_TRACEBACK", "0") not in ("", "0"):
        traceback.print_exception(error, file=sys.stderr)


def _names(variable: str) -> set[str]:
    return {name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    """An item by the kind its hook stands for and the name it had: it may be of a subclass."""

    kind: type
    name: str
    item: Any

    @property
    def key(self) -> tuple[type, str]:
        return self.kind, self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    info: PluginInfo
    items: tuple[_Named, ...] = ()
    observers: tuple[tuple[str, Callable[..., object], tuple[str, ...]], ...] = ()


def _load(every: list[Door]) -> Registry:
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    return _assemble([_load_one(manager, door, every) for door in sorted(every, key=lambda door: door.name)])


def _load_one(manager: pluggy.PluginManager, door: Door, every: list[Door]) -> _Loaded:
    info = PluginInfo(name=door.name, distribution=door.home.name, version=door.home.version, package=door.package)
    try:
        rivals = [each for each in every if each.name == door.name]
        if len(rivals) > 1:
            places = sorted(f"{each.value} ({each.home.name})" for each in rivals)
            raise PluginError(f"two entry points are called '{door.name}': {' and '.join(places)}")
        require_compatible(door.home)
        plugin = door.load()
        _check_hooks(manager, plugin)
        manager.register(plugin, name=door.name)
        items: list[_Named] = []
        for hook, kind in HOOKS.items():
            for call in _calls(manager, hook, plugin):
                items += _collect(hook, kind, call.function())
        observers = tuple(
            (hook, call.function, tuple(call.argnames))
            for hook in _HOOK_NAMES if hook not in HOOKS
            for call in _calls(manager, hook, plugin)
        )
        if not items and not observers:
            raise PluginError(_nothing(manager, plugin))
    except culprits.PASSING:
        raise
    except PluginError as error:
        return _Loaded(info=replace(info, error=" ".join(str(error).split())))
    except BaseException as error:
        _trace(error)
        return _Loaded(info=replace(info, error=culprits.told(error, info.package)))
    return _Loaded(info=info, items=tuple(items), observers=observers)


def _calls(manager: pluggy.PluginManager, hook: str, plugin: object) -> list[pluggy.HookImpl]:
    caller: pluggy.HookCaller = getattr(manager.hook, hook)
    return [call for call in caller.get_hookimpls() if call.plugin is plugin]


def _check_hooks(manager: pluggy.PluginManager, plugin: object) -> None:
    """Raises PluginError for what pluggy would ignore: a misspelt hook, a hook without its decorator."""
    for name in dir(plugin):
        marks = manager.parse_hookimpl_opts(plugin, name)
        if marks is not None:
            asked = marks.get("specname") or name
            if asked not in _HOOK_NAMES and not marks.get("optionalhook"):
                raise PluginError(f"there is no hook '{asked}'{suggestion(asked, _HOOK_NAMES)}")
        elif name.startswith("cvfp_"):
            value = getattr(plugin, name)
            if isinstance(value, ModuleType) or not callable(value):
                continue
            if name not in _HOOK_NAMES:
                raise PluginError(f"there is no hook '{name}'{suggestion(name, _HOOK_NAMES)}")
            raise PluginError(f"'{name}' lacks its decorator @hookimpl (from cvfp_core import hookimpl), or is no "
                              "function")


def _nothing(manager: pluggy.PluginManager, plugin: object) -> str:
    """Why a plugin that adds nothing is broken: what it has, and what it should have."""
    hooks = [hook for hook in HOOKS if _calls(manager, hook, plugin)]
    if hooks:
        return f"it adds nothing: {', '.join(hooks)} returned no item; return one, or remove the plugin"
    return ("it has no hook, so it adds nothing; it should have a function that is decorated with @hookimpl and called "
            "by what it adds, such as cvfp_variants")


def _collect(hook: str, kind: type, returned: object) -> list[_Named]:
    if not isinstance(returned, Iterable) or isinstance(returned, str | bytes):
        raise PluginError(f"{hook} must return an iterable of {kind.__name__}, not {type(returned).__name__}")
    named = []
    for item in returned:
        if not isinstance(item, kind):
            raise PluginError(f"{hook} must return values of {kind.__name__}, not {type(item).__name__}: {item!r:.80}")
        name = item.name  # type: ignore[attr-defined]
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise PluginError(f"{hook} returned a {kind.__name__} whose name is {name!r:.80}; a name is a text of one "
                              "line, and not empty")
        named.append(_Named(kind=kind, name=name, item=item))
    return named


def _assemble(loaded: list[_Loaded]) -> Registry:
    claims: dict[tuple[type, str], list[PluginInfo]] = {}
    for plugin in loaded:
        for named in plugin.items:
            claims.setdefault(named.key, []).append(plugin.info)
    items: dict[type, dict[str, Any]] = {kind: {} for kind in HOOKS.values()}
    owners: dict[tuple[type, str], PluginInfo] = {}
    observers: dict[str, list[tuple[PluginInfo, Callable[..., object], tuple[str, ...]]]] = {}
    infos = []
    for plugin in loaded:
        clash = next((named.key for named in plugin.items if len(claims[named.key]) > 1), None)
        if clash is not None:
            who = " and ".join(info.label for info in claims[clash])
            text = f"{TITLES[clash[0]]} '{clash[1]}' is registered more than once: {who}"
            infos.append(replace(plugin.info, error=text))
            continue
        info = replace(plugin.info, adds=tuple((TITLES[named.kind], named.name) for named in plugin.items))
        infos.append(info)
        for named in plugin.items:
            items[named.kind][named.name] = named.item
            owners[named.key] = info
        for hook, function, accepted in plugin.observers:
            observers.setdefault(hook, []).append((info, function, accepted))
    return Registry(
        plugins=tuple(infos),
        _items=items,
        _owners=owners,
        _observers={hook: tuple(each) for hook, each in observers.items()},
    )
