"""Reads console logs by their grammars: patterns -> points and facts -> runs with curves; every line is accounted for.

All patterns of a grammar are one regular expression, searched for in hundreds of lines at a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from math import isfinite, prod
from pathlib import Path
from typing import Any

import numpy as np

from cvfp_core.ingesting import histories, mapping, naming, tags
from cvfp_core.ingesting.grammars import Grammar
from cvfp_core.ingesting.histories import History, whole
from cvfp_core.ingesting.lines import plain_text, read_lines, shown
from cvfp_core.registry.kinds import Declined, IngestOptions
from cvfp_core.schema.found import Found, NotUnderstood, Remark, Take, Tally
from cvfp_core.schema.quantities import QUANTITIES

_HEAD = 1 << 16
_NUMBER = (r"([-+]?(?:(?:\d{1,3}(?:,\d{3}){1,12}(?!\d)|\d{1,40})(?:\.\d{1,40})?|\.\d{1,40})(?:[eE][-+]?\d{1,4})?"
           r"(?:[KMBT](?![A-Za-z]))?|[-+]?(?:nan|inf)(?![A-Za-z]))")
_ENDS = r"(?!\w|[.,]\d|%)"
"""What a number that ends a pattern is followed by: no more of a number or word."""
_FACTORS = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
_PART = re.compile(r"\{(?P<sum>\+?)(?P<name>\w*)(?::(?P<prefix>[^}]*))?\}|(?P<any>\.\.\.)|(?P<blank>[ \t]+)|"
                   r"(?P<text>.)")
_SPACE, _ANY, _KEY = r"[ \t]+", r"[^\n]*?", r"[^\n'\"=:|]{1,200}?"
_POINT, _FACT, _BROKEN = "point", "fact", "broken"
_SEVERAL = 3
"""Points of a run from which on a step that is back at its first one begins another run."""


# patterns


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pattern:
    """A pattern as a regular expression."""

    text: str
    regex: str
    groups: tuple[str, ...]
    """What its groups are kept as, in order."""
    at_start: bool
    words: tuple[str, ...]
    """Text without which there is no match."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """What to do with a match of one pattern."""

    kind: str
    pattern: _Pattern
    kept: tuple[tuple[int, str], ...]
    """Groups by number, and what they are kept as."""
    apart: tuple[int, ...]
    """The other groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compiled:
    search: re.Pattern[str]
    rules: Mapping[int, _Rule]
    """By the number of the empty group that ends each pattern."""


@cache
def _pattern(text: str) -> _Pattern:
    regex, groups, after_blank = "", [], True
    at_start = text.startswith("^")
    parts = list(_PART.finditer(text.removeprefix("^")))
    for index, part in enumerate(parts):
        if part["name"] is not None:
            regex += "" if after_blank else r"[ \t]*"
            if part["name"] in ("", "+"):
                regex += r"(\S{1,200}?)" if index + 1 < len(parts) else r"(\S{1,200})"
            elif part["name"] == "key":
                regex += f"({re.escape(part['prefix'] or '')}{_KEY})"
            else:
                ends = index + 1 == len(parts) or parts[index + 1]["blank"] is not None
                regex += _NUMBER + (_ENDS if ends else "")
            groups.append(part["sum"] + part["name"] if part["name"] else "")
        elif part["any"]:
            regex += _ANY
        elif part["blank"]:
            regex += _SPACE
        else:
            regex += re.escape(part["text"])
        after_blank = part["blank"] is not None
    words = re.sub(r"\{[^}]*\}|\.\.\.", " ", text.removeprefix("^")).split()
    return _Pattern(text=text, regex=regex, groups=tuple(groups), at_start=at_start, words=tuple(words))


def _start(text: str) -> str | None:
    """What a line that was cut or damaged still begins with: the pattern up to the first word after the last but one of
    its numbers."""
    start = re.fullmatch(r"((?:.*?\{[^}]*\})+\s*[^\s{]+).*\{[^}]*\}[^{}]*", text)
    return start[1] if start and "{key" not in text else None


@cache
def _compiled(grammar: Grammar) -> _Compiled:
    texts = [*((_POINT, text) for text in grammar.points), *((_FACT, text) for text in grammar.facts)]
    texts += [(_BROKEN, start) for start in map(_start, grammar.points) if start]
    alternatives, rules, count = [], {}, 0
    for kind, text in texts:
        pattern = _pattern(text)
        alternatives.append(pattern.regex + "()")
        groups = tuple(enumerate(pattern.groups, count + 1))
        count += len(groups) + 1
        rules[count] = _Rule(kind=kind, pattern=pattern, kept=tuple(each for each in groups if each[1]),
                             apart=tuple(number for number, name in groups if not name))
    return _Compiled(search=re.compile("|".join(alternatives), re.ASCII), rules=rules)


def _stands_alone(match: re.Match[str], pattern: _Pattern) -> bool:
    """Whether a match begins where a word does; where a line does, if the pattern asks for it."""
    start, text = match.start(), match.string
    if pattern.at_start:
        return not text[text.rfind("\n", 0, start) + 1:start].strip()
    before = text[start - 1] if start else "\n"
    return not (before.isalnum() or before in "_/.-") or not match[0][0].isalnum()


def _number(text: str) -> float | int:
    """The number as printed."""
    if text.isdigit():
        return int(text)
    factor = _FACTORS.get(text[-1])
    if factor is None and "," not in text:
        return float(text)
    value = float(text.replace(",", "").rstrip("KMBT")) * (factor or 1.0)
    return round(value) if isfinite(value) and abs(value) < 2**53 and value == round(value, 3) else value


@cache
def _kept_as(grammar: Grammar, key: str) -> str:
    """The name under which the value of a printed key is kept."""
    key = key.strip()
    for printed, name in grammar.names.items():
        found = re.fullmatch(re.escape(printed).replace(r"\*", "(.*)"), key)
        if found:
            return name.replace("*", found[1]) if found.groups() else name
    return key


# what a file is


def matches(grammar: Grammar, path: Path, head: bytes | None) -> bool:
    """Whether the first or the last 64 KiB of a file hold a line that only this program prints."""
    return head is not None and any(_stands_in(_ends(path, head), text) for text in grammar.recognised_by)


def near(grammar: Grammar, path: Path, head: bytes) -> Declined | None:
    """What of the grammar's lines is in a file that is none of its logs."""
    there = [text for text in dict.fromkeys((*grammar.facts, *grammar.points)) if _stands_in(_ends(path, head), text)]
    if not there:
        return None
    lacks = " or ".join(f"'{text}'" for text in grammar.recognised_by[:2])
    return Declined(known=len(there), why=f"it has '{there[0]}', but no line {lacks}")


def _stands_in(texts: tuple[str, ...], pattern: str) -> bool:
    """Whether one of the texts holds the pattern."""
    made = _pattern(pattern)
    held = (text for text in texts if all(word in text for word in made.words))
    if made.at_start:
        return any(re.search(rf"^[ \t]*{made.regex}", text, re.ASCII | re.MULTILINE) for text in held)
    return any(_stands_alone(match, made) for text in held for match in re.finditer(made.regex, text, re.ASCII))


@lru_cache(maxsize=2)
def _ends(path: Path, head: bytes) -> tuple[str, ...]:
    """The beginning of a file as plain text, and the end of one that is longer."""
    if len(head) < _HEAD:
        return (plain_text(head),)
    try:
        with path.open("rb") as file:
            file.seek(max(_HEAD, path.stat().st_size - _HEAD))
            return plain_text(head), plain_text(file.read(_HEAD))
    except OSError:
        return (plain_text(head),)


# lines -> runs


@dataclass(slots=True)
class _Line:
    """What one line says."""

    index: int
    """Its number among the lines looked at together."""
    text: str
    """Those lines."""
    at: int
    """Where in them it is."""
    points: dict[str, Any] = field(default_factory=dict)
    facts: list[tuple[str, tuple[str, ...], Any]] = field(default_factory=list)
    """Name, what tells its line apart from others it is added to, value."""
    broken: str = ""
    """What should stand there, if it only begins like a point."""

    @property
    def whole(self) -> str:
        """The line as it is printed."""
        end = self.text.find("\n", self.at)
        return self.text[self.text.rfind("\n", 0, self.at) + 1:end if end >= 0 else len(self.text)]


@dataclass(slots=True)
class _Epoch:
    """An epoch that counts its steps from its beginning."""

    number: float
    before: int = 0
    """Steps of the epochs before it."""
    steps: int = 0


@dataclass(slots=True)
class _Run:
    line: int
    facts: dict[str, Any]
    history: History = field(default_factory=History)
    first: int | None = None
    step: int | None = None
    last: int = 0
    points: int = 0
    planned: int | None = None
    resumed: int | None = None


def read(grammar: Grammar, path: Path, options: IngestOptions) -> Iterator[Found]:
    """The runs of a log, in order."""
    return _Reader(grammar, path, options).read()


class _Reader:
    def __init__(self, grammar: Grammar, path: Path, options: IngestOptions) -> None:
        self.grammar, self.path, self.options = grammar, path, options
        self.runs: list[_Run] = []
        self.facts: dict[str, Any] = {}
        """Those printed since the last point."""
        self.parts: dict[str, dict[tuple[str, ...], float]] = {}
        """Of each fact that is added up: what tells its lines apart -> the value."""
        self.axis: list[float] = []
        """The first and the last value that counts points, where no step does."""
        self.numbered = 0
        self.epoch: _Epoch | None = None

    def read(self) -> Iterator[Found]:
        record = curve = total = 0
        for first, step, lines in read_lines(self.path):
            for line in self._lines("\n".join(lines)):
                number = first + line.index * step
                try:
                    taken = bool(line.points) and self._point(number, line.points)
                except ValueError as error:
                    taken, line.broken = False, str(error)
                if line.facts:
                    self._keep(line.facts)
                curve += taken
                record += bool(line.facts) and not taken
                if line.broken and not line.facts and not taken:
                    total -= 1
                    yield NotUnderstood(line=number, expected=line.broken, found=shown(line.whole))
            total += len(lines)
        yield Tally(record=record, curve=curve, noise=total - record - curve)
        if self.runs:
            self.runs[-1].facts = self.facts | self.runs[-1].facts
        elif record or curve:
            yield NotUnderstood(line=1, expected=f"'{self.grammar.recognised_by[0]}'", found="no such line")
        for number, run in enumerate(self.runs, 1):
            yield from self._found(run, f"-{number}" if number > 1 else "")

    def _lines(self, text: str) -> Iterator[_Line]:
        """The lines that say something."""
        compiled = _compiled(self.grammar)
        line, index, mark = _Line(index=0, text=text, at=0), 0, 0
        for match in compiled.search.finditer(text):
            start = match.start()
            newlines = text.count("\n", mark, start)
            mark = start
            if newlines:
                if line.points or line.facts or line.broken:
                    yield line
                index += newlines
                line = _Line(index=index, text=text, at=start)
            rule = compiled.rules[match.lastindex or 0]
            if not _stands_alone(match, rule.pattern):
                continue
            if rule.kind is _BROKEN:
                line.broken = line.broken or f"'{rule.pattern.text}' and a number"
            else:
                self._match(match, rule, line)
        if line.points or line.facts or line.broken:
            yield line

    def _match(self, match: re.Match[str], rule: _Rule, line: _Line) -> None:
        """Adds what a match says to its line."""
        key, apart = None, tuple(match[number] for number in rule.apart)
        for number, name in rule.kept:
            if name == "key":
                key = match[number]
            elif rule.kind is _FACT:
                line.facts.append((name, apart, _number(match[number])))
            else:
                name = _kept_as(self.grammar, key) if name == "value" and key else name
                line.points[name] = _number(match[number])

    def _keep(self, facts: list[tuple[str, tuple[str, ...], Any]]) -> None:
        for name, apart, value in facts:
            if not name.startswith("+"):
                self.facts[name] = value
                continue
            parts = self.parts.setdefault(name, {})
            parts[apart] = value
            self.facts[name[1:]], self.facts[name] = sum(parts.values()), len(parts)

    def _point(self, line: int, values: dict[str, Any]) -> bool:
        """Takes the values of a line; False if they are of no point. Raises ValueError saying what was expected."""
        grammar = self.grammar
        said, planned = values.pop("step", None), values.pop("steps", None)
        step = whole(said)
        if said is not None and step is None:
            raise ValueError("a whole number of steps")
        if grammar.counted_by is not None:
            axis = values.get(grammar.counted_by)
            if axis is None:
                return False
            begins = not self.axis or axis <= self.axis[0] < self.axis[1]
            self.numbered = 1 if begins else self.numbered + (axis != self.axis[1])
            self.axis, step = [axis if begins else self.axis[0], axis], self.numbered
        if step is not None and "epoch" in values:
            step = self._beyond(step, values["epoch"])
        run = self._run(line, step)
        if step is not None:
            if run.step is not None and step < run.step and run.resumed is None:
                run.resumed = step
            run.points += step != run.step
            run.step, run.first = step, step if run.first is None else run.first
            run.last = max(run.last, step)
        run.planned = planned if planned is not None else run.planned
        if values:
            at = step if step is not None else 0 if run.step is None else run.step + grammar.ahead
            run.history.add(at, values)
        return True

    def _beyond(self, step: int, epoch: float) -> int:
        """The step of the run, where every epoch counts from its beginning."""
        last = self.epoch
        if last is None or epoch < last.number:
            self.epoch = last = _Epoch(number=epoch)
        elif epoch > last.number:
            self.epoch = last = _Epoch(number=epoch, before=last.before + (last.steps if step <= last.steps else 0))
        last.steps = max(last.steps, step)
        return last.before + step

    def _run(self, line: int, step: int | None) -> _Run:
        """The run that a point is of, with the facts printed before it. A log may hold several, one after the other."""
        run = self.runs[-1] if self.runs else None
        if run is not None and not self.facts and (step is None or run.first is None or step > run.first):
            return run
        again = run is not None and not self.facts.keys().isdisjoint(run.facts)
        if run is not None and step is not None:
            anew = run.first is not None and step <= run.first and step < run.last
            again = anew and (again or run.points >= _SEVERAL)
        if run is None or again:
            run = _Run(line=line, facts=self.facts)
            self.runs.append(run)
        else:
            run.facts |= self.facts
        self.facts, self.parts = {}, self.parts if not self.facts else {}
        return run

    # a run -> a record

    def _found(self, run: _Run, suffix: str) -> Iterator[Found]:
        if not run.history:
            yield NotUnderstood(line=run.line, expected="values at its steps", found="steps without any")
            return
        called = naming.run(self.path, self.options)
        called["run_id"] += suffix
        run.planned = run.facts.pop("steps", run.planned)
        yield from self._without_parts(run.facts)
        take, said = self._take(run.history)
        columns = run.facts | called | self._peak(run)
        found = histories.run(run.history, take, columns, line=run.line, derive=self._derived)
        if isinstance(found, NotUnderstood):
            yield found
            return
        yield from (Remark(text=text) for text in self._remarks(run, found.columns, found.taken))
        yield replace(found, columns=dict(found.columns) | ({"taken_at": said} if said else {}), exact=False)

    def _without_parts(self, facts: dict[str, Any]) -> Iterator[Remark]:
        """Takes out sums over fewer lines than there are parts."""
        parts = prod(facts.get(name, 1) for name in self.grammar.parts)
        for name in [name for name in facts if name.startswith("+")]:
            if facts.pop(name) != parts and self.grammar.parts:
                yield Remark(text=f"{name[1:]} are printed part by part, not for all of the {parts:g} parts")
                del facts[name[1:]]

    def _take(self, history: History) -> tuple[Take, str | None]:
        """The last point is that of the last validation, so that its tokens are those seen up to it."""
        judged = tags.validation(history.names)
        if self.options.take.how != "last" or not judged:
            return self.options.take, None
        at = int(history.points(judged[0])[0][-1])
        return (Take(how="step", step=at), f"last validation, step {at}") if at < history.last else (Take(), None)

    def _peak(self, run: _Run) -> dict[str, float]:
        """The learning rate of a run is the highest of those printed."""
        if "learning_rate" in run.facts or "learning_rate" not in run.history.names:
            return {}
        rates = run.history.points("learning_rate")[1]
        rates = rates[np.isfinite(rates)]
        return {"learning_rate": float(rates.max())} if rates.size else {}

    def _derived(self, row: dict[str, Any]) -> dict[str, Any]:
        """The columns with those that follow by the grammar, and the tokens of the corpus.

        A count of 0, of a run that has just begun, stands for "not counted".
        """
        row = {name: value for name, value in row.items() if _counted(name, value)}
        for text in self.grammar.follows:
            quantity, _, expression = text.partition(" = ")
            if row.get(quantity) is not None:
                continue
            mapping.apply({quantity: expression}, [row])
            if row.get(quantity) is not None and _counted(quantity, row[quantity]):
                row["derived"] = "; ".join(filter(None, (row.get("derived"), text)))
            else:
                row.pop(quantity, None)
        return tags.with_train_tokens(row)

    def _remarks(self, run: _Run, row: Mapping[str, Any], taken: Mapping[str, str]) -> Iterator[str]:
        names = run.history.names
        sets = tags.sets(names)
        if tags.rewarded(names):
            yield "its loss is one of preferences or rewards, no cross-entropy: no perplexity follows from it"
        elif len(sets) > 1 and row.get("val_loss") is None:
            yield f"evaluated on several sets: {', '.join(sets)}; choose one with --map 'val_loss=`{sets[0]}`'"
        elif not tags.validation(names):
            yield ("no validation loss is printed" +
                   (f": '{taken['train_loss']}' is read as train_loss" if "train_loss" in taken else ""))
        if self.grammar.counted_by:
            yield f"no steps are printed: points are numbered, one a value of '{self.grammar.counted_by}'"
        if row.get("train_tokens") is None:
            rule = "N" if self.grammar.counted_by else "'step * TOKENS_PER_STEP'"
            yield f"tokens are not printed, nor what they follow from; give them with --map train_tokens={rule}"
        if row.get("params") is None:
            yield "params are not printed; give them with --map params=N"
        if run.planned is not None and run.last < run.planned:
            yield f"ends at step {run.last} of {run.planned}"
        if run.resumed is not None:
            yield (f"steps go back to {run.resumed}: read as a run that was resumed; of a step that is there twice the "
                   "later counts")


def _counted(name: str, value: object) -> bool:
    """Whether a value is one that its quantity can have, if it is 0."""
    return value != 0 or name not in QUANTITIES or not QUANTITIES[name].exclusive
