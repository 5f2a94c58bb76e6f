"""The fenced blocks of a Markdown page, and what it means to run them.

- A block whose line before ends in a path and a colon is that file: "This is the whole of `a/b.py`:".
- `sh` is run in one shell from block to block, each command by itself; `python` is run as a program.
- A block without a language is what the commands before it print: its lines are found there, in order, whatever the
  spaces; `...` stands for lines that are left out.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ANY_FENCE = re.compile(r"^[ \t>*+\-\d.)]*(?:`{3}|~{3}).*$", re.MULTILINE)
"""What a reader sees as the beginning or end of a block: indented, in a list or quoted, whatever stands behind it."""
FILE = re.compile(r"`([\w./-]+\.[\w.]+)`:$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block: where it stands, its language, its text, and the file it is, if it is one."""

    line: int
    language: str
    text: str
    file: str | None


def blocks(page: str) -> list[Block]:
    """The blocks of the page. Fails for a fence that belongs to none of them: what it holds would not be run."""
    found = []
    ends = {place for match in FENCE.finditer(page) for place in (match.start(), match.end() - 3)}
    for fence in ANY_FENCE.finditer(page):
        line = page.count("\n", 0, fence.start()) + 1
        assert fence.start() in ends, f"line {line}: no block that is run begins or ends at '{fence[0]}'"
    for match in FENCE.finditer(page):
        before = page[: match.start()].rstrip().rpartition("\n")[2]
        named = FILE.search(before)
        found.append(Block(line=page.count("\n", 0, match.start()) + 1, language=match[1], text=match[2],
                           file=named[1] if named else None))
    return found


def run(page: Path, folder: Path, env: dict[str, str]) -> list[str]:
    """Runs every block of the page, in order, in the folder; returns what each printed. The first failure ends it."""
    here, printed = folder, [""]
    for block in blocks(page.read_text(encoding="utf-8")):
        out, here = step(block, here, env, page.name, printed[-1])
        printed.append(out)
    return printed[1:]


def step(block: Block, here: Path, env: dict[str, str], page: str, printed: str | None = None) -> tuple[str, Path]:
    """What the block printed and the folder it ended in. printed: what the one before did; None: not looked at."""
    place = f"{page}:{block.line}"
    if block.file is not None:
        assert (here / block.file).parent.is_dir(), f"{place}: no folder for {block.file} in {here}"
        (here / block.file).write_text(block.text, encoding="utf-8")
        return "", here
    if block.language in ("sh", "python"):
        return _run(block, here, env, place)
    assert block.language == "", f"{place}: a block of {block.language} that is no file: nobody runs it"
    if printed is not None:
        assert_printed(block.text, printed, place)
    return printed or "", here


def _run(block: Block, here: Path, env: dict[str, str], place: str) -> tuple[str, Path]:
    """What the block printed, and the folder it ended in."""
    program = ["bash", "-eo", "pipefail", "-c", f"{block.text}\npwd >&3"]
    if block.language == "python":
        program = [_python(env), "-c", block.text]
    read, write = os.pipe()
    script = ["bash", "-c", 'exec 3>&"$1"; shift; exec "$@"', "-", str(write), *program]
    try:
        done = subprocess.run(script, cwd=here, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              stdin=subprocess.DEVNULL, pass_fds=[write], timeout=900, check=False)
    finally:
        os.close(write)
        with os.fdopen(read) as file:
            ended = file.read().strip()
    assert done.returncode == 0, f"{place}: exit code {done.returncode}\n{block.text}\n{done.stdout}"
    return done.stdout, Path(ended) if ended else here


def _python(env: dict[str, str]) -> str:
    mine = Path(env.get("VIRTUAL_ENV", "")) / "bin" / "python"
    return str(mine) if mine.exists() else sys.executable


def assert_printed(expected: str, printed: str, place: str) -> None:
    """Fails unless the expected lines stand among the printed ones in that order; spaces do not count."""
    lines = iter(" ".join(line.split()) for line in printed.splitlines())
    for line in expected.splitlines():
        wanted = " ".join(line.split())
        if wanted not in ("", "..."):
            assert any(wanted == each for each in lines), f"{place}: '{wanted}' was not printed:\n{printed}"
