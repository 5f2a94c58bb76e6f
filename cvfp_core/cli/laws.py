"""`cvfp laws`: what can be fitted."""

from __future__ import annotations

from cvfp_core.cli import asked
from cvfp_core.registry import installed
from cvfp_core.registry.kinds import Fitter


def laws(
    json_: asked.Json = False,
) -> None:
    """List laws: their forms, what they need, their options, whose they are."""
    registry = installed()
    every = registry.items(Fitter)
    if json_:
        plain = [_plain(fitter, registry.owner(Fitter, name).label) for name, fitter in every.items()]
        asked.show_json(plain)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("law", "form", "needs", "from"):
        table.add_column(heading, header_style="bold")
    for name, fitter in every.items():
        options = f"\n--set {', '.join(option.name for option in fitter.options)}" if fitter.options else ""
        about = Text.assemble(fitter.written, (f"\n{fitter.title}{options}", "dim"))
        table.add_row(Text(name), about, Text(_needs(fitter)), Text(registry.owner(Fitter, name).name))
    Console(highlight=False).print(table)


def _needs(fitter: Fitter) -> str:
    return f"{fitter.least_points} {_SCOPES[str(fitter.scope)]}"


_SCOPES = {"series": "sizes", "experiment": "runs, all of an experiment", "records": "runs, all of the records"}


def _plain(fitter: Fitter, owner: str) -> dict[str, object]:
    """The descriptor as plain data; bounds that do not exist are null."""
    def bound(value: float) -> float | None:
        return value if abs(value) != float("inf") else None

    return {
        "name": fitter.name, "title": fitter.title, "form": fitter.written, "scope": fitter.scope,
        "inputs": list(fitter.inputs), "response": fitter.response, "minimum_points": fitter.least_points,
        "floor": fitter.floor, "plugin": owner,
        "parameters": [{"name": p.name, "meaning": p.meaning, "unit": p.unit, "minimum": bound(p.minimum),
                        "maximum": bound(p.maximum)} for p in fitter.parameters],
        "options": [{"name": o.name, "default": o.default, "help": o.help, "choices": list(o.choices)}
                    for o in fitter.options],
    }
