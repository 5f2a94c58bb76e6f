"""Doors -> loaded plugins: what each adds, or what is wrong with it. The only user of pluggy's PluginManager.

pluggy is silent about a misspelt hook, a forgotten `@hookimpl`, a second entry point of one name, and whose exception
it was. Here all of that is an error that says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from inspect import signature
from types import ModuleType
from typing import Any

import pluggy

from cvfp_core.errors import PluginError, suggestion
from cvfp_core.registry import culprits, hookspecs
from cvfp_core.registry.entry_points import OURS, Door, outgrown, require_compatible
from cvfp_core.registry.kinds import (
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
    rivals: tuple[str, ...] = ()
    """Plugins it clashes with, if it would be sound without them; its own name if there are two of that name."""
    warning: str | None = None
    """What may go wrong with a plugin that is taken all the same."""
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
class Named:
    """An item by the kind its hook stands for and the name it had: it may be of a subclass."""

    kind: type
    name: str
    item: Any

    @property
    def key(self) -> tuple[type, str]:
        return self.kind, self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A plugin with what it registers; nothing if it is broken."""

    info: PluginInfo
    items: tuple[Named, ...] = ()
    observers: tuple[tuple[str, Callable[..., object], tuple[str, ...]], ...] = ()


def load(every: Sequence[Door], trace: Callable[[BaseException], None]) -> list[Loaded]:
    """The plugins behind the doors, by name. trace: hears of what one raised, as its error has room for a line only."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    return [_load_one(manager, door, every, trace) for door in sorted(every, key=lambda door: door.name)]


def unopened(door: Door) -> PluginInfo:
    """What is known of a plugin before it is loaded."""
    return PluginInfo(name=door.name, distribution=door.home.name, version=door.home.version, package=door.package)


def _load_one(
    manager: pluggy.PluginManager, door: Door, every: Sequence[Door], trace: Callable[[BaseException], None]
) -> Loaded:
    info = unopened(door)
    twins = [each for each in every if each.name == door.name]
    if len(twins) > 1 and not is_ours(door.home.name, [each.home.name for each in twins]):
        return Loaded(info=replace(info, error=_twins(twins), rivals=(door.name,)))
    try:
        require_compatible(door.home)
        info = replace(info, warning=outgrown(door.home))
        plugin = door.load()
        _check_hooks(manager, plugin)
        if other := manager.get_name(plugin):
            raise PluginError(f"'{door.value}' is behind the entry point '{other}' too; remove one of the two")
        manager.register(plugin, name=door.name)
        items: list[Named] = []
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
        return Loaded(info=replace(info, error=" ".join(str(error).split())))
    except BaseException as error:
        trace(error)
        return Loaded(info=replace(info, error=culprits.told(error, info.package)))
    return Loaded(info=info, items=tuple(items), observers=observers)


def is_ours(distribution: str, rivals: Sequence[str]) -> bool:
    """Whether of these rivals for a name it is the one that comes with cvfp: the name is its, the others are wrong."""
    return distribution == OURS and rivals.count(OURS) == 1


def _twins(doors: Sequence[Door]) -> str:
    """What is wrong with doors of one name. To disable that name would leave out all of them."""
    places = sorted(f"{each.value} ({unopened(each).home})" for each in doors)
    strange = sorted({unopened(each).home for each in doors if each.home.name != OURS})
    which = strange[0] if len(strange) == 1 else f"one of {' and '.join(strange)}"
    return f"two entry points are called '{doors[0].name}': {' and '.join(places)}; uninstall {which}"


def _calls(manager: pluggy.PluginManager, hook: str, plugin: object) -> list[pluggy.HookImpl]:
    caller: pluggy.HookCaller = getattr(manager.hook, hook)
    return [call for call in caller.get_hookimpls() if call.plugin is plugin]


def _check_hooks(manager: pluggy.PluginManager, plugin: object) -> None:
    """Raises PluginError for what pluggy would ignore: a misspelt hook, a hook without its decorator."""
    for name in dir(plugin):
        marks = manager.parse_hookimpl_opts(plugin, name)
        if marks is not None:
            asked = marks.get("specname") or name
            if asked in _HOOK_NAMES:
                _check_arguments(asked, getattr(plugin, name))
            elif not marks.get("optionalhook"):
                raise _no_hook(asked)
        elif name.startswith("cvfp_"):
            value = getattr(plugin, name)
            if isinstance(value, ModuleType) or not callable(value):
                continue
            if name not in _HOOK_NAMES:
                raise _no_hook(name)
            raise PluginError(f"'{name}' lacks its decorator @hookimpl (from cvfp_core import hookimpl), or is no "
                              "function")


def _no_hook(asked: str) -> PluginError:
    near = suggestion(asked, _HOOK_NAMES) or f"; there are: {', '.join(_HOOK_NAMES)}"
    return PluginError(f"there is no hook '{asked}'{near}")


def _check_arguments(hook: str, function: Callable[..., object]) -> None:
    """Raises PluginError if the function needs an argument that the hook does not give."""
    given = list(signature(getattr(hookspecs, hook)).parameters)
    for each in signature(function).parameters.values():
        needed = each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD
        if needed and each.name not in given:
            near = suggestion(each.name, given)
            raise PluginError(f"{hook} has no argument '{each.name}'{near}; it has: {', '.join(given) or 'none'}")


def _nothing(manager: pluggy.PluginManager, plugin: object) -> str:
    """Why a plugin that adds nothing is broken: what it has, and what it should have."""
    hooks = [hook for hook in HOOKS if _calls(manager, hook, plugin)]
    if hooks:
        return f"it adds nothing: {', '.join(hooks)} returned no item; return one, or remove the plugin"
    return ("it has no hook, so it adds nothing; it should have a function that is decorated with @hookimpl and called "
            "by what it adds, such as cvfp_variants")


def _collect(hook: str, kind: type, returned: object) -> list[Named]:
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
        named.append(Named(kind=kind, name=name, item=item))
    return named
