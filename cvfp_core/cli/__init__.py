"""The command line: parse, call one function, print. Heavy imports happen inside the commands."""


import os
import sys
from io import TextIOWrapper


def main() -> None:
    """The `cvfp` program."""
    _have_streams()
    from cvfp_core.cli.app import app, unwritable

    try:
        app()
    except OSError as error:  # of what is printed before a command begins, such as its help
        raise SystemExit(unwritable(error)) from None


def _have_streams() -> None:
    """Opens streams that are closed on nothing, or files opened next would be taken for them, and escapes what is no
    character of theirs."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False, encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, TextIOWrapper) and not sys.stdout.encoding.lower().startswith("utf"):
        sys.stdout.reconfigure(errors="backslashreplace")
