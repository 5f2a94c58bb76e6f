"""What a look at every file of stores found, as a value that prints as lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from cvfp_core.results.printed import WIDE, Block, Listed
from cvfp_core.schema import doctor
from cvfp_core.schema.doctor import Checkup

_FEW = 20
"""Files that are told one by one."""
_STYLES = {"damaged": "red", "not readable": "red", "other version": "yellow", "left over": "dim"}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Checkups(Listed[Checkup]):
    """Stores, one after another, and what is wrong with files of theirs."""

    items: tuple[Checkup, ...]

    @property
    def whole(self) -> bool:
        """Whether nothing is damaged."""
        return all(each.whole for each in self.items)

    def as_dict(self) -> list[dict[str, Any]]:
        """Plain data for JSON."""
        return [{"folder": str(each.folder), "records": each.records, "curves": each.curves, "whole": each.whole,
                 "faults": [{"file": str(fault.file.relative_to(each.folder)), "state": fault.state,
                             "reason": fault.reason} for fault in each.faults]} for each in self.items]

    def blocks(self, room: int = WIDE) -> Iterator[Block]:
        """A line a store, and one for each file with which something is wrong."""
        del room
        for each in self.items:
            yield Text(_line(each), style="bold" if each.faults else "")
            for fault in each.faults[:_FEW]:
                yield Text.assemble((fault.state, _STYLES[fault.state]),
                                    f": {fault.file.relative_to(each.folder)}: {fault.reason}",
                                    f"; {fault.along.relative_to(each.folder)} goes with it" if fault.along else "")
            if len(each.faults) > _FEW:
                yield Text(f"and {len(each.faults) - _FEW} more; --json has all", style="dim")


def checkups(*paths: str | Path) -> Checkups:
    """A look at every file of the stores in the paths. Raises CvfpError for a path without one."""
    return Checkups(items=tuple(doctor.examine(folder) for path in paths for folder in doctor.stores(Path(path))))


def _line(each: Checkup) -> str:
    counts = {state: sum(fault.state == state for fault in each.faults) for state in _STYLES}
    wrong = ", ".join(f"{count:,} {state}" for state, count in counts.items() if count)
    files = f"{each.records:,} record{'' if each.records == 1 else 's'}, {each.curves:,} curves"
    return f"{each.folder}: {wrong}; whole: {files}" if wrong else f"{each.folder}: whole: {files}"
