"""The one expression language over columns, of `--map` and `--where`: arithmetic, comparisons, a few functions.

    val_ppl=exp(eval_loss)    train_tokens=`Training FLOP` / (6 * `Model Size`)    val_loss < 3.43 and lab != 'north'

Parsed by Python's grammar to a whitelist of nodes and compiled to polars; nothing is ever evaluated as code.
"""

from __future__ import annotations

import ast
import keyword
import math
import re
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher

import polars as pl

from cvfp_core.errors import UsageError, shown, some, suggestion
from cvfp_core.schema.quantities import POWERS

_CHARACTERS, _NODES, _DEPTH = 2000, 300, 40
_OFFERED = 20
"""Columns that are named to who asked for another, at most."""
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_WORDS = {"and", "or", "not", "True", "False"}
_QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`[^`]*`"
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
_SCALED = r"(?<![\w.])(?:\d+\.?\d*|\.\d+)[kKmMbBgGtT](?!\w)"
"""`50M`, as sizes are written."""
_FUNCTIONS: Mapping[str, Callable[[pl.Expr], pl.Expr]] = {
    "exp": pl.Expr.exp, "log": pl.Expr.log, "log2": lambda value: value.log(2.0), "sqrt": pl.Expr.sqrt,
    "percent": lambda value: value / 100.0,
}
_EXTREMES: Mapping[str, Callable[..., pl.Expr]] = {"min": pl.min_horizontal, "max": pl.max_horizontal}
_ARITHMETIC: Mapping[type[ast.operator], Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    ast.Add: pl.Expr.__add__, ast.Sub: pl.Expr.__sub__, ast.Mult: pl.Expr.__mul__, ast.Div: pl.Expr.__truediv__,
    ast.Pow: pl.Expr.__pow__,
}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    ast.Lt: pl.Expr.__lt__, ast.LtE: pl.Expr.__le__, ast.Gt: pl.Expr.__gt__, ast.GtE: pl.Expr.__ge__,
    ast.Eq: pl.Expr.__eq__, ast.NotEq: pl.Expr.__ne__,
}
_INSTEAD: Mapping[type, str] = {
    ast.BitXor: "a power is written **", ast.BitAnd: "write `and`", ast.BitOr: "write `or`", ast.Invert: "write `not`",
}
_CALLED = ", ".join((*_FUNCTIONS, *_EXTREMES))
ALLOWED = f"numbers, columns, 'texts', + - * / **, < <= > >= == !=, and, or, not, {_CALLED}"


class UnknownColumn(UsageError):
    """An expression reads a column that is not there."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Expression:
    """An expression over columns, ready to be computed on a frame that has them."""

    text: str
    columns: tuple[str, ...]
    """Names it reads, in order."""
    polars: pl.Expr
    numbers: frozenset[str]
    """Of the columns those it computes with, so that their values must be numbers."""
    condition: bool
    """Whether it says true or false."""
    constant: str | float | int | bool | None = None
    """Its value, if it reads no column and computes nothing."""
    plain: bool = False
    """Whether it is a column as it stands."""


def parse(text: str, columns: Iterable[str], *, asked: str | None = None, offered: Iterable[str] | None = None
          ) -> Expression:
    """The expression, over columns of these names.

    A name that is no plain word may stand as it is, where it cannot be read otherwise, or in backticks. asked: what
    messages begin with, the text by default. offered: columns to name where one is unknown, all by default. Raises
    UsageError for what is not understood, an unknown column, a text with two readings.
    """
    names = list(dict.fromkeys(columns))
    return _Parser(text, names, asked or shown(text[:100]), names if offered is None else list(offered)).parse()


def filter(frame: pl.DataFrame, text: str, *, asked: str | None = None) -> pl.DataFrame:
    """The rows for which the condition is true, in order; not those for which it cannot be told.

    Raises UsageError as `parse` does, for what is no condition, and for a text where a number is needed.
    """
    asked = asked or f"--where {shown(text[:100])}"
    valued = [each.name for each in frame.iter_columns() if each.null_count() < frame.height and each.name[:1] != "_"]
    expression = parse(text, frame.columns, asked=asked, offered=valued)
    if not expression.condition:
        raise UsageError(f"{asked}: is no condition; write one such as {expression.text} > 0")
    require_numbers(expression, frame.schema, asked)
    try:
        return frame.filter(expression.polars)
    except pl.exceptions.PolarsError as error:
        raise UsageError(f"{asked}: {' '.join(str(error).split())[:200]}") from None


def require_numbers(expression: Expression, schema: Mapping[str, pl.DataType], asked: str) -> None:
    """Raises UsageError for a column the expression computes with that holds no numbers."""
    for name in expression.columns:
        dtype = schema[name]
        if name in expression.numbers and not (dtype.is_numeric() or dtype in (pl.Boolean, pl.Null)):
            raise UsageError(f"{asked}: column '{name}' holds no numbers; compare it with a text in quotes")


class _Parser:
    """One text on its way to an expression."""

    def __init__(self, text: str, columns: list[str], asked: str, offered: list[str]) -> None:
        self.text, self.columns, self.asked = text.replace("\n", " ").strip(), columns, asked
        self.offered = offered
        self.known = set(columns)
        self.stood_for: dict[str, str] = {}
        self.read: dict[str, bool] = {}
        """Column -> whether it is computed with."""

    def parse(self) -> Expression:
        if len(self.text) > _CHARACTERS:
            raise self._wrong(f"is longer than {_CHARACTERS:,} characters")
        text = self._with_places()
        node = "a # has no meaning" if "#" in re.sub(_QUOTED, "", text) else _ast(text)
        if isinstance(node, str):
            raise self._unread(node)
        if not all(_fits(each.value) for each in ast.walk(node) if isinstance(each, ast.Constant)):
            raise self._wrong("has a number that is too large; write it as 1e20")
        if sum(1 for _ in ast.walk(node)) > _NODES or _depth(node) > _DEPTH:
            raise self._wrong(f"is too long: at most {_NODES} parts, {_DEPTH} deep")
        plain = isinstance(node, ast.Name)
        constant = _constant(node)
        made = self._value(node)
        return Expression(
            text=self.text, columns=tuple(self.read), polars=made, constant=constant, plain=plain,
            numbers=frozenset(name for name, computed in self.read.items() if computed),
            condition=_is_condition(node),
        )

    def _with_places(self) -> str:
        """The text with a plain word in the place of every column in backticks or of a name that is no plain word."""
        odd = sorted((name for name in self.columns if not _is_plain(name) and not _NUMBER.fullmatch(name)
                      and re.search(r"\w", name) and name.strip() == name), key=len, reverse=True)
        names = "|".join(_bounded(name) for name in odd)
        return re.sub(f"({_QUOTED})|({names or '$^'})|({_SCALED})", self._place, self.text)

    def _place(self, match: re.Match[str]) -> str:
        found = match[0]
        if found[0] in "'\"" and match[1]:
            return found
        if match[3]:
            return repr(float(found[:-1]) * POWERS[found[-1]])
        name = found[1:-1] if match[1] else found
        if match[1] and name not in self.known:
            raise self._unknown(name)
        if match[2] and (other := self._otherwise(name)):
            raise self._wrong(f"`{name}` may be the column of that name, or {other}; write the column in backticks, "
                              "or blanks around the operators")
        place = f"__column_{len(self.stood_for)}__"
        self.stood_for[place] = name
        return f" {place} "

    def _otherwise(self, name: str) -> str | None:
        """The name read as an expression of other columns, if it can be."""
        rest = [each for each in self.columns if each != name and _is_plain(each)]
        try:
            other = _Parser(name, rest, "", rest).parse()
        except UsageError:
            return None
        return ast.unparse(ast.parse(name, mode="eval")) if other.columns else None

    def _value(self, node: ast.expr) -> pl.Expr:
        """The node as it is: a column with its own type, a number, a text or a truth."""
        match node:
            case ast.Name():
                return pl.col(self._name(node, computed=False))
            case ast.Constant(value=bool() | int() | float() | str() as value):
                return pl.lit(value)
            case ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
                return self._truth(node)
            case _:
                return self._number(node)

    def _number(self, node: ast.expr) -> pl.Expr:
        match node:
            case ast.Name():
                return pl.col(self._name(node, computed=True)).cast(pl.Float64, strict=False)
            case ast.Constant(value=bool() | int() | float() as value):
                return pl.lit(float(value))
            case ast.Constant(value=str() as value):
                raise self._wrong(f"the text {value!r} is no number; a column is written without quotes")
            case ast.UnaryOp(op=ast.USub()):
                return -self._number(node.operand)
            case ast.UnaryOp(op=ast.UAdd()):
                return self._number(node.operand)
            case ast.BinOp() if type(node.op) in _ARITHMETIC:
                return _ARITHMETIC[type(node.op)](self._number(node.left), self._number(node.right))
            case ast.Call(func=ast.Name(id=name), keywords=[]) if name in _FUNCTIONS and len(node.args) == 1:
                return _FUNCTIONS[name](self._number(node.args[0]))
            case ast.Call(func=ast.Name(id=name), keywords=[]) if name in _EXTREMES and len(node.args) > 1:
                values = [self._number(each) for each in node.args]
                known = pl.all_horizontal(each.is_not_null() for each in values)
                return pl.when(known).then(_EXTREMES[name](*values))
            case ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
                return self._truth(node).cast(pl.Float64)
            case _:
                raise self._refused(node)

    def _truth(self, node: ast.expr) -> pl.Expr:
        match node:
            case ast.BoolOp():
                parts = [self._truth(each) for each in node.values]
                together = pl.Expr.__and__ if isinstance(node.op, ast.And) else pl.Expr.__or__
                made = parts[0]
                for part in parts[1:]:
                    made = together(made, part)
                return made
            case ast.UnaryOp(op=ast.Not()):
                return ~self._truth(node.operand)
            case ast.Compare():
                ends = [node.left, *node.comparators]
                made = pl.lit(True)
                for left, operator, right in zip(ends, node.ops, ends[1:], strict=False):
                    made = made & self._comparison(left, operator, right)
                return made
            case ast.Name():
                return pl.col(self._name(node, computed=True)).cast(pl.Boolean, strict=False)
            case ast.Constant(value=bool() as value):
                return pl.lit(value)
            case _:
                raise self._wrong(f"'{ast.unparse(self._named(node))}' is neither true nor false; compare it")

    def _comparison(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> pl.Expr:
        if type(operator) not in _COMPARISONS:
            raise self._wrong(f"allowed are {ALLOWED}")
        texts = [isinstance(each, ast.Constant) and isinstance(each.value, str) for each in (left, right)]
        equality = isinstance(operator, ast.Eq | ast.NotEq)
        if any(texts):
            sides = [self._value(each).cast(pl.String) for each in (left, right)]
        elif equality and isinstance(left, ast.Name) and isinstance(right, ast.Name):
            sides = [self._value(left), self._value(right)]
        else:
            sides = [self._number(each).fill_nan(None) for each in (left, right)]
        return _COMPARISONS[type(operator)](*sides)

    def _name(self, node: ast.Name, *, computed: bool) -> str:
        name = self.stood_for.get(node.id, node.id)
        if name not in self.known:
            raise self._unknown(name)
        self.read[name] = self.read.get(name, False) or computed
        return name

    def _named(self, node: ast.expr) -> ast.expr:
        """The node with the columns' own names, to show."""
        for each in ast.walk(node):
            if isinstance(each, ast.Name):
                each.id = self.stood_for.get(each.id, each.id)
        return node

    def _refused(self, node: ast.expr) -> UsageError:
        if isinstance(node, ast.Attribute):
            return self._unknown(ast.unparse(self._named(node)))
        operator = type(getattr(node, "op", None))
        if operator in _INSTEAD:
            return self._wrong(_INSTEAD[operator])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            name = node.func.id
            if name in _FUNCTIONS or name in _EXTREMES:
                return self._wrong(f"{name} takes {'one value' if name in _FUNCTIONS else 'two values or more'}")
            return self._wrong(f"there is no function '{name}'; there are {_CALLED}")
        return self._wrong(f"'{ast.unparse(self._named(node))[:80]}' is not understood; allowed are {ALLOWED}")

    def _unread(self, why: str) -> UsageError:
        if re.search(r"(?<![<>=!])=(?!=)", self.text):
            return self._wrong("is not understood; equality is written ==")
        words = re.split(r"\s+", self.text)
        if all(_is_plain(word) for word in words) and not _WORDS & set(words):
            return self._unknown(self.text)
        return self._wrong(f"is not understood ({why}); allowed are {ALLOWED}")

    def _unknown(self, name: str) -> UnknownColumn:
        return UnknownColumn(f"{self.asked}: no column '{name}'{offer((name, self.text), self.offered)}")

    def _wrong(self, why: str) -> UsageError:
        return UsageError(f"{self.asked}: {why}")


def offer(asked: Collection[str], names: Iterable[str]) -> str:
    """`; did you mean 'x'?; there are: x, y`: the names, the nearest first; of very many, those."""
    there = nearest(asked, names)
    close = next((found for each in asked if (found := suggestion(each, there))), "")
    return f"{close}; there are: {some(there, _OFFERED) or 'none'}"


def nearest(asked: Collection[str], names: Iterable[str]) -> list[str]:
    """The names, those that are most like one of what was asked first."""
    def unlike(name: str) -> float:
        return -max(SequenceMatcher(None, each.lower(), name.lower(), autojunk=False).ratio() for each in asked)

    return sorted(names, key=lambda name: (unlike(name), name))


def _ast(text: str) -> ast.expr | str:
    """The syntax tree, or why there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return getattr(error, "msg", None) or type(error).__name__


def _fits(value: object) -> bool:
    """Whether a constant is one that polars can hold."""
    return not isinstance(value, int | float) or (isinstance(value, float) and math.isfinite(value)) or (
        isinstance(value, int) and abs(value) < 2**63)


def _constant(node: ast.expr) -> str | float | int | bool | None:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
    return None


def _is_condition(node: ast.expr) -> bool:
    return isinstance(node, ast.Compare | ast.BoolOp) or (
        isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not))


def _is_plain(name: str) -> bool:
    return bool(_PLAIN.fullmatch(name)) and (name in _WORDS or not keyword.iskeyword(name))


def _bounded(name: str) -> str:
    """A pattern that finds the name where it is no part of a longer word."""
    before = r"(?<![\w.])" if re.match(r"\w", name) else ""
    after = r"(?![\w(])" if re.search(r"\w$", name) else ""
    return f"{before}{re.escape(name)}{after}"


def _depth(node: ast.AST) -> int:
    deepest, waiting = 0, [(node, 1)]
    while waiting:
        each, depth = waiting.pop()
        deepest = max(deepest, depth)
        waiting += [(child, depth + 1) for child in ast.iter_child_nodes(each)]
    return deepest
