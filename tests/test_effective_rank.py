"""The effective rank of matrices whose singular values are known, and of others against the SVD."""

import math

import pytest
import torch

import plain_protocol as plain
from cvfp_core.protocol.effective_rank import effective_rank
from cvfp_core.protocol.model import Diverged


def random(rows, columns, seed=0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def with_spectrum(singular, rows, columns):
    """A matrix (rows, columns) with these singular values."""
    u, _ = torch.linalg.qr(random(rows, len(singular), 1).double())
    v, _ = torch.linalg.qr(random(columns, len(singular), 2).double())
    return u @ torch.diag(torch.tensor(singular).double()) @ v.T


@pytest.mark.parametrize("width", [1, 2, 5, 7, 9, 11, 13, 16, 100])
def test_orthogonal_directions_of_one_length_have_rank_one_and_never_more(width):
    """A fraction above 1, were it by rounding, would be no value of the record."""
    for contexts in (torch.eye(width), 3 * torch.eye(width).repeat(5, 1), torch.linalg.qr(random(width, width))[0]):
        assert effective_rank(contexts) == pytest.approx(1.0, abs=1e-6)
        assert effective_rank(contexts) <= 1.0


@pytest.mark.parametrize(("tokens", "width"), [(50, 8), (3, 8), (1, 8), (8, 8)])
def test_one_direction_has_rank_one_over_the_width(tokens, width):
    contexts = random(tokens, 1) * random(1, width, 5)
    assert effective_rank(contexts) == pytest.approx(1 / width, rel=1e-5)


@pytest.mark.parametrize(("rows", "columns"), [(40, 4), (4, 10)])
def test_a_known_spectrum_gives_its_entropy(rows, columns):
    """Shares 0.4, 0.3, 0.2, 0.1."""
    entropy = -sum(p * math.log(p) for p in (0.4, 0.3, 0.2, 0.1))
    contexts = with_spectrum([4.0, 3.0, 2.0, 1.0], rows, columns)
    assert effective_rank(contexts) == pytest.approx(math.exp(entropy) / columns, rel=1e-9)


@pytest.mark.parametrize(("tokens", "width"), [(500, 24), (24, 24), (9, 24), (20000, 3)])
def test_every_token_counts_and_the_svd_agrees(tokens, width):
    """20,000 tokens are more than one pass over the rows, and more than the 10,000 the research sampled."""
    contexts = random(tokens, width) * torch.linspace(0.01, 3, width) + 0.5
    contexts[-1] = 40.0
    assert effective_rank(contexts) == pytest.approx(plain.effective_rank(contexts.numpy()), rel=1e-7)


def test_contexts_are_not_centred():
    contexts = random(300, 8)
    assert effective_rank(contexts + 5) < 0.6 * effective_rank(contexts)


def test_the_scale_of_contexts_does_not_matter():
    contexts = random(60, 8)
    for scale in (1e-12, 1e-3, 1e6, 1e15):
        assert effective_rank(contexts * scale) == pytest.approx(effective_rank(contexts), rel=1e-5)


def test_contexts_of_nothing_but_zeros_have_rank_zero():
    assert effective_rank(torch.zeros(5, 3)) == 0.0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("tokens", "width"), [(20, 4), (3, 4)])
def test_values_that_are_not_finite_are_a_divergence(bad, tokens, width):
    contexts = random(tokens, width)
    contexts[1, 2] = bad
    with pytest.raises(Diverged, match="not finite"):
        effective_rank(contexts)
