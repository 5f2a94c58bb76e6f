"""`cvfp check`: lights for every run, and what deciding by them would have meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cvfp_core.cli import asked
from cvfp_core.cli.screen import say

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from cvfp_core.claims.decisions import Backtest, Judgement, Stop
    from cvfp_core.registry.kinds import Light

_STYLES = {"green": "green", "yellow": "yellow", "red": "red", None: "dim"}


def check(
    paths: asked.Paths,
    where: asked.Where = None,
    map_: asked.Map = None,
    no_map: asked.NoMap = False,
    take: asked.Take = None,
    thresholds: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="THRESHOLD=VALUE", help="Another threshold: val_er.red=0.7."),
    ] = None,
    json_: asked.Json = False,
) -> None:
    """Judge every run by its Phase 1, and say what stopping the red ones would have cost and saved.

    Stop rules are asked of the runs whose curves are known. A back-test counts against the runs of the same size.
    """
    from dataclasses import asdict

    from cvfp_core.claims import decisions
    from cvfp_core.registry import installed
    from cvfp_core.registry.kinds import Light
    from cvfp_core.results.printed import terminal

    registry = installed()
    lit = decisions.with_thresholds(registry.items(Light), asked.settings(thresholds or []))
    rules = registry.stop_rules()
    runs = asked.runs(paths, where=where, map_=map_, no_map=no_map, take=take).runs.inputs
    for name, why in decisions.never_lit(lit, runs.records).items():
        say(f"warning: {registry.label(Light, name)} is never lit: {why}")
    judged = decisions.lights(runs.records, lit)
    tests = decisions.backtest(runs.records, lit)
    stops = decisions.stops(runs.records, runs.curves(), rules)
    stop_tests = decisions.backtest_stops(runs.records, runs.curves(), rules)
    if json_:
        asked.show_json({
            "thresholds": [asdict(light) for light in lit],
            "lights": [asdict(each) for each in judged],
            "backtest": [each.as_dict() for each in tests],
            "stops": [asdict(each) for each in stops],
            "stops_backtest": [each.as_dict() for each in stop_tests],
        })
        return
    console = terminal()
    if all(each.value is None for each in judged) and not any(test.judged for test in stop_tests):
        there = f"; there is no {', '.join(dict.fromkeys(light.metric for light in lit))}" if judged else ""
        console.print(f"nothing to judge: no finished run has a Phase 1 that was trained{there}")
        return
    _print_lights(console, lit, judged)
    console.print()
    _print_backtest(console, "had the red ones been stopped before Phase 2", tests)
    console.print()
    _print_backtest(console, "had they been stopped during Phase 1", stop_tests, rules=True)
    _print_stops(console, stops)
    _print_legend(console, [*tests, *stop_tests])


def _print_lights(console: Console, lit: Sequence[Light], judged: Sequence[Judgement]) -> None:
    from rich.text import Text

    from cvfp_core.results.printed import table as plain_table

    rows: dict[str, dict[str, Judgement]] = {}
    for each in judged:
        rows.setdefault(each.run_id, {})[each.light] = each
    table = plain_table([("run", "l"), ("samples", "r"), *((light.name, "r") for light in lit)])
    last = ""
    for run in rows.values():
        first = next(iter(run.values()))
        table.add_row(
            Text("" if first.series == last else first.series), "-" if first.num_samples is None else
            f"{first.num_samples:,}", *(_lamp(light, run[light.name]) for light in lit),
        )
        last = first.series
    for name, text in (("green", _green), ("red", _red)):
        table.add_row(Text(name, style=name), "", *(Text(text(light), style="dim") for light in lit))
    console.print(table)


def _lamp(light: Light, judged: Judgement) -> Text:
    """The value with its lamp; letters beside colours, for eyes and terminals that see none."""
    from rich.text import Text

    if judged.value is None:
        return Text("-", style="dim")
    shown = _value(light, judged.value) + ("+" if judged.censored else "")
    style = _STYLES[judged.colour]
    return Text.assemble(f"{shown} ", (f"● {(judged.colour or '?')[0]}", style))


def _value(light: Light, value: float) -> str:
    return f"{100 * value:.1f}%" if light.percent else f"{value:g}"


def _green(light: Light) -> str:
    return f"{'> ' if light.better == 'higher' else 'to '}{_value(light, light.green)}"


def _red(light: Light) -> str:
    return f"{'< ' if light.better == 'higher' else '> '}{_value(light, light.red)}"


def _print_backtest(console: Console, title: str, tests: Sequence[Backtest], *, rules: bool = False) -> None:
    from rich.text import Text

    from cvfp_core.reporting.numbers import p
    from cvfp_core.results.printed import table as plain_table

    seen = [test for test in tests if test.judged]
    if seen:
        table = plain_table([(title if len(title) < 24 else "rule" if rules else "light", "l"), ("judged", "r"),
                             ("stopped", "r"), ("worse half", "r"), ("good lost", "r"), ("time saved", "r"),
                             ("p", "r")])
        for test in seen:
            decided = test.worse + test.lost
            saved = "-" if test.seconds_saved is None or not test.seconds_total or not test.timed else \
                f"{test.seconds_saved / test.seconds_total:.0%}"
            table.add_row(
                Text(test.rule), str(test.judged), str(test.stopped), f"{test.worse} of {decided}" if decided else "-",
                f"{test.lost} of {test.good}" if test.stopped else "-", saved,
                "-" if test.p_value is None else p(test.p_value),
            )
        console.print(Text(title, style="dim"))
        console.print(table)
    blind = [test.rule for test in tests if not test.judged]
    if blind:
        why = "no run has a curve of what it looks at" if rules else "not measured in any run"
        console.print(Text(f"{', '.join(blind)}: {why}", style="dim"))


def _print_stops(console: Console, stops: Sequence[Stop]) -> None:
    from rich.text import Text

    for each in [stop for stop in stops if stop.iteration is not None][:10]:
        console.print(Text(f"{each.series} n={each.num_samples}: {each.rule}: {each.reason}", style="yellow"))


def _print_legend(console: Console, tests: Sequence[Backtest]) -> None:
    from rich.text import Text

    lines = (
        "",
        "+           at the limit: a lower bound",
        "worse half  of the runs of the same size; chance hits half",
        "good lost   stopped runs of the better half, of all in it",
        "time saved  of both phases of all runs judged whose times are known",
        "p           of stopping worse configurations by chance, each counted once",
    )
    if any(test.stopped for test in tests):
        for line in lines:
            console.print(Text(line, style="dim"))
