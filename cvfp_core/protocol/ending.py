"""What ends Phase 1: an ending is asked after every iteration, and what a plugin answers is checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cvfp_core.errors import CvfpError, PluginError
from cvfp_core.registry import culprits
from cvfp_core.registry.kinds import CONVERGED, Ending, Iteration
from cvfp_core.schema.options import Scalar
from cvfp_core.schema.settings import Phase1Settings


def converged(
    iterations: Sequence[Iteration], settings: Phase1Settings, options: Mapping[str, Scalar | None]
) -> bool:
    """Whether enough tokens have a context that has settled, as in the published protocol."""
    del options
    return settings.converged(iterations[-1].iteration, iterations[-1].convergence_rate or 0.0)


@dataclass(slots=True, kw_only=True)
class Kept:
    """The contexts (N, context_dim) of an iteration, with the parameters of Phase 1 after it."""

    iteration: int
    contexts: Tensor
    parameters: list[Tensor]

    def put_back(self, contexts: Tensor, parameters: Sequence[Tensor]) -> None:
        """Overwrites both by what was kept."""
        contexts.copy_(self.contexts)
        with torch.no_grad():
            for into, value in zip(parameters, self.parameters, strict=True):
                into.copy_(value)


class Ender:
    """The ending of a run with its options, and the contexts it keeps.

    label, package: the ending and its plugin as messages name them, and where the plugin's code is. Every question
    raises PluginError for what the ending raises, and for an answer that is neither True nor False.
    """

    def __init__(self, ending: Ending = CONVERGED, options: Mapping[str, Scalar | None] | None = None, label: str = "",
                 package: str = "") -> None:
        self.ending, self.options = ending, dict(options or {})
        self.label, self.package = label or f"ending '{ending.name}'", package
        self.kept: Kept | None = None

    def needs_rank(self, iteration: int) -> bool:
        """Whether it looks at the effective rank of the validation contexts after the iteration."""
        at = self.ending.val_er_at
        return at is not None and self._ask("val_er_at", lambda: at(iteration, self.options))

    def ends(self, iterations: Sequence[Iteration], settings: Phase1Settings) -> bool:
        """Whether Phase 1 ends after the last of these iterations."""
        return self._ask("ends", lambda: self.ending.ends(tuple(iterations), settings, self.options))

    def look(self, iterations: Sequence[Iteration], contexts: Tensor, parameters: Sequence[Tensor],
             room: Callable[[], Tensor]) -> None:
        """Keeps the contexts of the last of these iterations, if the ending says so. room: where they are copied to."""
        keeps = self.ending.keeps
        if keeps is not None and self._ask("keeps", lambda: keeps(tuple(iterations), self.options)):
            space = self.kept.contexts if self.kept else room()
            self.kept = Kept(iteration=iterations[-1].iteration, contexts=space.copy_(contexts),
                             parameters=[each.detach().clone() for each in parameters])

    def _ask(self, what: str, question: Callable[[], object]) -> bool:
        try:
            answer = question()
        except (CvfpError, *culprits.PASSING):
            raise
        except BaseException as error:
            raise PluginError(f"{self.label} failed: {culprits.told(error, self.package)}") from error
        if not isinstance(answer, bool):
            raise PluginError(f"{self.label} failed: its '{what}' must return True or False, not {answer!r:.50}")
        return answer
