r"""Markdown -> a LaTeX article: booktabs tables, included figures, and text that TeX does not read as commands.

For LuaLaTeX or XeLaTeX; English for pdfLaTeX too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it.tree import SyntaxTreeNode

_PREAMBLE = r"""\documentclass[a4paper,10pt]{article}
\usepackage[margin=2cm]{geometry}
\usepackage{iftex}
\iftutex\usepackage{fontspec}\else\usepackage[T1]{fontenc}\usepackage[utf8]{inputenc}\fi
"""
_JAPANESE = r"""\ifluatex\usepackage{luatexja}\else\usepackage{xeCJK}\fi
"""
_PACKAGES = r"""\usepackage{booktabs,longtable,array,graphicx,xcolor,textcomp}
\usepackage[hidelinks]{hyperref}
\setlength{\parindent}{0pt}\setlength{\parskip}{0.5em}
"""
_TEXT = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "–": "--", "—": "---", "…": r"\ldots{}", "α": r"$\alpha$",
    "β": r"$\beta$", "σ": r"$\sigma$", "ρ": r"$\rho$", "Δ": r"$\Delta$", "²": r"\textsuperscript{2}",
    "±": r"$\pm$", "×": r"$\times$", "−": "$-$", "∞": r"$\infty$", "≥": r"$\geq$", "≤": r"$\leq$", "≈": r"$\approx$",
    "→": r"$\rightarrow$", "†": r"\textdagger{}", "‡": r"\textdaggerdbl{}", "§": r"\textsection{}",
    "·": r"\textperiodcentered{}", "\N{NO-BREAK SPACE}": "~",
    "🟢": r"\textcolor{green!60!black}{$\bullet$}", "🟡": r"\textcolor{orange}{$\bullet$}",
    "🔴": r"\textcolor{red!80!black}{$\bullet$}", "⚪": r"$\circ$",
}
_SECTIONS = {"h1": "section", "h2": "section", "h3": "subsection", "h4": "subsubsection"}
_WIDE = 95
"""Letters that a line of a table has room for."""
_LEAST = 12
"""Letters below which a column is not broken into lines."""


def document(markdown: str, *, lang: str = "en") -> str:
    """The article. Images are included by their paths; those that end in .pgf are read as TeX."""
    from markdown_it import MarkdownIt
    from markdown_it.tree import SyntaxTreeNode

    tokens = MarkdownIt("commonmark", {"html": False}).enable("table").parse(markdown)
    tree = SyntaxTreeNode(tokens)
    head = next((node for node in tree.children if node.type == "heading" and node.tag == "h1"), None)
    body = "".join(_block(node) for node in tree.children if node is not head)
    title = f"\\title{{{_inside(head)}}}\n\\date{{}}\n" if head is not None else ""
    pgf = "\\usepackage{pgf}\n" if ".pgf}" in body else ""
    made = "\\maketitle\n" if head is not None else ""
    return (f"{_PREAMBLE}{_JAPANESE if lang == 'ja' else ''}{_PACKAGES}{pgf}{title}\\begin{{document}}\n"
            f"{made}{body}\\end{{document}}\n")


def part(markdown: str) -> str:
    """What is said in Markdown, to be included in an article that uses booktabs, longtable and array."""
    from markdown_it import MarkdownIt
    from markdown_it.tree import SyntaxTreeNode

    tokens = MarkdownIt("commonmark", {"html": False}).enable("table").parse(markdown)
    body = "".join(map(_block, SyntaxTreeNode(tokens).children))
    return "% \\usepackage{booktabs,longtable,array,textcomp}" + body


def escaped(text: str) -> str:
    """The text as TeX prints it."""
    return "".join(_TEXT.get(letter, letter) for letter in text)


def _block(node: SyntaxTreeNode) -> str:
    if node.type == "heading":
        return f"\n\\{_SECTIONS.get(node.tag, 'paragraph')}*{{{_inside(node)}}}\n"
    if node.type == "paragraph":
        inline = node.children[0].children if node.children else []
        if [each.type for each in inline] == ["image"]:
            return _figure(inline[0])
        return f"\n{_inside(node)}\n"
    if node.type in ("bullet_list", "ordered_list"):
        kind = "itemize" if node.type == "bullet_list" else "enumerate"
        items = "".join(f"\\item {''.join(map(_block, item.children)).strip()}\n" for item in node.children)
        return f"\n\\begin{{{kind}}}\n{items}\\end{{{kind}}}\n"
    if node.type == "blockquote":
        return f"\n\\begin{{quote}}{''.join(map(_block, node.children))}\\end{{quote}}\n"
    if node.type in ("fence", "code_block"):
        lines = "\\\\\n".join(f"\\texttt{{{escaped(line)}}}" for line in node.content.rstrip("\n").split("\n"))
        return f"\n\\begin{{quote}}{lines}\\end{{quote}}\n"
    if node.type == "table":
        return _table(node)
    if node.type == "hr":
        return "\n\\medskip\\hrule\\medskip\n"
    return _inside(node)


def _inside(node: SyntaxTreeNode) -> str:
    """The text of a block or span."""
    return "".join(_span(each) for child in node.children for each in
                   (child.children if child.type == "inline" else [child]))


def _span(node: SyntaxTreeNode) -> str:
    if node.type == "text":
        return escaped(node.content)
    if node.type == "code_inline":
        return f"\\texttt{{{escaped(node.content)}}}"
    if node.type in ("softbreak", "hardbreak"):
        return "\n" if node.type == "softbreak" else "\\\\\n"
    within = "".join(map(_span, node.children))
    if node.type == "strong":
        return f"\\textbf{{{within}}}"
    if node.type == "em":
        return f"\\emph{{{within}}}"
    if node.type == "link":
        return f"\\href{{{_target(str(node.attrs['href']))}}}{{{within}}}"
    return escaped(node.content) if not node.children else within


def _figure(node: SyntaxTreeNode) -> str:
    path = str(node.attrs["src"])
    shown = f"\\input{{{path}}}" if path.endswith(".pgf") else f"\\includegraphics[width=\\linewidth]{{{path}}}"
    return f"\n\\begin{{figure}}[htbp]\n\\centering\n{shown}\n\\caption{{{_inside_of(node)}}}\n\\end{{figure}}\n"


def _inside_of(image: SyntaxTreeNode) -> str:
    return "".join(map(_span, image.children)) or escaped(image.content)


def _target(address: str) -> str:
    return re.sub(r"([%#&_{}\\])", r"\\\1", address)


def _table(node: SyntaxTreeNode) -> str:
    """A table that may go over pages, between rules; long texts are broken into lines where it is too wide."""
    rows = [list(row.children) for part in node.children for row in part.children]
    sides = ["r" if "right" in str(cell.attrs.get("style", "")) else "c" if "center" in str(cell.attrs.get("style", ""))
             else "l" for cell in rows[0]]
    texts = [[_inside(cell) for cell in row] for row in rows]
    lengths = [max(len(_plain(row[index])) for row in rows) for index in range(len(sides))]
    columns = _columns(sides, lengths)
    head, *body = [" & ".join(row) + r" \\" for row in texts]
    lines = "\n".join(body)
    return (f"\n{{\\small\\setlength{{\\tabcolsep}}{{4pt}}\n\\begin{{longtable}}{{{columns}}}\n\\toprule\n{head}\n"
            f"\\midrule\n\\endhead\n\\bottomrule\n\\endfoot\n{lines}\n\\end{{longtable}}}}\n")


def _columns(sides: Sequence[str], lengths: Sequence[int]) -> str:
    """The columns as LaTeX declares them; where a line is too long, the longest texts share what others leave."""
    over = sum(lengths) + 2 * len(lengths) - _WIDE
    if over <= 0:
        return "".join(sides)
    broken = [index for index, (side, length) in enumerate(zip(sides, lengths, strict=True))
              if side == "l" and length > _LEAST]
    left = max(_WIDE - 2 * len(lengths) - sum(length for index, length in enumerate(lengths) if index not in broken),
               _LEAST * len(broken))
    total = sum(lengths[index] for index in broken) or 1
    shares = [0.95 * left * length / total / _WIDE for length in lengths]
    return "".join(f">{{\\raggedright\\arraybackslash}}p{{{shares[index]:.3f}\\linewidth}}" if index in broken else side
                   for index, side in enumerate(sides))


def _plain(cell: SyntaxTreeNode) -> str:
    return "".join(child.content for child in cell.children)
