"""Writes docs/hooks.md from the hooks, the kinds, the model contract and the kit.

    python docs/make_hooks_md.py
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from cvfp_core import testing
from cvfp_core.protocol.model import Measures, SharesTokens, TwoPhaseModel
from cvfp_core.registry import HOOKS, TITLES, hookspecs, kinds
from cvfp_core.schema import options, quantities
from cvfp_core.schema.models import BlockedObjective

FILE = Path(__file__).parent / "hooks.md"
HEAD = """\
# Hooks

Every hook, what it hands over, and the checks of the kit. How to begin stands in [plugins.md](plugins.md).

This page is made from the program by `docs/make_hooks_md.py`.
"""


def main() -> None:
    FILE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The page as it should be."""
    return "\n".join([
        HEAD, *_registration(), *_lifecycle(), *_kinds(),
        *_contracts("The model contract", (TwoPhaseModel, SharesTokens, Measures)),
        *_contracts("The blocked form of an objective", (BlockedObjective,)), *_kit(),
    ])


def _registration() -> list[str]:
    lines = ["## Registration hooks", "", _second(hookspecs, 0), "",
             "| Hook | Returns | `cvfp plugins` says | What it adds |",
             "|---|---|---|---|"]
    for hook, kind in HOOKS.items():
        about = inspect.getdoc(getattr(hookspecs, hook))
        lines.append(f"| `{hook}` | [{kind.__name__}](#{kind.__name__.lower()}) | {TITLES[kind]} | {about} |")
    return [*lines, ""]


def _lifecycle() -> list[str]:
    lines = ["## Lifecycle hooks", "", _second(hookspecs, 1), "", "| Hook | When |", "|---|---|"]
    for name, function in vars(hookspecs).items():
        if name.startswith("cvfp_") and name not in HOOKS:
            lines.append(f"| {_code(_call(name, function))} | {_flat(inspect.getdoc(function))} |")
    return [*lines, ""]


def _second(module: ModuleType, sentence: int) -> str:
    """A sentence of the module's docstring after its first line."""
    rest = _flat((inspect.getdoc(module) or "").split("\n\n", 1)[1])
    return re.split(r"(?<=\.) (?=[A-Z])", rest)[sentence]


def _kinds() -> list[str]:
    """Every dataclass that `kinds` hands out, in the order they stand in their modules."""
    lines = ["## Kinds", "", "Frozen dataclasses of `cvfp_core.registry.kinds`, given by keyword.", ""]
    for module in (options, kinds, quantities):
        for node in ast.parse(inspect.getsource(module)).body:
            if isinstance(node, ast.ClassDef) and hasattr(kinds, node.name):
                lines += _kind(node, getattr(kinds, node.name))
    return lines


def _kind(node: ast.ClassDef, kind: Any) -> list[str]:
    about = _paragraphs(inspect.getdoc(kind))
    lines = [f"### {node.name}", "", about, "", "| Field | Type | Default | Meaning |", "|---|---|---|---|"]
    meanings = _meanings(node)
    types = {each.target.id: ast.unparse(each.annotation) for each in node.body
             if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)}
    for each in dataclasses.fields(kind):
        cells = (f"`{each.name}`", _code(types[each.name]), _default(each), _cell(meanings.get(each.name, "")))
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _meanings(node: ast.ClassDef) -> dict[str, str]:
    """The texts that stand under the fields."""
    found, last = {}, None
    for each in node.body:
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            last = each.target.id
        elif isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant) and last is not None:
            found[last] = _flat(inspect.cleandoc(str(each.value.value)))
        else:
            last = None
    return found


def _default(each: dataclasses.Field[Any]) -> str:
    if each.default is not dataclasses.MISSING:
        return _code(repr(each.default))
    return "required" if each.default_factory is dataclasses.MISSING else "empty"


def _contracts(heading: str, protocols: tuple[type, ...]) -> list[str]:
    lines = [f"## {heading}", ""]
    for protocol in protocols:
        lines += [f"### {protocol.__name__}", "", _paragraphs(inspect.getdoc(protocol)), "",
                  "| Method | What it gives |", "|---|---|"]
        for name, function in vars(protocol).items():
            if not name.startswith("_") and inspect.isfunction(function):
                lines.append(f"| {_code(_call(name, function))} | {_cell(_flat(inspect.getdoc(function)))} |")
        lines.append("")
    return lines


def _kit() -> list[str]:
    lines = ["## The kit", "", "`cvfp_core.testing`: each check calls what a plugin registers as the core does, with "
             "data it makes itself. One that fails raises AssertionError: what was checked, expected and found.", ""]
    for name in testing.__all__:
        function = getattr(testing, name)
        lines += [f"### {name}", "", f"`{_call(name, function)}`", "", _paragraphs(inspect.getdoc(function)), ""]
    return lines


def _call(name: str, function: Callable[..., Any]) -> str:
    node = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(node, ast.FunctionDef)
    node.args.args = [each for each in node.args.args if each.arg != "self"]
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{name}({ast.unparse(node.args)}){returns}"


def _code(text: str) -> str:
    return f"`{_cell(text)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _flat(text: str | None) -> str:
    return " ".join((text or "").split())


def _paragraphs(text: str | None) -> str:
    return "\n\n".join(_flat(each) for each in (text or "").split("\n\n"))


if __name__ == "__main__":
    main()
