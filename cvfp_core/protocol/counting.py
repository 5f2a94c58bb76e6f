"""How many parameters a variant trains, counted on the model itself."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from cvfp_core.protocol.model import parameter_count
from cvfp_core.registry.kinds import Corpus, VariantFamily
from cvfp_core.schema.cells import Variant
from cvfp_core.schema.settings import Scalar


def trained_parameters(
    variant: Variant, family: VariantFamily, options: Mapping[str, Scalar | None], corpus: Corpus
) -> int:
    """Parameters of both phases of the model that the family builds for the corpus."""
    model = family.build(variant, options, torch.as_tensor(corpus.embeddings), torch.Generator())
    return parameter_count(model.phase1_parameters()) + parameter_count(model.phase2_parameters())
