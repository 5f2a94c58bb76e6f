"""Copies rows of benchmarks/RESULTS.md into docs/methods.md, below comments that name them.

    python docs/make_methods_md.py

`<!-- SECTION / BEGINNING OF THE HEADER: ROW; ROW -->` stands for the table of that section whose header begins so, and
of it the rows that begin so; `*` are all. The table below a comment is what was copied.
"""

from __future__ import annotations

import re
from pathlib import Path

FILE = Path(__file__).parent / "methods.md"
RESULTS = Path(__file__).parents[1] / "benchmarks" / "RESULTS.md"
PLACE = re.compile(r"^<!-- (?P<section>.+?) / (?P<header>.+?): (?P<rows>.+?) -->\n(?:\n(?:\|.*\n)+)?", re.MULTILINE)


def main() -> None:
    FILE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The page as it should be. Raises ValueError for rows that are not there."""
    results = RESULTS.read_text(encoding="utf-8")
    return PLACE.sub(lambda place: place[0].partition("\n")[0] + "\n\n" + _table(place, results),
                     FILE.read_text(encoding="utf-8"))


def _table(place: re.Match[str], results: str) -> str:
    """The header and the rows asked for, as they stand in the section."""
    found = place["section"]
    if (heading := re.search(rf"(?m)^#+ {re.escape(found)}$", results)) is None:
        raise ValueError(f"no section '{found}'")
    section = re.split(r"(?m)^#+ ", results[heading.end():])[0] + "\n"
    tables = [table.splitlines() for table in re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)
              if table.startswith(f"| {place['header']}")]
    if len(tables) != 1:
        raise ValueError(f"{found}: {len(tables)} tables begin '| {place['header']}', expected 1")
    header, line, *rows = tables[0]
    begins = [each.strip() for each in place["rows"].split(";")]
    for each in begins:
        if each != "*" and not any(row.startswith(f"| {each}") for row in rows):
            raise ValueError(f"{found}: no row begins '| {each}' below '{header}'")
    kept = [row for row in rows if "*" in begins or row.startswith(tuple(f"| {each}" for each in begins))]
    return "\n".join([header, line, *kept]) + "\n"


if __name__ == "__main__":
    main()
