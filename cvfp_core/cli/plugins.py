"""`cvfp plugins`: what is installed, whose it is, what is broken."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict
from typing import Annotated

import typer

from cvfp_core import registry


def plugins(
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List plugins: where each comes from, what it adds, and why a broken one is broken."""
    found = registry.load().plugins
    if json_:
        print(json.dumps([asdict(plugin) for plugin in found], indent=1))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("plugin", "from", "adds"):
        table.add_column(heading, header_style="bold")
    for plugin in found:
        by_kind: dict[str, list[str]] = defaultdict(list)
        for kind, name in plugin.adds:
            by_kind[kind].append(name)
        adds = Text(f"broken: {plugin.error}", style="red") if plugin.error else Text(
            "\n".join(f"{kind}: {', '.join(names)}" for kind, names in by_kind.items()) or "-"
        )
        table.add_row(Text(plugin.name), Text(f"{plugin.distribution} {plugin.version}"), adds)
    Console().print(table)
