"""Everything of the protocol that is not the variant, the data or the machine, as frozen values."""

# ruff: noqa: RUF009 (`_setting` makes a field)

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, cast, get_args

from cvfp_core.errors import shown
from cvfp_core.schema.options import Option
from cvfp_core.schema.options import Scalar as Scalar

Phase1Mode = Literal["trained", "untrained", "zero-context"]
PUBLISHED = "published experiments v3, v4"
DEFAULT_OBJECTIVE = "mcdl"
DEFAULT_ENDING = "converged"
"""Objective and ending of the published protocol; settings are written without them, as before there were others."""


_PUBLISHED = {"objective": DEFAULT_OBJECTIVE, "ending": DEFAULT_ENDING}


def _setting(default: Any, help: str, **about: Any) -> Any:
    """A field with what it means and the values it may have; see `Option`."""
    return field(default=default, metadata={"help": help, **about})


def options_of(section: type) -> tuple[Option, ...]:
    """The settings of a section such as `Phase1Settings`."""
    return tuple(Option(name=each.name, default=cast(Scalar, each.default), **each.metadata)
                 for each in fields(section))


def _check(section: str, values: Any) -> None:
    for option in options_of(type(values)):
        value = getattr(values, option.name)
        if rule := option.problem(value):
            raise ValueError(f"{section}.{option.name} must be {rule}, not {shown(value)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase1Settings:
    """How contexts are learned. The defaults are those of the published experiments v3 and v4."""

    mode: Phase1Mode = _setting("trained", "how contexts come about; the others are controls: a random block, and no "
                                "context at all", choices=get_args(Phase1Mode))
    learning_rate: float = _setting(0.002, "of Adam", above=0, source=PUBLISHED)
    max_iterations: int = _setting(60, "passes over the tokens after which Phase 1 ends in any case", minimum=2,
                                   unit="iterations", source=PUBLISHED)
    min_iterations: int = _setting(5, "passes before it may end", minimum=2, unit="iterations", source=PUBLISHED)
    batch_tokens: int = _setting(5000, "batch; part of the loss, whose diversity term is a mean over it", minimum=1,
                                 unit="tokens", source=PUBLISHED)
    context_noise: float = _setting(0.1, "standard deviation of the noise that is added to previous contexts",
                                    minimum=0, source=PUBLISHED)
    objective: str = _setting(DEFAULT_OBJECTIVE, "what is minimised beside the movement of contexts, the "
                              "diversity term")
    ending: str = _setting(DEFAULT_ENDING, "what ends it, before max_iterations does")
    dist_reg_weight: float = _setting(0.9, "weight of the diversity term; the rest is that of the fixed point",
                                      minimum=0, maximum=1, source=PUBLISHED)
    gradient_clip: float = _setting(1.0, "largest norm of a gradient", above=0, source=PUBLISHED)
    convergence_threshold: float = _setting(0.03, "mean squared change of a context below which it has "
                                            "converged", above=0, source=PUBLISHED)
    converged_ratio: float = _setting(0.99, "share of converged contexts at which Phase 1 ends", above=0, maximum=1,
                                      source=PUBLISHED)

    def __post_init__(self) -> None:
        _check("phase1", self)

    def converged(self, iteration: int, rate: float) -> bool:
        """Whether Phase 1 has converged after an iteration with this share of converged contexts."""
        return iteration >= self.min_iterations and rate >= self.converged_ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase2Settings:
    """How tokens are predicted from frozen contexts."""

    learning_rate: float = _setting(0.001, "of Adam", above=0, source=PUBLISHED)
    epochs: int = _setting(20, "most epochs", minimum=1, unit="epochs", source=PUBLISHED)
    batch_tokens: int = _setting(512, "batch; the research code took 512 on a CPU and as many as fitted on a GPU, here "
                                 "it is always what it says", minimum=1, unit="tokens", source=PUBLISHED)
    gradient_clip: float = _setting(1.0, "largest norm of a gradient", above=0, source=PUBLISHED)
    patience: int = _setting(1, "epochs without a better validation loss after which training ends", minimum=1,
                             unit="epochs", source=PUBLISHED)

    def __post_init__(self) -> None:
        _check("phase2", self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortcuts:
    """Ways to the same numbers with less work, each tested against the plain computation, each with its switch.

    They do not decide a result, so they are not part of a run id; tests/test_shortcuts.py states the tolerances.
    """

    token_parts: bool = _setting(True, "compute what a layer makes of tokens alone once for each distinct token")
    row_blocks: bool = _setting(True, "take a Phase-1 batch through the model in blocks that stay in the cache, with "
                                "the loss's gradient in closed form")
    parallel_validation: bool = _setting(True, "compute contexts along a stream in chunks side by side, every seam "
                                         "verified")
    blocked_rank: bool = _setting(True, "effective rank by a Gram matrix in float32 blocks summed in float64, all in "
                                  "float64 where that is too coarse")
    chunked_head: bool = _setting(True, "take the vocabulary in chunks in Phase 2, loss and gradient in one pass")
    fused_optimizer: bool = _setting(True, "Adam as one kernel")
    fast_products: bool = _setting(True, "compute float32 matrix products on a CPU by the library that is faster here")
    product_library: str = _setting("auto", "library of those products; auto: as suits the processor, by a table",
                                    choices=("auto", "torch", "onednn"))
    rows_at_once: int = _setting(0, "rows of a block of Phase 1 on a CPU; 0: as suits the processor", minimum=0,
                               unit="rows")
    words_at_once: int = _setting(0, "words of a chunk of Phase 2 on a CPU; 0: as suits the processor", minimum=0,
                               unit="words")
    slow_bfloat16: bool = _setting(False, "allow precision bfloat16 on a CPU where float32 is faster")
    memory_gib: float = _setting(4.0, "keep larger contexts in a file that is mapped into memory; CPU only", above=0,
                                 unit="GiB")
    checkpoint_seconds: float = _setting(300.0, "between checkpoints, from which a killed cell goes on; 0: after every "
                                         "iteration and epoch; 1e9: none", minimum=0, unit="seconds")

    def __post_init__(self) -> None:
        _check("shortcuts", self)

    @classmethod
    def none(cls) -> Shortcuts:
        """The plain computation throughout."""
        off: dict[str, Any] = {each.name: False for each in fields(cls) if each.default is True}
        return cls(**off, memory_gib=1e9, checkpoint_seconds=1e9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything of the protocol that is not the variant, the data or the machine."""

    phase1: Phase1Settings = field(default_factory=Phase1Settings)
    phase2: Phase2Settings = field(default_factory=Phase2Settings)
    model: Mapping[str, Scalar | None] = field(default_factory=dict)
    """Options of the variant's family; in a cell all of them, in a run file those that differ."""
    objective: Mapping[str, Scalar | None] = field(default_factory=dict)
    """Options of Phase 1's objective; in a cell all of them, in a run file those that differ."""
    ending: Mapping[str, Scalar | None] = field(default_factory=dict)
    """Options of what ends Phase 1, likewise."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """`bfloat16`: matrix products under autocast; losses, contexts and metrics stay float32."""

    def __post_init__(self) -> None:
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision must be one of float32, bfloat16, not {shown(self.precision)}")

    def as_dict(self) -> dict[str, Any]:
        """Plain nested data, keys sorted where they are free; what records store and run ids hash."""
        phase1 = asdict(self.phase1)
        for name, default in _PUBLISHED.items():
            if phase1[name] == default:
                del phase1[name]
        return {
            "phase1": phase1,
            "phase2": asdict(self.phase2),
            "model": dict(sorted(self.model.items())),
            **{name: dict(sorted(getattr(self, name).items())) for name in _PUBLISHED if getattr(self, name)},
            "precision": self.precision,
        }


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their dotted names: `{"phase1": {"mode": "trained"}}` -> `{"phase1.mode": "trained"}`."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def by_name(nested: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they are compared: by dotted name, objective and ending each as one with its options."""
    flat = flatten({name: value for name, value in nested.items() if name not in _PUBLISHED})
    if any(name.startswith("phase1.") for name in flat):
        for name, default in _PUBLISHED.items():
            options = (f"{option} = {shown(value)}" for option, value in nested.get(name, {}).items())
            flat[f"phase1.{name}"] = ", ".join([flat.get(f"phase1.{name}", default), *options])
    return flat
