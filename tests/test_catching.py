"""Thresholds and formulas held by values from outside: each of these caught a change that all other tests let pass."""

from dataclasses import replace
from itertools import pairwise

import lmfit
import numpy as np
import polars as pl
import pytest
from scipy import integrate, optimize, spatial, stats

import cvfp_core as cvfp
from cvfp_core.claims import matched
from cvfp_core.errors import UsageError
from cvfp_core.fitting import bootstrap, fit_all, robust
from cvfp_core.fitting.auto import interval_laws, widen
from cvfp_core.fitting.bounded import bounded_least_squares
from cvfp_core.fitting.chained import chained
from cvfp_core.fitting.curve_fit import fit_curve, fit_curves, for_intervals, solve_points
from cvfp_core.fitting.curves import Curve
from cvfp_core.fitting.linear import aicc, pooled_variance
from cvfp_core.fitting.points import refusal
from cvfp_core.fitting.predict import Prediction, inside_hull, predict, predict_each
from cvfp_core.fitting.ray import ray
from cvfp_core.fitting.rolling import stretch
from cvfp_core.fitting.search import solve
from cvfp_core.fitting.selection import Total, choose, decide, score, steps, walked, widening
from cvfp_core.registry import installed
from cvfp_core.registry.kinds import Huber, Law, LeastSquares, Parameter
from cvfp_core.schema.fits import Fit, Points
from cvfp_core.schema.quantities import QUANTITIES
from cvfp_core.schema.records import Record, frame
from laws_data import made, power

LINE = Law(name="line", form="y = a + b x", space="raw", linear=("a", "b"), response="val_loss",
           parameters=(Parameter(name="a"), Parameter(name="b")),
           function=lambda train_tokens, a, b: a + b * train_tokens / 1e5)
"""Linear, so that all that is said of it has a closed form."""
PLANE = Law(name="plane", form="y = a + b log N + c log D", space="raw", linear=("a", "b", "c"), response="val_loss",
            inputs=("params", "train_tokens"), parameters=tuple(Parameter(name=name) for name in "abc"),
            function=lambda params, train_tokens, a, b, c: a + b * np.log(params) + c * np.log(train_tokens))


def points(response, name="val_loss", **inputs):
    """Runs of one series at these inputs."""
    inputs = {name: np.asarray(values, dtype=float) for name, values in inputs.items()}
    return Points(inputs=inputs, response=np.asarray(response, dtype=float), name=name,
                  series=np.full(len(response), "e", dtype=object))


def of_student(design, y, row, scatter=0.0):
    """Least squares by hand: value at a row of the design, and half of the 95 % interval of its mean or a new run."""
    inverse = np.linalg.inv(design.T @ design)
    beta = inverse @ design.T @ y
    dof = len(y) - design.shape[1]
    sigma = np.sqrt(np.square(y - design @ beta).sum() / dof)
    return row @ beta, stats.t.ppf(0.975, dof) * sigma * np.sqrt(scatter + row @ inverse @ row)


@pytest.mark.parametrize(("n", "parameters", "penalty"), [(10, 2, 10), (6, 2, 18), (20, 3, 8 + 8 / 3), (5, 2, 30)])
def test_aicc_is_that_of_hurvich_and_tsai(n, parameters, penalty):
    """Biometrika 1989: n log s2 + n (1 + m/n) / (1 - (m + 2)/n), of which AICc as written today is n less.

    With rss = n the logarithm is 0 and the penalty is left.
    """
    published = n * (1 + parameters / n) / (1 - (parameters + 2) / n) - n
    assert aicc(float(n), n, parameters) == pytest.approx(penalty) == pytest.approx(published)
    assert aicc(np.e * n, n, parameters) == pytest.approx(n + penalty)


@pytest.mark.parametrize("parameters", [1, 2, 3])
def test_aicc_does_not_exist_without_a_degree_of_freedom_beyond_the_variance(parameters):
    assert aicc(1.0, parameters + 2, parameters) is None
    assert aicc(1.0, parameters + 3, parameters) is not None


@pytest.mark.parametrize(("worse", "chosen"), [(1.4, "rich"), (1.6, "simple"), (10.0, "simple")])
def test_a_richer_law_that_would_have_predicted_half_as_badly_again_is_not_taken(worse, chosen):
    """F of 99 with 1 and 20 degrees of freedom: by the fit alone the richer law would be taken each time."""
    errors = np.array([0.02, -0.01, np.nan, 0.03])
    simple = Total(parameters=2, rss=5.95, dof=21, errors=errors)
    rich = Total(parameters=3, rss=1.0, dof=20, errors=errors * worse)
    assert decide({"simple": simple, "rich": rich}) == chosen


@pytest.mark.parametrize(("worse", "chosen"), [(1.4, "simple"), (1.6, "rich")])
def test_with_one_degree_of_freedom_the_back_test_decides(worse, chosen):
    """F of 4 with 1 and 1 degrees of freedom has p = 0.3, whatever the simpler law would have missed by."""
    simple = Total(parameters=2, rss=5.0, dof=2, errors=np.array([0.02 * worse]))
    rich = Total(parameters=3, rss=1.0, dof=1, errors=np.array([0.02]))
    assert decide({"simple": simple, "rich": rich}) == chosen


@pytest.mark.parametrize(("misfit", "p", "value", "dof"), [
    (5.0, 16 / 81, 5.0, 2),  # between 5 and 50 %: seeds are no evidence about the law
    (20.0, 1 / 36, 20.0, 2), (1.0, 0.64, 10 / 6, 6),
])
def test_lack_of_fit_is_pooled_with_seeds_only_where_chance_explains_it_as_likely_as_not(misfit, p, value, dof):
    """Two runs, 1 above and below the mean, at each of four sizes; means about a law of two parameters by hand.

    With 2 and 4 degrees of freedom the F test has p = (1 + F / 2)^-2; the variance of seeds is 2.
    """
    mean = np.sqrt(misfit / 4)  # four sizes, two runs each: 2 * 4 * mean^2 / 2 degrees of freedom
    residuals = np.array([sign * mean + seed for sign in (1, -1, -1, 1) for seed in (1.0, -1.0)])
    made = pooled_variance(residuals, 2, np.repeat(np.arange(4.0), 2))
    assert made.lack_of_fit_p == pytest.approx(p)
    assert (made.value, made.dof) == (pytest.approx(value), dof)
    # a further run has the scatter of its seed, and that of sizes about the law with the weight of one of its 8 runs
    assert made.new_run == pytest.approx(2.0 + (misfit - 2.0) * 4 / 8 if dof == 2 else value)


def checkpoints(order):
    """Three runs of a power law with alpha -0.5, each with two checkpoints on the way that lie far above it."""
    rows = []
    for run, tokens in enumerate((10_000, 40_000, 160_000)):
        for share, above in ((0.25, 3.0), (0.5, 2.0), (1.0, 1.0)):
            rows.append(Record(run_id=f"run-{run}", experiment="made", variant="1L_16d_1tok", seed=1,
                               num_samples=tokens // 100, train_tokens=int(tokens * share),
                               val_ppl=above * 1e4 * (tokens * share) ** -0.5))
    return frame(rows)[order]


@pytest.mark.parametrize("order", [list(range(9)), list(range(8, -1, -1)), [4, 0, 8, 2, 6, 1, 7, 3, 5]])
def test_of_the_checkpoints_of_a_run_the_last_one_counts_whatever_their_order(order):
    records = checkpoints(order)
    (fit,) = fit_all(records, ["power-law"])
    assert (fit.n, fit.fitted_range) == (3, (10_000, 160_000))
    assert fit.value("alpha") == pytest.approx(-0.5, abs=1e-9)
    assert fit.value("A") == pytest.approx(1e4, rel=1e-6)
    assert "6 earlier checkpoint" in fit.left_out
    assert matched.usable(records)["size"].to_list() == [10_000, 40_000, 160_000]
    assert matched.usable(records)["val_ppl"].to_list() == pytest.approx([100, 50, 25])


def test_r_squared_is_the_share_of_the_variance_about_the_mean_that_the_law_explains():
    """Against the residuals of an independent fit; of a flat series, which has no variance, there is none."""
    tokens = 6e4 * 2.0 ** np.arange(6)
    ppl = power(tokens, floor=60, noise=0.05, seed=2)
    (fit,) = fit_all(made(tokens, ppl), laws=["saturating"])

    def misses(at):
        return np.log(np.exp(at[0]) + np.exp(at[1]) * (tokens / 1e5) ** at[2]) - np.log(ppl)

    best = min((optimize.least_squares(misses, [np.log(floor), 5.0, -0.5], xtol=1e-14, ftol=1e-14) for floor in (1, 9)),
               key=lambda each: each.cost)
    assert fit.r_squared == pytest.approx(1 - 2 * best.cost / (np.var(np.log(ppl)) * 6), rel=1e-6)
    assert 0 < fit.r_squared < 1


def test_a_series_without_a_usable_run_says_so():
    records = made([6e4, 1.2e5, 2.4e5], [9.0, 8.0, 7.0]).with_columns(pl.lit(None, pl.Float64).alias("val_ppl"))
    (fit,) = fit_all(records, laws=["saturating"])
    assert fit.status == "too few points"
    assert fit.reason.startswith("no run with a usable val_ppl")


def test_a_fit_carries_the_aicc_of_its_residuals_and_a_huber_fit_none():
    tokens = 6e4 * 2.0 ** np.arange(8)
    records = made(tokens, power(tokens, floor=60, noise=0.05, seed=2))
    (fit,) = fit_all(records, laws=["saturating"])
    assert fit.aicc == pytest.approx(8 * np.log(fit.rss / 8) + 2 * 4 + 2 * 4 * 5 / 3)  # the variance counts as one
    law = fit.solver.law
    (robust,) = fit_all(records, laws=[replace(law, loss=Huber(1e-3))])
    assert robust.aicc is None
    scores = score(law, fit.points.inputs, np.log(fit.points.response)[None, :])
    assert (scores.dof, scores.parameters) == (8 - 3, 3)
    assert scores.aicc == pytest.approx([fit.aicc])


# --- laws that are linear, against Student's closed forms -------------------------------------------------------------

def test_of_a_linear_law_every_interval_is_student_s():
    x = np.array([1.0, 2.0, 3.0, 5.0, 8.0, 9.0])
    y = 3 - 0.02 * x + np.array([0.3, -0.2, 0.1, -0.4, 0.3, -0.1])
    made_of = points(y, train_tokens=1e5 * x)
    design = np.column_stack([np.ones(6), x])
    fit = fit_curve(LINE, made_of)
    for name, row in (("a", np.array([1.0, 0.0])), ("b", np.array([0.0, 1.0]))):
        value, half = of_student(design, y, row)
        estimate = fit.estimate(name)
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx(
            (value, value - half, value + half), abs=2e-4 * half)
        assert (estimate.low < 0 < estimate.high) == (name == "b")  # an interval goes through 0 where it does
    assert (fit.status, fit.dof, fit.n, fit.sizes) == ("converged", 4, 6, 6)
    least = optimize.least_squares(lambda at: design @ at - y, [0.0, 0.0])
    assert fit.minimum == pytest.approx(least.cost)
    assert fit.rss == pytest.approx(2 * least.cost)
    assert fit.sigma == pytest.approx(np.sqrt(2 * least.cost / 4))
    for place in (4.0, 20.0):
        told = predict(fit, LINE, {"train_tokens": 1e5 * place})
        for scatter, low, high in ((0.0, told.mean_low, told.mean_high), (1.0, told.run_low, told.run_high)):
            value, half = of_student(design, y, np.array([1.0, place]), scatter)
            assert (told.value, low, high) == pytest.approx((value, value - half, value + half), abs=2e-3 * half)
    assert fit_curves(LINE, [made_of])[0].estimates == fit.estimates
    bare = fit_curve(LINE, made_of, intervals=False)
    assert [each.method for each in bare.estimates] == [None, None]


def test_the_lack_of_fit_of_repeated_sizes_is_the_f_test():
    """Against a fit with a mean for each size; its p value here is 0.1, so the variance is that of the means."""
    x = np.repeat([1.0, 2.0, 4.0, 8.0], 3)
    y = 2 - 0.1 * x + np.tile([0.05, -0.02, -0.03], 4) + np.repeat([0.035, -0.035, -0.015, 0.015], 3)
    fit = fit_curve(LINE, points(y, train_tokens=1e5 * x))
    design = np.column_stack([np.ones(12), x])
    line = np.square(y - design @ np.linalg.lstsq(design, y)[0]).sum()
    pure = 3 * np.var(y.reshape(4, 3), axis=1).sum()
    assert fit.lack_of_fit_p == pytest.approx(stats.f.sf((line - pure) / 2 / (pure / 8), 2, 8))
    assert 0.05 < fit.lack_of_fit_p < 0.5
    assert (fit.dof, fit.sigma) == (2, pytest.approx(np.sqrt((line - pure) / 2)))


def test_with_as_many_sizes_as_parameters_only_repeats_tell_of_scatter():
    made_of = pooled_variance(np.array([0.3, 0.1, -0.1, -0.3]), 2, np.array([0, 0, 1, 1]))
    assert (made_of.value, made_of.dof, made_of.lack_of_fit_p) == (pytest.approx(0.02), 2, None)


def test_repeats_that_agree_to_the_last_digit_leave_all_misfit_to_the_law():
    exact = pooled_variance(np.array([1.0, 1.0, -1.0, -1.0, 0.5, 0.5]), 1, np.repeat(np.arange(3), 2))
    assert (exact.value, exact.dof, exact.lack_of_fit_p) == (pytest.approx(4.5 / 2), 2, 0.0)
    none = pooled_variance(np.zeros(6), 1, np.repeat(np.arange(3), 2))
    assert none.lack_of_fit_p == 1.0


def test_the_interval_of_a_floor_that_is_not_called_for_begins_at_zero():
    tokens = 6e4 * 2.0 ** np.arange(6)
    fit = fit_all(made(tokens, power(tokens, floor=15, noise=0.02, seed=3)), ["saturating"])[0]
    floor, others = fit.estimate("E"), [each for each in fit.estimates if each.name != "E"]
    assert (floor.low, fit.status) == (0.0, "converged")
    assert 0 < floor.value < floor.high
    assert all(each.low < each.value < each.high and each.low * each.high > 0 for each in others)


def test_a_whole_weight_of_a_curve_counts_a_run_as_often():
    """Also where the law has code of its own, which takes no weights; against polyfit."""
    tokens = 6e4 * 2.0 ** np.arange(5)
    ppl = power(tokens, noise=0.1, seed=2)
    records = made(tokens, ppl).with_columns(w=pl.Series([3.0, 1.0, 1.0, 1.0, 2.0]))
    (fit,) = cvfp.fit(records, "power-law", weights="w")
    slope, level = np.polyfit(np.log(tokens), np.log(ppl), 1, w=np.sqrt([3.0, 1.0, 1.0, 1.0, 2.0]))
    assert fit.value("alpha") == pytest.approx(slope)
    assert fit.value("A") == pytest.approx(np.exp(level), rel=1e-5)


def test_a_law_that_the_f_test_does_not_rule_out_is_not_called_ruled_out():
    """With one degree of freedom the back-test may prefer a richer law, and the simpler one is still possible."""
    tokens, seen = 6e4 * 4.0 ** np.arange(4), 0
    laws = [installed().get(Law, name) for name in ("power-law", "saturating")]
    for seed in range(6):
        choice = choose(laws, [points(power(tokens, floor=60, noise=0.02, seed=seed), "val_ppl", train_tokens=tokens)])
        (simple,) = (each for each in choice.candidates if each.law == "power-law")
        if choice.law == "saturating" and simple.p_value > 0.05:
            seen += 1
            assert simple.verdict == "not distinguishable"
            assert (choice.distinguishable, choice.reason) == (False, "not distinguishable from power-law")
    assert seen


def test_the_back_test_of_a_power_law_is_that_of_straight_lines_through_logarithms():
    tokens = 6e4 * 2.0 ** np.arange(7)
    log = np.log(power(tokens, noise=0.05, seed=1))
    law = installed().get(Law, "power-law")
    scores = score(law, {"train_tokens": tokens}, np.stack([log, log[::-1]]))
    for row, y in enumerate((log, log[::-1])):
        lines = [np.polyfit(np.log(tokens[:m]), y[:m], 1) for m in range(3, 7)]
        if row:
            continue  # a law that cannot rise
        expected = [np.polyval(line, np.log(tokens[m])) - y[m] for m, line in zip(range(3, 7), lines, strict=True)]
        assert scores.errors[row] == pytest.approx(expected, abs=1e-7)


def test_intervals_are_widened_by_what_the_worst_next_size_missed():
    """Of a line: each interval made from the sizes before it by Student's formula, the miss as a multiple of it."""
    x = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    bent = 3 - 0.2 * x + 0.04 * np.maximum(x - 4, 0) ** 2 + np.array([0.01, -0.015, 0.0, 0.01, -0.01, 0.0, 0.01])
    dropped = 3 - 0.2 * x - 0.04 * np.maximum(x - 4, 0) ** 2 + np.array([0.01, -0.015, 0.0, 0.01, -0.01, 0.0, 0.01])
    straight = 3 - 0.2 * x + np.array([0.01, -0.01, -0.01, 0.01, 0.0, 0.0, 0.0])
    factors = widening(LINE, {"train_tokens": 1e5 * x}, np.stack([bent, dropped, straight]))
    design = np.column_stack([np.ones(7), x])
    for y, factor in zip((bent, dropped, straight), factors, strict=True):
        misses = []
        for m in range(3, 7):
            value, half = of_student(design[:m], y[:m], design[m], 1.0)
            misses.append(abs(y[m] - value) / half)
        assert factor == pytest.approx(max(1.0, *misses), rel=5e-3)
    assert factors[0] > 1.2 < factors[1]
    assert factors[2] == 1


@pytest.mark.parametrize("light", [1.0, 0.6])
def test_a_surface_s_intervals_are_stretched_by_what_the_worst_next_run_missed(light):
    """Walked along params x tokens from half of the runs on, by Student's formula, where the misses are no chance."""
    params, tokens = (each.ravel() for each in np.meshgrid(1e7 * 5.0 ** np.arange(4), 1e9 * 5.0 ** np.arange(4)))
    step = np.round(np.log(params * tokens / 1e16) / np.log(5)).astype(int)
    design = np.column_stack([np.ones(16), np.log(params), np.log(tokens)])
    weights = np.where((step > 3) | (params == 1e7), light, 1.0)
    root = np.sqrt(weights)
    noise = 0.01 * np.random.default_rng(0).standard_normal(16)
    for jump, worst in ((0.02, 1.0), (0.1, 2.0)):
        y = design @ [6.0, -0.1, -0.05] + noise + jump * (step > 3)
        made_of = replace(points(y, params=params, train_tokens=tokens), weights=weights)
        factor = stretch([solve_points(PLANE, made_of)], made_of)[0]
        misses = [1.0]
        for last in (3, 4, 5):  # 10, 13 and 15 of the 16 runs
            seen = step <= last
            for run in np.flatnonzero(step == last + 1):
                value, half = of_student((design * root[:, None])[seen], (y * root)[seen], design[run], 1.0)
                misses.append(abs(y[run] - value) / half)
        assert factor == pytest.approx(max(misses) if worst > 1 else 1.0, rel=1e-3)
        assert factor >= worst


def test_the_many_sizes_of_a_surface_are_walked_in_eleven_steps():
    """Of 25 products of params and tokens the upper ends of 11 equally filled bins; else as above."""
    params, tokens = (each.ravel() for each in np.meshgrid(1e7 * 3.0 ** np.arange(5), 1e9 * 5.0 ** np.arange(5)))
    order = np.argsort(params * tokens)
    design = np.column_stack([np.ones(25), np.log(params), np.log(tokens)])[order]
    y = design @ [6.0, -0.1, -0.05] + 0.01 * np.random.default_rng(0).standard_normal(25)
    y += 0.05 * np.maximum(np.arange(25) - 18, 0)
    made_of = points(y, params=params[order], train_tokens=tokens[order])
    ends, misses = np.ceil(25 * np.arange(1, 12) / 11).astype(int), []
    for seen, following in pairwise(ends):
        for run in range(seen, following) if seen > 12.5 else ():
            value, half = of_student(design[:seen], y[:seen], design[run], 1.0)
            misses.append(abs(y[run] - value) / half)
    assert stretch([solve_points(PLANE, made_of)], made_of)[0] == pytest.approx(max(misses), rel=1e-3)
    assert max(misses) > 2


# --- search -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("shifted", [False, True])
def test_bounded_least_squares_are_those_of_scipy(width, shifted):
    """Of 6 responses on 5 sets of columns, the first coefficient free and the others not below 0."""
    rng = np.random.default_rng(width)
    columns, values = rng.standard_normal((5, 8, width)), rng.standard_normal((6, 8))
    weights = rng.uniform(0.2, 2.0, (6, 8))
    rest = rng.standard_normal((5, 8)) if shifted else None
    low = np.array([-np.inf, 0.0, 0.0])[:width] if width > 1 else np.zeros(1)
    coefficients, rss = bounded_least_squares(columns, values, weights, low, rest)
    for row in range(6):
        for each in range(5):
            root = np.sqrt(weights[row])
            target = values[row] - (rest[each] if shifted else 0.0)
            best = optimize.lsq_linear(root[:, None] * columns[each], root * target, (low, np.inf), tol=1e-14)
            assert coefficients[row, each] == pytest.approx(best.x, abs=1e-6)
            assert rss[row, each] == pytest.approx(2 * best.cost)


def test_a_column_of_three_that_is_zero_everywhere_is_held_at_zero():
    columns = np.zeros((1, 4, 3))
    coefficients, rss = bounded_least_squares(columns, np.ones((1, 4)), np.ones((1, 4)), np.zeros(3))
    assert coefficients.tolist() == [[[0.0, 0.0, 0.0]]]
    assert rss == 4.0


BOXES = {"no bounds": {}, "an upper bound": {"maximum": 0.0}, "a lower bound": {"minimum": -5.0},
         "a box": {"minimum": -3.0, "maximum": 2.0}, "a box from zero": {"minimum": 0.0, "maximum": 2.0},
         "decades": {"minimum": 1e-3, "maximum": 1e3}}


@pytest.mark.parametrize("box", BOXES)
def test_a_law_s_optimum_is_found_from_its_bounds_alone(box):
    """y = E + C exp(-k x), with k where the bounds let it be."""
    truth = 0.7 if box in ("decades", "a box from zero") else -0.7
    law = Law(name="bend", form="E + C exp(k x)", space="raw", linear=("E", "C"), response="val_loss",
              parameters=(Parameter(name="E"), Parameter(name="C"), Parameter(name="k", **BOXES[box])),
              function=lambda train_tokens, E, C, k: E + C * np.exp(k * train_tokens / 1e5))
    x = np.linspace(0.2, 4, 9)
    fit = fit_curve(law, points(2.0 - 0.5 * np.exp(truth * x), train_tokens=1e5 * x), intervals=False)
    assert [each.value for each in fit.estimates] == pytest.approx([2.0, -0.5, truth], rel=1e-5)


def test_newton_s_gradient_and_curvature_are_those_of_differences():
    """Of half a sum of squares of E + A x^-alpha by the local coordinates that steps are taken in."""
    law = Law(name="bend", form="E + A x^-alpha", space="raw", linear=("E", "A"), response="val_loss",
              parameters=tuple(Parameter(name=name, minimum=0) for name in ("E", "A", "alpha")),
              function=lambda train_tokens, E, A, alpha: E + A * train_tokens**-alpha)
    curve = Curve(law, {"train_tokens": np.array([1.0, 2.0, 5.0, 9.0, 30.0])})
    target, at = np.array([3.0, 2.2, 1.9, 1.0, 0.9]), np.array([[0.5, 2.0, 0.6]])
    about = curve.expand(at)
    miss = about.fitted[0] - target
    bend = np.zeros((1, 3, 3))
    for (i, j), part in about.second.items():
        bend[0, i, j] = bend[0, j, i] = (miss * part).sum()
    slope = about.slope[0]
    _, gradient, curvature = curve.local(about.frame, (miss @ slope)[None], slope.T @ slope + bend)
    u, step = curve.position(about.frame)[0], 1e-4 * np.eye(3)

    def half(change):
        return np.square(curve.fitted(curve.moved(about.frame, u + change)) - target).sum() / 2

    assert gradient[0] == pytest.approx([(half(each) - half(-each)) / 2e-4 for each in step], rel=1e-6)
    expected = [[(half(a + b) - half(a - b) - half(b - a) + half(-a - b)) / 4e-8 for a in step] for b in step]
    assert curvature[0] == pytest.approx(np.array(expected), rel=1e-5)


@pytest.mark.parametrize(("name", "bound"), [("a", 3.0), ("b", -0.05)])
def test_a_linear_parameter_held_at_a_bound_that_is_not_zero_says_so(name, bound):
    x = np.arange(1.0, 7.0)
    y = 2 - 0.1 * x + 0.01 * (-1) ** x
    lows = [bound if name == each else -np.inf for each in "ab"]
    bounded = replace(LINE, parameters=tuple(Parameter(name=each, minimum=low) for each, low in zip("ab", lows,
                                                                                                      strict=True)))
    fit = fit_curve(bounded, points(y, train_tokens=1e5 * x))
    best = optimize.lsq_linear(np.column_stack([np.ones(6), x]), y, (lows, np.inf)).x
    assert [each.value for each in fit.estimates] == pytest.approx(best, rel=1e-6)
    assert fit.value(name) == pytest.approx(bound)
    assert fit.status == "at a bound"
    assert f"{name} at its bound {bound:g}" in fit.reason
    assert fit.loss == "least squares"


def test_fits_of_many_series_are_those_of_each_alone():
    """With twice the numbers that one part of the batch holds, so that two are put together again."""
    law = installed().get(Law, "saturating")
    tokens = np.geomspace(6e4, 6e6, 2000)
    targets = np.log(np.stack([power(tokens, floor=20 + 10 * i, a=1e5, alpha=-0.4 - 0.01 * i, noise=0.01, seed=i)
                               for i in range(16)]))
    curve = Curve(law, {"train_tokens": tokens})
    together = solve(curve, targets)
    for row in (0, 7, 15):
        assert together.parameters[row] == pytest.approx(solve(curve, targets[[row]]).parameters[0], rel=1e-6)


def test_a_law_without_a_value_at_the_points_says_so():
    law = replace(LINE, space="log", function=lambda train_tokens, a, b: -1 - 0 * (a + b + train_tokens), linear=())
    fit = fit_curve(law, points([3.0, 2.0, 1.0], train_tokens=[1e5, 2e5, 3e5]))
    assert (fit.status, fit.estimates) == ("failed", ())
    assert fit.reason == "the law is not positive and finite at the points for any parameters tried"


# --- forecasts --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("log", "low", "high"), [(True, 64.0, 100 * 1.1**1.5), (False, 70.0, 115.0)])
def test_an_interval_is_widened_on_its_scale(log, low, high):
    """80 = 100 x 0.8, and 0.8^1.5 and 1.1^1.5 times on a logarithm; 20 and 10 become 30 and 15 on a plain scale."""
    bare = Prediction(series="e", law="any", inputs={}, value=100.0, mean_low=80.0, mean_high=110.0, run_low=80.0)
    wide = widen(bare, 100.0, 1.5, QUANTITIES["val_ppl"], log=log)
    low = 100 * 0.8**1.5 if log else low
    assert (wide.mean_low, wide.mean_high, wide.run_low, wide.run_high) == (
        pytest.approx(low), pytest.approx(high), pytest.approx(low), None)
    assert wide.warnings == ("intervals are 1.5 times wider, as the back-test missed by so much",)
    assert widen(bare, 100.0, 1.5, QUANTITIES["val_ppl"]) == widen(bare, 100.0, 1.5, QUANTITIES["val_ppl"], log=True)
    for none in (1.0, 0.5, np.inf, np.nan):
        assert widen(bare, 100.0, none, QUANTITIES["val_ppl"], log=log) == bare
    assert widen(bare, 100.0, 1e3, QUANTITIES["val_ppl"], log=log).mean_low == 1.0


def test_the_interval_is_of_the_simplest_law_with_a_floor_and_of_the_chosen_one_if_it_has_one():
    plain, floor, rich = (installed().get(Law, name) for name in ("power-law", "saturating", "hill"))
    tokens = 6e4 * 2.0 ** np.arange(8)
    for count, chosen, expected in ((8, plain, [floor]), (8, floor, [floor]), (8, rich, [floor, rich]),
                                    (len(floor.parameters), plain, [])):
        data = points(power(tokens[:count], floor=60), name="val_ppl", train_tokens=tokens[:count])
        assert interval_laws(chosen, [plain, floor, rich], data) == expected


def test_a_forecast_warns_beyond_ten_times_the_largest_size_and_below_a_tenth_of_the_smallest():
    tokens = 6e4 * 2.0 ** np.arange(6)
    records = made(tokens, power(tokens, floor=60, noise=0.005))
    for unit in (1.0, 1e-9):
        data = records.with_columns(flops=pl.col("train_tokens") * unit)
        ends = [tokens[-1] * unit * 10, tokens[-1] * unit * 11, tokens[0] * unit / 11]
        at_ten, beyond, below = cvfp.predict(data, {"flops": ends}, "saturating", x="flops")
        assert at_ten.warnings == ()
        assert beyond.warnings == ("11 times the largest flops fitted: no interval covers a change of law out there",)
        assert below.warnings == ("0.0909 of the smallest flops fitted: no interval covers a change of law down there",)


@pytest.mark.parametrize("law", ["saturating", "auto"])
def test_a_forecast_does_not_depend_on_the_unit_of_sizes(law):
    tokens = 6e4 * 2.0 ** np.arange(6)
    records = made(tokens, power(tokens, floor=60, noise=0.01, seed=1))
    told = []
    for unit in (1.0, 1e-6):
        data = records.with_columns(flops=pl.col("train_tokens") * unit)
        (each,) = cvfp.predict(data, {"flops": 4e6 * unit}, law, x="flops")
        (times,) = cvfp.predict(data, {"flops": f"{4e6 / float(tokens[-1])!r}x"}, law, x="flops")
        assert times.value == pytest.approx(each.value)
        told.append((each.value, each.run_low, each.run_high, each.distance))
    assert told[0] == pytest.approx(told[1], rel=2e-3)


def test_a_forecast_is_of_the_response_asked_for():
    tokens = 6e4 * 2.0 ** np.arange(6)
    ppl = power(tokens, floor=60, noise=0.01, seed=1)
    records = made(tokens, ppl).with_columns(val_loss=pl.col("val_ppl") / 20)
    (loss,) = cvfp.predict(records, 4e6, y="val_loss")
    (same,) = cvfp.predict(records, 4e6)
    assert (loss.response, same.response) == ("val_loss", "val_ppl")
    assert 1 < loss.value < 10 < same.value


def test_a_single_law_that_is_named_is_no_choice_and_one_of_several_is():
    tokens = 6e4 * 2.0 ** np.arange(6)
    records = made(tokens, power(tokens, floor=60, noise=0.005))
    assert cvfp.predict(records, "5x", "saturating")[0].law == "saturating"
    assert cvfp.predict(records, "5x", "saturating").choice is None
    assert cvfp.predict(records, "5x", ["power-law", "saturating"]).choice.law == "saturating"
    assert cvfp.predict(records, "5x", "saturating", along="train_tokens").choice.law == "saturating"


def test_fits_with_unlike_floors_given_are_forecast_as_each_alone():
    tokens = 6e4 * 2.0 ** np.arange(6)
    law, data = installed().get(Law, "saturating"), points(power(tokens, floor=40, noise=0.02), "val_ppl",
                                                           train_tokens=tokens)
    fits = [fit_curve(law, data, given={"E": floor}) for floor in (20.0, 50.0)]
    at = {"train_tokens": 1e7}
    for one, each in zip(predict_each(law, [(fit, at) for fit in fits]), fits, strict=True):
        alone = predict(each, law, at)
        assert (one.value, one.run_low, one.run_high) == pytest.approx((alone.value, alone.run_low, alone.run_high))


def test_a_law_that_raises_out_there_says_so_for_every_series_asked():
    def near(train_tokens, a, b):
        if np.max(train_tokens) > 1e6:
            raise ValueError("too far")
        return a + b * train_tokens / 1e5

    tokens = np.array([1e5, 2e5, 3e5, 4e5, 5e5])
    records = pl.concat([made(tokens, [9.0, 8.2, 7.1, 6.0, 5.1], variant=f"v{i}") for i in range(2)])
    told = cvfp.predict(records, [6e5, 2e6], replace(LINE, function=near, response="val_ppl"))
    assert [each.value is None for each in told] == [False, True, False, True]
    assert all("law 'line' failed" in each.reason and "too far" in each.reason for each in (told[1], told[3]))


def test_the_hull_is_that_of_qhull_in_logarithms():
    rng = np.random.default_rng(0)
    corners = np.exp(rng.uniform(-3, 3, (12, 2)))
    data = points(np.ones(12), params=corners[:, 0], train_tokens=corners[:, 1])
    hull = spatial.Delaunay(np.log(corners))
    asked = np.exp(rng.uniform(-3.5, 3.5, (60, 2)))
    inside = [inside_hull(data, {"params": n, "train_tokens": d}) for n, d in asked]
    assert inside == (hull.find_simplex(np.log(asked)) >= 0).tolist()
    assert 10 < sum(inside) < 50
    least = corners[:, 0].min()  # taken off, so that one is 0 and has no logarithm
    shifted = points(np.ones(12), params=corners[:, 0] - least, train_tokens=corners[:, 1])
    plain = spatial.Delaunay(np.column_stack([corners[:, 0], np.log(corners[:, 1])]))
    inside = [inside_hull(shifted, {"params": n - least, "train_tokens": d}) for n, d in asked]
    assert inside == (plain.find_simplex(np.column_stack([asked[:, 0], np.log(asked[:, 1])])) >= 0).tolist()


def test_errors_of_two_steps_add_in_quadrature():
    """A line of a line's forecast: the second's own half width, and its slope times the first's half width."""
    first = Prediction(series="e", law="first", inputs={"train_tokens": 1e7}, response="val_loss", value=4.0,
                       mean_low=3.9, mean_high=4.2, run_low=3.7, run_high=4.5)
    x = np.array([1.0, 2.0, 3.0, 5.0, 6.0])
    y = 0.9 - 0.1 * x + np.array([0.01, -0.01, 0.005, -0.01, 0.005])
    second = replace(LINE, name="second", inputs=("val_loss",), response="val_acc",
                     function=lambda val_loss, a, b: a + b * val_loss)
    fit = replace(fit_curve(second, points(y, name="val_acc", val_loss=x)), response="val_acc")
    told = chained(first, fit, second)
    design = np.column_stack([np.ones(5), x])
    slope = np.linalg.lstsq(design, y)[0][1]
    for kind, scatter in (("mean", 0.0), ("run", 1.0)):
        value, half = of_student(design, y, np.array([1.0, 4.0]), scatter)
        # the second line falls, so the first one's high end is the low one here
        low = np.hypot(half, slope * (getattr(first, f"{kind}_high") - 4.0))
        high = np.hypot(half, slope * (getattr(first, f"{kind}_low") - 4.0))
        assert (told.value, getattr(told, f"{kind}_low"), getattr(told, f"{kind}_high")) == pytest.approx(
            (value, value - low, value + high), abs=2e-3 * half)
    assert (told.law, told.response) == ("first, then second", "val_acc")
    none = chained(replace(first, run_low=None), fit, second)
    assert (none.value, none.mean_low, none.mean_high, none.run_low, none.run_high) == (told.value, *[None] * 4)
    assert none.reason == "no interval of one of the two steps, so none of both"
    assert chained(replace(first, value=None), fit, second).value is None


# --- surfaces ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("index", "tied"), [(22.0, False), (29.0, False), (31.0, True), (45.0, True)])
def test_inputs_are_tied_from_a_condition_index_of_30_on(index, tied):
    """Of two standardised columns with correlation r it is sqrt((1 + r) / (1 - r)): Belsley, Kuh & Welsch 1980."""
    r = (index**2 - 1) / (index**2 + 1)
    x, other = stats.zscore(np.arange(12.0)), np.random.default_rng(0).standard_normal(12)
    other = stats.zscore(other - np.polyval(np.polyfit(x, other, 1), x))
    y = r * x + np.sqrt(1 - r**2) * other
    assert np.corrcoef(x, y)[0, 1] == pytest.approx(r)
    line = ray(points(np.ones(12), params=1e8 * np.exp(x), train_tokens=2e9 * np.exp(y)))
    assert (line is not None) == tied


@pytest.mark.parametrize(("ratios", "words"), [
    ([20.0, 20.0, 20.0, 20.0, 20.0], "train_tokens = 20 x params"),
    ([20.123, 20.123, 20.123, 20.123, 20.123], "train_tokens = 20.12 x params"),
    ([19.0, 21.0, 20.2, 19.1, 20.9], "train_tokens = 20 x params"),
])
def test_the_tie_is_given_to_the_digits_that_are_known(ratios, words):
    n = np.geomspace(1e7, 1e11, 5)
    line = ray(points(np.ones(5), params=n, train_tokens=n * ratios))
    assert line.words == words
    assert line.factor == pytest.approx(np.sqrt(min(ratios) * max(ratios)))
    assert line.holds({"params": 1e12, "train_tokens": 1e12 * line.factor * line.spread})
    assert not line.holds({"params": 1e12, "train_tokens": 1e12 * line.factor * line.spread * 1.02})


def test_where_one_input_falls_as_the_other_rises_there_is_a_tie_and_no_curve():
    n = np.geomspace(1e8, 1e10, 8)
    data = pl.DataFrame({"params": n, "train_tokens": 1e19 / n,
                         "val_loss": 2 + 400 / n**0.34 + 0.001 * np.cos(np.arange(8))})
    (fit,) = cvfp.fit(data, "chinchilla")
    assert (fit.status, fit.reason) == ("not identifiable", "train_tokens = 1e+19 x params^-1 in all runs; vary one")
    (told,) = cvfp.predict(data, {"params": 1e11, "train_tokens": 1e8}, "chinchilla")
    assert told.value is None


def test_along_a_tie_a_law_of_plain_residuals_has_a_curve_too():
    n = np.geomspace(1e8, 1e10, 8)
    data = pl.DataFrame({"params": n, "train_tokens": 20 * n,
                         "val_loss": 2 + 400 / n**0.34 + 0.001 * np.cos(np.arange(8))})
    law = replace(installed().get(Law, "chinchilla"), space="raw", loss=LeastSquares())
    (fit,) = cvfp.fit(data, law)
    assert "known is the curve along it: val_loss = 2" in fit.reason
    (told,) = cvfp.predict(data, {"params": 3e10, "train_tokens": 6e11}, law)
    assert told.value == pytest.approx(2 + 400 / 3e10**0.34, rel=0.005)


def test_the_clipped_normal_has_the_variance_that_integration_gives():
    inside = integrate.quad(lambda z: z**2 * stats.norm.pdf(z), -robust.CORNER, robust.CORNER)[0]
    beyond = robust.CORNER**2 * 2 * stats.norm.sf(robust.CORNER)
    assert pytest.approx(inside + beyond) == robust.CLIPPED
    assert pytest.approx(stats.norm.cdf(robust.CORNER) - stats.norm.cdf(-robust.CORNER)) == robust.INNER


def test_the_robust_scale_is_huber_s_proposal_2():
    """Scale and plane solve the two equations of Huber 1981, section 7.7, as scipy finds their root."""
    rng = np.random.default_rng(4)
    params, tokens = (each.ravel() for each in np.meshgrid(1e7 * 3.0 ** np.arange(5), 1e9 * 5.0 ** np.arange(4)))
    design = np.column_stack([np.ones(20), np.log(params / 1e8), np.log(tokens / 1e10)])
    y = design @ [3.0, -0.1, -0.05] + 0.01 * rng.standard_t(4, 20)
    made_of = points(y, params=params, train_tokens=tokens)
    (held,) = for_intervals([solve_points(replace(PLANE, loss=Huber(1e-3)), made_of)], made_of)
    assert (held.weights == 1).all()

    def equations(at):
        z = (y - design @ at[:3]) / at[3]
        cut = np.clip(z, -robust.CORNER, robust.CORNER)
        return [*(design.T @ cut), np.square(cut).sum() / 17 - robust.CLIPPED]

    root = optimize.fsolve(equations, [*np.linalg.lstsq(design, y)[0], 0.01], xtol=1e-12)
    assert held.corner[0] / robust.CORNER == pytest.approx(root[3], rel=1e-4)
    assert held.curve.fitted(held.optimum.parameters)[0] == pytest.approx(design @ root[:3], abs=1e-6)
    # the parameters vary by E psi^2 / (E psi')^2, section 7.6, and the loss that is profiled bends by E psi'
    assert held.variance.new_run == pytest.approx(root[3] ** 2, rel=1e-3)
    assert held.variance.value == pytest.approx(root[3] ** 2 * robust.CLIPPED / robust.INNER, rel=1e-3)


@pytest.mark.parametrize(("p", "left_out"), [(1.5e-2 / 16, True), (2.5e-2 / 16, False)])
def test_a_run_is_left_out_if_one_of_all_is_as_far_off_less_than_2_times_in_100(p, left_out):
    """The externally studentised residual has Student's t distribution: Cook & Weisberg 1982, section 2.2.2."""
    params, tokens = (each.ravel() for each in np.meshgrid(1e7 * 3.0 ** np.arange(4), 1e9 * 5.0 ** np.arange(4)))
    design = np.column_stack([np.ones(16), np.log(params / 1e8), np.log(tokens / 1e10)])
    y = design @ [3.0, -0.1, -0.05] + 0.01 * np.random.default_rng(2).uniform(-1, 1, 16)
    others = np.arange(16) != 6
    value, half = of_student(design[others], y[others], design[6], 1.0)
    y[6] = value + half / stats.t.ppf(0.975, 12) * stats.t.isf(p / 2, 12)
    made_of = points(y, params=params, train_tokens=tokens)
    (held,) = for_intervals([solve_points(replace(PLANE, loss=Huber(1e-3)), made_of)], made_of)
    assert np.flatnonzero(held.weights[0] == 0).tolist() == ([6] if left_out else [])
    rest = points(y[others], params=params[others], train_tokens=tokens[others])
    alone = for_intervals([solve_points(replace(PLANE, loss=Huber(1e-3)), rest)], rest)[0].variance
    same = [a == pytest.approx(b, rel=1e-4) for a, b in ((held.variance.value, alone.value),
                                                         (held.variance.new_run, alone.new_run))]
    assert same == [left_out, left_out]
    assert (held.variance.dof == alone.dof) == left_out


@pytest.mark.parametrize(("count", "bins"), [(10, 10), (11, 11), (12, 11), (40, 11)])
def test_the_many_sizes_of_a_surface_are_walked_in_at_most_eight_folds(count, bins):
    walked_along = steps({"params": np.arange(1.0, count + 1)}, None, surface=True)
    sizes, runs = np.unique(walked_along, return_counts=True)
    assert (len(sizes), sizes[-1]) == (bins, count)
    assert runs.max() - runs.min() <= 1
    assert len(np.unique(steps({"params": np.arange(1.0, count + 1)}, None, surface=False))) == count
    assert walked({"params": sizes}, "params") is sizes


def test_a_surface_is_fitted_to_all_records_or_to_each_group_asked_for():
    params, tokens = (each.ravel() for each in np.meshgrid(1e7 * 3.0 ** np.arange(3), 1e9 * 5.0 ** np.arange(3)))
    data = pl.concat([pl.DataFrame({
        "experiment": name, "variant": "v", "params": params, "train_tokens": tokens,
        "val_loss": level - 0.1 * np.log(params) - 0.05 * np.log(tokens)}) for name, level in (("a", 6.0), ("b", 7.0))])
    (every,) = fit_all(data, [PLANE])
    assert (every.n, every.value("a")) == (18, pytest.approx(6.5))
    for by in (None, ["experiment"]):
        assert [(each.n, each.value("a")) for each in cvfp.fit(data, PLANE, by=by)] == [
            (9, pytest.approx(6.0)), (9, pytest.approx(7.0))]


def test_what_a_law_s_own_code_does_not_say_of_its_fit_is_filled_in():
    law = Law(name="own", form="f", fit=lambda *_: [Fit(law="own", form="", series="", status="converged")])
    records = made([1e5, 2e5, 4e5, 4e5], [9.0, 8.0, 7.0, 7.1]).with_columns(
        status=pl.Series(["ok", "ok", "ok", "failed"]))
    (fit,) = fit_all(records, [law])
    assert (fit.n, fit.sizes, fit.form, fit.series, fit.left_out) == (3, 3, "f", "e:1L_64d_1tok", ("1 failed",))
    assert (fit.fitted_range, fit.solver) == ((1e5, 4e5), None)
    (told,) = cvfp.predict(records.head(2), 1e6, "saturating")
    assert (told.value, told.reason) == (None, "2 sizes, needs 3; add 1")
    (able,) = fit_all(records.head(3), ["power-law"])
    (same,) = cvfp.predict(records.head(3), 1e6, "power-law")
    assert able.solver.predict(able, {"train_tokens": 1e6}).value == pytest.approx(same.value)


def test_a_curve_is_compared_on_its_sizes_however_many_runs_there_are():
    tokens = np.repeat(6e4 * 2.0 ** np.arange(3), 3)
    laws = [installed().get(Law, name) for name in ("power-law", "saturating")]
    choice = choose(laws, [points(power(tokens, noise=0.02), "val_ppl", train_tokens=tokens)])
    assert {each.law: each.verdict for each in choice.candidates} == {
        "power-law": "chosen", "saturating": "too few sizes"}


def test_a_model_of_lmfit_is_a_law_of_the_inputs_that_the_law_states():
    model = lmfit.Model(lambda x, a, b: a + b * x)
    model.set_param_hint("a", min=0, max=10)
    model.set_param_hint("b", min=-1, max=1)
    law = Law(name="theirs", form="a + b x", model=lambda: model, inputs=("epochs",), response="val_loss")
    data = pl.DataFrame({"experiment": "e", "variant": "v", "epochs": [1, 2, 4, 5],
                         "val_loss": [3.9, 3.8, 3.6, 3.5]})
    (fit,) = cvfp.fit(data, law)
    assert (fit.inputs, fit.value("a"), fit.value("b")) == (("epochs",), pytest.approx(4), pytest.approx(-0.1))


# --- what is refused --------------------------------------------------------------------------------------------------

def test_a_refusal_shows_three_values_and_counts_the_rest():
    data = points([1.0, -1.0, -2.0, -3.0, -4.0], name="val_ppl", train_tokens=np.arange(1e5, 6e5, 1e5))
    assert refusal(data, least=2) == (
        "bad data", "val_ppl must be positive and finite, found -1, -2, -3; mend or drop 4 run(s)")
    records = made(np.arange(1e5, 6e5, 1e5), [9.0, 8.0, 7.0, 6.0, 5.0]).with_columns(
        w=pl.Series([1.0, -1.0, -2.0, -3.0, -4.0]))
    with pytest.raises(UsageError, match="found -1, -2, -3 in 4 of 5;"):
        cvfp.fit(records, "power-law", weights="w")


def test_sizes_are_counted_for_a_curve_and_runs_for_a_surface():
    once = points([3.0, 2.9, 2.8], train_tokens=[1e5, 1e5, 2e5])
    assert refusal(once, least=3) == ("too few points", "2 sizes, needs 3; add 1")
    assert refusal(once, least=3, what="runs") is None
    assert refusal(once, least=4, what="runs") == ("too few points", "3 runs, needs 4; add 1")
    same = points([3.0, 2.9], train_tokens=[1e5, 1e5])
    assert refusal(same, least=1) == ("not identifiable", "all 2 runs have train_tokens 100,000; add another size")
    assert refusal(points([], train_tokens=[]), least=1)[0] == "too few points"
    zero = points([3.0, 2.9], num_samples=[0, 10])
    assert refusal(zero, least=1, zero=["num_samples"]) is None
    assert refusal(zero, least=1)[0] == "bad data"


def test_what_is_better_higher_is_forecast_by_laws_of_what_is_better_higher():
    records = made([1e5, 2e5, 4e5, 8e5], [9.0, 8.0, 7.0, 6.0]).with_columns(val_acc=pl.Series([0.1, 0.2, 0.25, 0.27]))
    told = cvfp.predict(records, 1e6, y="val_acc")
    laws = {name: QUANTITIES[law.response].better for name, law in installed().items(Law).items()
            if law.response in QUANTITIES}
    assert told[0].value > 0.27
    assert {laws[each.law] for each in told.choice.candidates} == {"higher"}


def test_of_many_runs_those_far_off_are_left_out_without_leaving_out_each_in_turn(monkeypatch):
    rng, planted = np.random.default_rng(5), [3, 100, 399]
    params, tokens = 1e7 * 81.0 ** rng.uniform(size=400), 1e9 * 125.0 ** rng.uniform(size=400)
    params[100] = 1e13  # alone out there: its residual is small, as it pulls the law
    y = 3 - 0.1 * np.log(params / 1e8) - 0.05 * np.log(tokens / 1e10) + 0.01 * rng.standard_normal(400)
    y[planted] += [0.08, 0.1, -0.09]
    made_of = points(y, params=params, train_tokens=tokens)
    solved = [solve_points(replace(PLANE, loss=Huber(1e-3)), made_of)]
    refitted, solve = [], robust.solve

    def counting(curve, targets, **asked):
        refitted.append(len(targets))
        return solve(curve, targets, **asked)

    monkeypatch.setattr(robust, "solve", counting)
    monkeypatch.setattr(robust, "MANY", 100)
    (some,) = for_intervals(solved, made_of)
    assert np.flatnonzero(some.weights[0] == 0).tolist() == planted
    assert sum(refitted) < 100
    monkeypatch.setattr(robust, "MANY", 400)
    (each,) = for_intervals(solved, made_of)
    assert np.array_equal(some.weights, each.weights)
    assert some.variance == each.variance


def test_resamples_drawn_in_parts_are_those_drawn_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    params, tokens = 1e7 * 81.0 ** rng.uniform(size=40), 1e9 * 125.0 ** rng.uniform(size=40)
    y = 3 - 0.1 * np.log(params / 1e8) - 0.05 * np.log(tokens / 1e10) + 0.01 * rng.standard_normal(40)
    solved = solve_points(PLANE, points(y, params=params, train_tokens=tokens))
    whole = bootstrap.resampled(solved.curve, solved.target, solved.optimum, count=50)
    sizes, solve = [], bootstrap.solve

    def counting(curve, targets, **asked):
        sizes.append(targets.size)
        return solve(curve, targets, **asked)

    monkeypatch.setattr(bootstrap, "solve", counting)
    monkeypatch.setattr(bootstrap, "ROOM", 40 * 8)
    assert np.array_equal(bootstrap.resampled(solved.curve, solved.target, solved.optimum, count=50), whole)
    assert max(sizes) == 40 * 8
