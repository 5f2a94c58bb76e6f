"""The data of a run file -> RunConfig. Unknown keys are errors, with the nearest name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, ValidationError

from cvfp_core.errors import PluginError, UsageError, shown, suggestion
from cvfp_core.registry import Registry
from cvfp_core.registry.kinds import Preset, VariantFamily
from cvfp_core.running import runfile
from cvfp_core.running.corpora import without_defaults_of_another
from cvfp_core.schema import options
from cvfp_core.schema.cells import CorpusChoice
from cvfp_core.schema.settings import (
    DEFAULT_OBJECTIVE,
    Phase1Settings,
    Phase2Settings,
    Scalar,
    Settings,
    Shortcuts,
    options_of,
)

_Positive = Annotated[int, Field(ge=1, strict=True)]
_Count = Annotated[int, Field(ge=1, le=1000, strict=True)]


class Geometric(BaseModel):
    """Sample sizes as the sliding windows of a scaling analysis want them: `windows` windows of `window` sizes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    initial: _Positive
    multiplier: Annotated[float, Field(gt=1, strict=True, allow_inf_nan=False)] = 2.0
    window: Annotated[int, Field(ge=2, le=1000, strict=True)] = 4
    windows: _Count = 1

    @property
    def count(self) -> int:
        return self.window + self.windows - 1

    def sizes(self) -> tuple[int, ...]:
        """initial * multiplier^i for all windows; consecutive windows share all but one size. Raises UsageError."""
        try:
            return tuple(round(self.initial * self.multiplier**i) for i in range(self.count))
        except OverflowError:
            raise UsageError("samples grow without bound: take a smaller multiplier or fewer windows") from None


class Matrix(BaseModel):
    """Every combination of layers, context widths and input tokens, as variant names of one family; of objectives."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    num_layers: Annotated[list[_Positive] | None, Field(min_length=1)] = None
    context_dim: Annotated[list[_Positive] | None, Field(min_length=1)] = None
    num_input_tokens: Annotated[list[_Positive] | None, Field(min_length=1)] = None
    prefix: str = ""
    objective: Annotated[list[str] | None, Field(min_length=1)] = None
    """What Phase 1 minimises; the runs of each are an experiment of their own."""

    @property
    def count(self) -> int:
        return prod(len({*(values or ())}) for values in (self.num_layers, self.context_dim, self.num_input_tokens))

    def variants(self) -> tuple[str, ...]:
        """Their names; none where only objectives are given. Raises UsageError for a part of a name that is missing."""
        parts = {name: getattr(self, name) for name in ("num_layers", "context_dim", "num_input_tokens")}
        missing = [name for name, values in parts.items() if values is None]
        if missing and (len(missing) < len(parts) or self.prefix or not self.objective):
            raise UsageError(f"key 'matrix.{missing[0]}' is missing")
        combinations = product(self.num_input_tokens or (), self.num_layers or (), self.context_dim or ())
        return tuple(f"{self.prefix}{layers}L_{width}d_{window}tok" for window, layers, width in combinations)


class Listed(BaseModel):
    """One cell, of `[[cells]]`: chosen by itself, not part of a product."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    variant: str
    samples: _Positive
    seed: Annotated[int, Field(ge=0, lt=2**32, strict=True)] | None = None
    """None: once for each of `seeds`."""


_LIST, _GEOMETRIC = "a list", "sizes by rule"
"""Names of the two forms of `samples`, which pydantic puts into the place of an error."""
_Sizes = Annotated[
    Annotated[list[_Positive], Field(min_length=1), Tag(_LIST)] | Annotated[Geometric, Tag(_GEOMETRIC)],
    Discriminator(lambda value: _GEOMETRIC if isinstance(value, dict | Geometric) else _LIST),
]
_Seed = Annotated[int, Field(ge=0, lt=2**32, strict=True)]
_Named = Annotated[dict[str, Any], BeforeValidator(lambda value: {"name": value} if isinstance(value, str) else value)]
"""A name, or a section with it and with options."""
_Section = TypeVar("_Section")
_NAME = r"^\w([\w.\-+ ]*[\w.\-+])?$"


class RunFile(BaseModel):
    """The run file as written; every key has a meaning, no other is allowed."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Annotated[str, Field(pattern=_NAME, max_length=100, description="label of the experiment, and its folder "
                               "under runs/")] = "default"
    variants: Annotated[list[str], Field(description="models, such as 1L_128d_2tok")] = []
    matrix: Annotated[Matrix | None, Field(description="further variants by rule; several objectives")] = None
    samples: Annotated[_Sizes, Field(description="training documents of a run")] = []
    cells: Annotated[list[Listed], Field(description="single cells beside the product")] = []
    seeds: Annotated[list[_Seed], Field(min_length=1, description="every cell is run with each")] = [42]
    controls: Annotated[bool, Field(strict=True, description="run every cell also with an untrained and with a zero "
                                    "context")] = False
    settings: Annotated[str | None, Field(description="preset that [phase1], [phase2] and [model] override; `cvfp "
                                          "plugins` lists them")] = None
    device: Annotated[str, Field(description="auto, cpu, cuda, cuda:N or mps")] = "auto"
    executor: _Named = {"name": "local"}
    precision: Annotated[Literal["float32", "bfloat16"] | None, Field(
        description="of matrix products; losses, contexts and metrics stay float32")] = None
    corpus: dict[str, Any] = {"name": "embedded"}
    phase1: dict[str, Any] = {}
    objective: dict[str, Any] = {}
    ending: dict[str, Any] = {}
    phase2: dict[str, Any] = {}
    model: dict[str, Any] = {}
    shortcuts: dict[str, Any] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """What a run file and the command line ask for."""

    name: str
    variants: tuple[str, ...]
    samples: tuple[int, ...]
    seeds: tuple[int, ...]
    controls: bool
    preset: str | None
    settings: Settings
    device: str
    executor: str
    corpus: CorpusChoice
    shortcuts: Shortcuts
    objectives: tuple[Settings, ...] = ()
    """The settings once for each objective of the matrix, the first of which is `settings`; empty: it names none."""
    listed: tuple[Listed, ...] = ()
    """Cells beside the product of variants, samples and seeds."""
    executor_options: Mapping[str, Scalar] = field(default_factory=dict)
    written: Mapping[str, Any] = field(default_factory=dict)
    """The run file with its overrides, as plain data, for the manifest."""

    @property
    def several(self) -> bool:
        """Whether there is more than one cell, controls and objectives not counted."""
        return len(self.variants) * len(self.samples) * len(self.seeds) + len(self.listed) > 1


def read(path: Path | None, overrides: Mapping[str, Any], assignments: Sequence[str], registry: Registry) -> RunConfig:
    """The configuration of a run file (None: the embedded default) with overrides applied.

    overrides: top-level keys and their values. assignments: `section.key=value`, the value in TOML.
    Raises UsageError, one line, for a file that cannot be read, an unknown key, preset or impossible value.
    """
    try:
        return _read(path, overrides, assignments, registry)
    except UsageError as error:
        raise UsageError(runfile.located(str(error), path, overrides, assignments)) from None


def _read(path: Path | None, overrides: Mapping[str, Any], assignments: Sequence[str], registry: Registry) -> RunConfig:
    data = runfile.merged(path, overrides, assignments)
    if path is None and isinstance(data["corpus"], dict):
        default = runfile.parse(None)["corpus"]
        data["corpus"] = without_defaults_of_another(data["corpus"], default, assignments, registry)
    try:
        run = RunFile.model_validate(data)
    except ValidationError as error:
        raise UsageError(_explain(error)) from None
    for section in ("corpus", "objective", "ending", "model", "executor"):
        for key, value in getattr(run, section).items():
            if not isinstance(value, str | int | float):
                raise UsageError(f"{section}.{key} must be a text, a number, true or false, not {shown(value)}")
    _refuse_too_many(run)
    variants = tuple(dict.fromkeys([*run.variants, *(run.matrix.variants() if run.matrix else ())]))
    if not variants and not run.cells:
        raise UsageError("no variants: give variants = [\"1L_128d_1tok\"], a [matrix] or [[cells]] in the run file, or "
                         "--variant")
    if "seeds" in data and not variants and all(each.seed is not None for each in run.cells):
        raise UsageError("seeds are for nothing, as each of [[cells]] has a seed of its own; leave seeds out, "
                         "or theirs")
    if bool(variants) != bool(run.samples):
        raise UsageError("key 'samples' is missing" if variants else "samples without variants: give those, or each "
                         "size in [[cells]]")
    samples = tuple(sorted(set(run.samples.sizes() if isinstance(run.samples, Geometric) else run.samples)))
    settings = settings_from(
        _preset(run.settings, registry) if run.settings else {},
        {name: getattr(run, name) for name in _LAYER if name != "precision"}
        | ({"precision": run.precision} if run.precision else {}),
    )
    named = run.matrix.objective if run.matrix else None
    if named and ("objective" in run.phase1 or settings.phase1.objective != DEFAULT_OBJECTIVE):
        raise UsageError(f"matrix.objective names {', '.join(named)} and phase1.objective {settings.phase1.objective}: "
                         "leave one of the two out")
    objectives = _each_objective(named, settings, registry) if named else ()
    return RunConfig(
        name=run.name,
        variants=variants,
        samples=samples,
        seeds=tuple(dict.fromkeys(run.seeds)),
        controls=run.controls,
        preset=run.settings,
        settings=objectives[0] if objectives else _resolved(settings, registry),
        objectives=objectives,
        device=run.device,
        executor=str(run.executor.get("name", "local")),
        executor_options=_options(run.executor),
        corpus=CorpusChoice(name=str(run.corpus.get("name", "embedded")), options=_options(run.corpus)),
        shortcuts=_section("shortcuts", Shortcuts, run.shortcuts),
        listed=tuple(run.cells),
        written=data,
    )


MOST_CELLS = 100_000
"""Of a grid: more would take longer to list than anybody waits."""


def _refuse_too_many(run: RunFile) -> None:
    """Raises UsageError for a grid of too many cells, by arithmetic: nothing is listed."""
    parts = {
        "variants": len({*run.variants}) + (run.matrix.count if run.matrix else 0),
        "samples": run.samples.count if isinstance(run.samples, Geometric) else len({*run.samples}),
        "seeds": len({*run.seeds}),
        "objectives and controls": len({*((run.matrix and run.matrix.objective) or [""])}) + (2 if run.controls else 0),
    }
    count = prod(parts.values()) + len(run.cells) * parts["seeds"] * parts["objectives and controls"]
    if count > MOST_CELLS:
        what = " x ".join(f"{number:,} {name}" for name, number in parts.items() if number > 1)
        raise UsageError(f"the grid has {count:,} cells ({what}); at most {MOST_CELLS:,} are possible, ask for fewer")


def _options(section: Mapping[str, Scalar]) -> dict[str, Scalar]:
    return {key: value for key, value in section.items() if key != "name"}


def _preset(name: str, registry: Registry) -> Mapping[str, Any]:
    """The preset's overrides. Raises PluginError, naming it and its plugin, for a key or value that is no setting."""
    overrides = registry.get(Preset, name).overrides
    known = {option.name for family in registry.items(VariantFamily).values() for option in family.options}
    try:
        for section, values in overrides.items():
            if section not in _LAYER:
                raise UsageError(f"unknown key '{section}'{suggestion(section, _LAYER)}; known: {', '.join(_LAYER)}")
            if section != "precision" and not isinstance(values, Mapping):
                raise UsageError(f"{section} must be a section, not {shown(values)}")
        _resolved(settings_from(overrides), registry)
        for key in overrides.get("model", {}):
            if key not in known:
                raise options.unknown_key("model", key, known)
    except UsageError as error:
        raise PluginError(f"{registry.label(Preset, name)}: {error}; mend the preset") from None
    return overrides


_LAYER = ("phase1", "phase2", "model", "objective", "ending", "precision")


def _resolved(settings: Settings, registry: Registry) -> Settings:
    """The settings with every option of Phase 1's objective and ending. Raises UsageError for one that is unknown."""
    objective, ending = registry.objective(settings.phase1.objective), registry.ending(settings.phase1.ending)
    return replace(settings, objective=options.resolve("objective", objective.options, settings.objective),
                   ending=options.resolve("ending", ending.options, settings.ending))


def _each_objective(names: Sequence[str], settings: Settings, registry: Registry) -> tuple[Settings, ...]:
    """The settings under each objective, which takes of the options given those that it has.

    Raises UsageError for an unknown objective, or an option that none of them has.
    """
    chosen = [registry.objective(name) for name in dict.fromkeys(names)]
    known = {option.name for objective in chosen for option in objective.options}
    for key in settings.objective:
        if key not in known:
            raise options.unknown_key("objective", key, known)
    return tuple(_resolved(replace(
        settings, phase1=replace(settings.phase1, objective=objective.name),
        objective={key: value for key, value in settings.objective.items()
                   if key in {option.name for option in objective.options}}), registry) for objective in chosen)


def settings_from(*layers: Mapping[str, Any]) -> Settings:
    """Settings with each layer of overrides laid over the one before; the first lies over the defaults.

    A layer is nested: `{"phase1": {"learning_rate": 0.01}, "precision": "bfloat16"}`. Raises UsageError.
    """
    laid: dict[str, dict[str, Any]] = {name: {} for name in _LAYER if name != "precision"}
    precision: Any = "float32"
    for layer in layers:
        for name, values in laid.items():
            values |= layer.get(name, {})
        precision = layer.get("precision", precision)
    try:
        return Settings(
            phase1=_section("phase1", Phase1Settings, laid.pop("phase1")),
            phase2=_section("phase2", Phase2Settings, laid.pop("phase2")),
            precision=precision,
            **laid,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None


def _section(section: str, kind: type[_Section], given: Mapping[str, Any]) -> _Section:
    """The values for the dataclass's fields, an int taken where a float is asked for."""
    known = options_of(kind)
    values = options.resolve(section, known, given)
    numbers = {option.name for option in known if isinstance(option.default, float)}
    return kind(**{name: float(value) if name in numbers else value  # type: ignore[arg-type]
                   for name, value in values.items()})


_RULES = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "finite_number": "finite",
    "string_type": "a text",
    "list_type": "a list",
    "dict_type": "a section",
    "model_type": "a section",
    "model_attributes_type": "a section",
    "greater_than": "above {gt:g}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "too_short": "a list with at least {min_length} entry",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "made of letters, digits, spaces and . _ + -, a letter or digit first",
}
"""What pydantic's kinds of error ask for, in our words."""


def _explain(error: ValidationError) -> str:
    """One problem in one line, an unknown key before all others, with the nearest known one."""
    problem = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    if problem["loc"] in (("objective",), ("ending",)):
        name = problem["loc"][0]
        return f"{name} has the options of the {name}, which phase1.{name} names: say phase1.{name} = " \
               f"{shown(problem['input'])}"
    place = [part for part in problem["loc"] if part not in (_LIST, _GEOMETRIC)]
    where = ".".join(part for part in place if isinstance(part, str))
    entry = "".join(f" (entry {part + 1})" for part in place if isinstance(part, int))
    if problem["type"] == "extra_forbidden":
        if len(place) == 1 and (full := _elsewhere(str(place[0]))):
            return f"unknown key '{where}': did you mean {full}?"
        known = _known_keys(place[:-1])
        return f"unknown key '{where}'{entry}{suggestion(str(place[-1]), known)}; known: {', '.join(known)}"
    if problem["type"] == "missing":
        return f"key '{where}'{entry} is missing"
    rule = _RULES.get(problem["type"])
    wanted = f"must be {rule.format(**problem.get('ctx', {}))}" if rule else problem["msg"]
    found = problem["input"]
    meant = [runfile.value_of(where, each) for each in str(found).split(",")] if isinstance(found, str | int) else []
    quoted = problem["type"] == "int_type" and len(place) == 2 and {*map(type, meant)} == {int}
    write = f"; write {where} = {shown(meant)}" if meant and (quoted or problem["type"] == "list_type") else ""
    return f"{where}{entry} {wanted}, not {shown(found)[:200]}{write}"


def _known_keys(section: Sequence[Any]) -> list[str]:
    kinds: dict[str, type[BaseModel]] = {"samples": Geometric, "matrix": Matrix, "cells": Listed}
    return list((kinds[str(section[0])] if section else RunFile).model_fields)


def _elsewhere(name: str) -> str:
    """Where a key stands that was given without its section: `phase1.learning_rate or phase2.learning_rate`."""
    sections = {"phase1": Phase1Settings, "phase2": Phase2Settings, "shortcuts": Shortcuts}
    return " or ".join(f"{section}.{name}" for section, kind in sections.items()
                       if name in {option.name for option in options_of(kind)})
