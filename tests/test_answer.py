"""The answer box of the report on Phase 1: every number of it by plain numpy and scipy, its verdicts, its sentences."""

import csv
import functools
import re
from collections import defaultdict
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from jinja2 import DictLoader
from scipy import optimize, stats
from scipy.special import gammaln

from cvfp_analyses import effective_rank, factors
from cvfp_core.claims import findings, inference, matched, prediction, prices
from cvfp_core.errors import UsageError
from cvfp_core.ingesting.reading import read
from cvfp_core.registry import installed
from cvfp_core.registry.kinds import Light
from cvfp_core.reporting import render
from cvfp_core.reporting.view import view
from cvfp_core.reporting.write import Asked, find, write
from cvfp_core.schema.claims import Measured
from cvfp_core.schema.records import Record, frame
from ingesting import SHARED, needs_shared

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "examples" / "phase1-to-ppl" / "runs.csv"
OWN = ROOT / "tests" / "data" / "own" / "default.csv"
"""What `cvfp run --samples 10,20,40,80` makes: the default grid but its largest size."""
GOLDEN = ROOT / "tests" / "golden"
PARTS = ROOT / "templates" / "cvfp_templates"
REGISTRY = installed()
METRICS = ("val_er", "train_er", "phase1_iterations")


@functools.cache
def report(path, lang="en"):
    return write(read([path], REGISTRY), find("phase1-to-ppl", REGISTRY), REGISTRY, Asked(lang=lang)).text


def is_what_is_kept(name, lang, text):
    """Without the appendix. To renew after a change that is meant: delete the file and run the test twice."""
    kept, text = GOLDEN / f"answer-{name}.{lang}.md", re.split(r"(?m)^## (?:Appendix|付録)$", text)[0]
    if not kept.exists():
        kept.write_text(text, encoding="utf-8")
        pytest.fail(f"{kept} was not there; it is written, look at it")
    assert text == kept.read_text(encoding="utf-8")


# --- by plain numpy and scipy ---------------------------------------------------------------------------------------

def number(text):
    return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)


class Plain:
    """The model as its paper has it: a multivariate t of 4 degrees of freedom for the runs of each configuration."""

    def __init__(self, rows, metrics, degree):
        size = np.log([float(row["train_tokens"]) for row in rows])
        columns = [size - size.mean(), *(np.array([number(row[name]) for row in rows]) for name in metrics)]
        powers = [columns[0]**power for power in range(degree + 1)]
        self.covariates = len(metrics)
        self.design = np.column_stack([*powers, *((each - each.mean()) / each.std() for each in columns[1:])])
        self.target = np.log([float(row["val_ppl"]) for row in rows])
        labels = [(row["experiment"], row["variant"]) for row in rows]
        self.groups = np.array([sorted(set(labels)).index(label) for label in labels])

    def distances(self, parameters, rows, groups):
        """Of each group, Mahalanobis' distance of its residuals: one common effect with `ratio` times the variance."""
        rest = self.target[rows] - self.design[rows] @ parameters[:-2]
        n, ratio = np.bincount(groups), np.exp(parameters[-1])
        sums = np.bincount(groups, rest)
        return (np.bincount(groups, rest**2) - ratio * sums**2 / (1 + n * ratio)) / np.exp(parameters[-2]), n, ratio

    def fitted(self, without):
        """(coefficients, log likelihood, share of the covariates that is kept) of all groups but one."""
        rows = self.groups != without
        groups = np.unique(self.groups[rows], return_inverse=True)[1]
        x, y = self.design[rows], self.target[rows]

        def minus(parameters):
            distance, n, ratio = self.distances(parameters, rows, groups)
            return float(-(gammaln(2 + n / 2) - gammaln(2) - n / 2 * np.log(4 * np.pi) - n / 2 * parameters[-2]
                           - np.log1p(n * ratio) / 2 - (4 + n) / 2 * np.log1p(distance / 4)).sum())

        start = np.linalg.lstsq(x, y, rcond=None)[0]
        spread = np.log(np.square(y - x @ start).mean())
        best = optimize.minimize(minus, [*start, spread - 0.5, 0.0], method="L-BFGS-B", options={"ftol": 1e-14},
                                 bounds=[(None, None)] * (len(start) + 1) + [(-12, 8)])
        distance, n, ratio = self.distances(best.x, rows, groups)
        weight = (4 + n) / (4 + distance)
        normal = sum(w * (x[groups == k].T @ (np.eye(m) - ratio / (1 + m * ratio)) @ x[groups == k])
                     for k, (w, m) in enumerate(zip(weight, n, strict=True)))
        share = 1.0
        if c := self.covariates:
            effects = best.x[-2 - c:-2]
            block = np.linalg.inv(normal)[-c:, -c:] * np.exp(best.x[-2])
            wald = effects @ np.linalg.solve(block, effects) * (len(n) - 1 - c) / len(n)
            share = max(1 - c / max(wald, c), 0.0)
        return best.x[:-2], -best.fun, share


def left_out(rows, metrics, degree, bare=None):
    """(errors, log likelihoods), one for each configuration left out; bare: coefficients of the model without them."""
    made = Plain(rows, metrics, degree)
    errors, likelihoods, coefficients = [], [], []
    for group in range(made.groups.max() + 1):
        full, likelihood, share = made.fitted(group)
        coefficients.append(full)
        if bare is not None:
            padded = np.pad(bare[group], (0, len(metrics)))
            full = padded + share * (full - padded)
        out = made.groups == group
        errors.append(np.abs(np.expm1(made.design[out] @ full - made.target[out])).mean())
        likelihoods.append(likelihood)
    return np.array(errors), np.array(likelihoods), coefficients


def test_every_number_of_the_box_is_that_of_plain_numpy_and_scipy():
    with RUNS.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    curves = {degree: left_out(rows, (), degree) for degree in (1, 2)}
    degree = min(curves, key=lambda each: curves[each][0].mean())
    base, likelihood, bare = curves[degree]
    tried = {(): (base, likelihood)}
    for names in (*((name,) for name in METRICS), *combinations(METRICS, 2)):
        tried[names] = left_out(rows, names, degree, bare)[:2]
    k = np.array([len(names) + 1 for names in tried])[:, None]
    criteria = 2 * k + 2 * k * (k + 1) / (len(base) - 1 - k - 1) - 2 * np.array([each[1] for each in tried.values()])
    chosen = criteria.argmin(0)
    rest = np.array([each[0] for each in tried.values()])[chosen, np.arange(len(base))]
    text = report(RUNS)
    rows_shown = {row[0]: row[1:] for row in (line.strip("| ").split(" | ") for line in text.splitlines()[:25])
                  if len(row) == 8}
    for name, errors in [*((each, tried[each,][0]) for each in METRICS), ("those chosen without it", rest)]:
        change = 100 * (errors - base)
        half = stats.t.ppf(0.975, len(base) - 1) * stats.sem(change)
        runs, without, with_, mean, interval, _, _ = rows_shown[name]
        assert (runs, without, with_) == ("34", f"{base.mean():.2%}", f"{errors.mean():.2%}"), name
        assert mean == f"{change.mean():+.2f}"
        assert interval == f"[{change.mean() - half:+.2f}, {change.mean() + half:+.2f}]"
    used = [sum(name in list(tried)[index] for index in chosen) for name in METRICS]
    assert rows_shown["those chosen without it"][5] == f"{max(used)} / {len(base)}"
    sizes = sorted({int(row["train_tokens"]) for row in rows})
    cut = sum(row["phase1_censored"] == "true" for row in rows)
    box = text.split("## Validity")[0]
    assert f"with an error of {base.mean():.2%}; with the metrics of Phase 1 it is {rest.mean():.2%}" in box
    assert f"{len(sizes)} sizes, {sizes[0] / 1e3:.0f}K to {sizes[-1] / 1e3:.0f}K tokens" in box
    assert f"Phase 1 of {cut} of {len(rows)} runs ended at its limit" in box
    seeds = defaultdict(set)
    for row in rows:
        seeds[row["experiment"], row["variant"], row["train_tokens"]].add(row["seed"])
    assert max(map(len, seeds.values())) == 1
    assert "One seed" in box
    assert "(curved)" in box if degree == 2 else "(straight)" in box


# --- what may be said -----------------------------------------------------------------------------------------------

def measured(estimate, half, n=8):
    stderr = half / stats.t.ppf(0.975, n - 1)
    return inference.student(estimate, stderr, n - 1, n=n, method="")


@pytest.mark.parametrize(("change", "half", "verdict"), [
    (0.0, 0.0099, "adds nothing that matters"), (-0.005, 0.0049, "adds nothing that matters"),
    (0.0, 0.0101, "inconclusive"), (-0.02, 0.021, "inconclusive"), (-0.02, 0.015, "helps"), (0.02, 0.015, "harms"),
    (0.012, 0.002, "harms"),
])
def test_no_needs_the_interval_that_is_shown_inside_the_margin(change, half, verdict):
    made = measured(change, half)
    said, p = prediction.verdict(made, 0.01)
    assert said == verdict
    inside = made.low > -0.01 and made.high < 0.01
    assert (said == "adds nothing that matters") == inside
    assert (p < 0.05) == (said != "inconclusive")


def test_configurations_that_would_tell_are_those_at_which_the_interval_does():
    made = measured(-0.004, 0.02)
    more = prediction._more(made, 0.01)
    spread = made.stderr * np.sqrt(8)
    half = [stats.t.ppf(0.975, n - 1) * spread / np.sqrt(n) for n in (8 + more - 1, 8 + more)]
    assert half[1] < 0.006 < half[0]
    assert prediction._more(measured(0.0, 5.0), 1e-4) is None


def gain(verdict, **changed):
    return replace(prediction.Gain(
        metrics=("val_er",), runs=34, configurations=8, without=0.03, error=0.028, change=-0.002, low=-0.005,
        high=0.001, p_value=0.1, verdict=verdict, more=3, used={"val_er": 8}), **changed)


SENTENCES = {
    ("adds nothing that matters", "adds nothing that matters"): ("no", "**No.** The size alone"),
    ("adds nothing that matters", "inconclusive"): ("cannot tell", "**Cannot tell.** The size alone"),
    ("inconclusive", "adds nothing that matters"): ("cannot tell", "3 more configurations would tell"),
    ("helps", "inconclusive"): ("yes", "**Yes.** The size alone"),
    ("harms", "inconclusive"): ("worse", "Phase 1 makes the prediction worse."),
}


@pytest.mark.parametrize("verdicts", SENTENCES)
def test_each_verdict_has_its_sentence_and_no_other(verdicts):
    chosen, single = map(gain, verdicts)
    said = prediction._said(chosen, [single])
    verdict, sentence = SENTENCES[verdicts]
    assert said["verdict"] == verdict
    answer = prediction.Answer(**{"more": 0, **said}, margin=0.01, degree=2, singly=(single,), chosen=chosen, reason="",
                               refused={})
    made = render.environment(PARTS / "_answer.md.j2")
    made.loader.found.add("page")
    made.loader = DictLoader({"page": "{% import 'box' as box %}{{ box.answered(answer, none) }}",
                              "box": (PARTS / "_answer.md.j2").read_text(encoding="utf-8")})
    made.join_path = lambda template, _parent: template
    text = made.get_template("page").render(answer=answer.as_dict())
    assert sentence in text
    starts = ("**No.**", "**Yes.**", "**Cannot tell.**")
    assert sum(start in text for start in starts) == 1
    assert "nan" not in text


# --- claims ---------------------------------------------------------------------------------------------------------

def runs(*rows):
    return matched.usable(frame(rows))


def gap_runs(gaps, noise):
    return runs(*(Record(run_id=f"{i}-{size}", experiment="e", variant=f"v{i}", train_tokens=size, val_ppl=100.0,
                         val_er=0.7, train_er=0.7 + gap / 100 + noise * (size - 2000) / 1e5)
                  for i, gap in enumerate(gaps) for size in (1000, 2000, 3000)))


@pytest.mark.parametrize(("gaps", "noise", "verdict"), [
    ([0.8, 0.9, 1.0, 1.1, 0.95, 1.05] * 2, 0.1, "supported"),
    ([0.9, 1.0, 1.1] * 4 + [3.0] * 3 + [1.0], 0.05, "contradicted"),  # 3 of 16 are above, however low the mean
    ([0.9, 1.0, 1.1] * 4 + [2.1], 0.9, "inconclusive"),  # above by less than its runs differ by
    ([0.3, 1.9, 0.5, 1.8, 0.4, 1.7], 0.1, "inconclusive"),  # none above, and the next one may be
])
def test_at_most_is_a_limit_and_no_mean(gaps, noise, verdict):
    (found,) = (each for each in effective_rank.rank_gap(gap_runs(gaps, noise), []) if each.key == "gap")
    assert found.verdict == verdict
    assert found.estimate == pytest.approx(np.mean(gaps), abs=1e-6)
    if verdict == "contradicted":
        assert found.values["above"] == 3


def factor_runs(slopes, seeds=(1,), widths=(16, 32, 64)):
    """Runs whose log perplexity rises with the width by a slope a doubling, another in each experiment."""
    rng = np.random.default_rng(0)
    return runs(*(Record(
        run_id=f"{i}-{width}-{size}-{seed}", experiment=f"e{i}", variant=f"1L_{width}d_1tok", num_layers=1,
        num_input_tokens=1, context_dim=width, seed=seed, train_tokens=size, val_er=0.5,
        settings=f'{{"a": {{"b": {i}}}}}',
        val_ppl=float(np.exp(5 - 0.4 * np.log(size / 1e4) + slope * np.log2(width) + 1e-3 * rng.standard_normal())))
        for i, slope in enumerate(slopes) for width in widths for size in (10_000, 20_000, 40_000) for seed in seeds))


def test_slopes_that_disagree_are_said_before_they_are_pooled_and_carry_no_verdict():
    data = factor_runs([-0.03, 0.04])
    (found,) = (each for each in factors.context_dim(data, []) if each.key == "val_ppl")
    assert found.verdict == "inconclusive"
    assert re.search(r"e0 -0\.0(30?|29\d), e1 \+0\.04", str(found.caveats[0]))
    y, x, group = [], [], []
    for i in range(2):
        means = data.filter(experiment=f"e{i}").group_by("context_dim").agg(pl.col("val_ppl").log().mean())
        mine = means.sort("context_dim")
        y += mine["val_ppl"].to_list()
        x += np.log2(mine["context_dim"].to_numpy()).tolist()
        group += [i] * 3
    x, y, group = map(np.array, (x, y, group))
    full = np.column_stack([group == 0, group == 1, x * (group == 0), x * (group == 1)]).astype(float)
    one = np.column_stack([group == 0, group == 1, x]).astype(float)
    squares = [np.square(y - each @ np.linalg.lstsq(each, y, rcond=None)[0]).sum() for each in (one, full)]
    assert found.caveats[0].values["p"] == pytest.approx(
        stats.f.sf((squares[0] - squares[1]) / (squares[1] / 2), 1, 2), rel=1e-6)
    (steeper,) = (each for each in factors.context_dim(factor_runs([0.03, 0.08]), []) if each.key == "val_ppl")
    assert steeper.p_value < 0.05  # pooled, it would be supported
    assert steeper.verdict == "inconclusive"
    (agree,) = (each for each in factors.context_dim(factor_runs([0.04, 0.04]), []) if each.key == "val_ppl")
    assert agree.verdict == "supported"
    assert not any("slopes" in str(each) for each in agree.caveats)


@pytest.mark.parametrize(("seeds", "verdict", "tested"), [
    ((1,), "inconclusive", False), ((1, 2, 3), "supported", True)])
def test_a_pair_over_sizes_of_one_seed_has_no_verdict_and_over_seeds_it_has(seeds, verdict, tested):
    data = factor_runs([0.04], seeds, widths=(16, 32))
    pair = findings.test_all(data.drop("series", "control", "size"), [], REGISTRY)
    found = {(each.analysis, each.key): each for each in pair}
    for each in (found["groups", "e0:1L_16d_1tok vs e0:1L_32d_1tok"], found["context-dim", "val_ppl"]):
        assert (each.verdict, each.tested) == (verdict, tested)
        assert any("one seed" in str(caveat) for caveat in each.caveats) == (not tested)
    logs = data.pivot("context_dim", index=["seed", "size"], values="val_ppl")
    by_seed = logs.group_by("seed").agg((pl.col("32") / pl.col("16")).log().mean().alias("log"))["log"].to_numpy()
    if tested:
        expected = stats.ttest_1samp(by_seed, 0.0)
        assert found["context-dim", "val_ppl"].p_value == pytest.approx(expected.pvalue, rel=1e-6)
        assert found["context-dim", "val_ppl"].n == 3


def test_what_could_not_be_tested_says_what_it_takes_and_is_not_counted():
    four = Measured(estimate=0.8, p_value=0.3, n=4, least=5)
    judged = findings.Judged(verdict="inconclusive", p_value=0.3)
    made = findings.finding(four, judged, key="k", question="q?", claim="c.", unit="")
    assert not made.tested
    assert str(made.caveats[0]) == "Not tested: it takes 5 series, and there are 4."
    text = report(RUNS)
    tested, supported, contradicted, inconclusive = map(int, re.search(
        r"Claims tested: (\d+) \((\d+) supported, (\d+) contradicted, (\d+) inconclusive\)", text).groups())
    assert tested == supported + contradicted + inconclusive
    every = findings.test_all(read([RUNS], REGISTRY).records, [], REGISTRY)
    assert tested == sum(each.tested for each in every)
    untested, confounded, few = map(int, re.search(
        r"Not tested: (\d+) \((\d+) confounded, (\d+) for want", text).groups())
    assert tested + untested == len(every)
    assert untested == confounded + few


# --- prices ---------------------------------------------------------------------------------------------------------

LIGHT = Light(name="er", title="", metric="val_er", better="higher", green=0.9, red=0.7)


def priced(ranks, factors_):
    """One size; perplexity 100 times a factor, Phase 1 takes 10 s and Phase 2 30."""
    return frame([Record(run_id=str(i), experiment="e", variant=f"v{i}", train_tokens=1000, val_er=rank,
                         val_ppl=100 * each, seconds_phase1=10.0, seconds_phase2=30.0)
                  for i, (rank, each) in enumerate(zip(ranks, factors_, strict=True))])


def test_a_threshold_s_price_is_the_best_perplexity_lost_against_the_time_of_phase_2():
    data = priced([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], [1.0, 1.4, 1.3, 1.2, 1.1, 1.15, 1.25, 1.05])
    made = {each.threshold: each for each in prices.prices(data, [LIGHT])}
    half = made[0.5]
    assert (half.stopped, half.judged) == (4, 8)
    assert half.seconds_saved == pytest.approx(4 * 30 / (8 * 40))
    assert half.best_lost == pytest.approx(1.05 / 1.0 - 1)  # the best run, of the lowest rank, is stopped
    stopped, kept = np.log([1.0, 1.4, 1.3, 1.2]), np.log([1.1, 1.15, 1.25, 1.05])
    assert half.ratio == pytest.approx(np.exp(stopped.mean() - kept.mean()))


def test_the_best_rule_in_hindsight_is_worth_less_where_there_is_nothing():
    rng = np.random.default_rng(1)
    made = []
    for _ in range(40):
        data = priced(rng.uniform(size=12), np.exp(0.05 * rng.standard_normal(12)))
        found = prices.hindsight(data, [LIGHT])
        made.append((np.log(found.best.ratio), 0.0 if found.left_out is None else np.log(found.left_out)))
    best, out = np.array(made).mean(0)
    assert best > 0.01  # chosen on the runs it is judged by
    assert out < best / 2
    sure = prices.hindsight(priced(np.arange(12) / 12, np.exp(-0.02 * np.arange(12))), [LIGHT])
    assert sure.best.ratio > 1.1
    assert sure.left_out > 1.1


# --- the report -----------------------------------------------------------------------------------------------------

def body(text):
    lines = text.splitlines()
    return next(i for i, line in enumerate(lines) if line in ("## Appendix", "## 付録"))


def test_the_report_of_the_source_s_runs_is_short_and_answers_first():
    text = report(RUNS)
    assert body(text) <= 200
    assert any(line.startswith("**No.**") for line in text.splitlines()[:25])


@needs_shared
@pytest.mark.parametrize(("lang", "no"), [("en", "**No.**"), ("ja", "**予測できない。**")])
def test_the_report_of_all_runs_is_short_answers_first_and_is_what_is_kept(lang, no):
    text = report(SHARED, lang)
    assert body(text) <= 250
    assert any(line.startswith(no) for line in text.splitlines()[:25])
    is_what_is_kept("all-runs", lang, text)


def test_a_sentence_of_the_report_claims_what_a_test_supports_and_the_others_ask():
    text = report(RUNS).partition("## Appendix")[2]
    said = re.findall(r"(?m)^- \*\*([a-z ]+)\*\* — (.+?[.?])(?: Estimate .*| Method: .*)?$", text)
    every = [each for each in findings.test_all(read([RUNS], REGISTRY).records, [], REGISTRY)
             if each.analysis not in ("groups", "controls", "unigram")]
    assert [verdict for verdict, _ in said] == [
        each.verdict if each.tested or each.verdict == "confounded" else "not tested" for each in every]
    assert [sentence for verdict, sentence in said if verdict == "supported"] == [
        "Val ER changes by less than 0.25 points per doubling of data.",
        "The higher Train ER, the higher Val ER.",
        "Train ER lies at most 2 points above Val ER.",
        "The gap between Train ER and Val ER grows with data.",
        "Log-log curves flatten: the more data, the closer alpha is to zero.",
        "alpha of v4:1L_1085d_1tok gets closer to zero with more data: from -0.478 to -0.399.",
        "At equal data, the lower Train PPL, the lower Val PPL.",
        "The larger context_dim, the lower Val ER.",
        "No two runs are the same run under two labels.",
        "Every configuration was run at every size of its experiment.",
    ]
    assert all(sentence.endswith("?") for verdict, sentence in said if verdict != "supported")
    for line in text.splitlines():
        assert not (line.startswith(("- **not tested**", "- **confounded**")) and "p = " in line), line


def made_runs(kind):
    rng = np.random.default_rng(3)
    sizes = (10_000, 20_000, 40_000, 80_000, 160_000)[:{"one series": 3, "no phase 1": 5}.get(kind, 4)]
    series = {"one series": 1, "24 series": 24}.get(kind, 2)
    modes = ("trained", "untrained", "zero-context") if kind == "controls" else (None,)
    return frame([Record(
        run_id=f"{i}-{size}-{seed}-{mode}", experiment=f"e{i % 2}", variant=f"1L_{16 + i}d_1tok", num_layers=1,
        context_dim=16 + i, num_input_tokens=1, seed=seed, phase1_mode=mode, train_tokens=size,
        num_samples=None if kind == "no phase 1" else size // 1000,
        val_er=None if kind == "no phase 1" or mode == "zero-context" else 0.7 + 0.003 * i + 1e-3 * rng.uniform(),
        train_er=None if kind == "no phase 1" or mode == "zero-context" else 0.71 + 0.003 * i,
        phase1_iterations=None if kind == "no phase 1" else 10 + i,
        val_ppl=float(np.exp(5.5 - 0.4 * np.log(size / 1e4) + 0.02 * rng.standard_normal())))
        for i in range(series) for size in sizes for mode in modes
        for seed in ((1, 2, 3) if kind == "controls" else (1,))])


@pytest.mark.parametrize(("kind", "lang"), [
    ("one series", "en"), ("one series", "ja"), ("24 series", "en"), ("24 series", "ja"), ("controls", "en"),
    ("controls", "ja"), ("own run", "en"), ("own run", "ja"), ("no phase 1", "ja")])
def test_a_report_of_any_runs_is_what_is_kept_without_an_empty_table_or_a_number_that_is_none(kind, lang, tmp_path):
    file = OWN
    if kind != "own run":
        file = tmp_path / "runs.csv"
        made_runs(kind).write_csv(file)
    text = report(file, lang)
    assert not re.search(r"(?m)\bnan\b|None|\binf\b", text)
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len(table.splitlines()) > 2, table
    if lang == "ja":
        assert not re.search(r"\d %", text)
    is_what_is_kept(kind.replace(" ", "-"), lang, text)


def test_thresholds_that_are_given_hold_everywhere_in_the_report():
    made = view(read([RUNS], REGISTRY), REGISTRY, {"findings", "decisions"}, options={"thresholds": "val_er.red=0.72"})
    (test,) = (each for each in made["decisions"]["backtests"] if each["rule"] == "val_er")
    (found,) = (each for each in made["findings"] if (each["analysis"], each["key"]) == ("lights", "val_er"))
    assert found["values"]["stopped"] == test["stopped"] == 9  # 1537d of v1, 1085d of v4; 17 below 0.75


def test_what_an_option_cannot_be_is_said_in_one_line():
    runs = read([RUNS], REGISTRY)
    for name, options, said in (("answer", {"margin": 0.0}, "above 0"),
                                ("examples", {"examples": "x"}, "takes numbers"),
                                ("decisions", {"thresholds": "val_er.green"}, "takes thresholds"),
                                ("decisions", {"thresholds": "er.red=0.1"}, "unknown threshold")):
        with pytest.raises(UsageError, match=said):
            view(runs, REGISTRY, {name}, options=options)
