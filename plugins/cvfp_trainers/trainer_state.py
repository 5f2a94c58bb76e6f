"""`trainer_state.json`: what Hugging Face Trainer saves with every checkpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cvfp_core.errors import IngestError
from cvfp_core.ingesting.lines import bad_json, shown
from cvfp_core.registry.kinds import IngestOptions
from cvfp_core.schema.found import Curve, Found, FoundRun, NotUnderstood, Tally
from cvfp_trainers import figures

_NO_METRIC = {"step", "epoch", "total_flos", "train_runtime", "train_samples_per_second", "train_steps_per_second"}
_BIGGEST = 512 << 20


def read(path: Path, options: IngestOptions) -> Iterator[Found]:
    """The run up to this checkpoint: its last evaluation, and every logged value as a curve over steps."""
    if path.stat().st_size > _BIGGEST:
        raise IngestError(1, f"a trainer state of at most {_BIGGEST >> 20} MiB", "a bigger file")
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        state = json.loads(text)
    except json.JSONDecodeError as error:
        raise bad_json(error) from None
    except (ValueError, RecursionError) as error:
        raise IngestError(1, "JSON", str(error)) from None
    history = state.get("log_history") if isinstance(state, dict) else None
    if not isinstance(history, list):
        raise IngestError(1, "a list 'log_history'", type(history).__name__)
    final: dict[str, Any] = {}
    steps: dict[str, list[int]] = {}
    values: dict[str, list[float | None]] = {}
    taken = 0
    for number, entry in enumerate(history, 1):
        step = entry.get("step") if isinstance(entry, dict) else None
        if not isinstance(step, int) or not 0 <= step < 2**62:
            yield NotUnderstood(line=number, expected="an entry of log_history with a step", found=shown(str(entry)))
            continue
        taken += 1
        for name, value in entry.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            final[name] = value
            if name not in _NO_METRIC:
                steps.setdefault(name, []).append(step)
                values.setdefault(name, []).append(float(value))
    folder = figures.folder_of_run(path)
    made = figures.columns({**final, **_counted(state)})
    epoch = state.get("epoch")
    yield FoundRun(
        line=1,
        columns={
            "variant": folder.name, "experiment": options.experiment or folder.parent.name or "trainer", **made,
            "epochs": int(epoch) if isinstance(epoch, int | float) and float(epoch).is_integer() else None,
            "trainer_steps": state.get("global_step"),
        },
        curves=tuple(Curve(phase=2, metric=name, steps=steps[name], values=values[name]) for name in steps),
    )
    yield Tally(record=1, curve=taken)


def _counted(state: dict[str, Any]) -> dict[str, Any]:
    """What the state counts itself; 0 stands for not counted."""
    return {name: state[name] for name in ("num_input_tokens_seen", "total_flos")
            if isinstance(state.get(name), int | float) and state[name] > 0}
