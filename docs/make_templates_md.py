"""Writes docs/templates.md from the type of the view, the filters and the templates that come with cvfp.

    python docs/make_templates_md.py
"""

from __future__ import annotations

import re
import types
import typing
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from cvfp_core.reporting import names
from cvfp_core.reporting.numbers import FILTERS

FILE = Path(__file__).parent / "templates.md"
HEAD = """\
# Report templates

`cvfp report PATH --template NAME` fills a template that a plugin brings; the name of a file that ends in `.j2` fills
yours. A template is a [Jinja](https://jinja.palletsprojects.com/templates/) file that writes Markdown, such as this
`mine.md.j2`:

```jinja
# Runs of {{ experiments | map("cell") | join(", ") }}
{% for s in series %}
- {{ s.label | cell }}: alpha {{ s.fit.parameters.alpha.value | number(3) }} {{ s.fit.parameters.alpha | interval }}
{% endfor %}
```

```sh
cvfp report logs/ --template mine.md.j2
```

- Values are plain: text, numbers, true and false, none, lists and dictionaries. Templates run in a sandbox.
- A name that does not exist is an error that says file, line, and the names there are.
- What a template does not use is not computed. `findings`, `laws` and `forecasts` take the longest.
- Text that comes from logs goes through `cell`, so that it cannot become markup.
- Translations: put `LANG/LC_MESSAGES/messages.mo` (gettext) into a folder `locale` beside the template and mark texts
  with `{% trans %}...{% endtrans %}` or `_("...")`. Findings are translated with the catalogue that comes with cvfp.

A plugin registers its templates with the hook `cvfp_templates`; see `templates/cvfp_templates/__init__.py`.

This page is made from the program by `docs/make_templates_md.py`.
"""


def main() -> None:
    FILE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The page as it should be."""
    return "\n".join([HEAD, *_templates(), *_names(), *_filters()]) + "\n"


def _templates() -> list[str]:
    from cvfp_templates import cvfp_templates

    lines = ["## Templates that come with cvfp", "",
             "| Template | What it is | Needs | Options (`--set`) |", "|---|---|---|---|"]
    for item in cvfp_templates():
        options = "; ".join(f"`{o.name}`: {o.help}" for o in item.options or ())
        lines.append(f"| `{item.name}` | {item.title} | {', '.join(item.needs) or '–'} | {options} |")
    return [*lines, ""]


def _names() -> list[str]:
    lines = ["## Names", "", (names.View.__doc__ or "").strip(), ""]
    lines += _table(names.View)
    for name, kind in vars(names).items():
        if typing.is_typeddict(kind) and kind is not names.View:
            lines += [f"### {name}", "", (kind.__doc__ or "").strip(), "", *_table(kind)]
    return lines


def _table(kind: type) -> list[str]:
    lines = ["| Name | Type | Meaning |", "|---|---|---|"]
    for name, hint in get_type_hints(kind, include_extras=True).items():
        plain, meaning = get_args(hint)[:2]
        lines.append(f"| `{name}` | {_type(plain)} | {meaning} |")
    return [*lines, ""]


def _type(hint: Any) -> str:
    """A type as a reader says it."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type(each) for each in inner)
    if origin is list:
        return f"list of {_type(inner[0])}"
    if origin is dict:
        return "dictionary" if inner[1] is Any else f"dictionary of {_type(inner[1])}"
    if typing.is_typeddict(hint):
        return f"[{hint.__name__}](#{hint.__name__.lower()})"
    words = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "none", Any: "any"}
    return words[hint]


def _filters() -> list[str]:
    lines = ["## Filters", "", "Beside Jinja's own. None is written as –.", "", "| Filter | Writes |", "|---|---|"]
    for name, function in FILTERS.items():
        first = re.sub(r"\s+", " ", (function.__doc__ or "").strip().splitlines()[0])
        lines.append(f"| `{name}` | {first} |")
    lines.append("| `say(values)` | A message in the report's language, its {names} filled in from the values. |")
    lines.append("| `method` | A finding's method in the report's language. |")
    return lines


if __name__ == "__main__":
    main()
