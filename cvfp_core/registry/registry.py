"""Entry points -> plugins -> one immutable Registry, which names the plugin behind whatever fails.

A message has the plugin, its distribution and version, what failed and where, and how to go on without it.
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
from typing import Any, TypeVar

from cvfp_core.errors import CvfpError, PluginError, UsageError, suggestion, unknown
from cvfp_core.registry import culprits, guard, loading
from cvfp_core.registry.entry_points import GROUP, NOT_INSTALLED, OURS, Entry, PluginInfo, entries, not_installed
from cvfp_core.registry.kinds import CONVERGED, MCDL, Ending, Objective, StopRule, VariantFamily
from cvfp_core.registry.loading import HOOKS, TITLES
from cvfp_core.schema import quantities
from cvfp_core.schema.cells import Variant
from cvfp_core.schema.quantities import Quantity

__all__ = ["GROUP", "HOOKS", "TITLES", "PluginInfo", "Registry", "given", "installed", "load", "misnamed", "pinned"]

Item = TypeVar("Item")


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
    patience: float = guard.PATIENCE
    """Seconds after which an observer that has not returned is named."""

    def items(self, kind: type[Item]) -> Mapping[str, Item]:
        """All items of a kind, by name."""
        return self._items.get(kind, {})

    def get(self, kind: type[Item], name: str) -> Item:
        """The item of that name. Raises UsageError with the nearest name and all there are."""
        items = self.items(kind)
        if name not in items:
            left_out = ", ".join(f"{plugin.name} by {plugin.disabled}" for plugin in self.left_out)
            raise unknown(TITLES[kind], name, items, left_out=left_out)
        return items[name]

    def owner(self, kind: type, name: str) -> PluginInfo:
        """The plugin that registered the item."""
        return self._owners[kind, name]

    def label(self, kind: type, name: str) -> str:
        """The item and the plugin that registered it, as messages name them."""
        return f"{TITLES[kind]} '{name}' of {self.owner(kind, name).label}"

    def blame(self, kind: type, name: str, error: BaseException, *, asked: bool = True) -> str:
        """One line: the item, whose it is, what it raised and where.

        asked: False where nobody asked for the item by name, so that one can go on without its plugin.
        """
        trace(error)
        owner = self.owner(kind, name)
        remedy = "" if asked else f"; CVFP_DISABLE={owner.name} leaves it out"
        return f"{self.label(kind, name)} failed: {culprits.told(error, owner.package)}{remedy}"

    @contextmanager
    def blaming(self, kind: type, name: str, *, asked: bool = True) -> Iterator[None]:
        """Where the item's code is called: what it raises, but for errors a user can mend, is a PluginError."""
        try:
            with guard.tidy():
                yield
        except (CvfpError, KeyboardInterrupt):
            raise
        except BaseException as error:
            if isinstance(error, (BrokenPipeError, *culprits.PASSING)) and not culprits.raised_by(
                    error, self.owner(kind, name).package):
                raise
            raise PluginError(self.blame(kind, name, error, asked=asked)) from error

    def stop_rules(self, names: Iterable[str] | None = None) -> list[StopRule]:
        """The rules of these names, all by default; what one raises is a PluginError."""
        def guarded(rule: StopRule) -> StopRule:
            def asked(field: str) -> Callable[[Any], str | None] | None:
                if (question := getattr(rule, field)) is None:
                    return None

                def answer(seen: Any) -> str | None:
                    with self.blaming(StopRule, rule.name, asked=names is not None):
                        return guard.returned(field, question(seen), str | None)

                return answer

            return replace(rule, stops=asked("stops"), ends=asked("ends"))

        return [guarded(self.get(StopRule, name)) for name in (self.items(StopRule) if names is None else names)]

    def objective(self, name: str) -> Objective:
        """The objective of that name; the published one is there even where its plugin is left out."""
        return MCDL if name == MCDL.name else self.get(Objective, name)

    def ending(self, name: str) -> Ending:
        """The ending of that name; the published one is there even where its plugin is left out."""
        return CONVERGED if name == CONVERGED.name else self.get(Ending, name)

    def quantity(self, name: str) -> Quantity:
        """What is known of the quantity of that name, by the core or by a plugin that declares it."""
        return quantities.of(name, self.items(Quantity))

    def variant(self, name: str) -> Variant:
        """The variant of that name; exactly one family must know it."""
        families = self.items(VariantFamily)
        found = []
        for family in families.values():
            with self.blaming(VariantFamily, family.name, asked=False):
                variant = guard.returned("parse", family.parse(name), Variant | None)
            found += [] if variant is None else [variant]
        if not found:
            forms = ", ".join(family.form for family in families.values()) or "none"
            raise UsageError(f"unknown variant '{name}'; names have the form {forms}{_example(families.values())}")
        if len(found) > 1:
            raise UsageError(f"variant '{name}' is claimed by families {', '.join(v.family for v in found)}")
        return found[0]

    def require_healthy(self) -> Registry:
        """This registry; raises PluginError naming every broken plugin, for commands that compute."""
        broken = [plugin for plugin in self.plugins if plugin.error]
        if broken:
            reasons = "; ".join(dict.fromkeys(f"{plugin.label}: {plugin.error}" for plugin in broken))
            sound = {plugin.name for plugin in self.plugins if not plugin.error}  # a name may be taken twice
            names = sorted({plugin.name for plugin in broken} - sound)
            remedy = f"; mend or uninstall it, or set CVFP_DISABLE={','.join(names)}" if names else ""
            raise PluginError(reasons + remedy)
        return self

    def notify(self, hook: str, **facts: object) -> list[str]:
        """Tells every observer, each with a copy of its own; returns one line for each that failed."""
        failures = []
        for plugin, function, accepted in self._observers.get(hook, ()):
            try:
                with guard.watched(f"{plugin.label}: {hook}", plugin.name, self.patience):
                    function(**{name: copy.deepcopy(facts[name]) for name in accepted})
            except culprits.PASSING:
                raise
            except BaseException as error:
                trace(error)
                failures.append(f"{plugin.label}: {hook} failed: {culprits.told(error, plugin.package)}; "
                                f"CVFP_DISABLE={plugin.name} leaves it out")
        return failures


def load(
    found: Iterable[EntryPoint] | None = None,
    *,
    only: Iterable[str] | None = None,
    disabled: Iterable[str] | None = None,
    patience: float = guard.PATIENCE,
) -> Registry:
    """The registry of the installed plugins. A broken plugin is listed with its error and adds nothing.

    found: the entry points; by default those of group `cvfp`.
    only, disabled: names; by default from the environment, CVFP_PLUGINS and CVFP_DISABLE (comma-separated).
    patience: seconds after which a hook that has not returned is named on stderr; it is waited for all the same.
    """
    points = list(entry_points(group=GROUP) if found is None else found)
    wanted = _names("CVFP_PLUGINS") if only is None else set(only)
    unwanted = _names("CVFP_DISABLE") if disabled is None else set(disabled)
    taken, left_out = [], []
    for entry in entries(points):
        if entry.info.name in unwanted:
            left_out.append(replace(entry.info, disabled="CVFP_DISABLE"))
        elif wanted and entry.info.name not in wanted:
            left_out.append(replace(entry.info, disabled="CVFP_PLUGINS"))
        else:
            taken.append(entry)
    return replace(_assemble(taken, patience), left_out=tuple(left_out))


def _example(families: Iterable[VariantFamily]) -> str:
    """`, such as 1L_128d_2tok`: of the first family whose form can be filled in."""
    for family in families:
        name = family.form.replace("{L}", "1").replace("{d}", "128").replace("{T}", "2")
        if "{" not in name:
            return f", such as {name}"
    return ""


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
    return _assemble([*not_installed(plugins), *entries(beside)])


def installed() -> Registry:
    """The registry of what is installed.

    Raises PluginError if any plugin is broken, UsageError if CVFP_PLUGINS asks for one that is not installed: what is
    computed without it may be something else than was meant.
    """
    for line in misnamed("CVFP_PLUGINS"):
        raise UsageError(line)
    return load().require_healthy()


@contextmanager
def pinned(registry: Registry) -> Iterator[None]:
    """While it is open, what is loaded here, and by processes started here, are the plugins of the registry alone.

    One that is installed meanwhile has no part in a run that began without it.
    """
    names = [plugin.name for plugin in registry.plugins if plugin.home != NOT_INSTALLED]
    before = os.environ.get("CVFP_PLUGINS")
    if names:
        os.environ["CVFP_PLUGINS"] = ",".join(names)
    try:
        yield
    finally:
        if before is not None:
            os.environ["CVFP_PLUGINS"] = before
        else:
            os.environ.pop("CVFP_PLUGINS", None)


def trace(error: BaseException) -> None:
    """Prints the traceback for who asks for it, with CVFP_TRACEBACK=1: a message has room for one line of it."""
    if os.environ.get("CVFP_TRACEBACK", "0") not in ("", "0"):
        traceback.print_exception(error, file=sys.stderr)


def _names(variable: str) -> set[str]:
    return {name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()}


def _assemble(found: list[Entry], patience: float = guard.PATIENCE) -> Registry:
    """The registry of these plugins, cvfp's own first, then by name. Of two that clash the later is broken."""
    manager = loading.new_manager()
    items: dict[type, dict[str, Any]] = {kind: {} for kind in HOOKS.values()}
    owners: dict[tuple[type, str], PluginInfo] = {}
    observers: dict[str, list[tuple[PluginInfo, Callable[..., object], tuple[str, ...]]]] = {}
    infos: list[PluginInfo] = []
    names: dict[str, Entry] = {}
    for entry in sorted(found, key=lambda entry: (entry.info.distribution != OURS, entry.info.name, entry.info.home)):
        info = entry.info
        try:
            first = names.setdefault(info.name, entry)
            if first is not entry:
                raise PluginError(f"two entry points are called '{info.name}': {first.value} ({first.info.home}) and "
                                  f"{entry.value} ({info.home}); uninstall {info.home}")
            with guard.heeding_signals() as interrupted:
                loaded = loading.load(manager, entry, patience)
            for kind, name in loaded.items:
                if (kind, name) in owners:
                    raise PluginError(f"{TITLES[kind]} '{name}' is registered more than once: "
                                      f"{owners[kind, name].label} and {info.label}")
        except PluginError as error:
            infos.append(replace(info, error=" ".join(str(error).split())))
            continue
        except BaseException as error:
            if isinstance(error, culprits.PASSING) and interrupted():
                raise
            trace(error)
            infos.append(replace(info, error=culprits.told(error, info.package)))
            continue
        adds = [(TITLES[kind], name) for kind, name in loaded.items]
        info = replace(info, adds=(*adds, *(("observer", hook) for hook, _, _ in loaded.observers)))
        infos.append(info)
        for (kind, name), item in loaded.items.items():
            items[kind][name] = item
            owners[kind, name] = info
        for hook, function, accepted in loaded.observers:
            observers.setdefault(hook, []).append((info, function, accepted))
    return Registry(
        plugins=tuple(infos),
        _items=items,
        _owners=owners,
        _observers={hook: tuple(each) for hook, each in observers.items()},
        patience=patience,
    )
