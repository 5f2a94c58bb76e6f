"""How good forecasts of unfinished runs are: `python benchmarks/forecasts.py [--count N] [--runs FOLDER] [PART...]`.

Parts: own (64 runs of the embedded corpus, made once by `make`, their curves in tests/data/forecasts), source (the logs
in $CVFP_SHARED/data/newllm), few (from a handful of finished runs), larger (from smaller sizes only), rule (what
`--stop-rule forecast` would have ended of the own runs), steps (made-up step logs, with finished runs and without),
cpu (`cvfp forecast` on 500 runs). `make` trains the own runs, some 8 minutes of one core, into FOLDER.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

import cvfp_core as cvfp
from cvfp_analyses.thresholds import FORECAST_EPOCHS, FORECAST_LEVEL
from cvfp_core.deciding.courses import Course, courses
from cvfp_core.deciding.forecast import FinalForecast, forecast
from cvfp_core.schema import store

ROOT = Path(__file__).parents[1]
OWN = ROOT / "tests" / "data" / "forecasts" / "own.csv"
SOURCE = Path(os.environ.get("CVFP_SHARED", ROOT.parent / "shared")) / "data" / "newllm"
RATES = ("0.003", "0.006")
PLACES = (("at 30 % of the epochs", lambda course: int(np.ceil(0.3 * course.last))), ("at epoch 3", lambda _: 3))


def make(folder: Path) -> None:
    """Trains the own runs where they are not there yet, and writes their curves."""
    rows = []
    for rate in RATES:
        runs = cvfp.run(overrides={
            "name": f"lr{rate}", "variants": ["1L_64d_1tok", "1L_64d_2tok", "2L_64d_1tok", "2L_64d_2tok"],
            "samples": [10, 20, 40, 80], "seeds": [1, 2], "device": "cpu"}, out=folder, jobs=1,
            set=["phase1.max_iterations=15", "phase2.epochs=40", f"phase2.learning_rate={rate}"])
        curves = runs.inputs.curves().filter(phase=2).pivot("metric", index=["run_id", "step"], values="value")
        rows.append(curves.join(runs.records, on="run_id").select(
            pl.col("run_id").str.replace("-[0-9a-f]{12}$", f"-lr{rate}"), "experiment", "variant",
            pl.col("train_tokens").cast(pl.Int64), "seed", "max_epochs", pl.col("step").alias("epoch"),
            pl.col("train_ppl").round(3), pl.col("val_ppl").round(3)))
    OWN.parent.mkdir(exist_ok=True)
    pl.concat(rows).sort("experiment", "variant", "train_tokens", "seed", "epoch").write_csv(OWN)


def read_own() -> tuple[Course, ...]:
    runs = cvfp.read(OWN, take="best")
    return courses(runs.records, runs.inputs.curves())


def read_source() -> tuple[Course, ...]:
    runs = cvfp.read(SOURCE)
    return courses(runs.records, runs.inputs.curves())


def plain(course: Course, pool: Iterable[Course]) -> float:
    """The last value times the mean remaining ratio of finished runs at the same step."""
    ratios = [each.final / each.values[each.steps == course.last][0] for each in pool
              if each.final and (each.steps == course.last).any()]
    return float(course.values[-1] * np.mean(ratios))


def told(what: str, rows: Sequence[tuple[FinalForecast, float]]) -> None:
    """rows: forecasts of ended runs, with what the plain way says."""
    rows = [(made, base) for made, base in rows if made.error is not None and np.isfinite(base)]
    off = np.array([(abs(made.error or 0), abs(base / (made.actual or 1) - 1)) for made, base in rows])
    inside = np.mean([made.inside for made, _ in rows])
    print(f"{what}: {len(rows)} forecasts; off by {off[:, 0].mean():.1%} (median {np.median(off[:, 0]):.1%}), plain "
          f"{off[:, 1].mean():.1%} ({np.median(off[:, 1]):.1%}), a {off[:, 0].mean() / off[:, 1].mean():.2f} of it; "
          f"held {inside:.1%}", flush=True)


def each_from(courses: Sequence[Course], place, pool) -> list[tuple[FinalForecast, float]]:  # type: ignore[no-untyped-def]
    """Every run forecast from its first steps by a pool of the others of its experiment."""
    rows = []
    for course in courses:
        step = place(course)
        others = pool(course, [each for each in courses if each.experiment == course.experiment and
                               each.run_id != course.run_id and each.last >= step])
        if step < course.last and others:
            so_far = course.upto(step)
            rows.append((replace(forecast(so_far, others), actual=course.final), plain(so_far, others)))
    return rows


def own(_: int) -> None:
    for what, place in PLACES:
        told(f"own runs, {what}", each_from(read_own(), place, lambda _, others: others))


def source(_: int) -> None:
    for what, place in PLACES:
        told(f"source logs, {what}", each_from(read_source(), place, lambda _, others: others))


def few(count: int) -> None:
    for name, data in (("own runs", read_own()), ("source logs", read_source())):
        for number in (3, 4, 6, 10):
            rng = np.random.default_rng(number)

            def some(_: Course, others: list[Course], number: int = number, rng=rng) -> list[Course]:  # type: ignore[no-untyped-def]
                return [] if len(others) < number else [others[i] for i in rng.choice(len(others), number, False)]

            rows = [row for _ in range(max(1, count // 20)) for row in each_from(data, PLACES[1][1], some)]
            told(f"{name}, at epoch 3, from {number} finished runs", rows)


def larger(_: int) -> None:
    for name, data in (("own runs", read_own()), ("source logs", read_source())):
        for what, place in PLACES:
            told(f"{name}, {what}, from smaller sizes only", each_from(data, place, lambda course, others: [
                each for each in others if (each.size or 0) < (course.size or 0)]))


def rule(_: int) -> None:
    """The cells in the order of the grid, variants as they were given or the best first; ended runs teach nothing."""
    for rate, turn in ((rate, turn) for rate in RATES for turn in (1, -1)):
        names = [f"lr{rate}:{name}" for name in ("1L_64d_1tok", "1L_64d_2tok", "2L_64d_1tok", "2L_64d_2tok")[::turn]]
        cells = sorted((each for each in read_own() if each.experiment == f"lr{rate}"), key=lambda each: (
            each.run_id.split("-s")[1], each.size or 0, names.index(each.series)))
        left: list[tuple[tuple[int, float, int], Course]] = []
        ended, lost, saved = 0, 0, 0
        for cell in cells:
            at = (int(cell.run_id.split("-s")[1][0]), cell.size or 0.0, names.index(cell.series))
            seen = [each for other, each in left if all(a <= b for a, b in zip(other, at, strict=True))]
            rivals = [each.final or 0.0 for each in seen if each.size == cell.size and each.series != cell.series]
            stop = None
            for step in FORECAST_EPOCHS if rivals else ():
                made = forecast(cell.upto(step), seen, level=FORECAST_LEVEL) if step < cell.last else None
                if made is not None and made.low is not None and made.low > min(rivals):
                    stop = step
                    break
            if stop is None:
                left.append((at, cell))
                continue
            ended += 1
            saved += cell.last - stop
            lost += all(cell.final <= each.final for each in cells if each.size == cell.size)  # type: ignore[operator]
        total = sum(each.last for each in cells)
        order = "worst variants first" if turn == 1 else "best variants first"
        print(f"rule, {len(cells)} own runs at learning rate {rate}, {order}: "
              f"{ended} ended, {saved} of {total} epochs saved "
              f"({saved / total:.0%}), {lost} of the 4 best of their size lost", flush=True)


def step_log(rng: np.random.Generator, size: float, *, falls: bool, steps: int = 2000, every: int = 20) -> Course:
    """A loss over steps by a power law with noise that lasts; falls: a cosine schedule that lowers it at the end."""
    at = np.arange(every, steps + 1, every)
    share = at / steps
    rate = 0.5 * (1 + np.cos(np.pi * share)) if falls else np.ones(len(at))
    gain = 0.06 * (1 - rate) * np.exp(0.1 * rng.standard_normal()) if falls else 0.0
    noise = np.zeros(len(at))
    for i in range(1, len(at)):
        noise[i] = 0.7 * noise[i - 1] + 0.003 * rng.standard_normal()
    floor = 1.8 + 200 / size**0.35 + 0.01 * rng.standard_normal()
    loss = (floor + rng.uniform(4, 8) * at ** -rng.uniform(0.3, 0.5) - gain) * np.exp(noise)
    return Course(run_id=f"{size}-{rng.integers(1e9)}", series="s", experiment="e", response="val_loss", lower=True,
                  steps=at, values=loss, rates=rate, size=size, limit=steps, best=False, final=float(loss[-1]))


def steps(count: int) -> None:
    for falls in (False, True):
        rows = []
        for seed in range(count):
            rng = np.random.default_rng(seed)
            *others, course = (step_log(rng, size, falls=falls) for size in rng.permutation(np.geomspace(1e6, 1e8, 13)))
            so_far = course.upto(600)
            rows.append((replace(forecast(so_far, others), actual=course.final), plain(so_far, others)))
        schedule = "cosine schedule" if falls else "constant rate"
        told(f"step logs, {schedule}, 12 finished runs, at 30 % of the steps", rows)
    for step in (600, 1200):
        rows = []
        for seed in range(count):
            course = step_log(np.random.default_rng(seed), 1e7, falls=False)
            so_far = course.upto(step)
            rows.append((replace(forecast(so_far, []), actual=course.final), float(so_far.values[-1])))
        told(f"step logs, constant rate, no finished runs: law of the curve at step {step} of 2000 (plain: last value)",
             rows)


def cpu(_: int) -> None:
    """CPU seconds of the command on 500 runs of 30 epochs, one of them still going, and of all from their first 3."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = store.create(Path(name) / "many")
        rows, points = [], []
        for i in range(500):
            size = float(rng.choice([1e5, 2e5, 4e5, 8e5]))
            values = (40 + 4e6 / size) * (1 + 8 * np.exp(-np.arange(1, 31) / rng.uniform(3, 9))) * np.exp(
                0.01 * rng.standard_normal(30))
            going = i == 0
            rows.append({"run_id": f"r{i}", "experiment": "many", "variant": f"v{i % 10}", "train_tokens": size,
                         "seed": i, "phases": 2, "max_epochs": 30, "val_ppl": None if going else float(values.min()),
                         "status": "interrupted" if going else "ok"})
            points += [{"run_id": f"r{i}", "phase": 2, "step": at + 1, "metric": metric, "value": float(value * part)}
                       for at, value in enumerate(values[:5] if going else values)
                       for metric, part in (("val_ppl", 1.0), ("train_ppl", 0.7))]
        from cvfp_core.schema.records import CURVE_SCHEMA, conform_rows

        store.write_many(folder, conform_rows(rows).records, pl.DataFrame(points, schema=CURVE_SCHEMA))
        for options in ([], ["--after", "3"]):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            done = subprocess.run([sys.executable, "-c", "from cvfp_core.cli import main; main()", "forecast",
                                   str(folder), *options], check=True, capture_output=True, text=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            print(f"cpu: cvfp forecast {' '.join(options)} on 500 runs: {spent:.2f} s; {done.stdout.splitlines()[-1]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parts = {each.__name__: each for each in (own, source, few, larger, rule, steps, cpu)}
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(parts)}, make")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="FOLDER")
    given = parser.parse_args()
    if strange := set(given.parts) - {*parts, "make"}:
        sys.exit(f"no part {', '.join(strange)}; there are: {', '.join(parts)}, make")
    for name in given.parts or parts:
        make(given.runs) if name == "make" else parts[name](given.count)


if __name__ == "__main__":
    main()
