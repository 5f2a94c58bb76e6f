"""Stop rules, asked after every iteration of Phase 1 and every epoch of Phase 2."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from cvfp_core.errors import CvfpError
from cvfp_core.protocol.phase1 import Sweep
from cvfp_core.registry.culprits import line
from cvfp_core.registry.kinds import Iteration, StopRule, Underway


class Stopped(Exception):
    """A stop rule ended the run; the text says which and why."""


class Stopper:
    """Asks the rules of a run, in the order given; measures what they need only where they need it.

    underway: what rules of Phase 2 are told. A rule that raises is named to `warn` and not asked again: its fault must
    not cost the run.
    """

    def __init__(self, rules: Sequence[StopRule], underway: Callable[[], Underway],
                 warn: Callable[[str], None]) -> None:
        self.rules, self.underway, self.warn = list(rules), underway, warn
        self.seen: list[Iteration] = []
        self.by: str | None = None

    def see(self, sweep: Sweep, val_er: float | None) -> None:
        """Notes an iteration of Phase 1. val_er: of the validation contexts, where it was measured."""
        self.seen.append(Iteration(**asdict(sweep), val_er=val_er))

    def iteration(self, val_er: Callable[[], float]) -> str | None:
        """Why to end the run after the iteration seen last. val_er: measures the rank of the validation contexts."""
        last = self.seen[-1]
        if last.val_er is None and any(last.iteration in rule.val_er_at for rule in self.rules):
            self.seen[-1] = replace(last, val_er=val_er())
        return self._ask(lambda rule: rule.stops and rule.stops(tuple(self.seen)))

    def epoch(self) -> str | None:
        """Why to end the run after an epoch of Phase 2."""
        return self._ask(lambda rule: rule.ends and rule.ends(self.underway()))

    def _ask(self, question: Callable[[StopRule], str | None]) -> str | None:
        for rule in tuple(self.rules):
            try:
                reason = question(rule)
            except Exception as error:
                self.rules.remove(rule)
                told = str(error) if isinstance(error, CvfpError) else f"stop rule '{rule.name}' raised {line(error)}"
                self.warn(f"{told}; it is not asked any more")
                continue
            if reason is not None:
                self.by = rule.name
                return f"stop rule '{rule.name}': {reason}"
        return None
