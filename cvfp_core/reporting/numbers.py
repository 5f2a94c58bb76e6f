"""Numbers, ranges and intervals as text, in the terminal and in templates; text that stays inert in Markdown."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

NOTHING = "–"
LEAST_P = 1e-12
"""Below this a p value is told from 0 by the rounding of its statistic alone."""
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_MARKDOWN = "\\`*[]|~$"
_EDGE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_BREAKS = re.compile(r"[\r\n\v\f\x85\u2028\u2029\x00-\x1f]+")


def number(value: float | None, digits: int = 1) -> str:
    """The value with so many decimals and digits in groups of three."""
    return NOTHING if value is None else f"{value:,.{digits}f}"


def signed(value: float | None, digits: int = 1) -> str:
    """The same with its sign, whichever it is."""
    return NOTHING if value is None else f"{value:+,.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction as a percentage: 0.813 is 81.3%."""
    return NOTHING if value is None else f"{100 * value:.{digits}f}%"


def points(value: float | None, digits: int = 1) -> str:
    """A difference of fractions in percentage points, with its sign."""
    return NOTHING if value is None else f"{round(100 * value, digits) + 0.0:+.{digits}f}"


def tokens(value: float | None) -> str:
    """A count, in groups of three."""
    return NOTHING if value is None else f"{value:,.0f}"


def short(value: float | None) -> str:
    """A large count in three digits: 473K, 1.2M."""
    if value is None:
        return NOTHING
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if abs(value) >= size:
            scaled = value / size
            return (f"{scaled:.0f}" if scaled >= 10 else f"{scaled:.1f}".removesuffix(".0")) + letter
    return f"{value:g}"


def p(value: float | None) -> str:
    """A p value, as one writes it in a table: `0.0031`, `< 1e-12`."""
    if value is None:
        return NOTHING
    if value < LEAST_P:
        return f"< {LEAST_P:g}"
    return f"{value:.2g}" if value < 0.01 else f"{value:.2f}"


def p_is(value: float | None) -> str:
    """A p value, as one writes it in a sentence: `p = 0.0031`, `p < 1e-12`."""
    return f"p {p(value)}" if value is not None and value < LEAST_P else f"p = {p(value)}"


def significant(value: float | None, digits: int = 3) -> str:
    """The value in so many significant digits: `0.0213`, `5,440`, `1.37e13`; a whole one from 100 in all its digits."""
    if value is None:
        return NOTHING
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    if 100 <= abs(value) < 1e9 and value == int(value):
        return f"{value:,.0f}"
    mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
    if not -5 < int(power) < 6:
        return f"{mantissa}e{int(power)}"
    return f"{float(f'{mantissa}e{power}'):,.{max(digits - 1 - int(power), 0)}f}"


def resolved(value: float | None, low: float | None, high: float | None) -> tuple[str, str, str]:
    """An estimate and the ends of its interval in as many significant digits as tell it from the nearer end, 3 to 6.

    `5,440`, `4,350`, `6,820`; `185.43`, `185.41`, `185.45`. An end that is not there is empty, one that is more than a
    thousand times larger or smaller than the value has two digits.
    """
    sides = [abs(value - end) for end in (low, high) if value and end is not None]
    sides = [side for side in sides if side > 1e-9 * abs(value or 0)]
    apart = math.floor(math.log10(abs(value))) - math.floor(math.log10(min(sides))) + 1 if value and sides else 3
    digits = min(max(apart, 3), 6)
    left, right = ("" if end is None else significant(
        end, digits if not value or not end or 1e-3 < abs(end / value) < 1e3 else 2) for end in (low, high))
    return significant(value, digits), left, right


def estimate(estimate: Mapping[str, Any]) -> str:
    """The value of an estimate in the digits that its interval tells apart, three at least."""
    return resolved(estimate["value"], estimate["low"], estimate["high"])[0]


def ends(estimate: Mapping[str, Any]) -> str:
    """The 95 % interval of an estimate in those digits; a side that is unbounded is empty."""
    _, low, high = resolved(estimate["value"], estimate["low"], estimate["high"])
    return f"[{low}, {high}]" if low or high else NOTHING


def span(values: Mapping[str, float] | None, how: str = "number", digits: int = 0) -> str:
    """A range: `77.5–77.6%`, `198–684`, `40`."""
    if values is None:
        return NOTHING
    write = _SPANS.get(how)
    if write is None:
        raise ValueError(f"span writes {', '.join(_SPANS)}, not '{how}'")
    low, high = (write(values[end], digits) for end in ("low", "high"))
    if low == high:
        return high
    return f"{low.removesuffix('%')}–{high}"


_SPANS: dict[str, Callable[[float, int], str]] = {
    "number": number, "percent": percent, "short": lambda value, _: short(value),
    "plain": lambda value, _: f"{value:g}",
}


def interval(estimate: Mapping[str, Any], digits: int = 3) -> str:
    """The 95 % interval of an estimate; a side that is unbounded is empty."""
    low, high = estimate["low"], estimate["high"]
    if low is None and high is None:
        return NOTHING
    return f"[{'' if low is None else f'{low:.{digits}f}'}, {'' if high is None else f'{high:.{digits}f}'}]"


def cell(value: object) -> str:
    """Text that stays inert in a Markdown table cell, heading or sentence: no markup, no link, no cell border."""
    text = NOTHING if value is None else _BREAKS.sub(" ", str(value))
    for character, inert in _ENTITIES.items():
        text = text.replace(character, inert)
    for character in _MARKDOWN:
        text = text.replace(character, "\\" + character)
    return _EDGE.sub(r"\\_", text)


def code(value: object) -> str:
    """Text as a code span that it cannot end, with cell borders made inert."""
    text = NOTHING if value is None else _BREAKS.sub(" ", str(value))
    ticks = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    edge = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{edge}{text.replace('|', chr(92) + '|')}{edge}{ticks}"


def any_(value: object, digits: int = 3) -> str:
    """Any plain value as a table cell: numbers shortened, texts inert, lists joined."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return significant(value, max(digits, 4) if abs(value) >= 100 else digits)
    if isinstance(value, list):
        return ", ".join(any_(each, digits) for each in value)
    return cell(value)


def tidy(text: str) -> str:
    """Markdown with at most one empty line in a row, and none at its ends."""
    text = re.sub(r"([。：；]) +", r"\1", text)
    return re.sub(r"\n(?:[ \t]*\n){2,}", "\n\n", text).strip("\n") + "\n"


def hours(value: float | None) -> str:
    """Seconds as a length of time: `45 s`, `12 min`, `3.4 h`."""
    if value is None:
        return NOTHING
    return f"{value:.0f} s" if value < 120 else f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


FILTERS: dict[str, Callable[..., str]] = {
    "number": number, "signed": signed, "percent": percent, "points": points, "tokens": tokens, "short": short,
    "significant": significant, "p": p, "p_is": p_is, "span": span, "estimate": estimate, "ends": ends,
    "interval": interval, "cell": cell, "code": code, "any": any_, "hours": hours, "tidy": tidy,
}
