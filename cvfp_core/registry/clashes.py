"""Plugins that claim one name: who is broken, and which of them to disable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from cvfp_core.registry.entry_points import OURS
from cvfp_core.registry.loading import TITLES, Loaded, PluginInfo, is_ours


def settled(loaded: Sequence[Loaded]) -> list[Loaded]:
    """The plugins, with those broken that claim an item's name which others claim too."""
    claims: dict[tuple[type, str], list[PluginInfo]] = {}
    for plugin in loaded:
        for named in plugin.items:
            claims.setdefault(named.key, []).append(plugin.info)
    made = []
    for plugin in loaded:
        mine = {named.key: claims[named.key] for named in plugin.items if _clash(plugin.info, claims[named.key])}
        made.append(Loaded(info=_clashing(plugin.info, mine)) if mine else plugin)
    return made


def to_disable(broken: Sequence[PluginInfo]) -> list[str]:
    """The plugins without which the others are sound: of those that clash one is kept."""
    kept: set[str] = set()
    names: set[str] = set()
    for plugin in broken:
        if plugin.rivals and not kept & set(plugin.rivals):
            kept.add(plugin.name)
        elif plugin.name not in plugin.rivals:
            names.add(plugin.name)
    return sorted(names)


def _clash(plugin: PluginInfo, claims: Sequence[PluginInfo]) -> bool:
    """Whether the plugin claims a name that others claim, and is not the one it belongs to."""
    return len(claims) > 1 and not is_ours(plugin.distribution, [each.distribution for each in claims])


def _clashing(plugin: PluginInfo, clashes: Mapping[tuple[type, str], Sequence[PluginInfo]]) -> PluginInfo:
    """The plugin with what it clashes over, and with whom, unless it is wrong by itself: with cvfp, or a name twice."""
    (kind, name), first = next(iter(clashes.items()))
    text = f"{TITLES[kind]} '{name}' is registered more than once: {' and '.join(each.label for each in first)}"
    rivals = {each.name for claims in clashes.values() for each in claims if each is not plugin}
    wrong = any(claims.count(plugin) > 1 or any(each.distribution == OURS for each in claims)
                for claims in clashes.values())
    return replace(plugin, error=text, rivals=() if wrong else tuple(sorted(rivals)))
