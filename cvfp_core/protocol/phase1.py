"""Phase 1: contexts are learned, without labels, until they stop changing between sweeps.

A sweep computes the context of every token at once from the previous sweep's context of the token before it. The loss
asks contexts to stay where they were and, by the term of an objective, to differ from each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from cvfp_core.protocol import model as models
from cvfp_core.protocol.device import exact
from cvfp_core.protocol.model import Diverged, ModelError, TwoPhaseModel, sharing
from cvfp_core.protocol.noise import Noise
from cvfp_core.protocol.objective import Term
from cvfp_core.schema.settings import Phase1Settings, Shortcuts

INITIAL_SCALE = 0.01  # standard deviation of the contexts of iteration 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What one iteration measured. `loss` is the weighted sum of the other two, the second that of the objective."""

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
    """It ended before convergence, whatever ended it: the iteration count is a lower bound."""
    stopped: str | None = None
    """Why it was stopped before it ended otherwise or reached the maximum."""


def learn_contexts(
    model: TwoPhaseModel,
    windows: Tensor,
    contexts: Tensor,
    settings: Phase1Settings,
    *,
    noise: Noise,
    autocast: Callable[[], AbstractContextManager[object]],
    report: Callable[[Sweep], None],
    ends: Callable[[Sweep], bool] | None = None,
    stop: Callable[[Sweep], str | None] = lambda _sweep: None,
    resume: Callable[[torch.optim.Optimizer | None], Sweep | None] = lambda _optimizer: None,
    keep: Callable[[Sweep, torch.optim.Optimizer | None], None] = lambda _sweep, _optimizer: None,
    shortcuts: Shortcuts,
    term: Term | None = None,
) -> Phase1Result:
    """Trains the model's Phase-1 parameters (mode `untrained`: leaves them) and returns the fixed point.

    windows: (N, T) on the model's device. contexts: (N, context_dim), overwritten: first with the initial contexts,
    drawn from `noise`, then by every sweep. report hears of every iteration from the second on; the first one only
    draws the initial contexts. ends is asked after it whether Phase 1 ends here; None: where contexts have converged.
    stop is asked if it does not; it returns why to end, or None.
    shortcuts: tuned. term: of the objective; by default the published one. resume puts back the contexts, generators
    and optimizer of an earlier iteration and returns it, or None; keep is told where a later one ended. Raises Diverged
    when a loss is not finite.
    """
    trained = settings.mode == "trained"
    term = term or Term()
    num_tokens = windows.shape[0]
    parameters = models.parameters(model, 1, windows.device)
    optimizer = adam(parameters, settings.learning_rate, shortcuts) if trained else None
    share = sharing(model, windows, allowed=shortcuts.token_parts)
    take = partial(_in_blocks, shortcuts.rows_at_once) if shortcuts.row_blocks else _at_once
    num_batches = -(-num_tokens // settings.batch_tokens)
    spare = contexts.new_empty(min(settings.batch_tokens, num_tokens), contexts.shape[1])
    resumed = resume(optimizer)
    if resumed is None:
        noise.fill(contexts, INITIAL_SCALE)
    sweep = resumed or Sweep(iteration=1, convergence_rate=0.0, loss=0.0, cvfp_loss=0.0, diversity_loss=0.0)

    for iteration in range(sweep.iteration + 1, settings.max_iterations + 1):
        totals = torch.zeros(3, dtype=exact(windows.device), device=windows.device)
        before = contexts[-1].clone()  # the shift is circular
        with share():
            for rows in batches(num_tokens, settings.batch_tokens):
                previous = _disturbed(contexts, rows, before, spare, noise, settings.context_noise)
                before = contexts[rows.stop - 1].clone()  # the batch is about to be overwritten
                totals += take(model, previous, windows[rows], contexts[rows], settings, term, autocast, num_batches)
        if optimizer is not None:
            torch.nn.utils.clip_grad_norm_(parameters, settings.gradient_clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        settled_tokens, movement_sum, diversity_sum = totals.tolist()
        cvfp, diverse = movement_sum / num_batches, diversity_sum / num_batches
        sweep = Sweep(
            iteration=iteration,
            convergence_rate=settled_tokens / num_tokens,
            loss=(1 - settings.dist_reg_weight) * cvfp + settings.dist_reg_weight * diverse,
            cvfp_loss=cvfp,
            diversity_loss=diverse,
        )
        if sweep.loss - sweep.loss != 0.0:  # NaN or infinite
            whose = "" if cvfp - cvfp else f": {term.label} is {diverse}"
            raise Diverged(f"phase 1 loss is {sweep.loss} at iteration {iteration}{whose}")
        report(sweep)
        converged = settings.converged(iteration, sweep.convergence_rate)
        result = Phase1Result(contexts=contexts, last=sweep, censored=not converged)
        if ends(sweep) if ends else converged:
            return result
        reason = stop(sweep)
        if reason is not None:
            return replace(result, stopped=reason)
        keep(sweep, optimizer)
    return Phase1Result(contexts=contexts, last=sweep, censored=True)


def _at_once(
    model: TwoPhaseModel,
    previous: Tensor,
    windows: Tensor,
    contexts: Tensor,
    settings: Phase1Settings,
    term: Term,
    autocast: Callable[[], AbstractContextManager[object]],
    num_batches: int,
) -> Tensor:
    """A batch of a sweep: overwrites its contexts (B, d), adds the loss's gradient over num_batches to the parameters.

    Returns (settled tokens, cvfp loss, diversity loss) as one vector.
    """
    trained, weight = settings.mode == "trained", settings.dist_reg_weight
    with torch.set_grad_enabled(trained):
        with autocast():
            made = models.contexts(model, previous, windows)[-1].float()  # (B, d)
        moved = (made - contexts).square().mean(dim=1)  # (B,)
        movement = moved.mean()
        diversity = term(made, contexts)
        loss = (1 - weight) * movement + weight * diversity
    if trained:
        torch.autograd.backward(loss / num_batches)
    contexts.copy_(made.detach())
    settled = (moved.detach() < settings.convergence_threshold).sum()
    return torch.stack([each.detach().to(exact(made.device)) for each in (settled, movement, diversity)])


def _in_blocks(
    rows_at_once: int,
    model: TwoPhaseModel,
    previous: Tensor,
    windows: Tensor,
    contexts: Tensor,
    settings: Phase1Settings,
    term: Term,
    autocast: Callable[[], AbstractContextManager[object]],
    num_batches: int,
) -> Tensor:
    """The same as `_at_once`, by blocks of rows, with the gradient of `mean |made - old|^2 / d` written down:

    it is `2 (made - old) / (B d)`, with respect to `made` (B, d); the objective's comes from its blocked form.
    """
    trained, weight = settings.mode == "trained", settings.dist_reg_weight
    count, width = contexts.shape
    size = rows_at_once if contexts.device.type == "cpu" else count
    parts = list(batches(count, size))
    graphs, objective = [], term.blocked(contexts, trained=trained)
    for rows in parts:
        with torch.set_grad_enabled(trained), autocast():
            graph = models.contexts(model, previous[rows], windows[rows])[-1].float()
        graphs.append((graph, graph._version))
        objective.see(graph.detach())
    if any(graph._version != version for graph, version in graphs):
        raise ModelError("contexts() wrote into a tensor that it had returned before; expected a new one at each call")
    diversity = objective.value()
    pull = 2 * (1 - weight) / (count * width * num_batches)
    moves = []
    for (graph, _), rows in zip(graphs, parts, strict=True):
        made, block = graph.detach(), contexts[rows]
        block.sub_(made)  # until the backward pass is done: minus the change, then the gradient
        moves.append(torch.linalg.vector_norm(block, dim=1).square() / width)
        if trained:
            objective.add_gradient(block.mul_(-pull), made, weight, num_batches)
            torch.autograd.backward(graph, block)
        block.copy_(made)
    moved = torch.cat(moves)
    settled = (moved < settings.convergence_threshold).sum()
    return torch.stack([settled.to(diversity), moved.mean(dtype=diversity.dtype), diversity])


def batches(num_tokens: int, batch_tokens: int) -> Iterator[slice]:
    """Consecutive slices of the stream."""
    for start in range(0, num_tokens, batch_tokens):
        yield slice(start, min(start + batch_tokens, num_tokens))


def _disturbed(
    contexts: Tensor, rows: slice, before: Tensor, spare: Tensor, noise: Noise, scale: float
) -> Tensor:
    """The contexts of `shifted` plus noise, in `spare`; added to the noise, which saves a pass over them."""
    if scale == 0:
        return shifted(contexts, rows, before, spare)
    previous = spare[: rows.stop - rows.start]
    noise.fill(previous, scale)
    previous[0] += before
    previous[1:] += contexts[rows.start : rows.stop - 1]
    return previous


def shifted(contexts: Tensor, rows: slice, before: Tensor, spare: Tensor) -> Tensor:
    """The contexts of the tokens before `rows`, copied into `spare`; `before` (d,) stands before the first of them."""
    return torch.cat([before.unsqueeze(0), contexts[rows.start : rows.stop - 1]], out=spare[: rows.stop - rows.start])


def adam(parameters: list[torch.nn.Parameter], learning_rate: float, shortcuts: Shortcuts) -> torch.optim.Optimizer:
    """Adam, as one kernel where that is allowed and exists; the kernel would write beyond what has become smaller."""
    if not parameters:
        raise ModelError("there are no parameters to train; expected some for the phase")
    fused = shortcuts.fused_optimizer and all(parameter.device.type in ("cpu", "cuda") for parameter in parameters)
    made = torch.optim.Adam(parameters, lr=learning_rate, fused=fused or None)
    forms = [(each.shape, each.dtype, each.device) for each in parameters]

    def unchanged(*_: object) -> None:
        if [(each.shape, each.dtype, each.device) for each in parameters] != forms:
            raise ModelError("a parameter has another shape, dtype or device than before; expected all to keep theirs")

    made.register_step_pre_hook(unchanged)
    return made
