"""What the next runs are to make known: the law at a place, the best size for a budget, the multiplier of two arms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from cvfp_core.deciding.budgets import PARAMS, TOKENS, WIDEST, Cost
from cvfp_core.deciding.multiplier import OFFSET
from cvfp_core.deciding.surfaces import STEP, minimum
from cvfp_core.errors import UsageError
from cvfp_core.fitting.curves import Curve
from cvfp_core.schema.fits import Array
from cvfp_core.schema.plain import AsDict

FORMS = "params=7e9,train_tokens=1.4e11, optimum:1e22 (the best params for a budget), or multiplier (of two arms)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target(AsDict):
    """What an interval is of."""

    kind: Literal["place", "optimum", "multiplier"]
    inputs: Mapping[str, float] = field(default_factory=dict)
    """Of a place."""
    flops: float | None = None
    """Of an optimum: the budget."""

    def __str__(self) -> str:
        if self.kind == "place":
            return ", ".join(f"{name} {_written(value)}" for name, value in self.inputs.items())
        return "multiplier" if self.flops is None else f"best params for {_written(self.flops)} FLOPs"

    def names(self, x: str) -> tuple[str, ...]:
        """The inputs of the laws that say something of it."""
        if self.kind == "place":
            return tuple(self.inputs)
        return (PARAMS, TOKENS) if self.kind == "optimum" else (x,)

    def at(self, curve: Curve, parameters: Array, cost: Cost | None) -> tuple[float, Mapping[str, Array] | None, Array]:
        """Its value for a law; further inputs (r,) at which the law is needed; (r,) what their slopes count in its own.

        The value is in the space of residuals of a place, a logarithm else. None: it is the law's last parameter.
        Of an optimum the slope of log N follows from that of the loss along the budget being 0.
        """
        if self.kind == "multiplier":
            return float(parameters[0, curve.names.index(OFFSET)]), None, np.zeros(0)
        if self.kind == "place":
            place = {name: np.array([value]) for name, value in self.inputs.items()}
            return float(curve.fitted(parameters, place)[0, 0]), place, np.ones(1)
        assert cost is not None
        assert self.flops is not None

        def loss(n: Array, d: Array) -> Array:
            return np.asarray(curve.fitted(parameters, {PARAMS: n, TOKENS: d})[0])

        params = curve.inputs[PARAMS]
        best, edge = minimum(loss, cost, self.flops, (np.log(params.min() / WIDEST), np.log(params.max() * WIDEST)))
        if edge:
            return float("nan"), None, np.zeros(0)
        n = np.exp(best + STEP * np.array([-1.0, 0.0, 1.0]))
        below, here, above = loss(n, cost.tokens(self.flops, n))
        bend = (above - 2 * here + below) / STEP**2
        ends = n[[0, 2]]
        return best, {PARAMS: ends, TOKENS: cost.tokens(self.flops, ends)}, np.array([1.0, -1.0]) / (2 * STEP * bend)


def target(given: Mapping[str, float | str] | str, largest: Mapping[str, float] | None = None) -> Target:
    """What is asked for. Raises UsageError for anything else.

    given: sizes by name, `optimum:1e22`, or `multiplier`. largest: of each size, for places such as `10x`.
    """
    if isinstance(given, Mapping):
        sizes = {name: _size(name, value, largest or {}) for name, value in given.items()}
        if not sizes:
            raise UsageError(f"no target; give --target {FORMS}")
        return Target(kind="place", inputs=sizes)
    word, _, budget = given.partition(":")
    if word == "multiplier" and not budget:
        return Target(kind="multiplier")
    if word == "optimum":
        return Target(kind="optimum", flops=_size("optimum", budget, {}))
    raise UsageError(f"--target takes {FORMS}, not '{given}'")


def _size(name: str, given: float | str, largest: Mapping[str, float]) -> float:
    factor, text = 1.0, given
    if isinstance(given, str) and given.endswith("x"):
        factor, text = largest.get(name, float("nan")), given[:-1]
    try:
        value = factor * float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise UsageError(f"--target {name} must be a positive number, not '{given}'; --target takes {FORMS}")
    return value


def _written(value: float) -> str:
    """The size as one types it: `1e9`, `2.5e10`."""
    digits, power, exponent = f"{value:g}".partition("e")
    return f"{digits}{power}{int(exponent) if power else ''}"
