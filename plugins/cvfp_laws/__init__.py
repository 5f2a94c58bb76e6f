"""First-party plugin: laws. The descriptors only; what they compute is imported when a fit is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from cvfp_core import hookimpl
from cvfp_core.kinds import Fitter, Parameter
from cvfp_core.settings import Scalar

if TYPE_CHECKING:
    from cvfp_core.fitting.values import Fit, Points


def _power_law(points: Points, options: Mapping[str, Scalar | None]) -> list[Fit]:
    from cvfp_laws.power_law import fit

    return fit(points, options)


POWER_LAW = Fitter(
    name="power-law",
    title="straight line on log-log axes, no floor",
    form="PPL = A * tokens^alpha",
    parameters=(
        Parameter(name="A", meaning="perplexity at one token", minimum=0),
        Parameter(name="alpha", meaning="scaling exponent"),
    ),
    fit=_power_law,
)


@hookimpl
def cvfp_fitters() -> Iterable[Fitter]:
    return [POWER_LAW]
