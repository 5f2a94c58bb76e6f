"""Every shortcut against the plain computation it replaces, with the tolerance it is allowed."""

import errno
import os
from dataclasses import asdict, fields, replace

import pytest
import torch
from torch.nn import functional as F

from cvfp_core.errors import CvfpError
from cvfp_core.protocol import products
from cvfp_core.protocol.effective_rank import TOLERANCE, effective_rank
from cvfp_core.protocol.head import Head
from cvfp_core.protocol.mcdl import diversity_loss
from cvfp_core.protocol.model import sharing
from cvfp_core.protocol.noise import LANES, Noise
from cvfp_core.protocol.products import Packed, fast_products, onednn
from cvfp_core.protocol.room import room
from cvfp_core.schema.settings import Shortcuts
from made_runs import Scripted, made_cell, made_corpus, made_model, made_windows, phase1, run

CPU = torch.device("cpu")
SWITCHES = [each.name for each in fields(Shortcuts) if each.default is True]
MEASURED = ("cvfp_loss", "diversity_loss", "train_er", "val_er", "train_ppl", "val_ppl")
COUNTED = ("phase1_iterations", "epochs", "best_epoch", "status")


def numbers(*shape, seed=1, scale=1.0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---- all of them, in whole runs


@pytest.fixture(scope="module")
def corpus():
    """1,200 training tokens of a vocabulary of 30: every shortcut has something to do."""
    return made_corpus(train=1200, val=700)


@pytest.mark.parametrize("off", [*SWITCHES, "all"])
@pytest.mark.parametrize("name", ["1L_12d_1tok", "3L_12d_2tok"])
def test_a_run_without_a_shortcut_measures_the_same(corpus, name, off):
    """Relative tolerance 2e-5 for every loss, rank and perplexity; counts are equal."""
    small = Shortcuts(rows_at_once=100, words_at_once=7, product_library="onednn" if onednn() else "auto")
    settings = {"phase1": {"batch_tokens": 400}, "phase2": {"batch_tokens": 64}}
    fast, _, _ = run(made_cell(name, shortcuts=small, **settings), corpus)
    changed = Shortcuts.none() if off == "all" else replace(small, **{off: False})
    plain, _, _ = run(made_cell(name, shortcuts=changed, **settings), corpus)
    for metric in COUNTED:
        assert getattr(fast, metric) == getattr(plain, metric)
    for metric in MEASURED:
        assert getattr(fast, metric) == pytest.approx(getattr(plain, metric), rel=2e-5), metric
    assert abs(fast.val_acc - plain.val_acc) <= 2 / 700  # near ties fall either way


def test_shortcuts_do_not_decide_the_run_id():
    assert made_cell(shortcuts=Shortcuts.none()).run_id == made_cell().run_id


def test_none_is_the_plain_computation_throughout():
    none = asdict(Shortcuts.none())
    assert none.pop("memory_gib") == none.pop("checkpoint_seconds") == 1e9  # never reached
    assert none.pop("product_library") == "auto"  # of fast products, which there are none of
    assert not any(none.values())
    assert set(SWITCHES) <= set(none)


# ---- the head


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("vocab", [1, 5, 16, 50])
def test_the_chunked_head_is_the_cross_entropy(vocab, scale):
    """Chunks of 16 words, one ending early; logits up to some hundreds; the losses and gradients of float64 to 2e-6."""
    embeddings = numbers(vocab, 8, seed=2)
    targets = torch.randint(vocab, (9,), generator=torch.Generator().manual_seed(3))
    hidden, exact = numbers(9, 8, scale=scale).requires_grad_(), numbers(9, 8, scale=scale).double().requires_grad_()
    head = Head(embeddings, words=16)
    loss = head.loss(hidden, targets)
    expected = F.cross_entropy(exact @ embeddings.double().T, targets)
    (gradient,) = torch.autograd.grad(3 * loss, hidden)
    (right,) = torch.autograd.grad(3 * expected, exact)
    assert loss.item() == pytest.approx(expected.item(), rel=2e-6, abs=2e-6 * scale)
    torch.testing.assert_close(gradient.double(), right, rtol=2e-5, atol=2e-6)
    total, correct = head.score(hidden, targets)
    plain_total, plain_correct = Head(embeddings, chunked=False).score(hidden, targets)
    assert total.item() == pytest.approx(plain_total.item(), rel=2e-6, abs=2e-6 * scale)
    assert correct == plain_correct


@pytest.mark.parametrize("longest", [0.1, 49.9, 50.1, 300.0])
def test_logits_at_either_end_need_no_maximum_as_long_as_they_are_small(longest):
    """Rows whose logits are all near plus, or all near minus the bound below which no maximum is taken off; 2e-5."""
    embeddings = torch.full((40, 4), 0.5) + numbers(40, 4, scale=0.001)
    embeddings /= torch.linalg.vector_norm(embeddings, dim=1, keepdim=True)
    hidden = (longest * torch.tensor([[0.5], [-0.5], [0.0]])).repeat(1, 4).requires_grad_()
    targets, head = torch.tensor([3, 20, 39]), Head(embeddings, words=16)
    exact = hidden.detach().double().requires_grad_()
    expected = F.cross_entropy(exact @ embeddings.double().T, targets)
    loss = head.loss(hidden, targets)
    assert loss.item() == pytest.approx(expected.item(), abs=2e-6 * max(1, longest))
    torch.testing.assert_close(torch.autograd.grad(loss, hidden)[0].double(), torch.autograd.grad(expected, exact)[0],
                               rtol=2e-5, atol=2e-6)
    assert head.score(hidden, targets)[0].item() == pytest.approx(3 * expected.item(), abs=6e-6 * max(1, longest))


def test_of_equal_logits_the_first_word_counts_as_predicted():
    """In the same chunk and across chunks, as argmax has it."""
    head = Head(torch.ones(6, 3), words=2)
    assert head.score(torch.ones(2, 3), torch.tensor([0, 3]))[1] == 1


@pytest.mark.parametrize("words", [1, 4, 7, 100])
def test_what_is_predicted_is_what_argmax_has_where_many_logits_are_equal(words):
    """Vectors of three small whole numbers: half of the rows have several words with the highest logit."""
    generator = torch.Generator().manual_seed(4)
    embeddings, hidden = (torch.randint(-1, 2, (rows, 3), generator=generator).float() for rows in (40, 400))
    logits = hidden @ embeddings.T
    ties = (logits == logits.amax(dim=1, keepdim=True)).sum(dim=1) > 1
    assert 0.5 < ties.float().mean() < 1
    targets = torch.randint(40, (400,), generator=generator)
    targets[::2] = logits.argmax(dim=1)[::2]
    assert Head(embeddings, words=words).score(hidden, targets)[1] == (logits.argmax(dim=1) == targets).sum()


def test_the_head_in_bfloat16_is_near_that_in_float32():
    """Loss within 1e-3 relative, the direction of the gradient within 1 %."""
    embeddings, targets = numbers(500, 64, seed=2, scale=0.3), torch.arange(100)
    losses, gradients = [], []
    for half in (False, True):
        hidden = numbers(100, 64).requires_grad_()
        losses.append(Head(embeddings, half=half).loss(hidden, targets))
        gradients += torch.autograd.grad(losses[-1], hidden)
    assert losses[0].item() != losses[1].item()
    assert losses[1].item() == pytest.approx(losses[0].item(), rel=1e-3)
    assert F.cosine_similarity(*(each.flatten() for each in gradients), dim=0) > 0.9999


def test_a_hidden_vector_that_is_not_finite_gives_a_loss_that_is_not():
    head, targets = Head(numbers(10, 3, seed=2), words=4), torch.tensor([1, 9])
    for bad in (float("nan"), float("inf")):
        hidden = torch.tensor([[bad, 0.0, 1.0], [1.0, 1.0, 1.0]])
        assert not torch.isfinite(head.loss(hidden, targets))
        assert not torch.isfinite(head.score(hidden, targets)[0])


# ---- what depends on tokens alone


MODELS = [
    ("1L_12d_1tok", {}), ("3L_12d_2tok", {}), ("2L_12d_3tok", {"num_splits": 3}),
    ("2L_12d_2tok", {"feed_forward": "gelu", "expansion": 2}),
]


@pytest.mark.parametrize(("name", "options"), MODELS, ids=str)
def test_sharing_tokens_changes_no_output_and_no_gradient(name, options):
    """Two calls under one sharing, as in a sweep: outputs to 1e-5, summed gradients to 1e-4 relative of the largest."""
    model, plain = made_model(name, **options), made_model(name, **options)
    windows = made_windows(200, num_input_tokens=int(name[-4]))
    previous, direction = numbers(200, 12), numbers(12, seed=4)
    tokens = windows.unique()
    assert 30 in tokens or windows.shape[1] == 1  # the zero vector before the first token
    with model.sharing(tokens):
        for rows in (slice(0, 80), slice(80, 200)):
            given = previous[rows], windows[rows]
            for made, expected in zip(model.contexts(*given), plain.contexts(*given), strict=True):
                torch.testing.assert_close(made, expected, rtol=1e-5, atol=1e-5)
            torch.autograd.backward((made @ direction).sum())
            torch.autograd.backward((expected @ direction).sum())
        contexts = torch.stack([previous] * len(model.token_block))
        torch.testing.assert_close(
            model.hidden(contexts, windows), plain.hidden(contexts, windows), rtol=1e-5, atol=1e-5
        )
    for ours, theirs in zip(model.phase1_parameters(), plain.phase1_parameters(), strict=True):
        assert theirs.grad.abs().max() > 0
        assert (ours.grad - theirs.grad).abs().max() <= 1e-4 * theirs.grad.abs().max()


def test_a_gradient_that_was_there_is_added_to():
    model = made_model()
    windows, (weight, *_) = made_windows(90), [layer.feed_forward.from_b.weight for layer in model.context_blocks[0]]
    for _ in range(2):
        with model.sharing(windows.unique()):
            torch.autograd.backward((model.contexts(numbers(90, 12), windows)[-1] @ numbers(12)).sum())
    twice, weight.grad = weight.grad, None
    with model.sharing(windows.unique()):
        torch.autograd.backward((model.contexts(numbers(90, 12), windows)[-1] @ numbers(12)).sum())
    torch.testing.assert_close(twice, 2 * weight.grad)


def test_an_error_while_sharing_leaves_the_model_as_it_was():
    model, windows = made_model(), made_windows(90)
    with pytest.raises(KeyboardInterrupt), model.sharing(windows.unique()):
        raise KeyboardInterrupt
    assert model.shared is None
    assert all(parameter.grad is None for parameter in model.phase1_parameters())


def test_tokens_are_shared_where_few_are_distinct_and_the_model_can():
    model = made_model()
    for windows, allowed, shares in (
        (made_windows(200), True, True), (made_windows(200), False, False), (torch.arange(20).unsqueeze(1), True, False)
    ):
        with sharing(model, windows, allowed=allowed)():
            assert (model.shared is not None) == shares
    with sharing(Scripted(), made_windows(200), allowed=True)():
        pass


# ---- Phase 1 in blocks


@pytest.mark.parametrize("spread", [1.0, 1e-3, 0.0])
def test_the_gradient_written_down_is_that_of_the_loss(spread, monkeypatch):
    """Against autograd in float64, to 1e-5 of the largest.

    Also where contexts lie so close that their norm around zero tells nothing; float32 itself is the limit there.
    """
    vectors, center = numbers(25, 6, scale=spread).double(), numbers(6, seed=5)
    start = (vectors + center).float().requires_grad_()
    exact = start.detach().double().requires_grad_()  # a copy: the optimizer is about to move `start`
    model = Scripted(contexts=lambda _previous, windows: start[windows[:, -1]])
    model.phase1_parameters = lambda: [start]
    seen = []
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda given, _: seen.append(given[0].grad.double()))
    old = torch.empty(25, 6)
    with Noise(1, CPU) as noise:
        noise.fill(old, 0.01)
    _, (sweep,) = phase1(model, torch.arange(25).unsqueeze(1), 6, max_iterations=2, context_noise=0.0, batch_tokens=10,
                         shortcuts=Shortcuts(rows_at_once=7))
    total = 0
    for rows in (slice(0, 10), slice(10, 20), slice(20, 25)):
        movement = (exact[rows] - old[rows].double()).square().mean(dim=1).mean()
        total = total + (0.1 * movement + 0.9 * diversity_loss(exact[rows])) / 3
    (right,) = torch.autograd.grad(total, exact)
    if spread > 0:  # without spread the norm has no derivative
        assert (seen[0] - right).abs().max() <= (1e-5 if spread == 1 else 5e-3) * right.abs().max()
    assert torch.isfinite(seen[0]).all()
    assert sweep.loss == pytest.approx(total.item(), rel=1e-5)


# ---- random numbers


def test_noise_depends_on_the_seed_and_not_on_the_threads():
    drawn = []
    threads = torch.get_num_threads()
    try:
        for count, seed in ((1, 5), (3, 5), (1, 7)):
            torch.set_num_threads(count)
            with Noise(seed, CPU) as noise:
                made = torch.empty(1001, 99)
                noise.fill(made, 5.0)
                noise.fill(made, 2.0)
                drawn.append(made)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert drawn[0].std().item() == pytest.approx(2.0, rel=0.02)


def test_lanes_draw_different_numbers():
    made = torch.empty(LANES * 5, 40)
    with Noise(3, CPU) as noise:
        noise.fill(made, 1.0)
    assert len(made.flatten().unique()) == made.numel()


# ---- effective rank


@pytest.mark.parametrize("decay", [0.0, 1.0, 3.0, 6.0])
def test_the_rank_by_blocks_is_that_of_the_singular_values(decay):
    """Layer-normed vectors, of which one direction is always empty, and directions that fade over `decay` decades."""
    fading = torch.diag(10 ** torch.linspace(0, -decay, 260))
    contexts = F.layer_norm(numbers(6000, 260) @ fading @ torch.linalg.qr(numbers(260, 260, seed=2))[0], (260,))
    singular = torch.linalg.svdvals(contexts.double())
    share = singular / singular.sum()
    expected = float((-torch.special.xlogy(share, share).sum()).exp()) / 260
    blocked, exact = effective_rank(contexts), effective_rank(contexts, blocked=False)
    assert exact == pytest.approx(expected, rel=1e-7)
    assert blocked == pytest.approx(expected, rel=TOLERANCE)
    assert (blocked == exact) == (decay >= 3.0)  # there float32 would have been too coarse, and was not trusted


# ---- products


@pytest.fixture
def by_onednn():
    if not onednn():
        pytest.skip("this build of torch has no such product")
    with fast_products(True, "onednn"):
        yield


@pytest.fixture
def without_onednn(monkeypatch):
    """A torch that has no such operator."""
    def missing(*_):
        raise AttributeError("no such operator")

    monkeypatch.setattr(products, "_onednn", missing)
    cached = (products.onednn, products._packs_half)
    for each in cached:
        each.cache_clear()
    with fast_products(True, "onednn"):
        yield
    for each in cached:
        each.cache_clear()


@pytest.mark.usefixtures("by_onednn")
@pytest.mark.parametrize("bias", [True, False])
def test_the_other_library_gives_the_same_products_and_gradients(bias):
    x, weight, shift = numbers(50, 33), numbers(20, 33, seed=2), numbers(20, seed=3) if bias else None
    made = []
    for fast in (True, False):
        given = [each.clone().requires_grad_() for each in (x, weight, shift) if each is not None]
        with fast_products(fast, "onednn"):
            out = products.linear(*given)
            assert (type(out.grad_fn).__name__ == "_LinearBackward") == fast
            made.append([out, *torch.autograd.grad(out.square().sum(), given)])
            torch.testing.assert_close(products.product(x.T, numbers(7, 50).T.contiguous().T), x.T @ numbers(7, 50).T)
    for ours, theirs in zip(*made, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("by_onednn")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("rows", [1, 9, 600])
def test_a_packed_weight_gives_the_products_of_a_plain_one(dtype, tolerance, rows):
    """Also one that lies the other way round, and for more or fewer rows than it was packed for.

    Without AVX-512 oneDNN takes no weight in bfloat16: there it stays a plain one.
    """
    packs = dtype == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    x, weight = numbers(rows, 33).to(dtype), numbers(20, 33, seed=2).to(dtype)
    expected = x.double() @ weight.double().T
    for given in (weight, weight.T.contiguous().T):
        packed = Packed(given)
        assert packed.weight.is_mkldnn == packs
        made = packed.product(x)
        assert made.dtype == dtype
        torch.testing.assert_close(made.double(), expected, rtol=tolerance, atol=tolerance * 10)
    with fast_products(False):
        assert not Packed(weight).weight.is_mkldnn


@pytest.mark.usefixtures("without_onednn")
def test_without_the_operator_a_weight_stays_as_it_is():
    x, weight = numbers(5, 8), numbers(3, 8)
    for dtype in (torch.float32, torch.bfloat16):
        packed = Packed(weight.to(dtype))
        assert not packed.weight.is_mkldnn
        assert torch.equal(packed.product(x.to(dtype)), x.to(dtype) @ weight.to(dtype).T)


@pytest.mark.usefixtures("by_onednn")
def test_autocast_and_weights_that_lie_otherwise_go_to_torch():
    x, weight = numbers(5, 8), numbers(8, 8).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert products.linear(x, weight).dtype == torch.bfloat16
    assert type(products.linear(x, weight.T).grad_fn).__name__ != "_LinearBackward"


def test_by_torchs_library_products_are_torchs_own():
    x, weight = numbers(5, 8), numbers(3, 8)
    with fast_products(True, "torch"):
        assert torch.equal(products.linear(x, weight), F.linear(x, weight))


# ---- contexts on disk


def test_contexts_beyond_the_limit_lie_in_a_file_that_no_one_sees(tmp_path):
    small, large = room((2, 10, 4), CPU, tmp_path / "cache", 1.0), room((2, 10, 4), CPU, tmp_path / "cache", 1e-9)
    assert small.shape == large.shape == (2, 10, 4)
    large.copy_(numbers(2, 10, 4))
    assert torch.equal(large, numbers(2, 10, 4))
    if os.name == "posix":
        assert list((tmp_path / "cache").iterdir()) == []


def test_a_run_with_its_contexts_on_disk_is_the_same_to_the_bit(corpus, tmp_path):
    here = made_cell("2L_12d_2tok")
    there = replace(here, cache=tmp_path, shortcuts=Shortcuts(memory_gib=1e-9))
    records = [asdict(run(cell, corpus)[0]) for cell in (here, there)]
    for metric in MEASURED + COUNTED:
        assert records[0][metric] == records[1][metric]


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot reserve space in a file")
def test_a_full_disk_is_said_before_anything_is_written(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(CvfpError, match=r"contexts need 0\.0 GiB in .*: No space left on device; free space there"):
        room((2, 10, 4), CPU, tmp_path, 1e-9)
    assert list(tmp_path.iterdir()) == []
