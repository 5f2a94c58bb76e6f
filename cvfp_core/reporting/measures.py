"""Filters of report templates for values of any quantity."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cvfp_core.reporting.numbers import NOTHING, any_, percent, short, tokens


def measure(value: float | None, axis: Mapping[str, Any]) -> str:
    """A value of a quantity such as `x` or `y`: a fraction in percent, a size in full or as 7e9."""
    if value is None:
        return NOTHING
    if axis["percent"]:
        return percent(value)
    if axis["better"] is None and value == int(value) and abs(value) < 1e9:
        return tokens(value)
    if axis["kind"] == "size":
        return size(value)
    return any_(float(value), 3 if abs(value) >= 10 else 4)


def size(value: float | None) -> str:
    """A size in three digits: 473K, 1.2M, 1.4e13; below ten thousand in full."""
    if value is not None and abs(value) < 1e4:
        return f"{value:,.6g}"
    if value is None or abs(value) < 1e12:
        return short(value)
    return f"{value:.3g}".replace("e+", "e")


FILTERS: dict[str, Callable[..., str]] = {"measure": measure, "size": size}
