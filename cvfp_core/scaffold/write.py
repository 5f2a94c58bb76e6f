"""A name and kinds -> the files of a plugin that works: package, hooks, tests, README."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from string import Template

from cvfp_core.errors import CvfpError, UsageError, suggestion
from cvfp_core.registry import GROUP, HOOKS, TITLES, load
from cvfp_core.scaffold.parts import PARTS
from cvfp_core.version import __version__

_FILES = Path(__file__).parent / "files"
_WIDTH = 120


def write(name: str, kinds: Sequence[str], into: Path) -> tuple[Path, ...]:
    """Writes the plugin into the folder `into/name` and returns its files.

    Raises UsageError for a name that is none, is taken or would give an item one that is, an unknown kind, or a folder
    that is there already.
    """
    made = files(name, kinds)
    folder = into / name
    if folder.exists():
        raise UsageError(f"'{folder}' is there already; choose another name, or another place with --into")
    written = []
    try:
        for place, text in made.items():
            file = folder / place
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8", newline="\n")
            written.append(file)
    except OSError as error:
        raise CvfpError(f"cannot write '{folder}': {error.strerror or error}") from None
    return tuple(written)


def files(name: str, kinds: Sequence[str]) -> dict[str, str]:
    """The texts of the plugin's files by their places in its folder. Raises UsageError as `write` does."""
    for kind in kinds:
        if kind not in PARTS:
            raise UsageError(f"unknown kind '{kind}'{suggestion(kind, PARTS)}; there are: {', '.join(PARTS)}")
    chosen = [kind for kind in PARTS if kind in kinds]
    words = names(name)
    _refuse_clashes(chosen, words)
    package, parts = words["package"], [PARTS[kind] for kind in chosen]
    words["requires"] = requires()
    words["imports"] = _imports(chosen)
    words["entries"] = "\n\n".join(_fill(f"{kind}.entry", words) for kind in chosen).rstrip("\n")
    words["adds"] = "\n".join(f"- {Template(part.adds).substitute(words)}" for part in parts)
    words["try"] = "\n".join(_fill(f"{kind}.try", words).rstrip("\n") for kind in chosen)
    return {
        "pyproject.toml": _fill("pyproject.toml", words),
        "README.md": _fill("README.md", words),
        f"{package}/__init__.py": _fill("entry.py", words),
        **{f"{package}/{file}": _fill(f"{kind}.{file}", words) for kind in chosen for file in PARTS[kind].files},
        "tests/test_entry.py": _fill("entry.test", words),
        **{f"tests/test_{kind.replace('-', '_')}.py": _fill(f"{kind}.test", words) for kind in chosen},
    }


def names(name: str) -> dict[str, str]:
    """The distribution's, the package's and the plugin's own name. Raises UsageError for one that cannot be used."""
    if not re.fullmatch(r"[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9._-]{0,28}[A-Za-z0-9]", name):
        raise UsageError(f"'{name}' is no name for a distribution: up to 30 letters and digits, with . _ - between "
                         "them, such as cvfp-mine")
    package = re.sub(r"[-_.]+", "_", name).lower()
    short = package.removeprefix("cvfp_").replace("_", "-")
    if not package.isidentifier() or keyword.iskeyword(package) or not short[0].isalpha():
        raise UsageError(f"'{name}' would give the package '{package}', which Python cannot import; begin with a "
                         "letter, such as cvfp-mine")
    taken = {point.name: point for point in entry_points(group=GROUP)}
    if short in taken or package == "cvfp":
        raise UsageError(f"a plugin '{short}' is installed already; choose another name")
    if find_spec(package) is not None:
        raise UsageError(f"'{name}' would give the package '{package}', and there is one already; choose another name")
    return {"name": name, "package": package, "short": short}


def _refuse_clashes(chosen: Iterable[str], words: Mapping[str, str]) -> None:
    """Raises UsageError if an item would have the name of one that is installed: neither plugin would work then."""
    everything = load(only=(), disabled=())
    for kind in chosen:
        part = PARTS[kind]
        if part.item is None:
            continue
        item, of = Template(part.item).substitute(words), HOOKS[part.hooks[0]]
        if item in everything.items(of):
            owner = everything.owner(of, item).label
            raise UsageError(f"'{words['name']}' would add the {TITLES[of]} '{item}', which {owner} adds already; "
                             "choose another name")


def requires(version: str = __version__) -> str:
    """The versions of cvfp that keep the promises this one makes: `>=0.1,<0.2`, from 1.0 on `>=1.4,<2`."""
    major, minor = version.split(".")[:2]
    return f">={major}.{minor},<" + (f"0.{int(minor) + 1}" if major == "0" else f"{int(major) + 1}")


def _fill(file: str, words: Mapping[str, str]) -> str:
    return Template((_FILES / f"{file}.txt").read_text(encoding="utf-8")).substitute(words)


def _imports(chosen: Iterable[str]) -> str:
    """The import block of the plugin module, sorted as linters sort it."""
    wanted: dict[str, set[str]] = {"cvfp_core": {"hookimpl"}}
    for kind in chosen:
        for module, each in PARTS[kind].imports.items():
            wanted.setdefault(module, set()).update(each)
    ours = [_from(module, wanted[module]) for module in sorted(wanted) if module.startswith("cvfp_core")]
    others = ["import logging"] if "observer" in chosen else []
    others += [_from(module, wanted[module]) for module in sorted(wanted) if not module.startswith("cvfp_core")]
    return "\n".join([*others, "", *ours] if others else ours)


def _from(module: str, each: Iterable[str]) -> str:
    """`from module import a, b`, constants first, one a line where it does not fit."""
    inside = sorted(each, key=lambda name: (not name.isupper(), name.casefold()))
    line = f"from {module} import {', '.join(inside)}"
    if len(line) <= _WIDTH:
        return line
    return "\n".join([f"from {module} import (", *(f"    {name}," for name in inside), ")"])
