"""What events of a grid say, in a few words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def describe_phase(values: Mapping[str, Any]) -> str:
    """What a finished phase measured, in a few words."""
    if values["phase"] == 1:
        if values.get("phase1_iterations") is None:
            return "phase 1 left out (zero context)"
        limit = " (stopped)" if values.get("stopped_by") else " (the limit)" if values["phase1_censored"] else ""
        return (
            f"phase 1: {values['phase1_iterations']} iterations{limit}, {values['convergence_rate']:.1%} converged, "
            f"ER {values['train_er']:.1%} train {values['val_er']:.1%} val, {values['seconds_phase1']:.1f} s"
        )
    limit = " (the limit)" if values["phase2_censored"] else ""
    return (
        f"phase 2: best of {values['epochs']} epochs is {values['best_epoch']}{limit}, PPL "
        f"{values['train_ppl']:.1f} train {values['val_ppl']:.1f} val, "
        f"accuracy {values['val_acc']:.1%}, {values['seconds_phase2']:.1f} s"
    )


def describe_resumed(values: Mapping[str, Any]) -> str:
    """Where a cell that was begun again goes on."""
    if not values["step"]:
        return "goes on from its checkpoint at the end of phase 1"
    what = "iteration" if values["phase"] == 1 else "epoch"
    return f"goes on from its checkpoint after {what} {values['step']} of phase {values['phase']}"
