"""Where grids stand, as a value that prints as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.text import Text

from cvfp_core.registry import Registry, installed
from cvfp_core.results.numbers import duration, short
from cvfp_core.results.printed import WIDE, Block, Listed, table
from cvfp_core.running.standing import AtWork, Standing, standing
from cvfp_core.schema import store
from cvfp_core.schema.jobs import Beat

_FEW = 5
"""Failed cells that are told one by one."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Standings(Listed[Standing]):
    """Where the grids of stores stand, one after another."""

    items: tuple[Standing, ...]

    @property
    def active(self) -> bool:
        """Whether anybody is at cells that are not finished."""
        return any(each.active for each in self.items)

    def as_dict(self) -> list[dict[str, Any]]:
        """Plain data for JSON."""
        return [{"folder": str(each.folder), "cells": each.total, "done": each.done, "waiting": each.waiting,
                 "failed": dict(each.failed), "running": [asdict(beat) for beat in each.running],
                 "lost": [asdict(beat) for beat in each.lost],
                 "jobs": [{"executor": work.job.executor, "host": work.job.host, "process": work.job.process,
                           "began": work.job.began, "handle": dict(work.job.handle or {}) or None,
                           "state": asdict(work.state) if work.state else None, "problem": work.problem or None}
                          for work in each.jobs]} for each in self.items]

    def summary(self) -> str:
        """A line: how many cells of each store are done, failed, running and waiting."""
        return "; ".join(map(_line, self.items))

    def blocks(self, room: int = WIDE) -> Iterator[Block]:
        del room
        for each in self.items:
            yield Text(_line(each), style="bold")
            if each.running or each.lost:
                yield _running([*each.running, *each.lost], len(each.running))
            yield from (Text(_job(work)) for work in each.jobs)
            for run_id, reason in list(each.failed.items())[:_FEW]:
                yield Text(f"failed: {run_id}: {reason}", style="red")
            if len(each.failed) > _FEW:
                yield Text(f"and {len(each.failed) - _FEW} more; `cvfp show {each.folder}` lists all")
            if not each.active and each.waiting + len(each.lost) and each.command:
                yield Text(f"nobody is at work; go on with: {each.command}")


def standings(*paths: str | Path, registry: Registry | None = None) -> Standings:
    """Where the grids of the stores in the paths stand. Raises CvfpError for a path without one."""
    registry = registry or installed()
    return Standings(items=tuple(standing(folder, registry) for path in paths for folder in store.require(Path(path))))


def _line(each: Standing) -> str:
    counts = ((each.done, "done"), (len(each.failed), "failed"), (len(each.running), "running"),
              (len(each.lost), "lost"), (each.waiting, "waiting"))
    told = ", ".join(f"{count} {what}" for count, what in counts if count or what == "done")
    return f"{each.folder}: {each.total} cell{'' if each.total == 1 else 's'}: {told}"


def _running(beats: Sequence[Beat], alive: int) -> Block:
    made = table([("cell", "l"), ("host", "l"), ("for", "r"), ("at", "l"), ("loss", "r"), ("heard", "r")])
    now = datetime.now(UTC)
    for index, beat in enumerate(beats):
        since = datetime.fromisoformat(beat.since) if beat.since else now
        step = {1: "iteration", 2: "epoch"}.get(beat.phase or 0)
        made.add_row(Text(str(beat.run_id)), beat.host, duration(max(0.0, (now - since).total_seconds())),
                     f"{step} {beat.step}" if step else "starting", short(beat.loss),
                     f"{duration(beat.age)} ago", style="" if index < alive else "yellow")
    return made


def _job(work: AtWork) -> str:
    if work.job.handle is None and work.alive:
        return f"{work.job}: at work"
    return f"{work.job}: {work.problem or work.state}"
