"""Coverage of nominal 95 % intervals in simulation: `python benchmarks/coverage.py [simulations]`.

Truths with and without a floor on the scales of perplexity and of loss, multiplicative normal noise, sizes doubling.
The prediction is of a new run at ten times the largest size, by the power law and by the automatic choice, whose steps
are those of `cvfp predict`, done for all simulations at once.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from cvfp_core.fitting.auto import candidates, interval_laws
from cvfp_core.fitting.curves import Curve
from cvfp_core.fitting.linear import least_squares, t_quantile
from cvfp_core.fitting.profiles import profile_ends, run_ends
from cvfp_core.fitting.search import Goal, solve
from cvfp_core.fitting.selection import Total, decide, score, widening
from cvfp_core.registry import installed
from cvfp_core.schema.fits import Points

TRUTHS = {
    "ppl, no floor": (0.0, 1e5, -0.5),
    "ppl, floor": (100.0, 1e5, -0.5),
    "loss, no floor": (0.0, 30.0, -0.2),
    "loss, floor": (2.0, 60.0, -0.3),
}
LAWS = candidates(installed())
NAMES = [law.name for law in LAWS]


def simulate(truth: tuple[float, float, float], noise: float, n: int, count: int, seed: int) -> dict[str, float]:
    """Coverage and median width of each interval for one truth."""
    floor, size, alpha = truth
    rng = np.random.default_rng(seed)
    tokens = 6e4 * 2.0 ** np.arange(n)
    far = 10 * tokens[-1]
    targets = np.log(floor + size * tokens**alpha) + noise * rng.standard_normal((count, n))
    new = np.log(floor + size * far**alpha) + noise * rng.standard_normal(count)
    inputs, at = {"train_tokens": tokens}, {"train_tokens": np.array([far])}
    out: dict[str, float] = {}

    line = np.stack([np.ones(n), np.log(tokens)], axis=1)
    inverse = np.linalg.inv(line.T @ line)
    slope = targets @ line @ inverse
    sigma = np.sqrt(np.square(targets - slope @ line.T).sum(1) / (n - 2))
    row = np.array([1, np.log(far)])
    half = t_quantile(n - 2) * sigma * np.sqrt(1 + row @ inverse @ row)
    out["power-law alpha"] = float(np.mean(np.abs(slope[:, 1] - alpha) <= t_quantile(n - 2) * sigma * np.sqrt(
        inverse[1, 1])))
    out["power-law run"] = float(np.mean(np.abs(slope @ row - new) <= half))

    law = LAWS[NAMES.index("saturating")]
    curve = Curve(law, inputs)
    best = solve(curve, targets)
    ones = np.ones_like(targets)
    goal = Goal(target=np.zeros(count), weight=np.ones(count), parameter=np.full(count, 2),
                log=np.zeros(count, dtype=bool))
    allowed = t_quantile(n - 3) ** 2 * np.maximum(best.rss / (n - 3), 1e-20)
    low, high = (
        profile_ends(curve, targets, ones, best, goal, step=np.full(count, 0.1), allowed=allowed,
                     sign=np.full(count, sign), limit=np.full(count, limit), tolerance=1e-3)
        for sign, limit in ((-1.0, -np.inf), (1.0, 0.0))
    )
    bounded = np.isfinite(low)
    out["saturating alpha"] = float(np.mean((low <= alpha) & (alpha <= high)))
    out["alpha unbounded"] = float(np.mean(~bounded))

    scores = [score(each, inputs, targets) for each in LAWS if n > len(each.parameters)]
    names = [each.name for each in LAWS if n > len(each.parameters)]
    chosen = np.array([
        decide({name: Total(parameters=s.parameters, rss=float(s.rss[i]), dof=s.dof, errors=s.errors[i])
                for name, s in zip(names, scores, strict=True)})
        for i in range(count)
    ])
    points = Points(inputs=inputs, response=tokens, series=np.array(["s"] * n, dtype=object))
    widened = np.zeros(count, dtype=bool)
    value, under, over = np.full(count, np.nan), np.full(count, np.nan), np.full(count, np.nan)
    for name in names:
        rows = chosen == name
        out[f"chose {name}"] = float(rows.mean())
        own = LAWS[NAMES.index(name)]
        if not rows.any():
            continue
        mine = Curve(own, inputs)
        value[rows] = mine.fitted(solve(mine, targets[rows]).parameters, at)[:, 0]
        for carrier in interval_laws(own, LAWS, points):
            curve = Curve(carrier, inputs)
            fit = solve(curve, targets[rows])
            dof = n - len(carrier.parameters)
            _, a, b = run_ends(curve, targets[rows], ones[rows], fit, at, variance=fit.rss / dof, dof=dof)
            factor = widening(carrier, inputs, targets[rows])
            under[rows] = np.fmin(under[rows], value[rows] + factor * (a - value[rows]))
            over[rows] = np.fmax(over[rows], value[rows] + factor * (b - value[rows]))
            widened[rows] |= factor > 1
    out["widened"] = float(widened.mean())
    out["auto run"] = float(np.mean((under <= new) & (new <= over)))
    out["auto median width"] = float(np.exp(np.median(over - under)))
    out["auto median error"] = float(np.median(np.abs(np.expm1(value - new))))
    return out


def repeats(count: int, shared: float, seed: int) -> tuple[float, float]:
    """Coverage of the power law's alpha with three seeds at each of five sizes, 2 % noise; pooled, and all runs alike.

    shared: standard deviation of what all seeds of a size have in common, such as documents: not independent evidence.
    """
    rng = np.random.default_rng(seed)
    tokens = np.repeat(6e4 * 2.0 ** np.arange(5), 3)
    x = np.log(tokens) - np.log(tokens).mean()
    design = np.stack([x, np.ones(15)], axis=1)
    held = alike = 0
    for _ in range(count):
        y = -0.5 * x + 0.02 * rng.standard_normal(15) + shared * np.repeat(rng.standard_normal(5), 3)
        for cells, pooled in ((tokens, True), (np.arange(15), False)):
            low, high = least_squares(design, y, cells).interval(0)
            if pooled:
                held += low <= -0.5 <= high
            else:
                alike += low <= -0.5 <= high
    return held / count, alike / count


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print(f"{count} simulations each; nominal 95 %, so +-{1.96 * np.sqrt(0.95 * 0.05 / count):.1%} is chance")
    print("| truth | noise | n | alpha: power-law | alpha: saturating (unbounded) | 10x run: power-law | 10x run: auto "
          "| auto width x | chose power-law / saturating / other | widened |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for seed, ((name, truth), noise, n) in enumerate(
            (t, noise, n) for t in TRUTHS.items() for noise in (0.005, 0.02) for n in (4, 5, 8)):
        start = time.perf_counter()
        r = simulate(truth, noise, n, count, seed)
        rest = max(1 - r["chose power-law"] - r["chose saturating"], 0.0)
        print(f"| {name} | {noise:.1%} | {n} | {r['power-law alpha']:.3f} | {r['saturating alpha']:.3f} "
              f"({r['alpha unbounded']:.2f}) | {r['power-law run']:.3f} | {r['auto run']:.3f} | "
              f"{r['auto median width']:.2f} | {r['chose power-law']:.2f} / {r['chose saturating']:.2f} / {rest:.2f} | "
              f"{r['widened']:.2f} |", flush=True)
        print(f"  {time.perf_counter() - start:.1f} s", file=sys.stderr)
    print("repeats (3 seeds at 5 sizes): alpha covered, and if all 15 runs were taken as independent")
    for shared in (0.0, 0.02, 0.05):
        held, alike = repeats(count, shared, 99)
        print(f"shared by the seeds of a size {shared:.0%}: {held:.3f}, {alike:.3f}")


if __name__ == "__main__":
    main()
