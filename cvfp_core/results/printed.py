"""Tables and lines of rich, printed in a terminal, and the same ones as text, Markdown, HTML and LaTeX."""

from __future__ import annotations

import io
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from html import escape
from typing import TypeVar, overload

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text

from cvfp_core.errors import some, visible
from cvfp_core.reporting import latex
from cvfp_core.reporting.numbers import cell

Block = Table | Text
T = TypeVar("T")
WIDE = 10_000
"""Columns that no table needs."""
NAMED = 6
"""Columns left out that are named."""
ROWS = 200
"""Rows of series that are printed, and lines about them; of more, the first."""
GAP = 2
"""Blanks between the columns of a table."""


def table(headings: Sequence[tuple[str, str]], *, gap: int = GAP, title: Text | None = None,
          spare: Sequence[str] = (), quiet: bool = False) -> Lineless:
    """A table without lines; headings are (text, `l` or `r`). gap: blanks between columns.

    Where a terminal is too narrow, columns go and digits stay: those of the headings `spare` first, in that order,
    then the others from the right. quiet: the table does not say which are gone; see `Lineless.gone`.
    """
    made = Lineless(box=None, pad_edge=False, padding=(0, gap, 0, 0), title=title, title_justify="left")
    made.spare, made.quiet = tuple(spare), quiet
    for index, (text, side) in enumerate(headings):
        made.add_column(Text(text), justify="right" if side == "r" else "left", header_style="bold",
                        overflow="fold", no_wrap=index == 0)
    return made


class Lineless(Table):
    """A table of `table`; where it fits, its lines are put together here.

    rich looks for places to break in every cell, which takes a millisecond a line; what is printed is the same.
    """

    spare: tuple[str, ...]
    quiet: bool

    def gone(self, room: int) -> list[str]:
        """Headings of the columns that there is no room for."""
        kept = self._fitted(room)[0]
        return [str(column.header) for index, column in enumerate(self.columns) if index not in kept]

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        _, widths = self._texts()
        room = sum(widths) + self.padding[1] * (len(widths) - 1)
        fits = all(widths) and room <= options.max_width
        return Measurement(room, room) if fits else super().__rich_measure__(console, options)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns, widths = self._texts()
        gap = self.padding[1]
        room = sum(widths) + gap * (len(widths) - 1)
        if not all(widths) or room > options.max_width:
            yield from self._narrow(console, options)
            return
        if self.title:
            yield from console.render(self.title, options.update(width=room, justify=self.title_justify))
        for row in zip(*columns, strict=True):
            line = ""
            for text, width, column in zip(row, widths, self.columns, strict=True):
                right = column.justify == "right"
                shown = text[: len(str(text).rstrip())] if right else text
                blank = " " * (width - cell_len(str(shown)))
                line += blank if right else ""
                if isinstance(shown, Text):
                    yield Segment(line)
                    yield from Text.assemble(shown).render(console)
                    line = ""
                else:
                    line += shown
                line += " " * gap if right else blank + " " * gap
            yield Segment(f"{line[: len(line) - gap]}\n")

    def _narrow(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The table as rich lays it out, of the columns and with the widths that fit; then what is gone."""
        kept, widths, gap = fitted = self._fitted(options.max_width)
        if fitted == self._fitted(WIDE):
            yield from super().__rich_console__(console, options)
            return
        made = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0))
        made.columns = [replace(self.columns[index], width=width, _index=place)
                        for place, (index, width) in enumerate(zip(kept, widths, strict=True))]
        made.rows = self.rows
        if self.title:
            yield from console.render(self.title, options)
        yield from console.render(made, options)
        if len(kept) < len(self.columns) and not self.quiet:
            yield from console.render(no_room(self.gone(options.max_width)), options)

    def _fitted(self, room: int) -> tuple[list[int], list[int], int]:
        """The columns that fit, by number, their widths, and the blanks between them."""
        every = [[str(text) for text in column] for column in self._texts()[0]]
        most = [max(_lengths(texts, _LINE)) for texts in every]
        least = [max(_lengths(texts[:1], _WORD) + _lengths(texts[1:], _LINE if column.justify == "right" else _WORD))
                 for texts, column in zip(every, self.columns, strict=True)]
        kept = list(range(len(most)))
        if sum(most) + self.padding[1] * (len(kept) - 1) <= room:
            return kept, most, self.padding[1]
        order = [index for name in self.spare for index in kept if str(self.columns[index].header) == name]
        order += [index for index in reversed(kept[1:]) if index not in order]
        while len(kept) > 1 and sum(least[index] + 1 for index in kept) - 1 > room:
            kept.remove(order.pop(0))
        widths = [most[index] for index in kept]
        while sum(widths) + len(kept) - 1 > max(room, 2 * len(kept)):
            widest = max(range(len(kept)), key=lambda place: widths[place] - least[kept[place]])
            widths[widest] -= 1
        return kept, widths, 1

    def _texts(self) -> tuple[list[list[Text | str]], list[int]]:
        """Headings and cells by column, and the width each needs; 0: it has to be laid out by rich."""
        columns = [_texts(column) for column in self.columns]
        widths = [0 if any("\n" in str(text) or "\t" in str(text) for text in texts) else
                  max(cell_len(str(text)) for text in texts) for texts in columns]
        return columns, widths


_LINE = r"[^\n]+"
_WORD = r"\[[^\]\n]*\]|\S+"
"""What stands in one line: an interval, a word."""


def _lengths(texts: Sequence[str], piece: str) -> list[int]:
    """Columns that each piece of the texts takes; 0 if there is none."""
    return [0, *(cell_len(each) for text in texts for each in re.findall(piece, text))]


def no_room(names: Iterable[str]) -> Text:
    """The line that says which columns are left out; of many the first ones."""
    return Text(f"no room for {some(list(names), NAMED)}", style="dim")


def _texts(column: Column) -> list[Text | str]:
    """The heading and the cells of a column; one without a style is a str."""
    made: list[Text | str] = [Text(str(column.header), style="bold")]
    for each in column.cells:
        if isinstance(each, Text):
            made.append(each if each.spans or each.style else each.plain)
        else:
            made.append(Text.from_markup(str(each)) if "[" in str(each) or ":" in str(each) else str(each))
    return made


class Screen(Console):
    """A console on which nothing in a text steers the terminal."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich's; segments that rich steers the terminal with are its own."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


def terminal(*, stderr: bool = False, width: int | None = None) -> Console:
    """The console that commands print on; text that is copied from it is not coloured by guesses."""
    return Screen(highlight=False, stderr=stderr, width=width)


def width(block: Block) -> int:
    """Columns the block needs to be printed without a break."""
    console = Console(width=WIDE, file=io.StringIO())
    return console.measure(block, options=console.options.update(width=WIDE)).maximum


class Printed(ABC):
    """A value that prints as tables: in a terminal, in a notebook, in a Markdown file."""

    __slots__ = ()

    @abstractmethod
    def blocks(self, room: int = WIDE) -> Iterator[Block]:
        """Tables and lines for a terminal of that width."""

    def text(self, room: int) -> str:
        """The tables as plain text of at most so many columns."""
        console = Screen(file=io.StringIO(), width=room, color_system=None, highlight=False, force_jupyter=False)
        with console.capture() as captured:
            console.print(*self.blocks(room), sep="\n")
        return "\n".join(line.rstrip() for line in captured.get().rstrip().splitlines())

    def __str__(self) -> str:
        return self.text(shutil.get_terminal_size((100, 40)).columns)

    __repr__ = __str__

    def to_markdown(self) -> str:
        """The tables as Markdown."""
        return "\n\n".join(text for block in self.blocks() if (text := markdown(block)))

    def to_latex(self) -> str:
        """The tables as LaTeX, to be included in an article that uses the packages of its first line."""
        return latex.part(self.to_markdown())

    def _repr_markdown_(self) -> str:
        return self.to_markdown()

    def _repr_latex_(self) -> str:
        return self.to_latex()

    def _repr_html_(self) -> str:
        """The tables as a notebook shows them, whose theme has the colours; nothing in them is mathematics."""
        body = "".join(map(as_html, self.blocks()))
        return f'<div class="tex2jax_ignore mathjax_ignore" style="font-variant-numeric:tabular-nums">{body}</div>'


class Listed(Printed, Sequence[T]):
    """A value made of `items` that prints as tables."""

    __slots__ = ()
    items: tuple[T, ...]

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)


def markdown(block: Block) -> str:
    """The block as Markdown: text stays inert, a table is a pipe table below its title."""
    if isinstance(block, Text):
        return cell(block.plain.strip()) if block.plain.strip() else ""
    rows = zip(*((column.header, *column.cells) for column in block.columns), strict=True)
    lines = [f"| {' | '.join(cell(str(each)) for each in row)} |" for row in rows]
    lines.insert(1, "|" + "|".join("--:" if column.justify == "right" else "---" for column in block.columns) + "|")
    title = f"**{cell(str(block.title))}**\n\n" if block.title else ""
    return title + "\n".join(lines)


_CSS = {"bold": "font-weight:600", "italic": "font-style:italic", "dim": "opacity:.7", "yellow": "color:#b07000",
        "red": "color:#d03030", "green": "color:#2e9e4f", "cyan": "color:#1a96a8"}
"""Styles of texts, readable on a light page and on a dark one."""
_NARROW = 40
"""Letters up to which a cell is not broken."""


def as_html(block: Block) -> str:
    """The block as HTML: a line, or a table below its title."""
    if isinstance(block, Text):
        return f"<div>{inline(block)}</div>" if block.plain.strip() else "<br>"
    columns = [[column.header, *column.cells] for column in block.columns]
    narrow = [max(len(str(each)) for each in cells) <= _NARROW for cells in columns]
    styles = [f"text-align:{column.justify}{';white-space:nowrap' if short else ''}"
              for column, short in zip(block.columns, narrow, strict=True)]
    head, *rows = ([f' style="{style}">{inline(each)}' for each, style in zip(row, styles, strict=True)]
                   for row in zip(*columns, strict=True))
    title = f'<caption style="text-align:left">{inline(block.title)}</caption>' if block.title else ""
    body = "".join(f"<tr>{''.join(f'<td{each}</td>' for each in row)}</tr>" for row in rows)
    return f"<table>{title}<thead><tr>{''.join(f'<th{each}</th>' for each in head)}</tr></thead>{body}</table>"


def inline(text: RenderableType) -> str:
    """The text as HTML with its styles."""
    made = text if isinstance(text, Text) else Text(str(text))
    parts = made.divide(sorted({end for span in made.spans for end in (span.start, span.end)}))
    return "".join(_tagged(part) for part in parts if part.plain)


def _tagged(text: Text) -> str:
    words = " ".join(str(each) for each in (text.style, *(span.style for span in text.spans))).split()
    style = ";".join(_CSS[word] for word in words if word in _CSS)
    shown = escape(visible(text.plain))
    return f'<span style="{style}">{shown}</span>' if style else shown


def beyond(count: int, what: str = "series") -> Iterator[Text]:
    """The line that says how many of so many are not printed, and how to have them; none where all are."""
    if count > ROWS:
        yield Text(f"and {count - ROWS:,} more {what}; --where keeps some, --json (in Python to_frame()) has all",
                   style="dim")


def about(said: Iterable[tuple[str, str, str]], count: int, what: str = "series") -> Iterator[Text]:
    """A line for each text of (text, style, series), with the series it is about unless that is all of the `count`.

    Of more than `ROWS`, those about most series.
    """
    lines: dict[tuple[str, str], list[str]] = {}
    for text, style, series in said:
        if text:
            lines.setdefault((text, style), []).append(series)
    kept = sorted(lines, key=lambda line: -len(lines[line]))[:ROWS] if len(lines) > ROWS else lines
    for text, style in kept:
        named = lines[text, style]
        whose = f"{', '.join(named)}: " if len(named) <= 3 else f"{len(named)} {what}: "
        yield Text(f"{'' if len(named) == count and count > 1 else whose}{text}", style=style)
    if len(lines) > ROWS:
        yield Text(f"and {len(lines) - ROWS:,} more such lines, each about fewer {what}", style="dim")
