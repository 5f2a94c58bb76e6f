"""A view and a Jinja template -> Markdown.

Templates get strings, numbers, booleans, None, lists and dicts only, in a sandboxed environment where an undefined name
is an error. They can take in templates beside them and registered ones, and read no other file. Same view, same bytes.
They are read within limits of depth, length and time, which evaluates nothing, and rendered within those of `limited`.
"""

from __future__ import annotations

import gettext
import re
import time
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from types import CodeType
from typing import Any, cast

from jinja2 import BaseLoader, StrictUndefined, TemplateError, TemplateNotFound, TemplateSyntaxError, meta, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.idtracking import VAR_LOAD_RESOLVE
from jinja2.loaders import split_template_path
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from cvfp_core.errors import CvfpError, suggestion
from cvfp_core.reporting import measures, numbers
from cvfp_core.reporting.language import fill
from cvfp_core.reporting.limited import Lift, LimitError, Limits, Stopped, run
from cvfp_core.reporting.names import View

NESTING = 50
"""Levels of a template's blocks and expressions; Python compiles no more than 20 loops inside each other."""
LONGEST = 2**17
"""Characters of a template file."""
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")


class _Named(StrictUndefined):
    """An undefined name whose message says which names there are."""

    @property
    def _undefined_message(self) -> str:
        text = super()._undefined_message
        known = self._undefined_obj
        if isinstance(known, dict):
            names = sorted(map(str, known))
            return f"{text}{suggestion(str(self._undefined_name), names)}; its names are: {', '.join(names)}"
        return text


class _Files(BaseLoader):
    """Reads a template, the `.j2` files beside it, and what lies in the folders of registered templates."""

    def __init__(self, template: Path, registered: Mapping[str, Path]) -> None:
        self.registered, self.shared = registered, {path.parent for path in registered.values()}
        self.folders = dict.fromkeys([template.parent, *(path.parent for path in registered.values())])
        self.found = {str(template)}
        self.outside: set[str] = set()
        """Names of links that lead out of their folder."""

    def find(self, name: str, beside: Path) -> str:
        """The path of the file that a name stands for in the file `beside`: next to it first; the name if none."""
        file = self.registered.get(name)
        try:
            parts = split_template_path(name)
        except TemplateNotFound:  # a way out of the folder
            return name
        for folder in (beside.parent, *self.folders) if file is None else ():
            each = folder.joinpath(*parts)
            shared = any(each.is_relative_to(known) for known in self.shared)
            if each == beside or not each.is_file() or not (shared or each.suffix == ".j2"):
                continue
            if shared or each.resolve().is_relative_to(folder.resolve()):  # an installer may link to what it installs
                file = each
                break
            self.outside.add(name)
        if file is None:
            return name
        self.found.add(str(file))
        return str(file)

    def get_source(self, environment: Any, template: str) -> tuple[str, str, None]:  # noqa: ARG002
        if template in self.outside:
            raise TemplateNotFound(template, f"'{template}' is a link that leaves the folder; copy the file into it")
        if template not in self.found:
            names = sorted({*self.registered, *(each.name for path in self.shared for each in path.glob("*.j2"))})
            raise TemplateNotFound(template, f"'{template}' not found{suggestion(template, names)}; beside this file "
                                             f"there are: {', '.join(names) or 'none'}")
        with open(template, "rb") as file:
            read = file.read(4 * LONGEST + 1)  # a character has at most four bytes
        text = read.decode() if len(read) <= 4 * LONGEST else None
        if text is None or len(text) > LONGEST:
            raise TemplateSyntaxError(f"the file has more than {LONGEST:,} characters; put parts into files of "
                                      f"their own", 1, filename=template)
        return text, template, None


class _Compiler(CodeGenerator):
    """Evaluates nothing beforehand, and notes the names that a template takes from the view, as `jinja2.meta` does."""

    def visit(self, node: nodes.Node, *arguments: Any, **more: Any) -> Any:
        self.environment.check_time(node.lineno, self.filename)  # type: ignore[attr-defined]
        return super().visit(node, *arguments, **more)

    def _output_child_to_const(self, node: nodes.Expr, frame: Frame, finalize: Any) -> str:
        if isinstance(node, nodes.TemplateData):
            return super()._output_child_to_const(node, frame, finalize)
        raise nodes.Impossible

    def enter_frame(self, frame: Frame) -> None:
        super().enter_frame(frame)
        names = self.environment.names.setdefault(str(self.filename), set())  # type: ignore[attr-defined]
        names |= {name for action, name in frame.symbols.loads.values()
                  if action == VAR_LOAD_RESOLVE and name is not None and name not in self.environment.globals}


class _Environment(ImmutableSandboxedEnvironment):
    """A sandbox in which `finding.values` is the item of that name, not the dictionary's method."""

    loader: _Files
    code_generator_class = _Compiler

    def __init__(self, limits: Limits, **options: Any) -> None:
        super().__init__(optimized=False, **options)
        self.limits, self.end = limits, time.monotonic() + limits.seconds
        self.lift: Lift = lambda: None
        self.names: dict[str, set[str]] = {}
        """By file, the names of the view that it uses."""
        self.compiled: dict[str, Any] = {}

    def compile(self, source: Any, name: str | None = None, filename: str | None = None,
                raw: bool = False, defer_init: bool = False) -> Any:
        """The code of a file, once: a report asks for the names in it before it is rendered."""
        key = filename or ""
        if key not in self.compiled or raw or not key:
            self.compiled[key] = super().compile(source, name, filename, raw, defer_init)  # type: ignore[call-overload]
        return self.compiled[key]

    def check_time(self, line: int, filename: str | None) -> None:
        """Raises TemplateSyntaxError if reading templates takes too long."""
        if time.monotonic() > self.end:
            raise TemplateSyntaxError(str(LimitError(self.limits, "seconds")), line, filename=filename)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        parser = Parser(self, source, name, filename)
        try:
            tree = parser.parse()
        except RecursionError:
            parser.fail(_NESTED, parser.stream.current.lineno)
        except (ValueError, OverflowError) as error:  # a number of 5,000 digits
            parser.fail(f"{type(error).__name__}: {error}", parser.stream.current.lineno)
        for node, depth in _nested(tree):
            if depth > NESTING:
                parser.fail(_NESTED, node.lineno)
            if isinstance(node, nodes.EvalContextModifier) and not all(
                    isinstance(each.value, nodes.Const) for each in node.options):
                parser.fail("autoescape is true or false", node.lineno)  # Jinja evaluates it when it compiles
        return tree

    def _compile(self, source: str, filename: str) -> CodeType:
        try:
            return super()._compile(source, filename)
        except (SyntaxError, MemoryError, RecursionError) as error:  # deeper than Python allows
            lines = [pair.split("=") for pair in source.rpartition("debug_info = '")[2].strip("'\n").split("&")]
            reached = getattr(error, "lineno", None) or 0
            line = max((int(ours) for ours, made in lines if int(made) <= reached), default=1)
            raise TemplateSyntaxError(f"{_NESTED} ({error})", line, filename=filename) from None

    def handle_exception(self, source: str | None = None) -> Any:
        self.lift()  # what follows needs memory and time
        return super().handle_exception(source)

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def join_path(self, template: str, parent: str) -> str:
        return self.loader.find(template, Path(parent))


_NESTED = f"nested too deeply, more than {NESTING} levels; make macros of its parts, or several steps"


def _nested(tree: nodes.Template) -> Iterator[tuple[nodes.Node, int]]:
    """Every node of the tree, with its level."""
    waiting: list[tuple[nodes.Node, int]] = [(tree, 0)]
    while waiting:
        node, depth = waiting.pop()
        yield node, depth
        waiting += [(each, depth + 1) for each in node.iter_child_nodes()]


def environment(template: Path, translations: gettext.NullTranslations | None = None,
                registered: Mapping[str, Path] | None = None, limits: Limits | None = None) -> _Environment:
    """The Jinja environment of a template file: the filters, the language, and the files it may take in.

    registered: the files of registered templates, by name; they can be taken in by file name or by that name.
    """
    made = _Environment(
        limits or Limits(),
        loader=_Files(template, registered or {}),
        extensions=["jinja2.ext.i18n"],
        undefined=_Named,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    spoken = translations or gettext.NullTranslations()
    made.install_gettext_translations(spoken, newstyle=False)  # type: ignore[attr-defined]

    def say(text: str, values: Mapping[str, Any] | None = None) -> str:
        """A message in the report's language, with its {names} filled in; texts among them are made inert."""
        words = {name: _said(value, spoken) for name, value in (values or {}).items()}
        return fill(spoken.gettext(text), words) if text else ""

    def method(text: str) -> str:
        """A finding's method in the report's language, part by part."""
        parts = [_counted(part, spoken) for part in text.split(", ") if part]
        return spoken.gettext(", ").join(parts)

    def hours(seconds: float | None) -> str:
        """A length of time, its unit in the report's language."""
        value, unit, rest = re.split(r"( .*|$)", numbers.hours(seconds), maxsplit=1)
        return value + (spoken.gettext(unit) if unit else "") + rest

    made.filters |= numbers.FILTERS | measures.FILTERS | {"say": say, "method": method, "hours": hours}
    return made


def _said(value: object, spoken: gettext.NullTranslations) -> object:
    """A value of a message: numbers as they are, texts translated if known and inert, lists joined."""
    if isinstance(value, dict):
        words = {name: _said(each, spoken) for name, each in value["values"].items()}
        return fill(spoken.gettext(value["text"]), words)
    if isinstance(value, list | tuple):
        return spoken.gettext(", ").join(str(_said(each, spoken)) for each in value)
    return numbers.cell(_counted(value, spoken) if value else value) if isinstance(value, str) else value


def _counted(text: str, spoken: gettext.NullTranslations) -> str:
    """A text in the report's language; the catalogue may have it with {n} for each number: `{n} diverged`."""
    known = spoken.gettext(text)
    numbers = iter(_NUMBER.findall(text))
    message = _NUMBER.sub("{n}", text)
    if known != text or spoken.gettext(message) == message:
        return known
    return re.sub(r"\{n\}", lambda _: next(numbers, "{n}"), spoken.gettext(message))


def trees(template: Path, registered: Mapping[str, Path] | None = None,
          made: _Environment | None = None) -> dict[Path, nodes.Template]:
    """The template and those it takes in, parsed and compiled, by file. Raises CvfpError for one that cannot be."""
    made = made or environment(template, registered=registered)
    made.loader.found.add(str(template))
    found: dict[Path, nodes.Template] = {}
    waiting = [str(template)]
    while waiting:
        name = waiting.pop()
        file = Path(name)
        if file in found:
            continue
        try:
            found[file] = made.parse(made.loader.get_source(made, name)[0], name=name, filename=name)
            made.compile(found[file], name, name)
        except TemplateSyntaxError as error:
            raise CvfpError(f"{file}: line {error.lineno}: {error.message}") from None
        except TemplateError:
            continue  # rendering says in which line it was asked for
        except OSError as error:
            raise CvfpError(f"{file}: cannot be read: {error.strerror or error}") from None
        except UnicodeDecodeError as error:
            byte = f"byte 0x{error.object[error.start]:02x} at offset {error.start}"
            raise CvfpError(f"{file}: not UTF-8: {byte}") from None
        waiting += [made.join_path(each, name) for each in meta.find_referenced_templates(found[file]) if each]
    return found


def names_used(every: Mapping[Path, nodes.Template]) -> set[str]:
    """The names of the view that templates use, taken together."""
    used = {name for file, tree in every.items() for name in tree.environment.names[str(file)]}  # type: ignore[union-attr]
    return used - {each.target for tree in every.values() for each in tree.find_all(nodes.Import)}


def figures_used(every: Collection[nodes.Template], known: Collection[str]) -> set[str] | None:
    """The figures that parsed templates name, `surface-` for those of laws; None where they may use any."""
    texts = {each.value for tree in every for each in tree.find_all(nodes.Const) if isinstance(each.value, str)}
    texts |= {each.attr for tree in every for each in tree.find_all(nodes.Getattr)
              if isinstance(each.node, nodes.Name) and each.node.name == "figures"}
    named = {name for name in (*known, "joint", "surface-") if any(
        text == name or (name == "surface-" and text.startswith(name)) for text in texts)}
    return named or None


def render(template: Path, view: View, made: _Environment) -> str:
    """The template filled with the view. Raises CvfpError with file, line and, for a name, those that exist."""
    try:
        return run(lambda lift: _rendered(template, view, made, lift), made.limits).decode()
    except Stopped as error:
        raise CvfpError(f"{_stood(error.stack, template, made)}: {error}") from None


def _rendered(template: Path, view: View, made: _Environment, lift: Lift) -> bytes:
    parts, made.lift = bytearray(), lift
    try:
        stream = cast("Generator[str, None, None]", made.get_template(str(template)).generate(view))
        for part in stream:
            try:
                parts += part.encode()
                if len(parts) > made.limits.output_mib * 2**20:
                    raise LimitError(made.limits, "output_mib")
            except (LimitError, UnicodeError) as error:
                stream.throw(error)  # at the line that wrote it
        return bytes(parts)
    except TemplateSyntaxError as error:
        place = error.filename or template
        raise CvfpError(f"{place}: line {error.lineno}: {error.message}") from None
    except Exception as error:  # whatever an expression of a user's template raises
        file, line = _place(error, template, made.loader.found)
        raise CvfpError(f"{file}: line {line}: {' '.join(_said_of(error, made.limits).split())}") from None


def _said_of(error: Exception, limits: Limits) -> str:
    """What the exception means for somebody who writes a template."""
    if isinstance(error, MemoryError):
        error = LimitError(limits, "memory_gib")
    if isinstance(error, RecursionError):
        return "nested too deeply: a macro that calls itself, or a file that takes itself in, does not end"
    text = str(error) if isinstance(error, LimitError) else (
        getattr(error, "message", None) or f"{type(error).__name__}: {error}")
    if not text.endswith("is undefined"):
        return text
    names = sorted(View.__annotations__)
    return f"{text}{suggestion(text.split(chr(39))[1], names)}; the names are: {', '.join(names)}"


def _stood(stack: str, template: Path, made: _Environment) -> str:
    """File and line of the innermost template in a stack that `faulthandler` wrote."""
    for file, line in re.findall(r'File "(.+)", line (\d+) in', stack):
        if file in made.loader.found:
            return f"{file}: line {made.get_template(file).get_corresponding_lineno(int(line))}"
    return str(template)


def _place(error: BaseException, template: Path, files: Collection[str]) -> tuple[str, int | str]:
    """The innermost file and line of a template that was being rendered."""
    place: tuple[str, int | str] = (str(template), "?")
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename in files:
            place = (trace.tb_frame.f_code.co_filename, trace.tb_lineno)
        trace = trace.tb_next
    return place


def messages(template: Path) -> Sequence[tuple[int, str | tuple[str | None, ...]]]:
    """(line, message or its forms) of everything a template has translated; for catalogues."""
    made = environment(template)
    found = made.extract_translations(template.read_text(encoding="utf-8"))  # type: ignore[attr-defined]
    return [(line, text) for line, _, text in found]
