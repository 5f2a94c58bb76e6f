# ruff: noqa: ARG005
"""Exact first and second derivatives of a law by its parameters, from the function as it is written.

A dual is an array with its derivatives by some numbered parameters. numpy's functions and operators take it and apply
the chain rule (forward mode, second order). What is not in the table raises TypeError; who asks then takes differences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from cvfp_core.schema.fits import Array

_LN2, _LN10 = np.log(2.0), np.log(10.0)
Rule = Callable[[Any, Any], tuple[Any, Any]]

_UNARY: Mapping[str, Rule] = {
    # (argument, value of the function) -> first and second derivative
    "positive": lambda x, y: (1.0, 0.0),
    "negative": lambda x, y: (-1.0, 0.0),
    "absolute": lambda x, y: (np.sign(x), 0.0),
    "exp": lambda x, y: (y, y),
    "expm1": lambda x, y: (y + 1, y + 1),
    "exp2": lambda x, y: (_LN2 * y, _LN2**2 * y),
    "log": lambda x, y: (1 / x, -1 / x**2),
    "log2": lambda x, y: (1 / (_LN2 * x), -1 / (_LN2 * x**2)),
    "log10": lambda x, y: (1 / (_LN10 * x), -1 / (_LN10 * x**2)),
    "log1p": lambda x, y: (1 / (1 + x), -1 / (1 + x) ** 2),
    "sqrt": lambda x, y: (0.5 / y, -0.25 / (x * y)),
    "square": lambda x, y: (2 * x, 2.0),
    "reciprocal": lambda x, y: (-(y**2), 2 * y**3),
    "tanh": lambda x, y: (1 - y**2, -2 * y * (1 - y**2)),
    "sin": lambda x, y: (np.cos(x), -y),
    "cos": lambda x, y: (-np.sin(x), -y),
    "arctan": lambda x, y: (1 / (1 + x**2), -2 * x / (1 + x**2) ** 2),
    "expit": lambda x, y: (y * (1 - y), y * (1 - y) * (1 - 2 * y)),
}
_PLAIN = {"less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "isfinite", "isnan", "sign"}


class Dual(NDArrayOperatorsMixin):
    """`value` with `first` derivatives by parameter and `second` ones by pairs (i <= j); what is not there is 0."""

    __slots__ = ("first", "second", "value")

    def __init__(self, value: Any, first: Mapping[int, Any], second: Mapping[tuple[int, int], Any]) -> None:
        self.value, self.first, self.second = value, first, second

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        name = ufunc.__name__
        if method != "__call__" or options:
            raise TypeError(f"no derivative of {name} with {method}")
        if name in _PLAIN:
            return ufunc(*map(_value, inputs))
        if name in _UNARY:
            value = ufunc(self.value)
            return _chain(value, self, *_UNARY[name](self.value, value))
        if name not in _BINARY:
            raise TypeError(f"no derivative of {name}")
        return _BINARY[name](*inputs)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        if function is not np.where or options or len(args) != 3:
            raise TypeError(f"no derivative of {function.__name__}")
        return _pick(*args)


def seeds(columns: Mapping[str, Array]) -> dict[str, Any]:
    """The parameters as duals, numbered in their order; each is its own first derivative."""
    return {name: Dual(values, {number: 1.0}, {}) for number, (name, values) in enumerate(columns.items())}


def _value(given: Any) -> Any:
    return given.value if isinstance(given, Dual) else given


def _chain(value: Array, inner: Dual, slope: Any, bend: Any) -> Dual:
    """A function of one dual, by its derivatives there."""
    first = {i: slope * d for i, d in inner.first.items()}
    second = {pair: slope * d for pair, d in inner.second.items()}
    if not (np.isscalar(bend) and bend == 0):
        numbers = sorted(inner.first)
        for i in numbers:
            for j in numbers[numbers.index(i):]:
                _add(second, (i, j), bend * inner.first[i] * inner.first[j])
    return Dual(value, first, second)


def _add(into: dict[Any, Any], key: Any, value: Any) -> None:
    into[key] = into[key] + value if key in into else value


def _sum(a: Any, b: Any) -> Any:
    one, other = (x if isinstance(x, Dual) else Dual(x, {}, {}) for x in (a, b))
    first, second = dict(one.first), dict(one.second)
    for i, d in other.first.items():
        _add(first, i, d)
    for pair, d in other.second.items():
        _add(second, pair, d)
    return Dual(one.value + other.value, first, second)


def _product(a: Any, b: Any) -> Any:
    if not isinstance(b, Dual):
        a, b = b, a
    if not isinstance(a, Dual):
        return Dual(a * b.value, {i: a * d for i, d in b.first.items()}, {p: a * d for p, d in b.second.items()})
    first = {i: b.value * d for i, d in a.first.items()}
    for i, d in b.first.items():
        _add(first, i, a.value * d)
    second = {pair: b.value * d for pair, d in a.second.items()}
    for pair, d in b.second.items():
        _add(second, pair, a.value * d)
    for i, d in a.first.items():
        for j, e in b.first.items():
            _add(second, (min(i, j), max(i, j)), d * e if i != j else 2 * d * e)
    return Dual(a.value * b.value, first, second)


def _quotient(a: Any, b: Any) -> Any:
    if not isinstance(b, Dual):
        return _product(a, 1 / b)
    inverse = 1 / b.value
    return _product(a, _chain(inverse, b, -(inverse**2), 2 * inverse**3))


def _power(base: Any, exponent: Any) -> Any:
    if not isinstance(exponent, Dual):
        x = base.value
        value = x**exponent
        return _chain(value, base, exponent * x ** (exponent - 1), exponent * (exponent - 1) * x ** (exponent - 2))
    if not isinstance(base, Dual):
        value, log = base**exponent.value, np.log(base)
        slope = value * log
        return _chain(value, exponent, slope, slope * log)
    return np.exp(exponent * np.log(base))


def _pick(condition: Any, a: Any, b: Any) -> Any:
    one, other = (x if isinstance(x, Dual) else Dual(x, {}, {}) for x in (a, b))
    mask = _value(condition)
    return Dual(
        np.where(mask, one.value, other.value),
        {i: np.where(mask, one.first.get(i, 0.0), other.first.get(i, 0.0)) for i in {**one.first, **other.first}},
        {p: np.where(mask, one.second.get(p, 0.0), other.second.get(p, 0.0)) for p in {**one.second, **other.second}},
    )


_BINARY: Mapping[str, Callable[[Any, Any], Any]] = {
    "add": _sum,
    "subtract": lambda a, b: _sum(a, _product(-1.0, b) if isinstance(b, Dual) else -b),
    "multiply": _product,
    "divide": _quotient,
    "power": _power,
    "float_power": _power,
    "maximum": lambda a, b: _pick(_value(a) >= _value(b), a, b),
    "minimum": lambda a, b: _pick(_value(a) <= _value(b), a, b),
    "logaddexp": lambda a, b: np.log(np.exp(a) + np.exp(b)),
}
