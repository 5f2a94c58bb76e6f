"""What Phase 1 measured against what Phase 2 reached: exponents, effective rank, windows, convergence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from cvfp_core.claims.inference import pearson
from cvfp_core.reporting.figures.colours import GREY, MANY, along, colour, marker, shares
from cvfp_core.reporting.figures.curves import APART, Say
from cvfp_core.reporting.figures.marks import Axis, Dots, End, Line, Panel, Plot
from cvfp_core.reporting.numbers import p_is

Series = Mapping[str, Any]
PANELS = 6
"""Sizes at which series are compared, the largest."""


def alpha(series: Sequence[Series], say: Say) -> Plot | None:
    """One row a series: the exponent and its interval; a ring where the input states one."""
    rows = [(each, found) for each in series if (found := _alpha(each)) is not None]
    if not rows:
        return None
    marks: list[Dots | Line] = []
    for row, (each, found) in enumerate(rows):
        at = np.array([row], dtype=float)
        if found["low"] is not None and found["high"] is not None:
            marks.append(Line(x=np.array([found["low"], found["high"]]), y=np.array([row, row], dtype=float),
                              colour=colour(0), width=1.6))
        marks.append(Dots(x=np.array([found["value"]]), y=at, colour=colour(0), name=each["label"]))
        if each["published_alpha"] is not None:
            marks.append(Dots(x=np.array([each["published_alpha"]]), y=at, colour=colour(1), size=8, fill="none",
                              name=each["label"]))
    stated = any(each["published_alpha"] is not None for each, _ in rows)
    words = "alpha, 95 % interval (ring: as published)" if stated else "alpha, 95 % interval"
    return Plot(panels=(Panel(marks=tuple(marks), x=Axis(label=say(words)),
                              y=Axis(label="", names=tuple(each["label"].replace(":", ": ", 1)
                                                           for each, _ in rows))),),
                width=4.6, height=0.22 * len(rows) + 0.25)


def _alpha(each: Series) -> dict[str, Any] | None:
    found = each["fit"]["parameters"].get("alpha") if each["fit"] is not None else None
    return found if found is not None and found["value"] is not None else None


def alpha_over_val_er(series: Sequence[Series], say: Say) -> Plot | None:
    """The exponent of each series over its effective rank at its lowest perplexity, labelled, with r and its test."""
    known = [(each, found["value"], 100 * each["best"]["val_er"]) for each in series
             if (found := _alpha(each)) is not None and each["best"] and each["best"]["val_er"] is not None]
    if len(known) < 2:
        return None
    x, y = np.array([each[2] for each in known]), np.array([each[1] for each in known])
    measured = pearson(x, y)
    note = f"n = {len(known)}"
    if measured.estimate is not None:
        ends = "" if measured.low is None or measured.high is None else f" [{measured.low:.2f}, {measured.high:.2f}]"
        chance = "" if measured.p_value is None else f", {p_is(measured.p_value)}"
        note = f"r = {measured.estimate:.2f}{ends}{chance}, {note}"
    groups = list(dict.fromkeys(each["experiment"] for each, _, _ in known))
    marks = []
    for index, name in enumerate(groups):
        mine = [row for row, (each, _, _) in enumerate(known) if each["experiment"] == name]
        marks.append(Dots(x=x[mine], y=y[mine], colour=colour(index), marker=marker(index), name=name,
                          texts=tuple(known[row][0]["name"] for row in mine)))
    panel = Panel(marks=tuple(marks), x=Axis(label=say("validation effective rank (%)")), y=Axis(label=say("alpha")))
    return Plot(panels=(panel,), width=5.2, height=3.4, note=note, legend=tuple(marks) if len(groups) > 1 else ())


def windows(series: Sequence[Series], say: Say) -> Plot | None:
    """The exponent of series of several windows of sizes, a panel an experiment; a ring where the input states one."""
    groups: dict[str, list[Series]] = {}
    for each in series:
        if sum(window["alpha"]["value"] is not None for window in each["windows"]) > 1:
            groups.setdefault(each["experiment"], []).append(each)
    if not groups:
        return None
    if len(groups) > APART or max(map(len, groups.values())) == 1:
        groups = {"": [each for mine in groups.values() for each in mine]}
    panels = []
    for name, mine in groups.items():
        marks: list[Dots | Line] = []
        ends = []
        for index, each in enumerate(mine):
            found = [window for window in each["windows"] if window["alpha"]["value"] is not None]
            x = np.array([window["number"] + 0.04 * (index - (len(mine) - 1) / 2) for window in found])
            y = np.array([window["alpha"]["value"] for window in found])
            hue = colour(index) if len(mine) <= MANY else along(index / (len(mine) - 1))
            marks.append(Line(x=x, y=y, colour=hue))
            marks += [Line(x=np.array([at, at]), y=np.array([window["alpha"]["low"], window["alpha"]["high"]]),
                           colour=hue, width=0.8) for at, window in zip(x, found, strict=True)
                      if window["alpha"]["low"] is not None and window["alpha"]["high"] is not None]
            marks.append(Dots(x=x, y=y, colour=hue, marker=marker(index), name=each["name"]))
            stated = [(at, window["published_alpha"]) for at, window in zip(x, found, strict=True)
                      if window["published_alpha"] is not None]
            if stated:
                marks.append(Dots(x=np.array([at for at, _ in stated]), y=np.array([value for _, value in stated]),
                                  colour=GREY, size=8, fill="none"))
            ends.append(End(x=float(x[-1]), y=float(y[-1]), text=each["title"] if not name else each["name"],
                            colour=hue))
        panels.append(Panel(marks=tuple(marks), x=Axis(label=say("window of sizes"), whole=True),
                            y=Axis(label=say("alpha")), title=name, ends=tuple(ends)))
    return Plot(panels=tuple(panels), width=3.2 if len(panels) > 1 else 4.6)


def matched(series: Sequence[Series], say: Say) -> Plot | None:
    """Val ER against PPL, a panel for each of the sizes that most series share."""
    found: dict[int, list[tuple[Series, dict[str, Any]]]] = {}
    for each in series:
        for run in each["runs"]:
            if run["val_ppl"] is not None and run["val_er"] is not None and run["train_tokens"] is not None:
                found.setdefault(run["train_tokens"], []).append((each, run))
    sizes = sorted(size for size, runs in found.items() if len({each["label"] for each, _ in runs}) > 2)[-PANELS:]
    if not sizes:
        return None
    experiments = list(dict.fromkeys(each["experiment"] for each in series))
    panels = []
    shown: dict[str, Dots] = {}
    for tokens in sizes:
        marks = []
        for index, name in enumerate(experiments):
            mine = [run for each, run in found[tokens] if each["experiment"] == name]
            if mine:
                marks.append(Dots(x=np.array([100 * run["val_er"] for run in mine]),
                                  y=np.array([run["val_ppl"] for run in mine]), colour=colour(index),
                                  marker=marker(index), name=name))
                shown.setdefault(name, marks[-1])
        panels.append(Panel(marks=tuple(marks), x=Axis(label=say("validation effective rank (%)")),
                            y=Axis(label=say("validation perplexity"), log=True),
                            title=f"{tokens:,} {say('tokens')}"))
    return Plot(panels=tuple(panels), same_y=False, height=2.1, width=2.9, legend=tuple(shown.values()))


def convergence(series: Sequence[Series], curves: pl.DataFrame, say: Say) -> Plot | None:
    """The convergence rate over Phase 1's iterations, a line for the largest run of each series, a panel a group."""
    rates = curves.filter(phase=1, metric="convergence_rate").drop_nulls("value")
    known = set(rates["run_id"].unique())
    groups: dict[str, list[Series]] = {}
    for each in series:
        if each["largest"] is not None and each["largest"]["run_id"] in known:
            groups.setdefault(each["experiment"], []).append(each)
    if not groups:
        return None
    if len(groups) > APART or max(map(len, groups.values())) == 1:
        groups = {"": [each for mine in groups.values() for each in mine]}
    panels = []
    for name, mine in groups.items():
        marks, ends = [], []
        hues = [colour(index) if len(mine) <= MANY else along(share) for index, share in enumerate(
            shares([float(index + 1) for index in range(len(mine))]))]
        for each, hue in zip(mine, hues, strict=True):
            rows = rates.filter(run_id=each["largest"]["run_id"]).sort("step")
            x, y = rows["step"].to_numpy().astype(float), 100 * rows["value"].to_numpy().astype(float)
            marks.append(Line(x=x, y=y, colour=hue, name=each["name"]))
            ends.append(End(x=float(x[-1]), y=float(y[-1]), text=each["name"], colour=hue))
        panels.append(Panel(marks=tuple(marks), x=Axis(label=say("iteration of Phase 1")),
                            y=Axis(label=say("tokens converged (%)")), title=name, ends=tuple(ends)))
    return Plot(panels=tuple(panels), width=3.2 if len(panels) > 1 else 4.6)
