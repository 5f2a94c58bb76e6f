"""Inputs that a fuzzer makes, led by the lines they reach: what is read, refused in one line, or breaks.

    pip install atheris
    python benchmarks/fuzz.py --count 20000 --seed 0 [--kind ingest] [--out DIR] >> benchmarks/RESULTS.md
    python benchmarks/fuzz.py --again DIR/faults/ingest-1a2b3c4d
    python benchmarks/fuzz.py --harm

Seeds are the small inputs of the tests, one of each format that is read. An input of several files is one text, with a
line `==> name <==` before each. A fault is any exception but an error of one line, a number in a record that stands
nowhere in the input or came from another row, an end of the process, or 60 seconds of one input. DIR keeps the inputs
of faults, and those that reached lines no other had reached, as `corpus/KIND`: a later run goes on from them.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests")]
PACKAGES = ("cvfp_core.ingesting", "cvfp_core.schema", "cvfp_core.running.config", "cvfp_core.reporting.render",
            "cvfp_tables", "cvfp_trainers", "cvfp_newllm", "jinja2", "tomllib")
"""Whose lines lead the fuzzer, and those of ours that they import."""
_FILE = re.compile(rb"^==> ([\w.@=+-]+(?:/[\w.@=+-]+)*) <==\n", re.MULTILINE)
_BINARY = (".parquet", ".gz", ".bz2", ".xz", ".zip", ".db", ".wandb", ".safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Inputs of one kind: where they start from, and what is done with one; what it raises is a fault."""

    seeds: Callable[[], list[bytes]]
    tried: Callable[[bytes], bool]
    """Whether the input was taken; False: refused in one line."""
    share: float
    """Of all inputs."""


def joined(folder: Path) -> bytes:
    """The files of a folder as one text."""
    return b"".join(b"==> %s <==\n%s\n" % (str(path.relative_to(folder)).encode(), path.read_bytes())
                    for path in sorted(folder.rglob("*")) if path.is_file())


def files_of(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the files in a text, at most eight of them."""
    parts = _FILE.split(data)[1:]
    for name, content in list(zip(parts[::2], parts[1::2], strict=True))[:8]:
        if ".." not in (text := name.decode()) and len(text) < 200:
            yield text, content.removesuffix(b"\n")


def written(data: bytes, folder: Path) -> list[str]:
    """Writes the files of a text under the folder; their names. One that would lie inside a file is left out."""
    names = []
    for name, content in files_of(data):
        path = folder / name
        if not path.is_dir() and not any(each.is_file() for each in path.parents):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            names.append(name)
    return names


def refused(work: Callable[[], object], shape: str = "") -> bool:
    """Whether the work ended in an error of one line, of that shape, which shows nothing of the program's inside."""
    from cvfp_core.errors import CvfpError

    text = ""
    try:
        work()
    except CvfpError as error:
        text = str(error) or "no text\n"
    assert "\n" not in text, f"several lines, or none: {text}"
    assert not re.search(r" failed: |Traceback|panicked|pyo3", text), text
    assert not text or re.match(shape, text), text
    return bool(text)


@functools.cache
def _registry():  # type: ignore[no-untyped-def]
    from cvfp_core.registry import installed

    return installed()


# --- any input ------------------------------------------------------------------------------------------------------

def _formats() -> list[bytes]:
    import made_formats

    texts = []
    for make in made_formats.MADE.values():
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder))
            texts.append(joined(Path(folder)))
    return texts


def ingest(data: bytes) -> bool:
    """A folder of files, read by whatever knows them."""
    from damage import COUNTED, check

    with tempfile.TemporaryDirectory() as folder:
        names = written(data, Path(folder))
        binary = any(name.endswith(_BINARY) or "tfevents" in name for name in names)
        named = next((name for name in names if name in COUNTED), "table.parquet" if binary else "")
        return check(named, Path(folder)) > 0


# --- tables whose rows are known -------------------------------------------------------------------------------------

class Choices:
    """Decisions, each by a byte of the input; beyond its end the first of all."""

    def __init__(self, data: bytes) -> None:
        self.left = iter(data)

    def of(self, *options):  # type: ignore[no-untyped-def]
        return options[next(self.left, 0) % len(options)]

    def order(self, items: list) -> list:  # type: ignore[type-arg]
        left = list(items)
        return [left.pop(next(self.left, 0) % len(left)) for _ in items]


HEADINGS = {"params": ("params", "N", "n_params", "num_params"), "train_tokens": ("train_tokens", "tokens", "D"),
            "val_loss": ("val_loss", "eval_loss", "eval/loss"), "learning_rate": ("learning_rate", "lr"),
            "num_layers": ("num_layers", "n_layer")}


def table(data: bytes) -> tuple[str, bytes, list[dict[str, float]]]:
    """A table with each number in one row and column only, written as the bytes decide: name, content, its rows."""
    choose = Choices(data)
    rows = [{"params": 1_000_001.0 + 1009 * row, "train_tokens": 20_000_003.0 + 10007 * row,
             "val_loss": 3.0625 + row / 64, "learning_rate": 0.001953125 * (row + 1), "num_layers": 2.0 + row}
            for row in range(choose.of(4, 1, 2, 3, 6))]
    rows, names = choose.order(rows), choose.order([*HEADINGS])
    headings = {name: choose.of(*HEADINGS[name]) for name in names}

    def text_of(value: float) -> str:
        whole = value == int(value)
        return choose.of(f"{value:.0f}" if whole else f"{value!r}", f"{value:.10e}", f"{value!r}")

    form = choose.of("csv", "jsonl", "json")
    cells = [[text_of(row[name]) for name in names] for row in rows]
    if form != "csv":
        lines = ["{" + ", ".join(f'"{headings[name]}": {cell}' for name, cell in zip(names, line, strict=True)) + "}"
                 for line in cells]
        lines = [line for each in lines for line in ([each, ""] if choose.of(False, True) else [each])]
        body = "[" + ",\n".join(line for line in lines if line) + "]" if form == "json" else "\n".join(lines)
        return f"runs.{form}", choose.of(b"", b"\xef\xbb\xbf") + body.encode(), rows
    separator = choose.of(",", ";", "\t")
    quote = choose.of("", '"')
    note = choose.of("", "a note", "1,5", "x\ny", '3""4')
    lines = [separator.join([*(f"{quote}{cell}{quote}" for cell in line), f'"{note}"'])
             for line in ([headings[name] for name in names], *cells)]
    lines[0] = separator.join([*(headings[name] for name in names), "note"])
    lines = [line for each in lines for line in choose.of([each], [each, ""], ["# a comment", each], [each, "  "])]
    ending, encoding = choose.of("\n", "\r\n"), choose.of("utf-8", "utf-8-sig", "utf-16")
    return "runs.csv", ending.join([*lines, ""]).encode(encoding), rows


def one_row(data: bytes) -> bool:
    """A table read: every row is a run, and all numbers of a run came from its row, each from its column."""
    import ingesting

    name, content, rows = table(data)
    with tempfile.TemporaryDirectory() as folder:
        made = ingesting.read(ingesting.write(Path(folder), content, name))
    said = f"{name}: {content!r:.1000}: {made.messages}, {[file.problem for file in made.files]}"
    found = [{column: row[column] for column in HEADINGS} for row in ingesting.rows(made)]
    order = [*HEADINGS]
    assert sorted((tuple(row[name] for name in order) for row in found), key=str) == sorted(
        (tuple(row[name] for name in order) for row in rows), key=str), f"expected {rows}, found {found}: {said}"
    return True


# --- run files, records, maps, templates -----------------------------------------------------------------------------

def run_file(data: bytes) -> bool:
    """A run file, read to the configuration of a grid."""
    from cvfp_core.running.config import read

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.toml"
        path.write_bytes(data)
        return not refused(lambda: read(path, {}, [], _registry()))


def records(data: bytes) -> bool:
    """A store: records, curves, runs under way, forecasts that were kept, where it stands."""
    from cvfp_core.deciding import outlook
    from cvfp_core.ingesting.reading import Inputs, read
    from cvfp_core.results.standings import standings
    from cvfp_core.schema import store

    with tempfile.TemporaryDirectory() as folder:
        path = store.create(Path(folder))
        written(data, path)
        inputs: list[Inputs] = []
        if refused(lambda: inputs.append(read(path, _registry()))):
            return False
        (made,) = inputs
        ends = [refused(each) for each in (
            made.curves, made.running, lambda: outlook.kept(made), lambda: standings(path))]
        return not any(ends[:2])


def _stores() -> list[bytes]:
    kept = ROOT / "tests" / "data" / "made-for-0.1.0" / "store"
    forecast = b'{"run_id": "a", "name": "a", "step": 3, "response": "val_ppl", "value": 9.5, '
    forecast += b'"made": "2026-01-02T03:04:05+00:00", "series": "s", "limit": 9, "current": 9.5}'
    job = b'{"name": "j", "executor": "local", "host": "h", "process": 1, "began": "2026-01-02T03:04:05+00:00",'
    job += b' "cells": ["a"]}'
    beat = b'{"job": "j", "host": "h", "process": 1, "run_id": "a", "time": "2026-01-02T03:04:05+00:00",'
    beat += b' "since": "2026-01-02T03:04:05+00:00"}'
    running = b'{"run_id": "a", "experiment": "e", "variant": "v", "train_tokens": 9}\n{"epoch": 1, "val_ppl": 9.5}'
    return [joined(kept), b"==> running/a.jsonl <==\n" + running, b"==> forecasts/a.json <==\n" + forecast,
            b"==> jobs/j/job.json <==\n%s\n==> jobs/j/h-1.json <==\n%s\n" % (job, beat), *(
        b"==> records/%s <==\n" % path.name.encode() + path.read_bytes() for path in (kept / "records").glob("*.json"))]


def mapped(data: bytes) -> bool:
    """Lines of `--map`, applied to rows; a line without `=` is one of `--where`."""
    import polars as pl

    from cvfp_core.ingesting import mapping
    from cvfp_core.schema import expressions

    rows = [{"eval_loss": 3.5, "N": 10, "name": "a", "acc %": 40.0}, {"eval_loss": None, "N": 20, "name": "b"}]
    columns = ["eval_loss", "N", "name", "acc %"]
    lines = data.decode("utf-8", "replace").split("\n")[:4]

    def work() -> None:
        for line in lines:
            if "=" in line and "==" not in line:
                asked = mapping.read([line])
                mapping.require(asked, columns)
                mapping.apply(asked, [dict(row) for row in rows])
            else:
                expressions.filter(pl.DataFrame(rows, schema_overrides={"N": pl.Int64}), line)

    return not refused(work)


def template(data: bytes) -> bool:
    """Templates, the first of which is rendered with a small view; errors name one of them and its line."""
    from cvfp_core.reporting.limited import Limits
    from cvfp_core.reporting.render import environment, render, trees

    view = {"num_records": 2, "lang": "en", "options": {}, "series": [{"name": "a", "sizes": [1, 2], "value": 0.5}]}
    with tempfile.TemporaryDirectory() as folder:
        names = written(data, Path(folder))
        if not names:
            return False
        path = Path(folder) / names[0]
        made = environment(path, limits=Limits(seconds=5, memory_gib=0.25, output_mib=1))

        def work() -> None:
            trees(path, made=made)
            render(path, view, made)  # type: ignore[arg-type]

        return not refused(work, rf"{re.escape(folder)}/\S+: (line \d+: |not UTF-8)")


_TEMPLATES = [b"==> a.md.j2 <==\n" + text for text in (
    b"{% include 'b.j2' %}\n==> b.j2 <==\n{% macro f(x) %}{{ x|upper ~ 1 }}{% endmacro %}{{ f('a' * 3) }}",
    b"{% for each in series %}{{ each.name|cell }} {{ each.value|percent(1) }}\n{% else %}none{% endfor %}",
    b"{% set n = namespace(x=1) %}{% if num_records > 1 and lang == 'en' %}{% set n.x = n.x + 1 %}{% endif %}{{ n.x }}",
    b"{% import 'b.j2' as b %}{{ b.f(_('Contents')) }}\n==> b.j2 <==\n{% macro f(x=1) %}{{ x }}{% endmacro %}",
    b"{% extends 'b.j2' %}{% block a %}{{ super() }}{% endblock %}\n==> b.j2 <==\n{% block a %}1{% endblock %}",
    b"{%- trans n=num_records %}{{ n }} run{% pluralize %}{{ n }} runs{% endtrans -%}{# a #}{% raw %}{{{% endraw %}",
    b"{% macro f(x) %}{{ caller(x) }}{% endmacro %}{% call(x) f(1) %}{{ x }}{% endcall %}",
    b"{{ [1, 2.5, 'a'][-1] if not options.b is defined else {'a': (1,)}.a }} {{ '%s %d' % ('a', 2) }} {{ 7 // 2 }}",
    b"{% filter upper %}a{% endfilter %}{% with a=series|map(attribute='value')|list %}{{ a|sum }}{% endwith %}",
    b"{% set b %}x{% endset %}{{ b|replace('x', 'y') }}",
    b"{% for a in [[1, [2]], [3]] recursive %}{{ loop(a) if a is iterable else a }}{{ loop.index }}{% endfor %}")]
_MAPS = [b"val_ppl=exp(eval_loss)", b"val_acc=percent(`acc %`)\nparams=N * 1e6", b"N > 10 and name != 'a'",
         b"train_tokens=20 * N\nname == 'a' or not eval_loss < 3", b"seed=42",
         b"flops=6 * N ** 2 / (1 + log(N))"]

_RUN = b'name = "a"\nseeds = [1, 2]\ncorpus = {name = "embedded", split_seed = 1}\nsettings = "small"\n'
_RUNS = [_RUN + more for more in (
    b'variants = ["1L_16d_1tok"]\nsamples = {initial = 10, multiplier = 2, window = 4, windows = 2}',
    b'samples = [4]\n[matrix]\nnum_layers = [1, 2]\ncontext_dim = [16]\nnum_input_tokens = [1]\nobjective = ["mcdl"]',
    b'[[cells]]\nvariant = "1L_16d_1tok"\nsamples = 4\n[[cells]]\nvariant = "2L_8d_2tok"\nsamples = 10\nseed = 3',
    b'variants = ["1L_16d_1tok"]\nsamples = [4]\nprecision = "float32"\n[phase1]\nlearning_rate = 0.01\n[phase2]\n'
    b'epochs = 2\n[model]\nexpansion = 2\n[executor]\nname = "local"\n[shortcuts]\nchunked_head = false')]

KINDS = {
    "ingest": Kind(seeds=_formats, tried=ingest, share=0.5),
    "rows": Kind(seeds=lambda: [bytes(40), bytes(range(40)), bytes(range(200, 240))], tried=one_row, share=0.15),
    "run files": Kind(seeds=lambda: [*_RUNS, *((ROOT / name).read_bytes() for name in (
        "cvfp_core/running/default.toml", "examples/objectives/study.toml"))], tried=run_file, share=0.1),
    "records": Kind(seeds=_stores, tried=records, share=0.1),
    "maps": Kind(seeds=lambda: _MAPS, tried=mapped, share=0.075),
    "templates": Kind(seeds=lambda: _TEMPLATES, tried=template, share=0.075),
}


# --- what was made to do harm ----------------------------------------------------------------------------------------

@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was tried, and how often it failed; before it was mended, where it was."""

    what: str
    tried: int
    failed: int
    seed: int | None
    before: str


_HARM: dict[str, tuple[str, str]] = {
    "templates that ask for too much time, memory, text or depth": (
        "test_templates.py::test_a_template_that_asks_for_too_much_ends_in_one_line_at_a_limit",
        "some ran past 20 s, one took 5 GB"),
    "include, import and extends of links that leave the folder": (
        "test_templates.py::test_a_link_that_leaves_the_folder_is_refused_and_one_that_stays_is_followed", "followed"),
    "bytes of a cached corpus changed": (
        "test_corpora.py::test_an_entry_with_any_byte_changed_is_the_same_or_none",
        "the share of repeated validation text could change unnoticed"),
    "tokenizers that are not what they say": (
        "test_corpora_bad_input.py::test_a_hostile_tokenizer_is_named",
        "ids of 2**31 and a missing unknown token ended in tracebacks, ids of 10**8 after 16 s for want of memory"),
    "weights that are not what they say": (
        "test_corpora_bad_input.py::test_hostile_weights_are_named",
        "integers, truth values and complex numbers were taken; 2 of 16 ended in tracebacks, 1 in several lines"),
    "clocks set by hours: beats of workers": (
        "test_jobs.py::test_a_dead_worker_is_lost_and_a_living_one_is_not_after_a_clock_was_set",
        "a dead worker counted as running for as long as the clock was set back"),
    "clocks set by hours: the last command": (
        "test_store.py::test_the_last_command_is_the_last_whatever_the_clock_says", "an earlier one was taken for it"),
    "records of a newer version": (
        "test_store.py::test_a_record_of_a_newer_version_is_kept_whatever_is_in_it", "kept"),
    "tables in other orders, separators, encodings: numbers come from one row": (
        "test_fuzz.py::test_every_row_of_a_table_is_a_run_of_its_own_numbers_however_it_is_written",
        "a .jsonl of one line without an end was refused"),
}
"""What was tried: the test that tries it, and what happened before."""


def outcomes() -> list[Outcome]:
    """What becomes of what was made to do harm; a test of several in one says how many by a property."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "junit.xml"
        tests = [f"tests/{test}" for test, _ in _HARM.values()]
        asked = ["-q", "-n0", "-m", "", "-o", "junit_family=xunit1", f"--junitxml={file}"]
        subprocess.run([sys.executable, "-m", "pytest", *asked, *tests], cwd=ROOT, check=False, capture_output=True)
        cases = ElementTree.parse(file).getroot().findall(".//testcase")
    made = []
    for what, (test, before) in _HARM.items():
        own = [case for case in cases if case.get("name", "").partition("[")[0] == test.partition("::")[2]
               and case.find("skipped") is None]
        assert own, f"{test} was not run"
        counts = [int(each.get("value", 1)) for case in own for each in case.findall(".//property[@name='tried']")]
        failed = sum(case.find("failure") is not None or case.find("error") is not None for case in own)
        made.append(Outcome(what=what, tried=sum(counts) or len(own), failed=failed, before=before,
                            seed=0 if what.startswith("tables") else None))
    return made


# --- the fuzzer ------------------------------------------------------------------------------------------------------

def fuzz(name: str, count: int, seed: int, out: Path) -> None:
    """Tries so many inputs of a kind in this process, which ends with it; notes what became of them in `out`."""
    import atheris

    with atheris.instrument_imports(include=sorted({package.partition(".")[0] for package in PACKAGES})):
        from damage import damaged

        for package in PACKAGES:
            module = import_module(package)
            for each in walk_packages(getattr(module, "__path__", []), f"{package}."):
                import_module(each.name)
    warnings.simplefilter("ignore")
    kind, told = KINDS[name], {"tried": 0, "taken": 0}
    corpus, faults = out / "corpus" / name, out / "faults"
    for folder in (corpus, faults):
        folder.mkdir(parents=True, exist_ok=True)
    for text in kind.seeds():
        (corpus / hashlib.sha1(text).hexdigest()).write_bytes(text)

    def one(data: bytes) -> None:
        (out / f"{name}.now").write_bytes(data)
        told["tried"] += 1
        try:
            told["taken"] += kind.tried(data)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            place = next((f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(
                traceback.extract_tb(error.__traceback__)) if "cvfp_" in frame.filename), "")
            what = f"{type(error).__name__} {place} {' '.join(str(error).split())}"
            number = hashlib.sha1(f"{type(error).__name__} {place}".encode()).hexdigest()[:8]
            fault = faults / f"{name.replace(' ', '-')}-{number}"
            if not fault.exists():
                fault.write_bytes(data)
                with (out / f"{name}.faults").open("a", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(f"{fault.name}: {what[:600]}\n")
        (out / f"{name}.json").write_text(json.dumps(told))

    def mutated(data: bytes, longest: int, chance: int) -> bytes:
        """Half by the fuzzer's own ways, half by those of the tests: lines, numbers, nasty texts."""
        if chance % 2 or name == "rows":
            return atheris.Mutate(data, longest)  # type: ignore[no-any-return]
        return damaged(data, random.Random(chance))[:longest]

    atheris.Setup([sys.argv[0], f"-runs={count}", f"-seed={seed + 1}", "-timeout=60", "-rss_limit_mb=0",
                   "-max_len=65536", "-len_control=0", f"-artifact_prefix={faults}/{name.replace(' ', '-')}-",
                   str(corpus)], one, custom_mutator=mutated)
    atheris.Fuzz()


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What became of the inputs of a kind."""

    tried: int
    taken: int
    reached: str
    """Edges at first and at the end."""
    faults: list[str]


def of_kind(name: str, count: int, seed: int, out: Path) -> Told:
    """Tries so many inputs of a kind, in a process of its own."""
    for old in out.glob(f"{name}.*"):
        old.unlink()
    with (out / f"{name}.log").open("w") as log:
        ended = subprocess.run([sys.executable, __file__, "--only", name, "--count", str(count), "--seed", str(seed),
                                "--out", str(out)], stdout=log, stderr=log, check=False)

    def text(kind: str) -> str:
        file = out / f"{name}.{kind}"
        return file.read_text(errors="replace") if file.exists() else ""

    reached, faults = re.findall(r"cov: (\d+)", text("log")) or ["-"], text("faults").splitlines()
    told = json.loads(text("json") or "{}")
    if ended.returncode or not told:
        faults.append(f"{name}: the process ended with {ended.returncode}: {text('log')[-300:]!r}")
    return Told(tried=told.get("tried", 0), taken=told.get("taken", 0), reached=f"{reached[0]} → {reached[-1]}",
                faults=faults)


def inputs(seed: int, count: int) -> Iterator[str | None]:
    """Tables, logs, run files, records, maps and templates that a fuzzer makes, led by the lines they reach."""
    with tempfile.TemporaryDirectory() as out:
        for name, kind in KINDS.items():
            told = of_kind(name, round(count * kind.share), seed, Path(out))
            yield from [None] * (told.tried - len(told.faults))
            yield from told.faults


def harm(seed: int, count: int) -> Iterator[str | None]:
    """Templates, tokenizers, weights, cached bytes, links and clocks that were made to do harm."""
    del seed, count  # they are what they are
    for each in outcomes():
        yield from [None] * (each.tried - each.failed)
        yield from [f"{each.what}: failed"] * each.failed


CAMPAIGNS = {"inputs": inputs, "harm": harm}
"""For reliability.py."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000, help="inputs, over all kinds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "cvfp-fuzz")
    parser.add_argument("--again", type=Path, help="try the input in a file again")
    parser.add_argument("--harm", action="store_true", help="what was made to do harm, in place of the fuzzer")
    parser.add_argument("--only", choices=KINDS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.again:
        name = next(name for name in KINDS if asked.again.name.startswith(name.replace(" ", "-")))
        print("taken" if KINDS[name].tried(asked.again.read_bytes()) else "refused")
        return
    if asked.harm:
        print("| tried | inputs | failed | before |\n|---|--:|--:|---|")
        for each in outcomes():
            print(f"| {each.what} | {each.tried:,} | {each.failed} | {each.before} |")
        return
    if asked.only:
        fuzz(asked.only, asked.count, asked.seed, asked.out)
        return
    asked.out.mkdir(parents=True, exist_ok=True)
    print("| inputs | tried | taken | edges reached | faults | seconds |\n|---|--:|--:|--:|--:|--:|")
    for name in asked.kind or KINDS:
        begun = time.monotonic()
        told = of_kind(name, round(asked.count * (1 if asked.kind else KINDS[name].share)), asked.seed, asked.out)
        print(f"| {name} | {told.tried:,} | {told.taken:,} | {told.reached} | {len(told.faults)} | "
              f"{time.monotonic() - begun:.0f} |", flush=True)
        for fault in told.faults:
            print(fault, file=sys.stderr, flush=True)
    print(f"\n`python benchmarks/fuzz.py --count {asked.count} --seed {asked.seed}`, Python "
          f"{sys.version.split()[0]}, atheris; faults in {asked.out / 'faults'}")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    main()
