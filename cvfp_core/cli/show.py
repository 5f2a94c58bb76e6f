"""`cvfp show`: the tables of runs made before, and the runs as files of other programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cvfp_core.cli import asked, completing
from cvfp_core.cli.screen import as_json, say, show_json, write
from cvfp_core.errors import UsageError

if TYPE_CHECKING:
    from cvfp_core.results.printed import Printed


def show(
    paths: asked.Paths,
    x: asked.X = None,
    y: asked.Y = None,
    by: asked.By = None,
    where: asked.Where = None,
    sort: Annotated[
        str | None, typer.Option("--sort", metavar="[-]COLUMN[,...]", autocompletion=completing.columns,
                                 help="One table, in this order; - descends: -val_ppl.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option("--columns", metavar="COLUMN[,...]", autocompletion=completing.columns,
                                 help="One table, of these columns.")
    ] = None,
    mean_over: Annotated[
        str | None, typer.Option("--mean-over", metavar="COLUMN[,...]", autocompletion=completing.columns,
                                 help="Average runs that differ in this alone, such as seed.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Print every run; above 50, a row a series is printed.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print the runs as CSV.")] = False,
    parquet: Annotated[bool, typer.Option("--parquet", help="Write the runs as Parquet, with -o.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print the tables as LaTeX.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables as Markdown.")] = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="File to write; its ending says the form: .csv, "
                                  ".parquet, .json, .tex, .md.")
    ] = None,
    map_: asked.Map = None,
    no_map: asked.NoMap = False,
    take: asked.Take = None,
    json_: asked.Json = False,
) -> None:
    """Print the runs, their metrics and exponents, as `cvfp run` does at its end; or write them to a file."""
    from cvfp_core.results import listing
    from cvfp_core.results.overview import MANY, overview

    form = _form({"csv": csv, "parquet": parquet, "json": json_, "latex": latex, "markdown": markdown}, out)
    question = asked.runs(paths, x=x, y=y, by=by, where=where, map_=map_, no_map=no_map, take=take)
    runs, order, chosen = question.runs, _names(sort, "--sort"), _names(columns, "--columns")
    records = runs.records
    if over := _names(mean_over, "--mean-over"):
        records = listing.averaged(records, over, runs.registry)
    if order:
        records = listing.ordered(records, order)
    made: Printed
    if form in listing.TABLES:
        _hand_over(listing.table_of(records, chosen, form), out)
        return
    if form != "json" and (order or chosen):
        made = listing.listing(records, runs.registry, columns=chosen, whole=all_,
                               first=[name.removeprefix("-") for name in order])
    else:
        whole = all_ or form == "json" or records.height <= MANY
        made = overview(records, fitted=runs.records, x=x, y=y, by=question.by, registry=runs.registry, whole=whole)
        if form == "json":
            data = made.as_dict()
            _hand_over({**data, "records": listing.plain_of(records, chosen)}, out)
            return
    if form:
        _hand_over(listing.written(made, form), out)
        return
    asked.show(made)
    said = {"--x": [x], "--y": [y], "--by": by, "--where": [where], "--map": map_, "--take": [take],
            "--no-map": no_map, **asked.REPORT}
    asked.next_step(asked.command("report", paths, said))


def _names(text: str | None, option: str) -> list[str]:
    """Names separated by commas. Raises UsageError for an empty one."""
    names = [] if text is None else [name.strip() for name in text.split(",")]
    if any(not name.removeprefix("-") for name in names):
        raise UsageError(f"{option} takes columns separated by commas, such as seed,val_ppl, not '{text}'")
    return names


def _form(flags: dict[str, bool], out: Path | None) -> str | None:
    """The form asked for by a flag or the file's ending. Raises UsageError for two, and for what cannot be written."""
    from cvfp_core.results.listing import FORMS
    from cvfp_core.results.reports import refuse_unwritable_file

    given = [name for name, flag in flags.items() if flag]
    if len(given) > 1:
        raise UsageError(f"--{' and --'.join(given)}: give one of them")
    if out is not None:
        refuse_unwritable_file(out)
        ending = next((name for name, suffix in FORMS.items() if suffix == out.suffix.lower()), None)
        if not given and ending is None:
            raise UsageError(f"-o {out}: no form has this ending; there are: {', '.join(FORMS.values())}")
        if given and ending not in (None, *given):
            raise UsageError(f"--{given[0]} and -o {out}: give a file ending in {FORMS[given[0]]}")
        return given[0] if given else ending
    if given == ["parquet"] and sys.stdout.isatty():
        raise UsageError("--parquet is not for a terminal; name a file: -o runs.parquet")
    return given[0] if given else None


def _hand_over(content: str | bytes | dict[str, object], out: Path | None) -> None:
    """Writes it to the file, or to stdout; plain data as JSON."""
    if out is not None:
        from cvfp_core.schema import atomic

        atomic.save(out, f"{as_json(content)}\n" if isinstance(content, dict) else content)
        say(f"{out} is written")
    elif isinstance(content, dict):
        show_json(content)
    elif isinstance(content, bytes):
        sys.stdout.buffer.write(content)
    else:
        write(content)
