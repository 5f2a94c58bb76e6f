"""Results of lm-evaluation-harness: scores of one model, which join the run of its name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cvfp_core.errors import IngestError
from cvfp_core.ingesting import naming
from cvfp_core.ingesting.lines import bad_json, shown
from cvfp_core.registry.kinds import IngestOptions
from cvfp_core.schema.found import Found, FoundRun, Remark, Tally

_BIGGEST = 64 << 20
_SCORE = re.compile(rb'"[\w@]+,[\w-]+"\s*:')
"""`"acc,none":`, a measure and the filter of the answers it was taken of."""
_CHECKPOINT = re.compile(r"checkpoint-(\d{1,15})")


def matches(path: Path, head: bytes | None) -> bool:
    """Whether a file holds results with scores as the harness names them, or as it did before 0.4."""
    del path
    return head is not None and head.lstrip().startswith(b"{") and b'"results"' in head and (
        _SCORE.search(head) is not None or (b'"versions"' in head and b'"model_args"' in head))


def read(path: Path, options: IngestOptions) -> Iterator[Found]:
    """The scores, `hellaswag/acc_norm`, under the name of the model: the last part of where it was loaded from."""
    if path.stat().st_size > _BIGGEST:
        raise IngestError(1, f"results of at most {_BIGGEST >> 20} MiB", "a bigger file")
    try:
        made = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except json.JSONDecodeError as error:
        raise bad_json(error) from None
    except (ValueError, RecursionError) as error:
        raise IngestError(1, "JSON", str(error)) from None
    results = made.get("results") if isinstance(made, dict) else None
    if not isinstance(results, dict):
        raise IngestError(1, "an object 'results'", type(results).__name__)
    scores = {f"{task}/{measure.removesuffix(',none').replace(',', '/')}": value
              for task, measures in results.items() if isinstance(measures, dict)
              for measure, value in measures.items() if _is_score(value)}
    if not scores:
        raise IngestError(1, "scores under 'results'", shown(str(results)))
    loaded = _loaded(made)
    called = naming.run(path, options)
    if loaded is None:
        yield Remark(text=f"it says no model: its scores are taken as of '{called['run_id']}'")
    columns = called | _named(loaded) if loaded is not None else called
    yield FoundRun(line=1, columns=scores | columns, joins=True)
    yield Tally(record=1)


def _is_score(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e300 < value < 1e300


def _loaded(made: Mapping[str, Any]) -> str | None:
    """Where the model was loaded from: a path, or a repository with its revision."""
    config = made.get("config")
    arguments = config.get("model_args") if isinstance(config, dict) else None
    if isinstance(arguments, str):
        arguments = dict(part.split("=", 1) for part in arguments.split(",") if "=" in part)
    said = arguments if isinstance(arguments, dict) else {}
    place = said.get("peft") or said.get("pretrained") or said.get("path") or made.get("model_name")
    if not isinstance(place, str) or not place.strip("/ "):
        return None
    revision = said.get("revision")
    return place.rstrip("/") + (f"-{revision}" if isinstance(revision, str) and revision != "main" else "")


def _named(place: str) -> dict[str, Any]:
    """The run's name and, of a checkpoint, its step."""
    *above, last = re.split(r"[/\\]", place)
    checkpoint = _CHECKPOINT.fullmatch(last)
    if checkpoint and above:
        return {"run_id": above[-1], "step": int(checkpoint[1])}
    return {"run_id": last}
