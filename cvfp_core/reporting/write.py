"""A report from inputs to text: the template found, its options checked, the view computed, figures made."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from cvfp_core.errors import CvfpError, UsageError
from cvfp_core.ingesting.reading import Inputs
from cvfp_core.registry import Registry
from cvfp_core.registry.guard import returned
from cvfp_core.registry.kinds import Law, Template
from cvfp_core.reporting.figures.marks import Plot
from cvfp_core.reporting.html import CONTENTS, VERDICTS
from cvfp_core.reporting.language import translations
from cvfp_core.reporting.limited import PREFIX, Limits
from cvfp_core.reporting.names import View
from cvfp_core.reporting.render import environment, figures_used, names_used, render, trees
from cvfp_core.reporting.view import Asked, Facts
from cvfp_core.schema.options import resolve

__all__ = ["Asked", "Written", "find", "write"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A report: its Markdown, and its figures by path: text of SVG and PGF, bytes of PNG and PDF."""

    text: str
    figures: Mapping[str, str | bytes]
    plots: Mapping[str, Plot]
    """What they show, by the path the report links to."""
    words: Mapping[str, str]
    """`Contents` and the words of verdicts in the report's language."""
    lacks: str | None = None
    """Why figures that the template has are left out: `not_installed`, `not_asked`; None if they are there."""


def find(name: str, registry: Registry) -> Template:
    """The template of that name, or made of a file ending in .j2; a catalogue `locale` beside the file is its own."""
    if not name.endswith(".j2"):
        return registry.get(Template, name)
    file = Path(name)
    if not file.is_file():
        raise UsageError(f"template file '{file}' does not exist")
    locale = file.parent / "locale"
    return Template(name=file.name, title="", path=file, catalogue=locale if locale.is_dir() else None, options=None)


def suited(records: pl.DataFrame, registry: Registry) -> Template:
    """The first template whose `suits` is true of the records, in order of registration."""
    items = registry.items(Template)
    for item in items.values():
        if item.suits is not None and not _lacking([item], records, Asked()):
            with registry.blaming(Template, item.name):
                fits = item.suits(records)
            if fits:
                return item
    raise UsageError(f"no template says that it suits these runs; name one: --template {', '.join(items) or 'FILE'}")


def about(template: Template, records: pl.DataFrame, registry: Registry) -> dict[str, Any]:
    """The axes, series and law that a template takes where none is asked for; nothing where it leaves them."""
    if template.about is None:
        return {}
    with registry.blaming(Template, template.name):
        found = returned("about", template.about(records), Mapping)
    law = found.get("law")
    return {"x": found.get("x"), "y": found.get("y"), "by": found.get("by"),
            "law": law if law in registry.items(Law) else None}


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
    if {asked.x, asked.y, asked.law, asked.by} == {None}:
        asked = replace(asked, **about(template, inputs.records, registry))
    limits = Limits.of(asked.options)
    own = {name: value for name, value in asked.options.items() if not name.startswith(PREFIX)}
    asked = replace(asked, options=own)
    with _named(template, registry):
        made = environment(template.path, spoken, files, limits)
        taken = trees(template.path, files, made)
        kin = [item for item in items.values() if item.path in taken and item is not template]
        if inputs.stores and inputs.records.is_empty() and "finals" not in names_used(taken):
            from cvfp_core.running.standing import nothing_finished

            raise nothing_finished(inputs.stores, registry)
        lacking = _lacking([template, *kin], inputs.records, asked)
        if lacking:
            raise CvfpError(f"template '{template.name}' needs {', '.join(_needs([template, *kin], asked))}; no run "
                            f"has {', '.join(lacking)}")
        names, parents = names_used(taken), {template.name, *(each.name for each in kin)}
        sections = [item for item in items.values() if item.section_of in parents] if "sections" in names else []
        for section in sections:
            taken |= trees(section.path, files, made)
        names |= names_used(taken) if sections else set()
    _refuse(template, asked, names)
    known = {option.name: option for item in (*reversed(sections), *kin, template) for option in item.options or ()}
    if template.options is not None:
        resolve(f"template '{template.name}'", list(known.values()), asked.options)
    defaults = {name: option.default for name, option in known.items()}
    asked = replace(asked, options=defaults | dict(asked.options))
    facts = Facts(inputs, registry, asked, limits.runs)
    data = facts.view(names & set(View.__annotations__) - {"figures", "figures_missing", "sections"})
    data["sections"] = [section.name for section in sections if not _lacking([section], facts.records, asked)]
    plots: dict[str, Plot] = {}
    why = None
    if "figures" in names or "figures_missing" in names:
        from cvfp_core.reporting.figures import report
        from cvfp_core.reporting.figures.formats import missing

        data["figures_missing"] = why = missing() if asked.figures is not None else "not_asked"
        if why is None:
            plots = report.plots(facts, spoken, figures_used(taken.values(), report.TITLES))
        linked = {name: f"{asked.figures}/{name}.{asked.formats[0]}" for name in plots}
        data["figures"] = report.views(facts, linked)
    with _named(template, registry):
        text = render(template.path, data, made)
    shown = {name: plot for name, plot in plots.items() if linked[name] in text}
    return Written(text=text, lacks=why, words={word: spoken.gettext(word) for word in (CONTENTS, *VERDICTS)},
                   plots={linked[name]: plot for name, plot in shown.items()},
                   figures={f"{asked.figures}/{name}.{kind}": _drawn(plot, kind, asked.lang)
                            for name, plot in shown.items() for kind in asked.formats})


def _drawn(plot: Plot, kind: str, lang: str) -> str | bytes:
    from cvfp_core.reporting.figures.paint import written

    return written(plot, kind, lang)


def _needs(templates: Sequence[Template], asked: Asked) -> list[str]:
    """The columns they need, with the axes that were asked for in place of the usual ones."""
    instead = {"train_tokens": asked.x, "val_ppl": asked.y}
    return list(dict.fromkeys(instead.get(name) or name for each in templates for name in each.needs))


def _lacking(templates: Sequence[Template], records: pl.DataFrame, asked: Asked) -> list[str]:
    return [name for name in _needs(templates, asked)
            if name not in records.columns or records[name].null_count() == records.height]


def _refuse(template: Template, asked: Asked, names: set[str]) -> None:
    """Raises UsageError for an axis or a law that was asked for, if the template says nothing of it."""
    used = {"x": {"x", "y"}, "y": {"x", "y", "optimum", "plan", "finals"}, "law": {"law", "laws", "optimum", "plan"},
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
