"""The frozen values plugins hand over, one class a kind of item.

Only the standard library is imported here, so that a plugin's entry module stays light.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cvfp_core.cells import Cell, Emit, Variant
from cvfp_core.settings import Scalar

if TYPE_CHECKING:
    import numpy as np
    import torch

    from cvfp_core.protocol.model import TwoPhaseModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One setting that a plugin's item takes: its name, default, meaning, and the values allowed if they are few."""

    name: str
    default: Scalar | None
    help: str
    choices: tuple[Scalar, ...] = ()
    minimum: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantFamily:
    """A model family: how its variants are named and how one is built."""

    name: str
    title: str
    form: str
    """The names it answers to, as people read it: `{L}L_{d}d_{T}tok`."""
    parse: Callable[[str], Variant | None]
    build: Callable[[Variant, Mapping[str, Scalar], torch.Tensor, torch.Generator], TwoPhaseModel]
    """(variant, all options, frozen embeddings (V, d_e), CPU generator for the weights) -> model."""
    options: tuple[Option, ...] = ()
    phases: Literal[1, 2] = 2
    """1: the family has no contexts to learn; Phase 1 is empty and its metrics stay null."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Corpus:
    """Tokens of a training and a validation stream, and the frozen embeddings of their vocabulary."""

    name: str
    tokenizer: str
    vocab_size: int
    train_tokens: np.ndarray
    """(tokens,) int32: all training documents, joined by newlines."""
    document_ends: np.ndarray
    """(documents,) int64: tokens up to and including document i; the first n documents are a prefix."""
    val_tokens: np.ndarray
    embeddings: np.ndarray
    """(vocab_size, embed_dim) float32."""
    hash: str
    """Of everything the above is made from: texts, split, tokenizer, embedding recipe."""

    @property
    def num_documents(self) -> int:
        return len(self.document_ends)

    @property
    def embed_dim(self) -> int:
        return int(self.embeddings.shape[1])

    def sample(self, num_samples: int) -> np.ndarray:
        """(tokens,) of the first `num_samples` training documents."""
        return self.train_tokens[: int(self.document_ends[num_samples - 1])]


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusSource:
    """Where a corpus comes from. `load(options, cache_folder)` returns it; options are checked before."""

    name: str
    title: str
    load: Callable[[Mapping[str, Scalar | None], Path], Corpus]
    options: tuple[Option, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Settings known by a name, as overrides of the defaults: `{"phase1": {"dist_reg_weight": 0.8}}`."""

    name: str
    title: str
    overrides: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A Markdown report: a Jinja template file and what it is for."""

    name: str
    title: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Executor:
    """A way to have cells executed: here, in several processes, on other machines.

    `run(cells, folder, jobs, emit)` calls `cvfp_core.execute.execute_cell(cell, folder, emit)` once for every cell,
    wherever it likes, and hands on every event; it returns when all are done.
    """

    name: str
    title: str
    run: Callable[[Sequence[Cell], Path, int, Emit], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One metric of one run over iterations or epochs; None marks a step without a finite value."""

    phase: int
    metric: str
    steps: Sequence[int]
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRun:
    """A run as an ingester found it: record columns under their names, more under its own, none where not measured."""

    line: int
    """Line or row it stands at, from 1."""
    columns: Mapping[str, Any]
    curves: tuple[Curve, ...] = ()
    exact: bool = True
    """False: the figures are rounded as a log prints them; an exact record of the same run is preferred."""
    fingerprint: str | None = None
    """Equal for two records of one run, whatever they were read from; by default made from all its figures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedAlpha:
    """A scaling exponent that the input itself states, kept beside the records to compare with."""

    line: int
    variant: str
    alpha: float
    experiment: str | None = None
    """None: of whichever experiment read at the same time states the same alpha to four digits."""
    first_samples: int | None = None
    last_samples: int | None = None
    """The window it was fitted on; None for all sample sizes."""
    exact: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class NotUnderstood:
    """A line or row that is neither data nor known noise, or that contradicts others: reported, never dropped."""

    line: int
    expected: str
    found: str
    file: str = ""
    """Within a folder: the file it stands in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Input lines or rows that became part of a record, points of a curve, or are known to say nothing."""

    record: int = 0
    curve: int = 0
    noise: int = 0


Found = FoundRun | PublishedAlpha | NotUnderstood | Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestOptions:
    """What a user says about the input."""

    experiment: str | None = None
    """Label for all runs, instead of the one the input gives itself."""
    mapping: Mapping[str, str] = field(default_factory=dict)
    """Record column -> what it is made from; applied to every row after the ingester."""
    presets: Mapping[str, Preset] = field(default_factory=dict)
    """Settings known by a name, of all plugins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingester:
    """A way to read runs that were made elsewhere.

    `matches(path, head)` looks at content: `head` is the first 64 KiB of a file, or None for a folder.
    `read(path, options)` yields what it finds, as a stream; it raises IngestError where the input is malformed, and
    nothing of that input is then kept.
    """

    name: str
    title: str
    matches: Callable[[Path, bytes | None], bool]
    read: Callable[[Path, IngestOptions], Iterator[Found]]
    general: bool = False
    """True: reads anything of a general form (a table); asked only where no other ingester knows the content."""
