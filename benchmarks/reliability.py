"""Kills and faults at every step of a write, damaged files: tried, failed; the table of docs/reliability.md.

    python benchmarks/reliability.py [CAMPAIGN...] [--seed 1] [--count 10000] [--write]

A campaign tries what a seed draws, and says of each try what went wrong, or nothing. Those of benchmarks/fuzz.py and
benchmarks/harmful.py, where they are there, are of the same form and stand in the same table.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import importlib.util
import io
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

HERE = Path(__file__).resolve()
PAGE = HERE.parents[1] / "docs" / "reliability.md"
Campaign = Callable[[int, int], Iterator[str | None]]
"""(seed, tries) -> for each try what went wrong, or None."""

# What writes, and what may become of it ------------------------------------------------------------------------------

OF_FILES = {"write", "flush", "close", "__exit__"}
OF_SYSTEM = {"open", "write", "close", "fsync", "replace", "rename", "unlink", "mkdir", "chmod", "ftruncate", "rmdir"}
OF_TORCH = {"write_record", "write_end_of_file"}
"""Functions in C that change files: of what is open, of the system, of torch; its calls are made within these."""
ERRNOS = ("ENOSPC", "EDQUOT", "EROFS", "EACCES", "EIO")


def _row(value: float) -> dict[str, Any]:
    return {"run_id": "run", "experiment": "made", "variant": "v", "val_ppl": value, "status": "ok"}


def record(folder: Path, version: int) -> None:
    """A record."""
    from cvfp_core.schema import store

    store.write_record(folder, _row(float(version)))


def run(folder: Path, version: int) -> None:
    """A run: curves, then the record."""
    from cvfp_core.schema import store
    from cvfp_core.schema.records import CurvePoint, Record, RunResult

    store.write(folder, RunResult(record=Record(run_id="run", experiment="made", variant="v", val_ppl=float(version)),
                                  curves=(CurvePoint(phase=2, step=1, metric="val_ppl", value=float(version)),)))


def ingest(folder: Path, version: int) -> None:
    """Runs made elsewhere, several at once."""
    import polars as pl

    from cvfp_core.schema import store
    from cvfp_core.schema.records import CURVE_SCHEMA, conform_rows

    curves = pl.DataFrame([("run", 2, 1, "val_ppl", float(version))], schema=CURVE_SCHEMA, orient="row")
    store.write_many(folder, conform_rows([_row(float(version)), _row(2.0) | {"run_id": "other"}]).records, curves)


def notes(folder: Path, version: int) -> None:
    """A forecast, a manifest, and the notes of a run that goes on."""
    from cvfp_core.schema import store

    store.keep_forecast(folder, {"run_id": "run", "step": version})
    store.write_manifest(folder, {"command": ["cvfp", "run"], "run_ids": ["run"]})
    store.begin(folder, _row(1.0))
    store.go_on(folder, "run", {"epoch": version, "val_ppl": 2.0})


def report(folder: Path, version: int) -> None:
    """A report with a figure."""
    from cvfp_core.results.reports import Report

    Report(text=f"# {version}\n", figures={"made_figures/a.svg": f"<svg>{version}</svg>"}, form="markdown",
           template="made").save(folder / "made.md")


def corpus(folder: Path, version: int) -> None:
    """An entry of the cache of corpora."""
    import numpy as np

    from cvfp_corpora import cache

    tokens = np.arange(version + 3, dtype=np.int32)
    cache.fetch(folder / "cache", "made", lambda: cache.Made(
        vocab_size=99, train_tokens=tokens, document_ends=np.array([3]), val_tokens=tokens, val_repeated=0.0,
        embeddings=np.zeros((0, 0), dtype=np.float32), tokenizer_json="{}"))


def checkpoint(folder: Path, version: int) -> None:
    """A checkpoint of a cell; one that cannot be kept is said, and no error."""
    import torch

    from cvfp_core.protocol.checkpoint import Checkpoint
    from cvfp_core.schema.cells import Cell, CorpusChoice, Variant
    from cvfp_core.schema.settings import Settings

    cell = Cell(experiment="made", variant=Variant(name="v", family="f", num_layers=1, context_dim=8,
                                                   num_input_tokens=1), settings=Settings(),
                corpus=CorpusChoice(name="c"), corpus_hash="h", num_samples=1, train_tokens=1, seed=0, device="cpu",
                cache=Path("unused"))
    said: list[str] = []
    if not Checkpoint(folder / "checkpoints" / "run", cell, None).keep(
            1, {"phase": 1, "contexts": torch.full((64,), float(version))}, said.append):
        raise OSError(0, said[0])


WRITERS: Mapping[str, Callable[[Path, int], None]] = {
    each.__name__: each for each in (record, run, ingest, notes, report, corpus, checkpoint)}


UNDISTURBED = 77
"""How a child ends that has fewer steps."""
QUICK = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where fsync takes no time: what reaches a disk is not told by kills anyway."""
POLARS = ("run", "ingest")
"""Those that use polars, which is not to be used before a fork."""


# A write that is disturbed at one step, in a process of its own ------------------------------------------------------

class Disturber:
    """A profiler that kills the process, or raises an error of the system, at the step of a number."""

    def __init__(self, step: int, how: str) -> None:
        self.left, self.how = step, how

    def __call__(self, frame: FrameType, event: str, what: Any) -> None:
        if event not in ("c_call", "c_return") or not _on_disk(what):
            return
        if self.how != "kill" and (event == "c_return" or not any(f"{os.sep}cvfp_" in each for each in _files(frame))):
            return
        self.left -= 1
        if self.left == -1 and self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.left == -1:
            code = getattr(errno, self.how)
            raise OSError(code, os.strerror(code))


def _on_disk(function: Any) -> bool:
    owner, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
    if isinstance(owner, io.FileIO | io.BufferedWriter | io.BufferedRandom | io.TextIOWrapper):
        return name in OF_FILES
    return name in OF_TORCH or (getattr(owner, "__name__", "") in ("posix", "io", "_io") and name in OF_SYSTEM)


def _files(frame: FrameType | None) -> Iterator[str]:
    while frame is not None:
        yield frame.f_code.co_filename
        frame = frame.f_back


def _write(writer: str, folder: Path, version: int, step: int | None, how: str) -> tuple[int, str]:
    """Has a child write. Returns its exit code (negative: the signal), and what it raised."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        text, disturber = "", Disturber(10**9 if step is None else step, how)
        try:
            if writer in POLARS:
                WRITERS[writer](folder.parent / "first", 0)  # what is imported is no step
            sys.setprofile(disturber)
            WRITERS[writer](folder, version)
            sys.setprofile(None)
        except BaseException as error:
            sys.setprofile(None)
            text = f"{type(error).__name__}: {error}"
        os.write(theirs, text.encode()[:4000])
        os._exit(1 if text else UNDISTURBED if disturber.left >= 0 else 0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        text = pipe.read().decode()
    status = os.waitpid(child, 0)[1]
    return os.waitstatus_to_exitcode(status), text


def _content(folder: Path) -> dict[str, bytes]:
    """The files that anybody reads, by name; times in names are left out."""
    return {re.sub(r"\d{8}T\d{6}-\d+|-\d{15,}-\d+", "TIME", str(file.relative_to(folder))): file.read_bytes()
            for file in sorted(folder.rglob("*")) if file.is_file() and not file.name.endswith((".tmp", ".lock"))}


def drive(writer: str, place: Path, how: str) -> Iterator[str | None]:
    """Disturbs a writer at each step in turn, over files of an earlier version: what went wrong, or None."""
    from cvfp_core.schema import store  # and no polars is used in this process, which forks

    folder = store.create(place / "runs")
    store.create(place / "first")
    if writer not in POLARS:
        WRITERS[writer](place / "first", 0)  # imports what it needs, once
    assert _write(writer, folder, 1, None, how) == (UNDISTURBED, "")
    old = _content(folder)
    shutil.copytree(folder, place / "old", symlinks=True)
    if writer == "corpus":  # an entry is made where there is none
        shutil.rmtree(folder / "cache")
    assert _write(writer, folder, 2, None, how) == (UNDISTURBED, "")
    new = _content(folder)
    step = 0
    while True:
        shutil.rmtree(folder)
        shutil.copytree(place / "old", folder)
        if writer == "corpus":
            shutil.rmtree(folder / "cache")
        code, text = _write(writer, folder, 2, step, how)
        if code == UNDISTURBED:
            return
        yield _wrong(writer, folder, old, new, how, code, text, step)
        step += 1


def _wrong(writer: str, folder: Path, old: Mapping[str, bytes], new: Mapping[str, bytes], how: str, code: int,
           text: str, step: int) -> str | None:
    """What is wrong after a write that was disturbed: a torn file, an error that blames no file, no way to go on."""
    where = f"{writer}, {how} at step {step}"
    for name, data in _content(folder).items():
        if writer == "checkpoint" and name.endswith(".pt"):
            if not _readable(folder / name):
                return f"{where}: {name} is torn"
        elif data not in (old.get(name), new.get(name)) and not (
                name.endswith(".jsonl") and new[name].startswith(data)):
            return f"{where}: {name} is neither old nor new"
    if how == "kill":
        if code != -signal.SIGKILL:
            return f"{where}: ended with {code}: {text}"
    elif code and (os.strerror(getattr(errno, how)) not in text or "\n" in text or str(folder) not in text):
        return f"{where}: does not say in one line which file and why: {text}"
    code, text = _write(writer, folder, 2, None, how)
    differing = [name for name, data in (_content(folder).items() ^ new.items()) if not name.endswith(".pt")]
    return f"{where}: does not go on: {text or differing}" if code != UNDISTURBED or differing else None


def _readable(file: Path) -> bool:
    import zipfile

    with suppress(Exception), zipfile.ZipFile(file) as parts:
        return parts.testzip() is None
    return False


def _driven(writer: str, how: str) -> list[str | None]:
    """What `drive` says, in a program of its own, which uses no polars."""
    with tempfile.TemporaryDirectory(dir=QUICK) as place:
        done = subprocess.run([sys.executable, str(HERE), "--drive", writer, how, place], capture_output=True,
                              text=True, check=False, timeout=900)
        if done.returncode:
            return [f"{writer}, {how}: {done.stderr.strip().splitlines()[-1:]}"]
    found: list[str | None] = json.loads(done.stdout)
    return found


def kills(seed: int, count: int) -> Iterator[str | None]:
    """Kills before and after every step of every write, writers in an order that the seed draws."""
    yield from _of_all(seed, count, ["kill"])


def faults(seed: int, count: int) -> Iterator[str | None]:
    """Errors of the system at every step of every write: disk full, quota, read-only, no right, input or output."""
    yield from _of_all(seed, count, ERRNOS)


def _of_all(seed: int, count: int, hows: Sequence[str]) -> Iterator[str | None]:
    every = [(writer, how) for writer in WRITERS for how in hows]
    random.Random(seed).shuffle(every)
    for writer, how in every:
        for outcome in _driven(writer, how)[:count]:
            count -= 1
            yield outcome


# Files that somebody else has damaged --------------------------------------------------------------------------------

def _socket(file: Path) -> None:
    before = Path.cwd()
    os.chdir(file.parent)  # a socket's path may have 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(file.name)
    finally:
        os.chdir(before)


def _instead(make: Callable[[Path], object]) -> Callable[[Path, random.Random], None]:
    def damage(file: Path, _draw: random.Random) -> None:
        if file.is_dir():
            shutil.rmtree(file)
        else:
            file.unlink()
        make(file)
    return damage


def _holding(change: Callable[[bytes, random.Random], bytes]) -> Callable[[Path, random.Random], None]:
    def damage(file: Path, draw: random.Random) -> None:
        if file.is_file():
            file.write_bytes(change(file.read_bytes(), draw))
    return damage


def _flipped(data: bytes, draw: random.Random) -> bytes:
    made = bytearray(data)
    for _ in range(max(1, len(made) // 50)):
        made[draw.randrange(len(made))] ^= 1 << draw.randrange(8)
    return bytes(made)


def _sparse(file: Path, _draw: random.Random) -> None:
    if file.is_file():
        os.truncate(file, 1 << 40)


DAMAGES: Mapping[str, Callable[[Path, random.Random], None]] = {
    "empty": _holding(lambda _data, _draw: b""),
    "its first 100 bytes": _holding(lambda data, _draw: data[:100]),
    "torn": _holding(lambda data, draw: data[:draw.randrange(1, max(len(data), 2))]),
    "bits flipped": _holding(_flipped),
    "random bytes": _holding(lambda data, draw: draw.randbytes(len(data))),
    "100,000 brackets": _holding(lambda _data, _draw: b"[" * 100_000),
    "half a character": _holding(lambda data, _draw: data.replace(b'": "', b'": "\\ud800', 1)),
    "NaN": _holding(lambda data, _draw: re.sub(rb": [-0-9.e+]+", b": NaN", data, count=1)),
    "1e999": _holding(lambda data, _draw: re.sub(rb": [-0-9.e+]+", b": 1e999", data)),
    "a name twice": _holding(lambda data, _draw: data.replace(b"{", b'{"run_id": "x", ', 1)),
    "texts for numbers": _holding(lambda data, _draw: re.sub(rb": [-0-9.e+]+", b': "many"', data)),
    "lists for texts": _holding(lambda data, _draw: re.sub(rb': "[^"]*"', b": [1]", data)),
    "of no name": _holding(lambda _data, _draw: b"{}\n"),
    "a list": _holding(lambda data, _draw: b"[" + data.strip() + b"]"),
    "a number of 400 digits": _holding(lambda data, _draw: re.sub(rb": [-0-9.e+]+", b": 1" + b"0" * 400, data)),
    "1 TiB of nothing": _sparse,
    "a folder": _instead(lambda file: file.mkdir()),
    "a FIFO": _instead(os.mkfifo),
    "a socket": _instead(_socket),
    "a link to /dev/zero": _instead(lambda file: file.symlink_to("/dev/zero")),
    "a link to itself": _instead(lambda file: file.symlink_to(file)),
    "a link to nowhere": _instead(lambda file: file.symlink_to(file.parent / "nowhere")),
}
PLACES = ("cvfp-store.json", "records/a.json", "curves/a.parquet", "records.index", "manifests/1.json",
          "forecasts/1.json", "running/d.jsonl", "checkpoints/d.phase1.pt", "jobs/j/job.json", "jobs/j/h-1.json",
          "jobs/j/h-1.events", "jobs/attempts/d.jsonl", "locks/a.lock", "locks/a.leases/1", "records", "curves", "jobs",
          "locks/a.leases")
"""Files and folders of a store, one of each kind."""
COMMANDS = ("show", "fit", "check", "report", "predict --tokens 10x", "plot", "compare --by seed", "forecast",
            "forecast --score", "status", "optimum", "plan --target train_tokens=10x --budget 1e15",
            "ingest TABLE --into", "doctor", "doctor --mend")


def made_store(folder: Path) -> Path:
    """A small store with a file of every kind: three finished runs, one that is going, a job, a forecast."""
    from cvfp_core.schema import index, store
    from cvfp_core.schema.records import CurvePoint, Record, RunResult

    store.create(folder)
    for number, name in enumerate("abc", 1):
        store.write(folder, RunResult(
            record=Record(run_id=name, experiment="made", variant="v", num_samples=4 ** number, seed=number % 2,
                          train_tokens=1000 * 4 ** number, val_ppl=90.0 / number, val_er=0.5, val_acc=0.3, phases=2,
                          phase1_mode="trained", phase1_iterations=9, num_layers=1, context_dim=16, num_input_tokens=1),
            curves=tuple(CurvePoint(phase=phase, step=step, metric=metric, value=99.0 / step)
                         for phase, metric in ((1, "loss"), (2, "val_ppl"), (2, "train_ppl")) for step in range(1, 6))))
    columns = {"run_id": "d", "experiment": "made", "variant": "v", "train_tokens": 9000, "status": "interrupted"}
    store.begin(folder, columns)
    for epoch in (1, 2, 3):
        store.go_on(folder, "d", {"epoch": epoch, "val_ppl": 50.0 / epoch, "train_ppl": 40.0 / epoch, "improved": True})
    store.write_manifest(folder, {"command": ["cvfp", "run"], "run_ids": ["a", "b", "c", "d"]})
    store.keep_forecast(folder, {"run_id": "a", "series": "v", "response": "val_ppl", "step": 3, "limit": 5,
                                 "current": 60.0, "value": 50.0, "low": 40.0, "high": 60.0, "made": "2026-01-01"})
    for pattern, name in (("manifests/*.json", "1.json"), ("forecasts/*.json", "1.json")):
        (file,) = folder.glob(pattern)
        file.rename(file.with_name(name))
    then = "2026-01-01T00:00:00+00:00"
    lines = {
        "jobs/j/job.json": {"name": "j", "executor": "local", "host": "h", "process": 1, "began": then,
                            "cells": ["d"], "handle": None},
        "jobs/j/h-1.json": {"job": "j", "host": "h", "process": 1, "time": then, "run_id": "d",
                            "since": then, "phase": 2, "step": 3, "loss": 1.5},
        "jobs/j/h-1.events": {"kind": "run_started", "run_id": "d", "values": {"train_tokens": 9000}},
        "jobs/attempts/d.jsonl": {"job": "j", "host": "h", "process": 1, "checkpoint": ""},
        "locks/a.lock": {}, "locks/a.leases/1": {"owner": "x", "host": "h", "boot": "b", "process": "1", "beat": 1},
    }
    for name, facts in lines.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(facts) + "\n")
    (folder / "checkpoints").mkdir()
    import zipfile

    with zipfile.ZipFile(folder / "checkpoints" / "d.phase1.pt", "w") as parts:
        parts.writestr("archive/data.pkl", b"x" * 999)
    for file in folder.rglob("*"):
        os.utime(file, (time.time() - 3600,) * 2)
    index._store(folder, index._loaded(folder))
    return folder


def damaged(seed: int, count: int) -> Iterator[str | None]:
    """Every damage of every kind of file in a store, under every command; what the seed draws comes first."""
    draw = random.Random(seed)
    every = [(place, damage) for place in PLACES for damage in DAMAGES]
    draw.shuffle(every)
    from cvfp_core.schema import index

    index.WORTH = 1
    with tempfile.TemporaryDirectory(dir=QUICK) as name:
        whole = made_store(Path(name) / "whole")
        for number, (place, damage) in enumerate(every):
            for command in COMMANDS:
                if count <= 0:
                    return
                count -= 1
                yield under(command, whole, Path(name) / f"made{number}", place, damage, draw)


def under(command: str, whole: Path, folder: Path, place: str, damage: str, draw: random.Random) -> str | None:
    """What is wrong with how a command takes a store with a damaged file, or None."""
    shutil.copytree(whole, folder, symlinks=True)
    try:
        before = _inodes(folder)
        DAMAGES[damage](folder / place, draw)
        there = _inodes(folder)
        code, out, err = called(command, folder)
        said = [line for line in err.splitlines() if line.startswith("cvfp: ")]
        where = f"{command}, {place}: {damage}"
        if code not in (0, 1, 2, 3):
            return f"{where}: {err.strip().splitlines()[-1:]}"
        if command.startswith("doctor"):
            known = damage in ("bits flipped", "a name twice", "a folder") or place.endswith(
                (".events", ".jsonl", ".lock", "/1"))  # looked at as files only, or still a store
            if command == "doctor" and before != there and code == 0 and place not in out and not known:
                return f"{where}: is not seen: {out}"
            if command == "doctor --mend":
                if lost := there - _inodes(folder):
                    return f"{where}: {len(lost)} files are gone"
                if called("doctor", folder)[0]:
                    return f"{where}: is not mended: {called('doctor', folder)[1]}"
            return None
        if code == 3 and (len(said) > 2 or not any(place in line for line in said)):
            return f"{where}: not one line that names the file: {said}"
        return None
    finally:
        shutil.rmtree(folder)


def _inodes(folder: Path) -> set[tuple[int, int]]:
    """The files and what they are, by number; locks and the index come and go."""
    return {(file.lstat().st_ino, file.lstat().st_mode) for file in folder.rglob("*")
            if not file.is_dir() or file.is_symlink()}


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raises TimeoutError in what takes longer."""
    def late(*_: object) -> None:
        raise TimeoutError(f"took longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def called(command: str, folder: Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command of cvfp in this process; -1: it raised, or took more than a minute."""
    from typer.testing import CliRunner

    from cvfp_core.cli.app import app

    words = [str(folder.parent / "runs.csv") if word == "TABLE" else word for word in command.split()]
    words.insert(len(words) if command.endswith("--into") else 1, str(folder))
    (folder.parent / "runs.csv").write_text("params,train_tokens,val_loss\n1e6,1e7,3.5\n")
    try:
        with limited(60):
            done = CliRunner().invoke(app, words, env={"COLUMNS": "80"})
    except TimeoutError as error:
        return -1, "", str(error)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        return -1, done.stdout, f"{type(done.exception).__name__}: {done.exception}"
    return done.exit_code, done.stdout, done.stderr


# The table -----------------------------------------------------------------------------------------------------------

def campaigns() -> dict[str, Campaign]:
    """The campaigns of this file, and those of fuzz.py and harmful.py."""
    found: dict[str, Campaign] = {each.__name__: each for each in (kills, faults, damaged)}
    for name in ("fuzz", "harmful"):
        if importlib.util.find_spec(name) is not None:
            found |= importlib.import_module(name).CAMPAIGNS
    return found


def row(name: str, campaign: Campaign, seed: int, count: int) -> tuple[str, list[str]]:
    """The line of the table of one campaign, and what went wrong."""
    outcomes = list(campaign(seed, count))
    failures = [each for each in outcomes if each is not None]
    what = (campaign.__doc__ or name).partition(".")[0].partition(";")[0].replace("\n", " ")
    return (f"| `{name}` | {' '.join(what.split())} | {len(outcomes):,} | {len(failures):,} | {seed} | "
            f"{datetime.now(UTC):%Y-%m-%d} |"), failures


def written(page: str, lines: Mapping[str, str]) -> str:
    """The page with these lines in its table, in place of those of the same campaigns."""
    kept = [line for line in page.splitlines() if not any(line.startswith(f"| `{name}` |") for name in lines)]
    end = max(number for number, line in enumerate(kept) if line.startswith("|"))
    return "\n".join([*kept[:end + 1], *lines.values(), *kept[end + 1:]]) + "\n"


def main() -> None:
    if sys.argv[1:2] == ["--drive"]:
        print(json.dumps(list(drive(sys.argv[2], Path(sys.argv[4]), sys.argv[3]))))
        return
    known = campaigns()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("campaigns", nargs="*", metavar="CAMPAIGN", help=", ".join(known))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=10_000, help="most tries of each")
    parser.add_argument("--write", action="store_true", help="put the lines into docs/reliability.md")
    asked = parser.parse_args()
    if strange := set(asked.campaigns) - set(known):
        parser.error(f"unknown: {', '.join(sorted(strange))}; there are: {', '.join(known)}")
    lines, wrong = {}, 0
    for name in asked.campaigns or known:
        lines[name], failures = row(name, known[name], asked.seed, asked.count)
        print(lines[name], *failures, sep="\n", flush=True)
        wrong += len(failures)
    if asked.write:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), lines), encoding="utf-8")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
