"""The two areas of a learning-rate schedule, which are the inputs of law `lr-annealing`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cvfp_core.schema.fits import Array


def areas(learning_rates: Sequence[float] | Array, decay: float = 0.999) -> tuple[Array, Array]:
    """(steps,) forward area and (steps,) annealing area after each step. Source: arXiv:2408.11029.

    learning_rates: (steps,) of every step, warm-up left out. decay: of the memory of a fall, by step.

        areas([1.0, 1.0, 0.5])  # (array([1. , 2. , 2.5]), array([0. , 0. , 0.5]))
    """
    from scipy.signal import lfilter

    rates = np.asarray(learning_rates, dtype=float)
    falls = -np.diff(rates, prepend=rates[:1])
    return np.cumsum(rates), np.cumsum(lfilter([1.0], [1.0, -decay], falls))
