"""What Weights & Biases leaves: the table of runs and a chart as CSV, and the folder of a run on disk."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from cvfp_core.errors import IngestError
from cvfp_core.ingesting import configs, delimited, histories, naming, tags
from cvfp_core.ingesting.histories import History, whole
from cvfp_core.ingesting.lines import bad_json, first_bytes, shown, text_of
from cvfp_core.registry.kinds import IngestOptions
from cvfp_core.schema.found import Found, FoundRun, NotUnderstood, Remark, Tally
from cvfp_trainers import wandb_log

_RUN_COLUMNS = {"State", "Runtime", "Created", "User", "Tags", "Sweep", "Notes", "ID"}
_STEPS = {"Step", "_step", "global_step", "trainer/global_step", "train/global_step"}
_TIMES = {"Relative Time (Process)", "Relative Time (Wall)", "Wall Time", "Time"}
_NOBODYS = {"user", "username", "host", "hostname", "email"}
_STATES = {"finished": "ok", "crashed": "failed", "failed": "failed", "killed": "interrupted", "running": "interrupted",
           "preempted": "interrupted"}
_SUMMARY = "wandb-summary.json"
_EXTREMES = re.compile(r"__(?:MIN|MAX)$")


def _names(head: bytes | None) -> list[str]:
    return delimited.cells_of(delimited.first_lines(head or b"")[0], ",")


def matches_runs(path: Path, head: bytes | None) -> bool:
    """Whether a CSV's header is that of a table of runs: `Name` comes first, or stands beside others of its columns."""
    del path
    names = _names(head)
    return len(names) > 1 and (names[0] == "Name" or ("Name" in names and len(_RUN_COLUMNS & set(names)) >= 2))


def matches_history(path: Path, head: bytes | None) -> bool:
    """Whether a CSV's header is that of a chart: a step or another axis, then `run - metric`."""
    del path
    names = _names(head)
    columns = [name for name in names[1:] if " - " in name]
    return bool(columns) and (names[0] in _STEPS | _TIMES or any(map(_EXTREMES.search, columns)))


def matches_folder(path: Path, head: bytes | None) -> bool:
    """Whether a folder is that of a run, or a file the summary or the log of one."""
    if head is None:
        return (path / "files" / _SUMMARY).is_file() or any(
            first_bytes(log, 4) == wandb_log.MAGIC for log in path.glob("run-*.wandb")) or _is_root(path)
    return head.startswith(wandb_log.MAGIC) or (path.name == _SUMMARY and text_of(head).lstrip().startswith("{"))


def parts(path: Path) -> Collection[Path]:
    """All of a run's folder; of the folder above, what the library logs about itself."""
    return list(path.glob("debug*.log") if _is_root(path) else path.iterdir())


def _is_root(path: Path) -> bool:
    """Whether a folder is the one that holds the folders of runs."""
    return path.name == "wandb" and next(path.glob("debug*.log"), None) is not None


def read_runs(path: Path, options: IngestOptions) -> Iterator[Found]:
    """One run a row; its configuration and summary keep their own names, people and machines are left out."""
    count = 0
    left_out: set[str] = set()
    for line, row in delimited.rows(path):
        if isinstance(row, NotUnderstood):
            yield row
            continue
        count += 1
        left_out |= {name for name in row if name.lower() in _NOBODYS}
        row = {name: value for name, value in row.items() if name.lower() not in _NOBODYS}
        state = str(row.get("State") or "").lower()
        figures, names = tags.columns(row)
        figures |= {quantity: row[name] for name, quantity in tags.quantities(tuple(row)).items()
                    if isinstance(row[name], str)}  # for the gate to refuse
        made: dict[str, Any] = {"run_id": row.get("ID") or row.get("Name"), **row, **figures}
        made["experiment"] = options.experiment or row.get("experiment") or row.get("Group") or path.stem
        made["status"] = _STATES.get(state, "ok")
        if made["status"] != "ok":
            made["reason"] = f"the tracker says {state}"
        if isinstance(row.get("Runtime"), int | float):
            made["seconds_phase2"] = row["Runtime"]
        for quantity, name in configs.quantities(row).items():
            made.setdefault(quantity, row[name])
        yield FoundRun(line=line, columns=tags.with_train_tokens(made), taken=names)
    if left_out:
        yield Remark(text=f"left out: {', '.join(sorted(left_out))}")
    yield Tally(record=count, noise=1)


def read_history(path: Path, options: IngestOptions) -> Iterator[Found]:
    """One run a name before ` - `: its curves, and of its metrics the values asked for."""
    names = delimited.header(path)
    if not names:
        raise IngestError(1, "a header with a step and columns `run - metric`", "an empty line")
    axis = names[0]
    counted = axis in _STEPS
    runs: dict[str, History] = {}
    count = 0
    for line, row in delimited.rows(path):
        if isinstance(row, NotUnderstood):
            yield row
            continue
        step = whole(row.get(axis)) if axis not in _TIMES else count
        if step is None:
            yield NotUnderstood(line=line, expected=f"a whole number in '{axis}'", found=shown(str(row.get(axis))))
            continue
        count += 1
        words = next((name for name, value in row.items() if " - " in name and isinstance(value, str)), None)
        if words is not None:
            yield NotUnderstood(line=line, expected=f"a number in '{words}'", found=shown(row[words]))
        for name, value in row.items():
            run, dash, metric = name.rpartition(" - ")
            if dash and metric not in _STEPS and not _EXTREMES.search(name) and value is not None:
                also = {} if counted or axis in _TIMES else {axis: step}
                runs.setdefault(run, History()).add(step, {metric: value} | also)
    unknown: dict[str, None] = {}
    for run, history in runs.items():
        if not tags.validation(history.names):
            unknown |= dict.fromkeys(history.names)
        yield histories.run(history, options.take, {"run_id": run, "experiment": options.experiment or path.stem})
    if unknown:
        metrics = list(unknown)
        yield Remark(text=f"no metric is known by its name; there are: {', '.join(metrics[:8])}; say what one is: "
                          f"--map val_loss={metrics[0]}")
    yield Tally(curve=count, noise=1)


def read_folder(path: Path, options: IngestOptions) -> Iterator[Found]:
    """The run of a folder on disk: its curves from the log, its last values from the summary, its configuration."""
    if path.is_dir() and _is_root(path):
        yield Tally(noise=len(parts(path)))
        return
    given = path if path.is_file() else None
    file = given if given and given.name == _SUMMARY else path / "files" / _SUMMARY
    log = next(iter([given] if given and given != file else sorted(path.glob("run-*.wandb"))), None)
    logged = wandb_log.read(log) if log is not None else wandb_log.Logged()
    summary = configs.flat(_summary(file) if file.is_file() else logged.summary)
    values = {name: value for name, value in summary.items() if name not in ("_timestamp", "_wandb.runtime")}
    home = naming.folder(log or file)
    run = re.fullmatch(r"(?:offline-)?run-[\d_]+-(\w+)", home.name)
    called = naming.run(log or file, options)
    called["run_id"] = logged.facts.get("name") or (run[1] if run else called["run_id"])
    config = configs.flat({name: value for name, value in logged.config.items() if not name.startswith("_")})
    config |= {quantity: config[name] for quantity, name in configs.quantities(config).items()}
    if logged.history:
        last = values if options.take.how == "last" else {}
        found = histories.run(logged.history, options.take, config | last | called, step="_step")
    else:
        step = values.get("_step")
        figures, names = tags.columns(values)
        found = FoundRun(line=1, taken=names, columns=tags.with_train_tokens(
            {**config, **values, **figures, **called, "taken_at": "last" if step is None else f"last, step {step}"}))
    yield found
    points = sum(len(curve.steps) for curve in found.curves) if isinstance(found, FoundRun) else 0
    yield Tally(record=1, curve=points)


def _summary(file: Path) -> dict[str, Any]:
    try:
        summary = json.loads(file.read_text(encoding="utf-8", errors="replace"))
    except json.JSONDecodeError as error:
        raise bad_json(error) from None
    except (ValueError, RecursionError) as error:
        raise IngestError(1, "JSON", str(error)) from None
    if not isinstance(summary, dict):
        raise IngestError(1, "an object", type(summary).__name__)
    return summary
