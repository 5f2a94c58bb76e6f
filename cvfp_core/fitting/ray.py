"""Inputs of a surface that vary together: the line they lie on, and the curve of the response along it.

On such a line the terms of a surface cannot be told apart, whatever the noise. What can be known is the curve along it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from cvfp_core.fitting.curve_fit import fit_curve
from cvfp_core.registry.kinds import Law, Parameter
from cvfp_core.schema.fits import Fit, Points, Reason

COLLINEAR = 30.0
"""Condition index of the logarithms of two inputs beyond which they vary together (Belsley, Kuh & Welsch 1980)."""
EXACT = 1.0005
"""A ratio that differs by no more than this factor is given to four digits, else to two."""
SAME_RATIO = 1.25
"""Factor within which a ratio of two inputs that vary together counts as fixed; else a power is fitted to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ray:
    """`other = factor * one ** power`, to within a factor `spread`, in all runs."""

    one: str
    other: str
    factor: float
    power: float
    spread: float

    @property
    def words(self) -> str:
        """The relation as people write it: `train_tokens = 20 x params`."""
        power = "" if self.power == 1 else f"^{self.power:.3g}"
        return f"{self.other} = {self.factor:.{4 if self.spread < EXACT else 2}g} x {self.one}{power}"

    def holds(self, at: Mapping[str, float]) -> bool:
        """Whether the inputs lie on the line, as nearly as the runs do or to 1 %."""
        here = np.log(at[self.other] / self.factor) - self.power * np.log(at[self.one])
        return bool(abs(here) <= np.log(self.spread) + 0.01)

    def curve(self, law: Law) -> Law:
        """The law along the line, in the first input: a floor and one power."""
        return Law(
            name=law.name, form=f"{law.response} = E + C / {self.one}^gamma", inputs=(self.one,), response=law.response,
            space=law.space, loss=law.loss, floor="E", linear=("E", "C"), starts=_exponents, scope=law.scope,
            function=lambda E, C, gamma, **at: E + C * at[self.one] ** -gamma,
            parameters=(Parameter(name="E", minimum=0 if law.space == "log" else -np.inf),
                        Parameter(name="C", minimum=0), Parameter(name="gamma", minimum=0)))

    def fit(self, law: Law, points: Points) -> Fit | None:
        """The curve fitted along the line; None where there is none, as the law has further inputs or one falls."""
        if len(law.inputs) > 2 or self.power < 0:
            return None
        made = fit_curve(self.curve(law), points.over([self.one]))
        return made if made.status in ("converged", "at a bound") else None


def together(law: Law, points: Points) -> tuple[str, Fit | None] | None:
    """Why the terms of a surface cannot be told apart, and the curve along its inputs, which can be known.

    None if its inputs vary by themselves.
    """
    line = ray(points)
    if line is None:
        return None
    made = line.fit(law, points)
    if made is None:
        return Reason("{relation} in all runs; vary one", relation=line.words), None
    gamma, values = made.estimate("gamma"), {each.name: float(each.value or 0.0) for each in made.estimates}
    return Reason("{relation} in all runs; vary one; known is the curve along it: {name} = {E:.4g} + {C:.4g} / "
                  "{one}^{gamma:.3g}, gamma {low:.3g} to {high:.3g}",
                  relation=line.words, name=law.response, one=line.one, **values, low=gamma.low or 0.0,
                  high=np.inf if gamma.high is None else gamma.high), made


def ray(points: Points) -> Ray | None:
    """The line that two of several inputs lie on in all runs; None if there is none."""
    for one, other in combinations(points.inputs, 2):
        if (points.inputs[one] <= 0).any() or (points.inputs[other] <= 0).any():
            continue
        x, y = np.log(points.inputs[one]), np.log(points.inputs[other])
        if np.ptp(x) == 0 or np.ptp(y) == 0:
            continue
        away = 1 - abs(float(np.corrcoef(x, y)[0, 1]))
        if (2 - away) >= COLLINEAR**2 * away:
            ratio = y - x
            power = 1.0 if np.ptp(ratio) <= 2 * np.log(SAME_RATIO) else float(np.polyfit(x, y, 1)[0])
            rest = y - power * x
            middle = (rest.max() + rest.min()) / 2
            return Ray(one=one, other=other, factor=float(np.exp(middle)), power=power,
                       spread=float(np.exp(np.ptp(rest) / 2)))
    return None


def _exponents(**at: Any) -> Mapping[str, Any]:  # noqa: ARG001
    return {"gamma": np.geomspace(0.005, 5.0, 60)}
