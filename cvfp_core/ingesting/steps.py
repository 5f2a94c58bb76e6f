"""Rows that are steps of runs -> runs with curves. A row of a table is a run only where no step column joins it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

from cvfp_core.errors import IngestError
from cvfp_core.ingesting import histories, naming, tags
from cvfp_core.ingesting import mapping as columns_mapping
from cvfp_core.ingesting.aliases import Names, names_of
from cvfp_core.ingesting.histories import History, whole
from cvfp_core.ingesting.lines import shown
from cvfp_core.registry.kinds import IngestOptions
from cvfp_core.schema.found import Found, FoundRun, NotUnderstood, Remark, Tally

STEPS = ("step", "_step", "global_step", "trainer/global_step", "train/global_step", "train_step", "trainer_step",
         "iteration", "iter", "iter_num", "it", "update", "epoch", "train/epoch")
"""Columns that count the steps of a run, the surest first."""
_IDS = {"run_id", "run", "run_name", "runname", "name", "variant", "model", "model_name", "experiment", "exp",
        "experiment_name", "job", "job_id", "trial", "trial_id", "seed"}
"""Columns that say which run a row is of."""
_COUNTED = {"train_tokens", "tokens_seen", "unique_tokens", "epochs", "num_samples", "flops", "learning_rate"}
"""Sizes and settings that change during a run."""
_SPLITS = {"split", "mode", "phase", "stage", "set", "subset"}
_LOOKED_AT = 2000
"""Rows by which it is decided which columns tell runs apart."""
_HEAD = 20
"""Rows without a step that may come before the first with one: a configuration, a header."""


def join(items: Iterable[Found], path: Path, options: IngestOptions) -> Iterator[Found]:
    """The items of a table, with rows that are steps of one run joined to that run.

    Rows are steps if they have a step column and several of them share what tells runs apart: columns that name runs,
    sizes that do not change in training, and others if rows of one step would contradict each other without them.
    """
    items = iter(items)
    first: list[Found] = []
    rows = 0
    for item in items:
        first.append(item)
        rows += isinstance(item, FoundRun)
        if rows == _LOOKED_AT or (rows >= _HEAD and not any(_step_name(each) for each in first)):
            break
    looked = [each for each in first if isinstance(each, FoundRun)]
    table = _table(looked, options, path)
    if table is None:
        yield from chain(first, items)
        return
    joined = 0
    for item in chain(first, items):
        if isinstance(item, FoundRun):
            joined += 1
            if problem := table.add(item):
                yield problem
                joined -= 1
        elif isinstance(item, Tally):
            yield replace(item, record=item.record - joined, curve=item.curve + joined)
        else:
            yield item
    yield from table.found()


@dataclass(slots=True)
class _Run:
    line: int
    history: History = field(default_factory=History)
    constants: dict[str, Any] = field(default_factory=dict)
    last: int = -1
    resumed: int | None = None


@dataclass(slots=True)
class _Table:
    """A table of steps: the column that counts them, and those that tell runs apart."""

    step: str
    key: tuple[str, ...]
    options: IngestOptions
    path: Path
    at: dict[str, Any]
    """The run that a row is of which does not say it: that of the row before it."""
    runs_by_key: dict[tuple[Any, ...], _Run] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)
    rows: int = 0
    metrics: dict[str, bool] = field(default_factory=dict)
    """Columns, and whether they are metrics, which are numbers."""

    def add(self, found: FoundRun) -> NotUnderstood | None:
        """Takes a row; what is wrong with it, if its step is no step."""
        row = _mapped(found.columns, self.options.mapping, self.path)
        self.at |= {name: row[name] for name in self.key if name in row}
        step = whole(row[self.step]) if self.step in row else None
        if step is None and self.step in row:
            return NotUnderstood(line=found.line, expected=f"a whole number in '{self.step}'",
                                 found=shown(str(row[self.step])))
        words = next((name for name, value in row.items() if isinstance(value, str) and self._is_metric(name)), None)
        if words is not None and step is not None:
            return NotUnderstood(line=found.line, expected=f"a number in '{words}'", found=shown(row[words]))
        run = self.runs_by_key.setdefault(_values(self.at, self.key), _Run(line=found.line))
        if step is None:
            run.constants |= row
            return None
        self.rows += 1
        if step < run.last and run.resumed is None:
            run.resumed = step
        run.last = max(run.last, step)
        split = _split(row)
        values = {f"{split}{name}" if split and tags.quantities((name,)) else name: value
                  for name, value in row.items() if name not in self.key and name != self.step}
        run.history.add(step, values)
        run.constants |= {name: value for name, value in values.items() if isinstance(value, bool | str)} | self.at
        return None

    def _is_metric(self, name: str) -> bool:
        if name not in self.metrics:
            self.metrics[name] = bool(tags.quantities((name,))) or names_of(self.options.quantities).is_metric(name)
        return self.metrics[name]

    def found(self) -> Iterator[Found]:
        """The runs, each with its curves and the values asked for."""
        keys = list(self.runs_by_key)
        varied = [i for i in range(len(self.key)) if len({key[i] for key in keys}) > 1]
        if self.rows > len(keys):
            apart = ", ".join(self.key[i] for i in varied)
            whose = f"{len(keys):,} runs, told apart by {apart}" if varied else "one run"
            yield Remark(text=f"rows are steps of {whose}, counted by '{self.step}'; records take the values of "
                              f"{self.options.take}; if every row is a run: --map run_id={self.step}")
        for key, run in self.runs_by_key.items():
            yield from self._run(run, "".join(f"-{key[i]}" for i in varied if key[i] is not None))

    def _run(self, run: _Run, suffix: str) -> Iterator[Found]:
        if run.resumed is not None:
            yield Remark(text=f"steps go back to {run.resumed}: read as a run that was resumed; of a step that is "
                              "there twice the later counts")
        called = naming.run(self.path, self.options)
        called["run_id"] = str(run.constants.get("run_id") or called["run_id"] + suffix)
        called["experiment"] = self.options.experiment or str(run.constants.get("experiment") or called["experiment"])
        yield histories.run(run.history, self.options.take, run.constants | called, line=run.line, step=self.step)


def _table(rows: Sequence[FoundRun], options: IngestOptions, path: Path) -> _Table | None:
    """How the rows are joined; None if every row is a run of its own."""
    step = next((name for name in map(_step_name, rows) if name), None)
    step = next((name for name in STEPS if name in options.mapping), step)
    if step is None:
        return None
    mapped = [row for row in (_mapped(each.columns, options.mapping, path) for each in rows) if step in row]
    if not mapped:
        return None
    names = dict.fromkeys(name for row in mapped for name in row)
    called = names_of(options.quantities)
    key = [name for name in names if _tells_apart(name, called)]
    key = _without_contradictions(mapped, step, key, [name for name in names if name not in key and name != step])
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for row in mapped:
        groups.setdefault(_values(row, key), []).append(row[step])
    if len(mapped) > 1 and max(map(len, groups.values())) == 1:
        return None
    if step.rpartition("/")[2] == "epoch" and any(not _consecutive(steps) for steps in groups.values()):
        return None
    at = {name: next((row[name] for row in mapped if row.get(name) is not None), None) for name in key}
    return _Table(step=step, key=tuple(key), options=options, path=path, at=at)


def _without_contradictions(rows: Sequence[Mapping[str, Any]], step: str, key: list[str], others: Sequence[str]
                            ) -> list[str]:
    """The key with the columns it takes for no two rows of one run and step to say different things.

    Rows that a resumed run logged again are no contradiction. Raises IngestError if no column helps.
    """
    judged = set(tags.quantities(tuple(others))) or set(others)
    varied = [name for name in others if name not in judged and name.lower() not in _SPLITS
              and 1 < len({_hashable(row.get(name)) for row in rows}) <= len(rows) / 2]
    while clash := _contradictions(rows, step, key, judged):
        counts = {name: _contradictions(rows, step, [*key, name], judged) for name in varied if name not in key}
        better = min(counts, key=lambda name: counts[name], default=None)
        if better is None or counts[better] >= clash:
            if _resumed(rows, step, key):
                return key
            raise IngestError(1, "a column that tells the runs apart whose steps these are",
                              f"the same steps several times; name it with --map run_id=COLUMN (there are: "
                              f"{', '.join([*key, *varied][:12]) or 'none that repeat'})")
        key = [*key, better]
    return key


def _contradictions(rows: Sequence[Mapping[str, Any]], step: str, key: Sequence[str], judged: set[str]) -> int:
    """How many values are logged again for a run and step, as another value."""
    said: dict[tuple[Any, ...], Any] = {}
    count = 0
    for row in rows:
        place = (row[step], _split(row), *(row.get(name) for name in key))
        for name in judged:
            value = row.get(name)
            if value is not None and not isinstance(value, str):
                count += said.setdefault((*map(_hashable, place), name), value) != value
    return count


def _resumed(rows: Sequence[Mapping[str, Any]], step: str, key: Sequence[str]) -> bool:
    """Whether every run that logs a step again had gone on beyond it, and did not begin anew."""
    first: dict[tuple[Any, ...], Any] = {}
    last: dict[tuple[Any, ...], Any] = {}
    for row in rows:
        run = _values(row, key)
        at = whole(row[step])
        if at is None:
            continue
        if run in last and at < last[run] and at <= first[run]:
            return False
        first.setdefault(run, at)
        last[run] = at
    return not any(_repeated_in_place(rows, step, key))


def _repeated_in_place(rows: Sequence[Mapping[str, Any]], step: str, key: Sequence[str]) -> Iterator[bool]:
    """For every row whether it logs the figures of the row before it again, for the same step."""
    before: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for row in rows:
        run = _values(row, key)
        last = before.get(run, {})
        yield last.get(step) == row[step] and any(
            row[name] is not None and last.get(name) is not None and not isinstance(row[name], str)
            and row[name] != last[name] for name in tags.quantities(tuple(row)))
        before[run] = row


def _tells_apart(name: str, names: Names) -> bool:
    """Whether a column says which run a row is of: it names runs, or is a size or setting that stays as it is."""
    quantity = names.quantity(name, {})
    return name.lower() in _IDS or (quantity is not None and quantity.name not in _COUNTED
                                    and quantity.kind in ("identity", "size", "setting"))


def _split(row: Mapping[str, Any]) -> str:
    """`val/` or `train/` where a column says which data the row's figures are of."""
    for name, value in row.items():
        if name.lower() in _SPLITS and isinstance(value, str):
            if value.lower() in tags.VALIDATION:
                return f"{value.lower()}/"
            if value.lower() in tags.TRAINING:
                return "train/"
    return ""


def _mapped(columns: Mapping[str, Any], mapping: Mapping[str, str], path: Path) -> dict[str, Any]:
    """What a row says, with the columns that the user's mapping says count steps or tell runs apart."""
    row = {name: value for name, value in columns.items() if value is not None}
    if row.get("experiment") == path.stem:
        del row["experiment"]  # the name of the file, where the table has none
    for name, source in mapping.items():
        if name in STEPS or name in _IDS:
            columns_mapping.apply({name: source}, [row])
    return row


def _step_name(item: Found) -> str | None:
    """The column of a row that counts steps, if it has one."""
    if not isinstance(item, FoundRun):
        return None
    by_name = {name.lower(): name for name, value in item.columns.items() if value is not None}
    return next((by_name[name] for name in STEPS if name in by_name), None)


def _consecutive(steps: Sequence[Any]) -> bool:
    distinct = sorted({step for step in steps if isinstance(step, int | float)})
    return all(b - a == 1 for a, b in pairwise(distinct)) and bool(distinct)


def _values(row: Mapping[str, Any], key: Sequence[str]) -> tuple[Any, ...]:
    """What tells the run of a row apart."""
    return tuple(_hashable(row.get(name)) for name in key)


def _hashable(value: Any) -> Any:
    return value if isinstance(value, str | int | float | None) else str(value)
