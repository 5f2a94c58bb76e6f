"""The term that an objective adds to the loss of Phase 1: what a plugin returns is checked, and whose it is is said."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from operator import add

import torch
from torch import Tensor

from cvfp_core.errors import CvfpError, PluginError
from cvfp_core.protocol.device import exact
from cvfp_core.protocol.model import Diverged
from cvfp_core.registry import culprits
from cvfp_core.registry.kinds import MCDL, Objective
from cvfp_core.schema.models import BlockedObjective
from cvfp_core.schema.options import Scalar
from cvfp_core.schema.quantities import QUANTITIES

_DEAR = 0.5  # share of an iteration from which on an objective is worth a warning
_LONG = 0.1  # seconds below which no iteration is


class Term:
    """The objective of a run with its options.

    label, package: the objective and its plugin as messages name them, and where the plugin's code is.
    """

    def __init__(self, objective: Objective = MCDL, options: Mapping[str, Scalar | None] | None = None, label: str = "",
                 package: str = "") -> None:
        self.objective, self.options = objective, dict(options or {})
        self.label, self.package = label or f"objective '{objective.name}'", package
        self._sums: dict[str, Tensor] = {}
        self._calls, self._seconds = 0, 0.0

    def __call__(self, contexts: Tensor, previous: Tensor) -> Tensor:
        """The loss of a batch, one number with its graph; contexts and those of the iteration before (B, d).

        Raises PluginError for what the objective raises and for what is no loss, Diverged for contexts that are not
        finite where it cannot take them.
        """
        with self._blaming(contexts):
            returned = self.objective.loss(contexts, previous, self.options)
            parts = dict(returned) if isinstance(returned, Mapping) else {"": returned}
            if wrong := _problem(parts, contexts):
                raise TypeError(wrong)
        self._calls += 1
        for name, value in parts.items():
            if name:
                self._sums[name] = self._sums.get(name, 0.0) + value.detach().to(exact(value.device))
        return reduce(add, parts.values())

    @property
    def published(self) -> bool:
        """Whether it is the diversity term of the published protocol."""
        return self.objective.name == MCDL.name

    def blocked(self, previous: Tensor, *, trained: bool) -> BlockedObjective:
        """The loss of a batch that arrives in blocks of rows; previous (B, d) as in a call."""
        if self.objective.blocked is None:
            return _ByAutograd(self, previous, trained)
        with self._blaming(previous):
            return self.objective.blocked(self.options)

    def gradient(self, loss: Tensor, contexts: Tensor) -> Tensor:
        """(B, d), of what a call returned for these contexts. Raises PluginError if there is none, Diverged for NaN."""
        try:
            (gradient,) = torch.autograd.grad(loss, contexts)
        except culprits.PASSING:
            raise
        except BaseException as error:
            raise self._blamed(error, contexts) from error
        if bool(torch.isfinite(loss)) and not bool(torch.isfinite(gradient.sum())):
            raise Diverged(f"the gradient of {self.label} is not finite where its loss is {loss.item():.4g}")
        return gradient

    def timed(self, device: torch.device, since: float | None = None) -> float:
        """The time now; since: what passed from then on was the objective's."""
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        now = time.perf_counter()
        if since is not None:
            self._seconds += now - since
        return now

    def measured(self) -> dict[str, float]:
        """By column, the means over batches of the parts of the loss that have names; then they begin anew."""
        means = {f"objective_{name}": float(total) / self._calls for name, total in self._sums.items()}
        self._sums, self._calls = {}, 0
        return means

    def warning(self, seconds: float) -> str | None:
        """What to say of an iteration that took so long, if the objective took most of it; then time begins anew."""
        own, self._seconds = self._seconds, 0.0
        if seconds < _LONG or own < _DEAR * seconds:
            return None
        remedy = "; a smaller phase1.batch_tokens makes it cheaper" if self.objective.cost == "B^2 d" else ""
        return (f"objective '{self.objective.name}' takes {own:.2g} s of an iteration's {seconds:.2g} s: its cost "
                f"grows as {self.objective.cost}, B tokens of a batch and d the width of a context{remedy}")

    @contextmanager
    def _blaming(self, contexts: Tensor) -> Iterator[None]:
        """Where the objective's code is called: what it raises is its plugin's, but for errors a user can mend."""
        try:
            yield
        except (CvfpError, *culprits.PASSING):
            raise
        except BaseException as error:
            raise self._blamed(error, contexts) from error

    def _blamed(self, error: BaseException, contexts: Tensor) -> BaseException:
        if culprits.out_of_memory(error):
            return error
        if not bool(torch.isfinite(contexts.detach()).all()):
            return Diverged("contexts are not finite")
        return PluginError(f"{self.label} failed: {culprits.told(error, self.package)}")


def _problem(parts: Mapping[str, object], contexts: Tensor) -> str:
    """What is wrong with what an objective returned, in words; empty: nothing."""
    if not parts:
        return "its loss must be one number, or several by name, not none"
    for name, value in parts.items():
        if not isinstance(value, Tensor):
            return f"its loss must be a tensor of one number, not {type(value).__name__}"
        if value.ndim or not value.is_floating_point():
            return f"its loss must be one number, not a tensor of shape {tuple(value.shape)} and {value.dtype}"
        if value.device != contexts.device:
            return f"its loss is on {value.device}, the contexts are on {contexts.device}"
        if name and (not str(name).isidentifier() or f"objective_{name}" in QUANTITIES):
            return f"a part of its loss is called {name!r}: call it by another word, of letters, digits and _"
    if contexts.requires_grad and not any(value.requires_grad for value in parts.values()):  # type: ignore[attr-defined]
        return "its loss has no gradient: it must be computed from the contexts, by torch, and not be detached"
    return ""


class _ByAutograd:
    """A batch's loss of an objective that gives no blocked form: blocks are joined, the gradient is autograd's."""

    def __init__(self, term: Term, previous: Tensor, trained: bool) -> None:
        self.term, self.previous, self.trained = term, previous, trained
        self._blocks: list[Tensor] = []
        self._gradients: Iterator[Tensor] = iter(())

    def see(self, made: Tensor) -> None:
        self._blocks.append(made)

    def value(self) -> Tensor:
        sizes = [len(block) for block in self._blocks]
        contexts = torch.cat(self._blocks).requires_grad_(self.trained)  # (B, d)
        self._blocks.clear()
        began = self.term.timed(contexts.device)
        with torch.set_grad_enabled(self.trained):
            loss = self.term(contexts, self.previous)
        if self.trained:
            self._gradients = iter(self.term.gradient(loss, contexts).split(sizes))
        self.term.timed(contexts.device, began)
        return loss.detach().to(exact(contexts.device))

    def add_gradient(self, into: Tensor, made: Tensor, weight: float, batches: int) -> None:
        del made
        into.add_(next(self._gradients), alpha=weight / batches)
