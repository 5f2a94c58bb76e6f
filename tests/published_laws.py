"""Known parameters and a design for each published law, at which its parameters can be told apart."""

import numpy as np


def grid(**axes):
    """Every combination of the values, by name."""
    return dict(zip(axes, (each.ravel() for each in np.meshgrid(*axes.values(), indexing="ij")), strict=True))


def design(**ranges):
    """60 combinations spread over the logarithms of these ranges, always the same."""
    share = np.random.default_rng(1).random((len(ranges), 60))
    return {name: low * (high / low) ** u for (name, (low, high)), u in zip(ranges.items(), share, strict=True)}


def repeated():
    """Runs that see every unique token at least once."""
    made = grid(params=np.geomspace(1e7, 4e9, 5), unique_tokens=np.geomspace(1e8, 5e10, 4),
                repeats=np.array([1.0, 2.0, 5.0, 15.0, 50.0]))
    return {"params": made["params"], "tokens_seen": made["unique_tokens"] * made["repeats"],
            "unique_tokens": made["unique_tokens"]}


N_D = grid(params=np.geomspace(1e7, 1e10, 5), train_tokens=np.geomspace(1e9, 1e11, 5))
EXPERTS = grid(num_experts=2.0 ** np.arange(10), dense_params=np.geomspace(1e7, 1e9, 5))
TUNED = design(learning_rate=(1e-4, 2e-2), batch_tokens=(5e4, 4e6), train_tokens=(2e9, 1e11), params=(1e8, 1e9))
WORDS = design(params_non_embedding=(3e7, 1e9), vocab_size=(4e3, 1e5), num_characters=(2e8, 2e11))
SIZES = {"E": 1.3, "A": 0.6, "alpha": 0.3, "B": 0.35, "beta": 0.35}
OPTIMA = {"m": 0.03, "h": 0.02, "lr0": 1e-3, "a": -0.7, "b": 0.3, "batch0": 4e5, "d": 0.57}
TRUTHS = {
    "kaplan": ({"Nc": 8.8e13, "alpha": 0.076, "Dc": 5.4e13, "beta": 0.095}, N_D),
    "chinchilla-shared": ({"E": 1.7, "A": 400.0, "B": 1500.0, "alpha": 0.34}, N_D),
    "multiplicative": ({"E": 1.5, "A": 100.0, "alpha": 0.12, "beta": 0.08}, N_D),
    "data-constrained": ({"E": 1.87, "B": 1488.0, "alpha": 0.353, "k": 0.051, "R_N": 5.3, "R_D": 15.4}, repeated()),
    "data-repeated": ({"E": 1.8, "A": 500.0, "alpha": 0.35, "B": 1500.0, "beta": 0.36, "R": 8.0}, repeated()),
    "broken-power-law": ({"E": 2.0, "A": 50.0, "alpha": 0.1, "beta": 0.4, "x1": 1e6, "f": 0.4},
                         {"train_tokens": np.geomspace(1e3, 1e10, 24)}),
    "rectified": ({"E": 1.2, "A": 2.8, "t0": 2e4, "beta": 0.5},
                  {"num_samples": np.array([0, *200 * 2.0 ** np.arange(13)])}),
    "rectified-gap": ({"E": 1.2, "A": 2.0, "J": 0.8, "t0": 2e4, "beta": 0.5},
                      {"num_samples": np.array([0, *200 * 2.0 ** np.arange(13)])}),
    "u-shape": ({"E": 0.3, "A": 0.02, "x0": 3e20}, {"flops": np.geomspace(1e18, 1e23, 12)}),
    "accuracy-of-loss": ({"low": 0.25, "rise": 0.6, "k": 4.0, "L0": 2.6}, {"val_loss": np.linspace(1.8, 3.8, 14)}),
    "moe": ({"A": 2.5, "a": -0.09, "b": -0.04, "c": 0.004, "start": 3.0, "beyond": 300.0}, EXPERTS),
    "moe-floor": ({"E": 1.4, "A": 1.0, "alpha": 0.17, "beta": 0.08, "start": 3.0}, EXPERTS),
    "step-law": ({**SIZES, **OPTIMA}, TUNED),
    "step-law-coupled": ({**SIZES, **OPTIMA, "c": 0.35}, TUNED),
    "vocabulary": ({"E": -5.8, "A": 0.5, "alpha": 0.4, "C": 0.3, "gamma": 0.6, "B": 0.9, "beta": 0.35}, WORDS),
    "vocabulary-joint": ({"E": -6.0, "C": -0.07, "B": 1.2, "alpha": 0.3, "beta": 0.35, "g": 0.1, "k": 0.8}, WORDS),
    "domain-share": ({"E": 2.0, "B": 0.5, "beta": 0.3, "alpha": 0.1},
                     grid(domain_share=np.array([0.05, 0.1, 0.3, 0.6, 1.0]), train_tokens=np.geomspace(1e9, 1e11, 5))),
    "parallel-scaling": ({"E": 1.2, "A": 0.9, "alpha": 0.2, "k": 0.35},
                         grid(params=np.geomspace(5e8, 5e9, 5), num_streams=np.array([1.0, 2.0, 4.0, 8.0]))),
    "lr-annealing": ({"E": 2.6, "A": 0.5, "alpha": 0.5, "C": 0.3},
                     grid(lr_area=np.geomspace(0.2, 20, 6), annealing_area=np.array([0.0, 0.1, 0.4]))),
}
"""Law -> parameters and inputs; what is published stands as published, the rest is near fits to published tables."""
