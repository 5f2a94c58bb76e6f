"""The `residual` family: context and token blocks with residual connections, as the CVFP research published them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from cvfp_core import hookimpl
from cvfp_core.cells import Variant
from cvfp_core.kinds import Option, VariantFamily
from cvfp_core.settings import Scalar

if TYPE_CHECKING:
    import torch

    from cvfp_core.protocol.model import TwoPhaseModel

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


def _parse(name: str) -> Variant | None:
    return Variant.parse(name, family="residual")


def _build(
    variant: Variant, options: Mapping[str, Scalar | None], embeddings: torch.Tensor, generator: torch.Generator
) -> TwoPhaseModel:
    from cvfp_residual.model import ResidualModel

    return ResidualModel(variant, options, embeddings, generator)


@hookimpl
def cvfp_variants() -> Iterable[VariantFamily]:
    yield VariantFamily(
        name="residual",
        title="residual context and token blocks (the published model)",
        form="{L}L_{d}d_{T}tok",
        parse=_parse,
        build=_build,
        options=OPTIONS,
    )
