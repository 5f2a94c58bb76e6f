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
    aside/TIME/              what `cvfp doctor --mend` moved there; see `doctor`

Whoever shows what is in a store leaves out what is damaged, and says so in a line; whoever adds to it raises an error.
"""

from __future__ import annotations

import io
import json
import math
import os
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
from filelock import Timeout

from cvfp_core.errors import CvfpError, UsageError, unwritten
from cvfp_core.schema import atomic, damaged, filesystem, index
from cvfp_core.schema.damaged import Damage, Unsound
from cvfp_core.schema.index import Read as Read
from cvfp_core.schema.leases import RunLock
from cvfp_core.schema.records import CURVE_SCHEMA, RunResult, conform_rows, plain
from cvfp_core.version import __version__

T = TypeVar("T")

MARKER = "cvfp-store.json"
FORMAT = 1
_STAMP = "%Y%m%dT%H%M%S"
_RECORD = "a record"
PARTS = ("records", "curves", "manifests", "locks")
"""Folders that every store has."""


def create(folder: Path) -> Path:
    """The folder, made into a store if it is not one yet. Raises UsageError if it cannot be, and keep what is there."""
    filesystem.refuse_object_store(folder)
    try:
        if os.path.lexists(folder / MARKER):
            require(folder)
        for part in PARTS:
            atomic.folder(folder / part)
        if not os.path.lexists(folder / MARKER):
            atomic.write(folder / MARKER, f'{{"store": "cvfp", "format": {FORMAT}}}\n')
        filesystem.try_rename(folder / "records")
    except OSError as error:
        if isinstance(failed := unwritten(error, folder), UsageError):
            raise UsageError(f"cannot write to '{folder}': {error.strerror or error}; choose another folder with --out"
                             ) from None
        raise failed from None
    return folder


def is_store(path: Path) -> bool:
    """Whether the path is a store, or a folder with stores directly inside."""
    return bool(marked(path))


def write(folder: Path, result: RunResult, *, new: bool = False) -> None:
    """Stores a run: curves first, then the record, each atomically.

    new: raises FileExistsError where there is a record, which stays as it is.
    """
    run_id = atomic.file_name(result.record.run_id)
    curves = pl.DataFrame(
        [{"run_id": result.record.run_id, **asdict(point)} for point in result.curves], schema=CURVE_SCHEMA
    )
    atomic.write(folder / "curves" / f"{run_id}.parquet", _parquet(curves))
    atomic.write(*_record_file(folder, result.row()), new=new)
    with suppress(OSError):
        (folder / "running" / f"{run_id}.jsonl").unlink()


def write_record(folder: Path, row: dict[str, Any]) -> None:
    """Stores one record, a row of the record schema, atomically; NaN and infinity are no values of it."""
    atomic.write(*_record_file(folder, row))


def _record_file(folder: Path, row: dict[str, Any]) -> tuple[Path, str]:
    return (folder / "records" / f"{atomic.file_name(row['run_id'])}.json",
            json.dumps(row, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def finished(folder: Path, run_id: str, stop_rules: Collection[str] = ()) -> bool:
    """Whether the run needs no further work: its record is there and is not of a failure.

    A run that a stop rule ended is finished where that rule is asked for again, and not where it is not.
    """
    path = folder / "records" / f"{atomic.file_name(run_id)}.json"
    if not path.exists():
        return False
    record = _strict(path, _RECORD)
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
            with suppress(OSError):
                file.unlink()


def clear_checkpoint(folder: Path, run_id: str) -> None:
    """Removes the run's checkpoint, and what was begun of it; there must be nobody who writes it."""
    for phase in (1, 2):
        file = folder / "checkpoints" / f"{atomic.file_name(run_id)}.phase{phase}.pt"
        with suppress(OSError):
            file.unlink()
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

    Raises CvfpError if there is no store, or naming the first file that holds no record.
    """
    made = survey(path)
    for damage in made.damages:
        raise CvfpError(f"{damage}; {damaged.way_on(path, mendable=damage.mendable)}")
    return made.records


def survey(path: Path) -> Read:
    """As `read`; files that hold no record are told and left out. Raises CvfpError if there is no store."""
    stores = require(path)
    reads = [_read(folder) for folder in stores]
    records = index.together([each.records for each in reads])
    if records is None:
        reads = [conformed([file for folder in stores for file in sorted((folder / "records").glob("*.json"))])]
        records = reads[0].records
    return Read(damages=tuple(damage for each in reads for damage in each.damages), records=records.sort(
        "experiment", "num_input_tokens", "num_layers", "context_dim", "variant", "phase1_mode", "train_tokens", "seed",
        nulls_last=True, maintain_order=True))


def shown(path: Path) -> pl.DataFrame:
    """As `survey`, the files that are left out said in a warning."""
    made = survey(path)
    damaged.warn(made.damages, path)
    return made.records


def read_run(folder: Path, run_id: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Record and curves of one run. Raises CvfpError for a file that is damaged."""
    name = atomic.file_name(run_id)
    record = _strict(folder / "records" / f"{name}.json", _RECORD)
    try:
        curves = curves_in(folder / "curves" / f"{name}.parquet")
    except FileNotFoundError:
        curves = pl.DataFrame(schema=CURVE_SCHEMA)
    except Unsound as error:
        raise CvfpError(f"{folder / 'curves' / name}.parquet: {error}; {damaged.way_on(folder)}") from None
    return conform_rows([record]).records, curves


def _read(folder: Path) -> Read:
    try:
        return index.read(folder, conformed)
    except Unsound as error:
        return Read(records=conformed([]).records, damages=(damaged.of(folder / "records", error),))


def conformed(files: Sequence[Path]) -> Read:
    """The records in the files, in their order; a file has the name of its run."""
    rows, damages = damaged.sound(files, lambda file: damaged.json_object(file, _RECORD))
    made = conform_rows([row for _, row in rows])
    named = [f"{atomic.file_name(run_id)}.json" for run_id in made.records["run_id"]]
    bad = {each.row: f"column '{each.column}' {each.reason}, found {each.value!r:.60}" for each in made.rejected}
    whole = [file for number, (file, _) in enumerate(rows) if number not in bad]
    strange = [f"holds the record of '{run_id}', and would be {name}" if file.name != name else None
               for file, run_id, name in zip(whole, made.records["run_id"], named, strict=True)]
    damages += [Damage(file=rows[row][0], reason=reason) for row, reason in bad.items()]
    damages += [Damage(file=file, reason=reason) for file, reason in zip(whole, strange, strict=True) if reason]
    return Read(records=made.records.filter(pl.Series([reason is None for reason in strange], dtype=pl.Boolean)),
                damages=tuple(sorted(damages, key=lambda each: each.file)))


def read_curves(path: Path) -> pl.DataFrame:
    """All curves of a store, long: run_id, phase, step, metric, value; files that hold none are said in a warning."""
    frames, damages = damaged.sound((file for folder in require(path) for file in curve_files(folder)), curves_in)
    damaged.warn(damages, path)
    return pl.concat([pl.DataFrame(schema=CURVE_SCHEMA), *(frame for _, frame in frames)])


def curve_files(folder: Path) -> list[Path]:
    """The files of curves of a store, by name."""
    return sorted((folder / "curves").glob("*.parquet"))


def curves_in(file: Path) -> pl.DataFrame:
    """The curves in a file. Raises FileNotFoundError, Unsound."""
    return damaged.parquet(file, CURVE_SCHEMA)


def begin(folder: Path, row: Mapping[str, Any], done: int = 0) -> None:
    """Notes that a run has begun: what its record will say of it, as far as that is known.

    done: the epoch it goes on from; what was noted of epochs up to that one stays.
    """
    (folder / "running").mkdir(exist_ok=True)
    file = folder / "running" / f"{atomic.file_name(row['run_id'])}.jsonl"
    try:
        before = [line for line in running_in(file)[1:] if line["epoch"] <= done]
    except (FileNotFoundError, Unsound):  # notes that are damaged begin anew
        before = []
    atomic.write(file, "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"
                               for line in (dict(row), *before)), durable=False)


def go_on(folder: Path, run_id: str, epoch: Mapping[str, Any]) -> None:
    """Notes what an epoch of a run that has begun measured; `epoch` is its number."""
    finite = {name: value for name, value in epoch.items() if not isinstance(value, float) or math.isfinite(value)}
    atomic.append(folder / "running" / f"{atomic.file_name(run_id)}.jsonl", json.dumps(finite) + "\n")


def read_running(path: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Records and curves, so far, of the runs of a store that have begun and have no record.

    Whether a process is still at it or was killed makes no difference. A line that is not whole yet is left out.
    """
    rows, points = list[dict[str, Any]](), list[dict[str, Any]]()
    for folder in require(path):
        noted, damages = damaged.sound(sorted((folder / "running").glob("*.jsonl")), noted_in)
        damaged.warn(damages, folder)
        for _, (row, *epochs) in noted:
            if not recorded(folder, row["run_id"]):
                rows.append(row)
                points += [{"run_id": row["run_id"], "phase": 2, "step": line["epoch"], "metric": name, "value": value}
                           for line in epochs for name, value in line.items()
                           if name != "epoch" and isinstance(value, int | float) and not isinstance(value, bool)]
    return conform_rows(rows).records, pl.DataFrame(points, schema=CURVE_SCHEMA)


def running_in(file: Path) -> list[dict[str, Any]]:
    """What is noted of a run that has begun: what its record will say, then its epochs; a last line that is torn is
    being written. Raises FileNotFoundError, Unsound.
    """
    lines = [damaged.json_of(line) for line in damaged.content(file).split(b"\n")[:-1]]
    whole = [line for line in lines if isinstance(line, dict)]
    if not whole or len(whole) < len(lines) or not all(type(line.get("epoch")) is int for line in whole[1:]):
        raise Unsound("not the notes of a run: a line of columns, then one an epoch")
    return whole


def noted_in(file: Path) -> list[dict[str, Any]]:
    """As `running_in`; the columns are those of a record."""
    lines = running_in(file)
    for bad in conform_rows(lines[:1]).rejected:
        raise Unsound(f"column '{bad.column}' {bad.reason}, found {bad.value!r:.60}")
    return lines


def keep_forecast(folder: Path, facts: Mapping[str, Any]) -> None:
    """Keeps a forecast under a name of its own, so that none is ever changed."""
    atomic.folder(folder / "forecasts")
    name = f"{atomic.file_name(facts['run_id'])}@{facts['step']}-{time.time_ns()}-{os.getpid()}.json"
    text = json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False, default=str) + "\n"
    atomic.write(folder / "forecasts" / name, text)


def read_forecasts(path: Path, kind: type[T]) -> list[T]:
    """The forecasts kept in a store, or in the stores in a folder, in the order they were made, as values of a kind."""
    made, damages = damaged.sound(
        (file for folder in require(path) for file in (folder / "forecasts").glob("*.json")),
        lambda file: damaged.value(kind, damaged.json_object(file, "a forecast")))
    damaged.warn(damages, path)
    return sorted((each for _, each in made), key=lambda each: (str(each.made), str(each.run_id)))  # type: ignore[attr-defined]


def write_manifest(folder: Path, facts: dict[str, Any]) -> None:
    """Keeps the facts of one command beside the runs, under a name after those of earlier commands."""
    now, before = datetime.now(UTC), max((file.name for file in (folder / "manifests").glob("*.json")), default="")
    with suppress(ValueError):  # of the same second, or made before a clock was set back
        now = max(now, datetime.strptime(before[:15], _STAMP).replace(tzinfo=UTC) + timedelta(seconds=1))
    name = f"{now:{_STAMP}}-{os.getpid()}.json"
    atomic.write(folder / "manifests" / name, json.dumps(facts, indent=1, ensure_ascii=False, default=str) + "\n")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The facts of the last command; of a store that no command trained for, none."""
    files = sorted((folder / "manifests").glob("*.json"))
    made, damages = damaged.sound(files[-1:], manifest_in)
    damaged.warn(damages, folder)
    return made[0][1] if made else {}


def manifest_in(file: Path) -> dict[str, Any]:
    """The facts of one command. Raises FileNotFoundError, Unsound."""
    facts = damaged.json_object(file, "a manifest")
    for name in ("run_ids", "command"):
        if not isinstance(texts := facts.get(name, []), list) or not all(isinstance(each, str) for each in texts):
            raise Unsound(f"not a manifest: '{name}' is no list of texts")
    return facts


def write_many(folder: Path, records: pl.DataFrame, curves: pl.DataFrame) -> None:
    """Stores records and curves made elsewhere; a record of the same run id is replaced by itself.

    Raises CvfpError where they cannot be written.
    """
    create(folder)
    try:
        parts = curves.partition_by("run_id", as_dict=True, maintain_order=True)
        atomic.write_each((folder / "curves" / f"{atomic.file_name(str(run_id))}.parquet", _parquet(part))
                          for (run_id,), part in parts.items())
        atomic.write_each(_record_file(folder, row) for row in plain(records))
    except OSError as error:
        raise unwritten(error) from None


def marked(path: Path) -> list[Path]:
    """The path if it is marked as a store, or the folders directly inside that are."""
    if os.path.lexists(path / MARKER):
        return [path]
    try:
        return sorted(folder for folder in path.iterdir() if os.path.lexists(folder / MARKER))
    except OSError:
        return []


def require(path: Path) -> list[Path]:
    """The stores of a path; of several, those that cannot be read are said in a warning.

    Raises CvfpError where there is none.
    """
    stores = marked(path)
    if not stores:
        raise CvfpError(f"no runs in '{path}': expected a folder that `cvfp run` or `cvfp ingest --into` made")
    _, damages = damaged.sound((folder / MARKER for folder in stores), check_marker)
    without = {damage.file.parent for damage in damages}
    if len(without) == len(stores):
        raise CvfpError(f"{damages[0]}; {damaged.way_on(damages[0].file.parent, mendable=damages[0].mendable)}")
    damaged.warn(damages, path)
    return [folder for folder in stores if folder not in without]


def check_marker(file: Path) -> None:
    """Raises FileNotFoundError; Unsound or Newer for what marks no store of this version's format."""
    facts = damaged.json_object(file, "what marks a store")
    if facts.get("store") != "cvfp" or type(facts.get("format")) is not int:
        raise Unsound(f"not what marks a store: expected 'store' and 'format', found {facts!r:.60}")
    if facts["format"] != FORMAT:
        raise Newer(f"a store of format {facts['format']}, and cvfp {__version__} reads format {FORMAT}; install "
                    "a cvfp that reads it")


class Newer(Unsound):
    """A store of another version, in which nothing is damaged."""

    mendable = False


def _strict(file: Path, what: str) -> dict[str, Any]:
    """The object in a file of a store. Raises CvfpError if it is none."""
    try:
        return damaged.json_object(file, what)
    except Unsound as error:
        raise CvfpError(f"{file}: {error}; {damaged.way_on(file.parent.parent, mendable=error.mendable)}") from None
    except FileNotFoundError as error:
        raise CvfpError(f"{file}: {error.strerror}") from None


def _parquet(frame: pl.DataFrame) -> bytes:
    """The frame as a file: polars tells of a full disk in words of its own."""
    content = io.BytesIO()
    frame.write_parquet(content)
    return content.getvalue()
