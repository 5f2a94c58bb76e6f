"""Laws on their scales, what few points are averaged over, and what series tell each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy import optimize, stats

from cvfp_core.errors import UsageError
from cvfp_core.fitting import choose_law, predict_all
from cvfp_core.fitting.posterior import BARE, SPREADS, Scale, ahead, nodes, quantiles, weighed
from cvfp_core.fitting.run import find
from cvfp_core.fitting.scales import jacobian
from cvfp_core.registry import installed
from cvfp_core.results.forecasts import predict
from cvfp_core.schema.quantities import QUANTITIES

TOKENS = 6e4 * 2.0 ** np.arange(8)
FAR = 10 * TOKENS[-1]


def losses(n=8, noise=0.002, seed=0, variant="a", floor=2.0, size=60.0, alpha=-0.3):
    """Runs whose loss is a power law above a floor, with their perplexity."""
    tokens = TOKENS[:n]
    loss = (floor + size * tokens**alpha) * np.exp(noise * np.random.default_rng(seed).standard_normal(n))
    return pl.DataFrame({"experiment": "e", "variant": variant, "train_tokens": tokens, "val_loss": loss,
                         "val_ppl": np.exp(loss)})


def test_a_perplexity_and_its_loss_are_forecast_as_one():
    for n in (4, 8):
        runs = losses(n)
        (ppl,), (loss,) = (predict_all(runs, FAR, y=y).predictions for y in ("val_ppl", "val_loss"))
        for name in ("value", "mean_low", "mean_high", "run_low", "run_high"):
            assert getattr(ppl, name) == pytest.approx(np.exp(getattr(loss, name)), rel=1e-6), name


def test_a_loss_given_as_perplexity_is_fitted_as_a_loss_and_the_choice_says_so():
    forecast = predict_all(losses(), FAR, y="val_ppl")
    assert (forecast.choice.law, forecast.choice.scale) == ("saturating", "val_loss")
    assert forecast.choice.as_dict()["scale"] == "val_loss"
    (each,) = forecast.predictions
    truth = 2 + 60 * FAR**-0.3
    assert np.log(each.value) == pytest.approx(truth, rel=0.01)
    assert each.run_low < np.exp(truth) < each.run_high


def test_scales_are_compared_by_the_density_of_one_quantity():
    """The likelihood of losses by normal residuals of their logarithms is that in nats, by the change of variables."""
    loss = np.array([[4.1, 3.5, 3.1, 2.9]])
    law = replace(find("saturating", installed()), response="val_loss")
    factor = jacobian(np.log(loss), law, QUANTITIES["val_loss"])[0]
    residual, n = np.array([0.01, -0.02, 0.015, -0.005]), 4
    sigma = np.sqrt(np.mean(residual**2))
    density = np.prod(np.exp(-residual**2 / sigma**2 / 2) / sigma / np.sqrt(2 * np.pi) / loss[0])  # of the loss
    assert -2 * np.log(density) == pytest.approx(n * np.log(2 * np.pi * np.mean((factor * residual) ** 2)) + n)
    assert jacobian(np.log(loss), replace(law, response="val_ppl"), QUANTITIES["val_ppl"])[0] == 1


def test_a_test_of_one_degree_of_freedom_does_not_overrule_the_back_test():
    choice = choose_law(losses(4, noise=0.001), y="val_loss")
    simple, rich = (next(each for each in choice.candidates if (each.law, each.scale) == (name, "val_loss"))
                    for name in ("power-law", "saturating"))
    assert simple.backtest > 4 * rich.backtest
    assert simple.p_value > 0.01
    assert (choice.law, choice.scale) == ("saturating", "val_loss")


@pytest.mark.parametrize(("n", "criterion"), [(4, "BIC"), (5, "BIC"), (8, "AICc")])
def test_a_criterion_is_there_for_every_law_that_could_be_fitted(n, criterion):
    choice = choose_law(losses(n, noise=0.02))
    assert choice.criterion == criterion
    fitted = [each for each in choice.candidates if each.series]
    assert all((each.aicc if criterion == "AICc" else each.bic) is not None for each in fitted)


def test_the_weights_of_an_average_add_up_and_are_of_a_power_law_with_and_without_a_floor():
    for runs in (losses(4), pl.concat([losses(5, seed=i, variant=f"v{i}") for i in range(3)])):
        counted = [each for each in predict_all(runs, FAR).choice.candidates if each.weight is not None]
        assert sum(each.weight for each in counted) == pytest.approx(1)
        assert {(each.law, each.scale) for each in counted} == {
            (law, scale) for law in ("power-law", "saturating") for scale in ("val_loss", "val_ppl")}


@pytest.mark.parametrize(("n", "noise"), [(4, 0.02), (5, 0.005), (8, 0.02)])
def test_the_average_is_the_integral_over_floor_exponent_size_and_noise(n, noise):
    """Reference: importance sampling of all four, weighted by prior and likelihood of scipy's normal density."""
    rng = np.random.default_rng(1)
    x, y = TOKENS[:n], losses(n, noise=noise, seed=3)["val_loss"].to_numpy()
    law = find("saturating", installed())
    centre, spread = law.parameters[2].prior
    draws = 400_000
    own = rng.choice(SPREADS, draws)  # the spread of an experiment, and its centre
    middle = rng.normal(np.log(centre), spread, draws)
    keep = np.abs(middle - np.log(centre)) < 2.5 * spread  # as far as centres are looked for
    bare = rng.random(draws) < rng.choice(BARE, draws)
    alpha = np.exp(rng.normal(middle, own))
    floor = np.where(bare, 0.0, rng.random(draws) * y.min())
    part = (x / x[-1]) ** -alpha[:, None]
    start = np.log((y - floor[:, None]) / part).mean(axis=1)
    for _ in range(8):  # near the best size for these, whose normal approximation is sampled from
        fitted = floor[:, None] + np.exp(start)[:, None] * part
        slope, rest = np.exp(start)[:, None] * part / fitted, np.log(y) - np.log(fitted)
        start = start + (slope * rest).sum(axis=1) / np.square(slope).sum(axis=1)
    scatter = np.sqrt(np.square(rest).sum(axis=1) / (n - 1))
    wide = 1.5 * scatter / np.sqrt(np.square(slope).sum(axis=1))
    size = start + wide * (t := rng.standard_t(3, draws))
    sigma = scatter * np.exp(width := rng.normal(0, 0.8, draws))
    fitted = floor[:, None] + np.exp(size)[:, None] * part
    log = (stats.norm.logpdf(np.log(y), np.log(fitted), sigma[:, None]).sum(axis=1)
           - stats.t.logpdf(t, 3) + np.log(wide) - stats.norm.logpdf(width, 0, 0.8))
    weight = np.where(keep, np.exp(log - log[keep].max()), 0.0)
    new = np.log(floor + np.exp(size) * (10.0) ** -alpha) + sigma * rng.standard_normal(draws)
    order = np.argsort(new)
    expected = np.interp([0.025, 0.5, 0.975], np.cumsum(weight[order]) / weight.sum(), new[order])

    inputs, at = {"train_tokens": x}, {"train_tokens": np.array([10 * x[-1]])}
    own_nodes = nodes(law, inputs, np.log(y)[None])
    (weights,), _ = weighed([own_nodes], alone=True)
    middle_, _, run = ahead(own_nodes, at)
    scale = Scale(law=law, quantity=QUANTITIES["val_ppl"])  # its common unit is the logarithm
    ends = np.array(quantiles([(weights, middle_, run)], own_nodes.dof, [scale], (0.025, 0.5, 0.975)))[:, 0]
    assert ends == pytest.approx(expected, abs=0.04 * (expected[2] - expected[0]))


@pytest.mark.parametrize("alone", [True, False])
def test_weights_are_those_of_the_plain_sum_over_centres_spreads_and_shares(alone):
    law = replace(find("saturating", installed()), response="val_loss")
    targets = np.stack([np.log(losses(5, noise=0.01, seed=i)["val_loss"].to_numpy()) for i in range(3)])
    own = nodes(law, {"train_tokens": TOKENS[:5]}, targets)
    (weights,), evidence = weighed([own], alone=alone)
    middle, spread = next(p.prior for p in law.parameters if p.prior is not None)
    density, total = np.zeros((3, *own.bare.shape)), 0
    places = np.log(middle) + spread * np.linspace(-2.5, 2.5, 41)
    known = [(c, s, bare, np.exp(-((c - np.log(middle)) / spread) ** 2 / 2)) for c in places for s in SPREADS
             for bare in BARE]
    starts = np.cumsum(own.pairs) - own.pairs
    scaled = np.add.reduceat(np.exp(own.evidence - own.evidence.max()), starts, axis=1)
    for c, s, bare, odds in known:
        near = np.exp(-(((own.size - c) / s) ** 2) / 2) / s * np.where(own.bare, bare, 1 - bare)
        seen = (scaled * near).sum(axis=1)
        others = np.ones(3) if alone else np.prod(seen) / seen
        density += odds * others[:, None] * near
        total += odds * (seen if alone else np.prod(seen))
    plain = np.exp(own.evidence - own.evidence.max()) * np.repeat(density, own.pairs, axis=1)
    assert weights == pytest.approx(plain / plain.sum(axis=1, keepdims=True), rel=1e-9, abs=1e-12)
    expected = np.log(total / sum(odds for *_, odds in known)) + own.evidence.max() * (1 if alone else 3)
    assert (evidence[0] if alone else evidence) == pytest.approx(expected, abs=1e-9)


def test_series_tell_each_other_of_exponents_and_noise_and_a_noisy_one_borrows_none():
    runs = pl.concat([losses(4, noise=0.005, seed=i, variant=f"v{i}", size=60 + 5 * i) for i in range(5)])

    def widths(runs, **options):
        made = predict_all(runs, 10 * TOKENS[3], y="val_loss", **options).predictions
        return [np.log(each.run_high / max(each.run_low, 0.1)) for each in made]

    assert np.median(widths(runs)) < 0.9 * np.median(widths(runs, pool=False))
    assert np.median(widths(runs, prior=False)) < 1.1 * np.median(widths(runs))  # five tell as much as a prior
    rough = runs.with_columns(val_loss=pl.when(variant="v0").then(
        pl.col("val_loss") * (1 + 0.08 * pl.Series([1, -1, 1, -1] * 5))).otherwise("val_loss"))
    assert widths(rough)[0] > 1.5 * widths(runs)[0]


def test_a_control_and_a_copy_tell_nothing():
    runs = pl.concat([losses(4, noise=0.005, seed=i, variant=f"v{i}") for i in range(2)])
    copy = pl.concat([runs, runs.filter(variant="v1").with_columns(variant=pl.lit("v2"))])
    for alone, together in zip(predict_all(runs, FAR).predictions, predict_all(copy, FAR).predictions, strict=False):
        assert together.run_low == pytest.approx(alone.run_low, rel=1e-9)


@pytest.mark.slow
def test_the_prior_narrows_a_curve_of_four_sizes_and_hardly_moves_one_of_eight():
    def told(n, prior):
        runs = pl.concat([losses(n, noise=0.005, seed=seed, variant=f"v{seed}") for seed in range(15)])
        made = predict_all(runs, 10 * TOKENS[n - 1], y="val_loss", prior=prior, pool=False).predictions
        return np.median([[np.log(each.run_high / max(each.run_low, 0.1)), each.value] for each in made], axis=0)

    assert told(4, True)[0] < 0.8 * told(4, False)[0]
    assert told(8, True)[1] == pytest.approx(told(8, False)[1], rel=0.01)


def test_prior_and_pool_are_of_the_automatic_choice_of_a_curve():
    with pytest.raises(UsageError, match="prior and pool are of the curves that 'auto' chooses"):
        predict(losses(), FAR, "saturating", prior=False)
    with pytest.raises(UsageError, match="prior and pool"):
        predict(losses(), {"train_tokens": FAR, "params": 1e9}, pool=False)


def test_the_quantiles_of_a_mixture_are_those_of_a_root_finder_wherever_its_lightest_parts_are():
    """Half of the parts weigh nothing to speak of and are anywhere, as exponents are that the points rule out."""
    rng = np.random.default_rng(0)
    weight = rng.dirichlet(np.ones(100), 20) * np.where(np.arange(100) % 2, 1, 1e-12)
    spread = 0.001 * np.exp(rng.normal(0, 0.5, (20, 100)))
    centre = 2 + 0.002 * rng.standard_normal((20, 100)) * np.where(np.arange(100) % 2, 1, 1e4)
    scale = Scale(law=find("saturating", installed()), quantity=QUANTITIES["val_ppl"])
    shares = (0.025, 0.5, 0.975)
    found = np.stack(quantiles([(weight, centre, spread)], np.full((20, 1), 7), [scale], shares), axis=1)
    for row in range(20):
        own = weight[row] / weight[row].sum()
        for share, end in zip(shares, found[row], strict=True):
            expected = optimize.brentq(lambda x, row=row, own=own, share=share: own @ stats.t.cdf(
                x, 7, centre[row], spread[row]) - share, -100, 100, xtol=1e-12)
            assert end == pytest.approx(expected, abs=5e-4 * (found[row, 2] - found[row, 0]))
