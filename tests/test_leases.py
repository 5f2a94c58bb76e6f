"""One process runs a cell, also between hosts that see no locks of each other; who was stopped stores nothing late."""

import json
import os
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from filelock import Timeout

import made_grids
from cvfp_core.errors import UsageError
from cvfp_core.schema import filesystem, leases, store
from cvfp_core.schema.leases import RunLock, Taken


class Lying:
    """A lock that everybody gets."""

    def __init__(self, path):
        self.lock_file, self.is_locked = path, True

    def acquire(self, timeout=-1):
        pass

    def release(self):
        pass


@pytest.fixture
def hosts(monkeypatch, tmp_path):
    """Locks of the same cell on hosts of these names, whose file locks lie; a beat is 20 ms, half a second is death."""
    monkeypatch.setattr(leases, "FileLock", Lying)
    monkeypatch.setattr(leases, "BEAT", 0.02)
    monkeypatch.setattr(leases, "STALE", 0.5)
    names = {}
    monkeypatch.setattr(RunLock, "_boot", lambda self: names[self])

    def on(name):
        lock = RunLock(tmp_path / "run.lock")
        names[lock] = name
        return lock

    return on


def silenced(lock):
    """Holds the lock as one does whose process is stopped."""
    held = lock.acquire(timeout=0)
    held.__enter__()
    lock._ends.set()
    lock._heart.join()
    return held


def test_another_host_does_not_get_the_cell_of_one_that_lives_and_learns_that_locks_lie(hosts):
    here, there = hosts("a"), hosts("b")
    with here.acquire(timeout=0):
        with pytest.raises(Timeout), there.acquire(timeout=1.2):
            pass
        here.renew()
        here.check()
    assert there.unlocked is not None
    with there.acquire(timeout=0):
        there.renew()


def test_the_cell_of_a_host_that_stands_still_is_taken_and_its_owner_learns_of_it(hosts):
    stopped, taker = hosts("a"), hosts("b")
    held = silenced(stopped)
    began = time.monotonic()
    with taker.acquire(timeout=30):
        assert time.monotonic() - began >= 0.5
        with pytest.raises(Taken, match=r"another process has taken this cell over \(process \d+ on .*\); its record"):
            stopped.renew()
        held.__exit__(None, None, None)
        taker.renew()  # what the other gave back was no longer its own
    assert taker.unlocked is None
    with pytest.raises(Taken):
        stopped.check()


def test_an_owner_that_wakes_when_its_taker_has_ended_and_a_third_has_begun_has_lost_the_cell(hosts):
    stopped, taker, third = hosts("a"), hosts("b"), hosts("c")
    held = silenced(stopped)
    with taker.acquire(timeout=30):
        pass
    with third.acquire(timeout=0):
        with pytest.raises(Taken):
            stopped.renew()
        held.__exit__(None, None, None)
        third.renew()


def test_an_owner_that_wakes_finds_by_its_heart_that_it_has_lost_the_cell(hosts):
    stopped, taker = hosts("a"), hosts("b")
    held = silenced(stopped)
    with taker.acquire(timeout=30):
        stopped._ends.clear()
        stopped._live()  # returns where it finds out
        with pytest.raises(Taken):
            stopped.check()
    held.__exit__(None, None, None)


def test_of_many_that_see_a_host_die_one_at_a_time_has_its_cell(hosts):
    silenced(hosts("dead"))
    held = []

    def take(lock):
        try:
            with lock.acquire(timeout=60):
                began = time.monotonic()
                time.sleep(0.05)
                lock.renew()
                held.append((began, time.monotonic()))
        except Taken:
            pass  # it stood still for half a second

    threads = [threading.Thread(target=take, args=(hosts(f"h{number}"),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held.sort()
    assert held
    assert all(end <= begin for (_, end), (begin, _) in pairwise(held))


def test_a_cell_of_a_dead_process_of_this_host_is_free_at_once(tmp_path):
    code = ("import os, pathlib, sys; from cvfp_core.schema.leases import RunLock\n"
            "with RunLock(pathlib.Path(sys.argv[1])): os._exit(9)")
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "run.lock")], check=False)
    assert (tmp_path / "run.leases" / "1").exists()
    with RunLock(tmp_path / "run.lock").acquire(timeout=0) as lock:
        lock.renew()
    assert not (tmp_path / "run.leases").exists()


@pytest.mark.parametrize("error", [NotImplementedError("no flock"), OSError(37, "No locks available")])
def test_a_file_system_without_locks_has_leases(hosts, monkeypatch, error):
    def refuse(self, timeout=-1):  # noqa: ARG001
        self.is_locked = False
        raise error

    monkeypatch.setattr(Lying, "acquire", refuse)
    here, beside = hosts("a"), hosts("a")
    with here.acquire(timeout=0), pytest.raises(Timeout), beside.acquire(timeout=1):
        pass
    with beside.acquire(timeout=0):
        assert beside.unlocked is None


@pytest.mark.parametrize("address", ["s3://bucket/runs", "gs://bucket"])
def test_an_address_of_an_object_store_is_refused_by_name(tmp_path, monkeypatch, address):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=rf"^cannot keep runs in '{address[:2]}:/bucket.*': {address[:2]} is no f"):
        store.create(Path(address))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["fuse.s3fs", "fuse.gcsfuse", "fuse.mountpoint-s3"])
def test_a_mounted_object_store_is_refused_by_name(tmp_path, monkeypatch, kind):
    mounts = tmp_path / "mountinfo"
    mounts.write_text("22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
                      f"99 22 0:50 / {tmp_path}/my\\040bucket rw,nosuid - {kind} bucket rw\n")
    monkeypatch.setattr(filesystem, "_MOUNTS", mounts)
    (tmp_path / "my bucket").mkdir()
    with pytest.raises(UsageError, match=rf"^cannot keep runs in '.*': it is on {kind}, an object store, where"):
        store.create(tmp_path / "my bucket" / "runs" / "default")
    store.create(tmp_path / "runs")


def test_a_file_system_that_cannot_rename_over_a_file_is_refused(tmp_path, monkeypatch):
    def refuse(*_paths):
        raise OSError(38, "Function not implemented")

    def copy(source, target):
        Path(target).write_bytes(Path(source).read_bytes())

    (tmp_path / "records").mkdir()
    for rename, why in ((refuse, "Function not implemented"), (copy, "the old file stays")):
        monkeypatch.setattr(filesystem.os, "replace", rename)
        with pytest.raises(UsageError, match=rf"does not rename a file over another in one step \({why}\); choose"):
            filesystem.try_rename(tmp_path / "records")
    monkeypatch.undo()
    made = os.open
    monkeypatch.setattr(filesystem.os, "open", lambda path, flags, *more: made(path, flags & ~os.O_EXCL, *more))
    with pytest.raises(UsageError, match="lets two processes make the same file"):
        filesystem.try_rename(tmp_path / "records")
    assert list((tmp_path / "records").iterdir()) == []


WORKERS = """
import json, os, signal, sys, time
from pathlib import Path
import torch
import cvfp_core.protocol.run, cvfp_residual.model
from cvfp_core import registry
from cvfp_core.running import config, execute, grid
from cvfp_core.running.corpora import load_corpus
from cvfp_core.schema import leases, store

class Lying:
    is_locked = True
    def __init__(self, path): self.lock_file = path
    def acquire(self, timeout=-1): pass
    def release(self): pass

torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # what an optimizer imports is imported once, before the forks
leases.FileLock, leases.BEAT, leases.STALE = Lying, 0.1, 2.0
place = Path(sys.argv[1])
installed = registry.load(only=(), disabled=()).require_healthy()
asked = config.read(None, {"variants": ["1L_16d_1tok"], "samples": [8]}, [
    "corpus.name=text", f"corpus.path={place / 'corpus.txt'}", "corpus.vocab_size=300", "corpus.embed_dim=16",
    "phase1.max_iterations=4", "phase2.epochs=2"], installed)
folder = store.create(place / "runs")

def start(host, gate=None):
    heard, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        leases.RunLock._boot = lambda self: host
        loaded = load_corpus(installed, asked.corpus, place / "cache")
        def emit(event):
            os.write(heard[1], json.dumps([event.kind, str(event.values.get("text", ""))]).encode() + b"\\n")
            if event.kind == gate:
                os.read(go[0], 1)
        execute.execute_cells(grid.cells(asked, installed, loaded, "cpu", place / "cache"), folder, emit)
        os._exit(0)
    os.close(heard[1])
    return child, os.fdopen(heard[0]), go[1]

first, events, go = start("a", "phase2_epoch")
for line in events:
    if json.loads(line)[0] == "phase2_epoch":
        break
os.kill(first, signal.SIGSTOP)
second, others, _ = start("b")
told = [json.loads(line) for line in others]
ends = [os.waitpid(second, 0)[1]]
(record,) = (folder / "records").glob("*.json")
before = (record.read_bytes(), record.stat().st_ino)
os.write(go, b"xx")
os.kill(first, signal.SIGCONT)
told_first = [json.loads(line) for line in events]
ends.append(os.waitpid(first, 0)[1])
print(json.dumps({"ends": ends, "first": told_first, "second": told,
                  "same": before == (record.read_bytes(), record.stat().st_ino),
                  "left": sorted(path.name for path in (folder / "locks").iterdir())}))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="fork and signals")
def test_an_owner_that_was_stopped_and_goes_on_leaves_the_record_of_who_took_its_cell(tmp_path):
    made_grids.corpus(tmp_path)
    done = subprocess.run([sys.executable, "-c", WORKERS, str(tmp_path)], capture_output=True, text=True, check=True,
                          timeout=900, env=made_grids.environment(tmp_path, PYTHONWARNINGS="ignore"))
    told = json.loads(done.stdout)
    assert told["ends"] == [0, 0], done.stderr
    assert told["same"]
    assert [kind for kind, _ in told["second"]].count("run_finished") == 1
    assert [kind for kind, _ in told["first"]].count("run_finished") == 0
    assert [text for kind, text in told["first"] if kind == "warning"] == [
        "another process has taken this cell over (it has ended); its record counts"]
    assert store.read(tmp_path / "runs")["status"].to_list() == ["ok"]
    assert told["left"] == []
