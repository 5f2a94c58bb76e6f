"""The `residual` family: context and token blocks with residual connections, as the CVFP research published them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cvfp_core import hookimpl
from cvfp_core.errors import UsageError
from cvfp_core.registry.kinds import Option, Preset, VariantFamily
from cvfp_core.registry.lazy import lazy
from cvfp_core.schema.cells import Variant
from cvfp_core.schema.settings import Scalar

OPTIONS = (
    Option(
        name="feed_forward",
        default="relu",
        choices=("relu", "gelu"),
        help="relu: one Linear with ReLU; gelu: two Linears with GELU between, `expansion` times as wide inside",
    ),
    Option(name="expansion", default=4, minimum=1, help="inner width of the gelu feed-forward, in output widths"),
    Option(
        name="num_splits",
        default=1,
        minimum=1,
        help="independent context blocks, each a share of the context wide, their outputs joined",
    ),
    Option(name="init_std", default=0.1, minimum=0, help="standard deviation of initial weights"),
    Option(
        name="context_init_std",
        default=None,
        minimum=0,
        help="the same for the context block alone; unset: init_std",
    ),
    Option(name="bias_std", default=0.01, minimum=0, help="standard deviation of initial biases"),
)


DEEPEST = 10_000
"""Layers: a hundred times those of any published model, few enough to be counted one by one."""


def _parse(name: str) -> Variant | None:
    return Variant.parse(name, family="residual")


def _check(variant: Variant, options: Mapping[str, Scalar | None]) -> None:
    if variant.num_layers > DEEPEST:
        raise UsageError(f"'{variant.name}' has {variant.num_layers:,} layers; at most {DEEPEST:,} are possible")
    splits = int(options["num_splits"] or 1)
    if variant.context_dim % splits:
        raise UsageError(
            f"model.num_splits = {splits} does not divide context_dim = {variant.context_dim} of '{variant.name}'"
        )


@hookimpl
def cvfp_variants() -> Iterable[VariantFamily]:
    yield VariantFamily(
        name="residual",
        title="residual context and token blocks (the published model)",
        form="{L}L_{d}d_{T}tok",
        parse=_parse,
        build=lazy("cvfp_residual.model:ResidualModel"),
        options=OPTIONS,
        check=_check,
        size=lazy("cvfp_residual.size:size"),
    )


@hookimpl
def cvfp_presets() -> Iterable[Preset]:
    yield Preset(
        name="small",
        title="for widths around 128 and some 100,000 tokens, such as the embedded corpus",
        overrides={
            # at 0.002, or with noise, a width of 128 does not reach 99 % convergence in 40 iterations
            "phase1": {"learning_rate": 0.01, "context_noise": 0.0, "max_iterations": 40},
            # at 0.005 large runs overfit within 3 epochs; at 0.001 small ones end under-trained, which inflates alpha
            "phase2": {"learning_rate": 0.003, "batch_tokens": 512, "epochs": 30},
            # contexts: 0.1 * sqrt(768 / 128), activations of the published size; tokens: 0.05 ended 1-3 % below 0.1
            "model": {"context_init_std": 0.245, "init_std": 0.05},
        },
    )
