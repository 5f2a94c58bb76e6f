"""matplotlib's figure, which a notebook shows without pyplot; imported where a figure is drawn."""

from __future__ import annotations

import io

from matplotlib.figure import Figure
from PIL import Image

_PER_INCH = 96
"""Pixels of a page; the picture has twice as many, for sharp screens."""


class ShownFigure(Figure):
    """A figure that a notebook shows as it is now."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int | str]]:
        """The picture, of few colours as notebooks keep it, the size to show it in, and what it shows, in words."""
        drawn, small = io.BytesIO(), io.BytesIO()
        self.savefig(drawn, format="png", dpi=2 * _PER_INCH)
        picture: Image.Image = Image.open(drawn)
        if picture.getextrema()[-1] == (255, 255):  # nothing shines through
            picture = picture.convert("RGB").quantize(256)
        picture.save(small, format="png", optimize=True)
        width, height = self.get_size_inches()
        shows = dict.fromkeys(f"{axes.get_ylabel()} against {axes.get_xlabel()}" for axes in self.axes
                              if axes.get_xlabel() and axes.get_ylabel())
        return small.getvalue(), {"width": round(width * _PER_INCH), "height": round(height * _PER_INCH),
                                  "alt": "; ".join(shows)}
