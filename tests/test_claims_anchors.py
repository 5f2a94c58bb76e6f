"""Estimates, verdicts and comparisons of groups, held by scipy and by counting."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from cvfp_core.claims import decisions, inference, matched, verdicts
from cvfp_core.registry.kinds import Light
from cvfp_core.schema.claims import Measured
from cvfp_core.schema.records import Record, frame


def of_t(r, n, factor=lambda _: 1.0):
    """The interval on Fisher's z whose half-width is the z at which the t test has p = 5 %; factor: Bonett & Wright."""
    t = stats.t.ppf(0.975, n - 2)
    limit = t / np.sqrt(n - 2 + t**2)
    half = np.arctanh(limit) * np.sqrt(factor(r) / factor(limit))
    return np.tanh(np.arctanh(r) - half), np.tanh(np.arctanh(r) + half)


def test_means_and_correlations_have_the_intervals_and_p_values_of_scipy():
    rng = np.random.default_rng(0)
    for n in (3, 4, 8, 9, 20):
        x = rng.standard_normal(n)
        y = 0.5 * x + rng.standard_normal(n)
        theirs = stats.ttest_1samp(x, 0.0)
        ours = inference.mean(x)
        assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval()))
        assert (ours.estimate, ours.p_value, ours.dof, ours.n) == pytest.approx((x.mean(), theirs.pvalue, n - 1, n))
        theirs, ours = stats.pearsonr(x, y), inference.pearson(x, y)
        assert ours.estimate == pytest.approx(theirs.statistic)
        if n == 3:  # Fisher's z has a standard error of 1 / sqrt(n - 3): no interval, so no test
            assert (ours.low, ours.high, ours.p_value, ours.least) == (None, None, None, 4)
        else:
            assert ours.p_value == pytest.approx(theirs.pvalue)
            assert (ours.low > 0 or ours.high < 0) == (theirs.pvalue < 0.05)  # one test
            assert (ours.low, ours.high) == pytest.approx(of_t(theirs.statistic, n))
            assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval()), abs=0.25 / np.sqrt(n))
    assert inference.pearson(x[:2], y[:2]).estimate is None
    assert inference.pearson(x, np.full(20, 0.1)).estimate is None
    perfect = inference.pearson(x, 3 - 2 * x)
    assert (perfect.estimate, perfect.low, perfect.high) == (pytest.approx(-1), None, None)
    assert perfect.p_value < 1e-12
    near = inference.pearson(np.arange(6.0), np.arange(6.0) + 1e-5 * np.array([1, -1, 1, -1, 1, -1]))
    rest = 1 - stats.linregress(np.arange(6.0), np.arange(6.0) + 1e-5 * np.array([1, -1, 1, -1, 1, -1])).rvalue**2
    assert near.p_value == pytest.approx(2 * stats.t.sf(np.sqrt(4 / rest), 4), rel=1e-3)


def test_rank_correlations_are_exact_for_up_to_eight_pairs_and_scipy_s_beyond():
    rng = np.random.default_rng(1)
    for n in (4, 6, 8, 9, 15):
        x, y = rng.integers(0, 6, n).astype(float), rng.standard_normal(n)
        theirs, ours = stats.spearmanr(x, y), inference.spearman(x, y)
        assert ours.estimate == pytest.approx(theirs.statistic)
        if n > 8:
            assert (ours.low, ours.high) == pytest.approx(of_t(theirs.statistic, n, lambda r: 1 + r**2 / 2))
            assert ours.p_value == pytest.approx(theirs.pvalue)
        elif n < 8:
            every = stats.permutation_test((x,), lambda order, y=y: stats.spearmanr(order, y).statistic,
                                           n_resamples=np.inf, permutation_type="pairings")
            assert ours.p_value == pytest.approx(every.pvalue)
        if n <= 8:  # the exact test has no interval
            assert (ours.low, ours.high) == (None, None)
        assert ours.method.endswith("t test and its interval" if n > 8 else "exact test")
    # of the 8! orders one is as good as the right one, and one as bad
    assert inference.spearman(np.arange(8.0), np.arange(8.0)).p_value == pytest.approx(2 / 40320)
    assert inference.order_test(np.arange(8.0), np.arange(8.0)) == pytest.approx(1 / 40320)
    assert inference.order_test(np.arange(9.0), np.arange(9.0)) == pytest.approx(1 / 5001)
    assert inference.order_test(np.arange(9.0), -np.arange(9.0)) == 1
    assert inference.order_test(np.arange(9.0), np.r_[1.0, np.zeros(8)]) == 1
    assert inference.order_test(np.arange(3.0), np.array([0.0, 2.0, 1.0])) == pytest.approx(3 / 6)
    assert inference.order_test(np.arange(2.0), np.arange(2.0)) is None
    assert inference.order_test(np.zeros(4), np.arange(4.0)) is None
    assert inference.order_test(np.arange(4.0), np.zeros(4)) is None


@pytest.mark.parametrize("unit", [1.0, 1e9, 1e-9])
def test_ranks_are_those_of_scipy_and_rounding_makes_no_difference(unit):
    values = unit * np.array([3.0, 1.0, 2.0, 1.0, 5.0, -4.0])
    assert inference.ranks(values).tolist() == stats.rankdata(values).tolist()
    assert inference.ranks(values * (1 + 1e-15 * np.arange(6))).tolist() == stats.rankdata(values).tolist()
    assert inference.ranks(values * (1 + 1e-9 * np.arange(6))).tolist() == [5, 2, 4, 3, 6, 1]


def test_a_common_slope_is_least_squares_with_an_intercept_for_each_stratum():
    rng = np.random.default_rng(2)
    labels = np.repeat([3, 7, 8], [4, 2, 3])
    x = rng.standard_normal(9)
    y = 0.4 * x + labels + 0.3 * rng.standard_normal(9)
    design = np.column_stack([x, *(labels == each for each in (3, 7, 8))]).astype(float)
    solved = np.linalg.lstsq(design, y)
    half = stats.t.ppf(0.975, 5) * np.sqrt(solved[1][0] / 5 * np.linalg.inv(design.T @ design)[0, 0])
    ours = inference.slope(x, y, labels)
    assert (ours.estimate, ours.low, ours.high) == pytest.approx(solved[0][0] + half * np.array([0, -1, 1]))
    assert (ours.dof, ours.n, ours.method) == (5, 9, "least squares within 3 strata, t interval")
    plain, theirs = inference.slope(x, y), stats.linregress(x, y)
    assert (plain.estimate, plain.stderr, plain.p_value) == pytest.approx(
        (theirs.slope, theirs.stderr, theirs.pvalue))
    assert plain.method == "least squares, t interval"
    two = inference.slope(x[:2], y[:2])
    assert (two.estimate, two.stderr, two.p_value) == (pytest.approx((y[1] - y[0]) / (x[1] - x[0])), None, None)
    assert inference.slope(x[:3], y[:3]).dof == 1
    assert inference.slope(np.full(5, 0.1), y[:5]).estimate is None


@pytest.mark.parametrize("estimate", [-3.0, -0.2, 0.3, 0.5, 0.9, 1.4, 4.0])
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-np.inf, 1.0), (0.0, np.inf), (-np.inf, np.inf)])
@pytest.mark.parametrize("stderr", [0.1, 0.6])
def test_a_range_is_judged_by_where_the_interval_lies(estimate, low, high, stderr):
    judged = verdicts.of_range(Measured(estimate=estimate, stderr=stderr, dof=5), low, high)

    def beyond(distance):  # two-sided; on the wrong side nothing is said
        return 2 * stats.t.sf(distance / stderr, 5) if distance > 0 else 1.0

    inside = max(beyond(estimate - low), beyond(high - estimate))
    outside = min(beyond(low - estimate), beyond(estimate - high))
    half = stats.t.ppf(0.975, 5) * stderr
    assert (inside <= 0.05) == (low <= estimate - half and estimate + half <= high)
    assert judged.p_value == pytest.approx(min(inside, outside))
    expected = "supported" if inside <= 0.05 else "contradicted" if outside <= 0.05 else "inconclusive"
    assert judged.verdict == expected


def test_an_estimate_without_scatter_is_in_the_range_or_out_of_it():
    for estimate, verdict in ((0.5, "supported"), (1.5, "contradicted"), (-0.5, "contradicted")):
        assert verdicts.of_range(Measured(estimate=estimate, stderr=0.0, dof=3), 0.0, 1.0).verdict == verdict
    assert verdicts.of_range(Measured(estimate=0.5), 0.0, 1.0) == verdicts.Judged(verdict="inconclusive", p_value=None)


@pytest.mark.parametrize(("estimate", "claimed", "verdict"), [
    (1.0, "rises", "supported"), (-1.0, "rises", "contradicted"), (-1.0, "falls", "supported"),
    (1.0, "falls", "contradicted"), (-1.0, "differs", "supported"), (1.0, "differs", "supported"),
])
def test_a_direction_is_judged_at_five_per_cent(estimate, claimed, verdict):
    for p, expected in ((0.01, verdict), (0.05, verdict), (0.0501, "inconclusive"), (None, "inconclusive")):
        judged = verdicts.of_direction(Measured(estimate=estimate, p_value=p), claimed)
        assert (judged.verdict, judged.p_value) == (expected, p)


def test_corrected_p_values_are_those_of_scipy():
    p_values = [0.01, None, 0.04, 0.03, 0.5, 0.005, None, 0.9]
    there = [p for p in p_values if p is not None]
    theirs = iter(stats.false_discovery_control(there, method="bh"))
    assert verdicts.adjusted(p_values) == [None if p is None else pytest.approx(next(theirs)) for p in p_values]


def sweep(**columns):
    """Usable runs of three series at three sizes each, of which some are shared."""
    rows = []
    for series, sizes, level in (("a", (1, 2, 4), 0.0), ("b", (2, 4, 8), 0.3), ("c", (4, 8, 16), -0.2)):
        for size in sizes:
            noise = 0.01 * ((7 * size + ord(series)) % 5)
            rows.append(Record(run_id=f"{series}-{size}", experiment="e", variant=series, seed=1,
                               train_tokens=size * 100_000, val_ppl=float(np.exp(5 + level + noise) / size**0.5),
                               val_er=0.5 + level / 10 + noise, **columns))
    return matched.usable(frame(rows))


def test_series_run_at_different_sizes_are_compared_by_least_squares():
    runs = sweep()
    made_of = matched.series_effects(runs, {"val_ppl": True, "val_er": False})
    names = list(made_of.series)
    which = np.array([names.index(name) for name in runs["series"]])
    sizes = np.unique(runs["size"].to_numpy(), return_inverse=True)[1]
    design = np.column_stack([np.eye(3)[which], np.eye(5)[sizes]])
    for name, values in (("val_ppl", np.log(runs["val_ppl"].to_numpy())), ("val_er", runs["val_er"].to_numpy())):
        effects = np.linalg.lstsq(design, values)[0][:3]
        assert made_of.values[name] == pytest.approx(effects - effects.mean())
    assert (made_of.runs, made_of.left_out) == (9, ())
    two = matched.series_effects(runs.filter(pl.col("variant") != "c"), {"val_ppl": True})
    assert np.ptp(two.values["val_ppl"]) > 0.2
    apart = runs.filter((pl.col("variant") != "c") | (pl.col("size") > 800_000))
    alone = matched.series_effects(apart, {"val_ppl": True})
    assert (len(alone.series), alone.left_out, alone.runs) == (2, (names[2],), 6)
    one = matched.series_effects(runs.filter(pl.col("variant") == "a"), {"val_ppl": True})
    assert (one.values["val_ppl"].tolist(), one.runs) == ([0.0], 3)


def test_two_groups_differ_in_as_many_traits_as_are_counted():
    """`distances` counts what `differences` names, for groups that lack contexts, settings or what is said of data."""
    runs = sweep().head(1)

    def group(one_phase=False, **traits):
        return matched.Group(label="g", runs=runs.with_columns(phases=pl.lit(1 if one_phase else 2)), traits=traits,
                             assumed=frozenset())

    name = sorted(matched.DATA)[0]
    every = [
        group(**{"num_layers": 1, "phase1.iterations": 10, "phase2.lr": 0.1}),
        group(**{"num_layers": 2, "phase1.iterations": 20, "phase2.lr": 0.1}),
        group(True, **{"num_layers": 1, "phase2.lr": [0.1, 0.2]}),
        group(True, **{"num_layers": 1, "phase1.iterations": 30, "phase2.lr": 0.2, name: "x"}),
        group(**{"num_layers": 1, "phase2.lr": 0.1, name: "y"}),
    ]
    for but in ("", "num_layers"):
        for named in (None, ["num_layers", "phase2.lr", name]):
            expected = [[sum(each.name != but and (named is None or each.name in named)
                             for each in matched.differences(a, b)) for b in every] for a in every]
            assert matched.distances(every, named, but=but).tolist() == expected
    assert matched.distances(every).tolist()[0][:2] == [0, 2]
    assert {each.name for each in matched.differences(every[3], every[4])} == {"phase2.lr", name}


def test_a_difference_is_assumed_if_either_group_s_value_comes_from_a_preset():
    runs = sweep().head(1)
    logged, preset = (matched.Group(label="g", runs=runs, traits={"phase2.lr": lr, "phase2.epochs": epochs},
                                    assumed=frozenset(assumed))
                      for lr, epochs, assumed in ((0.1, 3, ()), (0.2, 4, ("phase2.lr",))))
    for pair in ((logged, preset), (preset, logged)):
        assert {each.name: each.assumed for each in matched.differences(*pair)} == {
            "phase2.lr": True, "phase2.epochs": False}


def test_a_comparison_has_a_trend_from_three_sizes_on_and_it_is_that_of_scipy():
    first, second = sweep(), sweep().with_columns(val_ppl=pl.col("val_ppl") * (1 + pl.col("size") / 1e6))
    for count, sizes in ((2, [1, 2]), (3, [1, 2, 4])):
        left, right = (matched.group(runs.filter(pl.col("variant") == "a").sort("size").head(count))
                       for runs in (first, second))
        made_of = matched.compare(left, right)
        ratios = 1 + np.array(sizes) / 10
        assert made_of.ratios == pytest.approx(ratios)
        assert made_of.measured.estimate == pytest.approx(np.log(ratios).mean())
        expected = stats.linregress(np.log(sizes), np.log(ratios)).slope if count == 3 else None
        assert made_of.trend.estimate == (None if expected is None else pytest.approx(expected))
        assert made_of.largest == (max(sizes) * 1e5, max(sizes) * 1e5)
        assert made_of.best == (left.runs["val_ppl"].min(), right.runs["val_ppl"].min())


def test_what_varies_within_a_group_is_a_trait_of_all_its_values():
    texts = ['{"phase2": {"lr": 0.1, "epochs": 3}}', '{"phase2": {"lr": 0.2, "epochs": 3}}', None]
    runs = sweep().head(3).with_columns(settings=pl.Series(texts), num_layers=pl.Series([2, 1, 2]))
    two = matched.group(runs.with_columns(series=pl.Series(["a", "b", "b"])))
    assert {name: two.traits[name] for name in ("phase2.lr", "phase2.epochs", "num_layers")} == {
        "phase2.lr": "0.1 / 0.2", "phase2.epochs": 3, "num_layers": "1 / 2"}
    assert two.label == "2 series"
    one = matched.group(runs.head(1))
    assert (one.traits["phase2.lr"], one.traits["num_layers"], one.label) == (0.1, 2, runs["series"][0])


def test_strata_differ_within_in_nothing_but_the_factor():
    runs = sweep().head(1)
    every = [matched.Group(label=label, runs=runs, assumed=frozenset(), traits=traits) for label, traits in (
        ("a", {"width": 1, "depth": 1, "heads": 4, "val_tokens": 5}),
        ("b", {"heads": 4, "width": 2, "depth": 1, "val_tokens": 6}), ("c", {"width": 1, "depth": 2, "heads": 4}),
        ("d", {"heads": 4, "depth": 2, "width": 1}), ("e", {"depth": 1, "heads": 4, "width": 3}))]
    assert [[each.label for each in stratum] for stratum in matched.strata(every, "width")] == [["a", "b", "e"]]
    assert [[each.label for each in stratum] for stratum in matched.strata(every, "depth")] == [["a", "c", "d"]]


@pytest.mark.parametrize(("better", "censored", "colours"), [
    # at 1, the end of green or red; 2; 3, the other end; 4
    ("lower", False, ["green", "yellow", "yellow", "red"]), ("lower", True, [None, None, None, "red"]),
    ("higher", False, ["yellow", "yellow", "yellow", "green"]), ("higher", True, [None, None, None, "green"]),
])
def test_a_light_changes_at_its_thresholds_and_a_lower_bound_lights_only_what_any_larger_value_would(
        better, censored, colours):
    green, red = (1.0, 3.0) if better == "lower" else (3.0, 1.0)
    light = Light(name="l", title="l", metric="val_er", better=better, green=green, red=red)
    assert [decisions.colour(light, value, censored=censored) for value in (1.0, 2.0, 3.0, 4.0)] == colours
    if not censored:
        assert decisions.colour(light, 0.5) == ("green" if better == "lower" else "red")
    assert decisions.colour(light, None, censored=censored) is None


def test_a_light_on_a_column_that_is_not_there_is_named():
    known, strange = (Light(name=name, title="l", metric=metric, better="higher", green=1.0, red=0.0)
                      for name, metric in (("known", "train_er - val_er"), ("strange", "val_er - vall_er")))
    told = decisions.never_lit([known, strange], sweep())
    assert list(told) == ["strange"]
    assert told["strange"].startswith("there is no record column 'vall_er'")
