"""What a console log has said so far, and the runs that follow from it."""

from __future__ import annotations

import re
from dataclasses import replace
from math import nan
from typing import Any

from cvfp_core.schema.found import NotUnderstood, PublishedAlpha
from cvfp_newllm.logged import LoggedRun, Setting
from cvfp_newllm.printed import number

_SECONDS = re.compile(r"\[([\d.]+)s\]")
_PAIR = re.compile(r"([A-Za-z_]+)\s*=\s*([-+]?[\w.]+)")
_CHECKED = 10_000
"""Results remembered to check the tables at a log's end against."""


def plain(words: list[str], line: str) -> str:
    """The line without indentation and without a leading sign: an arrow, a tick, whatever an encoding made of it."""
    text = line.strip()
    return text if words[0][0].isascii() else text[len(words[0]):].lstrip() or text


def _unusual_epoch(words: list[str]) -> list[Any]:
    """[epoch, train_ppl, val_ppl, acc, seconds] of an epoch's line in another order, or with more or less in it."""
    values: dict[str, float] = {}
    seconds = nan
    for word in words[2:]:
        name, equals, value = word.partition("=")
        if equals:
            values[name] = number(value)
        elif word[0] == "[" and word[-2:] == "s]":
            seconds = float(word[1:-2])
    step = int(words[1].split("/")[0].rstrip(":"))
    return [step, values["train_ppl"], values["val_ppl"], values.get("acc", nan), seconds]


class Grammar:
    """Everything a log has said so far. Lines of curves are read here, as they are most of a log; others in `rules`."""

    def __init__(self) -> None:
        self.at = Setting()
        self.run: LoggedRun | None = None
        self.announced: int | None = None
        self.output: str | None = None
        self.config: str | None = None
        self.pending: list[LoggedRun | PublishedAlpha | NotUnderstood] = []
        self.results: dict[tuple[str | None, int | None], float | None] = {}

    @property
    def current(self) -> LoggedRun:
        """The run being read. Raises ValueError if none has begun."""
        if self.run is None:
            raise ValueError("no run has begun")
        return self.run

    def expected(self, words: list[str]) -> str:
        """What a line that begins like this should have said."""
        return {
            "Iter": "'Iter K: conv=P% loss=X [Ts]'", "Epoch": "'Epoch K: train_ppl=X val_ppl=X acc=P% [Ts]'",
        }.get(words[0], "a line of a new-llm log")

    def iteration(self, words: list[str]) -> bool:
        """Takes `Iter 2: conv=0% loss=-0.2118 [3.3s]`; False if the line is not so."""
        run = self.run
        if run is None or run.phase2_started:
            return False
        if len(words) != 5 or words[2][:5] != "conv=" or words[3][:5] != "loss=":
            return self._unusual_iteration(words)
        _, index, conv, loss_, time = words
        try:
            step, rate, loss, seconds = int(index[:-1]), float(conv[5:-1]), float(loss_[5:]), float(time[1:-2])
        except ValueError:
            return False
        if not 0 < step < 10**9 or not 0.0 <= rate <= 100.0:
            return False
        run.iterated(step, rate / 100, loss, seconds)
        return True

    def _unusual_iteration(self, words: list[str]) -> bool:
        run, text = self.run, " ".join(words)
        match = re.match(r"Iter (\d{1,9})(?:/\d+)?: (.*)", text, re.ASCII)
        if match is None or run is None:
            return False
        step, rest = int(match[1]), match[2]
        if rest == "random init":
            run.last_iteration = step
            return True
        try:
            values = {name.lower(): float(value) for name, value in _PAIR.findall(rest.replace("%", ""))}
        except ValueError:
            return False
        if not values or not values.keys() <= {"conv", "loss", "er", "val_er", "cvfp", "div"} or step < 1:
            return False
        time = _SECONDS.search(rest)
        seconds = float(time[1]) if time and time[1].count(".") < 2 else nan
        run.iterated(step, values.get("conv", nan) / 100, values.get("loss"), seconds)
        if "val_er" in values:
            run.er_steps.append(step)
            run.er_values.append(values["val_er"] / 100)
        return True

    def epoch(self, words: list[str]) -> bool:
        """Takes `Epoch 1: train_ppl=75.0 val_ppl=591.7 acc=18.3% [1.9s] *`; False if the line is not so."""
        run = self.run
        if run is None or len(words) < 3:
            return False
        try:
            if len(words) in (6, 7) and words[2][:10] == "train_ppl=" and words[3][:8] == "val_ppl=" and (
                words[4][:4] == "acc=" and words[4][-1] == "%" and words[5][-2:] == "s]"
            ):
                step = int(words[1][:-1])
                train_ppl, val_ppl = float(words[2][10:]), float(words[3][8:])
                acc, seconds = round(float(words[4][4:-1]) / 100, 12), float(words[5][1:-2])
            else:
                step, train_ppl, val_ppl, acc, seconds = _unusual_epoch(words)
        except (ValueError, KeyError):
            return False
        if not 0 < step < 10**9 or train_ppl < 0 or val_ppl < 0 or not (acc != acc or 0.0 <= acc <= 1.0):
            return False
        run.phase2_started = True
        run.epochs.append(step)
        run.train_ppls.append(train_ppl)
        run.val_ppls.append(val_ppl)
        run.val_accs.append(acc)
        run.epoch_seconds.append(seconds)
        return True

    # runs begin and end

    def begin(self, line: int) -> LoggedRun:
        self.announced = None
        self.finish()
        self.run = LoggedRun(line=line, setting=self._here())
        return self.run

    def announce(self, line: int, num_samples: int | None = None) -> None:
        """A header of a run that has not begun: one that never does died before Phase 1."""
        if self.announced is None or num_samples != self.at.num_samples:
            self.finish()
            self.announced = line
        self.at.num_samples, self.at.train_tokens = num_samples, None

    def finish(self) -> None:
        """Hands over the run being read; it has ended or the log has."""
        if self.announced is not None:
            self.run, self.announced = LoggedRun(line=self.announced, setting=self._here()), None
        if self.run is None:
            return
        run, self.run = self.run, None
        if len(self.results) < _CHECKED:
            val_ppl = run.best[1] if run.best else run.result[0] if run.result else None
            self.results[run.variant, run.setting.num_samples] = val_ppl
        if run.best and run.result and run.best[1:] != run.result:
            self.pending.append(NotUnderstood(
                line=run.line, expected=f"the result of this run as at its best epoch, PPL {run.best[1]:g}",
                found=f"PPL {run.result[0]:g}",
            ))
        self.pending.append(run)

    def _here(self) -> Setting:
        return replace(self.at, printed=dict(self.at.printed))

    def fail(self, status: str, reason: str) -> None:
        if self.announced is not None:
            self.begin(self.announced)
        if self.run is not None and not self.run.best and not self.run.result:  # else nothing was lost
            self.run.failure = (status, reason)
