"""Arms compared at equal size and seed: ratio, multiplier, chance of being best, verdict."""

import json

import numpy as np
import polars as pl
import pytest
from scipy import stats
from typer.testing import CliRunner

import cvfp_core as cvfp
from cvfp_core.claims import inference
from cvfp_core.cli.app import app
from cvfp_core.deciding.comparison import verdict
from cvfp_core.deciding.multiplier import chances
from cvfp_core.deciding.pairs import ODDS, SHARED, Belief, Pair, Pairs, belief, settled_by
from cvfp_core.errors import UsageError
from cvfp_core.registry import installed
from cvfp_core.reporting.comparison import compare
from cvfp_core.schema.claims import Measured
from cvfp_core.schema.records import Record, frame
from laws_data import needs_shared, newllm

SIZES = np.geomspace(1e7, 1e9, 6)


def law(tokens):
    return 2 + 100 * tokens**-0.2


def arms(factors, *, noise=0.004, seeds=3, sizes=SIZES, seed=0, common=0.0, of=law):
    """Runs of arms that are worth so many times the data; `common` noise is shared by the runs of a size and seed."""
    rng = np.random.default_rng(seed)
    rows = []
    for tokens in sizes:
        for number in range(seeds):
            shared = common * rng.standard_normal()
            rows += [{"optimizer": name, "seed": number, "train_tokens": tokens,
                      "val_loss": of(times * tokens) * np.exp(shared + noise * rng.standard_normal())}
                     for name, times in factors.items()]
    return pl.DataFrame(rows)


def one(made):
    (each,) = made
    return each


def test_the_multiplier_of_an_arm_is_found_by_a_shared_law_and_by_a_law_for_each():
    made = one(cvfp.compare(arms({"a": 1.0, "b": 1.25}, noise=1e-5), by="optimizer", y="val_loss"))
    assert made.multiplier.value == pytest.approx(1.25, rel=1e-3)
    assert made.free.value == pytest.approx(1.25, rel=5e-3)
    assert made.free_at == pytest.approx(1e9)
    logs = [np.log(law(1.25 * tokens) / law(tokens)) for tokens in SIZES]
    assert made.ratio.value == pytest.approx(np.exp(np.mean(logs)), rel=1e-4)
    assert made.verdict == "better"
    back = one(cvfp.compare(arms({"a": 1.0, "b": 1.25}, noise=1e-5), by="optimizer", y="val_loss", arms=["b", "a"]))
    assert back.multiplier.value == pytest.approx(0.8, rel=1e-3)
    assert back.verdict == "worse"


def test_what_the_runs_of_a_pair_share_does_not_count():
    made = one(cvfp.compare(arms({"a": 1.0, "b": 1.25}, noise=1e-4, common=0.02), by="optimizer", y="val_loss"))
    assert 1.2 < made.multiplier.low < 1.25 < made.multiplier.high < 1.3


def test_the_interval_of_a_ratio_is_over_seeds():
    runs = arms({"a": 1.0, "b": 1.1})
    made = one(cvfp.compare(runs, by="optimizer", y="val_loss"))
    wide = runs.pivot("optimizer", index=["train_tokens", "seed"], values="val_loss")
    logs = wide.with_columns(d=(pl.col("b") / pl.col("a")).log())
    means = logs.group_by("seed").agg(pl.col("d").mean())["d"].to_numpy()
    known = stats.ttest_1samp(means, 0).confidence_interval()
    assert (made.ratio.low, made.ratio.high) == pytest.approx(tuple(np.exp(known)))
    assert made.ratio.p_value == pytest.approx(stats.ttest_1samp(means, 0).pvalue)
    assert (made.level, made.units, made.pairs) == ("seeds", 3, 18)


def test_the_interval_of_several_configurations_is_over_these():
    rng = np.random.default_rng(1)
    rows, effects = [], rng.normal(0.02, 0.05, 4)
    for number, effect in enumerate(effects):
        for tokens in SIZES:
            rows += [Record(run_id=f"{name}-{number}-{tokens}", experiment=name, variant=f"v{number}", seed=0,
                            train_tokens=tokens, val_ppl=float(100 * tokens**-0.1 * np.exp(shift)))
                     for name, shift in (("one", 0.0), ("two", effect))]
    made = compare(frame(rows), "one", "two", installed())
    known = stats.ttest_1samp(effects, 0).confidence_interval()
    assert (made["ratio"]["low"], made["ratio"]["high"]) == pytest.approx(tuple(np.exp(known)))
    assert (made["level"], made["units"], len(made["pairs"])) == ("configurations", 4, 24)


@needs_shared
def test_twelve_runs_of_three_published_configurations_are_three_observations():
    made = compare(newllm(), "v1", "v2", installed())
    assert len(made["pairs"]) == 12
    assert made["units"] == 3
    logs = pl.DataFrame({"variant": [each["variant"] for each in made["pairs"]],
                         "d": [np.log(each["b"]["val_ppl"] / each["a"]["val_ppl"]) for each in made["pairs"]]})
    known = stats.ttest_1samp(logs.group_by("variant").agg(pl.col("d").mean())["d"], 0).confidence_interval()
    assert (made["ratio"]["low"], made["ratio"]["high"]) == pytest.approx(tuple(np.exp(known)))
    assert known.high - known.low > 1.5 * np.log(1.006 / 0.936)  # of twelve observations


def test_every_run_that_is_paired_is_counted_so_and_the_table_has_a_row_for_each_seed():
    records = frame(
        Record(run_id=f"{name}-{tokens}-{seed}", experiment=name, variant="v", seed=seed, train_tokens=tokens,
               val_ppl=level * tokens**-0.1 * (1 + 0.01 * seed))
        for name, level in (("one", 100.0), ("two", 90.0)) for tokens in (1e6, 2e6, 4e6, 8e6, 16e6)
        for seed in (0, 1, 2))
    made = compare(records, "one", "two", installed())
    assert made["unmatched"] == 0
    assert len(made["pairs"]) == 15
    for pair in made["pairs"]:
        assert pair["ratio"] == pytest.approx(pair["b"]["val_ppl"] / pair["a"]["val_ppl"])
        assert pair["a"]["seed"] == pair["b"]["seed"] == pair["seed"]
    fewer = records.filter(~((pl.col("experiment") == "two") & (pl.col("seed") == 2) & (pl.col("train_tokens") < 3e6)))
    assert compare(fewer, "one", "two", installed())["unmatched"] == 2


def test_what_is_left_without_runs_cut_short_may_be_nothing():
    records = frame(Record(run_id=f"{name}{tokens}", experiment=name, variant="v", seed=0, train_tokens=tokens,
                           val_ppl=level * tokens**-0.1, phase2_censored=name == "one")
                    for name, level in (("one", 100.0), ("two", 90.0)) for tokens in (1e6, 2e6, 4e6))
    made = compare(records, "one", "two", installed())
    assert len(made["pairs"]) == 3
    assert (made["without_censored"]["n"], made["without_censored"]["ratio"]) == (0, None)


def test_runs_of_no_common_seed_are_paired_by_their_geometric_mean():
    rows = [Record(run_id=f"{name}{seed}", experiment=name, variant="v", seed=seed, train_tokens=1e6, val_ppl=value)
            for name, seed, value in (("one", 0, 20.0), ("one", 1, 80.0), ("two", 2, 30.0), ("two", 3, 30.0))]
    (pair,) = compare(frame(rows), "one", "two", installed())["pairs"]
    assert pair["seed"] is None
    assert pair["a"]["val_ppl"] == pytest.approx(40)
    assert pair["ratio"] == pytest.approx(0.75)


def test_the_report_says_the_same_as_the_command(tmp_path):
    records = arms({"one": 1.0, "two": 1.3}).rename({"optimizer": "experiment"}).with_columns(
        variant=pl.lit("v"), val_ppl=pl.col("val_loss").exp()).drop("val_loss")
    table = tmp_path / "runs.csv"
    records.write_csv(table)
    made = one(cvfp.compare(str(table), by="experiment", y="val_ppl"))
    view = compare(cvfp.read(str(table)).records, "one", "two", installed())
    for name in ("ratio", "multiplier"):
        span = getattr(made, name)
        assert (view[name]["value"], view[name]["low"], view[name]["high"]) == (span.value, span.low, span.high)
    text = str(cvfp.write_report(str(table), template="compare", options={"a": "one", "b": "two"}))
    assert f"needs {made.multiplier.value:.2f} times the tokens of two" in text
    assert "The interval is over 3 seeds." in text
    assert "no partner" not in text
    told = str(cvfp.write_report(str(table), template="compare", lang="ja", options={"a": "one", "b": "two"}))
    assert "区間は3個のシードにわたる。" in told


def test_arms_that_differ_less_than_the_margin_are_equivalent():
    same = arms({"a": 1.0, "b": 1.0}, noise=0.001)
    assert one(cvfp.compare(same, by="optimizer", y="val_loss")).verdict == "equivalent"
    assert one(cvfp.compare(same, by="optimizer", y="val_loss", margin=1e-5)).verdict == "not settled"
    loud = arms({"a": 1.0, "b": 1.0}, noise=0.05)
    assert one(cvfp.compare(loud, by="optimizer", y="val_loss")).verdict == "not settled"


def test_equivalence_is_two_one_sided_tests():
    values = np.array([0.001, 0.004, -0.002, 0.003])
    mean = inference.mean(values)
    p = max(stats.ttest_1samp(values, edge, alternative=way).pvalue for edge, way in (
        (np.log1p(0.0065), "less"), (-np.log1p(0.0065), "greater")))
    assert (p < 0.05) == (verdict(mean, 0.0065, "lower") == "equivalent")
    edge = abs(mean.estimate) + stats.t.ppf(0.95, 3) * mean.stderr
    assert verdict(mean, np.expm1(edge) * 1.001, "lower") == "equivalent"
    assert verdict(mean, np.expm1(edge) * 0.999, "lower") == "not settled"


def test_how_many_seeds_would_settle_it_is_where_the_interval_ends_at_one():
    mean = Measured(estimate=0.01, low=-0.01, high=0.03, stderr=0.01, dof=3, n=4)
    needed = settled_by(mean, 0.05)
    half = {n: stats.t.ppf(0.975, n - 1) * 0.02 / np.sqrt(n) for n in (needed["different"], needed["different"] - 1)}
    assert half[needed["different"]] < 0.01 < half[needed["different"] - 1]
    assert needed["equivalent"] < needed["different"]
    assert settled_by(mean, 0.005)["equivalent"] is None  # the estimate itself lies beyond the margin


def test_noise_that_pairs_share_leaves_the_interval_of_a_law_for_each():
    def width(runs):
        free = one(cvfp.compare(runs, by="optimizer", y="val_loss")).free
        return np.log(free.high / free.low)

    runs = arms({"a": 1.0, "b": 1.1}, noise=0.002, common=0.006, seeds=40)
    apart = runs.with_columns(seed=pl.col("seed") + 100 * (pl.col("optimizer") == "b"))
    correlation = 0.006**2 / (0.006**2 + 0.002**2)
    assert width(runs) / width(apart) == pytest.approx(np.sqrt(1 - correlation), rel=0.1)


def test_the_chance_of_being_best_is_that_of_the_offset():
    def alone(value, error, dof):
        return Belief(values=np.array([value]), errors=np.array([error]), weights=np.ones(1), dof=dof)

    assert chances([alone(0.1, 0.05, 4)]) == pytest.approx((stats.t.sf(2, 4), stats.t.cdf(2, 4)))
    flat = alone(0.0, 0.05, 1e6)
    assert chances([flat, flat]) == pytest.approx((1 / 3,) * 3, abs=0.01)
    assert chances([flat, alone(1.0, 0.05, 1e6)])[2] > 0.999


def test_what_pairs_say_weighs_how_much_seeds_may_share_by_the_likelihood():
    rng = np.random.default_rng(2)
    items = tuple(Pair(configuration=(), size=float(size), seed=seed, left=(0,), right=(0,))
                  for size in range(4) for seed in range(2 + (size > 1)))
    pairs = Pairs(items=items, matched_by=(), unmatched=(0, 0))
    slope, units, n = rng.uniform(0.5, 1.5, len(items)), pairs.units, len(items)
    observed = 0.3 * slope + rng.standard_normal(n) + np.array([0.0, 0.8, -0.5])[units]
    value = float(slope @ observed / (slope @ slope))
    made = belief(value, observed - value * slope, pairs, slope)
    said, logs = [], []
    for share in SHARED:  # the same by dense matrices
        spread = np.eye(n) + share * (units[:, None] == units)
        inverse = np.linalg.inv(spread)
        precision = slope @ inverse @ slope
        centre = slope @ inverse @ observed / precision
        rss = (observed - centre * slope) @ inverse @ (observed - centre * slope)
        said.append(stats.t.cdf(centre / np.sqrt(rss / (n - 1) / precision), n - 1))
        logs.append(-0.5 * (np.linalg.slogdet(spread)[1] + np.log(precision) + (n - 1) * np.log(rss)))
    weights = ODDS * np.exp(np.array(logs) - max(logs))
    assert made.above() == pytest.approx(weights @ said / weights.sum(), rel=1e-9)
    assert belief(value, np.zeros(n), pairs).above() == 1.0  # no scatter
    one = Pairs(items=items[:1], matched_by=(), unmatched=(0, 0))
    assert belief(value, np.zeros(1), one) is None


def test_what_pairs_of_one_seed_say_is_their_t_distribution():
    rest = np.array([0.1, -0.2, 0.05, 0.05])
    items = tuple(Pair(configuration=(), size=float(size), seed=None, left=(0,), right=(0,)) for size in range(4))
    made = belief(0.1, rest, Pairs(items=items, matched_by=(), unmatched=(0, 0)))
    assert made.above() == pytest.approx(1 - stats.ttest_1samp(rest + 0.1, 0, alternative="greater").pvalue)


def test_curves_that_cross_are_said_to_and_where():
    def slow(tokens):
        return 3.04 + 100 * tokens**-0.25

    runs = pl.concat([arms({"a": 1.0}, noise=1e-3), arms({"b": 1.0}, noise=1e-3, seed=1, of=slow)])
    made = cvfp.compare(runs, by="optimizer", y="val_loss")
    each = one(made)
    assert each.shape_p < 0.01
    grid = np.geomspace(1e7, 1e10, 100_000)
    (known,) = grid[np.flatnonzero(np.diff(np.sign(law(grid) - slow(grid))))]
    assert each.crossing == pytest.approx(known, rel=0.3)
    assert any("differ in shape" in note for note in each.notes)


def test_several_arms_and_paths_are_compared_with_the_first(tmp_path):
    runs = arms({"a": 1.0, "b": 1.2, "c": 2.0})
    made = cvfp.compare(runs, by="optimizer", y="val_loss", at=[1e10, 1e12])
    assert [(each.baseline, each.arm) for each in made] == [("a", "b"), ("a", "c")]
    assert made.chances[0].best["c"] > 0.95
    assert sum(made.chances[0].best.values()) == pytest.approx(1)
    assert "times the largest train_tokens" in made.chances[1].warning
    files = []
    for name in "ab":
        files.append(tmp_path / f"{name}.csv")
        runs.filter(optimizer=name).drop("optimizer").write_csv(files[-1])
    done = CliRunner().invoke(app, ["compare", *map(str, files), "--y", "val_loss", "--json"])
    assert done.exit_code == 0, done.output
    (printed,) = json.loads(done.stdout)["comparisons"]
    pair = one(cvfp.compare(*map(str, files), y="val_loss"))
    assert printed["multiplier"]["value"] == pair.multiplier.value == pytest.approx(made[0].multiplier.value, rel=1e-6)
    for room in (80, 200):
        assert "multiplier" in made.text(room)
    assert len(made.to_frame()) == len(made.summary().splitlines()) == 2


def test_what_else_differs_is_listed_but_not_what_tells_the_arms_apart():
    rate = pl.when(pl.col("optimizer") == "a").then(1e-3).otherwise(2e-3)
    runs = arms({"a": 1.0, "b": 1.2}).with_columns(learning_rate=rate, family=pl.col("optimizer") + "-net")
    made = one(cvfp.compare(runs, by="optimizer", y="val_loss"))
    assert {each.name: (each.left, each.right) for each in made.differences} == {
        "family": ("a-net", "b-net"), "learning_rate": (1e-3, 2e-3)}


@pytest.mark.parametrize(("change", "said"), [
    ({"arms": ["a"]}, "one arm, a: two or more are compared"),
    ({"arms": ["a", "z"]}, "no arm 'z' by optimizer; there are: a, b"),
    ({"margin": 0.0}, "--margin must be a ratio that does not matter"),
    ({"law": "chinchilla"}, "arms are compared along one size; law 'chinchilla' is a function of params, train_tokens"),
    ({"where": "optimizer == 'a' or train_tokens > 1e10"}, "one arm, a"),
    ({"where": "(optimizer == 'a' and train_tokens < 5e7) or (optimizer == 'b' and train_tokens > 5e7)"},
     "no train_tokens in common: a has "),
])
def test_what_cannot_be_compared_is_refused_in_one_line(change, said):
    with pytest.raises(UsageError) as error:
        cvfp.compare(arms({"a": 1.0, "b": 1.2}), **({"by": "optimizer", "y": "val_loss"} | change))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_group_is_not_reported_against_itself(tmp_path):
    arms({"a": 1.0, "b": 1.3}).write_csv(tmp_path / "runs.csv")
    done = CliRunner().invoke(app, ["report", str(tmp_path / "runs.csv"), "--template", "compare", "--set", "a=a",
                                    "--set", "b=a"])
    assert done.exit_code == 2
    assert "--set a and --set b are both 'a'; name two" in done.stderr


def test_series_of_one_table_are_arms(tmp_path):
    arms({"a": 1.0, "b": 1.3}).write_csv(tmp_path / "runs.csv")
    pair = one(cvfp.compare(str(tmp_path / "runs.csv"), y="val_loss"))
    assert (pair.baseline, pair.arm, pair.pairs) == ("runs:a", "runs:b", 18)
    assert [each.name for each in pair.differences] == ["optimizer"]
    measured = one(cvfp.compare(str(tmp_path / "runs.csv")))
    assert (measured.response, measured.ratio) == ("val_loss", pair.ratio)


def test_arms_of_the_same_sizes_but_other_variants_are_not_said_to_have_none_in_common():
    runs = arms({"a": 1.0, "b": 1.2}).with_columns(variant=pl.col("optimizer"))
    with pytest.raises(UsageError, match=r"have train_tokens 1e\+07 in common, but no runs of one experiment and "
                                         "variant there"):
        cvfp.compare(runs, runs.filter(optimizer="a").with_columns(variant=pl.lit("c")), y="val_loss")


def test_the_same_runs_twice_are_as_likely_to_be_the_best():
    runs = arms({"a": 1.0})
    made = cvfp.compare(runs, runs, y="val_loss")
    assert list(made.chances[0].best.values()) == pytest.approx([0.5, 0.5], abs=0.01)
    assert one(made).verdict == "equivalent"


def test_arms_without_a_trend_have_no_multiplier_and_say_why():
    flat = arms({"a": 1.0, "b": 1.2}).with_columns(val_loss=pl.lit(2.5))
    assert "no multiplier: law 'saturating' shows no trend that both arms share" in one(
        cvfp.compare(flat, by="optimizer", y="val_loss")).notes


def test_runs_that_are_not_used_are_counted():
    runs = arms({"a": 1.0, "b": 1.2}).with_columns(
        val_loss=pl.when((pl.col("optimizer") == "b") & (pl.col("seed") == 2)).then(None).otherwise(pl.col("val_loss")))
    made = one(cvfp.compare(runs, by="optimizer", y="val_loss"))
    assert made.unmatched == (6, 0)
    assert "6 of 18 runs and 0 of 12 have no partner of their size and seed" in made.notes
    said = "6 of 18 runs of b are not used: not finished, without train_tokens or val_loss, or another's copy"
    assert said in made.notes


def test_runs_that_show_nothing_learned_are_said_of_the_arm_that_has_them():
    runs = arms({"a": 1.0, "b": 0.5}).with_columns(val_ppl=pl.col("val_loss").exp(), unigram_ppl=pl.lit(600.0))
    worse = runs.filter((pl.col("optimizer") == "b") & (pl.col("val_ppl") >= 600)).height
    assert worse
    said = str(cvfp.compare(runs.filter((pl.col("optimizer") == "b") | (pl.col("val_ppl") < 600)), by="optimizer",
                            y="val_ppl"))
    assert f"b: {worse} of 18 runs have no lower Val PPL than the unigram model" in " ".join(said.split())
    assert "a: " not in said


def test_a_multiplier_is_of_compute_where_compute_is_the_size(tmp_path):
    runs = arms({"a": 1.0, "b": 1.25}, noise=1e-5).with_columns(flops=6e8 * pl.col("train_tokens"))
    made = cvfp.compare(runs, by="optimizer", x="flops", y="val_loss")
    assert one(made).multiplier.value == pytest.approx(1.25, rel=2e-3)
    assert one(made).free_at == pytest.approx(6e17)
    figure = made.plot(tmp_path / "arms.svg")
    assert [line.get_label() for line in figure.axes[0].lines if line.get_label()[0] != "_"] == ["a", "b"]
    assert (tmp_path / "arms.svg").is_file()


def test_two_sizes_give_a_ratio_and_no_multiplier():
    made = one(cvfp.compare(arms({"a": 1.0, "b": 1.2}, sizes=SIZES[:2]), by="optimizer", y="val_loss"))
    assert made.ratio is not None
    assert made.multiplier is None
    assert any("no multiplier: law 'saturating' needs 3 sizes" in note for note in made.notes)
