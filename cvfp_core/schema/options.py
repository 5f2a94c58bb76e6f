"""What one can set: an option with its default, meaning and the values it may have, and the check of what was given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from cvfp_core.errors import UsageError, shown, suggestion

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One setting of a run file, or of a plugin's item: its default, meaning, and the values allowed."""

    name: str
    default: Scalar | None
    help: str
    choices: tuple[Scalar, ...] = ()
    minimum: float | None = None
    above: float | None = None
    """The value must be larger than this."""
    maximum: float | None = None
    unit: str = ""
    source: str = ""
    """Where the default comes from."""

    @property
    def kind(self) -> str:
        """What a value is, in words: `a whole number`."""
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        return {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}.get(
            type(self.default), "a number" if self.limits else "a value")

    @property
    def limits(self) -> str:
        """What a number must be, in words: `above 0 and at most 1`; empty where it may be any."""
        if self.minimum is not None and self.maximum is not None:
            return f"from {self.minimum:g} to {self.maximum:g}"
        words = [f"{word} {limit:g}" for word, limit in (
            ("at least", self.minimum), ("above", self.above), ("at most", self.maximum)) if limit is not None]
        return " and ".join(words)

    def problem(self, value: Scalar) -> str:
        """What the value should be and is not, in words; empty where it is allowed."""
        if self.choices:
            return "" if value in self.choices else self.kind
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if self.default is not None:
            kind = type(self.default)
            if not (number if kind is float else
                    isinstance(value, kind) and isinstance(value, bool) == (kind is bool)):
                return self.kind
        if isinstance(value, float) and not isfinite(value):
            return "finite"
        within = number and not (
            (self.minimum is not None and value < self.minimum)  # type: ignore[operator]
            or (self.above is not None and value <= self.above)  # type: ignore[operator]
            or (self.maximum is not None and value > self.maximum))  # type: ignore[operator]
        return "" if within or not self.limits else self.limits


def resolve(owner: str, options: Sequence[Option], given: Mapping[str, Scalar | None]) -> dict[str, Scalar | None]:
    """Every option's value: the given one, or the default.

    owner: how the options are written, `corpus` or `model`. Raises UsageError for an unknown option (with the nearest
    name), a value of another type than the default's, outside the choices, or outside the limits.
    """
    known = {option.name: option for option in options}
    for name, value in given.items():
        if name not in known:
            raise unknown_key(owner, name, known)
        if value is not None and (rule := known[name].problem(value)):
            raise UsageError(f"{owner}.{name} must be {rule}, not {shown(value)}")
    return {option.name: given.get(option.name, option.default) for option in options}


def unknown_key(owner: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for an option that is not there: the nearest name, all there are. owner: a section, or an item's name.
    """
    names = sorted(known)
    asked = f"{owner} has no option '{name}'" if " " in owner else f"unknown key '{owner}.{name}'"
    return UsageError(f"{asked}{suggestion(name, names)}; known: {', '.join(names) or 'none'}")
