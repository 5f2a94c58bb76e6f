"""Contexts along a stream: the parallel computation against the sequential one, and the windows."""

from contextlib import nullcontext

import pytest
import torch

import plain_protocol as plain
from cvfp_core.protocol.model import token_windows
from cvfp_core.protocol.stream import CHUNK, layer_outputs, parallel_contexts, sequential_contexts
from made_runs import Scripted, made_model, made_windows, plain_blocks

TABLE = torch.randn(30, 6, generator=torch.Generator().manual_seed(1))
ROTATION = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(2)))[0]


def forgetting(previous, windows):
    return torch.tanh(0.3 * previous @ ROTATION + TABLE[windows[:, -1]])


def adding(previous, windows):
    """Nothing is ever forgotten, and sums of whole numbers are exact."""
    return previous + windows[:, -1:]


def rotating(previous, windows):
    return previous @ ROTATION + 0.1 * TABLE[windows[:, -1]]


def both(make, count, *, chunk=8):
    model, windows = Scripted(contexts=make), made_windows(count)
    return (
        parallel_contexts(model, windows, 6, chunk=chunk),
        sequential_contexts(model, windows, 6).detach(),
    )


@pytest.mark.parametrize("chunk", [1, 3, 8, 30])
@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 16, 29, 64, 101])
@pytest.mark.parametrize("make", [forgetting, rotating, adding])
def test_parallel_contexts_are_the_sequential_ones_at_every_length(make, count, chunk):
    """Lengths around the borders of chunks; chunks of 1, 3 and 8 end before a block has forgotten anything."""
    made, expected = both(make, count, chunk=chunk)
    assert made.contexts.shape == (count, 6)
    torch.testing.assert_close(made.contexts, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("count", [CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
def test_parallel_contexts_of_a_residual_block_are_the_sequential_ones(count):
    model, windows = made_model("2L_12d_2tok"), made_windows(count, num_input_tokens=2)
    made = parallel_contexts(model, windows, 12)
    torch.testing.assert_close(made.contexts, sequential_contexts(model, windows, 12), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("chunk", "passes"), [(40, 1), (5, 2)])
def test_chunks_are_begun_again_until_their_starts_stand(chunk, passes):
    """The block forgets in some ten tokens: chunks of 40 end right at once, the ends of chunks of 5 move once."""
    made, expected = both(forgetting, 200, chunk=chunk)
    assert made.passes == passes
    torch.testing.assert_close(made.contexts, expected, rtol=0, atol=2e-5)


def test_a_chunk_that_is_back_does_not_wait_for_one_that_forgets_slowly():
    """Ten chunks of 100, of which one keeps 85 % of a context at each token and the others a tenth."""
    rows = []

    def counted(previous, windows):
        rows.append(len(windows))
        slow = (windows[:, -1:] >= 200) & (windows[:, -1:] < 300)
        return previous * torch.where(slow, 0.85, 0.1) + windows[:, -1:] % 7

    windows = torch.arange(1000).unsqueeze(1)
    made = parallel_contexts(Scripted(contexts=counted), windows, 6, chunk=100)
    expected = sequential_contexts(Scripted(contexts=counted), windows, 6)
    torch.testing.assert_close(made.contexts, expected, rtol=0, atol=2e-5)
    assert made.passes == 1
    begun_again = sum(rows) - 1000 - 1000  # but for the first pass, and the sequential one
    assert 9 * 8 + 64 <= begun_again <= 9 * 16 + 100


def test_a_chunk_is_begun_again_only_as_far_as_it_differs():
    steps = []

    def counted(previous, windows):
        steps.append(len(windows))
        return forgetting(previous, windows)

    made, _ = both(counted, 400, chunk=100)
    assert made.passes == 1
    assert sum(each == 4 for each in steps) == 100
    assert sum(each == 3 for each in steps) in range(8, 33, 8)  # it looks every eighth token


@pytest.mark.parametrize(("count", "passes"), [(40, 4), (72, 8), (80, None), (200, None)])
def test_a_block_that_forgets_nothing_gives_the_exact_sequence(count, passes):
    """Each pass puts one more chunk of 8 right; more than nine are too many, and the stream is computed in order."""
    made, expected = both(adding, count)
    assert made.passes == passes
    assert torch.equal(made.contexts, expected)


def test_sequential_contexts_are_those_of_the_plain_protocol():
    embeddings = torch.randn(30, 8, generator=torch.Generator().manual_seed(4))
    model, windows = made_model("3L_12d_2tok", embeddings=embeddings), made_windows(60, num_input_tokens=2)
    block, _ = plain_blocks(model)
    u = plain.windows(windows[:, -1].tolist(), embeddings.double(), 2)
    expected = torch.stack(plain.sequential(block, u, 12))
    torch.testing.assert_close(sequential_contexts(model, windows, 12).double(), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("batch_tokens", [1, 4, 10, 11, 100])
def test_the_cache_reads_the_context_before_and_zero_for_the_first_token(batch_tokens):
    """Not circular, unlike the sweeps of Phase 1; and every layer is kept."""
    model = Scripted(contexts=lambda previous, _: [previous, previous + 1])
    contexts = torch.arange(1.0, 12.0).repeat(3, 1).T
    layers = torch.stack([torch.zeros_like(contexts), contexts])
    layer_outputs(model, layers, made_windows(11), batch_tokens, nullcontext)
    before = torch.arange(0.0, 11.0).repeat(3, 1).T
    assert torch.equal(layers, torch.stack([before, before + 1]))
    assert not layers.requires_grad


def test_every_layer_is_cached_as_in_the_plain_protocol():
    embeddings = torch.randn(30, 8, generator=torch.Generator().manual_seed(4))
    model, windows = made_model("3L_12d_2tok", embeddings=embeddings), made_windows(25, num_input_tokens=2)
    contexts = torch.randn(25, 12, generator=torch.Generator().manual_seed(6))
    block, _ = plain_blocks(model)
    u = plain.windows(windows[:, -1].tolist(), embeddings.double(), 2)
    expected = plain.cached_layers(block, u, list(contexts.double()))
    layers = torch.cat([torch.zeros(2, 25, 12), contexts.unsqueeze(0)])
    layer_outputs(model, layers, windows, 10, nullcontext)
    for i, token in enumerate(expected):
        torch.testing.assert_close(layers[:, i].double(), torch.stack(token), rtol=0, atol=1e-5)


def test_windows_end_with_their_token_and_are_padded_before_the_first():
    tokens = torch.tensor([5, 6, 7])
    assert token_windows(tokens, 1, 30).tolist() == [[5], [6], [7]]
    assert token_windows(tokens, 3, 30).tolist() == [[30, 30, 5], [30, 5, 6], [5, 6, 7]]
    assert token_windows(tokens, 5, 30).shape == (3, 5)
