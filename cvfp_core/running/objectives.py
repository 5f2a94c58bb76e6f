"""The term of a cell's objective, named with its plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cvfp_core.registry import Registry
from cvfp_core.registry.kinds import MCDL, Objective
from cvfp_core.schema.cells import Cell

if TYPE_CHECKING:
    from cvfp_core.protocol.objective import Term


def term(cell: Cell, registry: Registry) -> Term:
    """The term that Phase 1 of the cell minimises. Raises UsageError for an objective that is not installed."""
    from cvfp_core.protocol.objective import Term

    objective, options = registry.objective(cell.settings.phase1.objective), cell.settings.objective
    if objective is MCDL:
        return Term(objective, options)
    return Term(objective, options, registry.label(Objective, objective.name),
                registry.owner(Objective, objective.name).package)
