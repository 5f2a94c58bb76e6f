"""A store checked file by file: what is damaged, left over or of another version, and how it is moved aside.

Nothing is removed: what is moved stands under its own name in `aside/TIME/` of the store.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import polars as pl

from cvfp_core.errors import CvfpError, unwritten
from cvfp_core.schema import atomic, damaged, index, jobs, store
from cvfp_core.schema.damaged import Damage, Unsound
from cvfp_core.schema.records import CURVE_SCHEMA

State = Literal["damaged", "not readable", "other version", "left over"]
"""What is wrong with a file. Left over: of writers that were killed, or of no use; no harm."""
ASIDE = "aside"
_MOVED = ("damaged", "left over")
_YOUNG = 3600.0
"""Seconds in which what looks left over may be what somebody writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A file of a store with which something is wrong."""

    file: Path
    state: State
    reason: str
    along: Path | None = None
    """The record of damaged curves, or the curves of a damaged record: moved with it, as their run is made again."""

    @property
    def moved(self) -> bool:
        """Whether it is to be moved aside."""
        return self.state in _MOVED


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkup:
    """What a look at every file of a store found."""

    folder: Path
    records: int
    """Those that are whole."""
    curves: int
    faults: tuple[Fault, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether nothing is damaged; what is left over does no harm."""
        return all(fault.state == "left over" for fault in self.faults)


def stores(path: Path) -> list[Path]:
    """The stores of a path, also those whose marker is lost. Raises CvfpError where there is none."""
    try:
        return store.marked(path) or [each for each in (path, *sorted(path.glob("*/"))) if (each / "records").is_dir()
                                      ] or store.require(path)
    except OSError as error:
        raise CvfpError(f"'{path}' cannot be read: {error.strerror}") from None


def examine(folder: Path) -> Checkup:
    """Looks at every file of a store; changes none."""
    marker = list(_of([folder / store.MARKER], store.check_marker, missing="is missing"))
    if any(fault.state == "other version" for fault in marker):
        return Checkup(folder=folder, records=0, curves=0, faults=tuple(marker))
    parts = list(_folders(folder))
    lost = {fault.file for fault in parts}
    files = [] if folder / "records" in lost else sorted((folder / "records").glob("*.json"))
    read = store.conformed(files)
    recorded = {file.stem: file for file in files}
    curves = [] if folder / "curves" in lost else store.curve_files(folder)
    torn = {fault.file: fault for fault in _of(_suspects(curves), _curves, along=recorded)}
    beside = {file.stem: file for file in curves}
    left = dict(_left_over(folder, recorded, lost))
    faults = [*marker, *parts, *(_fault(each, beside) for each in read.damages), *torn.values(), *_others(folder), *(
        Fault(file=file, state="left over", reason=reason) for file, reason in left.items() if file not in torn)]
    return Checkup(folder=folder, records=read.records.height, curves=len(curves) - len(torn),
                   faults=tuple({fault.file: fault for fault in faults}.values()))


def mend(checkup: Checkup) -> Path | None:
    """Moves what is damaged or left over into a folder of the store, and gives that folder; None: nothing was moved.

    Raises CvfpError while somebody is at work on the store, and where a file cannot be moved.
    """
    folder = checkup.folder
    files = dict.fromkeys(file for fault in checkup.faults if fault.moved for file in (fault.file, fault.along)
                          if file is not None and os.path.lexists(file))
    if not any(fault.moved for fault in checkup.faults):
        return None
    if busy := [beat for beat in jobs.beats(folder) if beat.age <= jobs.SILENT]:
        raise CvfpError(f"process {busy[0].process} on {busy[0].host} is at work on '{folder}'; wait for it, or end it "
                        f"(`cvfp cancel {folder}`), then --mend")
    aside = folder / ASIDE / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}"
    try:
        for file in files:
            place = aside / file.relative_to(folder)
            atomic.move(file, atomic.folder(place.parent) / place.name)
    except OSError as error:
        raise unwritten(error, error.filename or aside) from None
    store.create(folder)
    return aside if files else None


def _fault(damage: Damage, along: Mapping[str, Path] | None = None) -> Fault:
    if not damage.mendable:
        return Fault(file=damage.file, state="not readable", reason=damage.reason)
    return Fault(file=damage.file, state="damaged", reason=damage.reason, along=(along or {}).get(damage.file.stem))


def _of(files: Iterable[Path], read: Callable[[Path], object], *, along: Mapping[str, Path] | None = None,
        missing: str = "") -> Iterator[Fault]:
    """The files that `read` refuses. along: what is moved with one of that name. missing: what is wrong without it."""
    for file in files:
        try:
            read(file)
        except FileNotFoundError:
            if missing:
                yield Fault(file=file, state="damaged", reason=missing)
        except store.Newer as error:
            yield Fault(file=file, state="other version", reason=str(error))
        except Unsound as error:
            yield _fault(damaged.of(file, error), along)


def _folders(folder: Path) -> Iterator[Fault]:
    """What stands where a folder of the store should."""
    for name in (*store.PARTS, "running", "checkpoints", "forecasts", "jobs", ASIDE):
        path = folder / name
        try:
            if os.path.lexists(path):
                os.listdir(path)
        except PermissionError as error:
            yield Fault(file=path, state="not readable", reason=f"cannot be listed: {error.strerror}")
        except OSError:
            yield Fault(file=path, state="damaged", reason="is no folder")


def _suspects(curves: Sequence[Path]) -> Sequence[Path]:
    """The files of curves to look at one by one: none where all are read at once, which takes a fifth of the time."""
    try:
        if max(map(damaged.regular, curves)) > damaged.MOST_CURVES:
            return curves
        frame = pl.read_parquet(list(curves), glob=False, include_file_paths="file")
        if dict(frame.drop("file").schema) != CURVE_SCHEMA:
            return curves
    except (pl.exceptions.PanicException, Exception):  # one of them is torn
        return curves
    strange = {Path(file) for file, run_id in frame.select("file", "run_id").unique().iter_rows()
               if f"{atomic.file_name(run_id)}.parquet" != Path(file).name}
    return [file for file in curves if file in strange]


def _curves(file: Path) -> None:
    """Raises Unsound unless the curves are those of the run of that name."""
    for run_id in store.curves_in(file)["run_id"].unique():
        if f"{atomic.file_name(run_id)}.parquet" != file.name:
            raise Unsound(f"holds curves of '{run_id}'")


def _others(folder: Path) -> Iterator[Fault]:
    """What is damaged beside records and curves."""
    yield from _of(sorted(folder.glob("manifests/*.json")), store.manifest_in)
    yield from _of(sorted(folder.glob("forecasts/*.json")), lambda file: damaged.json_object(file, "a forecast"))
    yield from _of(sorted(folder.glob("running/*.jsonl")), store.noted_in)
    yield from _of(sorted(folder.glob("checkpoints/*.pt")), _checkpoint)
    yield from map(_fault, jobs.damages(folder))
    for pattern in ("jobs/*/*.events", "jobs/attempts/*", "locks/*.lock", "locks/*.leases/*"):
        yield from _of(sorted(folder.glob(pattern)), damaged.regular)
    for file in sorted(folder.glob("locks/*.leases")):
        if not file.is_dir():
            yield Fault(file=file, state="damaged", reason="is no folder")
    yield from _of([folder / index.NAME], index.check)


def _checkpoint(file: Path) -> None:
    damaged.regular(file)
    try:
        with zipfile.ZipFile(file) as parts:
            torn = parts.testzip()
    except Exception as error:  # whatever a torn file makes of the reader
        raise Unsound(f"not a checkpoint that is whole: {error}") from None
    if torn is not None:
        raise Unsound(f"not a checkpoint that is whole: {torn} is torn")


def _left_over(folder: Path, recorded: dict[str, Path], lost: set[Path]) -> Iterator[tuple[Path, str]]:
    """Files without use, unless they are so young that somebody may be writing them."""
    now = index.clock(folder) / 1e9
    found = [(file, "of a writer that was killed") for place in ("", "*/", "jobs/*/")
             for file in folder.glob(f"{place}.*.tmp")]
    found += [(file, "curves of a run without a record") for file in folder.glob("curves/*.parquet")
              if file.stem not in recorded]
    found += [(file, "notes of a run that has a record") for file in folder.glob("running/*.jsonl")
              if file.stem in recorded]
    found += [(file, "checkpoint of a run that has a record") for file in folder.glob("checkpoints/*.pt")
              if file.name.rpartition(".phase")[0] in recorded]
    found += [(file, "no file of a store") for place, ending in (("records", ".json"), ("curves", ".parquet"))
              if folder / place not in lost for file in folder.glob(f"{place}/*")
              if file.suffix != ending and not file.name.startswith(".")]
    for file, reason in sorted(found):
        try:
            if now - file.lstat().st_mtime > _YOUNG:
                yield file, reason
        except FileNotFoundError:
            continue
