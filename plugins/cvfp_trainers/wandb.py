"""CSV exports of Weights & Biases: the table of runs, and a chart's history."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cvfp_core.ingesting import delimited
from cvfp_core.ingesting.lines import shown, text_of
from cvfp_core.registry.kinds import IngestOptions
from cvfp_core.schema.found import Curve, Found, FoundRun, NotUnderstood, Tally
from cvfp_trainers import figures

_RUN_COLUMNS = {"State", "Runtime", "Created", "User", "Tags", "Sweep", "Notes", "ID"}
_STEPS = {"Step", "_step", "global_step", "trainer/global_step", "train/global_step"}
_TIMES = {"Relative Time (Process)", "Relative Time (Wall)", "Wall Time", "Time"}
_STATES = {"finished": "ok", "crashed": "failed", "failed": "failed", "killed": "interrupted", "running": "interrupted",
           "preempted": "interrupted"}


def _names(head: bytes | None) -> list[str]:
    lines = text_of(head or b"").lstrip("\ufeff").splitlines()
    return [name.strip().strip('"') for name in lines[0].split(",")] if lines else []


def matches_runs(path: Path, head: bytes | None) -> bool:
    """Whether a CSV's header is that of a table of runs."""
    del path
    names = _names(head)
    return "Name" in names and len(_RUN_COLUMNS & set(names)) >= 2


def matches_history(path: Path, head: bytes | None) -> bool:
    """Whether a CSV's header is that of a chart: a step, then `run - metric`."""
    del path
    names = _names(head)
    return bool(names) and names[0] in _STEPS | _TIMES and any(" - " in name for name in names[1:])


def read_runs(path: Path, options: IngestOptions) -> Iterator[Found]:
    """One run a row; its configuration and summary keep their own names."""
    count = 0
    for line, row in delimited.rows(path):
        if isinstance(row, NotUnderstood):
            yield row
            continue
        count += 1
        state = str(row.pop("State", None) or "").lower()
        made: dict[str, Any] = {**row, **{k: v for k, v in figures.columns(row).items() if row.get(k) is None}}
        made.setdefault("variant", row.get("Name"))
        made["experiment"] = options.experiment or row.get("experiment") or row.get("Group") or path.stem
        made["status"] = _STATES.get(state, "ok")
        if made["status"] != "ok":
            made["reason"] = f"the tracker says {state}"
        if isinstance(row.get("Runtime"), int | float):
            made["seconds_phase2"] = row["Runtime"]
        yield FoundRun(line=line, columns=made)
    yield Tally(record=count, noise=1)


def read_history(path: Path, options: IngestOptions) -> Iterator[Found]:
    """One run a name before ` - `: its last values and its curves."""
    names = delimited.header(path)
    step_name = next((name for name in names if name in _STEPS), None)
    steps: dict[str, list[int]] = {}
    values: dict[str, list[float | None]] = {}
    count = 0
    for line, row in delimited.rows(path):
        if isinstance(row, NotUnderstood):
            yield row
            continue
        step = row.get(step_name) if step_name else count
        if not isinstance(step, int):
            yield NotUnderstood(line=line, expected=f"a whole number in '{step_name}'", found=shown(str(step)))
            continue
        count += 1
        for name, value in row.items():
            if " - " in name and not re.search(r"__(?:MIN|MAX)$", name) and isinstance(value, int | float):
                steps.setdefault(name, []).append(step)
                values.setdefault(name, []).append(float(value))
    runs: dict[str, list[tuple[str, str]]] = {}
    for name in steps:
        run, _, metric = name.rpartition(" - ")
        runs.setdefault(run, []).append((metric, name))
    for run, columns in runs.items():
        final = {metric: values[name][-1] for metric, name in columns}
        yield FoundRun(
            line=1, columns={"variant": run, "experiment": options.experiment or path.stem, **figures.columns(final)},
            curves=tuple(
                Curve(phase=2, metric=metric, steps=steps[name], values=values[name]) for metric, name in columns
            ),
        )
    yield Tally(curve=count, noise=1)
