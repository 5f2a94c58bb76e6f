"""Speed and quality of fits: `python benchmarks/fitting.py DATA [--chinchilla]`, `... --commands [--count 5]`.

DATA: a folder with chinchilla.csv (245 points read off Figure 4 of arXiv:2203.15556 by arXiv:2404.10102) and
nanogpt_width.csv (final losses of small GPTs over width). --chinchilla also times the package of that name from PyPI at
the grid of its README. --commands: CPU seconds of the commands that fit and forecast, least of so many runs, beside
their targets, on one thread.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from cvfp_core.fitting import fit_series, predict_all
from cvfp_core.fitting.bootstrap import resampled
from cvfp_core.fitting.curve_fit import solve_points
from cvfp_core.fitting.curves import Curve
from cvfp_core.fitting.run import grouped
from cvfp_core.fitting.search import solve
from cvfp_core.registry import installed
from cvfp_core.registry.kinds import Fitter, Law, LeastSquares
from cvfp_core.schema.fits import Points
from cvfp_core.schema.records import Record, frame


def timed(what: Callable[[], object], repeats: int = 30) -> tuple[float, float]:
    """Least and median wall time of one call, in milliseconds."""
    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        what()
        spent.append(1e3 * (time.perf_counter() - start))
    return min(spent), float(np.median(spent))


def surface(data: Path, compare: bool) -> None:
    table = pl.read_csv(data / "chinchilla.csv").sort("loss").head(-5)
    sizes, flop, loss = (table[name].to_numpy() for name in ("Model Size", "Training FLOP", "loss"))
    points = Points(inputs={"params": sizes, "train_tokens": flop / (6 * sizes)}, response=loss, name="val_loss",
                    series=np.full(len(loss), "c", dtype=object))
    law = installed().get(Law, "chinchilla")
    best = solve_points(law, points)
    print(f"Huber sum {best.optimum.rss[0] / 2:.6e} at E, A, alpha, B, beta = "
          f"{np.array2string(best.optimum.parameters[0], precision=5)}")
    ours = timed(lambda: solve_points(law, points))
    print(f"one Huber fit: {ours[0]:.2f} ms (median {ours[1]:.2f})")
    plain = replace(law, loss=LeastSquares())
    squares = timed(lambda: solve_points(plain, points))
    print(f"one least-squares fit: {squares[0]:.2f} ms (median {squares[1]:.2f})")

    def drawn(count: int) -> np.ndarray:
        return resampled(best.curve, best.target, best.optimum, count=count)

    many = timed(lambda: drawn(1000), 5)
    print(f"1,000 bootstrap fits: {many[0] / 1e3:.3f} s (median {many[1] / 1e3:.3f})")
    errors = drawn(4000).std(axis=0, ddof=1)
    print(f"standard errors of 4,000: E {errors[0]:.4f}, alpha {errors[2]:.4f}, beta {errors[4]:.4f}")
    if compare:
        package(sizes, points.inputs["train_tokens"], loss, ours[1])


def package(sizes: np.ndarray, tokens: np.ndarray, loss: np.ndarray, ours: float) -> None:
    """The `chinchilla` package (0.2.0) on the same runs and loss, from the starts of its README, in one process."""
    import tempfile

    import pandas as pd
    from chinchilla import Chinchilla

    exponents = np.linspace(0.1, 0.7, 5)
    grid = {"E": np.linspace(1, 2, 5), "a": np.linspace(1, 10, 5), "b": np.linspace(1, 10, 5), "alpha": exponents,
            "beta": exponents}
    with tempfile.TemporaryDirectory() as folder:
        theirs = Chinchilla(folder, param_grid=grid, log_level=50,
                            loss_fn=lambda true, predicted: _huber(np.log(true) - np.log(predicted)))
        theirs.database.df = pd.DataFrame({"C": 6 * sizes * tokens, "N": sizes, "D": tokens, "loss": loss})
        theirs.visualizer.optim = lambda *_, **__: None  # its plot is not timed
        start = time.perf_counter()
        with np.errstate(all="ignore"):
            theirs.fit(parallel=False)
        spent = time.perf_counter() - start
    model = theirs.E + theirs.A * sizes**-theirs.alpha + theirs.B * tokens**-theirs.beta
    reached = float(np.sum(_huber(np.log(loss) - np.log(model))))
    print(f"package chinchilla, {5**5} starts: {spent:.1f} s, Huber sum {reached:.6e} at E {theirs.E:.4f}, alpha "
          f"{theirs.alpha:.4f}, beta {theirs.beta:.4f}; {1e3 * spent / ours:,.0f} times as long")


def _huber(residual: np.ndarray, delta: float = 1e-3) -> np.ndarray:
    size = np.abs(residual)
    return np.where(size <= delta, residual**2 / 2, delta * (size - delta / 2))


def curves() -> None:
    tokens = 6e4 * 2.0 ** np.arange(5)
    rng = np.random.default_rng(0)
    targets = np.log(90 + 1e5 * tokens**-0.5) + 0.01 * rng.standard_normal((2000, 5))
    records = frame(Record(run_id=str(i), experiment="e", variant="v", train_tokens=int(t), val_ppl=float(np.exp(y)))
                    for i, (t, y) in enumerate(zip(tokens, targets[0], strict=True)))
    for name in ("saturating", "exp-decay", "hill"):
        law = installed().get(Fitter, name)
        curve = Curve(law, {"train_tokens": tokens})
        many = timed(lambda curve=curve: solve(curve, targets), 5)
        one = timed(lambda curve=curve: solve(curve, targets[:1]), 20)
        whole = timed(lambda name=name: fit_series(records, name), 5)
        print(f"{name}: 2,000 fits {many[0]:.0f} ms ({many[0] / 2:.0f} us each), one {one[0]:.1f} ms, "
              f"one with all intervals {whole[0]:.0f} ms")


def widths(data: Path) -> None:
    table = pl.read_csv(data / "nanogpt_width.csv").sort("series", "n_embd")
    records = frame(
        Record(run_id=f"{row['series']}-{row['n_embd']}", experiment="gpt", variant=f"s{row['series']}",
               train_tokens=row["n_embd"], val_ppl=row["loss"])
        for row in table.filter(pl.col("n_embd") < 192).to_dicts())
    actual = table.filter(n_embd=192)["loss"].to_numpy()
    at = {"train_tokens": np.array([192.0])}
    for name in ("power-law", "saturating", "exp-decay", "hill"):
        solved = [solve_points(installed().get(Fitter, name), points) for points in grouped(records)]
        errors = np.array([s.curve.values(s.optimum.parameters, at)[0, 0] for s in solved]) / actual - 1
        print(f"{name}: mean error of the sixth size {np.abs(errors).mean():.2%}")
    forecast = predict_all(records, 192)
    errors = np.array([each.value for each in forecast.predictions]) / actual - 1
    inside = [each.run_low <= truth <= each.run_high for each, truth in zip(forecast.predictions, actual, strict=True)]
    print(f"auto: {np.abs(errors).mean():.2%} ({forecast.choice.law}, {forecast.choice.reason}); "
          f"{sum(inside)} of {len(inside)} inside the new-run interval")


def commands(count: int) -> None:
    from report import EXAMPLE, measure, written  # beside this file

    imports = measure_imports(count)
    print(f"imports of `fit`: {imports:.2f}")
    at = ["--at", "train_tokens=1e7"]
    with tempfile.TemporaryDirectory() as folder:
        rows = [(["show", EXAMPLE], imports + 0.2), (["fit", EXAMPLE], imports + 0.2),
                (["predict", EXAMPLE, *at], imports + 0.7), (["report", EXAMPLE, "--template", "fits"], 3.0)]
        for series, fit, predict in ((5, 1.0, 1.2), (50, 1.2, 2.5), (500, 3.0, 12.0)):
            runs = written(series, Path(folder))
            rows += [(["fit", runs, "--law", "saturating"], fit), (["predict", runs, *at], predict)]
        for words, target in rows:
            _, cpu = measure(list(map(str, words)), count)
            name = " ".join([words[0], words[1].name, *words[2:]])
            print(f"{name}: {cpu:.2f} s CPU (target {target:.2f})", flush=True)


def measure_imports(count: int) -> float:
    """CPU seconds of importing what `fit` imports, in a fresh interpreter."""
    import subprocess

    program = ("import polars, numpy, scipy.special, typer, rich.table, pluggy; from time import process_time; "
               "print(process_time())")
    return min(float(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout)
               for _ in range(count))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--chinchilla", action="store_true")
    parser.add_argument("--commands", action="store_true")
    parser.add_argument("--count", type=int, default=5)
    asked = parser.parse_args()
    if asked.commands:
        commands(asked.count)
    if asked.data is None:
        return
    surface(asked.data, asked.chinchilla)
    curves()
    widths(asked.data)


if __name__ == "__main__":
    main()
