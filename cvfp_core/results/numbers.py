"""Numbers and intervals as the terminal shows them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich.text import Text

from cvfp_core.deciding.optimum import Optimum
from cvfp_core.fitting import Estimate, Prediction
from cvfp_core.reporting.numbers import resolved, significant
from cvfp_core.schema.fits import MARKS


def short(value: float | None) -> str:
    """The value in three or four significant digits."""
    if value is None:
        return "-"
    if abs(value) < 100 and value == int(value):
        return f"{value:.0f}"
    return significant(value, 4 if 1 <= abs(value) < 1e6 else 3)


def column(values: Sequence[object], texts: Sequence[str]) -> list[str]:
    """The cells of a column in one form: where the text of one has an exponent, all numbers from 1,000 on have one."""
    if not any(re.search(r"\de\d", text) for value, text in zip(values, texts, strict=True)
               if isinstance(value, int | float)):
        return list(texts)
    return [re.sub(r"e\+?0*", "e", f"{value:.2e}") if isinstance(value, int | float) and abs(value) >= 1000 else text
            for value, text in zip(values, texts, strict=True)]


def interval(low: float | None, high: float | None, *, method: str | None, value: float | None = None) -> str:
    """`[low, high]`; an end that does not exist is infinite; nothing if there is no interval."""
    if method is None or method == "given":
        return "given" if method else ""
    _, left, right = resolved(value, low, high)
    return f"[{left or '-inf'}, {right or 'inf'}]"


def told(each: Prediction | Optimum) -> str:
    """The value as `short` has it, in more digits where the nearest end of its intervals takes them."""
    ends = (end for end in (each.mean_low, each.mean_high, each.run_low, each.run_high) if end is not None)
    return max([short(each.value), *(resolved(each.value, end, None)[0] for end in ends)], key=len)


def of(estimate: Estimate | None) -> tuple[str, str]:
    """The estimate's value and interval, in the digits that the interval tells apart."""
    if estimate is None or estimate.value is None:
        return "-", ""
    if estimate.unit == "fraction":
        return f"{estimate.value:.1%}", ""
    ends = interval(estimate.low, estimate.high, method=estimate.method, value=estimate.value)
    return resolved(estimate.value, estimate.low, estimate.high)[0] if ends[:1] == "[" else short(estimate.value), ends


def meanings(marks: str) -> Iterator[Text]:
    """A line for each mark of runs that is borne: what it says of the law fitted to them."""
    for mark, meaning in MARKS.items():
        if mark in marks:
            yield Text(f"{mark} {meaning}", style="dim")


def duration(seconds: float) -> str:
    """Seconds, minutes or hours."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def elapsed(seconds: float) -> str:
    """What a run took: seconds or minutes, to a tenth."""
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
