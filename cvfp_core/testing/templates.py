"""The check of a template: its names, its messages, and what it makes of records of all kinds in every language."""

from __future__ import annotations

import gettext
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import get_type_hints

import polars as pl
from jinja2 import nodes

from cvfp_core.errors import CvfpError, UsageError
from cvfp_core.ingesting.reading import Inputs, InputSource
from cvfp_core.registry import Registry, load
from cvfp_core.registry.kinds import Template
from cvfp_core.reporting.language import SOURCE, languages, translations
from cvfp_core.reporting.names import View
from cvfp_core.reporting.render import messages, names_used, trees
from cvfp_core.reporting.write import Asked, catalogues, registered, write
from cvfp_core.schema.records import CURVE_SCHEMA, REQUIRED, Record, frame
from cvfp_core.schema.settings import Scalar
from cvfp_core.testing.analyses import null_data
from cvfp_core.testing.expecting import expect, raised

FULL, MISSING = "full records", "records with every other value missing"
SPOKEN = (FULL, MISSING)
"""What is rendered in every language; the rest in the source language only, as it takes other ways, not other words."""
SLIP = re.compile(r"\bNone\b|\bnan\b|\{\{|\{%|%\(\w+\)s")
PLACE = re.compile(r"%\(\w+\)s|\{\w*[^}]*\}|\n")
"""What stands between the pieces of a text that are printed as they are."""
_KEPT = {*REQUIRED, "status"}
"""Columns no record is without."""


def check(template: Template, options: Mapping[str, Scalar | None], registry: Registry | None) -> None:
    """See `check_template`."""
    registry = registry or load()
    name = f"template '{template.name}'"
    _names_exist(name, template, registry)
    kinds = _all_kinds(template)

    def render(lang: str, what: str) -> str:
        asked = Asked(lang=lang, options=options)
        return _rendered(f"{name} in '{lang}', {what}", template, registry, kinds[what], asked)

    for lang in languages(template.catalogue):
        _translated(name, template, lang, registry)
        texts = [render(lang, what) for what in (kinds if lang == SOURCE else SPOKEN)]
        if lang == SOURCE:
            expect(texts[0] == render(lang, FULL), f"{name}, rendered twice", "the same text", "another")


def _names_exist(name: str, template: Template, registry: Registry) -> None:
    """Also in branches that no records lead into."""
    known = set(get_type_hints(View))
    try:
        every = trees(template.path, registered(registry))
        unknown = names_used(every) - known - _assigned(every.values())
    except CvfpError as error:
        raise raised(f"{name}, read", error) from error
    expect(not unknown, f"{name}: names it uses", f"names of the view ({', '.join(sorted(known))})",
           ", ".join(sorted(unknown)))
    lacking = [column for column in template.needs if column not in {each.name for each in fields(Record)}]
    expect(not lacking, f"{name}: what it needs", "record columns", ", ".join(lacking))


def _assigned(every: Iterable[nodes.Template]) -> set[str]:
    """Names that one of the templates gives a value itself, be it in a branch."""
    given = {each.name for tree in every for each in tree.find_all(nodes.Name) if each.ctx != "load"}
    return given | {each.name for tree in every for each in tree.find_all(nodes.Macro)}


class _Missed(gettext.NullTranslations):
    """The end of a chain of catalogues: notes what none of them has, as a translation may equal its source."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[str, None] = {}

    def gettext(self, message: str) -> str:
        self.texts[message] = None
        return message

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        self.texts[msgid1] = None
        return super().ngettext(msgid1, msgid2, n)


def _translated(name: str, template: Template, lang: str, registry: Registry) -> None:
    if lang == SOURCE or template.catalogue is None:
        return
    spoken, missed = translations(lang, catalogues(template, registry)), _Missed()
    spoken.add_fallback(missed)
    for file in trees(template.path, registered(registry)):
        if file.parent != template.path.parent:
            continue  # whose catalogue has its own languages
        for _, text in messages(file):
            if isinstance(text, str):
                spoken.gettext(text)
            elif text:
                spoken.ngettext(str(text[0]), str(text[1]), 1)
    missing = [text for text in missed.texts if _words(text)]
    expect(not missing, f"{name}: messages without a translation into '{lang}'", "none",
           f"{len(missing)}: {'; '.join(repr(text) for text in missing[:5])}")


def _words(text: str) -> bool:
    """Whether there is anything to translate: more than places, numbers and signs."""
    return bool(re.search(r"[^\W\d_]{2,}", re.sub(r"%\(\w+\)s|\{[^}]*\}", "", text)))


def _all_kinds(template: Template) -> dict[str, pl.DataFrame]:
    """Records by what they are: two experiments, one of them other settings; then ever less of them."""
    few = pl.col("variant").is_in(["1L_64d_1tok", "1L_256d_1tok"])
    one = null_data(0).filter(few)
    two = null_data(1).filter(few).with_columns(
        experiment=pl.lit("other"), run_id=pl.lit("other-") + pl.col("run_id"), phase1_censored=pl.lit(True),
        phase2_censored=pl.lit(True),
        settings=pl.col("settings").str.replace('"context_noise": 0.1', '"context_noise": 0.0', literal=True),
    )
    failed = frame([replace(Record(**one.row(0, named=True)), run_id="failed", seed=9, status="diverged", val_ppl=None,
                            reason="loss is not finite")])
    full = pl.concat([one, two, failed])
    empty = [name for name in full.columns if name not in {*_KEPT, *template.needs}]
    return {
        FULL: full,
        "records with nothing measured but what it needs": full.with_columns(
            pl.lit(None, dtype=full.schema[name]).alias(name) for name in empty),
        MISSING: full.with_columns(
            pl.when((pl.int_range(pl.len()) + index) % 2 == 0).then(pl.col(name)).alias(name)
            for index, name in enumerate(empty)),
        "1 record of each experiment": pl.concat([one.head(1), two.head(1)]),
        "only runs that diverged": pl.concat([failed, failed.with_columns(
            experiment=pl.lit("other"), run_id=pl.lit("failed too"))]),
        "no records": full.clear(),
    }


def _rendered(what: str, template: Template, registry: Registry, records: pl.DataFrame, asked: Asked) -> str:
    """The text; or, where what it needs or is asked to compare is not there, the error that says so."""
    lacking = [name for name in template.needs if records[name].null_count() == records.height]
    try:
        text = write(_inputs(records), template, registry, asked).text
    except CvfpError as error:
        about = lacking or (isinstance(error, UsageError) and records.is_empty())
        if about and "\n" not in str(error):
            return str(error)
        raise raised(what, error) from error
    except Exception as error:
        raise raised(what, error) from error
    expect(not lacking, what, f"an error that says what it needs: {', '.join(template.needs)}", "a report")
    expect(bool(text.strip()), what, "text", "none")
    written = text
    for words in sorted(_own_words(template, asked.lang, registry), key=len, reverse=True):
        text = text.replace(words, "")
    slip = SLIP.search(text)
    expect(slip is None, what, "text without None, nan or Jinja's signs",
           repr(text[max(slip.start() - 60, 0) : slip.end() + 20]) if slip else "")
    return written


def _own_words(template: Template, lang: str, registry: Registry) -> set[str]:
    """What the template says itself that looks like a slip: `None of the runs converged`; not the bare word."""
    spoken = translations(lang, catalogues(template, registry)) if template.catalogue else gettext.NullTranslations()
    texts: list[str] = []
    for tree in trees(template.path, registered(registry)).values():
        texts += [each.data for each in tree.find_all(nodes.TemplateData)]
        texts += [spoken.gettext(each.value) for each in tree.find_all(nodes.Const) if isinstance(each.value, str)]
    pieces = (piece.strip() for text in texts for piece in PLACE.split(text))
    return {piece for piece in pieces if SLIP.search(piece) and _words(SLIP.sub("", piece))}


def _inputs(records: pl.DataFrame) -> Inputs:
    return Inputs(
        records=records, duplicates=0, files=list, curves=lambda: pl.DataFrame(schema=CURVE_SCHEMA),
        sources=(InputSource(name="made", ingester=None, runs=records.height),),
    )
