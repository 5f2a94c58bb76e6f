"""Numbers and intervals as the terminal shows them."""

from __future__ import annotations

from cvfp_core.fitting import Estimate


def short(value: float | None) -> str:
    """The value in three or four significant digits."""
    if value is None:
        return "-"
    size = abs(value)
    if size < 1000 and size == int(size):
        return f"{value:.0f}"
    if size >= 1e6 or size < 1e-4:
        digits, power = f"{value:.2e}".split("e")
        return f"{digits}e{int(power)}"
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 0.1:
        return f"{value:.1f}" if size >= 100 else f"{value:.2f}" if size >= 10 else f"{value:.3f}"
    return f"{value:.3g}"


def interval(low: float | None, high: float | None, *, method: str | None) -> str:
    """`[low, high]`; an end that does not exist is infinite; nothing if there is no interval."""
    if method is None or method == "given":
        return "given" if method else ""
    return f"[{'-inf' if low is None else short(low)}, {'inf' if high is None else short(high)}]"


def of(estimate: Estimate | None) -> tuple[str, str]:
    """The estimate's value and interval."""
    if estimate is None or estimate.value is None:
        return "-", ""
    if estimate.unit == "fraction":
        return f"{estimate.value:.1%}", ""
    return short(estimate.value), interval(estimate.low, estimate.high, method=estimate.method)
