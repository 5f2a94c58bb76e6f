"""`cvfp report`: records written up by a template."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cvfp_core.cli import asked
from cvfp_core.cli.screen import say, wrapped, write
from cvfp_core.errors import CvfpError, UsageError

if TYPE_CHECKING:
    from cvfp_core.results.reports import Report

WAIT = 1.0
"""Seconds between looks at the files that are watched."""


def report(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH...", help="Folders of runs, logs, or tables.")
    ] = None,
    template: Annotated[
        str | None, typer.Option("--template", metavar="NAME|FILE", help="Template by name, or a file ending in .j2. "
                                 "Default: the one that suits the runs.")
    ] = None,
    lang: Annotated[str, typer.Option("--lang", metavar="LANG", help="Language, such as en or ja.")] = "en",
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="File to write: .md, .html or .tex. Without it, "
                            "Markdown on stdout, no figures.")
    ] = None,
    options: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="An option of the template, see --list; "
                                  "or limits.seconds, limits.memory_gib, limits.output_mib, limits.runs: what it may "
                                  "take.")
    ] = None,
    x: asked.X = None,
    y: asked.Y = None,
    by: asked.By = None,
    at: asked.At = None,
    law: asked.Law = "auto",
    where: asked.Where = None,
    map_: asked.Map = None,
    weights: asked.Weights = None,
    no_map: asked.NoMap = False,
    take: asked.Take = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 if FILE is not what the records give.")
    ] = False,
    html: Annotated[bool, typer.Option("--html", help="Write an HTML page.")] = False,
    embed: Annotated[bool, typer.Option("--embed", help="One HTML page with the figures inside.")] = False,
    interactive: Annotated[
        bool, typer.Option("--interactive", help="One HTML page with figures to hover over inside.")
    ] = False,
    figures: Annotated[
        list[str] | None, typer.Option("--figures", metavar="FORMAT", help="Formats of figures beside the one the "
                                       "report shows: svg, png, pdf, pgf; several by commas.")
    ] = None,
    no_figures: Annotated[bool, typer.Option("--no-figures", help="Draw no figures.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Write FILE again whenever the runs change, until Ctrl-C.")
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="List templates, their options and needs.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="With --list: print JSON.")] = False,
) -> None:
    """Write a report of runs in Markdown, HTML or LaTeX.

    The same records give the same bytes. Figures are files in a folder beside the report.
    """
    if list_:
        _print_list(json_=json_)
        return
    if not paths:
        raise UsageError("nothing to report on: give a folder that `cvfp run` made, such as runs/default")
    for flag, given, what in (("--check", check, "checked"), ("--watch", watch, "written again")):
        if given and out is None:
            raise UsageError(f"{flag} needs the report to be {what}: -o FILE")
    if check and watch:
        raise UsageError("--check writes nothing and --watch writes again: give one of them")
    if figures and no_figures:
        raise UsageError("--figures and --no-figures: give one of them")
    from cvfp_core.results import reports

    page = html or embed or interactive
    reports.form_of(out, html=page)
    old = _read(out) if out is not None and check else ""
    if out is not None and not check:
        reports.refuse_unwritable(out)
    kinds = [kind.strip() for each in figures or [] for kind in each.split(",")]
    command = asked.command("report", paths, {
        "--template": [template], "--lang": [lang] if lang != "en" else [], "--x": [x], "--y": [y], "--by": by,
        "--law": [law] if law != "auto" else [], "--at": at, "--where": [where], "--map": map_, "--take": [take],
        "--weights": [weights], "--set": options, "--no-map": no_map})

    def written() -> reports.Report:
        question = asked.runs(paths, x=x, y=y, by=by, where=where, map_=map_, no_map=no_map, take=take,
                              weights=weights, options=options, unfinished=True)
        made = reports.report(question, out, template, lang, law=law, at=asked.points(at, None) if at else None,
                              html=html, embed=embed, interactive=interactive,
                              figures=False if no_figures else kinds or True, command=command)
        if template is None:
            say(f"template {made.template} suits these runs (--template NAME for another, see --list)")
        return made

    if out is None:
        write(written().text)
    elif check:
        _check(out, old, written().text)
    elif watch:
        _watch(paths, out, written)
    else:
        made = written()
        made.save(out)
        say(f"{out} is written{made.with_figures}")


def _watch(paths: Sequence[Path], out: Path, written: Callable[[], Report]) -> None:
    """Writes the report again whenever a file of the paths changes, until it is interrupted."""
    seen: object = None
    with suppress(KeyboardInterrupt):
        while True:
            if (now := _state(paths)) != seen:
                seen = now
                try:
                    written().save(out)
                    say(f"{out} is written; watching {', '.join(map(str, paths))}, Ctrl-C ends it")
                except UsageError:
                    raise
                except CvfpError as error:  # a grid that has no finished run yet
                    say(f"{error}; waiting for runs")
            time.sleep(WAIT)


def _state(paths: Sequence[Path]) -> list[tuple[str, int, int]]:
    """Name, time and size of every file in the paths."""
    files = (file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]))
    found = []
    for file in files:
        with suppress(FileNotFoundError):  # renamed meanwhile
            if file.is_file():
                state = file.stat()
                found.append((str(file), state.st_mtime_ns, state.st_size))
    return sorted(found)


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


def _print_list(*, json_: bool) -> None:
    from cvfp_core.registry import installed
    from cvfp_core.registry.kinds import Template
    from cvfp_core.reporting.language import languages
    from cvfp_core.results.printed import WIDE, terminal

    registry = installed()
    rows: list[dict[str, Any]] = [
        {"name": item.name, "title": item.title, "plugin": registry.owner(Template, item.name).name,
         "languages": languages(item.catalogue), "needs": list(item.needs),
         "options": [{"name": o.name, "default": o.default, "help": o.help} for o in item.options or ()]}
        for item in registry.items(Template).values()
    ]
    if json_:
        asked.show_json(rows)
        return
    room = terminal().width if sys.stdout.isatty() else WIDE
    for row in rows:
        write(f"{row['name']:<15} {wrapped(row['title'], room, 16)}\n")
        facts = [f"plugin {row['plugin']}", ", ".join(row["languages"])]
        facts += [f"needs {', '.join(row['needs'])}"] if row["needs"] else []
        write(f"{'':<15}   {wrapped('; '.join(facts), room, 18)}\n")
        for option in row["options"]:
            line = f"--set {option['name']}=...  {option['help']}"
            write(f"{'':<15}   {wrapped(line, room, 24)}\n")
