"""Who works at a store, and what becomes of it: small files in its folder `jobs`.

    jobs/JOB/job.json             what an executor was asked for, by whom, and the engine's handle
    jobs/JOB/HOST-PROCESS.json    a worker's last beat: the cell it is at, phase, step, loss; gone when the worker ends
    jobs/JOB/HOST-PROCESS.events  what a worker told that nobody hears directly, a line an event
    jobs/attempts/RUN_ID.jsonl    a line for every time a cell without a record was begun or given up; gone with it

Nothing here decides a result: where a file cannot be written or read, work goes on without it.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal

from cvfp_core.schema import atomic, damaged
from cvfp_core.schema.cells import Event
from cvfp_core.schema.damaged import Damage
from cvfp_core.schema.options import Scalar

BEAT = 5.0
"""Seconds between two beats of a worker."""
_SPACING = 1.0
"""Seconds between two beats at the least, where cells follow each other quickly."""
SILENT = 60.0
"""Seconds without a beat after which a worker is taken to be lost."""
_KEPT = 86400.0
"""Seconds that the files of a job without a handle stay whose driver was killed."""

Handle = Mapping[str, Scalar | None]
"""What an engine needs to find a job again: `{"job_id": "4711"}`."""
Ending = Literal["interrupted", "memory"]
"""How an attempt at a cell ended without a record, where somebody could say; what nobody said ended with its worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What an executor was asked for."""

    name: str
    executor: str
    host: str
    """Of the program that asked."""
    process: int
    began: str
    """UTC, ISO 8601."""
    cells: tuple[str, ...]
    """Run ids of the cells that had no result."""
    handle: Handle | None = None
    """Of the engine, where the job was submitted; None: it lives as long as the program that asked."""

    def __str__(self) -> str:
        if self.handle is None:
            return f"process {self.process} on {self.host}"
        return f"{self.executor} job {self.handle.get('job_id', self.name)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """What a worker said last of itself."""

    job: str
    host: str
    process: int
    time: str
    """UTC, ISO 8601, by the worker's clock, as `since`."""
    run_id: str | None = None
    """The cell it is at; None: between cells."""
    since: str | None = None
    """When it began the cell."""
    phase: int | None = None
    step: int | None = None
    """Iteration of Phase 1 or epoch of Phase 2."""
    loss: float | None = None
    """Of Phase 1 its loss; of Phase 2 the validation loss, nat a token."""
    age: float = 0.0
    """Seconds since the beat, by the file system's clock. Above SILENT the worker is taken to be lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A time that a cell was begun."""

    job: str
    host: str
    process: int
    checkpoint: str
    """Which checkpoint it went on from."""
    ended: Ending | None = None
    """None: it goes on, or its worker was lost."""


def begin(folder: Path, executor: str, cells: Sequence[str]) -> Job:
    """A new job, noted in the store; files of jobs whose driver was killed long ago are removed."""
    _clear(folder)
    now = datetime.now(UTC)
    job = Job(name=f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}", executor=executor, host=platform.node(),
              process=os.getpid(), began=_iso(now), cells=tuple(cells))
    return keep(folder, job)


def keep(folder: Path, job: Job) -> Job:
    """Notes what is known of a job, its handle too."""
    with suppress(OSError):
        (folder / "jobs" / job.name).mkdir(parents=True, exist_ok=True)
        _write(folder / "jobs" / job.name / "job.json", asdict(job))
    return job


def end(folder: Path, job: str) -> None:
    """Removes the files of a job that has ended."""
    shutil.rmtree(folder / "jobs" / job, ignore_errors=True)


def read(folder: Path) -> list[Job]:
    """The jobs of a store that have not ended, or whose driver was killed, the oldest first."""
    return [job for _, job in damaged.sound(sorted((folder / "jobs").glob("*/job.json")), job_in)[0]]


def beats(folder: Path) -> list[Beat]:
    """The last beats of all workers that have not ended, those that were killed among them."""
    found, now = [], _clock(folder)
    files = (file for file in sorted((folder / "jobs").glob("*/*.json")) if file.name != "job.json")
    for file, beat in damaged.sound(files, beat_in)[0]:
        with suppress(OSError):
            age = abs(now - file.stat().st_mtime)  # after a clock was set back, of no worker that lives
            found.append(replace(beat, age=age))
    return found


def damages(folder: Path) -> list[Damage]:
    """The files of jobs and beats that are none."""
    files = sorted((folder / "jobs").glob("*/*.json"))
    return damaged.sound(files, lambda file: job_in(file) if file.name == "job.json" else beat_in(file))[1]


def job_in(file: Path) -> Job:
    """The job in a file. Raises FileNotFoundError, damaged.Unsound."""
    return damaged.value(Job, damaged.json_object(file, "a job"))


def beat_in(file: Path) -> Beat:
    """The beat in a file. Raises FileNotFoundError, damaged.Unsound."""
    beat = damaged.value(Beat, damaged.json_object(file, "a worker's beat"))
    for moment in (beat.time, beat.since or beat.time):
        try:
            zone = datetime.fromisoformat(moment).tzinfo
        except ValueError:
            zone = None
        if zone is None:
            raise damaged.Unsound(f"'{moment:.60}' is no time of ISO 8601 with its zone")
    return beat


class Heart:
    """While it is open, tells the store what a worker is at, when it begins a cell and every BEAT seconds.

    host, process: of the worker, where that is not this process.
    """

    def __init__(self, folder: Path, job: str, host: str = "", process: int = 0) -> None:
        self.beat = Beat(job=job, host=host or platform.node(), process=process or os.getpid(), time="")
        self._file = folder / "jobs" / job / f"{self.beat.host}-{self.beat.process}.json"
        self._ends, self._news = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._live, name="cvfp-heart", daemon=True)

    def __enter__(self) -> Heart:
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        return self

    def __exit__(self, *_raised: object) -> None:
        self._ends.set()
        self._news.set()
        self._thread.join()
        with suppress(OSError):
            self._file.unlink()

    def begin(self, run_id: str | None) -> None:
        """The worker begins a cell; None: it is at none."""
        self.beat = replace(self.beat, run_id=run_id, since=run_id and _iso(datetime.now(UTC)), phase=None, step=None,
                            loss=None)
        self._news.set()

    def at(self, phase: int, step: int, loss: float | None) -> None:
        """Where the worker stands in its cell."""
        self.beat = replace(self.beat, phase=phase, step=step, loss=loss)

    def _live(self) -> None:
        while not self._ends.is_set():
            self._news.clear()
            with suppress(OSError):
                _write(self._file, {name: value for name, value in asdict(
                    replace(self.beat, time=_iso(datetime.now(UTC)))).items() if name != "age"})
            if not self._ends.wait(_SPACING):
                self._news.wait(BEAT - _SPACING)


class Journal:
    """Keeps what a worker tells, for who follows its job from elsewhere; of iterations of Phase 1 one a second."""

    def __init__(self, folder: Path, job: str) -> None:
        self._file = folder / "jobs" / job / f"{platform.node()}-{os.getpid()}.events"
        self._kept = -_SPACING

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        if event.kind == "phase1_iteration":
            if now - self._kept < _SPACING:
                return
            self._kept = now
        _append(self._file, asdict(event))


class Listener:
    """Hears what the journals of a store's jobs keep."""

    def __init__(self, folder: Path) -> None:
        self._jobs, self._read = folder / "jobs", dict[Path, int]()

    def news(self) -> Iterator[Event]:
        """What was told since it was asked last, at first all."""
        for file in sorted(self._jobs.glob("*/*.events")):
            with suppress(OSError), _opened(file) as lines:
                lines.seek(self._read.get(file, 0))
                whole, newline, _ = lines.read().rpartition(b"\n")
                self._read[file] = self._read.get(file, 0) + len(whole + newline)
                for line in whole.splitlines():
                    with suppress(ValueError, RecursionError, damaged.Unsound):
                        yield damaged.value(Event, json.loads(line))


def attempts(folder: Path, run_id: str) -> list[Attempt]:
    """The times a cell without a record was begun, the first one first."""
    found: list[Attempt] = []
    for line in _lines(_attempts(folder, run_id)):
        with suppress(damaged.Unsound):
            if "checkpoint" in line:
                found.append(damaged.value(Attempt, line))
                continue
            for number, each in reversed(list(enumerate(found))):
                if (each.host, each.process, each.ended) == (line.get("host"), line.get("process"), None):
                    found[number] = damaged.value(Attempt, asdict(each) | {"ended": line.get("ended")})
                    break
    return found


def attempt(folder: Path, run_id: str, made: Attempt) -> None:
    """Notes that a cell is begun."""
    _append(_attempts(folder, run_id), {name: value for name, value in asdict(made).items() if name != "ended"})


def ended(folder: Path, run_id: str, host: str, process: int, how: Ending) -> None:
    """Notes how the attempt of a worker ended: by the worker, or by who knows how it died."""
    _append(_attempts(folder, run_id), {"host": host, "process": process, "ended": how})


def forget(folder: Path, run_id: str) -> None:
    """Forgets the attempts at a cell, which has a record now."""
    with suppress(OSError):
        _attempts(folder, run_id).unlink()


def lost(made: Sequence[Attempt], job: str, checkpoint: str) -> list[Attempt]:
    """The attempts of the job whose workers were lost since the cell last got on, to its present checkpoint."""
    return [each for each in made if (each.job, each.checkpoint, each.ended) == (job, checkpoint, None)]


def short_of_memory(made: Sequence[Attempt], job: str) -> list[Attempt]:
    """The attempts of the job that ended for want of memory."""
    return [each for each in made if (each.job, each.ended) == (job, "memory")]


def _attempts(folder: Path, run_id: str) -> Path:
    return folder / "jobs" / "attempts" / f"{atomic.file_name(run_id)}.jsonl"


def _clear(folder: Path) -> None:
    now, submitted = _clock(folder), {job.name for job in read(folder) if job.handle is not None}
    for place in (folder / "jobs").glob("*/"):
        with suppress(OSError):
            newest = max((file.stat().st_mtime for file in place.iterdir()), default=0.0)
            if place.name not in {"attempts", *submitted} and now - newest > _KEPT:
                end(folder, place.name)


def _clock(folder: Path) -> float:
    """Seconds by the clock of the file system, which may be another machine's."""
    probe = folder / "jobs" / f".{uuid.uuid4().hex}.tmp"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        with suppress(OSError):
            probe.unlink()


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def _write(path: Path, facts: Mapping[str, Any]) -> None:
    atomic.write(path, json.dumps(facts) + "\n", durable=False)


def _append(path: Path, facts: Mapping[str, Any]) -> None:
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.append(path, json.dumps(facts) + "\n")


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file that are whole."""
    with suppress(FileNotFoundError, damaged.Unsound):
        for line in damaged.content(path).splitlines():
            with suppress(ValueError, RecursionError):
                if isinstance(facts := json.loads(line), dict):
                    yield facts


def _opened(file: Path) -> BinaryIO:
    """The file, to be read from; an OSError for what is none, which might block."""
    if not file.is_file():
        raise FileNotFoundError(file)
    return file.open("rb")
