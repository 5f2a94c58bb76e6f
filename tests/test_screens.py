"""What a terminal shows: nothing that data put there steers it."""

import ast
import io
import json
import sys
from pathlib import Path

import cvfp_core
from cvfp_core.cli import screen
from cvfp_core.results.printed import Screen, table

HOSTILE = "a\x1b[2Jb\u202ec\x9bd\rz\udc80"
ROOMS = Path(cvfp_core.__file__).parent


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_what_data_hold_does_not_steer_a_terminal(monkeypatch):
    seen = r"a\u001b[2Jb\u202ec\u009bd\u000dz\udc80"
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, Terminal())
    screen.say(HOSTILE)
    screen.write(HOSTILE)
    screen.show_json([HOSTILE])
    assert sys.stderr.getvalue() == f"cvfp: {seen}\n"
    out = sys.stdout.getvalue()
    assert out.startswith(seen)
    assert HOSTILE[1] not in out
    assert json.loads(out.removeprefix(seen)) == [HOSTILE]
    made = table([("h", "l"), ("n", "r")], title=None)
    made.add_row(HOSTILE, "1")
    console = Screen(file=io.StringIO(), width=60, highlight=False)
    console.print(made, HOSTILE)
    assert console.file.getvalue().count(seen.replace(r"\u000d", "")) == 2  # rich drops carriage returns
    assert not {"\x1b", "\u202e", "\x9b", "\r"} & set(console.file.getvalue())


def test_a_text_for_a_file_is_written_as_it_is(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    screen.write("a\u202eb")
    assert sys.stdout.getvalue() == "a\u202eb"


def test_commands_print_by_the_screen_alone():
    """A `print` or a console of rich elsewhere would hand on what data hold."""
    mine = {ROOMS / "cli" / "screen.py", ROOMS / "results" / "printed.py", ROOMS / "cli" / "dry_run.py"}
    found = [f"{path.name}:{node.lineno}" for room in ("cli", "results") for path in (ROOMS / room).rglob("*.py")
             if path not in mine for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
             if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "Console")]
    assert found == []
