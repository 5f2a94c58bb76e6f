"""Which figure of a run a metric of another tracker is, by the names trainers commonly give."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_VAL = r"(?:eval|val|valid|validation|test)"
_NAMES = (
    ("val_ppl", re.compile(rf"{_VAL}[/_](?:ppl|perplexity)|perplexity"), False),
    ("val_ppl", re.compile(rf"{_VAL}[/_](?:\w*cross_entropy|loss|nll)"), True),
    ("train_ppl", re.compile(r"(?:train[/_])?(?:ppl)|train[/_]perplexity"), False),
    ("train_ppl", re.compile(r"(?:train[/_])?(?:loss|nll)"), True),
    ("val_acc", re.compile(rf"{_VAL}[/_](?:acc|accuracy)"), False),
    ("train_tokens", re.compile(
        r"(?:train[/_])?(?:num_input_tokens_seen|num_tokens|tokens_seen|total_tokens|train_tokens|tokens)"), False),
    ("seconds_phase2", re.compile(r"(?:train[/_])?train_runtime|_runtime"), False),
    ("flops", re.compile(r"(?:train[/_])?total_flos"), False),
)


def columns(final: Mapping[str, Any]) -> dict[str, Any]:
    """Record columns made from a run's last values; a loss (in nats a token) becomes a perplexity."""
    made: dict[str, Any] = {}
    for column, pattern, is_loss in _NAMES:
        for name, value in final.items():
            if column in made or isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if pattern.fullmatch(name.lower()):
                made[column] = exp(value) if is_loss else value
    tokens = made.get("train_tokens")
    if isinstance(tokens, float) and tokens.is_integer():
        made["train_tokens"] = int(tokens)
    if tokens == 0:
        del made["train_tokens"]  # trainers write 0 where they did not count
    return made


def exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


def folder_of_run(path: Path) -> Path:
    """The folder a run is named by: the file's, or the one above a checkpoint's."""
    folder = path.absolute().parent
    return folder.parent if re.fullmatch(r"checkpoint-\d+|logs|runs|events?", folder.name) else folder
