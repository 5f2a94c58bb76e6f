"""`cvfp laws`: what can be fitted, where it is published, where it holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import isfinite
from typing import TYPE_CHECKING, Annotated

import typer

from cvfp_core.cli import asked

if TYPE_CHECKING:
    from rich.text import Text

    from cvfp_core.registry import Registry
    from cvfp_core.registry.kinds import Law, Parameter


def laws(
    name: Annotated[str | None, typer.Argument(metavar="[LAW]", help="Show this law whole, with units.")] = None,
    json_: asked.Json = False,
) -> None:
    """List laws: their forms, sources and domains, what they need, whose they are."""
    from cvfp_core.registry import installed
    from cvfp_core.registry.kinds import Law

    registry = installed()
    chosen = registry.items(Law) if name is None else {name: registry.get(Law, name)}
    if json_:
        asked.show_json([_plain(law, registry) for law in chosen.values()])
        return
    from rich.table import Table

    from cvfp_core.results.printed import terminal

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=name is None)
    rows = _listed(chosen.values(), registry) if name is None else _bold(whole(chosen[name], registry))
    for heading in ("law", "form", "needs", "from") if name is None else ("", ""):
        table.add_column(heading, header_style="bold", no_wrap=heading in ("law", "needs"))
    for row in rows:
        table.add_row(*row)
    terminal().print(table)


def _listed(laws: Iterable[Law], registry: Registry) -> Iterator[tuple[Text, ...]]:
    """A row a law: name, what it is about, what it needs, whose it is."""
    from rich.text import Text

    from cvfp_core.registry.kinds import Law

    for law in laws:
        options = f"--set {', '.join(option.name for option in law.options)}" if law.options else ""
        about = Text.assemble(law.written, *(("\n" + line, "dim") for line in (law.title, law.source, options) if line))
        yield (Text(law.name), about, Text(f"{law.least_points} {_UNITS[str(law.scope)]}"),
               Text(registry.owner(Law, law.name).name))


def _bold(rows: Iterable[tuple[str, str]]) -> Iterator[tuple[Text, Text]]:
    from rich.text import Text

    return ((Text(heading, style="bold"), Text(text)) for heading, text in rows)


def whole(law: Law, registry: Registry) -> Iterator[tuple[str, str]]:
    """All there is to say of a law, a heading and a text each."""
    from cvfp_core.registry.kinds import Law

    yield law.name, law.title
    yield "form", law.written
    for heading, text in (("source", law.source), ("holds for", law.domain), ("not for", law.not_for)):
        if text:
            yield heading, text
    for heading, names in (("inputs", law.inputs), ("response", (law.response,))):
        yield heading, "\n".join(_quantity(each, registry) for each in names)
    if law.parameters:
        yield "parameters", "\n".join(map(_parameter, law.parameters))
    if law.options:
        yield "options", "\n".join(f"--set {each.name}: {each.help}" for each in law.options)
    yield "needs", f"{law.least_points} {_SCOPES[str(law.scope)]}"
    yield "from", registry.owner(Law, law.name).label


def _quantity(name: str, registry: Registry) -> str:
    """`params: trained parameters; the N of laws`, with the unit where it has one."""
    quantity = registry.quantity(name)
    unit = f" ({quantity.unit})" if quantity.unit else ""
    return f"{name}{unit}: {quantity.meaning}" if quantity.meaning else f"{name}{unit}"


def _parameter(parameter: Parameter) -> str:
    """`E (nat, at least 0): loss that no size removes`."""
    low, high = parameter.minimum, parameter.maximum
    bounds = f"{low:g} to {high:g}" if isfinite(low) and isfinite(high) else f"at least {low:g}" if isfinite(low) \
        else f"at most {high:g}" if isfinite(high) else ""
    facts = ", ".join(each for each in (parameter.unit, bounds) if each)
    return parameter.name + (f" ({facts})" if facts else "") + (f": {parameter.meaning}" if parameter.meaning else "")


_UNITS = {"series": "sizes", "experiment": "runs", "records": "runs"}
_SCOPES = {"series": "sizes", "experiment": "runs, all of an experiment", "records": "runs, all of the records"}


def _plain(law: Law, registry: Registry) -> dict[str, object]:
    """The descriptor as plain data; bounds that do not exist are null."""
    from cvfp_core.registry.kinds import Law

    def bound(value: float) -> float | None:
        return value if isfinite(value) else None

    names = (*law.inputs, law.response)
    return {
        "name": law.name, "title": law.title, "form": law.written, "scope": law.scope,
        "inputs": list(law.inputs), "response": law.response, "minimum_points": law.least_points,
        "floor": law.floor, "space": law.space, "source": law.source, "domain": law.domain,
        "not_for": law.not_for,
        "automatic": law.automatic, "plugin": registry.owner(Law, law.name).label,
        "units": {each: registry.quantity(each).unit for each in names},
        "parameters": [{"name": p.name, "meaning": p.meaning, "unit": p.unit, "minimum": bound(p.minimum),
                        "maximum": bound(p.maximum)} for p in law.parameters],
        "options": [{"name": o.name, "default": o.default, "help": o.help, "choices": list(o.choices)}
                    for o in law.options],
    }
