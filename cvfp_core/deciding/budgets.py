"""What a budget of FLOPs buys: the convention that counts them, and the sizes that are allowed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from cvfp_core.errors import UsageError, suggestion
from cvfp_core.schema.fits import Array, Points
from cvfp_core.schema.plain import AsDict

PARAMS, TOKENS = "params", "train_tokens"
SIX_N_D, WITHOUT_EMBEDDINGS = "6ND", "6ND-non-embedding"
WIDEST = 1e4
"""Times the smallest and largest model between which an optimum is looked for."""
LARGEST = 700.0
"""Logarithm of the largest number, about."""
SPREAD = 1.05
"""Scatter of a column of FLOPs about what N and D say, as a factor, from which on it is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint(AsDict):
    """A limit on one of the sizes: `params<=3e9`."""

    name: str
    upper: bool
    value: float

    def __str__(self) -> str:
        return f"{self.name}{'<=' if self.upper else '>='}{self.value:g}"

    def allows(self, value: float) -> bool:
        """Whether the size may have that value."""
        return value <= self.value if self.upper else value >= self.value


def constraint(text: str) -> Constraint:
    """The limit that a text such as `params<=3e9` states. Raises UsageError for anything else."""
    parts = re.fullmatch(r"\s*(\w+)\s*([<>])=?\s*(\S+)\s*", text)
    try:
        value = float(parts[3]) if parts else 0.0
    except ValueError:
        value = 0.0
    if parts is None or not 0 < value < float("inf"):
        raise UsageError(f"--constraint takes NAME<=VALUE or NAME>=VALUE with a positive number, not '{text}'; such as "
                         f"{PARAMS}<=3e9")
    if parts[1] not in (PARAMS, TOKENS):
        raise UsageError(f"--constraint {parts[1]}: limits are on {PARAMS} and {TOKENS}"
                         f"{suggestion(parts[1], [PARAMS, TOKENS])}")
    return Constraint(name=parts[1], upper=parts[2] == "<", value=value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost(AsDict):
    """How FLOPs follow from N and D: factor * N^power * D, and 2 N for each token that is served."""

    convention: str
    """As it was asked for: `6ND`, `6ND-non-embedding`, or a column."""
    factor: float = 6.0
    power: float = 1.0
    scatter: float = 1.0
    """Of a column about it, as a factor: exp of the residual standard deviation."""
    inference_tokens: float = 0.0

    @property
    def form(self) -> str:
        """As people write it: `C = 6 N D`."""
        power = "N" if self.power == 1 else f"N^{self.power:.3g}"
        served = f" + 2 N {self.inference_tokens:g}" if self.inference_tokens else ""
        return f"C = {self.factor:.3g} {power} D{served}"

    def tokens(self, flops: float, params: Array | float) -> Array:
        """Training tokens that are left for models of these sizes; not positive where there are none."""
        params = np.asarray(params, dtype=float)
        return np.asarray((flops - 2 * params * self.inference_tokens) / (self.factor * params**self.power))


def counted(convention: str, points: Points, inference_tokens: float) -> tuple[Cost, Array]:
    """The cost by that convention, and (n,) FLOPs of each run. points: have the column, if the convention is one."""
    n, d = points.inputs[PARAMS], points.inputs[TOKENS]
    if convention in (SIX_N_D, WITHOUT_EMBEDDINGS):
        if np.log(n).max() + np.log(d).max() > LARGEST:
            raise UsageError(f"{points.label}: {PARAMS} up to {n.max():g} and {TOKENS} up to {d.max():g} make more "
                             f"FLOPs than a number holds; leave such runs out: --where '{PARAMS} < 1e20'")
        return Cost(convention=convention, inference_tokens=inference_tokens), 6 * n * d
    flops = points.inputs[convention]
    x, y = np.log(n), np.log(flops / d)
    power = float((x - x.mean()) @ y / ((x - x.mean()) @ (x - x.mean()))) if np.ptp(x) > 0 else 1.0
    power = 1.0 if abs(power - 1) < 1e-6 else power
    factor = float(np.exp((y - power * x).mean()))
    rest = y - power * x - np.log(factor)
    return Cost(convention=convention, factor=factor, power=power, scatter=float(np.exp(rest.std())),
                inference_tokens=inference_tokens), flops


def sized(records: pl.DataFrame, convention: str) -> pl.DataFrame:
    """The records with parameters as the convention counts them. Raises UsageError for a column that is not there."""
    wanted = {SIX_N_D: PARAMS, WITHOUT_EMBEDDINGS: "params_non_embedding"}.get(convention, convention)
    measured = [name for name in records.columns if records[name].dtype.is_numeric() and records[name].is_not_null()
                .any()]
    if wanted not in measured:
        raise UsageError(f"--convention {convention}: no run has {wanted}; give {SIX_N_D}, {WITHOUT_EMBEDDINGS}, or a "
                         f"column of FLOPs; there are: {', '.join(measured)}")
    if convention == WITHOUT_EMBEDDINGS:
        records = records.with_columns(pl.col(wanted).cast(pl.Float64).alias(PARAMS))
    return records


def allowed(cost: Cost, flops: float, limits: Sequence[Constraint], smallest: float, largest: float
            ) -> tuple[float, float]:
    """Least and largest log N that spend the budget within the limits.

    smallest, largest: models that were run. Raises UsageError where there are none, naming the limits.
    """
    from scipy import optimize

    low, high = np.log(smallest / WIDEST), np.log(largest * WIDEST)
    if cost.inference_tokens:
        high = min(high, np.log(flops / (2 * cost.inference_tokens)) - 1e-9)
    ends = [low, high]
    for limit in limits:
        if limit.name == PARAMS:
            end = np.log(limit.value)
        else:  # tokens fall as the model grows
            def left(u: float, value: float = limit.value) -> float:
                return float(np.log(max(float(cost.tokens(flops, np.exp(u))), 1e-300) / value))

            over = [left(each) > 0 for each in (low, high)]
            end = float(optimize.brentq(left, low, high)) if over[0] != over[1] else (high if over[0] else low)
        least = (limit.name == PARAMS) != limit.upper
        ends = [max(ends[0], end), ends[1]] if least else [ends[0], min(ends[1], end)]
    if ends[0] > ends[1] + 1e-12:
        within = f" within {' and '.join(map(str, limits))}" if limits else ""
        raise UsageError(f"--flops {flops:g} cannot be spent{within} by {cost.form}: it asks for {PARAMS} of at least "
                         f"{np.exp(ends[0]):.3g} and at most {np.exp(ends[1]):.3g}; change the budget, or loosen a "
                         "limit or --inference-tokens")
    return float(ends[0]), float(max(ends))
