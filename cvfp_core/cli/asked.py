"""The options that several commands take: declared once, so that they mean the same and read the same everywhere."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cvfp_core.cli import completing
from cvfp_core.cli.screen import say
from cvfp_core.cli.screen import show_json as show_json
from cvfp_core.errors import UsageError

if TYPE_CHECKING:
    from cvfp_core.results.finals import FinalForecasts
    from cvfp_core.results.optima import Optima
    from cvfp_core.results.plans import Plans
    from cvfp_core.results.printed import Printed
    from cvfp_core.results.runs import Asked


def separated(names: list[str] | None) -> list[str] | None:
    """Names given each by itself, or several separated by commas."""
    return names and [name.strip() for several in names for name in several.split(",")]


Paths = Annotated[list[Path], typer.Argument(metavar="PATH...", help="Folders of runs, logs, or tables.")]
X = Annotated[
    str | None, typer.Option("--x", metavar="COLUMN", autocompletion=completing.columns,
                             help="What a curve is a function of. Default: its law's input.")
]
Y = Annotated[
    str | None, typer.Option("--y", metavar="COLUMN", autocompletion=completing.columns,
                             help="What a curve explains. Default: its law's response.")
]
By = Annotated[
    list[str] | None,
    typer.Option("--by", metavar="COLUMN", autocompletion=completing.columns,
                 help="Column that tells series apart; may be repeated. Default: experiment, "
                 "variant."),
]
Where = Annotated[
    str | None, typer.Option("--where", metavar="EXPR", help="Keep only runs for which it is true: 'params > 1e6'.")
]
Map = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="COLUMN=EXPR", help="What a column is made from: val_loss=eval_loss, "
                 "train_tokens='flops / (6 * params)', seed=42; or a file of --save-map; may be repeated."),
]
Weights = Annotated[
    str | None, typer.Option("--weights", metavar="COLUMN", autocompletion=completing.columns,
                             help="Column of numbers above 0: how much each run counts in the fit. Default: all "
                             "alike.")
]
NoMap = Annotated[bool, typer.Option("--no-map", help="Ignore a cvfp-map.toml beside the files, which maps columns as "
                                        "--map does.")]
Take = Annotated[
    str | None, typer.Option("--take", metavar="WHICH", help="Point of its curves that a foreign run's record is of: "
                             "last (default), best or step=N.")
]
Convention = Annotated[
    str, typer.Option("--convention", metavar="NAME", help="How FLOPs are counted: 6ND, 6ND-non-embedding, or a "
                      "column.")
]
At = Annotated[
    list[str] | None,
    typer.Option("--at", metavar="NAME=VALUE,...", help="Where to predict: params=7e9,train_tokens=2M,10x (two places, "
                 "10x: ten times each series' largest); may be repeated."),
]
Law = Annotated[str, typer.Option("--law", metavar="NAME", autocompletion=completing.named("Law"),
                                  help="A law, or auto: chosen from the runs given.")]
Laws = Annotated[
    list[str] | None, typer.Option("--law", metavar="NAME", autocompletion=completing.named("Law"), callback=separated,
                                   help="Laws to fit, comma-separated. See `cvfp laws`.")
]
Along = Annotated[
    str | None, typer.Option("--along", metavar="COLUMN", autocompletion=completing.columns,
                             help="Size that grows in the back-test of laws: fitted to the "
                             "smaller runs, tested on the next; an input, or flops. Default: x.")
]
LawOptions = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="An option of the law, such as E=20; `cvfp laws "
                                   "NAME` lists them.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def runs(paths: Sequence[Path], *, x: str | None = None, y: str | None = None, by: Sequence[str] | None = None,
         where: str | None = None, map_: Sequence[str] | None = None, no_map: bool = False, take: str | None = None,
         weights: str | None = None, options: Sequence[str] | None = None, unfinished: bool = False) -> Asked:
    """What the options ask of the runs in the paths."""
    from cvfp_core.results.runs import ask

    given = settings(options or [])
    made = ask(paths, x=x, y=y, by=by, where=where, map=mapping(paths, map_, no_map=no_map), take=take or "last",
               weights=weights, options=given, unfinished=unfinished)
    inputs = made.runs.inputs
    for note in inputs.notes:
        say(note)
    if inputs.left_out:
        count = len(made.runs)
        say(f"--where keeps {count:,} of {count + inputs.left_out:,} runs")
    return made


def mapping(paths: Sequence[Path], map_: Sequence[str] | None, *, no_map: bool) -> dict[str, str]:
    """What `--map` says, over what a mapping file beside the paths says; which it is, is said."""
    from cvfp_core.ingesting import mapping

    given = mapping.read(map_ or [])
    there = None if no_map else mapping.beside(paths)
    if there is None:
        return given
    found = mapping.load(there)
    said = ", ".join(f"{target} = {source}" for target, source in found.items())
    say(f"{there} maps {said} (--no-map ignores it)")
    return found | given


def points(at: Sequence[str] | None, tokens: str | None) -> dict[str, list[float | str]]:
    """Values by input, of `--at NAME=VALUE,...` and `--tokens N`. Raises UsageError for what is neither."""
    made: dict[str, list[float | str]] = {}
    if tokens is not None:
        made["train_tokens"] = [value(tokens, "--tokens")]
    for text in at or []:
        name = ""
        for part in text.split(","):
            before, equals, given = part.rpartition("=")
            if equals:
                name = before.strip()
                if name in made:
                    raise UsageError(f"'{name}' is given twice; give its values separated by commas: --at "
                                     f"{name}=1e9,7e9")
                made[name] = []
            if not name:
                raise UsageError(f"--at takes NAME=VALUE, not '{text}'; such as --at params=7e9")
            made[name].append(value(given, f"--at {name}"))
    if not made:
        raise UsageError("no point to predict at; give --at NAME=VALUE, such as --at train_tokens=10x")
    return made


def sizes(text: str, option: str) -> dict[str, float | str]:
    """Values by name, of `NAME=VALUE,NAME=VALUE`; 10x stays as it is. Raises UsageError naming the option."""
    made: dict[str, float | str] = {}
    for part in text.split(","):
        name, equals, given = (each.strip() for each in part.partition("="))
        if not name or not equals or name in made:
            raise UsageError(f"{option} takes NAME=VALUE, each name once, not '{text}'; such as {option} params=7e9")
        made[name] = value(given, f"{option} {name}")
    return made


def covariates(new: Sequence[str] | None) -> dict[str, float] | None:
    """Values by covariate, of `--new NAME=VALUE`; None where none is given. Raises UsageError for what is neither."""
    made: dict[str, float] = {}
    for text in new or []:
        name, equals, given = (part.strip() for part in text.partition("="))
        if not name or not equals:
            raise UsageError(f"--new takes NAME=VALUE, not '{text}'; such as --new val_er=0.81")
        if name in made:
            raise UsageError(f"--new {name} is given twice; a configuration has one")
        made[name] = number(given, f"--new {name}")
    return made or None


def value(text: str, option: str) -> float | str:
    """A number, or the text itself if it is a multiple such as 10x. Raises UsageError naming the option."""
    text = text.strip()
    if not text.endswith("x"):
        return number(text, option, positive=option == "--tokens")
    with suppress(UsageError):
        number(text[:-1], option, positive=True)
        return text
    raise UsageError(f"{option} takes a positive number such as 5e6, or times the largest as in 10x, not '{text}'")


def number(text: str, option: str, *, positive: bool = False) -> float:
    """The number written as 5e6, 10_000_000 or 2M. Raises UsageError naming the option."""
    from cvfp_core.schema.quantities import POWERS

    text = text.strip()
    factor = POWERS.get(text[-1:], 1.0)
    try:
        value = float(text[:-1] if factor > 1 else text) * factor
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or (positive and value <= 0):
        raise UsageError(f"{option} must be a {'positive ' if positive else ''}number such as 5e6 or 2M, not '{text}'")
    return value


def settings(pairs: Sequence[str]) -> dict[str, Any]:
    """KEY=VALUE pairs; a value is a TOML value, or else a word. Raises UsageError for anything else."""
    from cvfp_core.running.runfile import value_of

    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip() or not text.strip():
            raise UsageError(f"--set takes KEY=VALUE, not '{pair}'")
        value = value_of(key.strip(), text)
        if not isinstance(value, str | int | float | bool):
            raise UsageError(f"--set {key.strip()} takes a number or a word, not '{text}'")
        values[key.strip()] = value
    return values


def show(result: Printed) -> None:
    """Prints a result, as wide as the terminal is."""
    from cvfp_core.results.printed import terminal

    console = terminal()
    for block in result.blocks(console.width):
        console.print(block)


def say_each(lines: Iterable[object]) -> None:
    """Says on stderr what JSON has no place for."""
    for line in lines:
        say(line)


def hand_over(result: Optima | FinalForecasts | Plans, figure: Path | None, *, json_: bool) -> None:
    """Draws the result to a file if one is named, then prints it: as tables, or as JSON."""
    if figure is not None:
        result.plot(figure)
    if json_:
        show_json(result.as_dict())
    else:
        show(result)


def command(name: str, paths: Sequence[Path], given: Mapping[str, Sequence[str | None] | bool | None]) -> str:
    """The command with these options, as one types it. given: values by option, or whether a flag is set."""
    words = ["cvfp", name, *map(str, paths)]
    for option, values in given.items():
        words += [option] * values if isinstance(values, bool) else [
            word for value in values or [] if value for word in (option, value)]
    return shlex.join(words)


def next_step(command: str) -> None:
    """Prints what to type next; in one line, so that a shell takes it as it is copied."""
    from rich.text import Text

    from cvfp_core.results.printed import terminal

    terminal().print(Text.assemble("\nnext: ", (command, "bold")), soft_wrap=True)


REPORT: Mapping[str, Sequence[str | None] | bool | None] = {"-o": ["report.html"], "--embed": True}
"""Options of a report with its figures, in one file."""
