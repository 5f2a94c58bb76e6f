"""The floating-point operations of a run, by a convention that needs no model and no torch."""


def sweep_flops(params_context: int, train_tokens: int, *, trained: bool = True) -> float:
    """Estimated operations of an iteration of Phase 1: 2 per parameter and token forward, 4 more backward."""
    return float((6 if trained else 2) * params_context * train_tokens)


def phase1_flops(params_context: int, train_tokens: int, val_tokens: int, iterations: int, *,
                 trained: bool = True) -> float:
    """Those of all of Phase 1.

    Iteration 1 computes nothing; after the last one every context layer is computed once for either stream, and the
    validation stream once more before that. Norms, activations, ranks and the optimizer are left out.
    Convention: arXiv:2001.08361, section 2.1.
    """
    sweeps = sweep_flops(params_context, train_tokens, trained=trained) * max(iterations - 1, 0)
    return float(sweeps + 2 * params_context * (train_tokens + 2 * val_tokens))


def phase2_flops(params_phase2: int, params_head: int, train_tokens: int, val_tokens: int, epochs: int) -> float:
    """Those of Phase 2; the frozen head costs 2 forward and 2 backward."""
    train = (6 * params_phase2 + 4 * params_head) * train_tokens
    return float(epochs * (train + 2 * (params_phase2 + params_head) * val_tokens))


def run_flops(
    params_context: int,
    params_phase2: int,
    params_head: int,
    train_tokens: int,
    val_tokens: int,
    iterations: int,
    epochs: int,
    *,
    trained: bool = True,
) -> float:
    """Those of both phases."""
    return (phase1_flops(params_context, train_tokens, val_tokens, iterations, trained=trained)
            + phase2_flops(params_phase2, params_head, train_tokens, val_tokens, epochs))
