"""CPU seconds of `cvfp --help` and of lists, against an empty typer application of as many commands, in the same run.

Its help is what help is compared with; lists are compared with one of its commands too, which does nothing (to read the
first option of a command Typer imports more than for help).

    python benchmarks/startup.py [--count 9]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys

LISTS = (["--help"], ["plugins"], ["laws"])
EMPTY = """
import sys
import typer
app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
for index in range({count}):
    def command(path: str, number: int = 1) -> None:
        \"""Do something of this kind.\"""
    app.command(f"command{{index}}")(command)
app()
"""


def seconds(program: str, words: list[str]) -> float:
    """CPU seconds of one run of the program."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program, *words], check=True, stdout=subprocess.DEVNULL,
                   env=os.environ | {"OMP_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    from cvfp_core.cli.app import app

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=9, help="runs of each, in turn; medians are told")
    asked = parser.parse_args()
    commands = len(app.registered_commands) + len(app.registered_groups)
    empty = EMPTY.format(count=commands)
    programs = {"empty, help": (empty, ["--help"]), "empty, a command": (empty, ["command0", "path"])} | {
        f"cvfp {' '.join(words)}": ("from cvfp_core.cli import main; main()", words) for words in LISTS}
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(asked.count):
        for name, (program, words) in programs.items():
            times[name].append(seconds(program, words))
    of = {name: statistics.median(each) for name, each in times.items()}
    print(f"{commands} commands; CPU seconds, times the empty application's help, times a command that does nothing")
    for name, median in of.items():
        print(f"{name:<20} {median:.3f} {median / of['empty, help']:.2f} {median / of['empty, a command']:.2f}")


if __name__ == "__main__":
    main()
