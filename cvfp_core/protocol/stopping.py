"""Stop rules, asked after every iteration of Phase 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict

from cvfp_core.errors import CvfpError
from cvfp_core.protocol.phase1 import Sweep
from cvfp_core.registry.culprits import line
from cvfp_core.registry.kinds import Iteration, StopRule


class Stopped(Exception):
    """A stop rule ended the run; the text says which and why."""


class Stopper:
    """Asks the rules, in the order given; measures what they need only where they need it.

    A rule that raises is named to `warn` and not asked again: its fault must not cost the run.
    """

    def __init__(self, rules: Sequence[StopRule], val_er: Callable[[], float], warn: Callable[[str], None]) -> None:
        self.rules, self.val_er, self.warn = list(rules), val_er, warn
        self.seen: list[Iteration] = []
        self.by: str | None = None

    def __call__(self, sweep: Sweep) -> str | None:
        needed = any(sweep.iteration in rule.val_er_at for rule in self.rules)
        self.seen.append(Iteration(**asdict(sweep), val_er=self.val_er() if needed else None))
        for rule in tuple(self.rules):
            try:
                reason = rule.stops(tuple(self.seen))
            except Exception as error:
                self.rules.remove(rule)
                told = str(error) if isinstance(error, CvfpError) else f"stop rule '{rule.name}' raised {line(error)}"
                self.warn(f"{told}; it is not asked any more")
                continue
            if reason is not None:
                self.by = rule.name
                return f"stop rule '{rule.name}': {reason}"
        return None
