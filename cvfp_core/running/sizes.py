"""How large models are, and how much memory a run of one takes."""

from __future__ import annotations

from collections.abc import Mapping

from cvfp_core.protocol.processor import DEFAULT
from cvfp_core.registry import Registry
from cvfp_core.registry.guard import returned
from cvfp_core.registry.kinds import Corpus, ModelSize, VariantFamily
from cvfp_core.schema.cells import Cell, Variant
from cvfp_core.schema.settings import Scalar

PROCESS = 390 * 2**20
"""Bytes of a process that has imported torch and everything else, measured."""
_EVAL = 1024
"""Tokens of a batch of validation."""
_LOGITS = 1 << 26
"""Logits at a time on a GPU."""


def model_size(variant: Variant, options: Mapping[str, Scalar | None], registry: Registry, corpus: Corpus) -> ModelSize:
    """How large the variant's model is. Raises PluginError if its family's code fails."""
    family = registry.get(VariantFamily, variant.family)
    with registry.blaming(VariantFamily, family.name):
        if family.size is not None:
            return returned("size", family.size(variant, options, corpus.embed_dim), ModelSize)
        from cvfp_core.protocol.counting import model_size

        return model_size(variant, family, options, corpus.vocab_size, corpus.embed_dim)


def peak_memory(cell: Cell, size: ModelSize, corpus: Corpus, phases: int) -> int:
    """Bytes that a run takes at its peak, estimated: of its process, or on a GPU of what is allocated there.

    What is mapped from a file beyond `shortcuts.memory_gib` does not count: the system takes it back as it needs.
    """
    phase1, phase2, mode = cell.settings.phase1, cell.settings.phase2, cell.settings.phase1.mode
    cpu = not cell.device.startswith("cuda")
    rows_at_once = cell.shortcuts.rows_at_once or DEFAULT.rows_at_once
    words_at_once = cell.shortcuts.words_at_once or DEFAULT.words_at_once
    width, vocab, tokens = cell.variant.context_dim, corpus.vocab_size, cell.train_tokens
    val_tokens, made = len(corpus.val_tokens), phases == 2 and mode != "zero-context"
    mapped = cell.shortcuts.memory_gib * 2**30 / 4 if cpu else float("inf")
    contexts = [cell.variant.num_layers * count * width for count in (tokens, val_tokens)] if made else []
    streams = 4 * (tokens + val_tokens)  # ids of 64 bits, and once more as windows
    embeddings = (4 if cpu else 3) * vocab * corpus.embed_dim  # as read, normalised, and laid out for the head
    trains = made and mode == "trained"
    rows = min(phase1.batch_tokens, tokens)
    rank = 4 * width**2 + 2 * 8192 * width  # in float64, with a block of rows
    of_phase1 = max(rows * width + max(
        (3 * size.params_phase1 + rows * size.activations_phase1) if trains else rows_at_once * size.activations_phase1,
        rows * width * cell.variant.num_layers,
    ) + 2 * size.shared_phase1 * min(vocab, tokens), rank) if made else 0
    batch = min(phase2.batch_tokens, tokens)
    logits = max(batch, _EVAL) * min(vocab, words_at_once) if cpu else min(max(batch, _EVAL) * vocab, _LOGITS)
    of_phase2 = 3 * size.params_phase2 + batch * size.activations_phase2 + 3 * logits
    numbers = (streams + embeddings + size.trained + sum(count for count in contexts if count <= mapped)
               + max(of_phase1, of_phase2))
    return int(4 * numbers + (PROCESS + corpus.train_tokens.nbytes + corpus.val_tokens.nbytes if cpu else 0))
