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
    if size == 0:
        return "0"
    if size >= 1e6 or size < 1e-3:
        digits, power = f"{value:.2e}".split("e")
        return f"{digits}e{int(power)}"
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 100 else f"{value:.2f}" if size >= 10 else f"{value:.3f}"


def interval(low: float | None, high: float | None, *, method: str | None) -> str:
    """`[low, high]`; an end that does not exist is infinite; nothing if there is no interval."""
    if method is None or method == "given":
        return "given" if method else ""
    return f"[{'-inf' if low is None else short(low)}, {'inf' if high is None else short(high)}]"


def of(estimate: Estimate | None) -> tuple[str, str]:
    """The estimate's value and interval."""
    if estimate is None or estimate.value is None:
        return "-", ""
    return short(estimate.value), interval(estimate.low, estimate.high, method=estimate.method)


def plain_table(headings: Sequence[tuple[str, str]], title: Text | None = None) -> Table:
    """A table without lines; headings are (text, `l` or `r`)."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for text, side in headings:
        table.add_column(Text(text), justify="right" if side == "r" else "left", header_style="bold",
                         overflow="fold")
    return table


def joined(rows: Sequence[Sequence[tuple[str, str]]], console: Console, taken: int) -> list[list[Text]]:
    """Cells of (value, interval): side by side if the terminal is wide enough, else the interval below the value.

    taken: columns of the terminal that other columns need.
    """
    columns = list(zip(*rows, strict=True)) if rows else []
    beside = [max(len(v) for v, _ in column) + max(len(i) for _, i in column) + 3 for column in columns]
    if sum(beside) + taken <= console.width:
        wide = [max(len(i) for _, i in column) for column in columns]
        return [[Text.assemble(v, (f" {i:<{w}}", "dim")) for (v, i), w in zip(row, wide, strict=True)] for row in rows]
    return [[Text.assemble(v, (f"\n{i}", "dim")) for v, i in row] for row in rows]
