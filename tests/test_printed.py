"""Tables print as rich prints them, and many of them in little time."""

import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cvfp_core.reporting.numbers import resolved
from cvfp_core.results.printed import table

CELLS = ["a", "", "12.5 ", " lead", "日本語", "[0.1, 0.2]", "[bold]b[/bold]", "e:1", ":smile:", "words that may break",
         Text(""), Text("red", style="red"), Text.assemble("x", ("b ", "bold"))]
TITLES = [None, Text("T"), Text.assemble(("a title longer than its table", "bold"), " yes")]


def look(block, width):
    """What a terminal shows: (character, its style unless it is a blank)."""
    console = Console(file=io.StringIO(), width=width, force_terminal=True, highlight=False, color_system="truecolor")
    console.print(block)
    shown = Text.from_ansi(console.file.getvalue())
    return [(each, each.isspace() or str(shown.get_style_at_offset(console, i))) for i, each in enumerate(shown.plain)]


@given(st.data(), st.integers(1, 4), st.sampled_from(TITLES), st.integers(1, 2), st.sampled_from([100, 120]))
def test_a_table_looks_as_rich_lays_it_out(data, columns, title, gap, width):
    headings = st.tuples(st.sampled_from(["h", "heading", ""]), st.sampled_from("lr"))
    made = table([data.draw(headings) for _ in range(columns)], gap=gap, title=title)
    for _ in range(data.draw(st.integers(0, 3))):
        made.add_row(*(data.draw(st.sampled_from(CELLS)) for _ in range(columns)))
    ours = look(made, width)
    made.__class__ = Table
    assert ours == look(made, width)


def text(block, width):
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(block)
    return console.file.getvalue()


@given(st.lists(st.tuples(st.text("abc ", min_size=1, max_size=12), st.sampled_from("lr"),
                          st.sampled_from(["1,234,567.8", "[-0.554, -0.393]", "some words", "12"])), min_size=2,
                max_size=7),
       st.integers(20, 60))
def test_where_a_table_has_no_room_columns_go_and_numbers_stay_whole(columns, width):
    headings = [(f"{heading.strip()}{index}", side) for index, (heading, side, _) in enumerate(columns)]
    made = table(headings, spare=[headings[1][0]])
    made.add_row(*(cell for _, _, cell in columns))
    shown = text(made, width)
    assert max(map(len, shown.splitlines())) <= width
    gone = made.gone(width)
    assert all(shown.count(cell) >= 1 for index, (_, _, cell) in enumerate(columns)
               if str(made.columns[index].header) not in gone and (cell[0] in "[1"))
    assert ("no room for" in shown) == bool(gone)
    assert str(made.columns[0].header) not in gone


def test_the_columns_named_as_spare_go_first():
    made = table([("name", "l"), ("one", "r"), ("two", "r"), ("three", "r")], spare=["one"])
    made.add_row("x" * 10, "1" * 10, "2" * 10, "3" * 10)
    assert made.gone(40) == ["one"] or made.gone(40) == []
    assert made.gone(35) == ["one"]
    assert made.gone(25) == ["one", "three"]
    assert text(made, 25).splitlines()[-1].strip() == "no room for one, three"


def test_a_table_that_fits_is_not_laid_out_by_rich(monkeypatch):
    made = table([("a", "l"), ("b", "r")])
    made.add_row("1", Text("2", style="red"))
    monkeypatch.setattr(Table, "__rich_console__", lambda *_: pytest.fail("slow"))
    assert look(made, 80)


@given(st.floats(0.1, 1e5), st.floats(-7, -0.1), st.floats(-7, 1))
@example(1.79993, -10.0, -4.5)
def test_an_interval_as_it_is_printed_holds_its_estimate(value, below, above):
    below, above = 10**below, 10**above
    ends = value * (1 - below), value * (1 + above)
    middle, low, high = (float(text.replace(",", "")) for text in resolved(value, *ends))
    assert low <= middle <= high
    assert abs(middle - value) <= 0.51 * max(min(value * below, value * above), 1e-5 * value)
