"""The stop rules: what an observer of a run would end it for."""

from __future__ import annotations

from collections.abc import Sequence

from cvfp_analyses.thresholds import (
    FORECAST_EPOCHS,
    LOSS_WINDOW,
    LOW_RANK,
    LOW_RANK_ITERATION,
    STALLED_FOR,
    STALLED_ITERATION,
)
from cvfp_core.registry.kinds import Iteration, StopRule
from cvfp_core.registry.lazy import lazy


def low_rank(iterations: Sequence[Iteration]) -> str | None:
    """Val ER is too low at the iteration where it is looked at."""
    last = iterations[-1]
    if last.iteration != LOW_RANK_ITERATION or last.val_er is None or last.val_er >= LOW_RANK:
        return None
    return f"Val ER is {last.val_er:.1%} at iteration {last.iteration}, below {LOW_RANK:.0%}"


def stalled(iterations: Sequence[Iteration]) -> str | None:
    """The convergence rate has not risen since a certain iteration."""
    last = iterations[-1]
    if last.iteration < STALLED_ITERATION + STALLED_FOR:
        return None
    rates = {each.iteration: each.convergence_rate for each in iterations if each.convergence_rate is not None}
    later = [rate for iteration, rate in rates.items() if iteration > STALLED_ITERATION]
    if STALLED_ITERATION not in rates or not later or max(later) > rates[STALLED_ITERATION]:
        return None
    return (f"the convergence rate has not risen from {rates[STALLED_ITERATION]:.1%} between iterations "
            f"{STALLED_ITERATION} and {last.iteration}")


def rising_loss(iterations: Sequence[Iteration]) -> str | None:
    """The CVFP loss (or, where it is not measured, the whole loss) is not falling any more."""
    if iterations[-1].iteration < STALLED_ITERATION:
        return None
    recent = iterations[-2 * LOSS_WINDOW:]
    losses = [each.cvfp_loss for each in recent]
    if None in losses:
        losses = [each.loss for each in recent]
    known = [loss for loss in losses if loss is not None]
    if len(known) < 2 * LOSS_WINDOW:
        return None
    before, after = sum(known[:LOSS_WINDOW]) / LOSS_WINDOW, sum(known[LOSS_WINDOW:]) / LOSS_WINDOW
    if after < before:
        return None
    return f"the loss is not falling: {before:.4g}, then {after:.4g}, over {LOSS_WINDOW} iterations each"


STOP_RULES = (
    StopRule(name="low-er", title=f"Val ER below {LOW_RANK:.0%} at iteration {LOW_RANK_ITERATION}", stops=low_rank,
             val_er_at=(LOW_RANK_ITERATION,)),
    StopRule(name="stalled", title=f"no rise of the convergence rate after iteration {STALLED_ITERATION}",
             stops=stalled),
    StopRule(name="loss-not-falling", title=f"CVFP loss not falling, from iteration {STALLED_ITERATION}",
             stops=rising_loss),
    StopRule(name="forecast", title=f"final Val PPL forecast worse than another series' at equal data, from epoch "
             f"{FORECAST_EPOCHS[0]}", ends=lazy("cvfp_analyses.outlook:worse_than_rivals")),
)
