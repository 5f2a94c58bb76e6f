"""A report written from runs, as a value that a notebook shows and a file keeps."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cvfp_core.errors import UsageError
from cvfp_core.reporting import write as writing
from cvfp_core.results.runs import Asked


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Report:
    """A report: its Markdown or HTML, and its figures as SVG by the path the report links to."""

    text: str
    figures: Mapping[str, str]
    html: bool

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    def _repr_markdown_(self) -> str | None:
        return None if self.html else self.text

    def _repr_html_(self) -> str | None:
        return self.text if self.html else None

    def save(self, out: Path) -> None:
        """Writes the report, and its figures beside it; the folders are made."""
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            for name, svg in self.figures.items():
                file = out.parent / name
                file.parent.mkdir(exist_ok=True)
                file.write_text(svg, encoding="utf-8", newline="\n")
            out.write_text(self.text, encoding="utf-8", newline="\n")
        except OSError as error:
            raise UsageError(f"cannot write '{out}': {error.strerror or error}") from None


def report(asked: Asked, out: Path | None, template: str, lang: str, *, law: str | None = None,
           at: Mapping[str, Any] | None = None, html: bool = False, embed: bool = False,
           figures: bool = True, command: str = "") -> Report:
    """The report of what was asked, by a template's name or file; nothing is written.

    out: where it will stand: its figures go beside it, and its ending says whether it is HTML.
    """
    html = html or embed or (out is not None and out.suffix.lower() in (".html", ".htm"))
    folder = f"{out.stem}_figures" if figures and out is not None else "embedded" if figures and embed else None
    registry = asked.runs.registry
    made = writing.write(
        asked.runs.inputs, writing.find(template, registry), registry,
        writing.Asked(lang=lang, options=asked.options, figures=folder, command=command, x=asked.x, y=asked.y,
                      by=asked.by, law=None if law == "auto" else law, at=at),
    )
    text = made.text
    if html:
        from cvfp_core.reporting.html import page

        text = page(text, lang=lang, figures=made.figures if embed else None)
    return Report(text=text, figures={} if embed else made.figures, html=html)


def refuse_unwritable(out: Path) -> None:
    """Raises UsageError, before any work, if the file could not be written at its end; folders may be missing."""
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
