"""Published laws of how a run is configured: experts, learning rate and batch, vocabulary, mixture, streams, schedule.

Descriptors only: a function imports numpy when it is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cvfp_core.registry.kinds import Law, Parameter, Quantity
from cvfp_laws.published import FLOOR, exponent, size

DENSE = Quantity(name="dense_params", kind="size", minimum=0, exclusive=True, label="dense params",
                 meaning="parameters of the model without its further experts",
                 aliases=("dense_parameter_count", "active_params"))
STREAMS = Quantity(name="num_streams", kind="size", minimum=0, exclusive=True, label="streams",
                   meaning="parallel streams of one model", aliases=("parallel_size",))
CHARACTERS = Quantity(name="num_characters", kind="size", minimum=0, exclusive=True, label="characters",
                      unit="characters", meaning="characters trained on, whatever the tokenizer")
UNIGRAM_LOSS = Quantity(name="unigram_normalised_loss", kind="metric", unit="nat a token", better="lower", scale="raw",
                        label="unigram-normalised loss", meaning="loss minus that of the unigram model; negative")
SHARE = Quantity(name="domain_share", kind="size", minimum=0, exclusive=True, maximum=1, label="share",
                 unit="fraction", meaning="share of the domain in the training data")
AREA = Quantity(name="lr_area", kind="size", minimum=0, exclusive=True, label="S1",
                meaning="sum of the learning rates of all steps", aliases=("S1",))
ANNEALED = Quantity(name="annealing_area", kind="size", minimum=0, label="S2", aliases=("S2",),
                    meaning="sum over steps of the decaying memory of what the learning rate fell by")
QUANTITIES = (DENSE, STREAMS, CHARACTERS, UNIGRAM_LOSS, SHARE, AREA, ANNEALED)

PARAMS, TOKENS, CHARS, VOCAB = 5e8, 2e10, 2e10, 1e4
"""Values at which the sizes of terms are given, so that they do not depend on exponents."""


def _moe(num_experts: Any, dense_params: Any, A: Any, a: Any, b: Any, c: Any, start: Any, beyond: Any) -> Any:
    import numpy as np

    most = start + beyond
    experts = -np.log(1 / (num_experts - 1 + 1 / (1 / start - 1 / most)) + 1 / most)
    model = np.log(dense_params / PARAMS)
    return A * np.exp(a * model + b * experts + c * model * experts)


def _moe_starts(num_experts: Any, dense_params: Any) -> Mapping[str, Any]:  # noqa: ARG001
    import numpy as np

    return {"a": np.array([-0.3, -0.1]), "b": np.array([-0.2, -0.05]), "c": np.array([0.0, 0.02]),
            "start": np.array([1.2, 2.0, 5.0]), "beyond": np.array([30.0, 300.0, 3000.0])}


def _moe_floor_starts(num_experts: Any, dense_params: Any) -> Mapping[str, Any]:  # noqa: ARG001
    import numpy as np

    return {"alpha": np.geomspace(0.03, 1.0, 10), "beta": np.geomspace(0.01, 1.0, 10),
            "start": np.geomspace(0.5, 10, 4)}


def _sizes(train_tokens: Any, params: Any, E: Any, A: Any, alpha: Any, B: Any, beta: Any) -> Any:
    return E + A * (params / PARAMS) ** -alpha + B * (train_tokens / TOKENS) ** -beta


def _step_law(learning_rate: Any, batch_tokens: Any, train_tokens: Any, params: Any, E: Any, A: Any, alpha: Any,
              B: Any, beta: Any, m: Any, h: Any, lr0: Any, a: Any, b: Any, batch0: Any, d: Any) -> Any:
    import numpy as np

    data = np.log(train_tokens / TOKENS)
    rate = np.log(learning_rate) - np.log(lr0) - a * np.log(params / PARAMS) - b * data
    batch = np.log(batch_tokens) - np.log(batch0) - d * data
    return _sizes(train_tokens, params, E, A, alpha, B, beta) + m * rate**2 + h * batch**2


def _step_law_coupled(learning_rate: Any, batch_tokens: Any, train_tokens: Any, params: Any, E: Any, A: Any, alpha: Any,
                      B: Any, beta: Any, m: Any, h: Any, lr0: Any, a: Any, b: Any, c: Any, batch0: Any, d: Any) -> Any:
    import numpy as np

    data = np.log(train_tokens / TOKENS)
    batch = np.log(batch_tokens) - np.log(batch0) - d * data
    rate = np.log(learning_rate) - np.log(lr0) - a * np.log(params / PARAMS) - b * data - c * batch
    off = m * (np.exp(rate / 2) - 1 - rate / 2) + h * (np.exp(batch / 2) - 1 - batch / 2)
    return _sizes(train_tokens, params, E, A, alpha, B, beta) + 8 * off


def _step_law_starts(**inputs: Any) -> Mapping[str, Any]:
    """The exponents as published; the optima from a tenth of what was tried to ten times that."""
    import numpy as np

    rate, batch = (np.exp(np.log(inputs[name]).mean()) for name in ("learning_rate", "batch_tokens"))
    spread, few = np.array([0.5, 1.0, 2.0]), np.array([0.2, 0.4])
    return {"alpha": few, "beta": few, "lr0": rate * spread, "batch0": batch * spread, "m": np.array([0.02]),
            "h": np.array([0.02]), "a": np.array([-0.5]), "b": np.array([0.2]), "c": np.array([0.3]),
            "d": np.array([0.6])}


def _vocabulary(params_non_embedding: Any, vocab_size: Any, num_characters: Any, E: Any, A: Any, alpha: Any, C: Any,
                gamma: Any, B: Any, beta: Any) -> Any:
    return (E + A * (params_non_embedding / PARAMS) ** -alpha + C * (vocab_size / VOCAB) ** -gamma
            + B * (num_characters / CHARS) ** -beta)


def _vocabulary_joint(params_non_embedding: Any, vocab_size: Any, num_characters: Any, E: Any, C: Any, B: Any,
                      alpha: Any, beta: Any, g: Any, k: Any) -> Any:
    import numpy as np

    words = np.log(vocab_size / VOCAB)
    model = np.log(k) - alpha * np.log(params_non_embedding / PARAMS)
    data = g * words - beta * np.log(num_characters / CHARS)
    return E + C * words + B * np.sqrt(np.exp(2 * model) + np.exp(2 * data))


def _vocabulary_starts(**inputs: Any) -> Mapping[str, Any]:  # noqa: ARG001
    import numpy as np

    return {"alpha": np.geomspace(0.03, 1.0, 7), "gamma": np.array([-0.3, 0.1, 0.4]), "beta": np.geomspace(0.1, 1.0, 6),
            "g": np.array([0.0, 0.15]), "k": np.geomspace(0.2, 3.0, 4)}


def _share_starts(domain_share: Any, train_tokens: Any) -> Mapping[str, Any]:  # noqa: ARG001
    import numpy as np

    return {"alpha": np.geomspace(0.003, 1.5, 16), "beta": np.geomspace(0.03, 1.5, 16)}


def _streams_starts(params: Any, num_streams: Any) -> Mapping[str, Any]:  # noqa: ARG001
    import numpy as np

    return {"alpha": np.geomspace(0.03, 1.5, 20), "k": np.geomspace(0.02, 5.0, 20)}


def _parallel(params: Any, num_streams: Any, E: Any, A: Any, alpha: Any, k: Any) -> Any:
    import numpy as np

    return E + A * (params / PARAMS * (1 + k * np.log(num_streams))) ** -alpha


def _annealing_starts(lr_area: Any, annealing_area: Any) -> Mapping[str, Any]:  # noqa: ARG001
    import numpy as np

    return {"alpha": np.geomspace(0.02, 2.0, 40)}


_RATES = (Parameter(name="m", meaning="cost of a learning rate off its optimum", unit="nat", minimum=0),
          Parameter(name="h", meaning="cost of a batch off its optimum", unit="nat", minimum=0),
          Parameter(name="lr0", meaning="best learning rate at 5e8 parameters and 2e10 tokens", minimum=1e-8,
                    maximum=10),
          Parameter(name="a", meaning="exponent of model size in the best learning rate", minimum=-3, maximum=3),
          Parameter(name="b", meaning="exponent of data in it", minimum=-3, maximum=3))
_BATCHES = (Parameter(name="batch0", meaning="best batch at 2e10 tokens", unit="tokens", minimum=1, maximum=1e10),
            Parameter(name="d", meaning="exponent of data in the best batch", minimum=-3, maximum=3))
_SIZES = (FLOOR, size("A", "loss that model size removes, at 5e8 parameters"), exponent("alpha", "model size"),
          size("B", "loss that data removes, at 2e10 tokens"), exponent("beta", "data"))
_BETWEEN = ("learning_rate", "batch_tokens", "train_tokens", "params")
_VOCABULARY = ("params_non_embedding", "vocab_size", "num_characters")

MOE = Law(
    name="moe",
    title="loss over experts and dense parameters, no floor",
    form="log L = log A + a log N + b log X + c log N log X, 1/X = 1/(experts - 1 + 1/(1/start - 1/most)) + 1/most",
    inputs=("num_experts", "dense_params"),
    response="val_loss",
    parameters=(size("A", "loss of a dense model of 5e8 parameters"),
                Parameter(name="a", meaning="exponent of dense parameters", minimum=-3, maximum=3),
                Parameter(name="b", meaning="exponent of effective experts", minimum=-3, maximum=3),
                Parameter(name="c", meaning="interaction of both", minimum=-1, maximum=1),
                Parameter(name="start", meaning="effective experts of a dense model", minimum=1, maximum=100),
                Parameter(name="beyond", meaning="most effective experts, less `start`", minimum=1, maximum=1e6)),
    function=_moe,
    minimum_points=7,
    starts=_moe_starts,
    source="arXiv:2202.01169",
    domain="one way of routing, one expert a token, equal tokens; N is dense parameters over 5e8",
    not_for="other numbers of tokens: it knows none; forecasts far beyond the runs: `moe-floor`",
)
MOE_FLOOR = Law(
    name="moe-floor",
    title="loss over experts and dense parameters, on top of a floor",
    form="L = E + A / (N^alpha * (experts - 1 + start)^beta)",
    inputs=("num_experts", "dense_params"),
    response="val_loss",
    parameters=(FLOOR, size("A", "what a dense model of 5e8 parameters still lacks"),
                exponent("alpha", "dense parameters"),
                Parameter(name="beta", meaning="exponent of experts", minimum=0.001, maximum=3),
                Parameter(name="start", meaning="experts that a dense model is worth", minimum=0.1, maximum=100)),
    function=lambda num_experts, dense_params, E, A, alpha, beta, start:
        E + A * (dense_params / PARAMS) ** -alpha * (num_experts - 1 + start) ** -beta,
    linear=("E", "A"),
    floor="E",
    minimum_points=6,
    starts=_moe_floor_starts,
    source="cvfp, after arXiv:2202.01169",
    domain="one way of routing, one expert a token, equal tokens; N is dense parameters over 5e8",
    not_for="several experts a token, or routings mixed",
)
STEP = Law(
    name="step-law",
    title="loss over learning rate, batch, data and model size; its optima are power laws",
    form="L = E + A N^-alpha + B D^-beta + m log(lr / lr*)^2 + h log(batch / batch*)^2, lr* = lr0 N^a D^b, "
         "batch* = batch0 D^d",
    inputs=_BETWEEN,
    response="val_loss",
    parameters=(*_SIZES, *_RATES, *_BATCHES),
    function=_step_law,
    linear=("E", "A", "B"),
    floor="E",
    minimum_points=13,
    starts=_step_law_starts,
    source="arXiv:2503.04715, with parabolas about the optima",
    domain="one schedule and optimizer, learning rates that do not diverge; N over 5e8, D over 2e10",
    not_for="schedules or optimizers mixed; rates near divergence, where the loss is no parabola: `step-law-coupled`",
)
STEP_COUPLED = Law(
    name="step-law-coupled",
    title="loss over learning rate, batch, data and model size; the best learning rate grows with the batch",
    form="L = E + A N^-alpha + B D^-beta + 8 m q(lr / lr*) + 8 h q(batch / batch*), q(r) = sqrt(r) - 1 - log(r) / 2, "
         "lr* = lr0 N^a D^b (batch / batch*)^c, batch* = batch0 D^d",
    inputs=_BETWEEN,
    response="val_loss",
    parameters=(*_SIZES, *_RATES, Parameter(name="c", meaning="exponent of the batch in it", minimum=-3, maximum=3),
                *_BATCHES),
    function=_step_law_coupled,
    linear=("E", "A", "B"),
    floor="E",
    minimum_points=14,
    starts=_step_law_starts,
    source="cvfp, after arXiv:2503.04715",
    domain="as step-law; too high a rate costs as its root, too low a one as its logarithm",
    not_for="fewer than some thirty runs: most of its 13 parameters need rates and batches on both sides of the best",
)
VOCABULARY = Law(
    name="vocabulary",
    title="unigram-normalised loss over model, vocabulary and characters",
    form="L_u = E + A N^-alpha + C V^-gamma + B H^-beta",
    inputs=_VOCABULARY,
    response="unigram_normalised_loss",
    space="raw",
    parameters=(Parameter(name="E", meaning="value without limits", unit="nat"),
                size("A", "loss that model size removes, at 5e8 parameters"), exponent("alpha", "model size"),
                Parameter(name="C", meaning="effect of vocabulary, at 1e4 entries", unit="nat"),
                Parameter(name="gamma", meaning="exponent of vocabulary", minimum=-3, maximum=3),
                size("B", "loss that data removes, at 2e10 characters"), exponent("beta", "data")),
    function=_vocabulary,
    linear=("E", "A", "C", "B"),
    floor="E",
    minimum_points=8,
    starts=_vocabulary_starts,
    source="arXiv:2407.13623, with the vocabulary for its parameters",
    domain="one tokenizer family; N without embeddings over 5e8, V over 1e4, H characters over 2e10",
    not_for="losses in nats a token, which a vocabulary changes by itself: normalise them by the unigram model",
)
VOCABULARY_JOINT = Law(
    name="vocabulary-joint",
    title="unigram-normalised loss; the larger of two limits rules, and a larger vocabulary needs more data",
    form="L_u = E + C log V + B sqrt((k N^-alpha)^2 + (V^g H^-beta)^2)",
    inputs=_VOCABULARY,
    response="unigram_normalised_loss",
    space="raw",
    parameters=(Parameter(name="E", meaning="value without limits", unit="nat"),
                Parameter(name="C", meaning="effect of vocabulary", unit="nat"),
                size("B", "loss that data removes, at 2e10 characters"), exponent("alpha", "model size"),
                exponent("beta", "data"),
                Parameter(name="g", meaning="exponent of vocabulary in the need of data", minimum=-3, maximum=3),
                Parameter(name="k", meaning="limit of 5e8 parameters, by that of 2e10 characters", minimum=1e-4,
                          maximum=1e4)),
    function=_vocabulary_joint,
    linear=("E", "C", "B"),
    floor="E",
    minimum_points=8,
    starts=_vocabulary_starts,
    source="cvfp, after arXiv:2407.13623",
    domain="as vocabulary",
    not_for="as vocabulary",
)
SHARES = Law(
    name="domain-share",
    title="loss on one domain over its share of the data and tokens",
    form="L = (E + B / D^beta) / share^alpha",
    inputs=("domain_share", "train_tokens"),
    response="val_loss",
    parameters=(size("E", "loss at infinite data of this domain alone"),
                size("B", "loss that data removes, at 2e10 tokens"), exponent("beta", "data"),
                Parameter(name="alpha", meaning="exponent of the share", minimum=1e-4, maximum=3)),
    function=lambda domain_share, train_tokens, E, B, beta, alpha:
        (E + B * (train_tokens / TOKENS) ** -beta) * domain_share**-alpha,
    linear=("E", "B"),
    minimum_points=5,
    starts=_share_starts,
    source="arXiv:2405.14908",
    domain="shares above 0 of one mixture; D over 2e10",
    not_for="shares near 0, where it goes to infinity; several domains at once",
)
PARALLEL = Law(
    name="parallel-scaling",
    title="loss over model size and parallel streams",
    form="L = E + A / (N (1 + k log(streams)))^alpha",
    inputs=("params", "num_streams"),
    response="val_loss",
    parameters=(FLOOR, size("A", "what one stream of 5e8 parameters still lacks"), exponent("alpha", "model size"),
                Parameter(name="k", meaning="worth of streams, as parameters", minimum=0, maximum=100)),
    function=_parallel,
    linear=("E", "A"),
    floor="E",
    minimum_points=5,
    starts=_streams_starts,
    source="arXiv:2505.10475",
    domain="streams whose weights are shared; equal tokens; N over 5e8",
    not_for="ensembles of separate models, whose weights are not shared",
)
ANNEALING = Law(
    name="lr-annealing",
    title="loss along a curve, over the areas of its learning-rate schedule",
    form="L = E + A / S1^alpha - C S2",
    inputs=("lr_area", "annealing_area"),
    response="val_loss",
    parameters=(FLOOR, size("A"), exponent("alpha", "the forward area"), size("C", "loss removed by a unit of S2")),
    function=lambda lr_area, annealing_area, E, A, alpha, C: E + A / lr_area**alpha - C * annealing_area,
    linear=("E", "A", "C"),
    floor="E",
    minimum_points=5,
    starts=_annealing_starts,
    source="arXiv:2408.11029, equation 1",
    domain="after warm-up; `cvfp_laws.annealing.areas` makes both areas of a schedule",
    not_for="final losses of different runs: it is a law along one curve; `chinchilla`",
)
LAWS = tuple(replace(law, automatic=False) for law in (
    MOE, MOE_FLOOR, STEP, STEP_COUPLED, VOCABULARY, VOCABULARY_JOINT, SHARES, PARALLEL, ANNEALING))
