"""Reads a console log line by line, by what each line says; nothing is assumed about what stands around it.

The scripts printed several variants of most lines over the weeks, and notebooks saved them with download bars, warnings
and git output in between. Runs are told apart by their phases: `[Phase 1]` begins one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cvfp_core.ingesting.lines import read_lines, shown
from cvfp_core.registry.kinds import IngestOptions
from cvfp_core.schema.found import Found, FoundRun, NotUnderstood, PublishedAlpha, Tally
from cvfp_newllm import labels
from cvfp_newllm.grammar import Grammar, plain
from cvfp_newllm.logged import LoggedRun, fingerprint
from cvfp_newllm.noise import KNOWN
from cvfp_newllm.rules import read_line

_SIGNS = re.compile(
    rb"\[Phase [12]\] \S+|conv=\d+% loss=|train_ppl=\S+ val_ppl=|TokenBlock only: [\d,]+/|--- Experiment: \d+ samples"
)
_TITLES = 3
"""Lines after a ruler that may be the title of a section."""
_REMEMBERED = 4096
"""Distinct noise lines kept, so that the next of the same text costs one look-up."""


def matches(path: Path, head: bytes | None) -> bool:
    """Whether a file's first 64 KiB hold a line that only these scripts print (UTF-16 included)."""
    del path
    if head is None:
        return False
    return _SIGNS.search(head if b"\x00" not in head[:200] else head.replace(b"\x00", b"")) is not None


def read(path: Path, options: IngestOptions) -> Iterator[Found]:
    """The runs of a log, in order; published alphas; every line that was not understood; how many lines were what."""
    reader = _Reader(path, options)
    yield from reader.read()


class _Reader:
    def __init__(self, path: Path, options: IngestOptions) -> None:
        self.path, self.options = path, options
        self.grammar = Grammar()
        self.labels: dict[str | None, str] = {}
        self.facts: dict[tuple[Any, ...], tuple[dict[str, Any], str | None]] = {}
        self.contradicted: dict[str | None, str] = {}
        """By variant: what contradicts the settings of the experiment that the file is called by."""

    def read(self) -> Iterator[Found]:
        grammar = self.grammar
        known_noise: set[str] = set()
        record = curve = noise = 0
        number, titles, in_traceback = 0, 0, False
        for first, step, lines in read_lines(self.path):
            number = first - step
            for line in lines:
                number += step
                if line in known_noise:
                    noise += 1
                    titles = _TITLES if line[:2] == "==" else titles and titles - 1
                    continue
                words = line.split()
                if not words:
                    noise += 1
                    continue
                word = words[0]
                if word == "Iter" and grammar.iteration(words):
                    curve += 1
                    continue
                if word == "Epoch" and grammar.epoch(words):
                    curve += 1
                    continue
                kind = read_line(grammar, words, line, number)
                if grammar.pending:
                    yield from self._events()
                if kind == "record":
                    record += 1
                elif kind == "curve":
                    curve += 1
                elif in_traceback and line[0] in " \t":
                    noise += 1
                elif KNOWN.match(plain(words, line)):
                    noise += 1
                    if len(known_noise) < _REMEMBERED and not words[0].startswith("Traceback"):
                        known_noise.add(line)
                elif words[0] == "Traceback":
                    noise += 1
                    in_traceback = True
                    continue
                elif titles and kind is None and not any(sign in line for sign in "=%"):
                    noise += 1  # the title of a section
                else:
                    yield NotUnderstood(line=number, expected=grammar.expected(words), found=shown(line))
                in_traceback = in_traceback and line[0] in " \t"
                titles = _TITLES if line[:2] == "==" else titles and titles - 1
        grammar.finish()
        yield from self._events()
        yield Tally(record=record, curve=curve, noise=noise)

    def _events(self) -> Iterator[Found]:
        events, self.grammar.pending = self.grammar.pending, []
        for event in events:
            if isinstance(event, LoggedRun):
                yield from self._found(event)
            elif isinstance(event, PublishedAlpha):
                yield self._labelled(event)
            else:
                yield event

    def _found(self, run: LoggedRun) -> Iterator[Found]:
        columns = run.columns()
        experiment = self._experiment()
        facts, contradiction = self._provenance(experiment, run.printed())
        if contradiction:
            experiment = self.options.experiment or labels.name_of(self.path)
            if contradiction not in self.contradicted.values():
                expected, _, found = contradiction.rpartition(": ")
                yield NotUnderstood(line=run.line, expected=f"{expected} for runs of '{experiment}'", found=found)
            self.contradicted[run.variant] = contradiction
        for name, value in facts.items():
            if columns.get(name) is None:
                columns[name] = value
        columns["experiment"] = labels.experiment_of(experiment, run.variant, run.setting.tag)
        yield FoundRun(
            line=run.line, columns=columns, curves=run.curves(), exact=False,
            fingerprint=fingerprint({**columns, "val_er": run.val_er}),
        )

    def _experiment(self) -> str:
        output = self.grammar.output
        if output not in self.labels:
            self.labels[output] = labels.label(self.path, output, self.options)
        return self.labels[output]

    def _provenance(self, experiment: str, printed: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
        key = (experiment, *printed.items())
        if key not in self.facts:
            self.facts[key] = labels.provenance(experiment, printed, self.options)
        return self.facts[key]

    def _labelled(self, alpha: PublishedAlpha) -> PublishedAlpha:
        named = alpha.variant in self.contradicted and not self.options.experiment
        experiment = labels.name_of(self.path) if named else self._experiment()
        return PublishedAlpha(
            line=alpha.line, variant=alpha.variant, alpha=alpha.alpha, exact=False,
            experiment=labels.experiment_of(experiment, alpha.variant, None),
            first_samples=alpha.first_samples, last_samples=alpha.last_samples,
        )
