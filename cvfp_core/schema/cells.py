"""What is run and what is heard of it: variants, cells of a grid, events. Plain, picklable, standard library only."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from cvfp_core.schema.settings import DEFAULT_OBJECTIVE, Phase1Mode, Scalar, Settings, Shortcuts

PROTOCOL_VERSION = 2
"""Raised when the same cell would give other numbers than before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One model of a family at given hyper-parameters."""

    name: str
    family: str
    num_layers: int
    context_dim: int
    num_input_tokens: int

    @classmethod
    def parse(cls, name: str, *, family: str, prefix: str = "") -> Variant | None:
        """The variant that `{prefix}{L}L_{d}d_{T}tok` names, or None if the name is of another form."""
        match = re.fullmatch(re.escape(prefix) + r"([1-9]\d{0,8})L_([1-9]\d{0,8})d_([1-9]\d{0,8})tok", name, re.ASCII)
        if match is None:
            return None
        layers, width, window = (int(group) for group in match.groups())
        return cls(name=name, family=family, num_layers=layers, context_dim=width, num_input_tokens=window)


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusChoice:
    """A corpus by name, with the options that differ from its defaults."""

    name: str
    options: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One run to be made: a plain, picklable value."""

    experiment: str
    variant: Variant
    settings: Settings
    corpus: CorpusChoice
    corpus_hash: str
    num_samples: int
    train_tokens: int
    seed: int
    device: str
    cache: Path
    """Folder where corpora are cached; the run needs no other."""
    stop_rules: tuple[str, ...] = ()
    """Rules that may end the run early. A run they end is no result, so they are not part of the run id."""
    earlier: tuple[str, ...] = ()
    """Run ids of the cells that a rule of Phase 2 may compare it with; see `running.grid`."""
    shortcuts: Shortcuts = field(default_factory=Shortcuts)
    """How the numbers are reached; not part of the run id either."""
    job: str = "direct"
    """Name of the job that it is part of, under which its workers are noted in the store; nor is this."""

    @property
    def control(self) -> Phase1Mode | None:
        """Which control the run is, by its Phase 1; None: none."""
        mode = self.settings.phase1.mode
        return None if mode == "trained" else mode

    @property
    def title(self) -> str:
        """The variant, which control of it, and the objective where it is not the published one."""
        objective = self.settings.phase1.objective
        return ", ".join([self.variant.name, *([self.control] if self.control else []),
                          *([objective] if objective != DEFAULT_OBJECTIVE else [])])

    @property
    def run_id(self) -> str:
        """A readable name with a hash of all that decides the result; the machine does not."""
        decisive = {
            "variant": asdict(self.variant),
            "settings": self.settings.as_dict(),
            "corpus": self.corpus_hash,
            "num_samples": self.num_samples,
            "seed": self.seed,
            "protocol": PROTOCOL_VERSION,
        }
        digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:12]
        return f"{self.variant.name}-n{self.num_samples}-s{self.seed}-{digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened in a run; picklable, flat, ready for JSON."""

    kind: Literal[
        "run_started", "run_resumed", "phase1_iteration", "phase2_epoch", "phase_finished", "run_finished",
        "run_skipped", "warning", "job"
    ]
    run_id: str
    """Empty for `job`: what an engine says of a job that is waited for, in the value `text`."""
    values: Mapping[str, Scalar | None] = field(default_factory=dict)


Emit = Callable[[Event], None]
