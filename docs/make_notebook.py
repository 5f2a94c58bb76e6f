"""Runs examples/scaling-laws.ipynb and keeps what its cells give.

    python docs/make_notebook.py
"""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbclient import NotebookClient

FILE = Path(__file__).parents[1] / "examples" / "scaling-laws.ipynb"
KEPT = ("text/plain", "text/html", "image/png")
"""Forms of a result that pages show; Markdown and LaTeX are made from it when they are asked for."""


def main() -> None:
    FILE.write_text(f"{nbformat.writes(executed())}\n", encoding="utf-8")


def executed() -> nbformat.NotebookNode:
    """The notebook with what its cells give now."""
    notebook = nbformat.read(FILE, as_version=4)
    NotebookClient(notebook, timeout=600, record_timing=False, resources={"metadata": {"path": str(FILE.parent)}}
                   ).execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            for form in [form for form in output.get("data", ()) if form not in KEPT]:
                del output.data[form]
    return notebook


if __name__ == "__main__":
    main()
