"""First-party plugin: laws. The descriptors only; what they compute is imported when a fit is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from cvfp_core import hookimpl
from cvfp_core.registry.kinds import ENVELOPE, Huber, Law, Option, Parameter, Quantity
from cvfp_core.registry.lazy import lazy
from cvfp_core.schema.settings import Scalar
from cvfp_laws import configured, published

if TYPE_CHECKING:
    from cvfp_core.schema.fits import Fit, Points


def _pinned(points: Points, options: Mapping[str, Scalar | None]) -> list[Fit]:
    from cvfp_laws.pinned import fit

    return fit(PINNED, points, options)


def _exponents(train_tokens: Any) -> Mapping[str, Any]:  # noqa: ARG001
    import numpy as np

    return {"alpha": -np.geomspace(0.005, 5.0, 60)}


def _surface_exponents(params: Any, train_tokens: Any) -> Mapping[str, Any]:  # noqa: ARG001
    import numpy as np

    return {"alpha": np.geomspace(0.05, 1.5, 8), "beta": np.geomspace(0.05, 1.5, 8)}


def _exp_decay(train_tokens: Any, E: Any, A: Any, b: Any, c: Any) -> Any:
    import numpy as np

    return E + A * np.exp(-b * train_tokens**c)


def _exp_decay_starts(train_tokens: Any) -> Mapping[str, Any]:
    """c from a slow to a fast bend, b so that the exponent at the centre of the points runs from 0.01 to 30."""
    import numpy as np

    power = np.geomspace(0.02, 3.0, 14)
    centre = np.exp(np.minimum(np.log(train_tokens).mean() * power, 600))
    return {"b": np.geomspace(0.01 / centre.max(), 30 / centre.min(), 120), "c": power}


def _hill_starts(train_tokens: Any) -> Mapping[str, Any]:
    import numpy as np

    return {"t0": np.exp(np.log(train_tokens).mean()) * np.geomspace(1e-3, 1e4, 22), "b": np.geomspace(0.05, 5.0, 14)}


_FLOOR = Parameter(name="E", meaning="perplexity at infinite data", minimum=0)
_SIZE = Parameter(name="A", meaning="what data can still remove, at one token", minimum=0)

POWER_LAW = Law(
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
    fit=lazy("cvfp_laws.power_law:fit"),
    source="arXiv:1712.00409",
    domain="sizes far above the floor, or too few to see one",
    not_for="forecasts far beyond the largest size: it has no floor, so it ends too low",
)
SATURATING = Law(
    name="saturating",
    title="power law on top of a floor",
    form="PPL = E + A * tokens^alpha",
    parameters=(_FLOOR, _SIZE, Parameter(name="alpha", meaning="scaling exponent above the floor", maximum=0,
                                         prior=(0.4, 1.0))),
    function=lambda train_tokens, E, A, alpha: E + A * train_tokens**alpha,
    linear=("E", "A"),
    floor="E",
    starts=_exponents,
    source="arXiv:2010.14701",
    domain="one recipe at four sizes or more",
    not_for="curves that bend on log-log axes above the floor: `broken-power-law`; that rise again: `u-shape`",
)
EXP_DECAY = Law(
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
    source="Domhan, Springenberg and Hutter 2015: exp4",
    domain="curves that level off faster than a power law",
    not_for="forecasts where a power law fits as well: this one reaches its floor too soon",
)
HILL = Law(
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
    source="Domhan, Springenberg and Hutter 2015: Hill3",
    domain="curves that are flat at small sizes, fall, and level off",
    not_for="sizes on one side of t0 only: A and t0 cannot be told apart",
)


PINNED = Law(
    name="pinned-floor",
    title="saturating with the floor given, or shared by the series of an experiment",
    form="PPL = E + A * tokens^alpha, E given or shared",
    parameters=SATURATING.parameters,
    scope="experiment",
    minimum_points=2,
    function=SATURATING.function,
    linear=SATURATING.linear,
    floor="E",
    starts=_exponents,
    fit=_pinned,
    options=(Option(name="E", default=None, help="the floor; without it the series share a fitted one", minimum=0),),
    source="cvfp, after arXiv:2010.14701",
    domain="a floor that is known, or series of one experiment that share it",
    not_for="series on different validation texts: their floors differ",
)
WINDOWS = Law(
    name="sliding-window",
    title="alpha over windows of consecutive sizes, its change, and whether the curves bend",
    form="alpha of PPL = A * tokens^alpha over windows of consecutive sizes",
    parameters=(
        Parameter(name="alpha 1...", meaning="scaling exponent of each window"),
        Parameter(name="change", meaning="last minus first alpha"),
        Parameter(name="curvature", meaning="quadratic term of log PPL over log tokens"),
    ),
    scope="records",
    minimum_points=3,
    fit=lazy("cvfp_laws.windows:fit"),
    options=(Option(name="window", default=4, help="sizes in a window", minimum=3),),
    source="cvfp",
    domain="five sizes or more",
    not_for="forecasts: it says whether alpha changes with size, not where a curve goes",
)
_COVARIATE = Option(name="covariate", default="val_er", help="a record column; fractions are taken as percentages")
LOG_LINEAR = Law(
    name="log-linear-er",
    title="power law shared by all series, with a metric of the run as covariate",
    form="log PPL = alpha * log(tokens) + beta * {covariate} + gamma",
    parameters=(
        Parameter(name="alpha", meaning="scaling exponent"),
        Parameter(name="beta", meaning="effect of one point of the covariate on log perplexity", unit="per point"),
        Parameter(name="gamma", meaning="constant"),
    ),
    scope="records",
    inputs=("train_tokens", "{covariate}"),
    minimum_points=4,
    fit=lazy("cvfp_laws.covariates:fit_log_linear"),
    options=(
        _COVARIATE,
        Option(name="intercepts", default="shared", help="one gamma, or one a series", choices=("shared", "series")),
    ),
    source="cvfp",
    domain="series that differ in the covariate at equal sizes",
    not_for="a configuration that was not trained: `new-configuration`, which knows that runs of one are alike",
)
LINEAR = Law(
    name="linear-er",
    title="straight line of perplexity over effective rank, fitted or given",
    form="PPL = a + b * {covariate}",
    parameters=(Parameter(name="a", meaning="perplexity at rank 0"), Parameter(name="b", unit="per point")),
    scope="records",
    inputs=("{covariate}",),
    minimum_points=3,
    fit=lazy("cvfp_laws.covariates:fit_linear"),
    options=(
        _COVARIATE,
        Option(name="a", default=None, help="evaluate this line instead of fitting one (500 was proposed)"),
        Option(name="b", default=None, help="its slope (-4 was proposed)"),
    ),
    source="cvfp",
    domain="one size, or sizes whose effect is small",
    not_for="runs of several sizes: their perplexities differ by size first; `log-linear-er`",
)
CONFIGURATIONS = Law(
    name="new-configuration",
    title="mixed model over configurations with a covariate; predicts those nobody trained (--new)",
    form="log PPL = gamma + alpha * log(tokens) + curvature * log(tokens)^2 + beta * {covariate} + configuration",
    parameters=(
        Parameter(name="alpha", meaning="scaling exponent at the centre of the sizes"),
        Parameter(name="curvature", meaning="quadratic term of log perplexity over log tokens"),
        Parameter(name="beta", meaning="effect of the covariate on log perplexity"),
    ),
    scope="records",
    inputs=("train_tokens", "{covariate}"),
    minimum_points=5,
    fit=lazy("cvfp_laws.configurations:fit"),
    options=(Option(name="covariate", default="val_er", help="a record column"),),
    source="doi:10.2307/2290063",
    domain="six configurations or more, with sizes in common",
    not_for="more data of a configuration that was trained: `cvfp predict` without `--new`",
    automatic=False,
)
CEILING = Law(
    name="ceiling",
    title="rising power law below a ceiling",
    form="val_acc = E - A * tokens^alpha",
    inputs=("train_tokens",),
    response="val_acc",
    space="raw",
    parameters=(Parameter(name="E", meaning="value at infinite data"),
                Parameter(name="A", meaning="what is still missing, at an input of 1", minimum=0),
                Parameter(name="alpha", meaning="exponent of what is missing", maximum=0)),
    function=lambda train_tokens, E, A, alpha: E - A * train_tokens**alpha,
    linear=("E", "A"),
    floor="E",
    starts=_exponents,
    source="cvfp, after arXiv:2010.14701",
    domain="accuracy well above chance",
    not_for="accuracy near chance, which does not rise as a power: `accuracy-of-loss`",
)
CHINCHILLA = Law(
    name="chinchilla",
    title="loss over model size and data, Huber on log loss",
    form="L(N, D) = E + A / N^alpha + B / D^beta",
    inputs=("params", "train_tokens"),
    response="val_loss",
    loss=Huber(1e-3),
    parameters=(Parameter(name="E", meaning="loss at infinite size and data", unit="nat", minimum=0),
                Parameter(name="A", minimum=0), Parameter(name="alpha", meaning="exponent of model size", minimum=0),
                Parameter(name="B", minimum=0), Parameter(name="beta", meaning="exponent of data", minimum=0)),
    function=lambda params, train_tokens, E, A, alpha, B, beta: E + A / params**alpha + B / train_tokens**beta,
    linear=("E", "A", "B"),
    floor="E",
    minimum_points=6,
    starts=_surface_exponents,
    options=(ENVELOPE,),
    source="arXiv:2203.15556, approach 3",
    domain="fresh tokens, schedules that end with the run",
    not_for="repeated data: `data-repeated`; runs on a line such as 20 tokens a parameter, which tell no two exponents",
)


@hookimpl
def cvfp_fitters() -> Iterable[Law]:
    return [POWER_LAW, SATURATING, EXP_DECAY, HILL, PINNED, WINDOWS, LOG_LINEAR, LINEAR, CONFIGURATIONS, CEILING,
            CHINCHILLA, *published.LAWS, *configured.LAWS]


@hookimpl
def cvfp_quantities() -> Iterable[Quantity]:
    return configured.QUANTITIES
