"""Published laws of sizes: loss over parameters and tokens, fresh or repeated, and over fine-tuning samples; accuracy.

Descriptors only: a function imports numpy when it is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cvfp_core.registry.kinds import Huber, Law, Parameter
from cvfp_core.registry.lazy import lazy

FLOOR = Parameter(name="E", meaning="loss that no size removes", unit="nat", minimum=0)
POWER = 0.01, 3.0
"""Bounds of an exponent."""


def exponent(name: str, of: str) -> Parameter:
    """The parameter of a power that falls."""
    return Parameter(name=name, meaning=f"exponent of {of}", minimum=POWER[0], maximum=POWER[1])


def size(name: str, meaning: str = "", unit: str = "nat") -> Parameter:
    """The parameter of a term's size."""
    return Parameter(name=name, meaning=meaning or "size of the term", unit=unit, minimum=0)


def _grid(*names: str, count: int = 8) -> Any:
    """Starts for exponents of these names."""
    def starts(**inputs: Any) -> Mapping[str, Any]:  # noqa: ARG001
        import numpy as np

        return dict.fromkeys(names, np.geomspace(0.05, 1.5, count))

    return starts


def _kaplan_starts(params: Any, train_tokens: Any) -> Mapping[str, Any]:  # noqa: ARG001
    import numpy as np

    return {"Nc": np.geomspace(1e5, 1e20, 10), "Dc": np.geomspace(1e5, 1e20, 10),
            "alpha": np.geomspace(0.04, 0.5, 4), "beta": np.geomspace(0.04, 0.5, 4)}


def _constrained(params: Any, tokens_seen: Any, unique_tokens: Any, E: Any, B: Any, alpha: Any, k: Any, R_N: Any,
                 R_D: Any) -> Any:
    import numpy as np

    useful = np.minimum(params, k * unique_tokens)  # what these tokens call for
    size = useful * (1 + R_N * (1 - np.exp(-(params / useful - 1) / R_N)))
    data = unique_tokens * (1 + R_D * (1 - np.exp(-(tokens_seen / unique_tokens - 1) / R_D)))
    return E + B * ((k / size) ** alpha + data**-alpha)


def _repeated(params: Any, tokens_seen: Any, unique_tokens: Any, E: Any, A: Any, alpha: Any, B: Any, beta: Any,
              R: Any) -> Any:
    import numpy as np

    data = unique_tokens * (1 + R * np.log1p((tokens_seen / unique_tokens - 1) / R))
    return E + A / params**alpha + B / data**beta


def _constrained_starts(params: Any, tokens_seen: Any, unique_tokens: Any) -> Mapping[str, Any]:  # noqa: ARG001
    import numpy as np

    return {"alpha": np.geomspace(0.1, 1.0, 7), "k": np.geomspace(1e-3, 1.0, 6), "R_N": np.geomspace(1, 100, 4),
            "R_D": np.geomspace(2, 60, 5)}


def _repeated_starts(params: Any, tokens_seen: Any, unique_tokens: Any) -> Mapping[str, Any]:  # noqa: ARG001
    import numpy as np

    return {"alpha": np.geomspace(0.1, 1.0, 8), "beta": np.geomspace(0.1, 1.0, 8), "R": np.geomspace(0.5, 60, 6)}


def _broken(train_tokens: Any, E: Any, A: Any, alpha: Any, beta: Any, x1: Any, f: Any) -> Any:
    import numpy as np

    bend = f * np.logaddexp(0.0, (np.log(train_tokens) - np.log(x1)) / f)
    return E + A * np.exp(-alpha * np.log(train_tokens) - beta * bend)


def _broken_starts(train_tokens: Any) -> Mapping[str, Any]:
    import numpy as np

    return {"alpha": np.array([0.02, 0.1, 0.3, 0.8]), "beta": np.array([-0.2, 0.1, 0.3, 0.8]),
            "x1": np.geomspace(train_tokens.min(), train_tokens.max(), 9), "f": np.array([0.1, 0.5, 1.5])}


def _rectified(num_samples: Any, E: Any, A: Any, t0: Any, beta: Any) -> Any:
    import numpy as np

    some = np.maximum(num_samples, 1e-9)  # 0^beta is 0, but has no derivative
    return E + A / (1 + np.where(num_samples > 0, (some / t0) ** beta, 0.0))


def _rectified_gap(num_samples: Any, E: Any, A: Any, J: Any, t0: Any, beta: Any) -> Any:
    return _rectified(num_samples, E, A, t0, beta) + J / (1 + num_samples)


def _rectified_starts(num_samples: Any) -> Mapping[str, Any]:
    import numpy as np

    top = max(float(num_samples.max()), 1.0)
    return {"t0": top * np.geomspace(1e-5, 1e4, 19), "beta": np.geomspace(0.05, 3.0, 14)}


def _parabola(flops: Any, E: Any, A: Any, x0: Any) -> Any:
    import numpy as np

    return E + A * (np.log(flops) - np.log(x0)) ** 2


def _parabola_starts(flops: Any) -> Mapping[str, Any]:
    import numpy as np

    return {"x0": np.geomspace(flops.min() / 30, flops.max() * 30, 60)}


def _sigmoid(val_loss: Any, low: Any, rise: Any, k: Any, L0: Any) -> Any:
    import numpy as np

    return low + rise / (1 + np.exp(k * (val_loss - L0)))


def _sigmoid_starts(val_loss: Any) -> Mapping[str, Any]:
    import numpy as np

    middle, spread = val_loss.mean(), max(float(np.ptp(val_loss)), 1e-6)
    return {"k": np.geomspace(0.2, 60, 16) / spread, "L0": middle + spread * np.linspace(-1.5, 1.5, 25)}


KAPLAN = Law(
    name="kaplan",
    title="loss over model size and data, no floor",
    form="L(N, D) = ((Nc / N)^(alpha / beta) + Dc / D)^beta",
    inputs=("params", "train_tokens"),
    response="val_loss",
    parameters=(size("Nc", "model size of 1 nat", "parameters"), exponent("alpha", "model size"),
                size("Dc", "data of 1 nat", "tokens"), exponent("beta", "data")),
    function=lambda params, train_tokens, Nc, alpha, Dc, beta:
        ((Nc / params) ** (alpha / beta) + Dc / train_tokens) ** beta,
    minimum_points=5,
    starts=_kaplan_starts,
    source="arXiv:2001.08361, equation 1.5",
    domain="parameters without embeddings, fresh tokens, stopped before overfitting; has no floor, so it ends too low",
    not_for="forecasts far beyond the runs: `chinchilla`, which has a floor",
)
SHARED = Law(
    name="chinchilla-shared",
    title="loss over model size and data, one exponent for both",
    form="L(N, D) = E + A / N^alpha + B / D^alpha",
    inputs=("params", "train_tokens"),
    response="val_loss",
    parameters=(FLOOR, size("A"), size("B"), exponent("alpha", "model size and of data")),
    function=lambda params, train_tokens, E, A, B, alpha: E + A / params**alpha + B / train_tokens**alpha,
    linear=("E", "A", "B"),
    floor="E",
    minimum_points=5,
    starts=_grid("alpha", count=40),
    source="arXiv:2403.08540, over N and D",
    domain="fresh tokens; five runs are enough if D/N varies",
    not_for="optima of compute: with one exponent, parameters and tokens grow alike whatever the runs say",
)
PRODUCT = Law(
    name="multiplicative",
    title="loss over model size and data, whose gains multiply",
    form="L(N, D) = E + A / (N^alpha * D^beta)",
    inputs=("params", "train_tokens"),
    response="val_loss",
    parameters=(FLOOR, size("A"), exponent("alpha", "model size"), exponent("beta", "data")),
    function=lambda params, train_tokens, E, A, alpha, beta: E + A / (params**alpha * train_tokens**beta),
    linear=("E", "A"),
    floor="E",
    minimum_points=5,
    starts=_grid("alpha", "beta"),
    source="arXiv:2402.17193, with data and model size",
    domain="fine-tuning, and sweeps in which neither size limits alone",
    not_for="pretraining sweeps in which one size limits: there gains add up, `chinchilla`",
)
CONSTRAINED = Law(
    name="data-constrained",
    title="loss over model size and repeated data",
    form="L = E + B * ((k / N')^alpha + 1 / D'^alpha), D' = U + U R_D (1 - e^(-(D/U - 1) / R_D)), "
         "N' likewise from min(N, k U)",
    inputs=("params", "tokens_seen", "unique_tokens"),
    response="val_loss",
    loss=Huber(1e-3),
    parameters=(FLOOR, size("B"), exponent("alpha", "model size and of data"),
                Parameter(name="k", meaning="parameters that a unique token calls for", minimum=1e-5, maximum=100),
                Parameter(name="R_N", meaning="decay of excess parameters", minimum=0.1, maximum=1e4),
                Parameter(name="R_D", meaning="repetitions after which they are worth 1/e", unit="epochs",
                          minimum=0.1, maximum=1e4)),
    function=_constrained,
    linear=("E", "B"),
    floor="E",
    minimum_points=7,
    starts=_constrained_starts,
    fit=lazy("cvfp_laws.repeated:fit_constrained"),
    source="arXiv:2305.16264",
    domain="each unique token at least once; up to about 60 epochs",
    not_for="fresh tokens: `chinchilla`; only repetitions tell R_D, and only models too large for their data R_N",
)
REPEATED = Law(
    name="data-repeated",
    title="loss over model size and repeated data, whose worth falls as 1 / (1 + repetitions / R)",
    form="L = E + A / N^alpha + B / (U (1 + R log(1 + (D/U - 1) / R)))^beta",
    inputs=("params", "tokens_seen", "unique_tokens"),
    response="val_loss",
    loss=Huber(1e-3),
    parameters=(FLOOR, size("A"), exponent("alpha", "model size"), size("B"), exponent("beta", "data"),
                Parameter(name="R", meaning="repetitions after which one is worth half a fresh token", unit="epochs",
                          minimum=0.05, maximum=1e4)),
    function=_repeated,
    linear=("E", "A", "B"),
    floor="E",
    minimum_points=7,
    starts=_repeated_starts,
    fit=lazy("cvfp_laws.repeated:fit_repeated"),
    source="cvfp, after arXiv:2305.16264",
    domain="each unique token at least once",
    not_for="fresh tokens: `chinchilla`; runs of one number of repetitions, which do not tell R",
)
BROKEN = Law(
    name="broken-power-law",
    title="two powers on top of a floor, joined smoothly",
    form="PPL = E + A * tokens^-alpha * (1 + (tokens / x1)^(1/f))^(-beta f)",
    parameters=(Parameter(name="E", meaning="value at infinite data", minimum=0), size("A", unit=""),
                Parameter(name="alpha", meaning="exponent before the break", minimum=-3, maximum=3),
                Parameter(name="beta", meaning="change of the exponent at the break", minimum=-3, maximum=3),
                Parameter(name="x1", meaning="place of the break", unit="tokens", minimum=1e-3, maximum=1e30),
                Parameter(name="f", meaning="width of the break, in logarithms", minimum=0.02, maximum=10)),
    function=_broken,
    linear=("E", "A"),
    floor="E",
    minimum_points=7,
    starts=_broken_starts,
    source="arXiv:2210.14891, one break",
    domain="curves that bend once on log-log axes, with sizes on both sides of the break",
    not_for="fewer than seven sizes, or a break at the end of them: `saturating`",
)
RECTIFIED = Law(
    name="rectified",
    title="loss of fine-tuning, from no sample on",
    form="L = E + A / (1 + (samples / t0)^beta)",
    inputs=("num_samples",),
    response="val_loss",
    parameters=(FLOOR, size("A", "what samples can remove in all"),
                Parameter(name="t0", meaning="samples that remove half of it", unit="samples", minimum=1e-3,
                          maximum=1e15), exponent("beta", "samples")),
    function=_rectified,
    linear=("E", "A"),
    floor="E",
    starts=_rectified_starts,
    zero=("num_samples",),
    source="arXiv:2402.02314: B = A t0^beta, D_l = t0^beta",
    domain="one model and task, from 0 samples",
    not_for="pretraining: `saturating`; tables without a run at few samples, which do not tell t0",
)
RECTIFIED_GAP = Law(
    name="rectified-gap",
    title="loss of fine-tuning, with a gap that the first samples close",
    form="L = E + A / (1 + (samples / t0)^beta) + J / (1 + samples)",
    inputs=("num_samples",),
    response="val_loss",
    parameters=(FLOOR, size("A", "what samples can remove in all, but for the gap"),
                size("J", "loss that the first samples remove, as they show the format"), *RECTIFIED.parameters[2:]),
    function=_rectified_gap,
    linear=("E", "A", "J"),
    floor="E",
    starts=_rectified_starts,
    zero=("num_samples",),
    source="cvfp, after arXiv:2402.02314",
    domain="as rectified, with runs at 0 samples and at 100 or more",
    not_for="tables without runs at 0 samples, which do not tell J: `rectified`",
)
U_SHAPE = Law(
    name="u-shape",
    title="accuracy that falls before it rises, or the reverse",
    form="val_acc = E + A * log(flops / x0)^2",
    inputs=("flops",),
    response="val_acc",
    space="raw",
    parameters=(Parameter(name="E", meaning="value at the turn"), Parameter(name="A", meaning="curvature; > 0: a U"),
                Parameter(name="x0", meaning="place of the turn", unit="FLOP", minimum=1e-3, maximum=1e40)),
    function=_parabola,
    linear=("E", "A"),
    minimum_points=4,
    starts=_parabola_starts,
    source="arXiv:2410.01692 and arXiv:2211.02011",
    domain="about the turn, and within the range of the response; a parabola does not level off",
    not_for="forecasts outside the sizes that were run: a parabola turns for ever",
)
ACCURACY = Law(
    name="accuracy-of-loss",
    title="accuracy as a sigmoid of loss: the second of two steps, loss, then accuracy",
    form="val_acc = low + rise / (1 + exp(k (L - L0)))",
    inputs=("val_loss",),
    response="val_acc",
    space="raw",
    parameters=(Parameter(name="low", meaning="accuracy of guessing", minimum=0, maximum=1),
                Parameter(name="rise", meaning="what is gained above it in all", minimum=0, maximum=1),
                Parameter(name="k", meaning="steepness", unit="1/nat", minimum=1e-3, maximum=1e4),
                Parameter(name="L0", meaning="loss at half the gain", unit="nat", minimum=-20, maximum=50)),
    function=_sigmoid,
    linear=("low", "rise"),
    minimum_points=5,
    starts=_sigmoid_starts,
    source="arXiv:2412.04403, step 2",
    domain="one task and one kind of model; losses on both sides of L0",
    not_for="losses all on one side of L0, and tasks whose answers were in the data",
)
LAWS = tuple(replace(law, automatic=False) for law in (
    KAPLAN, SHARED, PRODUCT, CONSTRAINED, REPEATED, BROKEN, RECTIFIED, RECTIFIED_GAP, U_SHAPE, ACCURACY))
