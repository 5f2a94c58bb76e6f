"""Entry points -> plugins -> one immutable Registry. The only user of pluggy's PluginManager.

pluggy is silent about a misspelt hook, a forgotten `@hookimpl`, a second entry point of one name, and whose exception
it was. The registry is not: it names the plugin, its distribution and version, what failed, and how to disable it.
"""

from __future__ import annotations

import copy
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any, TypeVar

import pluggy

from cvfp_core import culprits, hookspecs
from cvfp_core.cells import Variant
from cvfp_core.doors import NOT_INSTALLED, OURS, Door, doors, outgrown, require_compatible
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
class Registry:
    """What is installed, by kind and name. Made once by `load`, then only read."""

    plugins: tuple[PluginInfo, ...]
    _items: Mapping[type, Mapping[str, Any]]
    _owners: Mapping[tuple[type, str], PluginInfo]
    _observers: Mapping[str, tuple[tuple[PluginInfo, Callable[..., object], tuple[str, ...]], ...]] = field(
        default_factory=dict
    )
    left_out: tuple[PluginInfo, ...] = ()
    """Plugins that are installed, and disabled by the environment."""

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
            reasons = "; ".join(dict.fromkeys(f"{plugin.label}: {plugin.error}" for plugin in broken))
            names = _to_disable(broken)
            remedy = f"; mend or uninstall it, or set CVFP_DISABLE={','.join(names)}" if names else ""
            raise PluginError(reasons + remedy)
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
    taken: list[Door] = []
    left_out = []
    for door in doors(points):
        if door.name in unwanted:
            left_out.append(replace(_info(door), disabled="CVFP_DISABLE"))
        elif wanted and door.name not in wanted:
            left_out.append(replace(_info(door), disabled="CVFP_PLUGINS"))
        else:
            taken.append(door)
    return replace(_load(taken), left_out=tuple(left_out))


def misnamed(variable: str, found: Iterable[EntryPoint] | None = None) -> list[str]:
    """One line for each name that CVFP_PLUGINS or CVFP_DISABLE has in the environment, and no installed plugin."""
    asked = _names(variable)
    if not asked:
        return []
    known = sorted({point.name for point in (entry_points(group=GROUP) if found is None else found)})
    return [f"{variable} names '{name}', and no such plugin is installed{suggestion(name, known)}; installed: "
            f"{', '.join(known)}" for name in sorted(asked - set(known))]


def given(plugins: Mapping[str, object], *, beside: Iterable[EntryPoint] = ()) -> Registry:
    """The registry of these plugins, by name, and of entry points beside them; the environment has no say."""
    opened = [Door(name=name, home=NOT_INSTALLED, value=_module(plugin), load=lambda plugin=plugin: plugin)  # type: ignore[misc]
              for name, plugin in plugins.items()]
    return _load([*opened, *doors(beside)])


def installed() -> Registry:
    """The registry of what is installed.

    Raises PluginError if any plugin is broken, UsageError if CVFP_PLUGINS asks for one that is not installed: what is
    computed without it may be something else than was meant.
    """
    for line in misnamed("CVFP_PLUGINS"):
        raise UsageError(line)
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


def _info(door: Door) -> PluginInfo:
    return PluginInfo(name=door.name, distribution=door.home.name, version=door.home.version, package=door.package)


def _load_one(manager: pluggy.PluginManager, door: Door, every: list[Door]) -> _Loaded:
    info = _info(door)
    twins = [each for each in every if each.name == door.name]
    if len(twins) > 1 and not _is_ours(door.home.name, [each.home.name for each in twins]):
        return _Loaded(info=replace(info, error=_twins(twins), rivals=(door.name,)))
    try:
        require_compatible(door.home)
        info = replace(info, warning=outgrown(door.home))
        plugin = door.load()
        _check_hooks(manager, plugin)
        if other := manager.get_name(plugin):
            raise PluginError(f"'{door.value}' is behind the entry point '{other}' too; remove one of the two")
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


def _is_ours(distribution: str, rivals: Sequence[str]) -> bool:
    """Whether of these rivals for a name it is the one that comes with cvfp: the name is its, the others are wrong."""
    return distribution == OURS and rivals.count(OURS) == 1


def _twins(doors: Sequence[Door]) -> str:
    """What is wrong with doors of one name. To disable that name would leave out all of them."""
    places = sorted(f"{each.value} ({each.home.name} {each.home.version})" for each in doors)
    strange = sorted({f"{each.home.name} {each.home.version}" for each in doors if each.home.name != OURS})
    which = strange[0] if len(strange) == 1 else f"one of {' and '.join(strange)}"
    return f"two entry points are called '{doors[0].name}': {' and '.join(places)}; uninstall {which}"


def _to_disable(broken: Sequence[PluginInfo]) -> list[str]:
    """The plugins without which the others are sound: of those that clash one is kept."""
    kept: set[str] = set()
    names: set[str] = set()
    for plugin in broken:
        if plugin.rivals and not kept & set(plugin.rivals):
            kept.add(plugin.name)
        elif plugin.name not in plugin.rivals:
            names.add(plugin.name)
    return sorted(names)


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


def _clash(plugin: PluginInfo, claims: Sequence[PluginInfo]) -> bool:
    """Whether the plugin claims a name that others claim, and is not the one it belongs to."""
    return len(claims) > 1 and not _is_ours(plugin.distribution, [each.distribution for each in claims])


def _clashing(plugin: PluginInfo, clashes: Mapping[tuple[type, str], Sequence[PluginInfo]]) -> PluginInfo:
    """The plugin with what it clashes over, and with whom, unless it is wrong by itself: with cvfp, or a name twice."""
    (kind, name), first = next(iter(clashes.items()))
    text = f"{TITLES[kind]} '{name}' is registered more than once: {' and '.join(each.label for each in first)}"
    rivals = {each.name for claims in clashes.values() for each in claims if each is not plugin}
    wrong = any(claims.count(plugin) > 1 or any(each.distribution == OURS for each in claims)
                for claims in clashes.values())
    return replace(plugin, error=text, rivals=() if wrong else tuple(sorted(rivals)))


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
        clashes = {named.key: claims[named.key] for named in plugin.items if _clash(plugin.info, claims[named.key])}
        if clashes:
            infos.append(_clashing(plugin.info, clashes))
            continue
        adds = [(TITLES[named.kind], named.name) for named in plugin.items]
        adds += [("observer", hook) for hook, _, _ in plugin.observers]
        info = replace(plugin.info, adds=tuple(adds))
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
