"""`cvfp report`: records written up by a template."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cvfp_core.errors import CvfpError, UsageError

if TYPE_CHECKING:
    from cvfp_core.registry import Registry


def report(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH...", help="A folder that `cvfp run` made, or logs.")
    ] = None,
    template: Annotated[
        str, typer.Option("--template", metavar="NAME|FILE", help="Template by name, or a file ending in .j2.")
    ] = "summary",
    lang: Annotated[str, typer.Option("--lang", metavar="LANG", help="Language, such as en or ja.")] = "en",
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="File to write; without it, stdout, no figures.")
    ] = None,
    options: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="An option of the template; see --list.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 if FILE is not what the records give.")
    ] = False,
    html: Annotated[bool, typer.Option("--html", help="Write an HTML page.")] = False,
    embed: Annotated[bool, typer.Option("--embed", help="One HTML page with the figures inside.")] = False,
    figures: Annotated[bool, typer.Option(help="Draw figures beside FILE.")] = True,
    list_: Annotated[bool, typer.Option("--list", help="List templates, their options and needs.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="With --list: print JSON.")] = False,
) -> None:
    """Write a report of runs in Markdown or HTML.

    The same records give the same bytes. Figures are SVG files in a folder beside the report.
    """
    from cvfp_core import registry

    installed = registry.installed()
    if list_:
        _print_list(installed, json_=json_)
        return
    if not paths:
        raise UsageError("nothing to report on: give a folder that `cvfp run` made, such as runs/default")
    if check and out is None:
        raise UsageError("--check needs the report to be checked: -o FILE")
    old = _read(out) if out is not None and check else ""
    if out is not None and not check:
        _refuse_unwritable(out)
    html = html or embed or (out is not None and out.suffix.lower() in (".html", ".htm"))
    from cvfp_core.cli.fit import settings
    from cvfp_core.ingesting.reading import read
    from cvfp_core.reporting.write import Asked, find, write

    folder = f"{out.stem}_figures" if figures and out is not None else "embedded" if figures and embed else None
    made = write(
        read(paths, installed), find(template, installed), installed,
        Asked(lang=lang, options=settings(options or []), figures=folder,
                      command=_command(paths, template, lang, options or [])),
    )
    text = made.text
    if html:
        from cvfp_core.reporting.html import page

        text = page(text, lang=lang, figures=made.figures if embed else None)
    if out is None:
        print(text, end="")
    elif check:
        _check(out, old, text)
    else:
        _save(out, text, {} if embed else made.figures)


def _command(paths: list[Path], template: str, lang: str, options: list[str]) -> str:
    """The command that gives this report, without where it is written to."""
    words = ["cvfp", "report", *map(str, paths), "--template", template]
    words += ["--lang", lang] if lang != "en" else []
    words += [word for option in options for word in ("--set", option)]
    return shlex.join(words)


def _refuse_unwritable(out: Path) -> None:
    """Raises UsageError, before any work, if the file could not be written at its end; folders may be missing."""
    try:
        there = next((path for path in (out, *out.absolute().parents) if path.exists()), out)
    except OSError as error:  # a name that is too long
        raise UsageError(f"cannot write '{out}': {error.strerror or error}") from None
    wanted = os.W_OK if there == out else os.W_OK | os.X_OK
    if out.is_dir():
        why = "it is a folder; give a file, such as report.md"
    elif there != out and not there.is_dir():
        why = f"'{there}' is no folder"
    elif not os.access(there, wanted):
        why = "permission denied" if there == out else f"the folder '{there}' cannot be written to"
    else:
        return
    raise UsageError(f"cannot write '{out}': {why}")


def _save(out: Path, text: str, figures: Mapping[str, str]) -> None:
    """Writes the report and its figures."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        for name, svg in figures.items():
            file = out.parent / name
            file.parent.mkdir(exist_ok=True)
            file.write_text(svg, encoding="utf-8", newline="\n")
        out.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UsageError(f"cannot write '{out}': {error.strerror or error}") from None


def _check(out: Path, old: str, text: str) -> None:
    """Raises CvfpError naming the first line in which the file, as it was, is not the text."""
    if old == text:
        return
    ours, theirs = text.splitlines(), old.splitlines()
    line = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False), 1) if a != b),
                min(len(ours), len(theirs)) + 1)

    def at(lines: list[str]) -> str:
        return repr(lines[line - 1][:100]) if line <= len(lines) else "the end"

    raise CvfpError(f"{out}:{line}: not what the records give: expected {at(ours)}, found {at(theirs)}; "
                    f"write it again without --check")


def _read(out: Path) -> str:
    """The report as it stands. Raises CvfpError if it cannot be read."""
    try:
        return out.read_text(encoding="utf-8")
    except OSError as error:
        raise CvfpError(f"cannot read '{out}': {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise CvfpError(f"{out}: is not UTF-8 text") from None


def _print_list(installed: Registry, *, json_: bool) -> None:
    from cvfp_core.registry.kinds import Template
    from cvfp_core.reporting.language import languages

    rows: list[dict[str, Any]] = [
        {"name": item.name, "title": item.title, "plugin": installed.owner(Template, item.name).name,
         "languages": languages(item.catalogue), "needs": list(item.needs),
         "options": [{"name": o.name, "default": o.default, "help": o.help} for o in item.options or ()]}
        for item in installed.items(Template).values()
    ]
    if json_:
        import json

        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        print(f"{row['name']:<15} {row['title']}")
        facts = [f"plugin {row['plugin']}", ", ".join(row["languages"])]
        facts += [f"needs {', '.join(row['needs'])}"] if row["needs"] else []
        print(f"{'':<15}   {'; '.join(facts)}")
        for option in row["options"]:
            print(f"{'':<15}   --set {option['name']}=...  {option['help']}")
