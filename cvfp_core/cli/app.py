"""The commands, and the one place where errors become a line and an exit code."""

from __future__ import annotations

import errno
import functools
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import typer

from cvfp_core.cli import (
    check,
    compare,
    doctor,
    fit,
    forecast,
    ingest,
    laws,
    optimum,
    plan,
    plot,
    plugin,
    plugins,
    predict,
    report,
    run,
    settings,
    show,
    status,
)
from cvfp_core.cli.screen import heard_warnings, say, write
from cvfp_core.cli.usage import Command, Commands
from cvfp_core.errors import CvfpError
from cvfp_core.version import __version__

app = typer.Typer(
    name="cvfp",
    cls=Commands,
    help="Scaling-law analysis of language-model experiments: run the two-phase protocol, fit laws, write reports.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)


def _version(asked: bool) -> None:
    if asked:
        write(f"cvfp {__version__}\n")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


_OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
_plugin = typer.Typer(cls=Commands, help="Begin a plugin of your own.", no_args_is_help=True)


def unwritable(error: OSError) -> int:
    """Says what cannot be read or written, if that is what the error is of, else raises it; the exit code."""
    if error.errno == errno.ENOENT and not _folder():
        say("the current folder was removed, or may not be looked at; change to another one")
    elif error.errno not in _OF_DISKS:
        raise error
    elif error.filename is None:
        say(f"output cannot be written: {error.strerror}; make room, or write elsewhere")
        sys.stdout = None  # what is left in it cannot be written either
    else:
        say(f"cannot read or write '{error.filename}': {error.strerror}; see to that, then run the same command again")
    return 1


def _folder() -> bool:
    """Whether there is a current folder."""
    try:
        return bool(os.getcwd())
    except OSError:
        return False


def command(name: str, function: Callable[..., None], group: typer.Typer = app) -> None:
    """Registers a command whose errors end in one line: `cvfp: ...` and the error's exit code."""

    function.__annotations__ = get_type_hints(function, include_extras=True)  # once here, four times each in Typer

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> None:
        from cvfp_core import registry

        for line in registry.misnamed("CVFP_DISABLE"):
            say(f"warning: {line}")
        try:
            with heard_warnings() as heard:
                function(*args, **kwargs)
            sys.stdout.flush()
            if heard:
                raise typer.Exit(3)
        except CvfpError as error:
            say(error)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            say("interrupted")
            raise typer.Exit(130) from None
        except BrokenPipeError:
            sys.stderr.close()  # the reader of our output left: nobody to tell
            raise typer.Exit(0) from None
        except OSError as error:
            raise typer.Exit(unwritable(error)) from None

    group.command(name, cls=Command)(guarded)


command("run", run.run)
command("status", status.status)
command("cancel", status.cancel)
command("ingest", ingest.ingest)
command("show", show.show)
command("fit", fit.fit)
command("predict", predict.predict)
command("plot", plot.plot)
command("compare", compare.compare)
command("optimum", optimum.optimum)
command("plan", plan.plan)
command("forecast", forecast.forecast)
command("laws", laws.laws)
command("check", check.check)
command("doctor", doctor.doctor)
command("report", report.report)
command("plugins", plugins.plugins)
command("settings", settings.settings)
command("new", plugin.new, _plugin)
app.add_typer(_plugin, name="plugin")
