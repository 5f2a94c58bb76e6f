"""matplotlib's SVG in a few of its lines: the same marks, without groups, names and digits that nobody sees."""

from __future__ import annotations

import re
from xml.etree import ElementTree

_SVG, _LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_NUMBER = re.compile(r"-?\d+\.\d{2,}")
_FAMILY = re.compile(r"font-family: ([^;]*); ")
_STRAIGHT = re.compile(r"rotate\(-?0 [^)]*\)")


def compact(svg: str) -> str:
    """The same picture: coordinates to a tenth of a point, one element a line, the fonts named once."""
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _LINK)
    root = ElementTree.fromstring(svg)
    for metadata in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(metadata)
    if (family := _FAMILY.search(svg)) is not None:
        root.set("font-family", family[1])
    _flatten(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _flatten(element: ElementTree.Element) -> None:
    """Takes the elements out of groups that say nothing."""
    for name, value in element.attrib.items():
        if name in ("d", "x", "y", "points", "transform"):
            element.set(name, _NUMBER.sub(_short, " ".join(value.split())))
        elif name == "style":
            element.set(name, _FAMILY.sub("", value))
    if _STRAIGHT.fullmatch(element.get("transform", "")):
        del element.attrib["transform"]
    children: list[ElementTree.Element] = []
    for child in element:
        _flatten(child)
        bare = child.tag == f"{{{_SVG}}}g" and child.attrib.keys() <= {"id"}
        children += list(child) if bare else [child]
    if element.tag != f"{{{_SVG}}}text":
        element.text = "\n" if children else element.text
        for child in children:
            child.tail = "\n"
    element[:] = children


def _short(found: re.Match[str]) -> str:
    value = float(found[0])
    return f"{round(value, 1 if abs(value) >= 10 else 2):g}"
