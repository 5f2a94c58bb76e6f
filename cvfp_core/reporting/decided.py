"""Lights and stop rules as a report shows them: thresholds, what they say of every series, and their back-tests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import polars as pl

from cvfp_core.claims import decisions as deciding
from cvfp_core.registry import Registry
from cvfp_core.registry.kinds import Light


def decisions(records: pl.DataFrame, registry: Registry) -> dict[str, Any]:
    """`lights` with their thresholds, their colours `runs` by run and `series` counted, and their `backtests`."""
    lit = list(registry.items(Light).values())
    judged = [asdict(each) for each in deciding.lights(records, lit)]
    series: dict[str, dict[str, dict[str, int]]] = {}
    for each in judged:
        counts = series.setdefault(each["series"], {}).setdefault(each["light"], {})
        colour = each["colour"] or "none"
        counts[colour] = counts.get(colour, 0) + 1
    return {
        "lights": [asdict(light) for light in lit], "runs": judged,
        "series": [{"label": label, "lights": {light.name: found.get(light.name, {}) for light in lit}}
                   for label, found in series.items()],
        "backtests": [each.as_dict() for each in deciding.backtest(records, lit)] if judged else [],
    }


def stops(records: pl.DataFrame, curves: pl.DataFrame, registry: Registry) -> dict[str, Any]:
    """`rules`, the `runs` each would have ended and where, how many runs each `seen`, and their `backtests`."""
    rules = registry.stop_rules()
    found = [asdict(each) for each in deciding.stops(records, curves, rules)]
    return {
        "rules": [{"name": rule.name, "title": rule.title} for rule in rules],
        "seen": {rule.name: _count(each["rule"] == rule.name for each in found) for rule in rules},
        "runs": [each for each in found if each["iteration"] is not None],
        "backtests": [each.as_dict() for each in deciding.backtest_stops(records, curves, rules)] if found else [],
    }


def _count(flags: Iterable[bool]) -> int:
    return sum(flags)
