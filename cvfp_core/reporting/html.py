"""Markdown -> one HTML page, with raw HTML in the Markdown shown as text."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping

_STYLE = """\
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; background: #fff;
  font: 16px/1.6 system-ui, "Hiragino Sans", "Noto Sans CJK JP", "Yu Gothic", sans-serif; }
h1, h2, h3 { line-height: 1.3; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; margin: 1rem 0; font-size: .9rem; display: block; overflow-x: auto;
  font-variant-numeric: tabular-nums; }
th, td { border: 1px solid #ddd; padding: .3rem .6rem; } th { background: #f5f5f5; }
img { max-width: 100%; } code { background: #f5f5f5; padding: .1rem .3rem; overflow-wrap: anywhere; }
blockquote { margin: 1rem 0; padding-left: 1rem; border-left: 3px solid #ccc; color: #555; }
"""
_IMAGE = re.compile(r'<img src="([^"]+)"')


def page(markdown: str, *, lang: str = "en", figures: Mapping[str, str] | None = None) -> str:
    """The page; figures (SVG by path) are put into it instead of linked to."""
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    if figures:
        body = _IMAGE.sub(lambda found: _embedded(found, figures), body)
    heading = re.search(r"<h1>(.*?)</h1>", body, re.DOTALL)
    title = re.sub(r"<[^>]+>", "", heading.group(1)) if heading else "cvfp"
    return (f'<!doctype html>\n<html lang="{html.escape(lang)}">\n<head>\n<meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{title}</title>\n'
            f"<style>\n{_STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n")


def _embedded(found: re.Match[str], figures: Mapping[str, str]) -> str:
    svg = figures.get(html.unescape(found.group(1)))
    if svg is None:
        return found.group(0)
    return f'<img src="data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"'
