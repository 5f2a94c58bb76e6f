"""Which quantity a name is that a trainer or tracker logs values under: `eval/loss`, `Loss/val`, `train_loss_epoch`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from cvfp_core.schema.quantities import QUANTITIES

VALIDATION = ("eval", "val", "valid", "validation", "dev", "test")
"""Words for data that are not trained on, the surest first."""
TRAINING = {"train", "training"}
_FILLERS = {"epoch", "step", "mean", "avg", "average"}
_MEASURES = {
    "loss": {"loss", "nll", "ce", "xent", "cross_entropy"}, "ppl": {"ppl", "perplexity"},
    "acc": {"acc", "accuracy"}, "bpb": {"bpb"},
}
_REWARDS = re.compile(r"(?:\w+[/_])?(?:rewards?|logps|logits|completions?|objective|policy|kl)(?:[/_].*)?|reward_\w+")
"""Names that only trainers on preferences or rewards log; their loss is no cross-entropy."""
_TOKENS = re.compile(r"(?:train[/_])?(?:\w*tokens_(?:seen|consumed|processed)|num_tokens|total_tokens|n_tokens|tokens|"
                     r"consumed_tokens)")
_FLOPS = re.compile(r"(?:train[/_])?(?:total_flos|total_flops|flops)")
_SECONDS = re.compile(r"(?:train[/_])?train_runtime|_runtime|runtime")


def quantities(names: Collection[str]) -> dict[str, str]:
    """Name -> the quantity it is, of those names that are one; of several names for one quantity the surest.

    A loss of a run that logs rewards is no cross-entropy and none of them. A loss on one set among several, such as
    `eval_wikitext_loss`, is none either, as nobody said which counts; see `sets`.
    """
    rewards = rewarded(names)
    found: dict[str, tuple[int, str]] = {}
    for name in names:
        quantity, rank = _quantity(name)
        if quantity is None or (rewards and quantity.endswith(("_loss", "_ppl"))):
            continue
        if quantity not in found or rank < found[quantity][0]:
            found[quantity] = (rank, name)
    made = {name: quantity for quantity, (_, name) in found.items()}
    named = sets(names)
    if len(named) == 1 and not rewards and not {"val_loss", "val_ppl"} & set(made.values()):
        made[named[0]] = "val_loss"
    return made


def rewarded(names: Iterable[str]) -> bool:
    """Whether names are of a trainer on preferences or rewards (DPO, GRPO, PPO)."""
    return any(_REWARDS.fullmatch(name.lower()) for name in names)


def no_cross_entropy(names: Collection[str]) -> set[str]:
    """The losses among the names, if they are losses of rewards."""
    return {name for name in names if "loss" in _words(name)} if rewarded(names) else set()


def sets(names: Iterable[str]) -> tuple[str, ...]:
    """Names of losses on validation sets that have names of their own: `eval_wikitext_loss`, `c4/val_loss`."""
    return tuple(name for name in names if (words := _words(name)) and words[-1] in _MEASURES["loss"]
                 and set(words) & set(VALIDATION) and _quantity(name)[0] is None)


def validation(names: Iterable[str]) -> tuple[str, ...]:
    """Those of the names that are validation metrics, the one to judge a run by first."""
    order = ("val_loss", "val_ppl", "val_bpb", "val_acc")
    known = {name: quantity for name, quantity in quantities(tuple(names)).items() if quantity in order}
    return tuple(sorted(known, key=lambda name: order.index(known[name])))


def lower_is_better(name: str) -> bool:
    """Whether a validation metric is the better the lower it is."""
    return QUANTITIES[quantities((name,)).get(name, "val_loss")].better != "higher"


def columns(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Quantities of a run's last values, and which name each was taken from: quantity -> name.

    A count of 0 stands for "not counted". Tokens are counted as they are seen, repetitions too.
    """
    numbers = {name: value for name, value in values.items()
               if isinstance(value, int | float) and not isinstance(value, bool)}
    made: dict[str, Any] = {}
    taken: dict[str, str] = {}
    for name, quantity in quantities(tuple(numbers)).items():
        if quantity in values or (numbers[name] == 0 and QUANTITIES[quantity].exclusive) or (
                quantity == "flops" and numbers[name] == 0):
            continue
        made[quantity], taken[quantity] = numbers[name], name
    return made, taken


def with_train_tokens(columns: dict[str, Any]) -> dict[str, Any]:
    """The columns with the tokens of the corpus, which follow from those that were seen and how often.

    A run of less than an epoch saw a part of the corpus, each token once.
    """
    seen, epochs = columns.get("tokens_seen"), columns.get("epochs")
    if columns.get("train_tokens") is not None or not isinstance(seen, int | float):
        return columns
    times = epochs if isinstance(epochs, int | float) and epochs > 1 else 1
    rule = "train_tokens = tokens_seen / epochs" if times > 1 else "train_tokens = tokens_seen"
    return columns | {"train_tokens": seen / times, "derived": "; ".join(filter(None, (columns.get("derived"), rule)))}


def _quantity(name: str) -> tuple[str | None, int]:
    """The quantity of a name and how sure it is, 0 the surest."""
    lower = name.lower()
    for quantity, pattern in (("tokens_seen", _TOKENS), ("flops", _FLOPS), ("seconds_phase2", _SECONDS)):
        if pattern.fullmatch(lower):
            return quantity, 0
    words = _words(lower)
    left = [word for word in words if word not in _FILLERS]
    vague = words.count("step")
    measure = next((key for key, spelt in _MEASURES.items() if left and (
        left[-1] in spelt or left[0] in spelt)), None)
    if measure is None:
        return None, 0
    where = [word for word in left if word not in _MEASURES[measure]]
    if len(left) - len(where) != 1 or len(where) > 1:
        return None, 0
    if where and where[0] in VALIDATION:
        return f"val_{measure}", VALIDATION.index(where[0]) + vague
    if measure == "ppl" and not where:
        return "val_ppl", len(VALIDATION) + vague
    if measure in ("loss", "ppl") and (not where or where[0] in TRAINING):
        return f"train_{measure}", (not where) + vague
    return None, 0


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[^a-z0-9]+", name.lower().replace("cross_entropy", "ce")) if word]
