"""What Python's verbs are given, checked by its declared type before any work; their errors end at the call."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import polars as pl

from cvfp_core.errors import CvfpError, UsageError, one_line, suggestion
from cvfp_core.registry.registry import trace
from cvfp_core.results.printed import Printed

P = ParamSpec("P")
R = TypeVar("R")
Check = Callable[[Any], bool]
Kind = tuple[str, Check]
"""What an argument must be, in words, and whether a value is that."""


_SHORT = (str, bytes, bool, int, float, type(None))


def verb(function: Callable[P, R]) -> Callable[P, R]:
    """The function as users call it in Python.

    Arguments are checked by their declared types; numbers and arrays of other libraries become Python's own. An error
    of the user's ends in one line at the call, without the frames of what found it; CVFP_TRACEBACK=1 prints these.
    """
    signature = inspect.signature(function)
    kinds = {name: _TYPES[str(each.annotation).removesuffix(" | None")] for name, each in signature.parameters.items()
             if name != "self"}

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            bound = _bound(function.__qualname__, signature, kinds, args, kwargs)
            return function(*bound.args, **bound.kwargs)
        except CvfpError as error:
            trace(error)
            raise error.with_traceback(None) from None

    return checked


def _bound(name: str, signature: inspect.Signature, kinds: Mapping[str, Kind], args: Any, kwargs: Any
           ) -> inspect.BoundArguments:
    """The arguments by name, plain. Raises UsageError for one that is unknown, missing or not as declared."""
    for key in kwargs:
        if key not in kinds:
            raise UsageError(f"{name}() takes no '{key}'{suggestion(key, kinds)}; it takes: {', '.join(kinds)}")
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:  # one is missing, or there is one too many
        raise UsageError(f"{name}(): {error}; it takes: {', '.join(kinds)}") from None
    for key, (what, right) in kinds.items():
        parameter = signature.parameters[key]
        if key not in bound.arguments or (bound.arguments[key] is None and parameter.default is None):
            continue
        value: Any = bound.arguments[key]
        several = parameter.kind is parameter.VAR_POSITIONAL
        plain = tuple(map(_plain, value)) if several else _plain(value)
        for each, given in zip(plain, value, strict=True) if several else [(plain, value)]:
            if not right(each):
                such = f", such as {key}={_EXAMPLES[key]}" if key in _EXAMPLES else ""
                raise UsageError(f"{name}(): {key} must be {what}{such}; found {_found(given)}")
        bound.arguments[key] = plain
    return bound


def _plain(value: Any) -> Any:
    """Numbers, arrays and series of numpy, pandas and polars as Python's own, wherever they stand."""
    if isinstance(value, pl.LazyFrame):
        return value.collect()
    for own in ("tolist", "to_list"):
        if hasattr(value, own):
            return getattr(value, own)()
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | Iterator):
        return [_plain(each) for each in value]
    return value


def _found(value: Any) -> str:
    """The value in a few words: its type, and itself where that is short."""
    kind = type(value).__name__
    if value is None:
        return "None"
    if isinstance(value, list | tuple) and not all(isinstance(each, _SHORT) for each in value):
        return f"{kind} of {', '.join(dict.fromkeys(type(each).__name__ for each in value))}"
    return one_line(f"{kind} {value!r}", 80) if isinstance(value, (*_SHORT, list, tuple)) else kind


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _path(value: Any) -> bool:
    return isinstance(value, str | Path) and str(value) != ""


def _number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _list(check: Check) -> Check:
    return lambda value: isinstance(value, Sequence) and not isinstance(value, str | bytes) and all(map(check, value))


def _one_or(check: Check) -> Check:
    return lambda value: check(value) or _list(check)(value)


def _dict(check: Check) -> Check:
    return lambda value: isinstance(value, Mapping) and all(map(_text, value)) and all(map(check, value.values()))


def _either(*checks: Check) -> Check:
    return lambda value: any(check(value) for check in checks)


def _has(*names: str) -> Check:
    return lambda value: any(hasattr(type(value), name) for name in names)


_RUNS = _either(_path, _has("columns", "__arrow_c_stream__"))
_LAW = _either(_text, _has("parameters", "param_names"))
_PLACE = _either(_number, _text)
_TYPES: Mapping[str, Kind] = {
    "Readable": ("a path, a frame of polars or pandas, what read() gave, or a list of paths and frames",
                 _either(_one_or(_RUNS), _has("records"))),
    "AnyLaw": ("the name of a law, a Law or a model of lmfit", _LAW),
    "AnyLaw | Sequence[AnyLaw]": ("the name of a law, a Law, a model of lmfit, or a list of these", _one_or(_LAW)),
    "At": ("training tokens, or a dict of values by input", _either(_one_or(_PLACE), _dict(_one_or(_PLACE)))),
    "Mapping[str, str]": ("a dict of str", _dict(_text)),
    "Mapping[str, float]": ("a dict of numbers", _dict(_number)),
    "Mapping[str, Any]": ("a dict", _dict(lambda _: True)),
    "Mapping[str, Scalar | None]": ("a dict of numbers, str, True, False or None",
                                    _dict(_either(_number, _text, _flag, lambda value: value is None))),
    "Mapping[str, float | str] | str": ("a dict of sizes, or a str", _either(_text, _dict(_PLACE))),
    "Cells": ("a dict of least and largest sizes, a str, or the path of a run file",
              _either(_path, _dict(lambda ends: _list(_number)(ends) and len(ends) == 2))),
    "str": ("one str", _text),
    "str | float": ("a str or a number", _PLACE),
    "str | Path": ("one path", _path),
    "str | Sequence[str]": ("a str or a list of str", _one_or(_text)),
    "Sequence[str]": ("a list of str", _list(_text)),
    "int": ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "float": ("a number", _number),
    "float | Sequence[float]": ("a number or a list of numbers", _one_or(_number)),
    "bool": ("True or False", _flag),
    "bool | Sequence[str]": ("True, False or a list of str", _either(_flag, _list(_text))),
    "Fits | Forecasts | Optima | Comparisons | Plans | FinalForecasts": (
        "what fit(), predict(), optimum(), compare(), plan() or forecast() gave",
        lambda value: isinstance(value, Printed) and hasattr(value, "plot")),
}
"""By the declared type of an argument."""
_EXAMPLES: Mapping[str, str] = {
    "where": '"params > 1e6"', "map": '{"val_loss": "loss"}', "by": '"variant"', "law": '"saturating"',
    "x": '"flops"', "y": '"val_loss"', "at": "1e9", "options": '{"E": 20}', "set": '["phase2.epochs=3"]',
    "overrides": '{"samples": [4, 8]}', "flops": "1e21", "budget": "1e21", "constraints": '"params<=3e9"',
    "target": '{"params": 7e9, "train_tokens": 1.4e11}', "cells": '"params=1e8..1e10,train_tokens=1e9..1e11"',
    "arms": '["adam", "muon"]', "after": '"30%"', "new": '{"val_er": 0.81}', "figures": '["png", "pdf"]',
    "stop_rules": '["stalled"]', "lang": '"ja"', "template": '"audit"', "take": '"best"', "jobs": "2",
}
"""By the name of an argument."""
