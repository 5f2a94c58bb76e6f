"""First-party plugin: laws. The descriptors only; what they compute is imported when a fit is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from cvfp_core import hookimpl
from cvfp_core.kinds import Fitter, Parameter
from cvfp_core.settings import Scalar

if TYPE_CHECKING:
    from cvfp_core.fitting.values import Fit, Points


def _power_law(points: Points, options: Mapping[str, Scalar | None]) -> list[Fit]:
    from cvfp_laws.power_law import fit

    return fit(points, options)


def _exponents(train_tokens: Any) -> Mapping[str, Any]:  # noqa: ARG001
    import numpy as np

    return {"alpha": -np.geomspace(0.005, 5.0, 60)}


def _exp_decay(train_tokens: Any, E: Any, A: Any, b: Any, c: Any) -> Any:
    import numpy as np

    return E + A * np.exp(-b * train_tokens**c)


def _exp_decay_starts(train_tokens: Any) -> Mapping[str, Any]:
    """c from a slow to a fast bend, b so that the exponent at the centre of the points runs from 0.01 to 30."""
    import numpy as np

    power = np.geomspace(0.02, 3.0, 14)
    centre = np.exp(np.log(train_tokens).mean() * power)
    return {"b": np.geomspace(0.01 / centre.max(), 30 / centre.min(), 120), "c": power}


def _hill_starts(train_tokens: Any) -> Mapping[str, Any]:
    import numpy as np

    return {"t0": np.exp(np.log(train_tokens).mean()) * np.geomspace(1e-3, 1e4, 22), "b": np.geomspace(0.05, 5.0, 14)}


_FLOOR = Parameter(name="E", meaning="perplexity at infinite data", minimum=0)
_SIZE = Parameter(name="A", meaning="what data can still remove, at one token", minimum=0)

POWER_LAW = Fitter(
    name="power-law",
    title="straight line on log-log axes, no floor",
    form="PPL = A * tokens^alpha",
    parameters=(
        Parameter(name="A", meaning="perplexity at one token", minimum=0),
        Parameter(name="alpha", meaning="scaling exponent"),
    ),
    function=lambda train_tokens, A, alpha: A * train_tokens**alpha,
    linear=("A",),
    starts=_exponents,
    fit=_power_law,
)
SATURATING = Fitter(
    name="saturating",
    title="power law on top of a floor",
    form="PPL = E + A * tokens^alpha",
    parameters=(_FLOOR, _SIZE, Parameter(name="alpha", meaning="scaling exponent above the floor", maximum=0)),
    function=lambda train_tokens, E, A, alpha: E + A * train_tokens**alpha,
    linear=("E", "A"),
    floor="E",
    starts=_exponents,
)
EXP_DECAY = Fitter(
    name="exp-decay",
    title="stretched exponential on top of a floor",
    form="PPL = E + A * exp(-b * tokens^c)",
    parameters=(
        _FLOOR,
        Parameter(name="A", meaning="what data can remove in all", minimum=0),
        Parameter(name="b", meaning="rate", minimum=0),
        Parameter(name="c", meaning="stretching exponent", minimum=0.02),
    ),
    function=_exp_decay,
    linear=("E", "A"),
    floor="E",
    starts=_exp_decay_starts,
)
HILL = Fitter(
    name="hill",
    title="sigmoid in log tokens on top of a floor",
    form="PPL = E + A / (1 + (tokens / t0)^b)",
    parameters=(
        _FLOOR,
        Parameter(name="A", meaning="what data can remove in all", minimum=0),
        Parameter(name="t0", meaning="tokens that remove half of it", unit="tokens", minimum=1),
        Parameter(name="b", meaning="steepness", minimum=0),
    ),
    function=lambda train_tokens, E, A, t0, b: E + A / (1 + (train_tokens / t0) ** b),
    linear=("E", "A"),
    floor="E",
    starts=_hill_starts,
)


@hookimpl
def cvfp_fitters() -> Iterable[Fitter]:
    return [POWER_LAW, SATURATING, EXP_DECAY, HILL]
