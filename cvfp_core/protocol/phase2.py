"""Phase 2: tokens are predicted from frozen contexts, with early stopping on a fixed validation stream."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from cvfp_core.protocol import model as models
from cvfp_core.protocol.head import Head
from cvfp_core.protocol.model import Diverged, TwoPhaseModel, sharing
from cvfp_core.protocol.phase1 import adam, batches
from cvfp_core.schema.settings import Phase2Settings, Shortcuts

_EVAL_TOKENS = 1024  # tokens a batch of validation: bounds the logits held at once


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stream:
    """What predicts and what is predicted: row i of `windows` and `layers` predicts token i + 1."""

    tokens: Tensor
    """(N,)"""
    windows: Tensor
    """(N, T)"""
    layers: Tensor
    """(L, N, context_dim); a one-phase model has L = 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One epoch: perplexities, accuracy as a fraction, and whether validation improved."""

    epoch: int
    train_ppl: float
    val_ppl: float
    val_acc: float
    improved: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where Phase 2 stands after an epoch, beside weights and optimizer."""

    epoch: int
    best: Epoch
    best_loss: float
    """Validation loss of the best epoch."""
    since_best: int
    """Epochs since then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase2Result:
    """The best epoch by validation loss, and how many were trained."""

    best: Epoch
    epochs: int
    stopped: str | None = None
    """Why a stop rule ended it; None: none did."""


def learn_tokens(
    model: TwoPhaseModel,
    train: Stream,
    val: Stream,
    head: Head,
    settings: Phase2Settings,
    *,
    autocast: Callable[[], AbstractContextManager[object]],
    report: Callable[[Epoch], None],
    resume: Callable[[torch.optim.Optimizer], Standing | None] = lambda _optimizer: None,
    keep: Callable[[Standing, torch.optim.Optimizer], None] = lambda _standing, _optimizer: None,
    shortcuts: Shortcuts,
    stop: Callable[[], str | None] = lambda: None,
) -> Phase2Result:
    """Trains the model's Phase-2 parameters against the frozen head.

    Stops after `patience` epochs without a lower validation loss, or where `stop` says why after an epoch. Raises
    Diverged when a loss is not finite, and when a perplexity of the best epoch is not. resume puts back the optimizer
    after an earlier epoch and returns where that ended, or None; keep is told where a later one did that was not the
    last.
    """
    parameters = models.parameters(model, 2, train.tokens.device)
    optimizer = adam(parameters, settings.learning_rate, shortcuts)
    share = sharing(model, val.windows, allowed=shortcuts.token_parts)
    best: Epoch | None = None
    best_loss, since_best = math.inf, 0
    epoch, done, stopped = 0, 0, None
    if (standing := resume(optimizer)) is not None:
        epoch = done = standing.epoch
        best, best_loss, since_best = standing.best, standing.best_loss, standing.since_best
    for epoch in range(done + 1, settings.epochs + 1):
        train_loss = _train_epoch(model, train, head, optimizer, parameters, settings, autocast)
        if not math.isfinite(train_loss):
            raise Diverged(f"phase 2 training loss is {train_loss} at epoch {epoch}")
        with share():
            val_loss, accuracy = evaluate(model, val, head, autocast)
        if not math.isfinite(val_loss):
            raise Diverged(f"phase 2 validation loss is {val_loss} at epoch {epoch}")
        improved = val_loss < best_loss
        measured = Epoch(
            epoch=epoch,
            train_ppl=perplexity(train_loss),
            val_ppl=perplexity(val_loss),
            val_acc=accuracy,
            improved=improved,
        )
        report(measured)
        if improved:
            best, best_loss, since_best = measured, val_loss, 0
        else:
            since_best += 1
            if since_best >= settings.patience:
                break
        if epoch < settings.epochs and (stopped := stop()) is not None:
            break
        assert best is not None
        keep(Standing(epoch=epoch, best=best, best_loss=best_loss, since_best=since_best), optimizer)
    assert best is not None  # the first epoch improves on infinity
    for name, value in (("training", best.train_ppl), ("validation", best.val_ppl)):
        if not math.isfinite(value):
            raise Diverged(f"{name} perplexity is {value} at the best epoch {best.epoch}")
    return Phase2Result(best=best, epochs=epoch, stopped=stopped)


def _train_epoch(
    model: TwoPhaseModel,
    stream: Stream,
    head: Head,
    optimizer: torch.optim.Optimizer,
    parameters: Iterable[torch.nn.Parameter],
    settings: Phase2Settings,
    autocast: Callable[[], AbstractContextManager[object]],
) -> float:
    """Mean cross-entropy over the epoch, measured while training; batches in stream order."""
    predictions = len(stream.tokens) - 1
    total = torch.zeros((), device=stream.tokens.device)
    for rows in batches(predictions, settings.batch_tokens):
        with autocast():
            hidden = models.hidden(model, stream.layers[:, rows], stream.windows[rows], head.embed_dim)  # (B, d_e)
        targets = stream.tokens[rows.start + 1 : rows.stop + 1]
        loss = head.loss(hidden, targets)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(parameters, settings.gradient_clip)
        optimizer.step()
        total += loss.detach() * len(targets)
    return float(total) / predictions


@torch.no_grad()
def evaluate(
    model: TwoPhaseModel,
    stream: Stream,
    head: Head,
    autocast: Callable[[], AbstractContextManager[object]],
) -> tuple[float, float]:
    """(mean cross-entropy, share of tokens predicted first) over a stream."""
    predictions = len(stream.tokens) - 1
    total = torch.zeros((), device=stream.tokens.device)
    correct = torch.zeros((), dtype=torch.int64, device=stream.tokens.device)
    for rows in batches(predictions, _EVAL_TOKENS):
        with autocast():
            hidden = models.hidden(model, stream.layers[:, rows], stream.windows[rows], head.embed_dim)
        losses, right = head.score(hidden, stream.tokens[rows.start + 1 : rows.stop + 1])
        total += losses
        correct += right
    return float(total) / predictions, int(correct) / predictions


def perplexity(loss: float) -> float:
    """exp(loss), infinite where that overflows."""
    return math.exp(loss) if loss < 709 else math.inf
