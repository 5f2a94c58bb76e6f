"""Hooks of mkdocs: pages of the site that stand elsewhere in the repository, and the links between all of them.

Pages link to files as the repository has them, so that they can be followed there too.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
ELSEWHERE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "ARCHITECTURE.md": "architecture.md",
    "benchmarks/RESULTS.md": "results.md",
    "examples/phase1-to-ppl/README.md": "examples/phase1-to-ppl/index.md",
    "examples/phase1-to-ppl/report.md": "examples/phase1-to-ppl/report.md",
    "examples/phase1-to-ppl/report.ja.md": "examples/phase1-to-ppl/report.ja.md",
    "examples/cvfp-gru/README.md": "examples/cvfp-gru.md",
    "examples/logs/README.md": "examples/logs.md",
    "examples/scaling-laws.ipynb": "examples/scaling-laws.md",
    "examples/others-runs/README.md": "examples/others-runs.md",
    **{file.relative_to(ROOT).as_posix(): file.relative_to(ROOT).as_posix()
       for file in ROOT.glob("examples/phase1-to-ppl/*_figures/*.svg")},
}
"""File of the repository -> file of the site."""
SOURCES = {site: source for source, site in ELSEWHERE.items()}
LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>(?!\w+:|#)[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The files of docs/ and those that stand elsewhere."""
    for source, site in ELSEWHERE.items():
        if source.endswith(".ipynb"):
            files.append(File.generated(config, site, content=_of_notebook(ROOT / source)))
        else:
            files.append(File.generated(config, site, abs_src_path=str(ROOT / source)))
    return files


def _of_notebook(path: Path) -> str:
    """A notebook as a page: its texts, its code, and what its cells gave."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            given = output.get("data", {"text/plain": output.get("text")})
            data = {form: "".join(text) for form, text in given.items()}
            if "image/png" in data:
                size = output["metadata"]["image/png"]
                parts.append(f'<img alt="{size["alt"]}" width="{size["width"]}" '
                             f'src="data:image/png;base64,{data["image/png"].strip()}">')
            else:
                plain = f"```\n{data['text/plain'].strip()}\n```"
                parts.append(f'<div class="output">{data["text/html"]}</div>' if "text/html" in data else plain)
    return "\n\n".join(parts) + "\n"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """The page with its links as the site has them."""
    here = page.file.src_uri
    source = PurePosixPath(SOURCES.get(here, f"docs/{here}")).parent

    def link(match: re.Match[str]) -> str:
        path = os.path.normpath(source / match["target"])
        site = _site(path)
        if site is None:
            return match["text"] if (ROOT / path).exists() else match[0]  # mkdocs refuses a link to what is nowhere
        target = os.path.relpath(site, PurePosixPath(here).parent)
        return f"{match['image']}[{match['text']}]({target}{match['anchor'] or ''})"

    return LINK.sub(link, markdown)


def _site(path: str) -> str | None:
    """What the site calls a file of the repository, or the page of a folder; None: it has none."""
    for name in (path, f"{path}/README.md"):
        if name in ELSEWHERE:
            return ELSEWHERE[name]
    inside = PurePosixPath(path)
    return inside.relative_to("docs").as_posix() if inside.parts[0] == "docs" and inside.suffix != ".py" else None
