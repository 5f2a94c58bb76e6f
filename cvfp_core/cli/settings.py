"""`cvfp settings`: every key of a run file, what it means and its value."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cvfp_core.cli import asked, completing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cvfp_core.results.printed import Block
    from cvfp_core.running.keys import Key


def settings(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A key, with or without its section, or a section.")] = None,
    preset: Annotated[
        str | None, typer.Option("--settings", metavar="PRESET", autocompletion=completing.named("Preset"),
                                 help="Values under this preset.")] = None,
    run_file: Annotated[
        Path | None, typer.Option("--run", metavar="RUN.toml", help="Values of this run file. Default: the default "
                                  "run's.")] = None,
    json_: asked.Json = False,
) -> None:
    """List what a run file can set: values, defaults, units, meanings."""
    from cvfp_core.registry import installed
    from cvfp_core.running import config, keys

    registry = installed()
    made = config.read(run_file, {"settings": preset} if preset else {}, (), registry)
    made_of = keys.keys(made, registry, every=json_ or name is not None)
    chosen = made_of if name is None else keys.named(made_of, name)
    if json_:
        asked.show_json([key.as_dict() for key in chosen])
        return
    from cvfp_core.results.printed import terminal

    console = terminal()
    for block in _blocks(chosen, whole=name is not None):
        console.print(block)
    if name is None:
        console.print("\noptions of other corpora, executors and families: cvfp settings corpus, executor, model",
                      style="dim")


def _blocks(chosen: Sequence[Key], *, whole: bool) -> Iterator[Block]:
    """A table a section; what is the same of several items of plugins stands once, under all their names.

    whole: with what each key may be, and where its default comes from.
    """
    from rich.table import Table
    from rich.text import Text

    from cvfp_core.errors import shown

    alike: dict[str, list[Key]] = {}
    for key in chosen:
        alike.setdefault(shown([key.name, key.meaning, key.values, key.unit, key.source, key.default]), []).append(key)
    sections: dict[str, list[Key]] = {}
    for same in alike.values():
        section, dot, _ = same[0].name.partition(".")
        whose = ", ".join(key.of if key is same[0] else key.of.partition(" ")[2] for key in same if key.of)
        sections.setdefault(f"[{section}]{f' of {whose}' if whose else ''}" if dot else "", []).append(same[0])
    longest = max(len(key.name.rpartition(".")[2]) for key in chosen)
    for number, (heading, keys) in enumerate(sections.items()):
        if heading:
            yield Text(f"{chr(10) if number else ''}{heading}", style="bold")
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=not number)
        table.add_column("key", header_style="bold", no_wrap=True, min_width=longest + 2)
        table.add_column("value", header_style="bold", overflow="fold", width=20)
        table.add_column("meaning", header_style="bold")
        for key in keys:
            value = Text("-" if key.value is None else shown(key.value))
            if key.value != key.default and key.default not in (None, []):
                value.append(f"\ndefault {shown(key.default)}", style="dim")
            about = Text(key.meaning + (f" ({key.unit})" if key.unit else ""))
            lines = (key.values, key.source and f"default of the {key.source}") if whole else ()
            about.append("".join(f"\n{line}" for line in lines if line), style="dim")
            table.add_row(Text(("  " if heading else "") + key.name.rpartition(".")[2]), value, about)
        yield table
