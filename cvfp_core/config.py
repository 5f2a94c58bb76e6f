"""The run file (TOML) -> RunConfig. Unknown keys are errors, with the nearest name."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cvfp_core.cells import CorpusChoice
from cvfp_core.errors import UsageError, suggestion
from cvfp_core.kinds import Preset
from cvfp_core.registry import Registry
from cvfp_core.settings import Phase1Settings, Phase2Settings, Scalar, Settings

DEFAULT = Path(__file__).with_name("default.toml")

_Positive = Annotated[int, Field(ge=1, strict=True)]


class Geometric(BaseModel):
    """Sample sizes as the sliding windows of a scaling analysis want them: `windows` windows of `window` sizes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    initial: _Positive
    multiplier: Annotated[float, Field(gt=1)] = 2.0
    window: Annotated[int, Field(ge=2, strict=True)] = 4
    windows: _Positive = 1

    def sizes(self) -> tuple[int, ...]:
        """initial * multiplier^i for all windows; consecutive windows share all but one size."""
        return tuple(round(self.initial * self.multiplier**i) for i in range(self.window + self.windows - 1))


class Matrix(BaseModel):
    """Every combination of layers, context widths and input tokens, as variant names of one family."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    num_layers: list[_Positive]
    context_dim: list[_Positive]
    num_input_tokens: list[_Positive]
    prefix: str = ""

    def variants(self) -> tuple[str, ...]:
        combinations = product(self.num_input_tokens, self.num_layers, self.context_dim)
        return tuple(f"{self.prefix}{layers}L_{width}d_{window}tok" for window, layers, width in combinations)


class _RunFile(BaseModel):
    """The run file as written; every key has a meaning, no other is allowed."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Annotated[str, Field(pattern=r"^[\w.\-+ ]+$", max_length=100)] = "default"
    variants: list[str] = []
    matrix: Matrix | None = None
    samples: list[_Positive] | Geometric
    seeds: list[Annotated[int, Field(ge=0, strict=True)]] = [42]
    settings: str | None = None
    device: str = "auto"
    executor: str = "local"
    precision: Literal["float32", "bfloat16"] | None = None
    corpus: dict[str, str | bool | int | float] = {"name": "embedded"}
    phase1: dict[str, Any] = {}
    phase2: dict[str, Any] = {}
    model: dict[str, str | bool | int | float] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """What a run file and the command line ask for."""

    name: str
    variants: tuple[str, ...]
    samples: tuple[int, ...]
    seeds: tuple[int, ...]
    preset: str | None
    settings: Settings
    device: str
    executor: str
    corpus: CorpusChoice
    written: Mapping[str, Any] = field(default_factory=dict)
    """The run file with its overrides, as plain data, for the manifest."""


def read(path: Path | None, overrides: Mapping[str, Any], assignments: Sequence[str], registry: Registry) -> RunConfig:
    """The configuration of a run file (None: the embedded default) with overrides applied.

    overrides: top-level keys and their values. assignments: `section.key=value`, the value in TOML.
    Raises UsageError, one line, for a file that cannot be read, an unknown key, preset or impossible value.
    """
    data = parse(path or DEFAULT)
    for assignment in assignments:
        _assign(data, assignment)
    for key, value in overrides.items():
        data[key] = value
        if key == "variants":
            data.pop("matrix", None)
    try:
        run = _RunFile.model_validate(data)
    except ValidationError as error:
        raise UsageError(f"{path or 'run file'}: {_explain(error)}") from None
    variants = tuple(dict.fromkeys([*run.variants, *(run.matrix.variants() if run.matrix else ())]))
    if not variants:
        raise UsageError("no variants: give variants = [\"1L_128d_1tok\"] or a [matrix] in the run file, or --variant")
    samples = run.samples.sizes() if isinstance(run.samples, Geometric) else tuple(sorted(set(run.samples)))
    if not samples:
        raise UsageError("no sample sizes: give samples = [16, 32, 64] in the run file, or --samples")
    preset = registry.get(Preset, run.settings) if run.settings else None
    corpus = dict(run.corpus)
    return RunConfig(
        name=run.name,
        variants=variants,
        samples=samples,
        seeds=tuple(dict.fromkeys(run.seeds)),
        preset=run.settings,
        settings=settings_from(
            preset.overrides if preset else {},
            {"phase1": run.phase1, "phase2": run.phase2, "model": run.model}
            | ({"precision": run.precision} if run.precision else {}),
        ),
        device=run.device,
        executor=run.executor,
        corpus=CorpusChoice(name=str(corpus.pop("name", "embedded")), options=corpus),
        written=data,
    )


def settings_from(*layers: Mapping[str, Any]) -> Settings:
    """Settings with each layer of overrides laid over the one before; the first lies over the defaults.

    A layer is nested: `{"phase1": {"learning_rate": 0.01}, "precision": "bfloat16"}`. Raises UsageError.
    """
    phase1: dict[str, Any] = {}
    phase2: dict[str, Any] = {}
    model: dict[str, Scalar] = {}
    precision: Any = "float32"
    for layer in layers:
        phase1 |= layer.get("phase1", {})
        phase2 |= layer.get("phase2", {})
        model |= layer.get("model", {})
        precision = layer.get("precision", precision)
    try:
        return Settings(
            phase1=Phase1Settings(**_typed("phase1", Phase1Settings, phase1)),
            phase2=Phase2Settings(**_typed("phase2", Phase2Settings, phase2)),
            model=model,
            precision=precision,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None


def parse(path: Path) -> dict[str, Any]:
    """The run file as plain data. Raises UsageError naming the line of a syntax error."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read run file '{path}': {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"run file '{path}' is not UTF-8: byte {error.start}") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"run file '{path}' is not TOML: {error}") from None


def _assign(data: dict[str, Any], assignment: str) -> None:
    key, equals, text = assignment.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", key.strip()):
        raise UsageError(f"--set takes key=value, such as phase1.learning_rate=0.001, not '{assignment}'")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # an unquoted word
    *sections, name = key.strip().split(".")
    place = data
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise UsageError(f"--set {assignment}: '{section}' is not a section")
    place[name] = value


def _typed(section: str, kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """The values for the dataclass's fields, an int taken where a float is asked for."""
    known = {each.name: str(each.type) for each in fields(kind)}
    typed = {}
    for name, value in given.items():
        if name not in known:
            raise UsageError(f"unknown key '{section}.{name}'{suggestion(name, known)}; known: {', '.join(known)}")
        expected = known[name]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if expected == "float" and number:
            value = float(value)
        elif (expected == "int" and not (number and isinstance(value, int))) or (expected == "float" and not number):
            raise UsageError(f"{section}.{name} must be {'a number' if expected == 'float' else 'a whole number'}, "
                             f"not {value!r}")
        typed[name] = value
    return typed


def _explain(error: ValidationError) -> str:
    """The first problem in one line; an unknown key gets the nearest known one."""
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"] if not (isinstance(part, str) and "[" in part))
    if problem["type"] == "extra_forbidden":
        name = str(problem["loc"][-1])
        known = _known_keys(problem["loc"][:-1])
        return f"unknown key '{where}'{suggestion(name, known)}; known: {', '.join(known)}"
    if problem["type"] == "missing":
        return f"key '{where}' is missing"
    return f"'{where}' {problem['msg'].removeprefix('Input ').lower()}, not {problem['input']!r}"


def _known_keys(section: Iterable[Any]) -> list[str]:
    kinds: dict[str, type[BaseModel]] = {"samples": Geometric, "matrix": Matrix}
    first = next(iter(section), None)
    return list(kinds.get(str(first), _RunFile).model_fields)
