"""The JSON files of a results folder, and the folder as a whole: exact figures joined with what its log prints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

from cvfp_core.errors import IngestError
from cvfp_core.ingesting.lines import bad_json, shown, text_of
from cvfp_core.registry.kinds import IngestOptions
from cvfp_core.schema.found import Found, FoundRun, NotUnderstood, PublishedAlpha, Tally
from cvfp_newllm import console, labels
from cvfp_newllm.logged import final_er, fingerprint

RESULTS = "detailed_results.json"
_FILES = (RESULTS, "summary.json", "alpha_progression.json", "metadata.json")
_PICTURES = {".png", ".svg", ".pdf", ".jpg", ".pt", ".md"}
_COLUMNS = {"config_name": "variant", "phase1_iter": "phase1_iterations"}
_BIGGEST = 64 << 20
"""Bytes; the results of an experiment are a few thousand rows at most."""


def matches_folder(path: Path, head: bytes | None) -> bool:
    """Whether a folder holds the results file of an experiment."""
    if head is not None:
        return False
    try:
        with (path / RESULTS).open("rb") as file:
            return _has_rows(text_of(file.read(4096)), "train_tokens")
    except OSError:
        return False


def matches_file(path: Path, head: bytes | None) -> bool:
    """Whether a file is one of the JSON files of such a folder: rows by configuration, with results or alphas."""
    del path
    if head is None:
        return False
    text = text_of(head)
    return _has_rows(text, "train_tokens") or _has_rows(text, "alpha")


def read_file(path: Path, options: IngestOptions) -> Iterator[Found]:
    """The runs or published alphas of one JSON file."""
    rows = _rows(path)
    experiment = labels.label(path, None, options)
    alone = not (path.parent / RESULTS).is_file() and not options.experiment
    for line, row in enumerate(rows, 1):
        if "train_tokens" in row:
            yield _run(line, row, {}, experiment, options)
        else:
            yield from _published(line, row, None if alone else experiment)
    yield Tally(record=len(rows))


def read_folder(path: Path, options: IngestOptions) -> Iterator[Found]:
    """Records with the exact figures of the results file; settings, device, costs and curves from the console log."""
    log, metadata = _log_of(path), path / "metadata.json"
    facts = _object(metadata) if metadata.is_file() else {}
    if facts is None:
        yield NotUnderstood(line=1, expected="an object", found="JSON that is none", file=metadata.name)
    created = (facts or {}).get("timestamp")
    printed: dict[tuple[str | None, int | None], FoundRun] = {}
    rounded: list[PublishedAlpha] = []
    for item in console.read(path / log, options) if log else ():
        if isinstance(item, FoundRun):
            printed[item.columns.get("variant"), item.columns.get("num_samples")] = item
        elif isinstance(item, PublishedAlpha):
            rounded.append(item)
        elif isinstance(item, NotUnderstood):
            yield NotUnderstood(line=item.line, expected=item.expected, found=item.found, file=log)
        else:
            yield item
    experiment = next((str(run.columns["experiment"]) for run in printed.values()), labels.label(path, None, options))
    rows = _rows(path / RESULTS)
    for line, row in enumerate(rows, 1):
        config, samples = row.get("config_name"), row.get("num_samples")
        same = isinstance(config, str) and isinstance(samples, int)
        logged = printed.pop((config, samples), None) if same else None
        run = _run(line, row, logged.columns if logged else {}, experiment, options,
                   created if isinstance(created, str) else None)
        if logged and logged.fingerprint != run.fingerprint:
            both = f"{logged.columns.get('val_ppl')} for val_ppl {row.get('val_ppl')}, or another figure that differs"
            yield NotUnderstood(
                line=logged.line, file=log, expected=f"the figures of row {line} of {RESULTS}", found=shown(both, 100)
            )
        yield run if logged is None else _with_checks(run, logged)
    yield from printed.values()  # runs that died before their results were written
    exact = [alpha for name in _FILES[1:3] if (path / name).is_file()
             for line, row in enumerate(_rows(path / name), 1) for alpha in _published(line, row, experiment)]
    yield from exact
    if not exact:
        yield from rounded
    yield Tally(record=len(rows) + len(exact))
    for other in sorted(path.iterdir()):
        if other.name not in (*_FILES, log) and not other.name.startswith(".") and other.suffix not in _PICTURES:
            yield NotUnderstood(
                line=1, expected="a file of a new-llm results folder", found=repr(other.name), file=other.name
            )


def _with_checks(run: FoundRun, logged: FoundRun) -> FoundRun:
    """The run with the curves of its log, and the last of the checks of its effective rank as the final one."""
    checks = next((curve.values for curve in logged.curves if curve.metric == "val_er"), ())
    return replace(run, curves=logged.curves, columns={
        **run.columns, "val_er": final_er(run.columns.get("val_er"), checks)})


def _has_rows(text: str, column: str) -> bool:
    return text.lstrip("\ufeff \t\r\n").startswith("[") and '"config_name"' in text and f'"{column}"' in text


def _rows(path: Path) -> list[dict[str, Any]]:
    """The file's rows. Raises IngestError with the line where it is not a JSON list of objects."""
    data = path.read_bytes()[: _BIGGEST + 1]
    if len(data) > _BIGGEST:
        raise IngestError(1, f"at most {_BIGGEST >> 20} MiB of results", "more", path.name)
    try:
        rows = json.loads(text_of(data).removeprefix("\ufeff"))
    except json.JSONDecodeError as error:
        raise bad_json(error, path.name) from None
    except RecursionError:
        raise IngestError(1, "a list of objects", "JSON nested too deeply", path.name) from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise IngestError(1, "a list of objects", type(rows).__name__, path.name)
    return rows


def _run(
    line: int, row: dict[str, Any], logged: Any, experiment: str, options: IngestOptions, created: str | None = None,
) -> FoundRun:
    exact = {_COLUMNS.get(name, name): value for name, value in row.items()}
    columns = {**logged, **{name: value for name, value in exact.items() if value is not None}}
    columns.setdefault("family", "residual")
    if not logged:
        facts, _ = labels.provenance(experiment, {}, options)
        columns = {**facts, **columns}
        columns["experiment"] = labels.experiment_of(experiment, columns.get("variant"), None)
        maximum = json.loads(facts["settings"])["phase1"]["max_iterations"] if facts.get("settings") else None
        iterations = columns.get("phase1_iterations")
        if maximum is not None and isinstance(iterations, int):
            columns["phase1_censored"] = iterations >= maximum
            columns["phase1_stop"] = "maximum" if iterations >= maximum else "converged"
    columns["created"] = created
    return FoundRun(line=line, columns=columns, fingerprint=fingerprint(columns))


def _published(line: int, row: dict[str, Any], experiment: str | None) -> Iterator[Found]:
    variant = row.get("config_name")
    if not isinstance(variant, str):
        yield NotUnderstood(line=line, expected="a row with 'config_name'", found=shown(str(row)))
        return
    experiment = labels.experiment_of(experiment, variant, None) if experiment else None
    if _is_number(row.get("alpha")):
        yield PublishedAlpha(line=line, variant=variant, alpha=float(row["alpha"]), experiment=experiment)
    elif "windows" not in row:
        yield NotUnderstood(line=line, expected="a number in 'alpha'", found=shown(str(row.get("alpha"))))
    windows = row.get("windows") or []
    for window in windows if isinstance(windows, list) else (windows,):
        samples = (window.get("samples_in_window") or window.get("sample_range")) if isinstance(window, dict) else None
        if not isinstance(samples, list) or not all(isinstance(each, int) for each in samples) or not samples or (
            not _is_number(window.get("alpha"))
        ):
            yield NotUnderstood(line=line, expected="a window with 'alpha' and its samples", found=shown(str(window)))
            continue
        yield PublishedAlpha(
            line=line, variant=variant, alpha=float(window["alpha"]), experiment=experiment,
            first_samples=samples[0], last_samples=samples[-1],
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _log_of(path: Path) -> str:
    """The name of the folder's console log, by content; empty if it has none."""
    for file in sorted(path.iterdir(), key=lambda each: (each.name != "output.txt", each.name)):
        if file.suffix in (".txt", ".log", "") and file.is_file():
            with file.open("rb") as opened:
                if console.matches(file, opened.read(1 << 16)):
                    return file.name
    return ""


def _object(path: Path) -> dict[str, Any] | None:
    """The file's JSON object; None if it holds none."""
    try:
        made = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return made if isinstance(made, dict) else None
