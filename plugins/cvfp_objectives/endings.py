"""Ways to end Phase 1 beside its convergence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cvfp_core.registry.kinds import Iteration
from cvfp_core.schema.settings import Phase1Settings


def checked(iteration: int, options: Mapping[str, Any]) -> bool:
    """Whether Val ER is measured after the iteration."""
    return bool(iteration % options["every"] == 0)


def no_better(iterations: Sequence[Iteration], settings: Phase1Settings, options: Mapping[str, Any]) -> bool:
    """Whether the last `patience` checks of Val ER were no better than the best one before them."""
    del settings
    checks, patience = _checks(iterations, options), options["patience"]
    return (checked(iterations[-1].iteration, options) and len(checks) > patience
            and max(checks[-patience:]) <= max(checks[:-patience]))


def is_best(iterations: Sequence[Iteration], options: Mapping[str, Any]) -> bool:
    """Whether the last iteration is the check with the highest Val ER, where the best contexts are asked for."""
    checks = _checks(iterations, options)
    return (options["contexts"] == "best" and checked(iterations[-1].iteration, options)
            and checks[-1] > max(checks[:-1], default=0.0))


def all_done(iterations: Sequence[Iteration], settings: Phase1Settings, options: Mapping[str, Any]) -> bool:
    """Whether there were as many iterations as asked for."""
    del options
    return iterations[-1].iteration >= settings.max_iterations


def _checks(iterations: Sequence[Iteration], options: Mapping[str, Any]) -> list[float]:
    return [each.val_er for each in iterations if each.val_er is not None and checked(each.iteration, options)]
