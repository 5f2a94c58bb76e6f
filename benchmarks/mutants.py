"""The share of small random mistakes in a folder that the tests catch.

    pip install coverage
    python -P benchmarks/mutants.py cvfp_core/fitting --count 400 --seed 0 --log fitting.jsonl >> benchmarks/RESULTS.md
    python -P benchmarks/mutants.py cvfp_core/fitting --count 400 --seed 0 --log after.jsonl --again fitting.jsonl
    for name in protocol schema deciding ingesting reporting
    do python -P benchmarks/mutants.py cvfp_core/$name --log $name.jsonl --notes notes.json; done

A mutant is one changed operator, constant, condition or returned value. Against each run the tests that pass through
its statement, those most about its file first, up to LIMIT seconds of them. The log keeps the verdicts, so that a run
goes on where it was stopped; the notes keep which tests pass through which lines, and serve several folders. `--again`
keeps what an earlier log caught, and runs its survivors against tests that they have not met. Works on a copy of the
repository; a mutant that takes ten times as long as its tests did and a minute is caught. `-P`, as another `coverage`
lies here.
"""

from __future__ import annotations

import argparse
import ast
import copy
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import coverage
import jinja2.sandbox  # noqa: F401  what every mutant's process would import anew is imported once, before it is forked
import lmfit  # noqa: F401
import matplotlib.backends.backend_svg  # noqa: F401
import numpy  # noqa: F401
import polars  # noqa: F401
import pytest
import rich.progress  # noqa: F401
import scipy.special  # noqa: F401
import tokenizers  # noqa: F401
import torch.optim  # noqa: F401
import typer.testing  # noqa: F401
from scipy.stats import binomtest

ROOT = Path(__file__).parents[1]
APART = ("docs", "readme", "slurm", "ray", "scaffold", "made_for_010", "gru", "light", "execute", "local", "site")
"""Names of test files that start other programs for most of what they try."""
LIMIT = 5.0
SWAPS = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
         ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
         ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
         ast.FloorDiv: ast.Div, ast.Mod: ast.FloorDiv, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd}
Notes = dict[str, tuple[float, list[list[str | int]]]]
"""Seconds of a test alone, its fixtures made for it, and the lines (file, number) it passes through."""
WORDS = {"first": "last", "last": "first", "left": "right", "right": "left"}


def changed(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that may stand in its place, or stand for a change made in it: one mistake each."""
    new = copy.deepcopy(node)
    if isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in SWAPS:
        new.op = SWAPS[type(node.op)]()
        yield new
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        new.ops[0] = SWAPS[type(node.ops[0])]()
        yield new
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield new.operand
    elif isinstance(node, ast.IfExp):
        new.test = ast.UnaryOp(ast.Not(), new.test)
        yield new
    elif isinstance(node, ast.Return) and node.value is not None and ast.unparse(node.value) != "None":
        yield ast.Return(ast.Constant(None))
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield ast.Constant(node.value + 1 if isinstance(node.value, int) or not node.value else node.value * 2)
    elif isinstance(node, ast.Constant) and node.value in WORDS:
        yield ast.Constant(WORDS[node.value])


def places(node: ast.AST, statement: ast.stmt | None = None) -> Iterator[tuple[ast.AST, str, int | None, range]]:
    """(parent, field, index, lines of the statement) of every node that can be changed; no annotation, no decorator."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list") or isinstance(node, ast.Raise | ast.Import):
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            docstring = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
            if not isinstance(child, ast.AST) or docstring:
                continue
            inner = child if isinstance(child, ast.stmt) else statement
            if inner is not None and isinstance(child, ast.expr | ast.stmt):
                body = getattr(inner, "body", None)
                last = body[0].lineno - 1 if isinstance(body, list) else inner.end_lineno
                if any(True for _ in changed(child)):
                    yield node, field, index, range(inner.lineno, max(inner.lineno, last) + 1)
            yield from places(child, inner)


class Tracing:
    """A pytest plugin that notes which lines of the core each test passes through, and how long it takes."""

    def __init__(self, place: Path) -> None:
        self.length, self.seconds = len(f"{place}/"), {}
        self.shared: dict[int, float] = {}  # seconds of fixtures that several tests share, without those they ask for
        self.of: dict[str, set[int]] = {}  # by test
        self.inside = [0.0]
        self.coverage = coverage.Coverage(data_file=None, source=[f"{place}/cvfp_core"], config_file=False)

    def seen(self) -> Notes:
        """The seconds and the lines of each test that passed."""
        self.coverage.stop()
        data = self.coverage.get_data()
        lines: dict[str, list[list[str | int]]] = {test: [] for test in self.seconds}
        for file in sorted(data.measured_files()):
            for line, tests in sorted(data.contexts_by_lineno(file).items()):
                for test in lines.keys() & set(tests):
                    lines[test].append([file[self.length:], line])
        return {test: (seconds + sum(self.shared.get(fixture, 0.0) for fixture in self.of[test]), lines[test])
                for test, seconds in self.seconds.items()}

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self):  # type: ignore[no-untyped-def]
        self.coverage.start()
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef):  # type: ignore[no-untyped-def]
        begun = time.process_time()
        self.inside.append(0.0)
        try:
            return (yield)
        finally:
            took, within = time.process_time() - begun, self.inside.pop()
            if fixturedef.scope != "function":
                self.shared[id(fixturedef)] = max(self.shared.get(id(fixturedef), 0.0), took - within)
                within = took
            self.inside[-1] += within

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):  # type: ignore[no-untyped-def]
        from cvfp_core.reporting import limited, render

        def both(work, limits):  # type: ignore[no-untyped-def]
            """What renders in a process of its own is traced here, once it is known to end."""
            answer = limited.run(work, limits)
            work(lambda: None)
            return answer

        render.run = both
        self.coverage.switch_context(item.nodeid)
        self.of[item.nodeid] = {id(each[-1]) for each in item._fixtureinfo.name2fixturedefs.values()}
        self.inside, begun = [0.0], time.process_time()
        try:
            return (yield)
        finally:
            if not getattr(item, "failed", False):
                self.seconds[item.nodeid] = time.process_time() - begun - self.inside[0]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item):  # type: ignore[no-untyped-def]
        report = yield
        item.failed = getattr(item, "failed", False) or not report.passed
        return report


def forked(place: Path, tests: list[str], seconds: float, *, noted: Path | None = None) -> int:
    """A process that runs the tests within the time, and writes down what they pass through if that is asked."""
    if (pid := os.fork()) == 0:
        os.setpgid(0, 0)
        signal.alarm(int(seconds) + 1)
        os.chdir(place)
        sys.path[:0] = [str(place), *(str(place / name) for name in ("plugins", "templates", "tests"))]
        said = os.open(noted.with_suffix(".said") if noted else os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 1)
        os.dup2(said, 2)
        plugins = [Tracing(place)] if noted else []
        code = pytest.main([*([] if noted else ["-x"]), "-q", "-p", "no:cacheprovider", "-n0",
                            "-W", "ignore::pytest.PytestAssertRewriteWarning", *tests], plugins=plugins)
        if noted:
            noted.write_text(json.dumps(plugins[0].seen()))
        os._exit(int(code))
    return pid


def passed(pid: int) -> bool:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("folder", type=Path)
    asked.add_argument("--count", type=int, default=400)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--log", type=Path, default=Path("mutants.jsonl"))
    asked.add_argument("--again", type=Path, metavar="LOG", help="of the same folder, count and seed")
    asked.add_argument("--notes", type=Path, help="which tests pass through which lines; made if it is not there")
    given = asked.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.setdefault("CVFP_SHARED", str(ROOT.parent / "shared"))
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch).resolve() / "copy"
        listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True,
                                capture_output=True, check=True)
        for name in listed.stdout.splitlines():
            if (ROOT / name).is_file():
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, place / name)
        verdicts = run(place, given.folder, given.count, given.seed, given.log, given.again, given.notes)
    caught = sum(each["caught"] for each in verdicts)
    low, high = binomtest(caught, len(verdicts)).proportion_ci(method="wilson")
    print(f"`{given.folder}`, {len(verdicts)} mutants, seed {given.seed}: {caught} caught, "
          f"{caught / len(verdicts):.0%} (95 % interval {low:.0%} to {high:.0%}, Wilson). Survivors:\n")
    for each in verdicts:
        if not each["caught"]:
            print(f"- `{each['file']}:{each['line']}` `{each['was']}` → `{each['is']}`"
                  f"{'' if each['tests'] else ' (no test passes through it)'}")


def traced(place: Path, notes: Path) -> Notes:
    """Seconds of each test, and the lines of the core it passes through; of files the notes lack, run now."""
    through = json.loads(notes.read_text()) if notes.exists() else {}
    noted = {test.split("::")[0] for test in through}
    apart = {f"tests/test_{name}.py" for name in APART}
    tests = [file for file in (str(path.relative_to(place)) for path in sorted(place.glob("tests/test_*.py")))
             if file not in apart | noted]
    if tests:
        print("noting which tests pass through which lines ...", file=sys.stderr)
        cores = len(os.sched_getaffinity(0))
        halves = {place / f"traced{core}.json": tests[core::cores] for core in range(min(cores, len(tests)))}
        for pid in [forked(place, some, 7200, noted=noted) for noted, some in halves.items()]:
            passed(pid)
        for noted in halves:
            if not noted.exists():
                sys.exit(f"the tests could not be run:\n{noted.with_suffix('.said').read_text()}")
            through |= json.loads(noted.read_text())
            if failed := [line for line in noted.with_suffix(".said").read_text().splitlines()
                          if line.startswith(("FAILED", "ERROR"))]:
                print("left out, as they fail with nothing changed:", *failed, sep="\n", file=sys.stderr)
        notes.write_text(json.dumps(through))
    return through


def run(place: Path, folder: Path, count: int, seed: int, log: Path, again: Path | None,
        notes: Path | None) -> list[dict[str, object]]:
    """The verdict on each mutant drawn, those in the log taken from there."""
    through = traced(place, notes or (again or log).with_suffix(".traced.json"))
    earlier = [json.loads(line) for line in again.read_text().splitlines()] if again else []
    trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in sorted((place / folder).rglob("*.py"))}
    every = [(file, *place) for file, tree in trees.items() for place in places(tree)]
    kept = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    every_drawn = random.Random(seed).sample(every, count)[: len(earlier) or count]
    for number, (file, parent, field, index, lines) in enumerate(every_drawn):
        before = getattr(parent, field) if index is None else getattr(parent, field)[index]
        drawn = {"file": str(file.relative_to(place)), "line": before.lineno, "was": ast.unparse(before)[:80]}
        for known in (*kept[number : number + 1], *earlier[number : number + 1]):
            if known | drawn != known:
                sys.exit(f"mutant {number + 1} of the log is {known['file']}:{known['line']} `{known['was']}` and "
                         f"now {drawn['file']}:{drawn['line']} `{drawn['was']}`, as the code has changed; begin a new "
                         "log")
        if number < len(kept):
            continue
        verdict = earlier[number] if number < len(earlier) else drawn | {"caught": False, "tests": []}
        if not verdict["caught"]:
            after = next(changed(before))
            name = str(file.relative_to(place))
            chosen, seconds = closest(through, {(name, line) for line in lines}, name, verdict["tests"])
            source = file.read_text(encoding="utf-8")
            put(parent, field, index, after)
            file.write_text(ast.unparse(ast.fix_missing_locations(trees[file])), encoding="utf-8")
            os.utime(file, (number, number))  # of one length and second, two mutants would share their bytecode
            put(parent, field, index, before)
            caught = bool(chosen) and not passed(forked(place, chosen, 10 * seconds + 60))
            file.write_text(source, encoding="utf-8")
            verdict = drawn | {"is": ast.unparse(ast.fix_missing_locations(after))[:80], "caught": caught,
                               "tests": [*verdict["tests"], *chosen]}
        kept.append(verdict)
        with log.open("a") as lines_:
            lines_.write(json.dumps(verdict) + "\n")
        print(f"{number + 1}/{count} {'caught' if verdict['caught'] else 'SURVIVED'} {verdict['file']}:"
              f"{verdict['line']} {verdict['was']}", file=sys.stderr)
    return kept


def closest(through: Notes, here: set[tuple[str, int]], name: str, met: list[str]) -> tuple[list[str], float]:
    """The tests through these lines that are not met yet, and their seconds; through the file if none is.

    First those that are most about the file: the larger part of their lines lies in it.
    """
    own = [test for test, each in through.items() if here & {tuple(line) for line in each[1]}]
    own = own or [test for test, each in through.items() if any(line[0] == name for line in each[1])]
    share = {test: sum(line[0] == name for line in through[test][1]) / len(through[test][1])
             for test in own if test not in met}
    chosen, seconds = [], 0.0
    for test in sorted(share, key=lambda each: -share[each]):
        if seconds + through[test][0] <= LIMIT or not chosen:
            chosen, seconds = [*chosen, test], seconds + through[test][0]
    return chosen, seconds


def put(parent: ast.AST, field: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[index] = node


if __name__ == "__main__":
    main()
