"""Languages of reports: gettext catalogues beside templates, and texts with named values filled in.

A catalogue is `LOCALE/LANG/LC_MESSAGES/messages.mo`; English is what templates are written in.
"""

from __future__ import annotations

import gettext
import re
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cvfp_core.errors import UsageError, suggestion

SOURCE = "en"
DOMAIN = "messages"


def languages(catalogue: Path | None) -> list[str]:
    """The languages of a catalogue, the source language first."""
    if catalogue is None or not catalogue.is_dir():
        return [SOURCE]
    found = sorted(path.parent.parent.name for path in catalogue.glob(f"*/LC_MESSAGES/{DOMAIN}.mo"))
    return [SOURCE, *(each for each in found if each != SOURCE)]


def translations(lang: str, catalogues: Sequence[Path]) -> gettext.NullTranslations:
    """The catalogues of a language, the first having the first word. Raises UsageError naming those there are."""
    known = list(dict.fromkeys(each for path in catalogues for each in languages(path))) or [SOURCE]
    if lang == SOURCE:
        return gettext.NullTranslations()
    if lang not in known:
        raise UsageError(f"no language '{lang}'{suggestion(lang, known)}; the template has: {', '.join(known)}")
    found = gettext.NullTranslations()
    for path in reversed(catalogues):
        if lang in languages(path):
            own = gettext.translation(DOMAIN, path, [lang])
            own.add_fallback(found)
            found = own
    return found


class _Filler(string.Formatter):
    """`str.format` that fills in named values only: no attributes, no items."""

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> Any:
        del args
        if field_name not in kwargs:
            raise KeyError(f"the message has no value for '{{{field_name}}}'; it has {', '.join(sorted(kwargs))}")
        return kwargs[field_name], field_name

    def format_field(self, value: Any, format_spec: str) -> str:
        if value is None:
            return "–"
        if isinstance(value, bool) or not isinstance(value, int | float):
            return str(value)
        if format_spec:
            return re.sub(r"e\+0?", "e", format(value, format_spec))
        return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def fill(text: str, values: Mapping[str, Any]) -> str:
    """The text with its {names} replaced by the values: `{n}`, `{r:.2f}`."""
    return _Filler().vformat(text, (), values)
