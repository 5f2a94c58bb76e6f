"""The record of a cell's run, assembled here whether it ended, was stopped or failed."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from cvfp_core.registry.kinds import Corpus
from cvfp_core.schema.cells import Cell
from cvfp_core.schema.records import Record, Status
from cvfp_core.version import __version__


def record(
    cell: Cell, phases: int | None, measured: Mapping[str, Any], status: Status = "ok", reason: str | None = None
) -> Record:
    """The record: what the cell says of the run, and the columns that were measured, which go before.

    phases: of the variant's family; None: it is not installed.
    """
    return Record(**{
        "run_id": cell.run_id,
        "experiment": cell.experiment,
        "variant": cell.variant.name,
        "family": cell.variant.family,
        "num_layers": cell.variant.num_layers,
        "context_dim": cell.variant.context_dim,
        "num_input_tokens": cell.variant.num_input_tokens,
        "seed": cell.seed,
        "settings": json.dumps(cell.settings.as_dict(), sort_keys=True),
        "corpus": cell.corpus.name,
        "corpus_hash": cell.corpus_hash,
        "num_samples": cell.num_samples,
        "train_tokens": cell.train_tokens,
        "max_epochs": cell.settings.phase2.epochs,
        "phases": phases,
        "phase1_mode": None if phases == 1 else cell.settings.phase1.mode,
        **{name: None if phases == 1 or cell.control == "zero-context" else getattr(cell.settings.phase1, name)
           for name in ("objective", "ending")},
        "device": cell.device,
        "status": status,
        "reason": reason,
        "source": f"cvfp {__version__}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": platform.node(),
        **measured,
    })


def corpus_columns(cell: Cell, corpus: Corpus) -> dict[str, Any]:
    """The record columns that the corpus decides."""
    sample = corpus.sample(cell.num_samples)
    return {
        "corpus": corpus.name,
        "corpus_hash": corpus.hash,
        "tokenizer": corpus.tokenizer,
        "embed_dim": corpus.embed_dim,
        "vocab_size": corpus.vocab_size,
        "train_tokens": len(sample),
        "val_tokens": len(corpus.val_tokens),
        "unigram_ppl": unigram_perplexity(sample, corpus.val_tokens, corpus.vocab_size),
    }


def unigram_perplexity(train_tokens: np.ndarray, val_tokens: np.ndarray, vocab_size: int) -> float:
    """Validation perplexity of the training tokens' unigram model, each count raised by one.

    A model that does not beat it has learned nothing of order. The first validation token is not predicted.
    """
    counts = np.bincount(train_tokens, minlength=vocab_size).astype(np.float64) + 1.0
    log_share = np.log(counts / counts.sum())
    return float(np.exp(-log_share[val_tokens[1:]].mean()))
