"""Formats of figures, and whether this machine can write them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress

from cvfp_core.errors import UsageError

FORMATS = ("svg", "png", "pdf", "pgf")
_TEX = ("xelatex", "lualatex", "pdflatex")
_WIDE_FONTS = ("Hiragino Sans", "Noto Sans CJK JP", "Noto Sans JP", "Yu Gothic", "Meiryo", "IPAexGothic", "IPAGothic")


def missing() -> str | None:
    """Why figures cannot be made, as a message; None if they can."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return "not_installed"
    return None


def check(formats: Sequence[str], lang: str = "en") -> None:
    """Raises UsageError for a format that is unknown, or that this machine cannot write in the language."""
    for each in formats:
        if each not in FORMATS:
            raise UsageError(f"--figures {each}: no such format; there are {', '.join(FORMATS)}")
    if missing() is not None:
        return  # the report says so
    if "pgf" in formats and tex_installed() is None:
        raise UsageError(f"--figures pgf is measured by TeX, and none is installed (looked for {', '.join(_TEX)}); "
                         "install one, or take pdf")
    drawn = [each for each in formats if each in ("png", "pdf")]
    if drawn and lang == "ja" and not wide_fonts():
        raise UsageError(f"--figures {drawn[0]} in ja needs a Japanese font, and none is installed (looked for "
                         f"{', '.join(_WIDE_FONTS)}); install one, or take svg, which leaves text to readers' fonts")


def tex_installed() -> str | None:
    """The TeX that measures PGF; None: none is installed."""
    return next((name for name in _TEX if shutil.which(name)), None)


def wide_fonts() -> list[str]:
    """Fonts with Japanese letters that are installed."""
    from matplotlib import font_manager

    def known() -> list[str]:
        names = {each.name for each in font_manager.fontManager.ttflist}
        return [each for each in _WIDE_FONTS if each in names]

    if not known():  # matplotlib's list of fonts is kept, and does not see those installed since
        listed = {each.fname for each in font_manager.fontManager.ttflist}
        for path in {*font_manager.findSystemFonts()} - listed:
            with suppress(Exception):  # a file that is no font matplotlib reads
                font_manager.fontManager.addfont(path)
    return known()
