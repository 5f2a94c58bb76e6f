"""`cvfp plugins`: what is installed, whose it is, what is broken."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from typing import TYPE_CHECKING

from cvfp_core.cli import asked
from cvfp_core.cli.screen import say

if TYPE_CHECKING:
    from rich.text import Text

    from cvfp_core.registry import PluginInfo


def plugins(
    json_: asked.Json = False,
) -> None:
    """List plugins: where each comes from, what it adds, and why a broken one is broken."""
    from cvfp_core import registry

    for line in registry.misnamed("CVFP_PLUGINS"):
        say(f"warning: {line}")
    loaded = registry.load()
    found = sorted([*loaded.plugins, *loaded.left_out], key=lambda plugin: plugin.name)
    if json_:
        asked.show_json([asdict(plugin) for plugin in found])
        return
    from rich.table import Table
    from rich.text import Text

    from cvfp_core.results.printed import terminal

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("plugin", "from", "adds"):
        table.add_column(heading, header_style="bold")
    for plugin in found:
        table.add_row(Text(plugin.name), Text(plugin.home), Text("\n").join(_says(plugin)))
    terminal().print(table)


def _says(plugin: PluginInfo) -> list[Text]:
    from rich.text import Text

    if plugin.disabled:
        return [Text(f"disabled by {plugin.disabled}", style="dim")]
    if plugin.error:
        return [Text(f"broken: {plugin.error}", style="red")]
    by_kind: dict[str, list[str]] = defaultdict(list)
    for kind, name in plugin.adds:
        by_kind[kind].append(name)
    return [Text(f"{kind}: {', '.join(names)}") for kind, names in by_kind.items()]
