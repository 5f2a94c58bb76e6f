"""The language of --map and --where: what it computes is what Python's arithmetic gives, and nothing else is done."""

import math
import string

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cvfp_core.errors import UsageError
from cvfp_core.schema.expressions import UnknownColumn, filter, nearest, parse

FRAME = pl.DataFrame({
    "a": [1.0, 2.0, None], "b": [4, 5, 6], "held-out/avg_loss": [0.0, 1.0, 2.0], "Training FLOP": [6e18, 1.2e19, None],
    "Model Size": [1000, 2000, 3000], "lab": ["x", "y", None], "ok": [True, False, None], "lambda": [1, 2, 3],
    "eval.loss": [7.0, 8.0, 9.0], "c-d": [1, 1, 1], "c": [5, 5, 5], "d": [2, 2, 2], "200": [9, 9, 9],
})


def computed(text, frame=FRAME):
    return frame.with_columns(made=parse(text, frame.columns).polars)["made"].to_list()


@pytest.mark.parametrize(("text", "values"), [
    ("a", [1.0, 2.0, None]), ("b", [4, 5, 6]), ("held-out/avg_loss", [0.0, 1.0, 2.0]),
    ("exp(held-out/avg_loss)", [1.0, math.e, math.e**2]), ("Training FLOP / (6 * Model Size)", [1e15, 1e15, None]),
    ("`Training FLOP`/(6*`Model Size`)", [1e15, 1e15, None]), ("lambda * 2", [2.0, 4.0, 6.0]),
    ("eval.loss - 7", [0.0, 1.0, 2.0]), ("c - d", [3.0, 3.0, 3.0]), ("`c-d`", [1, 1, 1]), ("`200` + 200", [209.0] * 3),
    ("min(a, b, 1.5)", [1.0, 1.5, None]), ("max(a, b)", [4.0, 5.0, None]), ("percent(b)", [0.04, 0.05, 0.06]),
    ("log2(b) ** 2", [4.0, math.log2(5) ** 2, math.log2(6) ** 2]), ("-a + +b", [3.0, 3.0, None]),
    ("42", [42] * 3), ("'x'", ["x"] * 3), ("-1", [-1.0] * 3), ("a / 0", [math.inf, math.inf, None]),
    ("log(0 * b)", [-math.inf] * 3), ("exp(1000 * b)", [math.inf] * 3), ("a\n+ 1", [2.0, 3.0, None]),
])
def test_an_expression_gives_its_values(text, values):
    for found, value in zip(computed(text), values, strict=True):
        assert found == (pytest.approx(value) if isinstance(value, float) else value)
        assert (found is None) == (value is None)


def test_whole_numbers_do_not_overflow():
    big = pl.DataFrame({"n": [7 * 10**9], "d": [14 * 10**11]})
    assert computed("6 * n * d", big) == [pytest.approx(5.88e22)]
    assert computed("n ** 3", big) == [pytest.approx(3.43e29)]


NUMBERS = st.floats(0.1, 10.0).map(lambda value: repr(round(value, 3)))
TEXTS = st.recursive(
    st.one_of(NUMBERS, st.sampled_from(["a", "b", "c"])),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/"]), inner).map(lambda parts: f"({' '.join(parts)})"),
        st.tuples(st.sampled_from(["exp", "log", "sqrt", "log2"]), inner).map(lambda parts: f"{parts[0]}({parts[1]})"),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda part: f"{part[0]}({part[1]}, {part[2]})"),
        inner.map(lambda part: f"-{part}"), inner.map(lambda part: f"({part}) ** 2"),
    ), max_leaves=8)
NAMES = {"exp": math.exp, "log": math.log, "sqrt": math.sqrt, "log2": math.log2, "min": min, "max": max,
         "__builtins__": {}}


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.fixed_dictionaries(dict.fromkeys("abc", st.floats(0.1, 10.0))))
def test_what_is_computed_is_what_python_computes(text, row):
    try:
        expected = eval(text, NAMES | row)
    except (ValueError, OverflowError, ZeroDivisionError):
        return
    (found,) = pl.DataFrame([row]).select(made=parse(text, row).polars)["made"].to_list()
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("text", "kept"), [
    ("a < 2", [0]), ("a <= 2", [0, 1]), ("b > 4 and b < 6", [1]), ("4 < b < 6", [1]), ("b == 5 or lab == 'x'", [0, 1]),
    ("not a < 2", [1]), ("lab != 'x'", [1]), ("ok", None), ("ok == True", [0]), ("ok and b > 0", [0]), ("not ok", [1]),
    ("b >= held-out/avg_loss + 4", [0, 1, 2]), ("log(a - 1) > -1000", [1]), ("log(a - 1.5) > -1000", [1]),
    ("c == d", []), ("b == 5.0", [1]),
    ("Training FLOP > 7e18", [1]), ("(a > 1) == (b > 4)", [0, 1]),
])
def test_a_condition_keeps_the_rows_for_which_it_is_true(text, kept):
    if kept is None:
        with pytest.raises(UsageError, match="is no condition"):
            filter(FRAME, text)
        return
    frame = FRAME.with_row_index("row")
    assert filter(frame, text)["row"].to_list() == kept


@pytest.mark.parametrize(("text", "message"), [
    ("c-d", r"`c-d` may be the column of that name, or c - d; write the column in backticks"),
    ("exp(c-d) + 1", r"`c-d` may be the column"),
    ("held-out/avg_los", r"no column 'held'.*; there are: held-out/avg_loss, "),
    ("Trainin FLOP", r"no column 'Trainin FLOP'; did you mean 'Training FLOP'\?; there are: Training FLOP, "),
    ("`Model size`", r"no column 'Model size'; did you mean 'Model Size'\?; there are: Model Size, "),
    ("a.b", r"no column 'a.b'.*; there are: "),
    ("a ^ 2", r"a power is written \*\*"), ("a & b", "write `and`"), ("~ok", "write `not`"), ("a = 1", "written =="),
    ("max(a)", "max takes two values or more"), ("exp(a, b)", "exp takes one value"),
    ("abs(a)", "there is no function 'abs'; there are exp, log"), ("lab * 2", "holds no numbers"),
    ("'x' * 2", "the text 'x' is no number"), ("a # b", "is not understood"), ("", "is not understood"),
    ("9" * 400, "too large"), ("1e999", "too large"), ("a" * 3000, "longer than"), ("+".join(["a"] * 400), "too long"),
    ("-" * 60 + "a", "too long"), ("(" * 300 + "a" + ")" * 300, "is not understood"),
    ("a < 1 and 2", "neither true nor false"), ("a in (1, 2)", "allowed are"), ("a if ok else b", "is not understood"),
    ("[a]", "is not understood"), ("a[0]", "is not understood"), ("f'{a}'", "is not understood"), ("a := 1", "=="),
    ("exp(x=a)", "is not understood"), ("b'x'", "is not understood"), ("1j", "is not understood"),
    ("lambda: a", "is not understood"), ("(a).__class__", "no column"), ("a\0b", "is not understood"),
    ("lab == b", "cannot compare|compare|dtype"),
])
def test_what_is_not_understood_is_refused_in_one_line(text, message):
    with pytest.raises(UsageError, match=message) as caught:
        refused(text)
    assert "\n" not in str(caught.value)


def refused(text):
    """Reads the text, and filters by it as it is, or compared."""
    filter(FRAME, text if parse(text, FRAME.columns).condition else f"{text} > 0")


@pytest.mark.parametrize("text", [
    "__import__('os').system('touch made')", "open('made', 'w')", "exec('1')", "().__class__.__bases__", "print(a)",
    "a.__init__", "exp.__self__", "globals()",
])
def test_nothing_is_ever_run(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError):
        parse(text, FRAME.columns)
    assert not list(tmp_path.iterdir())


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=string.printable + "`é", max_size=40))
def test_any_text_is_an_expression_or_a_usage_error(text):
    try:
        made = parse(text, FRAME.columns)
    except UsageError:
        return
    assert set(made.columns) <= set(FRAME.columns)


def test_an_expression_says_what_it_reads_and_what_it_computes_with():
    made = parse("(a + exp(held-out/avg_loss) > 1) and lab == 'x' and a < 3", FRAME.columns)
    assert made.columns == ("a", "held-out/avg_loss", "lab")
    assert made.numbers == {"a", "held-out/avg_loss"}
    assert made.condition
    assert (parse("a", FRAME.columns).plain, parse("a + 0", FRAME.columns).plain) == (True, False)
    assert [parse(text, ()).constant for text in ("42", "-1", "'x'", "2.5")] == [42, -1, "x", 2.5]


def test_the_nearest_names_come_first():
    assert nearest(("val_los",), ["params", "val_loss", "val_acc"])[:2] == ["val_loss", "val_acc"]
    with pytest.raises(UnknownColumn):
        parse("x", ["y"])
