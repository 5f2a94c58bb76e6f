"""What to do next, in simulation and on published runs: `python benchmarks/deciding.py [--count N] [PART...]`.

Parts: optimum (intervals of the best size and its loss in sweeps with known truth), isoflops (the largest budget held
out, against plain parabolas), chinchilla (the rule of 20 tokens a parameter), multiplier (its intervals, and false
positives), chances (how often an arm is the best where that is said), plan (published sweeps replayed run by run: FLOPs
until the interval of a held-out target is nearly as narrow as the whole sweep's), partial (the same where planned runs
are ended early and forecast). The truth is close to the published
fit of arXiv:2404.10102; noise is normal in log loss. Published runs are looked for in $CVFP_SHARED/data/anchors.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

import cvfp_core as cvfp
from cvfp_core.deciding.candidates import Cells
from cvfp_core.deciding.comparison import compare
from cvfp_core.deciding.courses import courses
from cvfp_core.deciding.forecast import forecast
from cvfp_core.deciding.optimum import optima
from cvfp_core.deciding.plan import planned
from cvfp_core.deciding.targets import Target
from cvfp_core.fitting import fit_all
from cvfp_core.fitting.axes import on_axes
from cvfp_core.fitting.curves import Curve, Goal
from cvfp_core.fitting.linear import t_quantile
from cvfp_core.fitting.predict import predict_each
from cvfp_core.fitting.run import fit_points
from cvfp_core.fitting.search import sensitivities, solve
from cvfp_core.registry import installed
from cvfp_core.registry.kinds import Law, LeastSquares
from cvfp_core.schema.fits import Array, Points
from cvfp_core.schema.records import Record, frame

REGISTRY = installed()
LAW = REGISTRY.get(Law, "chinchilla")
TRUTH = {"E": 1.82, "A": 478.0, "alpha": 0.347, "B": 2143.0, "beta": 0.367}
ANCHORS = Path(os.environ.get("CVFP_SHARED", Path(__file__).parents[2] / "shared")) / "data" / "anchors"
NOISE = 0.005


def best(flops: float) -> tuple[float, float]:
    """Params and loss of the true optimum (arXiv:2203.15556, equation 4)."""
    a, b = TRUTH["alpha"], TRUTH["beta"]
    params = (a * TRUTH["A"] / (b * TRUTH["B"])) ** (1 / (a + b)) * (flops / 6) ** (b / (a + b))
    return params, loss(params, flops / (6 * params))


def loss(n: Array | float, d: Array | float) -> Array | float:
    assert LAW.function is not None
    made: Array | float = LAW.function(params=n, train_tokens=d, **TRUTH)
    return made


def sweep(rng: np.random.Generator, off: float = 1.0, budgets: int = 6, sizes: int = 9) -> pl.DataFrame:
    """Runs at equal compute over sizes within a factor of eight about `off` times the best."""
    flops = np.repeat(np.geomspace(1e18, 1e21, budgets), sizes)
    centre = np.array([best(each)[0] for each in flops])
    n = off * centre * np.tile(np.geomspace(1 / 8, 8, sizes), budgets)
    d = flops / (6 * n)
    noisy = loss(n, d) * np.exp(NOISE * rng.standard_normal(len(n)))
    return frame(Record(run_id=str(i), experiment="sweep", params=float(a), train_tokens=float(b), val_loss=float(c))
                 for i, (a, b, c) in enumerate(zip(n, d, noisy, strict=True)))


def optimum(count: int) -> None:
    for off, number in ((1.0, count), (2.0, count // 5)):
        held: dict[str, list[tuple[bool, bool, bool, float]]] = defaultdict(list)
        for seed in range(number):
            rng = np.random.default_rng(seed)
            (made,) = optima(sweep(rng, off), [1e22], REGISTRY.get(Law, "chinchilla"), registry=REGISTRY)
            params, truth = best(1e22)
            run = truth * np.exp(NOISE * rng.standard_normal())
            for each in made.optima:
                if each.params is None:
                    held[f"{each.approach}: none"].append((False, False, False, np.nan))
                    continue
                held[each.approach].append((
                    inside(params, each.params_low, each.params_high), inside(truth, each.mean_low, each.mean_high),
                    inside(run, each.run_low, each.run_high), np.log(each.params / params)))
        for name, rows in held.items():
            told = np.array(rows, dtype=float)
            size, mean, run = told[:, :3].mean(axis=0)
            print(f"optimum, sweeps {off:g} times off centre, {name}: {len(told)} sweeps; held: params {size:.1%}, "
                  f"loss {mean:.1%}, new run {run:.1%}; log N off by {told[:, 3].mean():+.3f} "
                  f"(sd {told[:, 3].std():.3f})", flush=True)


def arms(rng: np.random.Generator, factor: float, floor: float, *, sizes: int = 6, seeds: int = 3,
         shared: float = 0.0) -> pl.DataFrame:
    """Runs of two arms, the second worth `factor` times the data; a third of the noise's variance is of the pair.

    shared: standard deviation of what a seed does to the second arm at every size, over that of a pair's ratio.
    """
    rows = []
    seeded = shared * NOISE * np.sqrt(4 / 3) * rng.standard_normal(seeds)
    for tokens in np.geomspace(1e7, 1e9, sizes):
        for seed in range(seeds):
            common = NOISE * np.sqrt(1 / 3) * rng.standard_normal()
            for name, times in (("a", 1.0), ("b", factor)):
                own = NOISE * np.sqrt(2 / 3) * rng.standard_normal()
                value = (floor + 100 * (times * tokens) ** -0.2) * np.exp(common + own + (name == "b") * seeded[seed])
                rows.append(Record(run_id=f"{name}{tokens:.0f}-{seed}", experiment=name, variant="v", seed=seed,
                                   train_tokens=float(tokens), val_loss=float(value)))
    return frame(rows)


def multiplier(count: int) -> None:
    """Intervals of a multiplier of 1.25, and false positives at 1.0, of four times as many."""
    law = on_axes(REGISTRY.get(Law, "saturating"), None, "val_loss")
    for floor in (2.0, 0.0):
        for factor, number in ((1.25, count), (1.0, 4 * count)):
            held, ratios, free, start = [], [], [], time.process_time()
            for seed in range(number):
                runs = arms(np.random.default_rng(seed), factor, floor)
                (made,), _ = compare({name: runs.filter(experiment=name) for name in "ab"}, law, registry=REGISTRY,
                                     x="train_tokens", y="val_loss")
                if made.multiplier is not None:
                    held.append(inside(factor, made.multiplier.low, made.multiplier.high))
                if made.free is not None:
                    free.append(inside(factor, made.free.low, made.free.high))
                ratios.append(made.ratio is not None and (made.ratio.p_value or 0) < 0.05)
            print(f"multiplier {factor:g}, floor {floor:g}: {len(held)} of {number} sweeps; held by the shared law "
                  f"{np.mean(held):.1%}, by a law for each {np.mean(free):.1%} ({len(free)}); ratio told from 1 in "
                  f"{np.mean(ratios):.1%}; {(time.process_time() - start) / number:.3f} s CPU each", flush=True)


def chances(count: int) -> None:
    """How often the second arm is the better where it is said to be so with a chance; multipliers of 0.9 to 1.1.

    Sweeps of 4 sizes x 2 seeds whose seeds share nothing; and of 3 to 6 sizes, 2 to 4 seeds, of which half share
    nothing over sizes, a quarter each half of or as much as a pair's own standard deviation.
    """
    law = on_axes(REGISTRY.get(Law, "saturating"), None, "val_loss")
    for name in ("4 x 2, nothing shared", "mixed"):
        said, true = [], []
        for seed in range(20 * count):
            rng = np.random.default_rng(seed)
            factor = float(np.exp(rng.uniform(-0.1, 0.1)))
            sizes, seeds, shared = (4, 2, 0.0) if name != "mixed" else (
                int(rng.integers(3, 7)), int(rng.integers(2, 5)), float(rng.choice([0.0, 0.0, 0.5, 1.0])))
            runs = arms(rng, factor, 2.0, sizes=sizes, seeds=seeds, shared=shared)
            _, (made,) = compare({each: runs.filter(experiment=each) for each in "ab"}, law, registry=REGISTRY,
                                 x="train_tokens", y="val_loss")
            if made.best:
                said.append(made.best["b"])
                true.append(factor > 1)
        bins = np.minimum((np.array(said) * 10).astype(int), 9)
        for index in range(10):
            mine = bins == index
            if mine.any():
                print(f"chances, {name}: said {np.array(said)[mine].mean():.1%}, true "
                      f"{np.array(true)[mine].mean():.1%} of {mine.sum()}", flush=True)


def inside(value: float, low: float | None, high: float | None) -> bool:
    return (low is None or low <= value) and (high is None or value <= high)


def isoflops(_: int) -> None:
    """The largest budget with five unflagged runs or more about a minimum is held out."""
    table = pl.read_csv(ANCHORS / "isoflops.csv").filter(~pl.col("outlier"))
    for (name,), runs in table.group_by("experiment", maintain_order=True):
        tops = [(flops, n, low) for (flops,), each in sorted(runs.group_by("budget")) for n, low in [_lowest(each)]
                if n is not None and each.height >= 5]
        top = tops[-1][0]
        params, low = _lowest(_nearest(runs.filter(pl.col("budget") == top)))
        seen = runs.filter(pl.col("budget") < top)
        plain = [(flops, *_lowest(each)) for (flops,), each in sorted(seen.group_by("budget"))]
        x, n, minima = (np.log(np.array(each)) for each in zip(*(row for row in plain if row[1]), strict=True))
        at = np.log(top)
        ahead = {"plain parabolas": (np.polyval(np.polyfit(x, n, 1), at), np.polyval(np.polyfit(x, minima, 1), at))}
        data = cvfp.read(seen, map={"flops": "budget", "val_loss": "loss"})
        (made,) = optima(data.records, [top], registry=REGISTRY, convention="flops")
        ahead |= {each.approach: (np.log(each.params), np.log(each.value)) for each in made.optima
                  if each.params and each.value}
        for approach, (size, value) in ahead.items():
            print(f"{name}, {top:.3g} FLOPs held out (minimum {params:.3g} params, {low:.4f}), {approach}: log N off "
                  f"by {size - np.log(params):+.3f}, loss {np.expm1(value - np.log(low)):+.2%}")
        for each in made.optima:
            print(f"  {each.approach}: {each.params or 0:.3g} [{each.params_low or 0:.3g}, {each.params_high or 0:.3g}]"
                  f", new run [{each.run_low or 0:.4f}, {each.run_high or 0:.4f}] {each.reason}")


def _nearest(runs: pl.DataFrame, count: int = 5) -> pl.DataFrame:
    """The runs nearest to the lowest in log N: so narrow a parabola has next to no bias."""
    lowest = runs.sort("loss")["params"].log()[0]
    return runs.sort((pl.col("params").log() - lowest).abs()).head(count)


def _lowest(runs: pl.DataFrame) -> tuple[float | None, float | None]:
    """Params and loss of the minimum of a plain parabola of loss over log N; none outside of the sizes."""
    if runs.height < 4:
        return None, None
    x, y = np.log(runs["params"].to_numpy()), runs["loss"].to_numpy()
    fit = np.polyfit(x - x.mean(), y, 2)
    at = -fit[1] / (2 * fit[0])
    if fit[0] <= 0 or not x.min() < at + x.mean() < x.max():
        return None, None
    return float(np.exp(at + x.mean())), float(np.polyval(fit, at))


def chinchilla(_: int) -> None:
    table = pl.read_csv(ANCHORS / "chinchilla.csv").sort("loss").head(-5)
    data = cvfp.read(table, map={"params": "`Model Size`", "flops": "`Training FLOP`", "val_loss": "loss",
                                 "train_tokens": "`Training FLOP` / (6 * `Model Size`)"})
    start = time.process_time()
    (made,) = optima(data.records, [1e21, 5.76e23], registry=REGISTRY)
    print(f"chinchilla: {made.runs} runs, {time.process_time() - start:.2f} s CPU")
    for each in made.optima:
        print(f"  {each.flops:.3g} FLOPs, {each.approach}: {each.tokens_per_param:.1f} tokens a parameter "
              f"[{each.tokens_per_param_low:.1f}, {each.tokens_per_param_high:.1f}], {each.params:.3g} params")
    (fit,) = fit_all(data.records, [LAW], registry=REGISTRY)
    _, a, alpha, b, beta = fit.draws.T  # the published procedure: resamples of the same Huber fit
    for flops in (1e21, 5.76e23):
        n = (alpha * a / (beta * b)) ** (1 / (alpha + beta)) * (flops / 6) ** (beta / (alpha + beta))
        low, high = np.quantile(flops / (6 * n**2), [0.025, 0.975])
        print(f"  {flops:.3g} FLOPs, {len(n)} bootstraps of the published fit: [{low:.1f}, {high:.1f}]")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Replay:
    """A sweep whose runs are bought one after another, a held-out target, and the laws that plan."""

    name: str
    points: Points
    """(n,) of the pool, without what is held out."""
    flops: Array
    target: dict[str, float]
    measured: float
    laws: Sequence[Law]
    estimator: Law
    """The fixed one: least squares of the logarithm, interval to first order."""
    runs: tuple[str, ...] = ()
    """(n,) ids, where forecasts need them."""

    def holds(self, mask: Array) -> bool:
        """Whether `cvfp predict` has the held-out run in its interval of a new run, from the runs bought."""
        (fit,) = fit_points(self.estimator, self.points.take(mask), {}, REGISTRY, intervals=False)
        (made,) = predict_each(self.estimator, [(fit, self.target)])
        return made.value is not None and inside(self.measured, made.run_low, made.run_high)

    def halves(self, masks: Array) -> Array:
        """(B,) half of the interval of the target's mean. Infinite where the runs do not identify the law.

        masks: (B, n) which runs are bought.
        """
        law = replace(self.estimator, loss=LeastSquares(), fit=None)
        curve, weights = Curve(law, self.points.inputs), masks.astype(float)
        targets = np.log(self.points.response)[None]
        whole = solve(curve, targets)
        found = solve(curve, np.repeat(targets, len(masks), axis=0), weights=weights, tries=1,
                      near=np.repeat(whole.parameters[:, None], len(masks), axis=0))
        goal = Goal(target=np.zeros(len(masks)), weight=np.ones(len(masks)), parameter=np.full(len(masks), -1),
                    log=np.zeros(len(masks), dtype=bool), inputs={k: np.array([v]) for k, v in self.target.items()})
        slopes, rise = sensitivities(curve, found.parameters, goal)
        mean = np.full(len(masks), np.inf)
        for row, mask in enumerate(masks):
            dof = int(mask.sum()) - len(curve.names)
            known = slopes[row, mask]
            length = np.sqrt(np.square(known).sum(axis=0))
            if dof < 1 or not (length > 0).all() or np.linalg.cond(known / length) > 1e6:
                continue
            error = np.linalg.lstsq((known / length).T, rise[row] / length, rcond=None)[0]
            mean[row] = t_quantile(dof) * np.sqrt(found.rss[row] / dof) * np.linalg.norm(error)
        return mean

    def planned(self, start: Array) -> Iterator[int]:
        """Runs in the order in which they are planned; a new plan whenever a third more is spent."""
        aim, bought = Target(kind="place", inputs=self.target), start.copy()
        while not bought.all():
            rest, spent = np.flatnonzero(~bought), self.flops[bought].sum()
            cells = Cells(inputs={k: v[rest] for k, v in self.points.inputs.items()}, flops=self.flops[rest])
            made = planned(self.points.take(bought), self.laws, aim, cells, float(self.flops.sum()),
                           registry=REGISTRY, least=0.0)
            for each in made.steps:
                same = [np.isclose(self.points.inputs[k], v, rtol=1e-9) for k, v in each.inputs.items()]
                index = int(np.flatnonzero(~bought & np.all(same, axis=0))[0])
                bought[index] = True
                yield index
                if made.value is not None and each.total > spent / 3:
                    break

    def until(self, start: Array, order: Iterator[int], wanted: float) -> Array:
        """(n,) which runs are bought, start and those in order, until the target's interval is as narrow as wanted.

        Looked at a dozen runs at a time.
        """
        mask, masks = start.copy(), [start.copy()]
        while True:
            for index in order:
                mask[index] = True
                masks.append(mask.copy())
                if len(masks) >= 12:
                    break
            narrow = self.halves(np.array(masks)) <= wanted
            if narrow.any() or mask.all():
                return masks[int(np.argmax(narrow)) if narrow.any() else -1]
            masks = []


def replays() -> Iterator[Replay]:
    """The published sweeps and the source runs; held out is the run of least loss of the largest budget."""
    surfaces = [law for law in REGISTRY.items(Law).values() if {*law.inputs} == {"params", "train_tokens"}]
    table = pl.read_csv(ANCHORS / "chinchilla.csv").sort("loss").head(-5)
    sweeps = {"chinchilla": table.select(params="Model Size", loss="loss", tokens=pl.col("Training FLOP") / (
        6 * pl.col("Model Size")))}
    for (name,), runs in pl.read_csv(ANCHORS / "isoflops.csv").filter(~pl.col("outlier")).group_by(
            "experiment", maintain_order=True):
        sweeps[str(name).split("__")[0]] = runs.select("params", "tokens", "loss")
    sweeps["lr_batch, best of each N and D"] = pl.read_csv(ANCHORS / "lr_batch.csv").group_by("params", "tokens").agg(
        pl.col("loss").min()).select(pl.col("params", "tokens").cast(pl.Float64), "loss")
    for name, runs in sweeps.items():
        runs = runs.with_columns(flops=6 * pl.col("params") * pl.col("tokens")).sort("flops", "params")
        best = runs.filter(pl.col("flops") > runs["flops"].max() / 2).sort("loss").row(0, named=True)
        pool = runs.filter((pl.col("params") != best["params"]) | (pl.col("tokens") != best["tokens"]))
        yield Replay(name=name, flops=pool["flops"].to_numpy(), laws=surfaces, estimator=LAW, measured=best["loss"],
                     target={"params": best["params"], "train_tokens": best["tokens"]}, points=Points(
                         inputs={"params": pool["params"].to_numpy(), "train_tokens": pool["tokens"].to_numpy()},
                         response=pool["loss"].to_numpy(), series=np.full(pool.height, name, dtype=object),
                         name="val_loss", declared={"val_loss": REGISTRY.quantity("val_loss")}))
    yield over_tokens("source runs", cvfp.read(ANCHORS.parent / "newllm").records)


def over_tokens(name: str, records: pl.DataFrame) -> Replay:
    """Runs of one curve over tokens, which are all that is known of their cost; held out is the best of the largest."""
    runs = records.sort("train_tokens", "val_ppl", "run_id")
    top = runs["train_tokens"].max()
    pool, held = runs.filter(pl.col("train_tokens") < top), runs.filter(pl.col("train_tokens") == top)
    tokens = pool["train_tokens"].cast(float).to_numpy()
    curves = [on_axes(REGISTRY.get(Law, name), None, None) for name in ("power-law", "saturating")]
    return Replay(name=name, flops=tokens, laws=curves, estimator=curves[1], measured=held["val_ppl"][0],
                  target={"train_tokens": float(top)}, runs=tuple(pool["run_id"]), points=Points(
                      inputs={"train_tokens": tokens}, response=pool["val_ppl"].to_numpy(),
                      series=np.full(len(tokens), name, dtype=object),
                      declared={"val_ppl": REGISTRY.quantity("val_ppl")}))


def partial(count: int) -> None:
    """As `plan`, but planned runs are ended at 30 % of their epochs, and their forecasts taken for their ends.

    Forecasts are from the runs of the start, which were run whole: those of the run's experiment if there are three.
    Of a run without a forecast the whole is paid and taken.
    """
    source = cvfp.read(ANCHORS.parent / "newllm")
    own = cvfp.read(Path(__file__).parents[1] / "tests" / "data" / "forecasts" / "own.csv", take="best")
    sweeps = [("source runs", source.records, source), *(
        (f"own runs, {name}", own.records.filter(experiment=name), own)
        for name in own.records["experiment"].unique().sort())]
    for name, records, read in sweeps:
        each = over_tokens(name, records)
        known = {course.run_id: course for course in courses(records, read.inputs.curves())}
        n, spent, held, late = each.points.n, [], [], 0
        (whole,) = each.halves(np.ones((1, n), dtype=bool))
        for seed in range(min(count, 50)):
            rng = np.random.default_rng(seed)
            first = np.zeros(n, dtype=bool)
            first[rng.choice(np.argsort(each.flops)[: (n + 1) // 2], min(7, (n + 1) // 2), replace=False)] = True
            response, cost = each.points.response.copy(), each.flops.copy()
            done = [known[run] for run, bought in zip(each.runs, first, strict=True) if bought and run in known]
            for row in np.flatnonzero(~first):
                course = known.get(each.runs[row])
                alike = [other for other in done if course and other.experiment == course.experiment]
                step = int(np.ceil(0.3 * course.last)) if course else 0
                made = forecast(course.upto(step), alike if len(alike) > 2 else done) if course and done else None
                if made is not None and made.value is not None:
                    response[row], cost[row] = made.value, 0.3 * each.flops[row]
                else:
                    late += 1
            now = replace(each, points=replace(each.points, response=response), flops=cost)
            mask = now.until(first, now.planned(first), 1.2 * whole)
            spent.append(cost[mask].sum() / each.flops.sum())
            held.append(now.holds(mask))
        low, middle, high = np.quantile(spent, [0.25, 0.5, 0.75])
        print(f"partial, {name}: {n} runs, {middle:.1%} of the FLOPs (quartiles {low:.1%} to {high:.1%}), target "
              f"inside in {np.mean(held):.0%} of {len(held)}; {late / len(held):.1f} runs a start without a forecast",
              flush=True)


def plan(count: int) -> None:
    """FLOPs until the target's interval is within 1.2 times the whole sweep's, as a share of what that cost."""
    for each in replays():
        n, start = each.points.n, time.process_time()
        (whole,) = each.halves(np.ones((1, n), dtype=bool))
        told: dict[str, list[Array]] = defaultdict(list)
        known: dict[bytes, bool] = {}
        for seed in range(min(count, 50)):
            rng = np.random.default_rng(seed)
            first = np.zeros(n, dtype=bool)
            first[rng.choice(np.argsort(each.flops)[: (n + 1) // 2], min(7, (n + 1) // 2), replace=False)] = True
            rest = np.flatnonzero(~first)
            orders = {"planned": each.planned(first), "random": iter(rng.permutation(rest).tolist()),
                      "smallest first": iter(rest[np.argsort(each.flops[rest], kind="stable")].tolist())}
            for name, order in orders.items():
                told[name].append(each.until(first, order, 1.2 * whole))
        print(f"plan, {each.name}: {n} runs, {each.flops.sum():.3g} FLOPs; target {each.target}, whole sweep's "
              f"interval +-{whole:.2%}, held-out run "
              f"{'inside' if each.holds(np.ones(n, dtype=bool)) else 'outside'}")
        for name, masks in told.items():
            spent = np.array([each.flops[mask].sum() for mask in masks]) / each.flops.sum()
            known |= {mask.tobytes(): each.holds(mask) for mask in masks if mask.tobytes() not in known}
            held = [known[mask.tobytes()] for mask in masks]
            print(f"  {name}: {np.median(spent):.1%} of the FLOPs (quartiles {np.quantile(spent, 0.25):.1%} to "
                  f"{np.quantile(spent, 0.75):.1%}, mean {spent.mean():.1%}), target inside in {np.mean(held):.0%} of "
                  f"{len(masks)}", flush=True)
        print(f"  {(time.process_time() - start) / len(told['planned']):.1f} s CPU a start")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parts = {each.__name__: each for each in (optimum, isoflops, chinchilla, multiplier, chances, plan, partial)}
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(parts))
    parser.add_argument("--count", type=int, default=100)
    given = parser.parse_args()
    if strange := set(given.parts) - set(parts):
        sys.exit(f"no part {', '.join(strange)}; there are: {', '.join(parts)}")
    for name in given.parts or parts:
        parts[name](given.count)


if __name__ == "__main__":
    main()
