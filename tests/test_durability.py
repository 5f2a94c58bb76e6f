"""What was written is there after a kill, a power cut and a full disk: the old file or the new one."""

import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import benchmarks_path
import made_grids
from cvfp_core.errors import CvfpError, UsageError
from cvfp_core.schema import atomic, store
from cvfp_core.schema.records import CurvePoint, Record, RunResult

reliability = benchmarks_path.reliability()

WRITERS = ("record", "run", "ingest", "notes", "report", "corpus", "checkpoint")
REMADE = re.compile(r"records\.index|running/|jobs/|/\.\d+\.(old|new)\.tmp")
"""What can be made again, or decides no result."""


@pytest.fixture(autouse=True)
def _kept(monkeypatch):
    """Files are put on the disk here, as they are for users."""
    monkeypatch.delenv("CVFP_SYNC", raising=False)


class Disk:
    """A disk that keeps what it was told to keep, and of the rest as little as it may.

    Files are known by inode. Names are kept with their folder; a move may be kept before what is in the file.
    """

    def __init__(self, monkeypatch, root):
        self.root, self.kept, self.names, self.torn = root, {}, {}, []
        fsync, replace = os.fsync, os.replace

        def synced(handle):
            fsync(handle)
            path, facts = Path(os.readlink(f"/proc/self/fd/{handle}")), os.fstat(handle)
            if path.is_dir():
                for file in path.iterdir():
                    self.names[file] = file.stat().st_ino
            else:
                self.kept[facts.st_ino] = path.read_bytes()

        def moved(source, target):
            source, target = Path(source), Path(target)
            if not REMADE.search(str(target)) and self.kept.get(source.stat().st_ino) != source.read_bytes():
                self.torn.append(target)
            replace(source, target)

        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(os, "replace", moved)

    def lost(self):
        """Files that a power cut now would take, or leave as they were."""
        return [file for file in self.root.rglob("*") if file.is_file() and not REMADE.search(str(file))
                and not file.name.endswith(".lock")
                and (self.names.get(file), self.kept.get(file.stat().st_ino)) != (
                    file.stat().st_ino, file.read_bytes())]

    def nameless(self):
        """Folders whose own names a power cut would take."""
        return [place for place in self.root.rglob("*") if place.is_dir() and not REMADE.search(f"{place}/")
                and place not in self.names]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="finds files by their handle in /proc")
@pytest.mark.parametrize("writer", WRITERS)
def test_what_was_written_is_on_the_disk_before_it_counts(writer, tmp_path, monkeypatch):
    disk = Disk(monkeypatch, tmp_path)
    folder = store.create(tmp_path / "runs")
    for version in (1, 2):
        reliability.WRITERS[writer](folder, version)
        assert disk.torn == []
        assert disk.lost() == []
    assert [place.name for place in disk.nameless() if place.name not in ("locks",)] == []


def replayed(trace, root):
    """What a power cut may do after the calls of a trace of strace: moves of files that were torn, names that are lost.

    A file keeps what was written before its last fsync, a name what its folder's last fsync found.
    """
    written, kept, moved, torn = {}, {}, {}, []
    for call, rest in re.findall(r"^\d+ +(\w+)\((.*)$", trace, re.MULTILINE):
        paths = [path for path in re.findall(r'[<"](/[^">]*)[>"]', rest) if path.startswith(str(root))]
        if not paths or REMADE.search(paths[-1]):
            continue
        if call == "fsync":
            kept[paths[0]] = written.get(paths[0])
            for target in [target for target in moved if os.path.dirname(target) == paths[0]]:
                del moved[target]
        elif call.startswith("rename"):
            source, target = paths
            if source in written and kept.get(source) != written[source]:
                torn.append(target)
            moved[target] = source
            kept.pop(source, None), written.pop(source, None)
        else:
            written[paths[0]] = written.get(paths[0], 0) + 1
    return torn, list(moved)


WRITING = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import reliability
from cvfp_core.schema import store
folder = store.create(Path(sys.argv[2]))
for version in (1, 2):
    reliability.WRITERS[sys.argv[3]](folder, version)
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("writer", WRITERS)
def test_the_system_is_asked_to_write_keep_and_move_in_this_order(writer, tmp_path):
    calls = "write,pwrite64,writev,ftruncate,fsync,rename,renameat,renameat2"
    done = subprocess.run(
        ["strace", "-f", "-y", "-qq", "-e", f"trace={calls}", "-o", str(tmp_path / "trace"), sys.executable, "-c",
         WRITING, str(Path(reliability.__file__).parent), str(tmp_path / "runs"), writer],
        env=made_grids.environment(tmp_path, PYTHONWARNINGS="ignore", CVFP_SYNC="1"), capture_output=True, text=True,
        check=False)
    if "ptrace" in done.stderr:
        pytest.skip(f"no process may be traced here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    trace = (tmp_path / "trace").read_text()
    assert replayed(trace, tmp_path / "runs") == ([], [])
    assert len(re.findall(r"\brename\w*\(", trace)) >= 3
    files, folders = (re.sub(rf"^.*fsync\(\d+<{re.escape(str(tmp_path))}/runs/{what}>.*\n", "", trace, flags=re.M)
                      for what in (r"\S*\.tmp", r"(?!\S*\.tmp)\S*"))
    assert replayed(files, tmp_path / "runs")[0]  # the same without one of the two would be found
    assert replayed(folders, tmp_path / "runs")[1]


def test_a_switch_leaves_out_what_is_slow_and_takes_no_other_word(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(os, "fsync", asked.append)
    atomic.write(tmp_path / "a", "x")
    assert len(asked) == 2  # the file, its folder
    monkeypatch.setenv("CVFP_SYNC", "0")
    atomic.write(tmp_path / "a", "y")
    assert len(asked) == 2
    assert (tmp_path / "a").read_text() == "y"
    monkeypatch.setenv("CVFP_SYNC", "no")
    with pytest.raises(UsageError, match=r"^CVFP_SYNC is 1 .* or 0 .*, not 'no'$"):
        atomic.write(tmp_path / "a", "z")


def test_what_can_be_made_again_waits_for_no_disk(tmp_path, monkeypatch):
    folder = store.create(tmp_path / "runs")
    monkeypatch.setattr(os, "fsync", lambda _: pytest.fail("waited for the disk"))
    store.begin(folder, {"run_id": "a", "experiment": "made", "variant": "v"})
    store.go_on(folder, "a", {"epoch": 1, "val_ppl": 9.0})


@pytest.mark.parametrize("how", ["kill", "ENOSPC"])
def test_a_write_disturbed_at_any_step_leaves_old_or_new_and_is_made_again(how):
    outcomes = reliability._driven("run", how)
    assert len(outcomes) > 8
    assert [each for each in outcomes if each] == []


@pytest.mark.slow
@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("how", ["kill", *reliability.ERRNOS])
def test_every_write_disturbed_at_any_step_leaves_old_or_new_and_is_made_again(writer, how):
    outcomes = reliability._driven(writer, how)
    assert len(outcomes) > 4
    assert [each for each in outcomes if each] == []


def test_a_file_that_a_user_named_keeps_its_rights_and_a_link_its_file(tmp_path):
    (tmp_path / "real.md").write_text("old")
    (tmp_path / "real.md").chmod(0o600)
    (tmp_path / "link.md").symlink_to("real.md")
    atomic.save(tmp_path / "real.md", "new")
    assert (tmp_path / "real.md").stat().st_mode & 0o777 == 0o600
    atomic.save(tmp_path / "link.md", "newer")
    assert (tmp_path / "link.md").is_symlink()
    assert (tmp_path / "real.md").read_text() == "newer"
    atomic.save(Path("/dev/null"), "nothing")
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize(("number", "kind", "way"), [
    (errno.ENOSPC, CvfpError, "make room there, then run the same command again"),
    (errno.EDQUOT, CvfpError, "make room within your quota there, then run the same command again"),
    (errno.EIO, CvfpError, "see to that disk, then run the same command again"),
    (errno.EROFS, UsageError, "choose another place"),
    (errno.EACCES, UsageError, "choose another place"),
])
def test_a_disk_that_takes_no_more_is_named_with_the_way_on(tmp_path, monkeypatch, number, kind, way):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    (tmp_path / "a.md").write_text("old")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(kind) as caught:
        atomic.save(tmp_path / "a.md", "new")
    assert str(caught.value) == f"cannot write '{tmp_path / 'a.md'}': {os.strerror(number)}; {way}"
    assert (tmp_path / "a.md").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.md"]


FULL = """
import os, pathlib, subprocess, sys
import typer.testing
import torch
from cvfp_core.cli.app import app
torch.set_num_threads(1)
small, place, free, *words = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", small], check=True)
def call():
    done = typer.testing.CliRunner().invoke(app, words)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    print(done.exit_code, *[line for line in done.stderr.splitlines() if "cannot" in line or "no checkpoint" in line],
          sep="\\x1f")
stuffing = pathlib.Path(small, "stuffing")
with stuffing.open("wb") as file:
    os.posix_fallocate(file.fileno(), 0, (4096 - int(free)) * 1024)
call()
stuffing.unlink()
call()
"""


def full(tmp_path, free, *words):
    """Exit codes and what is said of a command on a disk with `free` KiB, then on one with room."""
    small = tmp_path / "small"
    small.mkdir()
    command = ["unshare", "-Urm", sys.executable, "-c", FULL, str(small), str(tmp_path), str(free), *map(str, words)]
    done = subprocess.run(command, env=made_grids.environment(tmp_path, PYTHONWARNINGS="ignore", CVFP_SYNC="1"),
                          cwd=tmp_path, capture_output=True, text=True, check=False, timeout=900)
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"no file system of its own can be had: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return [line.split("\x1f") for line in done.stdout.splitlines()]


GROWING = [0, 8, 24, 48, 64, 80, 96]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
@pytest.mark.parametrize("free", GROWING)
@pytest.mark.parametrize("what", ["run", "cache", "report", "ingest", "show"])
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(tmp_path, what, free):
    made_grids.corpus(tmp_path)
    small = tmp_path / "small"
    if what in ("run", "cache"):
        words = ["run", *made_grids.options(tmp_path), "--out", small / "runs" if what == "run" else tmp_path / "runs"]
        if what == "cache":
            (tmp_path / "cache").symlink_to(small)
    else:
        runs = store.create(tmp_path / "runs")
        for number in range(1, 6):
            store.write(runs, RunResult(
                record=Record(run_id=f"r{number}", experiment="made", variant="v", num_samples=4 ** number,
                              train_tokens=4 ** number, val_ppl=90.0 / number, phases=1),
                curves=tuple(CurvePoint(phase=2, step=step, metric="val_ppl", value=1.5) for step in range(99))))
        table = tmp_path / "runs.csv"
        table.write_text("params,train_tokens,val_loss,notes\n" + "".join(
            f"{10**6 * n},{10**7 * n},{3 - n / 100},{'x' * 900}\n" for n in range(1, 99)))
        words = {"report": ["report", runs, "-o", small / "report.md"], "show": ["show", runs, "-o", small / "a.csv"],
                 "ingest": ["ingest", table, "--into", small / "store"]}[what]
    (code, *said), (then, *after) = full(tmp_path, free, *words)
    assert (then, after) == ("0", [])
    warned = [line for line in said if line.endswith("on without")]  # no checkpoint, no notes
    blamed = [line for line in said if line not in warned]
    assert len(blamed) == (code != "0")
    assert all("No space left on device" in line for line in said)
    assert all(str(small) in line or str(tmp_path / "cache") in line for line in blamed)
