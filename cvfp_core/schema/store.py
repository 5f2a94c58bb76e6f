"""A directory of runs on disk: atomic, resumable, safe for several processes at once.

    cvfp-store.json          what this folder is
    records/RUN_ID.json      one record; its presence is what "finished" means
    curves/RUN_ID.parquet    its curves, written before the record
    manifests/*.json         one a command: versions, command line, host, configuration, corpus hash
    locks/RUN_ID.*           held by the process that is running the cell; see `leases`
    checkpoints/RUN_ID.*     where the training of a cell stands that has no record yet
    running/RUN_ID.jsonl     a run without a record yet: its columns, then a line an epoch; gone with the record
    forecasts/*.json         one a forecast of a run that had not ended, as it was made; never changed
    jobs/                    who works at it; see `jobs`
    records.index            see `index`
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from filelock import Timeout

from cvfp_core.errors import CvfpError, UsageError
from cvfp_core.schema import atomic, filesystem, index
from cvfp_core.schema.leases import RunLock
from cvfp_core.schema.records import CURVE_SCHEMA, RunResult, conform_rows, plain

MARKER = "cvfp-store.json"
FORMAT = 1
_STAMP = "%Y%m%dT%H%M%S"


def create(folder: Path) -> Path:
    """The folder, made into a store if it is not one yet. Raises UsageError if it cannot be, and keep what is there."""
    filesystem.refuse_object_store(folder)
    try:
        for part in ("records", "curves", "manifests", "locks"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        if not (folder / MARKER).exists():
            atomic.write(folder / MARKER, lambda path: path.write_text(f'{{"store": "cvfp", "format": {FORMAT}}}\n'))
        filesystem.try_rename(folder / "records")
    except OSError as error:
        raise UsageError(
            f"cannot write to '{folder}': {error.strerror or error}; choose another folder with --out"
        ) from None
    return folder


def is_store(path: Path) -> bool:
    """Whether the path is a store, or a folder with stores directly inside."""
    return bool(_stores(path))


def write(folder: Path, result: RunResult) -> None:
    """Stores a run: curves first, then the record, each atomically."""
    run_id = atomic.file_name(result.record.run_id)
    curves = pl.DataFrame(
        [{"run_id": result.record.run_id, **asdict(point)} for point in result.curves], schema=CURVE_SCHEMA
    )
    atomic.write(folder / "curves" / f"{run_id}.parquet", curves.write_parquet)
    write_record(folder, result.row())
    (folder / "running" / f"{run_id}.jsonl").unlink(missing_ok=True)


def write_record(folder: Path, row: dict[str, Any]) -> None:
    """Stores one record, a row of the record schema, atomically; NaN and infinity are no values of it."""
    text = json.dumps(row, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    file = folder / "records" / f"{atomic.file_name(row['run_id'])}.json"
    atomic.write(file, lambda path: path.write_text(text, encoding="utf-8"))


def finished(folder: Path, run_id: str, stop_rules: Collection[str] = ()) -> bool:
    """Whether the run needs no further work: its record is there and is not of a failure.

    A run that a stop rule ended is finished where that rule is asked for again, and not where it is not.
    """
    path = folder / "records" / f"{atomic.file_name(run_id)}.json"
    if not path.exists():
        return False
    record = _read_record(path)
    return record.get("status") in ("ok", "diverged") or record.get("stopped_by") in stop_rules


def recorded(folder: Path, run_id: str) -> bool:
    """Whether the run left a record, of whatever status."""
    return (folder / "records" / f"{atomic.file_name(run_id)}.json").exists()


def forget_failure(folder: Path, run_id: str, stop_rules: Collection[str] = ()) -> None:
    """Removes the record of a run that needs further work, so that it is made again; not while a process makes it."""
    with suppress(Timeout), lock(folder, run_id).acquire(timeout=0):
        if not finished(folder, run_id, stop_rules):
            (folder / "records" / f"{atomic.file_name(run_id)}.json").unlink(missing_ok=True)


def lock(folder: Path, run_id: str) -> RunLock:
    """The right to run a cell; free when its holder dies, however it dies and on whichever host."""
    return RunLock(folder / "locks" / f"{atomic.file_name(run_id)}.lock")


def clear_checkpoints(folder: Path) -> None:
    """Removes checkpoints of runs that have a record: who stored it was killed before it removed them."""
    for file in (folder / "checkpoints").glob("*.pt"):
        if (folder / "records" / f"{file.name.rpartition('.phase')[0]}.json").exists():
            file.unlink(missing_ok=True)


def clear_checkpoint(folder: Path, run_id: str) -> None:
    """Removes the run's checkpoint, and what was begun of it; there must be nobody who writes it."""
    for phase in (1, 2):
        file = folder / "checkpoints" / f"{atomic.file_name(run_id)}.phase{phase}.pt"
        file.unlink(missing_ok=True)
        atomic.clear(file)


def standing(folder: Path, run_id: str) -> str:
    """What tells the run's checkpoint from any other; empty: there is none."""
    files = sorted((folder / "checkpoints").glob(f"{atomic.file_name(run_id)}.phase?.pt"))
    with suppress(FileNotFoundError):
        return " ".join(f"{file.name[-4]}:{file.stat().st_mtime_ns}" for file in files)
    return ""


def checkpoints(folder: Path, run_id: str) -> Path:
    """The path that the files of the run's checkpoint begin with; gone when its record is there."""
    return folder / "checkpoints" / atomic.file_name(run_id)


def read(path: Path) -> pl.DataFrame:
    """All records of a store, or of the stores in a folder, in the record schema, ordered by series and size.

    Raises CvfpError if there is no store, or naming the file and column if a record does not conform.
    """
    stores = require(path)
    records = index.together([index.read(folder, _conformed) for folder in stores])
    if records is None:
        records = _conformed([file for folder in stores for file in sorted((folder / "records").glob("*.json"))])
    return records.sort(
        "experiment", "num_input_tokens", "num_layers", "context_dim", "variant", "phase1_mode",
        "train_tokens", "seed",
        nulls_last=True, maintain_order=True,
    )


def read_run(folder: Path, run_id: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Record and curves of one run."""
    name = atomic.file_name(run_id)
    curves = folder / "curves" / f"{name}.parquet"
    return (conform_rows([_read_record(folder / "records" / f"{name}.json")]).records,
            pl.read_parquet(curves) if curves.exists() else pl.DataFrame(schema=CURVE_SCHEMA))


def _conformed(files: Sequence[Path]) -> pl.DataFrame:
    """The records in the files, in their order. Raises CvfpError naming the first file that holds none."""
    made = conform_rows([_read_record(file) for file in files])
    if made.rejected:
        bad = made.rejected[0]
        raise CvfpError(f"{files[bad.row]}: column '{bad.column}' {bad.reason}, found {bad.value!r}; remove the file")
    return made.records


def read_curves(path: Path) -> pl.DataFrame:
    """All curves of a store, long: run_id, phase, step, metric, value."""
    files = [file for folder in require(path) for file in sorted((folder / "curves").glob("*.parquet"))]
    return pl.concat([pl.DataFrame(schema=CURVE_SCHEMA), *(pl.read_parquet(file) for file in files)])


def begin(folder: Path, row: Mapping[str, Any], done: int = 0) -> None:
    """Notes that a run has begun: what its record will say of it, as far as that is known.

    done: the epoch it goes on from; what was noted of epochs up to that one stays.
    """
    (folder / "running").mkdir(exist_ok=True)
    file = folder / "running" / f"{atomic.file_name(row['run_id'])}.jsonl"
    before = [line for line in _whole_lines(file) if line.get("epoch", math.inf) <= done]
    text = "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in (dict(row), *before))
    atomic.write(file, lambda path: path.write_text(text, encoding="utf-8"))


def go_on(folder: Path, run_id: str, epoch: Mapping[str, Any]) -> None:
    """Notes what an epoch of a run that has begun measured; `epoch` is its number."""
    finite = {name: value for name, value in epoch.items() if not isinstance(value, float) or math.isfinite(value)}
    with (folder / "running" / f"{atomic.file_name(run_id)}.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(finite) + "\n")


def read_running(path: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Records and curves, so far, of the runs of a store that have begun and have no record.

    Whether a process is still at it or was killed makes no difference. A line that is not whole yet is left out.
    """
    rows, points = [], []
    for folder in require(path):
        for file in sorted((folder / "running").glob("*.jsonl")):
            lines = list(_whole_lines(file))
            if not lines or recorded(folder, str(lines[0].get("run_id"))):
                continue
            rows.append(lines[0])
            points += [{"run_id": lines[0]["run_id"], "phase": 2, "step": line["epoch"], "metric": name, "value": value}
                       for line in lines[1:] for name, value in line.items() if name not in ("epoch", "improved")]
    return conform_rows(rows).records, pl.DataFrame(points, schema=CURVE_SCHEMA)


def _whole_lines(file: Path) -> Iterator[dict[str, Any]]:
    with suppress(OSError, ValueError):  # it may go, or be written to, while it is read
        for line in file.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)


def keep_forecast(folder: Path, facts: Mapping[str, Any]) -> None:
    """Keeps a forecast under a name of its own, so that none is ever changed."""
    (folder / "forecasts").mkdir(exist_ok=True)
    name = f"{atomic.file_name(facts['run_id'])}@{facts['step']}-{time.time_ns()}-{os.getpid()}.json"
    text = json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False, default=str) + "\n"
    atomic.write(folder / "forecasts" / name, lambda path: path.write_text(text, encoding="utf-8"))


def read_forecasts(path: Path) -> list[dict[str, Any]]:
    """The forecasts kept in a store, or in the stores in a folder, in the order they were made."""
    found = [_read_record(file) for folder in require(path) for file in (folder / "forecasts").glob("*.json")]
    return sorted(found, key=lambda each: (str(each.get("made")), str(each.get("run_id"))))


def write_manifest(folder: Path, facts: dict[str, Any]) -> None:
    """Keeps the facts of one command beside the runs, under a name after those of earlier commands."""
    now, before = datetime.now(UTC), max((file.name for file in (folder / "manifests").glob("*.json")), default="")
    with suppress(ValueError):  # of the same second, or made before a clock was set back
        now = max(now, datetime.strptime(before[:15], _STAMP).replace(tzinfo=UTC) + timedelta(seconds=1))
    name = f"{now:{_STAMP}}-{os.getpid()}.json"
    text = json.dumps(facts, indent=1, ensure_ascii=False, default=str) + "\n"
    atomic.write(folder / "manifests" / name, lambda path: path.write_text(text, encoding="utf-8"))


def read_manifest(folder: Path) -> dict[str, Any]:
    """The facts of the last command; of a store that no command trained for, none."""
    files = sorted((folder / "manifests").glob("*.json"))
    return _read_record(files[-1]) if files else {}


def write_many(folder: Path, records: pl.DataFrame, curves: pl.DataFrame) -> None:
    """Stores records and curves made elsewhere; a record of the same run id is replaced by itself."""
    create(folder)
    by_run = dict(curves.partition_by("run_id", as_dict=True, maintain_order=True).items())
    for row in plain(records):
        part = by_run.get((row["run_id"],))
        if part is not None:
            atomic.write(folder / "curves" / f"{atomic.file_name(row['run_id'])}.parquet", part.write_parquet)
        write_record(folder, row)


def _stores(path: Path) -> list[Path]:
    if (path / MARKER).is_file():
        return [path]
    try:
        return sorted(folder for folder in path.iterdir() if (folder / MARKER).is_file())
    except OSError:
        return []


def require(path: Path) -> list[Path]:
    """The stores of a path. Raises CvfpError where there is none."""
    stores = _stores(path)
    if not stores:
        raise CvfpError(f"no runs in '{path}': expected a folder that `cvfp run` or `cvfp ingest --into` made")
    return stores


def _read_record(path: Path) -> dict[str, Any]:
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CvfpError(f"{path}: not a record: {error}; remove the file") from None
    if not isinstance(row, dict):
        raise CvfpError(f"{path}: not a record: expected an object, found {type(row).__name__}; remove the file")
    return row
