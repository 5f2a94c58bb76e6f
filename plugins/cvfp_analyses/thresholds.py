"""Every number that was proposed, in one place. Source: the report on predicting Phase 2 from Phase 1, 2025-11-30.

Standard library only: it is part of the shop window.
"""

from __future__ import annotations

from cvfp_core.registry.kinds import Light

LIGHTS = (
    Light(name="val_er", title="effective rank of validation contexts", metric="val_er", better="higher",
          green=0.80, red=0.75, percent=True),
    Light(name="phase1_iterations", title="iterations until converged", metric="phase1_iterations", better="lower",
          green=25, red=30),
    Light(name="er_gap", title="train ER above val ER", metric="train_er - val_er", better="lower",
          green=0.02, red=0.05, percent=True),
)

LARGEST_GAP = 2.0
"""Points of effective rank that training contexts are said to lie above validation contexts at most."""
CONSTANT_MARGIN = 0.25
"""Our choice: points per doubling of data below which effective rank counts as constant; one point over 16 times."""

LOW_RANK_ITERATION, LOW_RANK = 20, 0.70
"""Stop where Val ER is below this at this iteration."""
STALLED_ITERATION, STALLED_FOR = 15, 5
"""Stop where the convergence rate has not risen since this iteration; our choice: for so many iterations."""
LOSS_WINDOW = 5
"""Our choice: the loss is not falling if its mean over so many iterations is not below that of as many before."""

FORECAST_EPOCHS = tuple(dict.fromkeys(round(3 * 1.25**i) for i in range(32)))
"""Epochs of Phase 2 after which its final perplexity is forecast: 3, 4, 5, 6, 7, 9, 11, 14..."""
FORECAST_LEVEL = 0.99
"""Of the interval that must be worse as a whole."""
