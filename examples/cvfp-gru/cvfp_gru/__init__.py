"""What the plugin adds, in words. What it is made of is imported from the sibling modules when it is used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cvfp_core import hookimpl
from cvfp_core.registry.kinds import Analysis, Fitter, Ingester, Option, Parameter, VariantFamily
from cvfp_core.registry.lazy import lazy
from cvfp_core.schema.cells import Variant


def _parse(name: str) -> Variant | None:
    return Variant.parse(name, family="gru", prefix="gru_")


@hookimpl
def cvfp_variants() -> Iterable[VariantFamily]:
    yield VariantFamily(
        name="gru",
        title="gated recurrent unit; the hidden state is the context vector",
        form="gru_{L}L_{d}d_{T}tok",
        parse=_parse,
        build=lazy("cvfp_gru.model:GruModel"),
        options=(
            # at 2 contexts settle before they spread (effective rank 88 %), at 3 they take twice the iterations (91 %)
            Option(name="cell_gain", default=2.5, minimum=0, help="initial weights of the cells, times sqrt(inputs)"),
            Option(name="token_gain", default=0.5, minimum=0, help="the same for the token block"),
        ),
    )


def _matches(path: Path, head: bytes | None) -> bool:
    del path
    return head is not None and head.startswith(b"gru-log v1")


@hookimpl
def cvfp_ingesters() -> Iterable[Ingester]:
    yield Ingester(name="gru-log", title="log of a GRU trainer, several runs a file", matches=_matches,
                   read=lazy("cvfp_gru.log:read"))


def _starts(train_tokens: Any) -> Mapping[str, Any]:
    import numpy as np

    return {"N0": np.exp(np.log(train_tokens).mean()) * np.geomspace(1e-4, 1e3, 22),
            "alpha": -np.geomspace(0.01, 5.0, 40)}


@hookimpl
def cvfp_fitters() -> Iterable[Fitter]:
    yield Fitter(
        name="head-start",
        title="power law of a model that begins as if it had seen tokens before (arXiv:2102.01293, data transferred)",
        form="PPL = A * (tokens + N0)^alpha",
        parameters=(
            Parameter(name="A", meaning="perplexity at one token in all", minimum=0),
            Parameter(name="N0", meaning="tokens the head start is worth", unit="tokens", minimum=0),
            Parameter(name="alpha", meaning="scaling exponent far beyond N0", maximum=0),
        ),
        function=lambda train_tokens, A, N0, alpha: A * (train_tokens + N0) ** alpha,
        linear=("A",),
        starts=_starts,
    )


@hookimpl
def cvfp_analyses() -> Iterable[Analysis]:
    yield Analysis(
        name="gru-ppl",
        title="Has a GRU lower perplexity than another family's model of the same shape, at equal data?",
        columns=("val_ppl", "family"),
        analyse=lazy("cvfp_gru.families:families"),
    )
