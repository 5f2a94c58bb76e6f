"""The settings of the published experiments, by name. What all of them share is the default of the settings."""

from __future__ import annotations

from cvfp_core.registry.kinds import Preset
from cvfp_core.schema.settings import Scalar

_ALL = {"learning_rate": 0.002, "min_iterations": 5, "convergence_threshold": 0.03, "converged_ratio": 0.99}


def _preset(
    name: str,
    title: str,
    *,
    weight: float,
    iterations: int,
    noise: float,
    batch: int,
    clip: float,
    epochs: int,
    model: dict[str, Scalar] | None = None,
) -> Preset:
    phase1 = _ALL | {
        "dist_reg_weight": weight, "max_iterations": iterations, "context_noise": noise, "batch_tokens": batch,
        "gradient_clip": clip,
    }
    phase2 = {"learning_rate": 0.001, "epochs": epochs, "gradient_clip": 1.0, "patience": 1}
    overrides: dict[str, object] = {"phase1": phase1, "phase2": phase2}
    if model is not None:
        overrides["model"] = model
    return Preset(name=name, title=title, overrides=overrides)


PRESETS = (
    _preset("v1", "diversity weight 0.8, at most 40 iterations; also the matrix of nine configurations",
            weight=0.8, iterations=40, noise=0.1, batch=8000, clip=1.0, epochs=10),
    _preset("v2", "diversity weight 0.9, at most 60 iterations, no context noise",
            weight=0.9, iterations=60, noise=0.0, batch=8000, clip=1.0, epochs=20),
    _preset("v3", "as v2 with context noise 0.1 and smaller batches",
            weight=0.9, iterations=60, noise=0.1, batch=5000, clip=1.0, epochs=20),
    _preset("v4", "the settings of v3",
            weight=0.9, iterations=60, noise=0.1, batch=5000, clip=1.0, epochs=20),
    _preset("v6", "as v3 with at most 100 iterations and gradient clip 2",
            weight=0.9, iterations=100, noise=0.1, batch=5000, clip=2.0, epochs=20),
    _preset("v8", "as v3 with gradient clip 2 and a feed-forward part of two GELU layers, four times as wide",
            weight=0.9, iterations=60, noise=0.1, batch=5000, clip=2.0, epochs=20,
            model={"feed_forward": "gelu", "expansion": 4}),
)
