"""Commands typed wrongly: one line in the form of all other errors, where Typer would print a box."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

from cvfp_core.cli.screen import say

_Wrong: type[BaseException] = typer.BadParameter.__bases__[0]
"""Typer's own usage error, the parent of them all; Typer gives it no public name."""


class _Plain:
    """What has a help that names no types of Python: what takes a value has a name for it, a flag has none."""

    def get_params(self, ctx: Any) -> Any:
        """As Typer's."""
        params = super().get_params(ctx)  # type: ignore[misc]
        for each in params:
            if isinstance(each, TyperArgument):
                each.display_type = lambda ctx: ""  # type: ignore[method-assign]  # noqa: ARG005
            elif each.metavar is None:
                each.metavar = ""
        return params


class Command(_Plain, TyperCommand):
    """One command."""


class Commands(_Plain, TyperGroup):
    """The group of all commands; a usage error ends in `cvfp: ...` and exit code 2."""

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, complete_var: str | None = None,
             standalone_mode: bool = True, windows_expand_args: bool = True, **extra: Any) -> Any:
        """As Typer's; with `standalone_mode` it ends the process."""
        try:
            code = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
            if not standalone_mode:
                return code
        except _Wrong as error:
            if not standalone_mode:
                raise
            text = _line(error)
            if text:  # there is none where the help was asked for by giving nothing, and was printed
                say(text)
            sys.exit(2)
        except typer.Abort:
            if not standalone_mode:
                raise
            say("interrupted")
            sys.exit(130)
        sys.exit(code if isinstance(code, int) else 0)


def _line(error: Any) -> str:
    """What is wrong, the value that was given where it is known, the nearest name, and where to read on."""
    text = " ".join(str(error.format_message()).split()).rstrip(".")
    if not text:
        return ""
    if hasattr(error, "possibilities"):
        names = {name.lstrip("-"): name for option in error.ctx.command.params for name in option.opts}
        near = get_close_matches(error.option_name.lstrip("-"), names, n=1)
        text = f"no such option '{error.option_name}'" + (f"; did you mean '{names[near[0]]}'?" if near else "")
    found = _input(error.__cause__ or error.__context__)
    where = f"; see `{error.ctx.command_path} --help`" if error.ctx is not None else ""
    return text[0].lower() + text[1:].replace(". Did you mean", "; did you mean") + found + where


def _input(cause: Any) -> str:
    """`, found 'abc'`, if it is known what was given."""
    errors = getattr(cause, "errors", None)
    return f", found {errors()[0]['input']!r}" if callable(errors) and errors() else ""
