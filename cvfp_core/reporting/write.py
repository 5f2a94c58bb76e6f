"""A report from inputs to text: the template found, its options checked, the view computed, figures made."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from cvfp_core.errors import CvfpError, UsageError
from cvfp_core.ingesting.reading import Inputs
from cvfp_core.registry import Registry
from cvfp_core.registry.kinds import Template
from cvfp_core.registry.options import resolve
from cvfp_core.reporting.language import translations
from cvfp_core.reporting.names import View
from cvfp_core.reporting.render import names_used, render, trees
from cvfp_core.reporting.view import Asked, Facts

__all__ = ["Asked", "Written", "find", "write"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A report: its Markdown, and its figures as SVG by the path the report links to."""

    text: str
    figures: Mapping[str, str]


def find(name: str, registry: Registry) -> Template:
    """The template of that name, or made of a file ending in .j2; a catalogue `locale` beside the file is its own."""
    if not name.endswith(".j2"):
        return registry.get(Template, name)
    file = Path(name)
    if not file.is_file():
        raise UsageError(f"template file '{file}' does not exist")
    locale = file.parent / "locale"
    return Template(name=file.name, title="", path=file, catalogue=locale if locale.is_dir() else None, options=None)


def registered(registry: Registry) -> dict[str, Path]:
    """The files of the registered templates, by name: what a template may take in."""
    return {name: item.path for name, item in registry.items(Template).items()}


def catalogues(template: Template, registry: Registry) -> list[Path]:
    """Where its messages are translated: its own catalogue, then those of all registered templates."""
    found = (each.catalogue for each in (template, *registry.items(Template).values()))
    return list(dict.fromkeys(each for each in found if each is not None))


def write(inputs: Inputs, template: Template, registry: Registry, asked: Asked | None = None) -> Written:
    """The report that the template makes of the inputs. Raises CvfpError if the records lack what it needs."""
    asked, files, items = asked or Asked(), registered(registry), registry.items(Template)
    spoken = translations(asked.lang, catalogues(template, registry))
    with _named(template, registry):
        taken = trees(template.path, files)
        kin = [item for item in items.values() if item.path in taken and item is not template]
        lacking = _lacking([template, *kin], inputs.records, asked)
        if lacking:
            raise CvfpError(f"template '{template.name}' needs {', '.join(_needs([template, *kin], asked))}; no run "
                            f"has {', '.join(lacking)}")
        names, parents = names_used(taken.values()), {template.name, *(each.name for each in kin)}
        sections = [item for item in items.values() if item.section_of in parents] if "sections" in names else []
        for section in sections:
            names |= names_used(trees(section.path, files).values())
    _refuse(template, asked, names)
    known = {option.name: option for item in (*reversed(sections), *kin, template) for option in item.options or ()}
    if template.options is not None:
        resolve(f"template '{template.name}'", list(known.values()), asked.options)
    defaults = {name: option.default for name, option in known.items()}
    asked = replace(asked, options=defaults | dict(asked.options))
    facts = Facts(inputs, registry, asked)
    drawn: dict[str, str] = {}
    data = facts.view(names & set(View.__annotations__) - {"figures", "figures_missing", "sections"})
    data["sections"] = [section.name for section in sections if not _lacking([section], facts.records, asked)]
    if "figures" in names or "figures_missing" in names:
        from cvfp_core.reporting.figures import draw, missing, views

        data["figures_missing"] = why = missing() if asked.figures is not None else "not_asked"
        data["figures"], drawn = (views(facts), {}) if why is not None else (
            draw(facts, spoken, surfaces="laws" in names, sweeps="optimum" in names,
                 finals="finals" in names))
    with _named(template, registry):
        text = render(template.path, data, spoken, files)
    return Written(text=text, figures=drawn)


def _needs(templates: Sequence[Template], asked: Asked) -> list[str]:
    """The columns they need, with the axes that were asked for in place of the usual ones."""
    instead = {"train_tokens": asked.x, "val_ppl": asked.y}
    return list(dict.fromkeys(instead.get(name) or name for each in templates for name in each.needs))


def _lacking(templates: Sequence[Template], records: pl.DataFrame, asked: Asked) -> list[str]:
    return [name for name in _needs(templates, asked)
            if name not in records.columns or records[name].null_count() == records.height]


def _refuse(template: Template, asked: Asked, names: set[str]) -> None:
    """Raises UsageError for an axis or a law that was asked for, if the template says nothing of it."""
    used = {"x": {"x", "y"}, "y": {"x", "y", "optimum", "finals"}, "law": {"law", "laws", "optimum"},
            "at": {"forecasts"}}
    for option, needed in used.items():
        if getattr(asked, option) is not None and not needed & names:
            raise UsageError(f"--{option}: template '{template.name}' takes none; those that do use "
                             f"{' or '.join(f'`{name}`' for name in sorted(needed))}, such as summary and fits")


@contextmanager
def _named(template: Template, registry: Registry) -> Iterator[None]:
    """Adds to an error of a registered template whose it is; a file that a user gave is named by its path."""
    try:
        yield
    except CvfpError as error:
        items = registry.items(Template)
        own = items.get(template.name) is template
        near = [name for name, item in items.items() if str(error).startswith(f"{item.path}:")] or [
            name for name, item in items.items() if str(error).startswith(f"{item.path.parent}{os.sep}")]
        if not near or (not own and str(error).startswith(str(template.path))):
            raise
        name = template.name if own and template.name in near else near[0]
        owner = registry.owner(Template, name)
        raise CvfpError(f"{error} (template '{name}' of {owner.label})") from None
