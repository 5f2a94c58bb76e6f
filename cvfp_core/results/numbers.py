"""Numbers, intervals and tables as the terminal shows them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

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


def plain_table(headings: Sequence[tuple[str, str]], *, gap: int = 2) -> Table:
    """A table without lines; headings are (text, `l` or `r`). gap: blanks between columns."""
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0))
    for index, (text, side) in enumerate(headings):
        table.add_column(Text(text), justify="right" if side == "r" else "left", header_style="bold",
                         overflow="fold", no_wrap=index == 0)
    return table


def beside(rows: Sequence[Sequence[tuple[str, str]]], console: Console, taken: int) -> bool:
    """Whether the terminal has room for (value, interval) cells side by side, next to `taken` columns of others."""
    widths = [max(len(v) for v, _ in column) + max(len(i) for _, i in column) + 3 for column in zip(*rows, strict=True)]
    return sum(widths) + taken <= console.width


def joined(rows: Sequence[Sequence[tuple[str, str]]], *, wide: bool) -> list[list[Text]]:
    """Cells of (value, interval): side by side if wide, else the interval below the value."""
    between = " " if wide else "\n"
    return [[Text.assemble(v, (f"{between}{i}" if i else "", "dim")) for v, i in row] for row in rows]
