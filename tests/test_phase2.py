"""Phase 2 against the plain protocol and models whose predictions are known beforehand."""

import math

import pytest
import torch

import plain_protocol as plain
from cvfp_core.protocol.model import Diverged
from cvfp_core.protocol.phase2 import perplexity
from cvfp_core.schema.settings import Phase2Settings
from made_runs import Scripted, made_model, made_stream, phase2, plain_blocks, same, state_of

EMBEDDINGS = 0.3 * torch.randn(30, 8, generator=torch.Generator().manual_seed(4))
DIRECTIONS = torch.eye(5)  # as embeddings: hidden vectors are logits


def streams(num_layers, num_input_tokens, width=12):
    """Training and validation streams with random contexts."""
    made = []
    for seed, count in ((1, 70), (2, 30)):
        generator = torch.Generator().manual_seed(seed)
        layers = torch.randn(num_layers, count, width, generator=generator)
        tokens = torch.randint(30, (count,), generator=generator)
        made.append(made_stream(tokens, num_input_tokens=num_input_tokens, layers=layers))
    return made


def plain_stream(stream):
    tokens = stream.tokens.tolist()
    u = plain.windows(tokens, EMBEDDINGS.double(), stream.windows.shape[1])
    return tokens, u, [list(token) for token in stream.layers.double().transpose(0, 1)]


@pytest.mark.parametrize("changed", [{}, {"batch_tokens": 1000}, {"gradient_clip": 0.05}, {"patience": 3}], ids=str)
@pytest.mark.parametrize("name", ["1L_12d_1tok", "1L_12d_2tok", "3L_12d_2tok"])
def test_perplexities_and_accuracies_are_those_of_the_plain_protocol(name, changed):
    """69 predictions in batches of 20, 20, 20 and 9; training perplexity while the weights change."""
    settings = {"epochs": 5, "batch_tokens": 20, "learning_rate": 0.01} | changed
    model = made_model(name, embeddings=EMBEDDINGS)
    train, val = streams(int(name[0]), int(name[-4]))
    _, block = plain_blocks(model)
    history, best = plain.phase2(
        block, EMBEDDINGS.double(), plain_stream(train), plain_stream(val), Phase2Settings(**settings)
    )
    result, epochs = phase2(model, train, val, EMBEDDINGS, **settings)
    assert [epoch.epoch for epoch in epochs] == list(range(1, len(history) + 1))
    for epoch, (train_ppl, val_ppl, val_acc) in zip(epochs, history, strict=True):
        assert epoch.train_ppl == pytest.approx(train_ppl, rel=1e-5)
        assert epoch.val_ppl == pytest.approx(val_ppl, rel=1e-5)
        assert epoch.val_acc == val_acc
    assert (result.best, result.epochs) == (epochs[best], len(history))
    _, trained = plain_blocks(model)
    for ours, reference in zip(trained, block, strict=True):
        for a, b in zip(ours.parameters(), reference.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-4)


def test_phase2_trains_every_token_parameter_and_no_context_parameter():
    model = made_model("3L_12d_2tok", embeddings=EMBEDDINGS)
    train, val = streams(3, 2)
    context, token, table, embeddings, layers = (
        state_of(model.phase1_parameters()), state_of(model.phase2_parameters()), model.table.clone(),
        EMBEDDINGS.clone(), train.layers.clone(),
    )
    phase2(model, train, val, EMBEDDINGS, epochs=2, batch_tokens=20)
    assert same(context, model.phase1_parameters())
    assert torch.equal(table, model.table)
    assert torch.equal(embeddings, EMBEDDINGS)
    assert torch.equal(layers, train.layers)
    assert not any(torch.equal(a, b) for a, b in zip(token, model.phase2_parameters(), strict=True))


def test_batches_come_in_stream_order_in_every_epoch():
    """The last token is predicted and predicts nothing."""
    seen = []

    def note(_, windows):
        if torch.is_grad_enabled():
            seen.append(windows[:, -1].tolist())
        return torch.zeros(len(windows), 5)

    tokens = [0, 1, 2, 3, 4, 0, 2, 4, 1]
    phase2(Scripted(hidden=note), made_stream(tokens), made_stream([0, 1]), DIRECTIONS, batch_tokens=3, epochs=2)
    assert seen[:3] == [[0, 1, 2], [3, 4, 0], [2, 4]]
    assert seen[3:] == seen[:3]


def test_each_token_is_predicted_from_the_one_before_it():
    """A model that knows that token i + 1 follows token i is right everywhere."""

    def next_one(_, windows):
        return 50 * torch.eye(5)[(windows[:, -1] + 1) % 5]

    stream = made_stream(torch.arange(23) % 5)
    result, _ = phase2(Scripted(hidden=next_one), stream, stream, DIRECTIONS, epochs=1)
    assert result.best.val_acc == 1.0
    assert result.best.val_ppl == pytest.approx(1.0, abs=1e-6)


def test_perplexity_is_a_mean_over_tokens_not_over_batches():
    """Seven predictions in batches of five and two, each batch with a loss of its own; 3,000 of validation alike."""

    def sure_of_zero(_, windows):
        return torch.log(torch.tensor([0.6, 0.1, 0.1, 0.1, 0.1])).expand(len(windows), 5)

    def expected(right, wrong):
        return math.exp(-(right * math.log(0.6) + wrong * math.log(0.1)) / (right + wrong))

    train, val = made_stream([0] * 6 + [1] * 2), made_stream([0] * 2049 + [1] * 951)
    result, _ = phase2(Scripted(hidden=sure_of_zero), train, val, DIRECTIONS, epochs=1, batch_tokens=5)
    assert result.best.train_ppl == pytest.approx(expected(5, 2), rel=1e-6)
    assert result.best.val_ppl == pytest.approx(expected(2048, 951), rel=1e-6)
    assert result.best.val_acc == 2048 / 2999


def scripted(quality):
    """A model whose validation gets better with the next number of the script."""
    script = iter(quality)

    def say(_, windows):
        sure = 0.0 if torch.is_grad_enabled() else next(script)
        return sure * DIRECTIONS[:1].expand(len(windows), 5)

    return Scripted(hidden=say)


@pytest.mark.parametrize(("patience", "epochs", "best"), [(1, 3, 2), (2, 4, 2), (3, 6, 5)])
def test_training_stops_after_patience_epochs_without_improvement_and_reports_the_best(patience, epochs, best):
    stream = made_stream([0] * 20)
    quality = [1.0, 2.0, 1.5, 1.9, 3.0, 2.5]
    result, told = phase2(scripted(quality), stream, stream, DIRECTIONS, epochs=6, patience=patience)
    assert (result.epochs, result.best.epoch) == (epochs, best)
    assert result.best == told[best - 1]
    assert result.best.val_ppl == min(epoch.val_ppl for epoch in told)
    assert [epoch.improved for epoch in told] == [True, True, False, False, True, False][:epochs]


def test_an_improvement_starts_the_patience_anew():
    stream = made_stream([0] * 20)
    result, _ = phase2(scripted([2, 1, 3, 1, 4, 1, 1]), stream, stream, DIRECTIONS, epochs=7, patience=2)
    assert (result.epochs, result.best.epoch) == (7, 5)


def test_an_equal_validation_loss_is_no_improvement():
    stream = made_stream([0] * 20)
    result, _ = phase2(scripted([1, 1, 2]), stream, stream, DIRECTIONS, epochs=3)
    assert (result.epochs, result.best.epoch) == (2, 1)


def constant(train, val):
    """A model whose hidden vectors are these numbers in the second place, in training and in validation."""

    def say(_, windows):
        return (train if torch.is_grad_enabled() else val) * DIRECTIONS[1:2].expand(len(windows), 5)

    return Scripted(hidden=say)


@pytest.mark.parametrize(("train", "val", "where"), [
    (math.nan, 0.0, "training loss is nan at epoch 1"),
    (0.0, math.nan, "validation loss is nan at epoch 1"),
    (1000.0, 0.0, "training perplexity is inf"),
    (0.0, 1000.0, "validation perplexity is inf"),
])
def test_what_is_not_finite_is_a_divergence(train, val, where):
    """A loss of 1,000 is finite, its perplexity is beyond float64."""
    stream = made_stream([0] * 20)
    with pytest.raises(Diverged, match=where):
        phase2(constant(train, val), stream, stream, DIRECTIONS, epochs=2)


def test_an_infinite_perplexity_before_the_best_epoch_does_no_harm():
    stream = made_stream([0] * 20)
    result, told = phase2(scripted([-1000.0, 1.0, 0.5]), stream, stream, DIRECTIONS, epochs=3)
    assert told[0].val_ppl == math.inf
    assert (result.best.epoch, result.epochs) == (2, 3)


def test_perplexity_overflows_to_infinity():
    assert perplexity(700.0) == pytest.approx(math.exp(700.0))
    assert perplexity(710.0) == math.inf
