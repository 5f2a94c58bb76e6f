"""A configuration nobody trained: `python benchmarks/new_configuration.py [--runs PATH] [--count N]`.

On measured runs, every configuration is left out of everything, in whatever experiment it stands, and each of its runs
is predicted at its own size: error, coverage of the nominal 95 % interval of a new run, median width against that of
the residual t interval (least squares of the same form, all runs independent). In simulation, with the truth known:
coverage of one run of a new configuration, at the largest size and at four times that.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cvfp_core.fitting import mixed
from cvfp_core.fitting.linear import least_squares, t_quantile
from cvfp_core.fitting.points import gather
from cvfp_core.ingesting.reading import read_records
from cvfp_core.schema.fits import Array, Points
from cvfp_core.schema.quantities import QUANTITIES

SETS = ([], ["val_er"], ["phase1_iterations"], ["context_dim"], ["num_layers"], ["num_input_tokens"],
        ["val_er", "phase1_iterations"], ["val_er", "phase1_iterations", "context_dim"])
SIZES = np.array([62_891, 122_795, 240_132, 587_970], dtype=float)
WITHIN = 0.03
"""Standard deviation of a run's log perplexity within its configuration."""


def residual_t(points: Points, made: mixed.Mixed, at: Points) -> Array:
    """(m, 2) the interval of least squares of the model's form, as if all runs were independent."""
    def design(inputs: Points) -> Array:
        size, *covariates = (np.log(values) if at.quantity(name).kind == "size" else values
                             for name, values in inputs.inputs.items())
        size = size - made.centre[0]
        return np.column_stack([size**power for power in range(made.degree + 1)] + covariates)

    line = least_squares(design(points), np.log(points.response), np.arange(points.n))
    assert line is not None
    assert line.variance.value is not None
    rows = design(at)
    spread = line.variance.value * (1 + np.einsum("ni,ij,nj->n", rows, line.inverse, rows))
    half = t_quantile(line.variance.dof) * np.sqrt(spread)
    return np.exp((rows @ line.coefficients)[:, None] + half[:, None] * [-1, 1])


def left_out(points: Points) -> dict[str, float]:
    """Error, coverage and width over the runs of configurations left out."""
    errors, held, widths, plain = [], [], [], []
    for label in np.unique(points.series):
        out = points.take(points.series == label)
        rest = points.take(points.series != label)
        made = mixed.fit(rest)
        for i, actual in enumerate(out.response):
            told = made.predict({name: values[i] for name, values in out.inputs.items()})
            if told.value is None or told.run_low is None or told.run_high is None:
                raise ValueError(told.reason)
            errors.append(abs(told.value / actual - 1))
            held.append(told.run_low <= actual <= told.run_high)
            widths.append(told.run_high - told.run_low)
        plain.append(np.ptp(residual_t(rest, made, out), axis=1))
    return {"error": float(np.mean(errors)), "held": float(np.mean(held)), "runs": len(held),
            "width": float(np.median(widths) / np.median(np.concatenate(plain)))}


def simulated(configurations: int, between: float, effect: float, tails: str, rng: np.random.Generator) -> Points:
    """Runs at four sizes of configurations that differ by `between`, and by `effect` a standard deviation of val_er."""
    score = rng.standard_normal(configurations)
    own = rng.standard_normal(configurations) if tails == "normal" else rng.standard_t(3, configurations) / np.sqrt(3)
    level = 5.8 + between * own + effect * score
    curve = _curve(SIZES)
    log = (level[:, None] + curve + WITHIN * rng.standard_normal((configurations, len(SIZES)))).ravel()
    return Points(inputs={"train_tokens": np.tile(SIZES, configurations),
                          "val_er": np.repeat(0.78 + 0.05 * score, len(SIZES))},
                  response=np.exp(log), series=np.repeat([f"{i:03d}" for i in range(configurations)], len(SIZES)),
                  declared={name: QUANTITIES[name] for name in ("train_tokens", "val_er", "val_ppl")})


def coverage(configurations: int, between: float, effect: float, tails: str, count: int) -> dict[str, float]:
    """Of one run of a new configuration, at the largest size and beyond; the width against that of known parameters."""
    rng = np.random.default_rng(7)
    held, widths = [], []
    places = SIZES[-1] * np.array([1.0, 4.0])
    for _ in range(count):
        points = simulated(configurations + 1, between, effect, tails, rng)
        new = points.series == np.unique(points.series)[-1]
        made = mixed.fit(points.take(~new))
        er = float(points.inputs["val_er"][new][0])
        level = float(np.log(points.response[new][-1]) - _curve(SIZES)[-1])  # its effect and the noise of its last run
        for place in places:
            log, _, error = made.at({"train_tokens": float(place), "val_er": er})
            half = t_quantile(made.dof) * error
            held.append(abs(log - level - _curve(place)) <= half)
            widths.append(half / (1.96 * np.hypot(between, WITHIN)))
    inside, beyond = np.reshape(held, (-1, 2)).mean(0)
    return {"held": float(inside), "held at 4x": float(beyond), "width": float(np.median(widths[::2]))}


def _curve(tokens: Array) -> Array:
    log = np.log(tokens / 2e5)
    return np.asarray(-0.5 * log + 0.06 * log**2)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    shared = Path(os.environ.get("CVFP_SHARED", Path(__file__).parents[2] / "shared"))
    parser.add_argument("--runs", type=Path, default=shared / "data" / "newllm")
    parser.add_argument("--count", type=int, default=200, help="simulations a row; 0: none")
    asked = parser.parse_args(argv)
    start = time.process_time()
    records = read_records([asked.runs]) if asked.runs.exists() else None
    for names in SETS if records is not None else ():
        found = left_out(gather(records, ["train_tokens", *names], "val_ppl", ["variant"], QUANTITIES))
        print(f"{', '.join(names) or 'no covariate'}: error {found['error']:.2%}, {found['held']:.1%} of "
              f"{found['runs']} runs held, width {found['width']:.2f} of the residual t interval", flush=True)
    for configurations, between, effect, tails in (
        (6, 0.05, 0.0, "normal"), (12, 0.05, 0.0, "normal"), (12, 0.05, 0.0, "t3"), (12, 0.05, 0.05, "normal"),
        (12, 0.0, 0.0, "normal"), (24, 0.05, 0.05, "t3"),
    ) if asked.count else ():
        rates = coverage(configurations, between, effect, tails, asked.count)
        print(f"{configurations} configurations, {tails} {between:g}, val_er {effect:g}: "
              + ", ".join(f"{name} {value:.3f}" for name, value in rates.items()), flush=True)
    print(f"{asked.count} simulations a row, {time.process_time() - start:.0f} CPU seconds")


if __name__ == "__main__":
    main()
