"""Brings the message catalogues up to date: new messages into every .po, every .po compiled to its .mo.

    python templates/catalogue.py

Messages are those of the templates; those of analyses, lights and rules stand in the catalogue already and stay.
Needs Babel (`pip install "cvfp[dev]"`).
"""

from __future__ import annotations

import io
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from cvfp_core.reporting.render import messages

TEMPLATES = Path(__file__).parent / "cvfp_templates"


def template_messages() -> list[str | tuple[str, str]]:
    """Every message of the templates, plural ones as (one, many)."""
    found: dict[str | tuple[str, str], None] = {}
    for file in sorted(TEMPLATES.glob("*.j2")):
        for _, message in messages(file):
            if isinstance(message, tuple):
                found[str(message[0]), str(message[1])] = None
            elif message:
                found[message] = None
    return list(found)


def read(file: Path) -> Catalog:
    """The catalogue in a .po file."""
    with file.open("rb") as stream:
        return read_po(stream, locale=file.parts[-3])


def main() -> None:
    for file in sorted(TEMPLATES.glob("locale/*/LC_MESSAGES/*.po")):
        catalogue = read(file)
        for message in template_messages():
            if message not in catalogue:
                catalogue.add(message)
        text = io.BytesIO()
        write_po(text, catalogue, sort_output=True, width=118, omit_header=False)
        file.write_bytes(text.getvalue())
        with file.with_suffix(".mo").open("wb") as stream:
            write_mo(stream, catalogue)
        empty = [message.id for message in catalogue if message.id and not message.string]
        print(f"{file.parent.parent.name}: {len(catalogue)} messages, {len(empty)} untranslated", *empty, sep="\n  ")


if __name__ == "__main__":
    main()
