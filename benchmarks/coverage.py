"""Coverage of nominal 95 % intervals in simulation: `python benchmarks/coverage.py --count 2000 [--only TEXT]`.

Laws of a loss and of a perplexity, multiplicative normal noise, sizes doubling; predicted is a new run at ten times the
largest size, as `cvfp predict` does: each experiment chooses its own law. Beside it: width (upper over lower end, the
median) of what the law is of, that of the profile interval of the true law, and the error of the point.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings

import numpy as np
import polars as pl

from cvfp_core.fitting import Choice, predict_all
from cvfp_core.fitting.auto import _automatic, candidates
from cvfp_core.fitting.linear import least_squares
from cvfp_core.fitting.scales import on_scale
from cvfp_core.fitting.selection import Total, decide, key, score
from cvfp_core.registry import installed
from cvfp_core.schema.fits import Points

TRUTHS = {
    "ppl power-law": ("val_ppl", "power-law", lambda d: 1e5 * d**-0.5),
    "ppl saturating": ("val_ppl", "saturating", lambda d: 100 + 1e5 * d**-0.5),
    "loss power-law": ("val_loss", "power-law", lambda d: 30 * d**-0.2),
    "loss saturating": ("val_loss", "saturating", lambda d: 2 + 60 * d**-0.3),
    "loss exp-decay": ("val_loss", "exp-decay", lambda d: 2 + 6 * np.exp(-0.06 * d**0.25)),
    "loss hill": ("val_loss", "hill", lambda d: 2 + 6 / (1 + (d / 2e5) ** 0.5)),
    "loss saturating, alpha 0.05": ("val_loss", "saturating", lambda d: 1 + 7 * d**-0.05),
    "loss saturating, alpha 1.2": ("val_loss", "saturating", lambda d: 2 + 5.5e5 * d**-1.2),
}
"""Scale, law, function. The last two exponents are in the tails of the prior."""
NOISE, SIZES = (0.005, 0.02), (4, 5, 8)


def simulate(name: str, noise: float, n: int, count: int, seed: int, *, prior: bool = True) -> dict[str, float]:
    """What the forecasts of that many experiments of one series reach."""
    scale, law, function = TRUTHS[name]
    rng, registry = np.random.default_rng(seed), installed()
    tokens = 6e4 * 2.0 ** np.arange(n)
    far = 10 * tokens[-1]
    measured = function(tokens) * np.exp(noise * rng.standard_normal((count, n)))
    new = function(far) * np.exp(noise * rng.standard_normal(count))
    laws = candidates(registry, y=scale)
    every = [Points(inputs={"train_tokens": tokens}, response=row, series=np.array([f"e:{i}"] * n, dtype=object),
                    name=scale) for i, row in enumerate(measured)]
    chosen = _chosen(every, laws)
    low, high, value = (np.full(count, np.nan) for _ in range(3))
    for own in set(chosen):
        rows = [i for i, each in enumerate(chosen) if each == own]
        choice = Choice(law=own[0], scale=own[1], distinguishable=False, reason="", candidates=())
        made = _automatic([every[i] for i in rows], choice, laws, {"train_tokens": [far]}, registry,
                          telling=[False] * len(rows), prior=prior, pool=False)
        for i, each in zip(rows, made.predictions, strict=True):
            low[i], high[i], value[i] = each.run_low or 0.0, each.run_high or np.inf, each.value or np.nan
    ours = next(each for each in laws if key(each) == (law, scale))
    choice = Choice(law=law, scale=scale, distinguishable=True, reason="", candidates=())
    few = every[:200]
    some = _automatic(few, choice, [ours], {"train_tokens": [far]}, registry, telling=[False] * len(few), prior=False,
                      pool=False)
    best = np.median([(each.run_high or np.inf) / max(each.run_low or 0.0, 1e-300) for each in some.predictions]) \
        if ours.floor else float("nan")
    with np.errstate(divide="ignore"):
        return {"held": float(np.mean((low <= new) & (new <= high))), "width": float(np.median(high / low)),
                "oracle": float(best), "error": float(np.nanmedian(np.abs(value / function(far) - 1))),
                "form": float(np.mean([each == (law, scale) for each in chosen])),
                "scale": float(np.mean([each[1] == scale for each in chosen]))}


def _chosen(every: list[Points], laws: list) -> list[tuple[str, str]]:  # type: ignore[type-arg]
    """The law that each of the series, which are at the same sizes, chooses for itself."""
    registry, n = installed(), every[0].n
    scored = {}
    for law in laws:
        known = registry.quantity(law.response)
        if n > len(law.parameters):
            response = np.stack([on_scale(points, known).response for points in every])
            scored[key(law)] = score(law, every[0].inputs, np.log(response), scale=known)
    losses = [name for name in scored if name[1] == "val_loss"]
    return [decide({name: Total(parameters=s.parameters, rss=float(s.rss[i]), dof=s.dof, errors=s.errors[i])
                    for name, s in scored.items()}, losses) for i in range(len(every))]


def pooled(name: str, noise: float, n: int, count: int, seed: int, *, series: int, spread: float,
           prior: bool) -> dict[str, float]:
    """The same of experiments of several series, whose exponents are spread by that much in their logarithms."""
    scale, _, function = TRUTHS[name]
    rng = np.random.default_rng(seed)
    tokens = 6e4 * 2.0 ** np.arange(n)
    far, held, widths, errors = 10 * tokens[-1], [], [], []
    floor = {"ppl power-law": 0.0, "ppl saturating": 100.0, "loss power-law": 0.0, "loss saturating": 2.0}[name]
    centre = function(tokens[n // 2]) - floor
    slope = {"ppl power-law": 0.5, "ppl saturating": 0.5, "loss power-law": 0.2, "loss saturating": 0.3}[name]
    for _ in range(count):
        alpha = slope * np.exp(spread * rng.standard_normal(series))[:, None]
        truth = floor + centre * (np.array([*tokens, far]) / tokens[n // 2]) ** -alpha
        made = truth * np.exp(noise * rng.standard_normal(truth.shape))
        records = pl.DataFrame({
            "experiment": ["e"] * (series * n), "variant": np.repeat([f"v{i}" for i in range(series)], n).tolist(),
            "train_tokens": np.tile(tokens, series), scale: made[:, :-1].ravel()})
        for each, value, own in zip(predict_all(records, far, y=scale, prior=prior).predictions, made[:, -1],
                                    truth[:, -1], strict=True):
            low, high = each.run_low or 1e-300, each.run_high or np.inf
            held.append(low <= value <= high)
            widths.append(high / low)
            errors.append(abs((each.value or np.nan) / own - 1))
    return {"held": float(np.mean(held)), "width": float(np.median(widths)), "error": float(np.nanmedian(errors))}


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
        for cells, together in ((tokens, True), (np.arange(15), False)):
            low, high = least_squares(design, y, cells).interval(0)
            if together:
                held += low <= -0.5 <= high
            else:
                alike += low <= -0.5 <= high
    return held / count, alike / count


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--count", type=int, default=2000, help="simulations of a row")
    parse.add_argument("--only", default="", help="truths whose name holds this")
    parse.add_argument("--sizes", default="4,5,8", help="sizes of a curve")
    parse.add_argument("--series", type=int, default=1, help="series of an experiment")
    parse.add_argument("--spread", type=float, default=0.1, help="of the logarithms of their exponents")
    parse.add_argument("--no-prior", action="store_true", help="without the prior of exponents")
    asked = parse.parse_args()
    warnings.simplefilter("ignore")
    chance = 1.96 * np.sqrt(0.95 * 0.05 / asked.count)
    print(f"{asked.count} simulations each; nominal 95 %, so +-{chance:.1%} is chance")
    print("| truth | noise | n | new run held | width x | profile of the true law x | ln width / ln of that | median "
          "error | form found | scale found |\n|---|---|---|---|---|---|---|---|---|---|")
    rows = [(name, noise, n) for name in TRUTHS if asked.only in name for noise in NOISE
            for n in map(int, asked.sizes.split(","))]
    for seed, (name, noise, n) in enumerate(rows):
        start = time.process_time()
        if asked.series > 1:
            r = pooled(name, noise, n, asked.count, seed, series=asked.series, spread=asked.spread,
                       prior=not asked.no_prior)
            print(f"| {name} | {noise:.1%} | {n} | {r['held']:.3f} | {r['width']:.2f} | {r['error']:.2%} |", flush=True)
        else:
            r = simulate(name, noise, n, asked.count, seed, prior=not asked.no_prior)
            print(f"| {name} | {noise:.1%} | {n} | {r['held']:.3f} | {r['width']:.2f} | {r['oracle']:.2f} | "
                  f"{np.log(r['width']) / np.log(r['oracle']):.2f} | {r['error']:.2%} | {r['form']:.2f} | "
                  f"{r['scale']:.2f} |", flush=True)
        print(f"  {time.process_time() - start:.1f} s", file=sys.stderr)
    if not asked.only and asked.series == 1:
        print("repeats (3 seeds at 5 sizes): alpha covered, and if all 15 runs were taken as independent")
        for shared in (0.0, 0.02, 0.05):
            held, alike = repeats(asked.count, shared, 99)
            print(f"shared by the seeds of a size {shared:.0%}: {held:.3f}, {alike:.3f}")


if __name__ == "__main__":
    main()
