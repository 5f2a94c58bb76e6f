"""CPU seconds of `cvfp --help` and of lists, against an empty typer application of as many commands, in the same run.

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
sys.argv = ["app", "--help"]
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
    programs = {"empty application": (EMPTY.format(count=commands), [])} | {
        f"cvfp {' '.join(words)}": ("from cvfp_core.cli import main; main()", words) for words in LISTS}
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(asked.count):
        for name, (program, words) in programs.items():
            times[name].append(seconds(program, words))
    empty = statistics.median(times["empty application"])
    for name, each in times.items():
        median = statistics.median(each)
        print(f"{name:<20} {median:.3f} s CPU, {median / empty:.2f} times; {commands} commands")


if __name__ == "__main__":
    main()
