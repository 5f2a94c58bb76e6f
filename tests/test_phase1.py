"""Phase 1 against the plain protocol, finite differences and models whose contexts are known beforehand."""

import pytest
import torch

import plain_protocol as plain
from cvfp_core.protocol.mcdl import diversity_loss
from cvfp_core.protocol.model import Diverged
from cvfp_core.schema.settings import Phase1Settings
from made_runs import Scripted, made_model, made_windows, phase1, plain_blocks, random_numbers, same, state_of

WIDTH = 12
BASE = {"max_iterations": 7, "batch_tokens": 40, "converged_ratio": 1.0, "convergence_threshold": 1.2}
EMBEDDINGS = torch.randn(30, 8, generator=torch.Generator().manual_seed(4))


def plain_phase1(model, windows, settings, seed=1):
    """The same run by the plain protocol, from the same weights and random numbers."""
    block, _ = plain_blocks(model)
    u = plain.windows(windows[:, -1].tolist(), EMBEDDINGS.double(), windows.shape[1])
    return plain.phase1(block, u, *random_numbers(len(u), WIDTH, settings, seed), settings)


@pytest.mark.parametrize("changed", [
    {}, {"context_noise": 0.0}, {"dist_reg_weight": 0.3}, {"batch_tokens": 1000}, {"gradient_clip": 0.02},
    {"learning_rate": 0.05}, {"convergence_threshold": 20.0},
], ids=str)
@pytest.mark.parametrize("name", ["1L_12d_1tok", "1L_12d_2tok", "3L_12d_2tok"])
def test_losses_rates_and_contexts_are_those_of_the_plain_protocol(name, changed):
    """90 tokens in batches of 40, 40 and 10; float32 against float64 over up to six steps of Adam."""
    settings = BASE | changed
    model = made_model(name, embeddings=EMBEDDINGS)
    windows = made_windows(90, num_input_tokens=int(name[-4]))
    contexts, history, censored = plain_phase1(model, windows, Phase1Settings(**settings))
    result, sweeps = phase1(model, windows, WIDTH, **settings)
    assert result.censored == censored
    assert [sweep.iteration for sweep in sweeps] == list(range(2, len(history) + 2))
    for sweep, (loss, cvfp, diversity, rate) in zip(sweeps, history, strict=True):
        assert sweep.loss == pytest.approx(loss, rel=1e-5)
        assert sweep.cvfp_loss == pytest.approx(cvfp, rel=1e-5)
        assert sweep.diversity_loss == pytest.approx(diversity, rel=1e-5)
        assert sweep.convergence_rate == rate
    assert result.last == sweeps[-1]
    torch.testing.assert_close(result.contexts.double(), torch.stack(contexts), rtol=0, atol=5e-5)


def test_the_trained_weights_are_those_of_the_plain_protocol():
    model = made_model("1L_12d_2tok", embeddings=EMBEDDINGS)
    windows = made_windows(90, num_input_tokens=2)
    (layer,), _ = plain_blocks(model)
    u = plain.windows(windows[:, -1].tolist(), EMBEDDINGS.double(), 2)
    settings = Phase1Settings(**BASE)
    plain.phase1([layer], u, *random_numbers(90, WIDTH, settings, 1), settings)
    phase1(model, windows, WIDTH, **BASE)
    ((trained,), _) = plain_blocks(model)
    for ours, reference in zip(trained.parameters(), layer.parameters(), strict=True):
        torch.testing.assert_close(ours, reference, rtol=0, atol=2e-5)


def test_the_comparison_can_fail():
    """Rates lie between the extremes, and the clip, the batches and the noise change the numbers compared."""
    model, windows = made_model(embeddings=EMBEDDINGS), made_windows(90)
    _, sweeps = phase1(made_model(embeddings=EMBEDDINGS), windows, WIDTH, **BASE)
    assert any(0.1 < sweep.convergence_rate < 0.9 for sweep in sweeps)
    for other in ({"gradient_clip": 0.02}, {"batch_tokens": 30}, {"context_noise": 0.0}):
        _, history, _ = plain_phase1(model, windows, Phase1Settings(**BASE | other))
        assert abs(history[-1][0] - sweeps[-1].loss) > 4e-5  # the tolerance above is 5e-6


@pytest.mark.parametrize("batch_tokens", [1, 7, 25, 1000])
def test_the_shift_is_circular_and_reads_the_previous_sweep(batch_tokens):
    """A model that hands its input context on turns the contexts by one token a sweep, whatever the batches."""
    model = Scripted(contexts=lambda previous, _: previous)
    result, sweeps = phase1(
        model, made_windows(25), 6, mode="untrained", context_noise=0.0, max_iterations=4, batch_tokens=batch_tokens
    )
    initial, _ = random_numbers(25, 6, Phase1Settings(context_noise=0.0), 1)
    assert len(sweeps) == 3
    assert torch.equal(result.contexts, initial.float().roll(3, dims=0))


def test_the_first_contexts_are_a_hundredth_of_normal():
    model = Scripted(contexts=lambda previous, _: previous)
    result, _ = phase1(model, made_windows(5000), 8, mode="untrained", context_noise=0.0, max_iterations=2)
    assert float(result.contexts.std()) == pytest.approx(0.01, rel=0.02)
    assert float(result.contexts.mean()) == pytest.approx(0.0, abs=2e-4)


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.5])
def test_noise_of_the_given_size_is_added_to_input_contexts_alone(noise):
    seen = []

    def hand_on(previous, _):
        seen.append(previous)
        return torch.zeros_like(previous)

    result, _ = phase1(
        Scripted(contexts=hand_on), made_windows(4000), 8, mode="untrained", context_noise=noise, max_iterations=3
    )
    assert float(seen[-1].std()) == pytest.approx(noise, rel=0.02)  # the context itself is zero by now
    assert float(result.contexts.abs().max()) == 0.0


def test_noise_is_drawn_afresh_for_every_sweep_and_batch():
    seen = []

    def hand_on(previous, _):
        seen.append(previous.clone())
        return torch.zeros_like(previous)

    phase1(Scripted(contexts=hand_on), made_windows(40), 8, mode="untrained", max_iterations=3, batch_tokens=20)
    assert len(seen) == 4
    assert len({round(float(noise.sum()), 6) for noise in seen}) == 4


def still(previous, windows):
    """Contexts that depend on the token alone: settled from the third iteration on."""
    return torch.ones_like(previous) * windows[:, -1:]


@pytest.mark.parametrize(("minimum", "stopped_at"), [(2, 3), (3, 3), (5, 5), (7, 7)])
def test_a_settled_run_stops_but_never_before_the_minimum_of_iterations(minimum, stopped_at):
    """Iteration 1 only draws contexts and yet counts; iteration 2 moves away from them."""
    result, sweeps = phase1(
        Scripted(contexts=still), made_windows(30), 4, min_iterations=minimum, max_iterations=20, batch_tokens=16
    )
    assert (result.last.iteration, result.censored) == (stopped_at, False)
    assert [sweep.iteration for sweep in sweeps] == list(range(2, stopped_at + 1))
    assert result.last.convergence_rate == 1.0
    assert result.last.cvfp_loss == 0.0


def test_a_run_that_hits_the_maximum_is_censored():
    turns = iter(range(100))
    model = Scripted(contexts=lambda previous, _: torch.full_like(previous, (-1.0) ** next(turns)))
    result, sweeps = phase1(model, made_windows(30), 4, max_iterations=9)
    assert (result.last.iteration, result.censored) == (9, True)
    assert result.last.convergence_rate == 0.0
    assert [sweep.cvfp_loss for sweep in sweeps[1:]] == [4.0] * 7


def test_a_run_that_converges_at_the_maximum_is_not_censored():
    result, _ = phase1(Scripted(contexts=still), made_windows(30), 4, min_iterations=3, max_iterations=3)
    assert (result.last.iteration, result.censored) == (3, False)


def test_a_run_whose_maximum_is_below_its_minimum_is_censored():
    result, _ = phase1(Scripted(contexts=still), made_windows(30), 4, min_iterations=5, max_iterations=4)
    assert (result.last.iteration, result.censored) == (4, True)


@pytest.mark.parametrize(("ratio", "stops"), [(0.95, True), (0.951, False)])
def test_the_rate_may_equal_the_converged_ratio(ratio, stops):
    """19 of 20 tokens stay."""
    turns = iter(range(100))

    def one_restless(previous, _):
        made = torch.ones_like(previous)
        made[0] = float(next(turns))
        return made

    result, _ = phase1(
        Scripted(contexts=one_restless), made_windows(20), 4, converged_ratio=ratio, max_iterations=8
    )
    assert result.last.convergence_rate == 0.95
    assert result.censored is not stops


@pytest.mark.parametrize(("step", "rate"), [(0.17, 1.0), (0.18, 0.0)])
def test_a_token_has_settled_when_its_mean_squared_movement_is_below_the_threshold(step, rate):
    """0.17 squared is 0.0289, 0.18 squared 0.0324; the threshold is 0.03."""
    turns = iter(range(100))
    model = Scripted(contexts=lambda previous, _: torch.full_like(previous, step * next(turns)))
    result, _ = phase1(model, made_windows(10), 4, max_iterations=4)
    assert result.last.convergence_rate == rate


def test_the_diversity_loss_is_minus_the_norm_around_the_mean_over_the_tokens():
    contexts = torch.randn(17, 5, generator=torch.Generator().manual_seed(2)).double()
    assert float(diversity_loss(contexts)) == pytest.approx(float(plain.diversity(list(contexts))), rel=1e-12)
    assert float(diversity_loss(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))) == pytest.approx(-(2**0.5) / 2)
    assert float(diversity_loss(torch.ones(4, 3))) == 0.0


def test_the_diversity_gradient_is_that_of_finite_differences():
    contexts = torch.randn(6, 4, generator=torch.Generator().manual_seed(2)).double().requires_grad_()
    (gradient,) = torch.autograd.grad(diversity_loss(contexts), contexts)
    for i in range(6):
        for j in range(4):
            step = torch.zeros(6, 4).double()
            step[i, j] = 1e-6
            with torch.no_grad():
                slope = (diversity_loss(contexts + step) - diversity_loss(contexts - step)) / 2e-6
            assert float(gradient[i, j]) == pytest.approx(float(slope), abs=1e-8)


def test_a_last_batch_of_one_token_trains_without_harm():
    """Its diversity is zero, where the norm has no derivative."""
    model = made_model(embeddings=EMBEDDINGS)
    _, sweeps = phase1(model, made_windows(21), WIDTH, batch_tokens=20, max_iterations=4)
    assert len(sweeps) == 3
    assert all(torch.isfinite(parameter).all() for parameter in model.phase1_parameters())


def test_previous_contexts_are_constants():
    """Only the block is trained: a result that carried gradients would hold every sweep in memory."""
    result, _ = phase1(made_model(embeddings=EMBEDDINGS), made_windows(30), WIDTH, max_iterations=3)
    assert not result.contexts.requires_grad


def test_phase1_trains_every_context_parameter_and_no_token_parameter():
    model = made_model("2L_12d_2tok", embeddings=EMBEDDINGS)
    context, token, table = (
        state_of(model.phase1_parameters()), state_of(model.phase2_parameters()), model.table.clone()
    )
    phase1(model, made_windows(60, num_input_tokens=2), WIDTH, max_iterations=4)
    assert same(token, model.phase2_parameters())
    assert torch.equal(table, model.table)
    assert not any(torch.equal(a, b) for a, b in zip(context, model.phase1_parameters(), strict=True))
    assert all(parameter.grad is None for parameter in [*model.phase1_parameters(), *model.phase2_parameters()])


def test_the_untrained_mode_sweeps_and_changes_no_parameter():
    model = made_model(embeddings=EMBEDDINGS)
    before = state_of(model.parameters())
    result, sweeps = phase1(model, made_windows(60), WIDTH, mode="untrained", max_iterations=4)
    assert same(before, model.parameters())
    assert len(sweeps) == 3
    assert float(result.contexts.abs().max()) > 0.5


def test_a_loss_that_is_not_finite_is_a_divergence_with_its_iteration():
    turns = iter([1.0, 2.0, float("nan")])
    model = Scripted(contexts=lambda previous, _: torch.full_like(previous, next(turns)))
    with pytest.raises(Diverged, match="nan at iteration 4"):
        phase1(model, made_windows(10), 4, max_iterations=9)
