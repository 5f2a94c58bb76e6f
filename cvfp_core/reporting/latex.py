r"""Markdown -> a LaTeX article: booktabs tables, included figures, and text that TeX does not read as commands.

For LuaLaTeX or XeLaTeX; English for pdfLaTeX too. The first line of the file says so.
"""

from __future__ import annotations

import re
import unicodedata
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
_ENGINES = {"ja": "LuaLaTeX, with luatexja; or XeLaTeX, with xeCJK and a Japanese font (\\setCJKmainfont)"}
"""That compile a language; others by every engine."""
_PACKAGES = r"""\usepackage{booktabs,longtable,array,graphicx,xcolor,textcomp}
\usepackage[hidelinks]{hyperref}
\setlength{\parindent}{0pt}\setlength{\parskip}{0.5em}\setlength{\emergencystretch}{3em}
\let\plainunderscore\_\renewcommand{\_}{\plainunderscore\allowbreak}
"""
_PART = r"""% \usepackage{booktabs,longtable,array,textcomp}
\ifdefined\plainunderscore\else\let\plainunderscore\_\fi
"""
"""Of a part of an article: what it needs, and what an article of ours defines."""
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
_SIZES = {"small": 95, "footnotesize": 107, "scriptsize": 122, "tiny": 170}
"""Of fonts, and letters that a line of a table has room for."""
_INTERVAL = re.compile(r"(\[[^\[\],]{1,12},) (?=[^\[\],]{1,12}\])")


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
    engines = _ENGINES.get(lang, "pdfLaTeX, LuaLaTeX or XeLaTeX")
    return (f"% Compile with {engines}.\n{_PREAMBLE}{_JAPANESE if lang == 'ja' else ''}{_PACKAGES}{pgf}{title}"
            f"\\begin{{document}}\n{made}{body}\\end{{document}}\n")


def part(markdown: str) -> str:
    """What is said in Markdown, to be included in an article that uses booktabs, longtable and array."""
    from markdown_it import MarkdownIt
    from markdown_it.tree import SyntaxTreeNode

    tokens = MarkdownIt("commonmark", {"html": False}).enable("table").parse(markdown)
    body = "".join(map(_block, SyntaxTreeNode(tokens).children))
    return f"{_PART}{body}"


def escaped(text: str) -> str:
    """The text as TeX prints it."""
    return "".join(_TEXT.get(letter, letter) for letter in text)


def _block(node: SyntaxTreeNode) -> str:
    if node.type == "heading":
        return f"\n\\{_SECTIONS.get(node.tag, 'paragraph')}*{{{_inside(node)}}}\n"
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
    inline = node.children[0].children if node.children else []  # of a paragraph
    if [each.type for each in inline] == ["image"]:
        return _figure(inline[0])
    return f"\n{_inside(node)}\n"


def _inside(node: SyntaxTreeNode) -> str:
    """The text of a block or span."""
    return "".join(map(_span, node.children))


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
    drawn = f"\\input{{{path}}}" if path.endswith(".pgf") else f"\\includegraphics{{{path}}}"
    shown = f"\\resizebox{{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}}{{!}}{{{drawn}}}"
    return f"\n\\begin{{figure}}[htbp]\n\\centering\n{shown}\n\\caption{{{_inside_of(node)}}}\n\\end{{figure}}\n"


def _inside_of(image: SyntaxTreeNode) -> str:
    return "".join(map(_span, image.children)) or escaped(image.content)


def _target(address: str) -> str:
    return re.sub(r"([%#&_{}\\])", r"\\\1", address)


def _table(node: SyntaxTreeNode) -> str:
    """A table that may go over pages, between rules; texts are broken into lines where it is too wide."""
    rows = [list(row.children) for part in node.children for row in part.children]
    sides = ["r" if "right" in str(cell.attrs.get("style", "")) else "c" if "center" in str(cell.attrs.get("style", ""))
             else "l" for cell in rows[0]]
    plain = [[_INTERVAL.sub("\\1\N{NO-BREAK SPACE}", _plain(cell)) for cell in row] for row in rows]
    size, columns = _columns(sides, list(zip(*plain, strict=True)))
    head, *body = [" & ".join(_INTERVAL.sub(r"\1~", _inside(cell)) for cell in row) + r" \\" for row in rows]
    lines = "\n".join(body)
    return (f"\n{{\\{size}\\setlength{{\\tabcolsep}}{{4pt}}\\let\\_\\plainunderscore\n"
            f"\\begin{{longtable}}{{{columns}}}\n\\toprule\n{head}\n\\midrule\n\\endhead\n\\bottomrule\n\\endfoot\n{lines}\n\\end{{longtable}}}}\n")


def _columns(sides: Sequence[str], texts: Sequence[Sequence[str]]) -> tuple[str, str]:
    """The largest font in which the columns have room, and these as LaTeX declares them.

    texts: of each column, its heading first. Words stay whole, numbers with their signs too: `r` and `c` columns are
    broken in their heading only. What is left of the line is shared among columns that need more.
    """
    whole = [max(map(_wide, column)) for column in texts]
    least = [max([_word(head), *map(_word if side == "l" else _wide, cells)])
             for side, (head, *cells) in zip(sides, texts, strict=True)]
    for size, room in _SIZES.items():
        room -= 2 * len(sides)
        if sum(whole) <= room:
            return size, "".join(sides)
        if sum(least) <= room:
            break
    more = max(room - sum(least), 0)
    wanted = sum(whole) - sum(least) or 1
    widths = [low + more * (high - low) / wanted for low, high in zip(least, whole, strict=True)]
    line = (max(room, sum(least)) + 2 * len(sides)) / 0.97
    turned = {"l": "raggedright", "r": "raggedleft", "c": "centering"}
    return size, "".join(
        side if high == low else f">{{\\{turned[side]}\\arraybackslash}}p{{{width / line:.3f}\\linewidth}}"
        for side, width, low, high in zip(sides, widths, least, whole, strict=True))


def _wide(text: str) -> int:
    """Its length, where letters of Chinese or Japanese are twice as wide."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _word(text: str) -> int:
    """The length of its longest part that is not broken; Japanese is, though not letter by letter."""
    return max(map(_wide, re.findall(r"[\u3000-\u9fff\uff00-\uffef]{1,4}|[^ \u3000-\u9fff\uff00-\uffef]+", text)),
               default=0)


def _plain(cell: SyntaxTreeNode) -> str:
    return "".join(child.content for child in cell.children)
