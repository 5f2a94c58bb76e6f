"""Plugins and surroundings that do harm: campaigns of reliability.py, each try a forked child, or an interpreter.

    python benchmarks/reliability.py plugins surroundings --seed 1 --write
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests")]
QUICK = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
GIB = 2**30
ALLOWED = ("cvfp: ", "[", "noise", "next: ", "to keep them: ")
"""How lines on stderr begin that are not of an interpreter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended; a negative code is the signal."""

    code: int
    out: str
    err: str

    @property
    def untidy(self) -> str | None:
        """What no command may do, whatever was done to it."""
        if "Traceback" in self.err or self.code not in (0, 1, 2, 3, 130):
            return f"exit code {self.code}: {self.err.strip()[-300:]}"
        return None


def forked(words: Sequence[str], folder: Path, *, before: Callable[[], object] = lambda: None, seconds: float = 60,
           interrupt: float | None = None) -> Ended:
    """`cvfp WORDS` in a child of this process, which has imported what it needs and used none of it.

    before: called in the child. interrupt: seconds after which Ctrl-C is pressed; after `seconds` it is killed.
    """
    files = {number: folder.parent / f"{folder.name}.{name}" for number, name in ((1, "out"), (2, "err"))}
    for file in files.values():
        file.write_text("")
    child = os.fork()
    if child == 0:
        _cvfp(words, folder, files, before)
    began, pressed = time.monotonic(), interrupt is None
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        time.sleep(0.01)
        past = time.monotonic() - began
        if not pressed and past > (interrupt or 0):
            os.kill(child, signal.SIGINT)
            pressed = True
        if past > seconds:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return Ended(code=-99, out="", err=f"took longer than {seconds:g} s")
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    out, err = (files[number].read_text(errors="replace") for number in (1, 2))
    return Ended(code=os.waitstatus_to_exitcode(ended[1]), out=out, err=err)


def _environment_of(folder: Path) -> dict[str, str]:
    return {"CVFP_CACHE": str(folder.parent / "cache"), "COLUMNS": "120", "CVFP_SYNC": "0"}


def _cvfp(words: Sequence[str], folder: Path, files: Mapping[int, Path], before: Callable[[], object]) -> None:
    """Ends this process as `cvfp` would."""
    code = 99
    try:
        os.setsid()
        os.chdir(folder)
        for number, file in files.items():
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.stdout = open(1, "w", closefd=False, encoding="utf-8")  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False, buffering=1, encoding="utf-8")  # noqa: SIM115
        sys.path.insert(0, str(folder / "site"))
        sys.argv = ["cvfp", *words]
        os.environ.update(_environment_of(folder))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        resource.setrlimit(resource.RLIMIT_AS, (6 * GIB, 6 * GIB))
        before()
        from cvfp_core.cli import main

        main()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else bool(error.code)
    except BaseException:
        import traceback

        traceback.print_exc(file=sys.stderr or sys.__stderr__)
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        os._exit(code)


def _imported() -> None:
    """Imports what commands use; polars starts no thread before it is used."""
    import polars  # noqa: F401
    import torch
    import torch._dynamo

    import cvfp_core.cli.app
    import cvfp_core.protocol.run
    import cvfp_core.reporting.write
    import cvfp_core.results.runs  # noqa: F401

    torch.set_num_threads(1)


@contextlib.contextmanager
def _place(plugin: str = "", name: str = "case") -> Iterator[Path]:
    """A folder with a table of runs, a file that only a plugin knows, a corpus, and the plugin."""
    import made_grids
    import made_plugins

    with tempfile.TemporaryDirectory(dir=QUICK) as place:
        folder = Path(place) / name
        folder.mkdir()
        table = "variant,train_tokens,val_ppl\n" + "".join(
            f"1L_8d_1tok,{1000 * 2**size},{20 + 500 / 1.3**size:.2f}\n" for size in range(5))
        (folder / "runs.csv").write_text(table)
        (folder / "odd.txt").write_text("something odd\n")
        (folder / "odd.toml").write_text('variants = ["1L_8d_1tok"]\nsamples = [4]\n[corpus]\nname = "odd"\n')
        made_grids.corpus(folder)
        if plugin:
            made_plugins.install(folder / "site", "odd", plugin)
            (folder / "site" / "odd.md.j2").write_text("one\n")
        yield folder


def _rows(folder: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """The records of a grid, by variant and size."""
    rows = [json.loads(file.read_text()) for file in (folder / "runs" / "default" / "records").glob("*.json")]
    return {(row["variant"], row["num_samples"]): row for row in rows}


# Models --------------------------------------------------------------------------------------------------------------

ODD, GOOD = "odd_1L_8d_1tok", "1L_8d_1tok"
MEASURED = ("status", "val_ppl", "val_er", "cvfp_loss", "phase1_iterations")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A plugin, and what is said of it."""

    what: str
    code: str
    said: str | None
    """Stands in the reason of its record; None: it is finished."""
    warned: str = ""
    """Stands in a warning."""
    ends: bool = False
    """It ends its process."""
    jobs: int = 1


def models() -> Iterator[Case]:
    """Families whose models do harm."""
    import hostile

    for where, width in (("contexts", 8), ("hidden", 16)):
        for made, said in hostile.RETURNED.items():
            returned = f"return [{made}]" if where == "contexts" else f"return {made}"
            yield Case(what=f"{where}: {returned}", code=hostile.family(**{where: returned}),
                       said=said and f"{where}() {said}".format(rows="ROWS", width=width))
        for made in hostile.DIVERGING:
            returned = f"return [{made}]" if where == "contexts" else f"return {made}"
            yield Case(what=f"{where}: {returned}", code=hostile.family(**{where: returned}), said="loss is nan")
        for lines, said in hostile.RAISED.items():
            own = lines if where == "contexts" else lines.replace("contexts(previous", "hidden(contexts")
            yield Case(what=f"{where}: {own}", said=said, code=hostile.family(**{where: own}))
        for lines, said in hostile.CHANGES.items():
            undone = where == "contexts" and "grad_enabled" in lines  # Phase 1 says itself where gradients are taken
            yield Case(what=f"{where}: {lines}", code=hostile.family(**{where: lines}), said="",
                       warned="" if undone else said or "")
        for lines in hostile.ENDS:
            for jobs in (1, 2):
                yield Case(what=f"{where}: {lines}, --jobs {jobs}", code=hostile.family(**{where: lines}), said="",
                           ends=True, jobs=jobs)
    for made, said in hostile.LISTS.items():
        yield Case(what=f"contexts: return {made}", code=hostile.family(contexts=f"return {made}"),
                   said=said and said.format(rows="ROWS", width=8))
    for lines, said in hostile.WRITING.items():
        late = f"if self.calls == 3: {lines}"
        yield Case(what=f"contexts: {late}", code=hostile.family(contexts=late), said=said)
    for made, said in hostile.PARAMETERS.items():
        yield Case(what=f"phase1_parameters: {made}", code=hostile.family(parameters=made), said=said)
    yield Case(what="a parameter is NaN", code=hostile.family(build="self.block.data.fill_(float('nan'))"),
               said="loss is nan")
    yield Case(what="build writes into the embeddings", code=hostile.family(build="embeddings.zero_()"), said=None)
    yield Case(what="build keeps the embeddings and trains them", said=None, code=hostile.family(
        build="self.token = nn.Parameter(torch.cat([embeddings[:8].T, embeddings[:16].T], dim=1))"))


def _of_model(case: Case, undisturbed: Mapping[tuple[str, int], Mapping[str, Any]]) -> str | None:
    """What is wrong after a grid with the model, or None; cells before and after it are a good one's."""
    import made_grids

    with _place(case.code) as folder:
        words = ["run", *made_grids.options(folder, variants=(ODD, GOOD), samples="4,6", jobs=case.jobs)]
        for _ in range(4 if case.ends and case.jobs == 1 else 1):  # with several jobs it is a worker that ends
            done = forked(words, folder, seconds=60 * case.jobs**2)
            if not (case.ends and case.jobs == 1) and done.untidy:
                return done.untidy
        rows = _rows(folder)
        for cell, row in undisturbed.items():
            if cell not in rows or any(rows[cell][name] != row[name] for name in MEASURED):
                return f"{cell} is {rows.get(cell, {}).get('reason') or 'another or missing'}: {done.err[-300:]}"
        if case.ends:
            return None
        odd = [row for (variant, _), row in rows.items() if variant == ODD]
        wanted = {None: ("ok",), "": ("ok", "failed", "diverged")}.get(case.said, ("failed", "diverged"))
        for row in odd:
            reason = re.sub(r"\b(97|151|96|150)\b", "ROWS", row["reason"] or "")  # of contexts and of predictions
            if row["status"] not in wanted or (case.said or "") not in reason:
                return f"{row['status']}: {row['reason']}; expected {case.said or 'ok'}"
        named = case.said in (None, "") or all("plugin 'odd'" in row["reason"] for row in odd
                                               if row["status"] == "failed" and "out of memory" not in row["reason"])
        if len(odd) != 2 or not named:
            return f"{len(odd)} records, {'' if named else 'not '}named: {[row['reason'] for row in odd]}"
        return None if " ".join(case.warned.split()) in " ".join(done.err.split()) else f"not said: {done.err[-300:]}"


# Items of other kinds -------------------------------------------------------------------------------------------------

def _of_item(kind: str, body: str) -> str | None:
    """What is wrong with how the command takes an item whose function has this body, or None."""
    import hostile
    import made_grids

    with _place(hostile.item(kind, body)) as folder:
        words = hostile.ITEMS[kind][2].replace("TABLE", "runs.csv").replace("ODD", "odd.txt").split()
        if words[0] == "run" and "odd.toml" not in words:
            words[1:1] = made_grids.options(folder, variants=() if "--variant" in words else (GOOD,), samples="4")
        waits = body.startswith("time.sleep") or kind == "cancel"
        done = forked(words, folder, interrupt=2.5 if waits else None, seconds=20)
        said = done.out + done.err + " ".join(str(row["reason"]) for row in _rows(folder).values())
    if done.untidy or "mend or uninstall" in done.err:
        return done.untidy or f"is no plugin: {done.err}"
    strange = [line for line in done.err.splitlines() if not line.startswith(ALLOWED) and line.strip()]
    if strange and kind not in ("law", "matches", "near", "parts", "read"):  # ingest wraps its account
        return f"on stderr: {strange[:2]}"
    if body.startswith(("raise", "sys.exit", "return bad")) and "odd" not in said:
        return f"is not named: {said[-300:]}"
    if "noise" in done.out:
        return f"what it prints is among the results: {done.out[:200]}"
    if words[0] == "fit" and "power-law" not in done.out and not waits:
        return f"the other law is not shown: {done.out[-300:]}"
    return None


def plugins(seed: int, count: int) -> Iterator[str | None]:
    """Models, laws, analyses, ingesters, rules, executors that return nonsense, raise, hang, print, end the process."""
    import hostile
    import made_grids

    _imported()
    with _place() as folder:
        forked(["run", *made_grids.options(folder, variants=(GOOD,), samples="4,6")], folder)
        undisturbed = _rows(folder)
    every: list[tuple[str, Callable[[], str | None]]] = [
        (case.what, lambda case=case: _of_model(case, undisturbed)) for case in models()]
    every += [(f"{kind}: {body}", lambda kind=kind, body=body: _of_item(kind, body))
              for kind in hostile.ITEMS for body in hostile.BODIES]
    random.Random(seed).shuffle(every)
    for what, tried in every[:count]:
        wrong = tried()
        yield wrong and f"{what}: {wrong}"


# Users without rights, interpreters, terminals ------------------------------------------------------------------------

COMMANDS = (
    "show STORE", "fit STORE", "check STORE", "report STORE -o made.md", "predict STORE --tokens 10x", "status STORE",
    "compare STORE --by seed", "forecast STORE", "plot STORE -o made.svg", "optimum STORE", "doctor STORE",
    "plan STORE --target train_tokens=10x --budget 1e15", "ingest runs.csv --into made", "laws", "plugins", "settings",
    "run --dry-run --no-time GRID", "run GRID", "plugin new mine --kind law", "--help", "--version",
)
NOBODY = 65534


def _powerless() -> None:
    """Takes from root what others do not have: rights to files follow from their modes, and the interpreter's stay."""
    header, none = struct.pack("Ii", 0x20080522, 0), bytes(24)
    if ctypes.CDLL(None, use_errno=True).capset(header, none):
        raise OSError(ctypes.get_errno(), "capset")


def _closed(*numbers: int) -> Callable[[], None]:
    def before() -> None:
        for number in numbers:
            os.close(number)
            setattr(sys, ("stdin", "stdout", "stderr")[number], None)
    return before


def _full(number: int) -> Callable[[], None]:
    return lambda: os.dup2(os.open("/dev/full", os.O_WRONLY), number) and None


def _ended_pipe() -> None:
    ours, theirs = os.pipe()
    os.dup2(theirs, 1)
    os.close(theirs)
    os.close(ours)


def _gone() -> None:
    place = Path.cwd() / "gone"
    place.mkdir()
    os.chdir(place)
    place.rmdir()


def _environment(**given: str | None) -> Callable[[], None]:
    def before() -> None:
        for name, value in given.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    return before


def _unowned(*unreadable: str, mode: int = 0) -> Callable[[], None]:
    """These paths of the folder, which are another user's, without rights to them."""
    def before() -> None:
        for path in [path for pattern in unreadable for path in Path.cwd().parent.glob(f"case/{pattern}")]:
            path.chmod(mode)
            os.chown(path, NOBODY, NOBODY)
        _powerless()
    return before


def _unrightful(**given: str) -> Callable[[], None]:
    """Folders that are another user's, in the environment."""
    def before() -> None:
        for name, place in given.items():
            path = Path.cwd() / place
            path.mkdir(mode=0o500, parents=True)
            os.chown(path, NOBODY, NOBODY)
            os.environ[name] = str(path)
        _powerless()
    return before


SURROUNDINGS: Mapping[str, Callable[[], None]] = {
    "no folder to write to": _unowned("", mode=0o555),
    "no folder to read": _unowned("", mode=0o333),
    "a store that cannot be read": _unowned("store"),
    "a store that cannot be written": _unowned("store", mode=0o555),
    "a record that cannot be read": _unowned("store/records/a.json"),
    "curves that cannot be read": _unowned("store/curves/*"),
    "records that cannot be listed": _unowned("store/records"),
    "no rights to the table": _unowned("runs.csv", "corpus.txt"),
    "a home without rights": _unrightful(HOME="home", CVFP_CACHE="home/cache"),
    "no HOME": _environment(HOME=None, CVFP_CACHE=None),
    "a HOME that is no folder": _environment(HOME="/dev/null", CVFP_CACHE=""),
    "a cache that cannot be written": _unrightful(CVFP_CACHE="cache"),
    "a cache that is a file": _environment(CVFP_CACHE="/dev/null"),
    "no folder for temporary files": _environment(TMPDIR="/nowhere"),
    "temporary files that cannot be written": _unrightful(TMPDIR="tmp"),
    "a folder that was removed": _gone,
    "stdin closed": _closed(0),
    "stdout closed": _closed(1),
    "stderr closed": _closed(2),
    "all closed": _closed(0, 1, 2),
    "stdout full": _full(1),
    "stderr full": _full(2),
    "a pipe that has ended": _ended_pipe,
    "TERM=dumb": _environment(TERM="dumb"),
    "COLUMNS=0": _environment(COLUMNS="0"),
    "COLUMNS=1": _environment(COLUMNS="1"),
    "COLUMNS=10000": _environment(COLUMNS="10000"),
    "COLUMNS=x": _environment(COLUMNS="x"),
    "LC_ALL=C": _environment(LC_ALL="C", LANG="C"),
    "LC_ALL=nonsense": _environment(LC_ALL="xx_YY.zz", LANGUAGE="::"),
    "TZ=nonsense": _environment(TZ="Nowhere/At all"),
}
INTERPRETERS: Mapping[str, tuple[tuple[str, ...], Mapping[str, str]]] = {
    "-O": (("-O",), {}), "-OO": (("-OO",), {}), "-W error": (("-W", "error"), {}), "-X dev": (("-X", "dev"), {}),
    "-bb": (("-bb",), {}), "-s": (("-s",), {}),
    "PYTHONHASHSEED=1": ((), {"PYTHONHASHSEED": "1"}), "PYTHONIOENCODING=ascii": ((), {"PYTHONIOENCODING": "ascii"}),
    "LC_ALL=C, no UTF-8 mode": (("-X", "utf8=0"), {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}),
}


def _surrounded(folder: Path, command: str) -> list[str]:
    import made_grids

    grid = made_grids.options(folder, variants=(GOOD,), samples="4")
    return [each for word in command.split() for each in (
        grid if word == "GRID" else [str(folder / "store")] if word == "STORE" else [word])]


_MAKE = ("import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; import reliability; "
         "reliability.made_store(Path(sys.argv[2]))")
"""For a program of its own, as it uses polars."""


@contextlib.contextmanager
def _store(whole: Path) -> Iterator[Path]:
    with _place() as folder:
        shutil.copytree(whole, folder / "store")
        yield folder


def _in_surroundings(command: str, name: str, whole: Path) -> str | None:
    with _store(whole) as folder:
        words = _surrounded(folder, command)
        done = forked(words, folder, before=SURROUNDINGS[name])
    return done.untidy or _lines(done)


def _by_interpreter(command: str, name: str, whole: Path) -> str | None:
    flags, environment = INTERPRETERS[name]
    with _store(whole) as folder:
        done = subprocess.run(
            [sys.executable, *flags, "-c", "from cvfp_core.cli import main; main()", *_surrounded(folder, command)],
            cwd=folder, env=os.environ | _environment_of(folder) | environment, capture_output=True, check=False,
            timeout=120)
        ended = Ended(code=done.returncode, out=done.stdout.decode(errors="replace"),
                      err=done.stderr.decode(errors="replace"))
    return ended.untidy or _lines(ended)


def _lines(done: Ended) -> str | None:
    """What is wrong with lines on stderr of a command that failed: it says why, in one line of ours."""
    strange = [line for line in done.err.splitlines() if re.search(r"Error|Warning|Exception", line)
               and not line.startswith("cvfp: ")]
    if strange:
        return f"on stderr: {strange[:2]}"
    return None


def surroundings(seed: int, count: int) -> Iterator[str | None]:
    """Every command without rights, home, folder, streams or terminal, and by interpreters with other flags."""
    _imported()
    every = [(command, name, tried) for tried, names in (
        (_in_surroundings, SURROUNDINGS), (_by_interpreter, INTERPRETERS)) for name in names for command in COMMANDS
        if os.getuid() == 0 or not re.search("cannot|no folder|without rights|no rights", name)]
    random.Random(seed).shuffle(every)
    with tempfile.TemporaryDirectory(dir=QUICK) as place:
        whole = Path(place) / "store"
        subprocess.run([sys.executable, "-c", _MAKE, str(Path(__file__).parent), str(whole)], check=True)
        for command, name, tried in every[:count]:
            wrong = tried(command, name, whole)
            yield wrong and f"{name}: {command}: {wrong}"


CAMPAIGNS = {"plugins": plugins, "surroundings": surroundings}
"""For reliability.py."""
