"""A report from inputs to text: the template found, its options checked, the view computed, figures made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cvfp_core.errors import CvfpError, UsageError
from cvfp_core.ingesting.reading import Inputs
from cvfp_core.registry import Registry
from cvfp_core.registry.kinds import Template
from cvfp_core.registry.options import resolve
from cvfp_core.reporting.language import translations
from cvfp_core.reporting.names import FigureView
from cvfp_core.reporting.render import names_used, render
from cvfp_core.reporting.view import view
from cvfp_core.schema.settings import Scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a user says about a report."""

    lang: str = "en"
    options: Mapping[str, Scalar | None] = field(default_factory=dict)
    command: str = ""
    figures: str | None = None
    """Folder of the figures as the report links to it; None: no figures."""


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


def write(inputs: Inputs, template: Template, registry: Registry, asked: Asked | None = None) -> Written:
    """The report that the template makes of the inputs. Raises CvfpError if the records lack what it needs."""
    asked = asked or Asked()
    options = dict(asked.options)
    if template.options is not None:
        options = resolve(f"template '{template.name}'", template.options, asked.options)
    lacking = [name for name in template.needs
               if name not in inputs.records.columns or inputs.records[name].null_count() == inputs.records.height]
    if lacking:
        raise CvfpError(f"template '{template.name}' needs {', '.join(template.needs)}; no run has "
                        f"{', '.join(lacking)}")
    catalogues = [each.catalogue for each in (template, *registry.items(Template).values()) if each.catalogue]
    spoken = translations(asked.lang, list(dict.fromkeys(catalogues)))
    with _named(template, registry):
        names = names_used(template.path)
    drawn: dict[str, str] = {}
    needed = names | ({"series", "forecasts"} if "figures" in names and asked.figures is not None else set())
    data = view(inputs, registry, needed, lang=asked.lang, options=options, command=asked.command)
    if "figures" in names or "figures_missing" in names:
        from cvfp_core.reporting.figures import TITLES, draw, missing

        why = missing() if asked.figures is not None else "not_asked"
        figures: dict[str, FigureView] = {
            name: {"name": name, "path": None, "title": title} for name, title in TITLES.items()
        }
        if why is None and asked.figures is not None:
            for name, svg in draw(data, inputs, spoken).items():
                figures[name]["path"] = f"{asked.figures}/{name}.svg"
                drawn[f"{asked.figures}/{name}.svg"] = svg
        data["figures"], data["figures_missing"] = figures, why
    with _named(template, registry):
        text = render(template.path, data, spoken)
    return Written(text=text, figures=drawn)


@contextmanager
def _named(template: Template, registry: Registry) -> Iterator[None]:
    """Adds to an error of a registered template whose it is; a file that a user gave is named by its path."""
    try:
        yield
    except CvfpError as error:
        if registry.items(Template).get(template.name) is not template:
            raise
        owner = registry.owner(Template, template.name)
        raise CvfpError(f"{error} (template '{template.name}' of {owner.label})") from None
