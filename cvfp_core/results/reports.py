"""A report written from runs, as a value that a notebook shows and a file keeps."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from cvfp_core.errors import UsageError
from cvfp_core.reporting import write as writing
from cvfp_core.reporting.figures import formats
from cvfp_core.results.arguments import verb
from cvfp_core.results.runs import Asked
from cvfp_core.schema import atomic

Form = Literal["markdown", "html", "latex"]
_FORMS: dict[str, Form] = {"": "markdown", ".md": "markdown", ".markdown": "markdown", ".html": "html",
                           ".htm": "html", ".tex": "latex"}
_SHOWN: dict[Form, tuple[str, ...]] = {"markdown": ("svg", "png"), "html": ("svg", "png"),
                                       "latex": ("pdf", "pgf", "png")}
"""Figures that a report of that form can show, those it shows unasked first."""
_INSTEAD = {".pdf": "write .html and print it from a browser, or .tex and compile it",
            ".ipynb": "write .md, or call cvfp.write_report in the notebook"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Report:
    """A report: its text, and its figures by the path the report links to, text of SVG and PGF, bytes of others."""

    text: str
    figures: Mapping[str, str | bytes]
    form: Form
    template: str
    """Name of the template it is by."""
    shown: int = 0
    """Figures that it shows."""
    lacks: str | None = None
    """Why figures that the template has are left out: `not_installed`, `not_asked`."""

    @property
    def html(self) -> bool:
        """Whether it is a page."""
        return self.form == "html"

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    def _repr_markdown_(self) -> str | None:
        return self.text if self.form == "markdown" else None

    def _repr_html_(self) -> str | None:
        """A page in a frame of its own: its styles are not the notebook's."""
        return f'<iframe srcdoc="{escape(self.text)}" style="width:100%;height:40rem;border:0"></iframe>' \
            if self.html else None

    @property
    def with_figures(self) -> str:
        """How many figures it shows, as it continues `is written`; why none, where it lacks them unasked."""
        if self.lacks == "not_installed":
            return " without figures, as matplotlib is not installed: pip install 'cvfp[figures]'"
        return f" with {self.shown} figure{'s' * (self.shown > 1)}" if self.shown else ""

    @verb
    def save(self, path: str | Path) -> None:
        """Writes the report, and its figures beside it; the folders are made."""
        out = Path(path)
        for name, figure in self.figures.items():
            atomic.save(out.parent / name, figure)
        atomic.save(out, self.text)


def report(asked: Asked, out: Path | None, template: str | None, lang: str, *, law: str | None = None,
           at: Mapping[str, Any] | None = None, html: bool = False, embed: bool = False, interactive: bool = False,
           figures: bool | Sequence[str] = True, command: str = "") -> Report:
    """The report of what was asked, by a template's name or file; nothing is written.

    out: where it will stand: its figures go beside it, and its ending says its form. template: None: the one that
    suits the runs. html: a page, as with embed: figures inside, and interactive: figures to hover over inside.
    figures: their formats beside the one shown, or whether there are any.
    """
    form = form_of(out, html=html or embed or interactive)
    at = at and asked.places(at)
    inside = embed or interactive
    kinds = _kinds(form, figures)
    folder = f"{out.stem}_figures" if figures is not False and out is not None else \
        "embedded" if figures is not False and inside else None
    if folder is not None:
        formats.check(kinds, lang)
    bundle = _bundle() if interactive and folder is not None else ""
    registry = asked.runs.registry
    item = writing.suited(asked.runs.inputs.records, registry) if template is None else writing.find(template, registry)
    made = writing.write(
        asked.runs.inputs, item, registry,
        writing.Asked(lang=lang, options=asked.options, figures=folder, formats=kinds, command=command, x=asked.x,
                      y=asked.y, by=asked.by, law=None if law == "auto" else law, at=at),
    )
    text, figures_beside = made.text, made.figures
    if form == "latex":
        from cvfp_core.reporting.latex import document

        text = document(text, lang=lang)
    elif form == "html":
        from cvfp_core.reporting.figures.vega import spec
        from cvfp_core.reporting.html import page

        charts = {path: spec(plot) for path, plot in made.plots.items()} if interactive else {}
        text = page(text, lang=lang, figures=made.figures if inside else None, words=made.words, charts=charts,
                    bundle=bundle)
        if inside:
            figures_beside = {path: each for path, each in made.figures.items() if Path(path).suffix[1:] != kinds[0]}
    return Report(text=text, figures=figures_beside, form=form, template=item.name, shown=len(made.plots),
                  lacks=made.lacks)


def form_of(out: Path | None, *, html: bool = False) -> Form:
    """The form that the ending of the file says. Raises UsageError for one that is not written."""
    if out is None:
        return "html" if html else "markdown"
    ending = out.suffix.lower()
    form = _FORMS.get(ending)
    if form is None:
        raise UsageError(f"cannot write '{out}': a report is .md, .html or .tex, not {ending}; "
                         f"{_INSTEAD.get(ending, 'name it one of these')}")
    if html and form != "html" and ending:
        raise UsageError(f"--html, --embed and --interactive write a page, and '{out}' ends in {ending}; "
                         f"name it {out.with_suffix('.html').name}")
    return "html" if html else form


def _kinds(form: Form, figures: bool | Sequence[str]) -> tuple[str, ...]:
    """The formats of the figures, first the one that the report shows."""
    given = [] if isinstance(figures, bool) else list(figures)
    shown = next((each for each in _SHOWN[form] if each in given), _SHOWN[form][0])
    return tuple(dict.fromkeys([shown, *given]))


def _bundle() -> str:
    try:
        bundle: str = import_module("vl_convert").javascript_bundle()
    except ImportError:
        raise UsageError("--interactive needs the JavaScript that draws figures, which is not installed; "
                         "pip install 'cvfp[interactive]'") from None
    return bundle


def refuse_unwritable(out: Path) -> None:
    """Raises UsageError, before any work, if the report could not be written at its end; folders may be missing."""
    refuse_unwritable_file(out)
    form_of(out)


def refuse_unwritable_file(out: Path) -> None:
    """The same of any file."""
    try:
        there = next((path for path in (out, *out.absolute().parents) if path.exists()), out)
    except OSError as error:  # a name that is too long
        raise UsageError(f"cannot write '{out}': {error.strerror or error}") from None
    wanted = os.W_OK if there == out else os.W_OK | os.X_OK
    if out.is_dir():
        why = "it is a folder; give a file, such as report.md"
    elif there != out and not there.is_dir():
        why = f"'{there}' is no folder"
    elif not os.access(there, wanted):
        why = "permission denied" if there == out else f"the folder '{there}' cannot be written to"
    else:
        return
    raise UsageError(f"cannot write '{out}': {why}")
