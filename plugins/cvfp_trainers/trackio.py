"""The SQLite database that Trackio keeps of a project."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cvfp_core.ingesting import configs, histories
from cvfp_core.ingesting.histories import History
from cvfp_core.ingesting.lines import shown
from cvfp_core.registry.kinds import IngestOptions
from cvfp_core.schema.found import Found, NotUnderstood, Tally
from cvfp_trainers import sqlite


def matches(path: Path, head: bytes | None) -> bool:
    """Whether a file is such a database: its metrics are JSON by run name and step."""
    return head is not None and sqlite.has_tables(path, head, "metrics") and {"run_name", "step", "metrics"} <= set(
        sqlite.columns(path, "metrics"))


def read(path: Path, options: IngestOptions) -> Iterator[Found]:
    """Its runs, with their configurations where it keeps them."""
    runs: dict[str, History] = {}
    said: dict[str, dict[str, Any]] = {}
    count = 0
    with sqlite.opened(path) as rows:
        for number, (run, step, text) in enumerate(rows("SELECT run_name, step, metrics FROM metrics ORDER BY id"), 1):
            values, at = _object(text), histories.whole(step)
            if values is None or at is None:
                yield NotUnderstood(line=number, expected="a step and an object of metrics", found=shown(str(text)))
                continue
            count += 1
            runs.setdefault(str(run), History()).add(at, configs.flat(values))
        if sqlite.columns(path, "configs"):
            said = {str(run): configs.flat(_object(text) or {})
                    for run, text in rows("SELECT run_name, config FROM configs ORDER BY id")}
    for number, (run, history) in enumerate(runs.items(), 1):
        config = {name: value for name, value in said.get(run, {}).items() if not name.startswith("_")}
        sizes = {quantity: config[name] for quantity, name in configs.quantities(config).items()}
        yield histories.run(history, options.take, {**config, **sizes, "run_id": run,
                                                    "experiment": options.experiment or path.stem}, line=number)
    yield Tally(curve=count)


def _object(text: Any) -> dict[str, Any] | None:
    try:
        made = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None
    return made if isinstance(made, dict) else None
