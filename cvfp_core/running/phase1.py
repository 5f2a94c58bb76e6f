"""What plugins put into Phase 1 of a cell: its objective and its ending, each named with its plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cvfp_core.registry import Registry
from cvfp_core.registry.kinds import CONVERGED, MCDL, Ending, Objective
from cvfp_core.schema.cells import Cell

if TYPE_CHECKING:
    from cvfp_core.protocol.ending import Ender
    from cvfp_core.protocol.objective import Term


def term(cell: Cell, registry: Registry) -> Term:
    """The term that Phase 1 of the cell minimises. Raises UsageError for an objective that is not installed."""
    from cvfp_core.protocol.objective import Term

    objective = registry.objective(cell.settings.phase1.objective)
    return Term(objective, cell.settings.objective, *_named(objective, registry))


def ender(cell: Cell, registry: Registry) -> Ender:
    """What ends Phase 1 of the cell. Raises UsageError for an ending that is not installed."""
    from cvfp_core.protocol.ending import Ender

    ending = registry.ending(cell.settings.phase1.ending)
    return Ender(ending, cell.settings.ending, *_named(ending, registry))


def sources(cell: Cell, registry: Registry) -> dict[str, str | None]:
    """Distribution and version of both, by record column; None: the published one, or not installed."""
    phase1 = cell.settings.phase1
    return {
        column: registry.owner(kind, name).home if name != published.name and name in registry.items(kind) else None
        for column, kind, name, published in (("objective_source", Objective, phase1.objective, MCDL),
                                              ("ending_source", Ending, phase1.ending, CONVERGED))
    }


def _named(item: Any, registry: Registry) -> tuple[str, ...]:
    """Its label and the package of its plugin; none of the published ones, whose code is the core's."""
    if item is MCDL or item is CONVERGED:
        return ()
    return registry.label(type(item), item.name), registry.owner(type(item), item.name).package
