"""What a run's folder says of it beside the file that was read: configurations, and names of folders and files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cvfp_core.errors import CvfpError, some
from cvfp_core.ingesting import configs, naming, tags
from cvfp_core.registry.kinds import IngestOptions
from cvfp_core.schema.found import Found, FoundRun, Remark
from cvfp_core.schema.quantities import QUANTITIES
from cvfp_core.schema.records import PHASES

_MOST_SAID = 6
_PLANNED = ("train_tokens", "tokens_seen", "epochs", "flops")


def join(items: Iterable[Found], path: Path, options: IngestOptions, used: set[Path]) -> Iterator[Found]:
    """The items; if there is one run in them, with what its configurations and names say and it does not say itself.

    A run with phases was named by the program that made it, and is left alone. used: takes the files that were joined.
    """
    held: FoundRun | None = None
    runs = 0
    for item in items:
        if not isinstance(item, FoundRun):
            yield item
            continue
        runs += 1
        if runs == 1:
            held = item
            continue
        if held is not None:
            yield held
            held = None
        yield item
    if held is not None:
        yield from _joined(held, path, options, used)


def _joined(run: FoundRun, path: Path, options: IngestOptions, used: set[Path]) -> Iterator[Found]:
    if run.fingerprint is not None or any(run.columns.get(name) is not None for name in PHASES):
        yield run
        return
    columns: dict[str, Any] = {name: value for name, value in run.columns.items() if value is not None}
    partial = not str(columns.get("taken_at", "last")).startswith("last")
    files = configs.beside(path, options.root)
    for file in configs.results(path) if run.curves else ():
        used.add(file)
        if partial:
            yield Remark(text=f"{file.name} is of the last step: not joined")
            continue
        try:
            said = configs.read(file)
        except CvfpError as error:
            yield Remark(text=f"{error}: not joined")
            continue
        others, _ = tags.columns(said)
        others |= {name: said[name] for name in QUANTITIES if name in said}
        differing = [f"{name} {value}, not {columns[name]}" for name, value in others.items()
                     if columns.get(name) not in (None, value)]
        if differing:
            yield Remark(text=f"{file.name} says {', '.join(differing)}: what the steps say counts")
        figures, names = tags.columns({name: value for name, value in said.items() if name not in columns})
        new = {name: value for name, value in figures.items() if name not in columns}
        columns = tags.with_train_tokens(said | new | columns)
        yield Remark(text=f"joined with {file.name}: {_listed(names) or 'no metric'}")
    if files and naming.role(path) and columns.get("experiment") == path.stem:  # it says what is in the file
        called = naming.run(path, options)
        columns |= {"experiment": called["experiment"], "run_id": columns.get("run_id", called["run_id"])}
    for file in files:
        used.add(file)
        try:
            said = configs.read(file)
        except CvfpError as error:
            yield Remark(text=f"{error}: not joined")
            continue
        known = configs.quantities(said)
        if partial:  # what was planned is not what was trained up to the step taken
            said = {name: value for name, value in said.items() if name not in {known.get(each) for each in _PLANNED}}
            known = configs.quantities(said)
        new = {name: said[source] for name, source in known.items() if name not in columns}
        columns = said | new | columns
        shown = _listed({name: known[name] for name in new if name != known[name]})
        yield Remark(text=f"joined with {file.name}{f': {shown}' if shown else ''}")
    from_names = {name: value for name, value in naming.said(path, options).items()
                  if name not in columns and not (partial and name in _PLANNED)}
    if from_names:
        columns |= from_names
        yield Remark(text=f"by its name {', '.join(sorted(from_names))}")
    yield replace(run, columns=dict(run.columns) | columns)


def _listed(taken: Mapping[str, str]) -> str:
    texts = [f"{source} is read as {name}" for name, source in taken.items()]
    return some(texts, _MOST_SAID)
