"""Runs that could be made next, with what each costs: from a box of sizes, or from the grid of a run file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl

from cvfp_core.deciding.budgets import PARAMS, SIX_N_D, TOKENS, WITHOUT_EMBEDDINGS, Cost, counted
from cvfp_core.deciding.multiplier import ARM
from cvfp_core.errors import UsageError, suggestion
from cvfp_core.registry import Registry
from cvfp_core.schema.fits import Array, Points
from cvfp_core.schema.settings import Scalar

STEPS = {1: 24, 2: 14}
"""Sizes along each side of a box, by the number of sides that are ranges; 6 of more sides."""
SAME = 0.005
"""Sizes whose logarithms differ by less are one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cells:
    """m runs that could be made."""

    inputs: Mapping[str, Array]
    """(m,) by input of the laws."""
    flops: Array
    seconds: Array | None = None
    """In one process on this machine; None: not known."""
    listed: tuple[Mapping[str, Scalar], ...] = ()
    """As a run file lists them; none where they come from no run file."""
    written: Mapping[str, object] = field(default_factory=dict)
    """The run file they come from."""

    def __len__(self) -> int:
        return len(self.flops)

    def take(self, keep: Array) -> Cells:
        """Those where it is true."""
        return Cells(inputs={name: values[keep] for name, values in self.inputs.items()}, flops=self.flops[keep],
                     seconds=None if self.seconds is None else self.seconds[keep], written=self.written,
                     listed=tuple(each for each, kept in zip(self.listed, keep, strict=True) if kept)
                     if self.listed else ())


def box(text: str) -> dict[str, tuple[float, float]]:
    """The ranges of a text such as `params=1e8..1e10,train_tokens=2e9`. Raises UsageError for anything else."""
    made: dict[str, tuple[float, float]] = {}
    for part in text.split(","):
        name, _, ends = (each.strip() for each in part.partition("="))
        low, _, high = ends.partition("..")
        try:
            made[name] = float(low), float(high or low)
        except ValueError:
            raise UsageError(f"--cells takes a run file, or NAME=LOW..HIGH[,NAME=LOW..HIGH], not '{text}'") from None
    return made


def in_box(sides: Mapping[str, tuple[float, float]], names: Sequence[str]) -> dict[str, Array]:
    """(m,) sizes by name, equally apart in logarithms. Raises UsageError for a side that is none or lacks."""
    if strange := [name for name in sides if name not in names]:
        raise UsageError(f"--cells {strange[0]}: the laws are of {', '.join(names)}{suggestion(strange[0], names)}")
    if missing := [name for name in names if name not in sides]:
        raise UsageError(f"--cells says nothing of {', '.join(missing)}; give {missing[0]}=LOW..HIGH")
    if bad := [name for name, (low, high) in sides.items() if not 0 < low <= high < float("inf")]:
        raise UsageError(f"--cells {bad[0]}={sides[bad[0]][0]:g}..{sides[bad[0]][1]:g}: give positive sizes, the "
                         "smaller first")
    count = STEPS.get(sum(high > low for low, high in sides.values()), 6)
    axes = [np.geomspace(low, high, count) if high > low else np.array([low])
            for low, high in (sides[name] for name in names)]
    return dict(zip(names, np.array(list(product(*axes))).T, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prices:
    """What runs of given sizes cost, from those that were made."""

    convention: str
    points: Points
    """With the sizes that the convention counts."""
    cost: Cost | None
    """Where N and D are known."""

    @classmethod
    def needs(cls, convention: str) -> tuple[str, ...]:
        """Columns that runs must have."""
        return (PARAMS, TOKENS) if convention in (SIX_N_D, WITHOUT_EMBEDDINGS) else (convention,)

    @classmethod
    def of(cls, convention: str, points: Points) -> Prices:
        both = PARAMS in points.inputs and TOKENS in points.inputs
        return cls(convention=convention, points=points, cost=counted(convention, points, 0.0)[0] if both else None)

    @property
    def form(self) -> str:
        """How FLOPs follow, in words."""
        return self.cost.form if self.cost is not None else self.convention

    def flops(self, inputs: Mapping[str, Array]) -> Array:
        """(m,) FLOPs: by N and D where both are given, else by a plane through those of the runs, of each arm by
        itself, in logarithms.
        """
        if self.cost is not None and {PARAMS, TOKENS} <= {*inputs}:
            cost = self.cost
            return np.asarray(cost.factor * inputs[PARAMS] ** cost.power * inputs[TOKENS])
        if ARM in inputs:
            made = np.zeros(len(inputs[ARM]))
            for arm in np.unique(inputs[ARM]):
                mine = inputs[ARM] == arm
                own = replace(self, points=self.points.take(self.points.inputs[ARM] == arm))
                made[mine] = own.flops({name: values[mine] for name, values in inputs.items() if name != ARM})
            return made
        if {*inputs} == {self.convention}:
            return np.asarray(inputs[self.convention], dtype=float)
        spent = 6 * self.points.inputs[PARAMS] * self.points.inputs[TOKENS] if self.cost is not None and \
            self.convention in (SIX_N_D, WITHOUT_EMBEDDINGS) else self.points.inputs[self.convention]
        x = np.stack([np.log(self.points.inputs[name]) for name in inputs], axis=1)
        y, middle = np.log(spent), x.mean(axis=0)
        slope = np.linalg.lstsq(x - middle, y - y.mean(), rcond=1e-9)[0]
        slope = np.where(np.ptp(x, axis=0) > 0, slope, 1.0)  # of a size that did not vary: as dear as it is large
        return np.asarray(np.exp(y.mean() + (np.stack([np.log(values) for values in inputs.values()], axis=1)
                                             - middle) @ slope))


def from_run_file(path: Path, records: pl.DataFrame, names: Sequence[str], *, variants: Sequence[str] | None,
                  registry: Registry) -> Cells:
    """The cells of a run file's grid that have no run yet, with their FLOPs and time as `cvfp run --dry-run` has them.

    variants: those that count, without controls; with ARM among the names they are the arms, the baseline first. None:
    all do.
    """
    from cvfp_core.running.costs import costs, timed
    from cvfp_core.running.grid import refuse_mixture
    from cvfp_core.running.run import prepare

    prepared = prepare(path, registry=registry)
    if prepared.config.objectives:
        raise UsageError(f"cells of '{path}' are of several objectives (matrix.objective), and a plan is for one: take "
                         "one, as phase1.objective")
    if records["corpus_hash"].is_not_null().any():
        refuse_mixture(prepared.cells, records, registry)
    done = {*records["run_id"]}
    pending = [cell for cell in prepared.cells if cell.run_id not in done and (
        variants is None or (cell.variant.name in variants and cell.control is None))]
    if not pending:
        whose = f" of {', '.join(variants)}" if variants else ""
        raise UsageError(f"--cells {path}: none of its {len(prepared.cells)} cells{whose} is still to be run; add "
                         "sizes or seeds")
    told, _ = timed(costs(pending, registry, prepared.corpus), registry, prepared.corpus)
    seconds = [each.seconds for each in told if each.seconds is not None]
    known = {
        "train_tokens": [each.cell.train_tokens for each in told],
        "num_samples": [each.cell.num_samples for each in told],
        "params": [each.params_phase1 + each.params_phase2 for each in told],
        "flops": [each.flops for each in told],
        **{name: [getattr(each.cell.variant, name) for each in told]
           for name in ("num_layers", "context_dim", "num_input_tokens")}}
    if missing := [name for name in names if name not in (*known, ARM)]:
        raise UsageError(f"--cells {path}: a run file's cells have {', '.join(known)}, and the laws are of "
                         f"{', '.join(missing)}; give a box: --cells {missing[0]}=LOW..HIGH")
    known[ARM] = [list(variants or [each.cell.variant.name]).index(each.cell.variant.name) for each in told]
    return Cells(inputs={name: np.array(known[name], dtype=float) for name in names},
                 flops=np.array(known["flops"], dtype=float),
                 seconds=np.array(seconds, dtype=float) if len(seconds) == len(told) else None,
                 listed=tuple({"variant": each.cell.variant.name, "samples": each.cell.num_samples,
                               "seed": each.cell.seed} for each in told), written=prepared.config.written)
