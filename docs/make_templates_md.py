"""Writes docs/templates.md from the type of the view, the filters and the templates that come with cvfp.

    python docs/make_templates_md.py
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from cvfp_core.reporting import measures, names, numbers

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
cvfp report examples/phase1-to-ppl --template mine.md.j2
```

- Values are plain: text, numbers, true and false, none, lists and dictionaries. Templates run in a sandbox,
  within [limits](reports.md#limits-of-templates).
- A name that does not exist is an error that says file, line, and the names there are.
- What a template does not use is not computed. `findings`, `laws` and `forecasts` take the longest.
- Text that comes from logs goes through `cell`, so that it cannot become markup.
- Translations: put `LANG/LC_MESSAGES/messages.mo` (gettext) into a folder `locale` beside the template and mark texts
  with `{% trans %}...{% endtrans %}` or `_("...")`. Findings are translated with the catalogue that comes with cvfp.
- `x` and `y` are the quantities that the report is about, training tokens and validation perplexity unless `--x` and
  `--y` say otherwise; `measure(y)` writes a value as it is quoted. A template that uses neither takes no `--x`, `--y`.

- Without `--template`, the first template whose `suits` is true of the records writes the report: `phase1-to-ppl` for
  three or more configurations with an effective rank, `scaling` for runs over sizes without a Phase 1, else `summary`.
  A template of a plugin takes part if it declares `suits`; `about` says which `x`, `y` and `law` it is about where none
  is asked for.
- A figure is drawn if the report links to it: `{{ figures.scaling.path }}`. `--figures png,pdf` writes it in these
  formats too; `--figures pgf` needs a TeX.
- The file's ending says the form: `-o report.md`, `.html` or `.tex`. What cannot be written is refused.
- `cvfp report runs/default -o report.html --embed --watch` writes the report again whenever a run ends, until Ctrl-C.

## Change a part of a template

A template takes in others by the name of their file: those beside it that end in `.j2`, those that come with cvfp, and
those of plugins. Nothing else can be read. The templates that come with cvfp are made of blocks, which yours may
replace; `super()` is what stood there. This is the whole of `short.md.j2`:

```jinja
{% extends "summary.md.j2" %}
{% import "_parts.md.j2" as parts %}
{% block title %}Lab report{% endblock %}
{% block exponents %}
{{ super() }}

{% for s in series if s.best is not none %}
- {{ parts.series(s) }}: {{ s.best[y.name] | measure(y) }}
{% endfor %}
{% endblock %}
{% block runs %}{% endblock %}
```

BLOCKS

## Add a section to a report

A plugin adds a section to a report that is there: a template that says `section_of`, registered with the hook
`cvfp_templates`. It is put in at the block `sections`, before the log files, in every language its catalogue has; its
options are given with `--set` as the report's own; without the record columns it `needs` it is left out.

```python
from collections.abc import Iterable
from pathlib import Path

from cvfp_core import hookimpl
from cvfp_core.registry.kinds import Template

HERE = Path("cvfp_mine")


@hookimpl
def cvfp_templates() -> Iterable[Template]:
    return [Template(name="cost", title="what the runs took", path=HERE / "cost.md.j2", section_of="summary",
                     needs=("seconds_phase2",), catalogue=HERE / "locale")]
```

In two languages that is a template and, for each of its texts, one entry in a catalogue. This is the whole of
`cost.md.j2`:

```jinja
## {{ _("Cost") }}

{% for s in series %}
- {{ s.label | cell }}: {{ s.ranges.seconds_phase2 | default(none) | span("plain") }} {{ _("seconds of Phase 2") }}
{% endfor %}
```

A plugin registers whole templates with the same hook; see `templates/cvfp_templates/__init__.py`.

This page is made from the program by `docs/make_templates_md.py`.
"""


def main() -> None:
    FILE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The page as it should be."""
    return "\n".join([HEAD.replace("BLOCKS", _blocks()), *_templates(), *_names(), *_filters()]) + "\n"


def _blocks() -> str:
    """The blocks of every template that comes with cvfp, in a table."""
    from cvfp_templates import cvfp_templates

    lines = ["| Template | Its blocks |", "|---|---|"]
    for item in cvfp_templates():
        text = "".join(file.read_text(encoding="utf-8") for file in (item.path, item.path.with_name("_base.md.j2")))
        blocks = dict.fromkeys(re.findall(r"{% block (\w+)", text))
        lines.append(f"| `{item.path.name}` | {', '.join(f'`{name}`' for name in blocks)} |")
    return "\n".join(lines)


def _templates() -> list[str]:
    from cvfp_templates import cvfp_templates

    lines = ["## Templates that come with cvfp", "",
             "| Template | What it is | Needs | Options (`--set`) |", "|---|---|---|---|"]
    for item in cvfp_templates():
        options = "; ".join(f"`{o.name}`: {o.help}" for o in item.options or ())
        lines.append(f"| `{item.name}` | {item.title} | {', '.join(item.needs) or '–'} | {options} |")
    return [*lines, ""]


def _names() -> list[str]:
    lines = ["## Names", "", (names.View.__doc__ or "").strip(), "", *_table(names.View)]
    for name, kind in vars(names).items():
        if typing.is_typeddict(kind) and kind is not names.View:
            lines += [f"### {name}", "", (kind.__doc__ or "").strip(), "", *_table(kind)]
    for kind in names.VALUES:
        lines += [f"### {kind.__name__}", "", (kind.__doc__ or "").strip(), "", *_table(kind)]
    return lines


def _table(kind: type) -> list[str]:
    """The names of a view, or the fields of a value, with what they mean."""
    lines = ["| Name | Type | Meaning |", "|---|---|---|"]
    if typing.is_typeddict(kind):
        for name, hint in get_type_hints(kind, include_extras=True).items():
            plain, meaning = get_args(hint)[:2]
            lines.append(f"| `{name}` | {_type(plain)} | {meaning} |")
        return [*lines, ""]
    hints, meanings = get_type_hints(kind), _docstrings(kind)
    for each in dataclasses.fields(kind):
        if each.repr:
            lines.append(f"| `{each.name}` | {_type(hints[each.name])} | {meanings.get(each.name, '')} |")
    return [*lines, ""]


def _docstrings(kind: type) -> dict[str, str]:
    """What stands below each field of a dataclass, by field."""
    (body,) = (node.body for node in ast.parse(inspect.getsource(kind)).body if isinstance(node, ast.ClassDef))
    return {before.target.id: _phrase(" ".join(str(after.value.value).split()))
            for before, after in itertools.pairwise(body)
            if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name)
            and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)}


def _phrase(text: str) -> str:
    """The sentence as a table has it, as the names of the view do."""
    text = text if text.endswith("...") else text.removesuffix(".")
    return text[0].lower() + text[1:] if text[1:2].islower() else text


def _type(hint: Any) -> str:
    """A type as a reader says it."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if str in inner and int in inner:
            return "any"
        values = [each for each in inner if each in names.VALUES]  # a value stands for a text in its place
        return " or ".join(_type(each) for each in inner if not values or each is not str)
    if origin is typing.Literal:
        return "text"
    if origin in (list, tuple):
        return f"list of {_type(inner[0])}"
    if origin in (dict, Mapping):
        return "dictionary" if inner[1] is Any else f"dictionary of {_type(inner[1])}"
    if typing.is_typeddict(hint) or hint in names.VALUES:
        return f"[{hint.__name__}](#{hint.__name__.lower()})"
    words = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "none", Any: "any"}
    return words[hint]


def _filters() -> list[str]:
    lines = ["## Filters", "", "Beside Jinja's own. None is written as –.", "", "| Filter | Writes |", "|---|---|"]
    for name, function in (numbers.FILTERS | measures.FILTERS).items():
        first = re.sub(r"\s+", " ", (function.__doc__ or "").strip().splitlines()[0])
        lines.append(f"| `{name}` | {first} |")
    lines.append("| `say(values)` | A message in the report's language, its {names} filled in from the values. |")
    lines.append("| `method` | A finding's method in the report's language. |")
    return lines


if __name__ == "__main__":
    main()
