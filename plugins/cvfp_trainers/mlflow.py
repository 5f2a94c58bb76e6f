"""What MLflow keeps, without its server: a run's folder under `mlruns`, and its SQLite database."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from cvfp_core.ingesting import configs, histories, tags
from cvfp_core.ingesting.delimited import value
from cvfp_core.ingesting.histories import History
from cvfp_core.ingesting.lines import read_lines, shown
from cvfp_core.registry.kinds import IngestOptions
from cvfp_core.schema.found import Found, FoundRun, NotUnderstood, Tally
from cvfp_trainers import sqlite

_STATES = {"FAILED": "failed", "KILLED": "interrupted", "RUNNING": "interrupted", "SCHEDULED": "interrupted",
           "4": "failed", "5": "interrupted", "1": "interrupted", "2": "interrupted"}
"""By name, or as the folder's meta.yaml numbers them."""


def matches(path: Path, head: bytes | None) -> bool:
    """Whether a folder is that of a run or of an experiment, or a file the database."""
    if head is None:
        return (path / "meta.yaml").is_file() and ((path / "metrics").is_dir() or _is_experiment(path))
    return sqlite.has_tables(path, head, "runs", "metrics", "params", "experiments")


def parts(path: Path) -> Collection[Path]:
    """All of a run's folder; of an experiment's what describes it, which its runs read."""
    return [path / "meta.yaml", path / "tags"] if _is_experiment(path) else list(path.iterdir())


def _is_experiment(path: Path) -> bool:
    return not (path / "metrics").is_dir() and next(path.glob("*/metrics"), None) is not None


def read(path: Path, options: IngestOptions) -> Iterator[Found]:
    """The run of a folder, or those of a database that were not deleted; parameters are its configuration."""
    if path.is_dir() and _is_experiment(path):
        yield Tally(noise=1)
        return
    yield from _folder(path, options) if path.is_dir() else _database(path, options)


def _folder(path: Path, options: IngestOptions) -> Iterator[Found]:
    meta = configs.read(path / "meta.yaml")
    history = History()
    count = 0
    metrics = path / "metrics"
    for file in sorted(each for each in metrics.rglob("*") if each.is_file()):
        name = file.relative_to(metrics).as_posix()
        for first, pace, lines in read_lines(file):
            for index, line in enumerate(lines):
                words = line.split()
                step = histories.whole(value(words[2])) if len(words) >= 3 else 0
                number = value(words[1]) if len(words) >= 2 else None
                if step is None or not isinstance(number, int | float):
                    yield NotUnderstood(line=first + index * pace, expected="time, value and step", found=shown(line),
                                        file=f"metrics/{name}")
                    continue
                count += 1
                history.add(step, {name: number})
    params = {file.relative_to(path / "params").as_posix(): value(file.read_text(errors="replace")[:200].strip())
              for file in sorted((path / "params").rglob("*")) if file.is_file()}
    name = meta.get("run_name") or meta.get("run_id") or path.name
    parent = path.parent / "meta.yaml"
    group = configs.read(parent).get("name") if parent.is_file() else None
    yield _run(history, options, str(name), str(group or path.parent.name), str(meta.get("status", "")), params)
    yield Tally(record=1, curve=count)


def _database(path: Path, options: IngestOptions) -> Iterator[Found]:
    with sqlite.opened(path) as rows:
        runs = rows("SELECT r.run_uuid, r.name, r.status, e.name FROM runs r LEFT JOIN experiments e USING "
                    "(experiment_id) WHERE r.lifecycle_stage = 'active' ORDER BY r.start_time, r.run_uuid")
        for number, (run, name, state, group) in enumerate(runs, 1):
            history = History()
            logged = rows("SELECT key, value, step FROM metrics WHERE run_uuid = ? AND NOT is_nan ORDER BY timestamp",
                          run)
            for key, figure, step in logged:
                history.add(max(int(step or 0), 0), {str(key): figure})
            params = {str(key): value(str(text)) for key, text in
                      rows("SELECT key, value FROM params WHERE run_uuid = ?", run)}
            yield _run(history, options, str(name or run), str(group), str(state), params, number)
            yield Tally(record=1, curve=len(logged))


def _run(history: History, options: IngestOptions, name: str, group: str, state: str, params: dict[str, Any],
         line: int = 1) -> FoundRun | NotUnderstood:
    status = _STATES.get(state, "ok")
    sizes = {quantity: params[source] for quantity, source in configs.quantities(params).items()}
    also = {"status": status} | ({"reason": f"the tracker says {state.lower()}"} if status != "ok" else {})
    clash = set(history.names) | set(tags.columns(dict.fromkeys(history.names, 1))[0])
    return histories.run(history, options.take, {
        **{key: said for key, said in (params | sizes).items() if said is not None and key not in clash}, **also,
        "run_id": name, "experiment": options.experiment or group}, line=line)
