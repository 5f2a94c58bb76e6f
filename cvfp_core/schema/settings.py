"""Everything of the protocol that is not the variant, the data or the machine, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from math import inf
from typing import Any, Literal, get_args

from cvfp_core.errors import shown

Scalar = str | int | float | bool
Phase1Mode = Literal["trained", "untrained", "zero-context"]


def _require(section: str, rules: Mapping[str, tuple[bool, str]], values: object) -> None:
    for name, (holds, rule) in rules.items():
        if not holds:
            raise ValueError(f"{section}.{name} must be {rule}, not {shown(getattr(values, name))}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase1Settings:
    """How contexts are learned. The defaults are those of the published experiments v3 and v4."""

    mode: Phase1Mode = "trained"
    """`untrained` and `zero-context` are controls: a random block, and no context at all."""
    learning_rate: float = 0.002
    max_iterations: int = 60
    min_iterations: int = 5
    batch_tokens: int = 5000
    """Part of the loss: the diversity term is a mean over the batch."""
    context_noise: float = 0.1
    dist_reg_weight: float = 0.9
    gradient_clip: float = 1.0
    convergence_threshold: float = 0.03
    converged_ratio: float = 0.99

    def __post_init__(self) -> None:
        _require("phase1", {
            "mode": (self.mode in get_args(Phase1Mode), f"one of {', '.join(get_args(Phase1Mode))}"),
            "learning_rate": (0 < self.learning_rate < inf, "above 0"),
            "max_iterations": (self.max_iterations >= 2, "at least 2"),
            "min_iterations": (self.min_iterations >= 2, "at least 2"),
            "batch_tokens": (self.batch_tokens >= 1, "at least 1"),
            "context_noise": (0 <= self.context_noise < inf, "0 or above"),
            "dist_reg_weight": (0 <= self.dist_reg_weight <= 1, "from 0 to 1"),
            "gradient_clip": (0 < self.gradient_clip < inf, "above 0"),
            "convergence_threshold": (0 < self.convergence_threshold < inf, "above 0"),
            "converged_ratio": (0 < self.converged_ratio <= 1, "above 0 and at most 1"),
        }, self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase2Settings:
    """How tokens are predicted from frozen contexts."""

    learning_rate: float = 0.001
    epochs: int = 20
    batch_tokens: int = 512
    """The research code took 512 on a CPU and as many as fitted on a GPU; here it is always what it says."""
    gradient_clip: float = 1.0
    patience: int = 1

    def __post_init__(self) -> None:
        _require("phase2", {
            "learning_rate": (0 < self.learning_rate < inf, "above 0"),
            "epochs": (self.epochs >= 1, "at least 1"),
            "batch_tokens": (self.batch_tokens >= 1, "at least 1"),
            "gradient_clip": (0 < self.gradient_clip < inf, "above 0"),
            "patience": (self.patience >= 1, "at least 1"),
        }, self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortcuts:
    """Ways to the same numbers with less work, each tested against the plain computation, each with its switch.

    They do not decide a result, so they are not part of a run id; tests/test_shortcuts.py states the tolerances.
    """

    token_parts: bool = True
    """What a layer computes from tokens alone: once for each distinct token of a stream."""
    row_blocks: bool = True
    """Phase 1 takes a batch through the model in blocks that stay in the cache, the loss's gradient in closed form."""
    parallel_validation: bool = True
    """Contexts along a stream: chunks side by side, every seam verified."""
    blocked_rank: bool = True
    """Effective rank: the Gram matrix in float32 blocks summed in float64; all in float64 where that is too coarse."""
    chunked_head: bool = True
    """Phase 2: the vocabulary in chunks, the loss and its gradient in one pass."""
    fused_optimizer: bool = True
    """Adam as one kernel."""
    fast_products: bool = True
    """float32 matrix products on a CPU: by the library that is faster here."""
    memory_gib: float = 4.0
    """Contexts larger than this are kept in a file that is mapped into memory; CPU only."""
    checkpoint_seconds: float = 300.0
    """Between checkpoints, from which a cell that was killed goes on; 0: after every iteration and epoch; inf: none."""

    def __post_init__(self) -> None:
        _require("shortcuts", {
            "memory_gib": (self.memory_gib > 0, "above 0"),
            "checkpoint_seconds": (self.checkpoint_seconds >= 0, "0 or above"),
        }, self)

    @classmethod
    def none(cls) -> Shortcuts:
        """The plain computation throughout."""
        return cls(**{each.name: False for each in fields(cls) if each.type == "bool"}, memory_gib=inf,
                   checkpoint_seconds=inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything of the protocol that is not the variant, the data or the machine."""

    phase1: Phase1Settings = field(default_factory=Phase1Settings)
    phase2: Phase2Settings = field(default_factory=Phase2Settings)
    model: Mapping[str, Scalar | None] = field(default_factory=dict)
    """Options of the variant's family; in a cell all of them, in a run file those that differ."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """`bfloat16`: matrix products under autocast; losses, contexts and metrics stay float32."""

    def __post_init__(self) -> None:
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision must be one of float32, bfloat16, not {shown(self.precision)}")

    def as_dict(self) -> dict[str, Any]:
        """Plain nested data, keys sorted where they are free; what records store and run ids hash."""
        return {
            "phase1": asdict(self.phase1),
            "phase2": asdict(self.phase2),
            "model": dict(sorted(self.model.items())),
            "precision": self.precision,
        }


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their dotted names: `{"phase1": {"mode": "trained"}}` -> `{"phase1.mode": "trained"}`."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat
