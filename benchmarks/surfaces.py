"""Surfaces in simulation and on published runs: `python benchmarks/surfaces.py [--count N] [PART...]`.

Parts: grids (a new run at ten times the compute, beside an oracle that knows the form and the bad run), rays (how often
D = 20 N is said to be not identifiable, and a forecast along it), levels (whether that verdict is right), chinchilla,
isoflops (runs left out). The truth is
close to the published fit of arXiv:2404.10102; noise is normal in log loss; a bad run, drawn at random, has a loss 20 %
too high. Published runs are looked for in $CVFP_SHARED/data/anchors.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from cvfp_core.fitting.curve_fit import Solved, limits, solve_alike
from cvfp_core.fitting.curves import Curve, Goal
from cvfp_core.fitting.linear import t_quantile
from cvfp_core.fitting.predict import predict, predict_each
from cvfp_core.fitting.ray import ray
from cvfp_core.fitting.run import fit_each
from cvfp_core.fitting.search import solve
from cvfp_core.registry import installed
from cvfp_core.registry.kinds import Law, LeastSquares, Parameter
from cvfp_core.schema.fits import Array, Fit, Points

REGISTRY = installed()
LAW = REGISTRY.get(Law, "chinchilla")
TRUTH = {"E": 1.82, "A": 478.0, "alpha": 0.347, "B": 2143.0, "beta": 0.367}
ANCHORS = Path(os.environ.get("CVFP_SHARED", Path(__file__).parents[2] / "shared")) / "data" / "anchors"
BAD = 0.2
BATCH = 250
"""Simulated data sets fitted at once."""


def grid(k: int) -> tuple[Array, Array]:
    """Params and tokens of k by k runs over two decades each."""
    n, d = np.meshgrid(np.geomspace(1e8, 1e10, k), np.geomspace(2e9, 2e11, k))
    return n.ravel(), d.ravel()


def isoflop() -> tuple[Array, Array]:
    """Params and tokens of four budgets, five sizes each, about the best size of a budget."""
    budget = np.repeat(np.geomspace(1e19, 1e22, 4), 5)
    n = 0.13 * budget**0.5 * np.tile(np.geomspace(0.25, 4, 5), 4)
    return n, budget / (6 * n)


DESIGNS = {"3x3": grid(3), "4x4": grid(4), "5x5": grid(5), "isoFLOP 4x5": isoflop()}


def made(n: Array, d: Array, losses: Array) -> Points:
    return Points(inputs={"params": n, "train_tokens": d}, response=losses, name="val_loss",
                  series=np.full(len(n), "runs", dtype=object))


def fitted(every: Sequence[Points], *, intervals: bool = False) -> list[Fit]:
    """The published law, as `cvfp fit` fits it."""
    return [fits[0] for fits in fit_each(LAW, every, {}, REGISTRY, intervals=intervals)]


def oracle(every: Sequence[Points], at: dict[str, float]) -> list[tuple[float, float]]:
    """Limits of a new run by least squares on the good runs, which are at the same inputs, with profile-F intervals."""
    count, law = len(every), replace(LAW, loss=LeastSquares())
    goal = Goal(target=np.zeros(count), weight=np.ones(count), parameter=np.full(count, -1),
                log=np.zeros(count, dtype=bool), inputs={name: np.array([value]) for name, value in at.items()})
    infinite = np.full(count, np.inf)
    return limits(solve_alike(law, every), goal, run=np.ones(count, dtype=bool), low=-infinite, high=infinite)


def drawn(n: Array, d: Array, noise: float, rng: np.random.Generator) -> Array:
    return LAW.function(n, d, **TRUTH) * np.exp(noise * rng.standard_normal(len(n)))


def grids(count: int) -> None:
    print("| design | noise | bad run | held | median half-width | of the oracle's | oracle held | not converged |")
    print("|---|---|---|---|---|---|---|---|")
    for seed, (name, noise, bad) in enumerate((name, noise, bad) for name in DESIGNS for noise in (0.002, 0.005, 0.02)
                                              for bad in (False, True)):
        rng, start = np.random.default_rng(seed), time.process_time()
        n, d = DESIGNS[name]
        top = int(np.argmax(n * d))
        at = {"params": float(n[top] * 10**0.5), "train_tokens": float(d[top] * 10**0.5)}
        parts = [row(n, d, at, noise, bad, size, rng) for size in [BATCH] * (count // BATCH) + [count % BATCH] if size]
        held, width, known, least, settled = np.concatenate(parts).T
        lost = int((~np.isfinite(width)).sum())
        without = f" ({lost} without an end)" if lost else ""
        half = np.expm1(np.median(width) / 2)
        print(f"| {name} | {noise:.1%} | {'yes' if bad else 'no'} | {held.mean():.1%}{without} | {half:.2%} | "
              f"{np.median(width) / np.median(least):.2f} | {known.mean():.1%} | {1 - settled.mean():.1%} |",
              flush=True)
        print(f"  {time.process_time() - start:.0f} s", file=sys.stderr)


def row(n: Array, d: Array, at: dict[str, float], noise: float, bad: bool, count: int,
        rng: np.random.Generator) -> Array:
    """(count, 5): new run held, logarithm of the ends' ratio, both for the oracle, whether the fit converged."""
    losses = np.stack([drawn(n, d, noise, rng) for _ in range(count)])
    new = np.log(LAW.function(*at.values(), **TRUTH)) + noise * rng.standard_normal(count)
    off = rng.integers(len(n), size=count) if bad else np.full(count, -1)
    if bad:
        losses[np.arange(count), off] *= 1 + BAD
    fits = fitted([made(n, d, each) for each in losses])
    ends = np.array([(each.run_low or 0.0, each.run_high or np.inf)
                     for each in predict_each(LAW, [(fit, at) for fit in fits])])
    known = np.empty((count, 2))
    for run in np.unique(off):
        rows, good = np.flatnonzero(off == run), np.arange(len(n)) != run
        known[rows] = oracle([made(n[good], d[good], losses[row, good]) for row in rows], at)
    with np.errstate(divide="ignore"):
        ends = np.log(ends)
    inside = [(low <= new) & (new <= high) for low, high in (ends.T, known.T)]
    return np.stack([inside[0], np.diff(ends)[:, 0], inside[1], np.diff(known)[:, 0],
                     [fit.status == "converged" for fit in fits]], axis=1)


def rays(count: int) -> None:
    """The line of the inputs is looked for in all draws; fits with their intervals and forecasts are of a fiftieth."""
    print("| design | noise | line found | not identifiable | along it held | half-width |")
    print("|---|---|---|---|---|---|")
    designs: dict[str, float | str] = {f"D = 20 N, spread {spread:g}": spread for spread in (1.0, 1.1, 1.5, 2.0, 4.0)}
    designs |= {name: name for name in DESIGNS}
    for seed, (name, noise) in enumerate((name, noise) for name in designs for noise in (0.002, 0.005, 0.02)):
        rng, every = np.random.default_rng(100 + seed), []
        for _ in range(count):
            n, d = DESIGNS.get(name) or (np.geomspace(1e8, 1e10, 12), np.empty(0))
            if not len(d):
                d = 20 * n * designs[name] ** rng.uniform(-0.5, 0.5, len(n))
            every.append(made(n, d, drawn(n, d, noise, rng)))
        lines = sum(ray(points) is not None for points in every)
        fits, rows = fitted(every[:max(count // 50, 1)], intervals=True), []
        for fit in fits:
            if "vary one" in fit.reason:
                at = {"params": 1e10 * 10**0.5, "train_tokens": 20e10 * 10**0.5}
                new = float(LAW.function(*at.values(), **TRUTH) * np.exp(noise * rng.standard_normal()))
                ours = predict(fit, LAW, at)
                if ours.run_low is not None and ours.run_high is not None:
                    rows.append((ours.run_low <= new <= ours.run_high, np.log(ours.run_high / ours.run_low)))
        held, width = np.array(rows, dtype=float).reshape(-1, 2).T
        half = np.expm1(np.median(width) / 2) if rows else np.nan
        along = f"{held.mean():.1%} of {len(rows)} | {half:.2%}" if rows else "- | -"
        unclear = sum(fit.status == "not identifiable" for fit in fits)
        print(f"| {name} | {noise:.1%} | {lines / count:.1%} | {unclear / len(fits):.1%} | {along} |", flush=True)


def levels(count: int) -> None:
    """Whether the verdict agrees with the laws that a surface tends to as an exponent rises: its least size apart.

    Of a twentieth of the draws, on a grid of 3 by 3 at 2 %.
    """
    rng, (n, d) = np.random.default_rng(7), DESIGNS["3x3"]
    fits = fitted([made(n, d, drawn(n, d, 0.02, rng)) for _ in range(max(count // 20, 1))], intervals=True)
    sound = [(fit, fit.basis) for fit in fits if isinstance(fit.basis, Solved) and fit.status != "at a bound"]
    allowed = np.array([t_quantile(basis.variance.dof) ** 2 * basis.sigma**2 for _, basis in sound])
    best = np.array([basis.optimum.rss[0] for _, basis in sound])
    targets, weights = (np.concatenate([getattr(basis, name) for _, basis in sound]) for name in ("target", "weights"))
    least = np.full(len(sound), np.inf)
    for step, other in (("params", "train_tokens"), ("train_tokens", "params")):
        first = (n if step == "params" else d).min() * 1.001
        law = replace(LAW, linear=("E", "S", "B"), starts=lambda **_: {"g": np.geomspace(0.005, 3, 60)},
                      parameters=tuple(Parameter(name=name, minimum=0) for name in ("E", "S", "B", "g")),
                      function=lambda E, S, B, g, step=step, other=other, first=first, **at:
                      E + S * (at[step] < first) + B * at[other] ** -g)
        least = np.minimum(least, solve(Curve(law, {"params": n, "train_tokens": d}), targets, weights=weights, tries=8,
                                        delta=np.array([basis.delta for _, basis in sound])).rss)
    levelled = (least - best) / allowed < 1
    said = np.array([fit.status == "not identifiable" for fit, _ in sound])
    print(f"{len(sound)} of {len(fits)} fits not at a bound: a profile levels off below what is allowed in "
          f"{levelled.mean():.1%}, said to be not identifiable {said.mean():.1%}, the same verdict in "
          f"{(levelled == said).mean():.1%}", flush=True)


def left_out(name: str, n: Array, d: Array, losses: Array, out: Array) -> None:
    """Error and coverage of the runs left out, by the fit to the others."""
    (fit,) = fitted([made(n[~out], d[~out], losses[~out])], intervals=True)
    ahead = [predict(fit, LAW, {"params": a, "train_tokens": b}) for a, b in zip(n[out], d[out], strict=True)]
    if any(each.run_low is None or each.run_high is None for each in ahead):
        print(f"{name}: {fit.status}: {fit.reason}")
        return
    value, low, high = np.array([(each.value, each.run_low, each.run_high) for each in ahead], dtype=float).T
    actual = losses[out]
    error, held = np.abs(value / actual - 1), (low <= actual) & (actual <= high)
    print(f"{name}: {out.sum()} of {len(n)} left out, error median {np.median(error):.2%}, mean {error.mean():.2%}, "
          f"held {held.sum()} of {out.sum()}, median half-width {np.median((high - low) / 2 / value):.2%}", flush=True)


def chinchilla(_: int) -> None:
    table = pl.read_csv(ANCHORS / "chinchilla.csv").filter(pl.col("loss") < 3.43)
    n, flops, losses = (table[name].to_numpy() for name in ("Model Size", "Training FLOP", "loss"))
    rank = np.argsort(np.argsort(-flops, kind="stable"))
    left_out("chinchilla, top tenth in compute", n, flops / (6 * n), losses, rank < len(n) // 10)


def isoflops(_: int) -> None:
    table = pl.read_csv(ANCHORS / "isoflops.csv")
    for start, budget in (("misfitting__fineweb_c4", 1.15e19), ("marin_202603__comma", 3e20)):
        for flagged in (False, True):
            part = table.filter(pl.col("experiment").str.starts_with(start) & (flagged | ~pl.col("outlier")))
            n, d, losses, budgets = (part[name].to_numpy() for name in ("params", "tokens", "loss", "budget"))
            held = np.isclose(budgets, budget, rtol=0.03)
            use = (budgets < 0.97 * budget) | held
            left_out(f"{start}, budget {budget:.3g}, flagged runs {'kept' if flagged else 'out'}",
                     n[use], d[use], losses[use], held[use])


def main() -> None:
    parts = {each.__name__: each for each in (grids, rays, levels, chinchilla, isoflops)}
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=2000, help="simulations a row")
    parser.add_argument("parts", nargs="*", choices=[*parts, []], help="default: all")
    given = parser.parse_args()
    for name in given.parts or parts:
        print(f"\n{name}", flush=True)
        parts[name](given.count)


if __name__ == "__main__":
    main()
