"""The `transformer` family: a small causal Transformer over the token window, the baseline without contexts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from cvfp_core import hookimpl
from cvfp_core.errors import UsageError
from cvfp_core.registry.kinds import Option, Preset, VariantFamily
from cvfp_core.registry.lazy import lazy
from cvfp_core.schema.cells import Variant
from cvfp_core.schema.settings import Scalar

FAMILY, PREFIX = "transformer", "transformer_"
OPTIONS = (
    Option(name="heads", default=4, minimum=1, help="attention heads; they divide the width"),
    Option(
        name="inner_width",
        default=None,
        minimum=1,
        help="width inside the feed-forward; unset: what `parameters` asks for, or else four times the width",
    ),
    Option(
        name="parameters",
        default=None,
        minimum=1,
        help="trained parameters to be reached as nearly as the inner width allows",
    ),
    Option(
        name="match",
        default=None,
        help="variant of another family whose trained parameters, of both phases, are taken for `parameters`",
    ),
)


def _parse(name: str) -> Variant | None:
    return Variant.parse(name, family=FAMILY, prefix=PREFIX)


def _check(variant: Variant, options: Mapping[str, Scalar | None]) -> None:
    heads = int(options["heads"] or 1)
    if variant.context_dim % heads:
        raise UsageError(
            f"model.heads = {heads} does not divide the width {variant.context_dim} of '{variant.name}'"
        )
    given = [f"model.{name}" for name in ("inner_width", "parameters", "match") if options[name] is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} both settle the width of the feed-forward of '{variant.name}'; "
                         "give one of them")


def _settle(
    variant: Variant, options: Mapping[str, Scalar | None], embed_dim: int, count: Callable[[str], int]
) -> Mapping[str, Scalar | None]:
    from cvfp_transformer.size import inner_width

    target = options["parameters"]
    if options["match"] is not None:
        name = str(options["match"])
        if _parse(name) is not None:
            raise UsageError(f"model.match = '{name}' is a {FAMILY} itself; name a variant of another family")
        target = count(name)
    if target is None:
        inner = options["inner_width"] or 4 * variant.context_dim
    else:
        inner = inner_width(variant, options, embed_dim, int(target))
    return {**options, "parameters": target, "inner_width": inner}


@hookimpl
def cvfp_variants() -> Iterable[VariantFamily]:
    yield VariantFamily(
        name=FAMILY,
        title="causal Transformer over the token window, one phase (a baseline)",
        form=f"{PREFIX}{{L}}L_{{d}}d_{{T}}tok",
        parse=_parse,
        build=lazy("cvfp_transformer.model:Transformer"),
        options=OPTIONS,
        check=_check,
        settle=_settle,
        phases=1,
        size=lazy("cvfp_transformer.size:size"),
    )


@hookimpl
def cvfp_presets() -> Iterable[Preset]:
    yield Preset(
        name="small-transformer",
        title="for the transformer at widths around 128 and some 100,000 tokens; with it take 16 input tokens",
        overrides={
            # tried on another split of the embedded corpus, at 10 and 80 documents: rates from 0.0003 to 0.006, batches
            # of 64, 128 and 512, 4 to 32 input tokens, widths 64 and 128, 1 and 2 layers; benchmarks/RESULTS.md
            "phase2": {"learning_rate": 0.002, "batch_tokens": 128, "epochs": 30, "patience": 2},
        },
    )
