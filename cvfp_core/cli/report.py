"""`cvfp report`: records written up by a template."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cvfp_core.errors import UsageError


def report(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH...", help="A folder that `cvfp run` made, or logs.")
    ] = None,
    template: Annotated[str, typer.Option("--template", help="Template by name, or a file ending in .j2.")] = "summary",
    out: Annotated[Path | None, typer.Option("-o", "--out", help="File to write; without it, stdout.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the templates.")] = False,
) -> None:
    """Write a Markdown report of runs."""
    from cvfp_core import registry
    from cvfp_core.kinds import Template

    installed = registry.installed()
    if list_:
        for item in installed.items(Template).values():
            print(f"{item.name:<16} {item.title} (plugin {installed.owner(Template, item.name).name})")
        return
    if not paths:
        raise UsageError("nothing to report on: give a folder that `cvfp run` made, such as runs/default")
    from cvfp_core import report as reports
    from cvfp_core.reading import read_records

    file = Path(template) if template.endswith(".j2") else installed.get(Template, template).path
    if not file.is_file():
        raise UsageError(f"template file '{file}' does not exist")
    text = reports.render(file, reports.view(read_records(paths)))
    if out is None:
        print(text, end="")
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write '{out}': {error.strerror or error}") from None
