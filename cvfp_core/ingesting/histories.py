"""What one run logged over steps: its curves, and the values its record takes."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cvfp_core.ingesting import tags
from cvfp_core.schema.found import Curve, FoundRun, NotUnderstood, Take

_FURTHEST = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The values at one point of a run."""

    step: int
    values: Mapping[str, Any]
    said: str
    """Which point it is: `last, step 200`."""


class History:
    """Values by name and step, in any order; of a value logged twice for a step the later counts."""

    def __init__(self) -> None:
        self._steps: dict[str, array[int]] = {}
        self._values: dict[str, array[float]] = {}

    def add(self, step: int, values: Mapping[str, Any]) -> None:
        """Takes the numbers of the values; what is no number is no curve."""
        for name, value in values.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                if name not in self._steps:
                    self._steps[name], self._values[name] = array("q"), array("d")
                self._steps[name].append(step)
                self._values[name].append(_float(value))

    def __bool__(self) -> bool:
        return bool(self._steps)

    @property
    def names(self) -> tuple[str, ...]:
        """What was logged, in order of first sight."""
        return tuple(self._steps)

    @property
    def last(self) -> int:
        """The last step of all."""
        return max(max(steps) for steps in self._steps.values())

    def points(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The steps of a name in order, and its values there."""
        steps, values = np.array(self._steps[name]), np.array(self._values[name])
        order = np.argsort(steps, kind="stable")
        steps, values = steps[order], values[order]
        last = np.append(steps[1:] != steps[:-1], True)
        return steps[last], values[last]

    def curves(self, phase: int = 2) -> tuple[Curve, ...]:
        """Every name as a curve."""
        return tuple(Curve(phase=phase, metric=name, steps=steps.tolist(), values=array("d", values))
                     for name in self.names for steps, values in [self.points(name)])

    def take(self, asked: Take) -> Taken | None:
        """The values the record is of; None if there is no such point.

        last: of every name its last value. best: those at the step at which the validation metric is best. Validation
        metrics are taken at the step itself, what else was logged there or last before it.
        """
        found: dict[str, tuple[Any, Any]] = {name: self.points(name) for name in self.names}
        if asked.how == "last":
            ends = {name: _number(numbers[-1]) for name, (_, numbers) in found.items()}
            return Taken(step=self.last, values=ends, said=f"last, step {self.last}")
        judged = tags.validation(self.names)
        if asked.how == "best":
            if not judged:
                return None
            steps, numbers = found[judged[0]]
            finite = np.isfinite(numbers)
            if not finite.any():
                return None
            signed = np.where(finite, numbers if tags.lower_is_better(judged[0]) else -numbers, np.inf)
            at = int(steps[np.argmin(signed)])
            said = f"best {judged[0]}, step {at}"
        else:
            at, said = int(asked.step or 0), f"step {asked.step}"
            if not any(at in steps for steps, _ in found.values()):
                return None
        values: dict[str, Any] = {}
        for name, (steps, numbers) in found.items():
            index = int(np.searchsorted(steps, at, side="right")) - 1
            if index >= 0 and (name not in judged or steps[index] == at):
                values[name] = _number(numbers[index])
        return Taken(step=at, values=values, said=said) if values else None


def run(history: History, asked: Take, columns: Mapping[str, Any], *, line: int = 1, step: str = "step",
        derive: Callable[[dict[str, Any]], dict[str, Any]] = tags.with_train_tokens) -> FoundRun | NotUnderstood:
    """The run of a history: its curves, its values at the point asked for, and the columns it has beside.

    step: what the column is called that says which step that is. derive: adds what follows from the columns.
    NotUnderstood where the history has no such point.
    """
    taken = history.take(asked) if history else None
    if taken is None:
        said = ", ".join(history.names[:8]) or "nothing"
        return NotUnderstood(line=line, expected=f"values for --take {asked}",
                             found=f"steps up to {history.last} of {said}" if history else said)
    figures, names = tags.columns({**columns, **taken.values})
    return FoundRun(line=line, taken=names, curves=history.curves(), columns=derive(
        {**taken.values, **figures, **columns, step: taken.step, "taken_at": taken.said}))


def whole(value: object) -> int | None:
    """The value as a step; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _FURTHEST:
        return None
    return int(value) if value == int(value) else None


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer of hundreds of digits
        return math.inf if value > 0 else -math.inf


def _number(value: float) -> float | int:
    """A whole number as an int, as most of them were logged."""
    return int(value) if np.isfinite(value) and value == int(value) and abs(value) < _FURTHEST else float(value)
