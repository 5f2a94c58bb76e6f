"""Checks what a user set against the options a plugin's item declares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite

from cvfp_core.errors import UsageError, shown, suggestion
from cvfp_core.registry.kinds import Option
from cvfp_core.schema.settings import Scalar


def resolve(owner: str, options: Sequence[Option], given: Mapping[str, Scalar | None]) -> dict[str, Scalar | None]:
    """Every option's value: the given one, or the default.

    owner: how the options are written, `corpus` or `model`. Raises UsageError for an unknown option (with the nearest
    name), a value of another type than the default's, outside the choices, or below the minimum.
    """
    known = {option.name: option for option in options}
    for name, value in given.items():
        if name not in known:
            raise unknown_key(owner, name, known)
        if value is not None:
            _check(f"{owner}.{name}", known[name], value)
    return {option.name: given.get(option.name, option.default) for option in options}


def unknown_key(owner: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for an option that is not there: the nearest name, all there are."""
    names = sorted(known)
    return UsageError(f"unknown key '{owner}.{name}'{suggestion(name, names)}; known: {', '.join(names) or 'none'}")


_KINDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def _check(key: str, option: Option, value: Scalar) -> None:
    if option.choices and value not in option.choices:
        raise UsageError(f"{key} must be one of {', '.join(map(str, option.choices))}, not {shown(value)}")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if option.default is not None and not option.choices:
        kind = type(option.default)
        if not (number if kind is float else isinstance(value, kind) and isinstance(value, bool) == (kind is bool)):
            raise UsageError(f"{key} must be {_KINDS[kind]}, not {shown(value)}")
    if isinstance(value, float) and not isfinite(value):
        raise UsageError(f"{key} must be finite, not {shown(value)}")
    if option.minimum is not None and not (number and value >= option.minimum):  # type: ignore[operator]
        raise UsageError(f"{key} must be at least {option.minimum:g}, not {shown(value)}")
