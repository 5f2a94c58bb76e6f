"""Every key of a run file: what it means, what it may be, and its value under a configuration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from textwrap import wrap
from typing import Any

from cvfp_core.errors import UsageError, shown, suggestion
from cvfp_core.registry import Registry
from cvfp_core.registry.kinds import CorpusSource, Ending, Executor, Objective, Option, VariantFamily
from cvfp_core.running.config import RunConfig, RunFile
from cvfp_core.schema.plain import AsDict
from cvfp_core.schema.settings import Phase1Settings, Phase2Settings, Shortcuts, options_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Key(AsDict):
    """One key of a run file."""

    name: str
    """Dotted: `phase1.learning_rate`."""
    value: Any
    """Under the configuration; None: not set."""
    default: Any
    meaning: str
    values: str = ""
    """What it may be, in words."""
    unit: str = ""
    source: str = ""
    """Where the default comes from."""
    of: str = ""
    """Whose it is, where that is an item of a plugin: `corpus 'text'`."""


def keys(asked: RunConfig, registry: Registry, *, every: bool = False) -> tuple[Key, ...]:
    """The keys that the configuration can have, in the order of a run file.

    every: the options of all corpora, executors and families, not only of those that the configuration takes.
    """
    top = [Key(name=name, value=_top(asked, name), default=field.get_default(call_default_factory=True) if
               not field.is_required() else None, meaning=field.description or "", values=_VALUES.get(name, ""))
           for name, field in RunFile.model_fields.items() if name not in _SECTIONS]
    corpus, executor = registry.get(CorpusSource, asked.corpus.name), registry.get(Executor, asked.executor)
    families = [family for family in registry.items(VariantFamily).values()
                if every or any(family.parse(name) for name in asked.variants)]
    settings = asked.settings
    objective, ending = registry.objective(settings.phase1.objective), registry.ending(settings.phase1.ending)
    choices = {"phase1.objective": {objective.name, *registry.items(Objective)},
               "phase1.ending": {ending.name, *registry.items(Ending)}}
    return (
        *top,
        Key(name="corpus.name", value=corpus.name, default="embedded", meaning="where the documents come from",
            values=f"one of {', '.join(sorted(registry.items(CorpusSource)))}", of=f"corpus '{corpus.name}'"),
        *_of_items("corpus", corpus, registry.items(CorpusSource).values() if every else (), asked.corpus.options),
        Key(name="executor.name", value=executor.name, default="local", meaning="what executes the cells",
            values=f"one of {', '.join(sorted(registry.items(Executor)))}", of=f"executor '{executor.name}'"),
        *_of_items("executor", executor, registry.items(Executor).values() if every else (), asked.executor_options),
        *(replace(key, values=f"one of {', '.join(sorted(choices[key.name]))}") if key.name in choices else key
          for key in _of_section("phase1", options_of(Phase1Settings), settings.phase1)),
        *_of_items("objective", objective, registry.items(Objective).values() if every else (), settings.objective),
        *(key for other in asked.objectives[1:] if not every
          for key in _of("objective", registry.objective(other.phase1.objective), other.objective)),
        *_of_items("ending", ending, registry.items(Ending).values() if every else (), settings.ending),
        *_of_section("phase2", options_of(Phase2Settings), settings.phase2),
        *(key for family in families for key in _of("model", family, settings.model)),
        *_of_section("shortcuts", options_of(Shortcuts), asked.shortcuts),
    )


_SECTIONS = ("cells", "corpus", "executor", "matrix", "phase1", "objective", "ending", "phase2", "model", "shortcuts")
_VALUES = {"samples": "a list of whole numbers, or {initial, multiplier, window, windows}", "precision":
           "one of float32, bfloat16", "controls": "true or false"}


def _top(asked: RunConfig, name: str) -> Any:
    own = {"name": asked.name, "variants": list(asked.variants), "samples": list(asked.samples),
           "seeds": list(asked.seeds), "controls": asked.controls, "settings": asked.preset, "device": asked.device,
           "precision": asked.settings.precision}
    return own[name]


def _of_items(section: str, chosen: Any, others: Iterable[Any], given: Mapping[str, Any]) -> Iterator[Key]:
    yield from _of(section, chosen, given)
    for each in others:
        if each is not chosen:
            yield from _of(section, each, {})


def _of(
    section: str, item: CorpusSource | Ending | Executor | Objective | VariantFamily, given: Mapping[str, Any]
) -> Iterator[Key]:
    for option in item.options:
        yield _key(section, option, given.get(option.name, option.default),
                   of=f"{'family' if section == 'model' else section} '{item.name}'")


def _of_section(section: str, options: Sequence[Option], values: object) -> Iterator[Key]:
    return (_key(section, option, getattr(values, option.name)) for option in options)


def _key(section: str, option: Option, value: Any, of: str = "") -> Key:
    words = option.kind if option.choices or not option.limits else f"{option.kind}, {option.limits}"
    return Key(name=f"{section}.{option.name}", value=value, default=option.default, meaning=option.help, values=words,
               unit=option.unit, source=option.source, of=of)


def named(known: Sequence[Key], asked: str) -> tuple[Key, ...]:
    """The keys of that name, with or without its section, or of a section of that name. Raises UsageError for none."""
    found = tuple(key for key in known if asked in (key.name, key.name.split(".")[0], key.name.split(".")[-1]))
    if not found:
        names = list(dict.fromkeys(part for key in known for part in (key.name, key.name.split(".")[-1])))
        raise UsageError(f"no setting '{asked}'{suggestion(asked, names)}; `cvfp settings` lists them all")
    return found


def run_file(asked: RunConfig, registry: Registry) -> str:
    """The whole configuration as a run file with comments; run again, it gives the same run ids."""
    lines, section = ["# Change what you like and run it: cvfp run FILE. What is not set stands as a",
                      "# comment; `cvfp settings NAME` says more.", ""], ""
    unused = [*(["seeds"] if asked.listed and not asked.variants else []),
              *(["phase1.objective"] if asked.objectives else [])]
    for key in keys(asked, registry):
        *above, name = key.name.split(".")
        if above and above[0] != section:
            section = above[0]
            lines += ["", f"[{section}]"]
        line = f"# {name} =" if key.value in (None, []) or key.name in unused else f"{name} = {shown(key.value)}"
        if asked.objectives and above == ["objective"] and key.value == key.default:
            line = f"# {line}"  # an option of the same name may be another objective's, with another default
        choices = key.values if key.values.startswith("one of") else ""
        about = "; ".join(part for part in (key.meaning, key.unit, choices) if part)
        comments = [f"# {part}" for part in wrap(about, 45, break_long_words=False, break_on_hyphens=False)]
        first = f"{line:<31}  {comments.pop(0)}" if comments and len(line) < 32 else line
        lines += [first, *(f"{'':<31}  {comment}" for comment in comments)]
    if asked.objectives:
        lines += ["", "[matrix]", f"objective = {shown([each.phase1.objective for each in asked.objectives])}"]
    for cell in asked.listed:
        lines += ["", "[[cells]]", *(f"{name} = {shown(value)}" for name, value in cell.model_dump().items()
                                     if value is not None)]
    return "\n".join(lines) + "\n"
