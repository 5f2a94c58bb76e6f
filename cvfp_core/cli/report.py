"""`cvfp report`: records written up by a template."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cvfp_core.cli import asked
from cvfp_core.errors import CvfpError, UsageError


def report(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH...", help="Folders of runs, logs, or tables.")
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
    figures: Annotated[bool, typer.Option(help="Draw figures beside FILE.")] = True,
    list_: Annotated[bool, typer.Option("--list", help="List templates, their options and needs.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="With --list: print JSON.")] = False,
) -> None:
    """Write a report of runs in Markdown or HTML.

    The same records give the same bytes. Figures are SVG files in a folder beside the report.
    """
    if list_:
        _print_list(json_=json_)
        return
    if not paths:
        raise UsageError("nothing to report on: give a folder that `cvfp run` made, such as runs/default")
    if check and out is None:
        raise UsageError("--check needs the report to be checked: -o FILE")
    from cvfp_core.results import reports

    old = _read(out) if out is not None and check else ""
    if out is not None and not check:
        reports.refuse_unwritable(out)
    question = asked.runs(paths, x=x, y=y, by=by, where=where, map_=map_, no_map=no_map, take=take, weights=weights,
                          options=options)
    made = reports.report(question, out, template, lang, law=law, at=asked.points(at, None) if at else None,
                          html=html, embed=embed, figures=figures,
                          command=asked.command("report", paths, {
                              "--template": [template], "--lang": [lang] if lang != "en" else [], "--x": [x],
                              "--y": [y], "--by": by, "--law": [law] if law != "auto" else [], "--at": at,
                              "--where": [where], "--map": map_, "--take": [take], "--weights": [weights],
                              "--set": options, "--no-map": no_map}))
    if out is None:
        print(made.text, end="")
    elif check:
        _check(out, old, made.text)
    else:
        made.save(out)


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

    registry = installed()
    rows: list[dict[str, Any]] = [
        {"name": item.name, "title": item.title, "plugin": registry.owner(Template, item.name).name,
         "languages": languages(item.catalogue), "needs": list(item.needs),
         "options": [{"name": o.name, "default": o.default, "help": o.help} for o in item.options or ()]}
        for item in registry.items(Template).values()
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
