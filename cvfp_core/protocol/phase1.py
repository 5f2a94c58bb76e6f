"""Phase 1: contexts are learned, without labels, until they stop changing between sweeps.

A sweep computes the context of every token at once from the previous sweep's context of the token before it. The loss
asks contexts to stay where they were and to differ from each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from cvfp_core.protocol.model import Diverged, TwoPhaseModel
from cvfp_core.settings import Phase1Settings

INITIAL_SCALE = 0.01  # standard deviation of the contexts of iteration 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What one iteration measured. `loss` is the weighted sum of the other two."""

    iteration: int
    convergence_rate: float
    loss: float
    cvfp_loss: float
    diversity_loss: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Phase1Result:
    """The contexts of the last sweep, (N, context_dim), and how it ended."""

    contexts: Tensor
    last: Sweep
    censored: bool
    """It ended before convergence, at the maximum or stopped: the iteration count is a lower bound."""
    stopped: str | None = None
    """Why it was stopped before it converged or reached the maximum."""


def diversity_loss(contexts: Tensor) -> Tensor:
    """Minus the Frobenius norm of the batch around its mean, over the number of tokens B; contexts (B, d)."""
    norm: Tensor = torch.linalg.vector_norm(contexts - contexts.mean(dim=0))
    return -norm / contexts.shape[0]


def learn_contexts(
    model: TwoPhaseModel,
    windows: Tensor,
    context_dim: int,
    settings: Phase1Settings,
    *,
    generator: torch.Generator,
    autocast: Callable[[], AbstractContextManager[object]],
    report: Callable[[Sweep], None],
    stop: Callable[[Sweep], str | None] = lambda _sweep: None,
) -> Phase1Result:
    """Trains the model's Phase-1 parameters (mode `untrained`: leaves them) and returns the fixed point.

    windows: (N, T) on the model's device. generator: on that device; initial contexts and noise are drawn from it.
    report hears of every iteration from the second on; the first one only draws the initial contexts. stop is asked
    after it, unless Phase 1 has converged, and returns why to end here, or None.
    Raises Diverged when a loss is not finite.
    """
    trained = settings.mode == "trained"
    num_tokens = windows.shape[0]
    parameters = list(model.phase1_parameters())
    optimizer = torch.optim.Adam(parameters, lr=settings.learning_rate) if trained else None
    weight = settings.dist_reg_weight
    num_batches = -(-num_tokens // settings.batch_tokens)
    contexts = INITIAL_SCALE * torch.randn(num_tokens, context_dim, generator=generator, device=windows.device)
    fresh = torch.empty_like(contexts)
    sweep = Sweep(iteration=1, convergence_rate=0.0, loss=0.0, cvfp_loss=0.0, diversity_loss=0.0)

    for iteration in range(2, settings.max_iterations + 1):
        totals = torch.zeros(3, dtype=torch.float64 if windows.device.type != "mps" else torch.float32,
                             device=windows.device)  # settled tokens, cvfp loss, diversity loss
        for rows in batches(num_tokens, settings.batch_tokens):
            previous = shifted(contexts, rows, before=contexts[-1])
            if settings.context_noise > 0:
                noise = torch.randn(previous.shape, generator=generator, device=previous.device)
                previous = previous.add_(noise, alpha=settings.context_noise)
            with torch.set_grad_enabled(trained):
                with autocast():
                    made = model.contexts(previous, windows[rows])[-1].float()  # (B, d)
                moved = (made - contexts[rows]).square().mean(dim=1)  # (B,)
                movement = moved.mean()
                diversity = diversity_loss(made)
                loss = (1 - weight) * movement + weight * diversity
            if optimizer is not None:
                torch.autograd.backward(loss / num_batches)
            made, moved = made.detach(), moved.detach()
            fresh[rows] = made
            settled = (moved < settings.convergence_threshold).sum()
            totals += torch.stack([settled.to(totals), movement.detach().to(totals), diversity.detach().to(totals)])
        if optimizer is not None:
            torch.nn.utils.clip_grad_norm_(parameters, settings.gradient_clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        contexts, fresh = fresh, contexts

        settled_tokens, movement_sum, diversity_sum = totals.tolist()
        cvfp, diverse = movement_sum / num_batches, diversity_sum / num_batches
        sweep = Sweep(
            iteration=iteration,
            convergence_rate=settled_tokens / num_tokens,
            loss=(1 - weight) * cvfp + weight * diverse,
            cvfp_loss=cvfp,
            diversity_loss=diverse,
        )
        if not sweep.loss - sweep.loss == 0.0:  # NaN or infinite
            raise Diverged(f"phase 1 loss is {sweep.loss} at iteration {iteration}")
        report(sweep)
        if iteration >= settings.min_iterations and sweep.convergence_rate >= settings.converged_ratio:
            return Phase1Result(contexts=contexts, last=sweep, censored=False)
        reason = stop(sweep)
        if reason is not None:
            return Phase1Result(contexts=contexts, last=sweep, censored=True, stopped=reason)
    return Phase1Result(contexts=contexts, last=sweep, censored=True)


def batches(num_tokens: int, batch_tokens: int) -> Iterator[slice]:
    """Consecutive slices of the stream."""
    for start in range(0, num_tokens, batch_tokens):
        yield slice(start, min(start + batch_tokens, num_tokens))


def shifted(contexts: Tensor, rows: slice, *, before: Tensor) -> Tensor:
    """A copy (B, d) of the contexts of the tokens before `rows`; `before` (d,) stands before the first token."""
    if rows.start > 0:
        return contexts[rows.start - 1 : rows.stop - 1].clone()
    return torch.cat([before.unsqueeze(0), contexts[: rows.stop - 1]])
