"""Markdown -> one HTML page that reads at any width, with raw HTML in the Markdown shown as text."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markdown_it.token import Token

VERDICTS = {"supported": "good", "better": "good", "contradicted": "bad", "worse": "bad", "confounded": "open",
            "inconclusive": "open", "not settled": "open", "equivalent": "even", "not tested": "even"}
"""Words that get a colour where they stand alone in a cell or in bold, and which."""
CONTENTS = "Contents"
_STYLE = """\
:root { color-scheme: light; }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; background: #fff; overflow-wrap: anywhere;
  font: 16px/1.6 system-ui, "Hiragino Sans", "Noto Sans CJK JP", "Yu Gothic", sans-serif; }
h1, h2, h3 { line-height: 1.3; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ddd; }
nav { margin: 1.5rem 0; padding: .6rem 1rem; background: #f7f7f7; font-size: .9rem; } nav summary { font-weight: 600; }
nav ol { margin: .4rem 0; padding-left: 1.2rem; columns: 17rem; } nav a { color: inherit; }
.table { overflow-x: auto; margin: 1rem 0; } table { border-collapse: collapse; font-size: .9rem;
  font-variant-numeric: tabular-nums; overflow-wrap: normal; } td[style] { white-space: nowrap; }
th, td { border: 1px solid #ddd; padding: .3rem .6rem; min-width: 3em; } th { background: #f5f5f5; }
.good { color: #00693e; font-weight: 600; } .bad { color: #a00000; font-weight: 600; }
.open { color: #8a5a00; font-weight: 600; } .even { color: #555; font-weight: 600; }
img { max-width: 100%; height: auto; } code { background: #f5f5f5; padding: .1rem .3rem; }
blockquote { margin: 1rem 0; padding-left: 1rem; border-left: 3px solid #ccc; color: #555; }
.chart { display: block; overflow-x: auto; margin: 1rem 0; }
@media print { nav { display: none; } .table { overflow: visible; } }
"""
_NUMBER = re.compile(r"^[<~≈]? ?[-+−]?[\d.,]+(e[-+]?\d+)?[%KMBTx†‡§*+]*$|^[–-]?$")
_INTERVAL = re.compile(r"^[^ ]* ?\[.*\]$|^[–-]?$")
_DRAW = """
for (const spec of document.querySelectorAll("script.spec"))
  vegaEmbed(spec.previousElementSibling.firstElementChild, JSON.parse(spec.textContent),
            {renderer: "svg", actions: false});
"""


def page(markdown: str, *, lang: str = "en", figures: Mapping[str, str | bytes] | None = None,
         words: Mapping[str, str] | None = None, charts: Mapping[str, Mapping[str, Any]] | None = None,
         bundle: str = "") -> str:
    """The page.

    figures: SVG or PNG by path, put into it instead of linked to. words: `Contents` and the words of `VERDICTS` as the
    report's language has them. charts: Vega-Lite specifications by path, drawn in place of figures by the bundle, the
    JavaScript that draws them, which is put into the page once.
    """
    from markdown_it import MarkdownIt

    words, parser = words or {}, MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    _align(tokens)
    sections = _anchored(tokens)
    _coloured(tokens, {words.get(word, word): kind for word, kind in VERDICTS.items()})
    body = parser.renderer.render(tokens, parser.options, {})
    body = body.replace("<table>", '<div class="table"><table>').replace("</table>", "</table></div>")
    body = re.sub(r'<img src="([^"]+)"( alt="[^"]*")? ?/?>',
                  lambda found: _shown(found, figures or {}, charts or {}), body)
    if len(sections) > 2:
        body = body.replace("</h1>", f"</h1>\n{_contents(sections, words.get(CONTENTS, CONTENTS))}", 1)
    heading = re.search(r"<h1>(.*?)</h1>", body, re.DOTALL)
    title = re.sub(r"<[^>]+>", "", heading.group(1)) if heading else "cvfp"
    script = f"<script>\n{_inside(bundle)}\n{_DRAW}</script>\n" if charts and bundle else ""
    return (f'<!doctype html>\n<html lang="{html.escape(lang)}">\n<head>\n<meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{title}</title>\n'
            f"<style>\n{_STYLE}</style>\n</head>\n<body>\n{body}{script}</body>\n</html>\n")


def _shown(found: re.Match[str], figures: Mapping[str, str | bytes], charts: Mapping[str, Mapping[str, Any]]) -> str:
    """An image as a chart to hover over, as the figure itself, or as the link it is."""
    path = html.unescape(found.group(1))
    if path in charts:
        spec = _inside(json.dumps(charts[path], ensure_ascii=False, allow_nan=False, separators=(",", ":")))
        return f'<span class="chart"><span></span></span><script type="application/json" class="spec">{spec}</script>'
    figure = figures.get(path)
    if figure is None:
        return found.group(0)
    kind = "svg+xml" if isinstance(figure, str) else "png"
    data = base64.b64encode(figure.encode() if isinstance(figure, str) else figure).decode()
    return f'<img src="data:image/{kind};base64,{data}"{found.group(2) or ""} />'


def _inside(script: str) -> str:
    """A script that does not end the element it stands in."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _anchored(tokens: Sequence[Token]) -> list[tuple[str, str]]:
    """(anchor, text) of every section; its heading gets the anchor."""
    found: list[tuple[str, str]] = []
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open" and opening.tag == "h2":
            anchor = f"section-{len(found) + 1}"
            opening.attrSet("id", anchor)
            found.append((anchor, "".join(each.content for each in inline.children or [])))
    return found


def _contents(sections: Sequence[tuple[str, str]], title: str) -> str:
    rows = "\n".join(f'<li><a href="#{anchor}">{html.escape(text)}</a></li>' for anchor, text in sections)
    return f"<nav><details open><summary>{html.escape(title)}</summary>\n<ol>\n{rows}\n</ol></details></nav>"


def _align(tokens: Sequence[Token]) -> None:
    """Sets columns of numbers to the right, with their headings, and keeps intervals on one line."""
    table: list[list[tuple[Token, str]]] = []
    for token, inline in pairwise(tokens):
        if token.type == "table_open":
            table = []
        elif token.type == "tr_open":
            table.append([])
        elif token.type in ("th_open", "td_open"):
            table[-1].append((token, "".join(each.content for each in inline.children or [])))
        elif token.type == "tbody_close":
            for column in zip(*table, strict=True):
                texts = [text for _, text in column[1:]]
                if not any(text.strip("–-") for text in texts):
                    continue
                for shape, style in ((_NUMBER, "text-align:right"), (_INTERVAL, "white-space:nowrap")):
                    if all(shape.match(text) for text in texts):
                        for cell, _ in column:
                            cell.attrSet("style", style)


def _coloured(tokens: Sequence[Token], verdicts: Mapping[str, str]) -> None:
    """Gives verdicts their class: cells that are nothing else, and words in bold that begin with one."""
    for token, inline in pairwise(tokens):
        if token.type == "td_open" and (kind := verdicts.get(inline.content.strip("* "))):
            token.attrSet("class", kind)
        children = token.children or []
        for opening, text in pairwise(children):
            if opening.type == "strong_open" and (kind := verdicts.get(text.content.strip(": "))):
                opening.attrSet("class", kind)
