"""The residual family: parameter counts of the published logs, widths, feed-forwards, splits and the window."""

from itertools import pairwise

import pytest
import torch

import plain_protocol as plain
from cvfp_core.errors import UsageError
from cvfp_core.protocol.model import parameter_count
from cvfp_core.schema.cells import Variant
from made_runs import RESIDUAL, made_model, made_windows, plain_blocks

GPT2_EMBEDDING = 50257 * 768
EMBEDDING_NORM = 1536  # the logs count the embedding's LayerNorm among the trained parameters

# "Training TokenBlock only: X/Y parameters" of the logs in github.com/rato-tokyo/new-llm, 2025-11-30
PUBLISHED = {
    "1L_768d_1tok": (1_183_488, 40_962_816),
    "2L_768d_1tok": (2_365_440, 43_326_720),
    "3L_768d_1tok": (3_547_392, 45_690_624),
    "1L_768d_2tok": (2_953_728, 43_322_880),
    "2L_768d_2tok": (6_792_192, 48_933_120),
    "3L_768d_2tok": (10_499_584, 54_412_288),
    "1L_768d_3tok": (4_133_376, 45_092_352),
    "2L_768d_3tok": (11_217_408, 54_537_984),
    "3L_768d_3tok": (17_777_152, 63_459_328),
    "1L_1200d_1tok": (1_515_264, 42_477_840),
    "1L_1537d_1tok": (1_774_080, 43_918_852),
}


@pytest.fixture(scope="module")
def embeddings():
    return torch.randn(30, 8, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts_are_those_of_the_published_logs(name):
    trained, total = PUBLISHED[name]
    model = made_model(name, embeddings=torch.randn(2, 768, generator=torch.Generator().manual_seed(0)))
    token, context = parameter_count(model.phase2_parameters()), parameter_count(model.phase1_parameters())
    assert token == trained - EMBEDDING_NORM
    assert context == total - trained - GPT2_EMBEDDING
    assert parameter_count(model.parameters()) == token + context


@pytest.mark.parametrize(("name", "widths"), [
    ("1L_12d_1tok", [8, 8]),
    ("1L_12d_3tok", [24, 8]),
    ("3L_12d_1tok", [8, 8, 8, 8]),
    ("3L_12d_2tok", [16, 14, 11, 8]),
    ("4L_12d_3tok", [24, 20, 16, 12, 8]),
])
def test_the_token_block_narrows_from_the_window_to_the_embedding(name, widths, embeddings):
    """`in - floor((in - out) * l / L)`: 16 - floor(8 / 3) = 14, 16 - floor(16 / 3) = 11."""
    block = made_model(name, embeddings=embeddings).token_block
    assert [block[0].feed_forward.from_b.in_features, *(layer.norm.normalized_shape[0] for layer in block)] == widths
    assert [layer.residual is None for layer in block] == [
        a == b for a, b in pairwise(widths)
    ]


@pytest.mark.parametrize("name", ["1L_12d_1tok", "3L_12d_1tok", "3L_12d_2tok"])
def test_contexts_and_hidden_vectors_are_those_of_one_matrix_over_both_inputs(name, embeddings):
    model, windows = made_model(name, embeddings=embeddings), made_windows(20, num_input_tokens=int(name[-4]))
    previous = torch.randn(20, 12, generator=torch.Generator().manual_seed(5))
    context_block, token_block = plain_blocks(model)
    u = plain.windows(windows[:, -1].tolist(), embeddings.double(), windows.shape[1])
    outputs = model.contexts(previous, windows)
    hidden = model.hidden(torch.stack(outputs), windows)
    for i in range(20):
        contexts = plain.context_layers(context_block, previous[i].double(), u[i])
        token = plain.token_layers(token_block, contexts, u[i])
        made = torch.stack([layer[i] for layer in outputs]).double()
        torch.testing.assert_close(made, torch.stack(contexts), rtol=0, atol=1e-5)
        torch.testing.assert_close(hidden[i].double(), token, rtol=0, atol=1e-5)


def test_the_gelu_feed_forward_is_two_linears_with_gelu_between(embeddings):
    """Against the definition `x Phi(x)`; four times as wide inside."""
    model = made_model(embeddings=embeddings, feed_forward="gelu")
    previous = torch.randn(5, 12, generator=torch.Generator().manual_seed(5)).double()
    windows = made_windows(5)
    ((layer,),) = model.context_blocks
    ff = layer.feed_forward
    weight = torch.cat([ff.from_a.weight, ff.from_b.weight], dim=1).double()
    assert weight.shape == (48, 12 + 8)
    u = plain.windows(windows[:, -1].tolist(), embeddings.double(), 1)
    (made,) = model.contexts(previous.float(), windows)
    for i in range(5):
        inner = weight @ torch.cat([previous[i], u[i]]) + ff.from_a.bias.double()
        inner = inner * 0.5 * (1 + torch.erf(inner / 2**0.5))
        outer = ff.out.weight.double() @ inner + ff.out.bias.double()
        expected = plain.layer_norm(previous[i] + outer, layer.norm.weight.double(), layer.norm.bias.double())
        torch.testing.assert_close(made[i].double(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("expansion", [1, 2, 4])
def test_the_gelu_feed_forward_has_the_parameters_of_its_expansion(expansion, embeddings):
    model = made_model("1L_12d_2tok", embeddings=embeddings, feed_forward="gelu", expansion=expansion)
    inner = 12 * expansion
    assert parameter_count(model.phase1_parameters()) == (12 + 16) * inner + inner + inner * 12 + 12 + 24


@pytest.mark.parametrize("splits", [1, 2, 3])
def test_split_context_blocks_know_nothing_of_each_other(splits, embeddings):
    model, windows = made_model("2L_12d_1tok", embeddings=embeddings, num_splits=splits), made_windows(6)
    previous = torch.randn(6, 12, generator=torch.Generator().manual_seed(5))
    share = 12 // splits
    before = model.contexts(previous, windows)
    assert [layer.shape for layer in before] == [(6, 12)] * 2
    for split in range(splits):
        own = slice(split * share, (split + 1) * share)
        changed = previous.clone()
        changed[:, own] += torch.randn(6, share, generator=torch.Generator().manual_seed(8))
        for old, new in zip(before, model.contexts(changed, windows), strict=True):
            moved = (old != new).any(dim=0)
            assert bool(moved[own].all())
            assert int(moved.sum()) == share


def test_a_number_of_splits_that_does_not_divide_the_context_is_refused(embeddings):
    with pytest.raises(UsageError, match=r"num_splits = 5 does not divide context_dim = 12"):
        made_model(embeddings=embeddings, num_splits=5)


def test_what_stands_before_the_first_token_acts_as_zeros(embeddings):
    """With zeros in the window, the weights over its older half change nothing for the first token."""
    model, windows = made_model("2L_12d_2tok", embeddings=embeddings), made_windows(3, num_input_tokens=2)
    previous = torch.randn(3, 12, generator=torch.Generator().manual_seed(5))
    before = model.contexts(previous, windows)[-1]
    with torch.no_grad():
        for layer in model.context_blocks[0]:
            layer.feed_forward.from_b.weight[:, :8] += 1.0
    after = model.contexts(previous, windows)[-1]
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1:], after[1:])


def test_the_embedding_is_normalised_and_frozen(embeddings):
    model = made_model(embeddings=embeddings)
    assert torch.allclose(model.table[:-1].mean(dim=1), torch.zeros(30), atol=1e-6)
    assert torch.allclose(model.table[:-1].var(dim=1, unbiased=False), torch.ones(30), atol=1e-3)
    assert not model.table[-1].any()
    assert "table" not in dict(model.named_parameters())


def test_initial_weights_are_normal_with_the_given_deviations(embeddings):
    model = made_model("2L_200d_2tok", embeddings=embeddings)
    layers = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    weights = torch.cat([layer.weight.detach().flatten() for layer in layers])
    biases = torch.cat([layer.bias.detach() for layer in layers if layer.bias is not None])
    assert float(weights.std()) == pytest.approx(0.1, rel=0.02)
    assert float(biases.std()) == pytest.approx(0.01, rel=0.1)
    assert float((weights.abs() > 0.2).float().mean()) == pytest.approx(0.0455, abs=0.005)  # as normal, not uniform
    own = made_model("2L_200d_2tok", embeddings=embeddings, context_init_std=0.5)
    assert float(own.context_blocks[0][0].feed_forward.from_a.weight.detach().std()) == pytest.approx(0.5, rel=0.02)
    assert float(own.token_block[0].feed_forward.from_a.weight.detach().std()) == pytest.approx(0.1, rel=0.05)


def test_the_same_seed_makes_the_same_weights_and_leaves_the_global_generator_alone(embeddings):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = made_model("2L_12d_2tok", embeddings=embeddings, seed=5)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(2)
    second = made_model("2L_12d_2tok", embeddings=embeddings, seed=5)
    other = made_model("2L_12d_2tok", embeddings=embeddings, seed=6)
    weights = [torch.cat([p.flatten() for p in model.parameters()]) for model in (first, second, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_names_are_read_as_published_and_others_are_left_alone():
    assert RESIDUAL.parse("3L_768d_2tok") == Variant(
        name="3L_768d_2tok", family="residual", num_layers=3, context_dim=768, num_input_tokens=2
    )
    for name in ("gpt_1L_768d_1tok", "1L_768d", "0L_768d_1tok", "1L_768d_1tok ", "1l_768d_1tok"):
        assert RESIDUAL.parse(name) is None
