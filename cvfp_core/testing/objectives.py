"""The check of an objective: its loss, its gradient and its blocked form, on contexts that are made here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from cvfp_core.protocol.objective import Term
from cvfp_core.registry.kinds import Objective
from cvfp_core.schema import options as given_options
from cvfp_core.schema.settings import Scalar
from cvfp_core.testing.expecting import expect, raised

TOKENS, WIDTH = 24, 6
SLOPE = 1e-6
"""Step of a finite difference, in contexts of about 1."""
Plain = Callable[[np.ndarray, np.ndarray, Mapping[str, Scalar | None]], float]


def check(objective: Objective, plain: Plain | None, options: Mapping[str, Scalar | None]) -> None:
    """See `check_objective`."""
    term = Term(objective, given_options.resolve("objective", objective.options, options))
    for count, width in ((TOKENS, WIDTH), (WIDTH, TOKENS)):
        contexts, previous = _numbers(count, width, 1), _numbers(count, width, 2)
        _keeps_what_it_is_given(term, contexts, previous)
        _is_the_plain_one(term, plain, contexts, previous)
        _slopes(term, contexts, previous)
        _single_precision(term, contexts, previous)
        _unmoved(term, contexts, previous)
        if objective.blocked is not None:
            _blocks(term, contexts, previous)
    for what, contexts in _degenerate().items():
        loss, gradient = _loss(term, contexts, _numbers(len(contexts), contexts.shape[1], 2), what)
        expect(bool(torch.isfinite(loss)), f"{term.label}: the loss of {what}", "a finite number", float(loss))
        expect(bool(torch.isfinite(gradient).all()), f"{term.label}: the gradient of {what}", "finite numbers",
               "others")
    _descends(term)


def _numbers(count: int, width: int, seed: int) -> Tensor:
    """(count, width) float64: around 0.3, dimensions of different spread and not independent."""
    drawn = torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    drawn[:, 1:] += 0.5 * drawn[:, :-1]
    return 0.3 + drawn * torch.linspace(0.5, 1.5, width, dtype=torch.float64)


def _degenerate() -> dict[str, Tensor]:
    one = _numbers(1, WIDTH, 3)
    equal, zeros = one.expand(TOKENS, WIDTH).clone(), torch.zeros(TOKENS, WIDTH)
    return {"one token": one, "equal contexts": equal, "zeros": zeros.double(), "one dimension": _numbers(TOKENS, 1, 3),
            "one token of one dimension": one[:, :1].clone(), "equal contexts in float32": equal.float(),
            "zeros in float32": zeros}


def _loss(term: Term, contexts: Tensor, previous: Tensor, what: str = "contexts") -> tuple[Tensor, Tensor]:
    """The loss and its gradient (B, d)."""
    leaf = contexts.clone().requires_grad_()
    try:
        loss = term(leaf, previous.to(contexts.dtype))
        (gradient,) = torch.autograd.grad(loss, leaf)
    except Exception as error:
        raise raised(f"{term.label}, {what}", error) from error
    return loss.detach(), gradient


def _keeps_what_it_is_given(term: Term, contexts: Tensor, previous: Tensor) -> None:
    given = contexts.clone(), previous.clone()
    with torch.no_grad():
        first, second = term(*given), term(*given)
    names = ("contexts", "previous contexts")
    changed = [what for what, old, new in zip(names, (contexts, previous), given, strict=True)
               if not torch.equal(old, new)]
    expect(not changed, f"{term.label}: what it is given", "it stays as it was", f"other {' and '.join(changed)}")
    expect(bool(first == second), f"{term.label}, asked twice", f"the same loss, {float(first)}", float(second))


def _is_the_plain_one(term: Term, plain: Plain | None, contexts: Tensor, previous: Tensor) -> None:
    if plain is not None:
        loss, _ = _loss(term, contexts, previous)
        wanted = float(plain(contexts.numpy(), previous.numpy(), term.options))
        expect(_near(float(loss), wanted, 1e-6), f"{term.label}: its loss", f"{wanted:.12g}, by the plain computation",
               f"{float(loss):.12g}")


def _slopes(term: Term, contexts: Tensor, previous: Tensor) -> None:
    _, gradient = _loss(term, contexts, previous)
    scale = float(gradient.abs().max())
    for row, column in ((0, 0), (1, 2), (len(contexts) - 1, contexts.shape[1] - 1)):
        step = torch.zeros_like(contexts)
        step[row, column] = SLOPE
        with torch.no_grad():
            slope = float(term(contexts + step, previous) - term(contexts - step, previous)) / (2 * SLOPE)
        found = float(gradient[row, column])
        expect(abs(found - slope) <= 1e-5 * scale + 1e-8, f"{term.label}: its gradient at token {row}, dimension "
               f"{column}", f"{slope:.8g}, by finite differences", f"{found:.8g}")


def _single_precision(term: Term, contexts: Tensor, previous: Tensor) -> None:
    wanted, found = (float(_loss(term, contexts.to(kind), previous)[0]) for kind in (torch.float64, torch.float32))
    expect(_near(found, wanted, 1e-4), f"{term.label}: its loss in float32", f"that in float64, {wanted:.8g}",
           f"{found:.8g}")


def _unmoved(term: Term, contexts: Tensor, previous: Tensor) -> None:
    count, width = contexts.shape
    order = torch.randperm(count, generator=torch.Generator().manual_seed(5))
    turn, _ = torch.linalg.qr(_numbers(width, width, 6))
    moves: Mapping[str, Callable[[Tensor], Tensor]] = {
        "order": lambda these: these[order], "shift": lambda these: these + _numbers(1, width, 7),
        "rotation": lambda these: these @ turn, "scale": lambda these: 2.5 * these,
    }
    wanted = float(_loss(term, contexts, previous)[0])
    for what in term.objective.unmoved_by:
        found = float(_loss(term, moves[what](contexts), moves[what](previous))[0])
        expect(_near(found, wanted, 1e-8), f"{term.label}: its loss, which says to be unmoved by {what}",
               f"{wanted:.10g}", f"{found:.10g}")


def _blocks(term: Term, contexts: Tensor, previous: Tensor) -> None:
    loss, gradient = _loss(term, contexts, previous)
    blocked, blocks = term.blocked(previous, trained=True), contexts.split(5)
    for block in blocks:
        blocked.see(block)
    found = float(blocked.value())
    expect(_near(found, float(loss), 1e-9), f"{term.label}: its loss by blocks",
           f"that of the whole, {float(loss):.10g}", f"{found:.10g}")
    added = [torch.ones_like(block) for block in blocks]
    for into, block in zip(added, blocks, strict=True):
        blocked.add_gradient(into, block, 0.75, 3)
    off = float((torch.cat(added) - 1 - 0.25 * gradient).abs().max())
    expect(off <= 1e-9 + 1e-7 * float(gradient.abs().max()), f"{term.label}: its gradient by blocks",
           "weight / batches of that of the whole, added to what was there", f"a difference of {off:.2g}")


def _descends(term: Term) -> None:
    contexts, previous = _numbers(TOKENS, WIDTH, 8).requires_grad_(), _numbers(TOKENS, WIDTH, 9)
    adam, losses = torch.optim.Adam([contexts], lr=0.01), []
    for _ in range(50):
        adam.zero_grad()
        loss = term(contexts, previous)
        losses.append(loss.item())
        torch.autograd.backward(loss)
        adam.step()
    expect(losses[-1] < losses[0], f"{term.label}: its loss after 50 steps of Adam",
           f"below {losses[0]:.6g}, where it began", f"{losses[-1]:.6g}")


def _near(found: float, wanted: float, share: float) -> bool:
    return abs(found - wanted) <= share * max(1.0, abs(wanted))
