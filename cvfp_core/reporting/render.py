"""A view and a Jinja template -> Markdown.

Templates get strings, numbers, booleans, None, lists and dicts only, in a sandboxed environment where an undefined name
is an error. Same view, same bytes.
"""

from __future__ import annotations

import gettext
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined, TemplateError, TemplateSyntaxError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from cvfp_core.errors import CvfpError, suggestion
from cvfp_core.reporting import numbers
from cvfp_core.reporting.language import fill
from cvfp_core.reporting.names import View


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


class _Environment(ImmutableSandboxedEnvironment):
    """A sandbox in which `finding.values` is the item of that name, not the dictionary's method."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


def environment(template: Path, translations: gettext.NullTranslations | None = None) -> _Environment:
    """The Jinja environment of a template file: its folder, the filters, the language."""
    made = _Environment(
        loader=FileSystemLoader(template.parent),
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

    made.filters |= numbers.FILTERS | {"say": say, "method": method}
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
    """A text in the report's language; the catalogue may have it with {n} for its number: `{n} diverged`."""
    count = re.search(r"\d+", text)
    known = spoken.gettext(text)
    if count is None or known != text:
        return known
    message = re.sub(r"\d+", "{n}", text)
    known = spoken.gettext(message)
    return text if known == message else known.replace("{n}", count.group())


def names_used(template: Path) -> set[str]:
    """The names of the view that a template and the templates it takes in use. Raises CvfpError for a bad template."""
    made = environment(template)
    seen: set[str] = set()
    names: set[str] = set()
    waiting = [template.name]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            source, _, _ = made.loader.get_source(made, name)  # type: ignore[union-attr]
            tree = made.parse(source, name=name, filename=str(template.parent / name))
            names |= meta.find_undeclared_variables(tree)
        except TemplateSyntaxError as error:
            raise CvfpError(f"{template.parent / name}: line {error.lineno}: {error.message}") from None
        except TemplateError:
            continue  # rendering says in which line it was asked for
        except OSError as error:
            raise CvfpError(f"{template}: cannot be read: {error.strerror or error}") from None
        except UnicodeDecodeError as error:
            byte = f"byte 0x{error.object[error.start]:02x} at offset {error.start}"
            raise CvfpError(f"{template.parent / name}: not UTF-8: {byte}") from None
        waiting += [each for each in meta.find_referenced_templates(tree) if each is not None]
    return names


def render(template: Path, view: View, translations: gettext.NullTranslations | None = None) -> str:
    """The template filled with the view. Raises CvfpError with file, line and, for a name, those that exist."""
    made = environment(template, translations)
    try:
        return made.get_template(template.name).render(view)
    except TemplateSyntaxError as error:
        place = error.filename or template
        raise CvfpError(f"{place}: line {error.lineno}: {error.message}") from None
    except Exception as error:  # whatever an expression of a user's template raises
        file, line = _place(error, template)
        text = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
        more = ""
        if text.endswith("is undefined"):
            names = sorted(View.__annotations__)
            more = f"{suggestion(text.split(chr(39))[1], names)}; the names are: {', '.join(names)}"
        raise CvfpError(f"{file}: line {line}: {' '.join(text.split())}{more}") from None


def _place(error: BaseException, template: Path) -> tuple[Path, int | str]:
    """The innermost file and line of a template that was being rendered."""
    file, line = template, "?"
    place: tuple[Path, int | str] = (file, line)
    trace = error.__traceback__
    while trace is not None:
        here = Path(trace.tb_frame.f_code.co_filename)
        if here.parent == template.parent and here.suffix != ".py":
            place = (here, trace.tb_lineno)
        trace = trace.tb_next
    return place


def messages(template: Path) -> Sequence[tuple[int, str | tuple[str | None, ...]]]:
    """(line, message or its forms) of everything a template has translated; for catalogues."""
    made = environment(template)
    found = made.extract_translations(template.read_text(encoding="utf-8"))  # type: ignore[attr-defined]
    return [(line, text) for line, _, text in found]
