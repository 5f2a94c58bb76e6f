"""The format `gru-log v1`: its first line says so, `run` begins a run, `end` ends it, `#` begins a comment.

    gru-log v1
    run variant=gru_1L_64d_1tok train_tokens=20206 seed=1
    epoch=1 val_ppl=281.6 val_acc=0.074 train_ppl=310.2
    end seconds=12.5
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

from cvfp_core.errors import IngestError
from cvfp_core.ingesting.lines import read_lines, shown
from cvfp_core.registry.kinds import IngestOptions
from cvfp_core.schema.found import Curve, Found, FoundRun, NotUnderstood, Tally

_NUMBER = r"(\d+(?:\.\d+)?(?:e[-+]?\d+)?|nan|inf)"
_RUN = re.compile(r"run variant=(\S+) train_tokens=(\d{1,18}) seed=(\d{1,10})", re.ASCII)
_EPOCH = re.compile(rf"epoch=(\d{{1,9}}) val_ppl={_NUMBER} val_acc={_NUMBER} train_ppl={_NUMBER}", re.ASCII)
_END = re.compile(rf"end seconds={_NUMBER}", re.ASCII)


@dataclass(slots=True, kw_only=True)
class _Run:
    """A run being read: its first line, and (epoch, val_ppl, val_acc, train_ppl) of every epoch."""

    line: int
    variant: str
    train_tokens: int
    seed: int
    epochs: list[tuple[int, float, float, float]] = field(default_factory=list)


def read(path: Path, options: IngestOptions) -> Iterator[Found]:
    """Every run with its curves; one without its end is interrupted, one whose perplexity is not finite diverged."""
    run: _Run | None = None
    record = curve = noise = 0
    for number, line in _lines(path):
        if number == 1:
            if line != "gru-log v1":
                raise IngestError(1, "'gru-log v1'", shown(line))
            noise += 1
        elif not line or line.startswith("#"):
            noise += 1
        elif begun := _RUN.fullmatch(line):
            if run is not None:
                yield _found(run, path, options, seconds=None)
            run = _Run(line=number, variant=begun[1], train_tokens=int(begun[2]), seed=int(begun[3]))
            record += 1
        elif run is not None and (epoch := _EPOCH.fullmatch(line)):
            run.epochs.append((int(epoch[1]), float(epoch[2]), float(epoch[3]), float(epoch[4])))
            curve += 1
        elif run is not None and (end := _END.fullmatch(line)):
            yield _found(run, path, options, seconds=float(end[1]))
            run = None
            record += 1
        else:
            expected = "run" if run is None else "epoch=, end or run"
            yield NotUnderstood(line=number, expected=f"a line of {expected}", found=shown(line))
    if run is not None:
        yield _found(run, path, options, seconds=None)
    yield Tally(record=record, curve=curve, noise=noise)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number, line); of a line that a terminal overwrote, what it showed last."""
    for first, step, lines in read_lines(path):
        if step == 0:
            yield first, lines[-1].strip()
        else:
            yield from ((first + i, line.strip()) for i, line in enumerate(lines))


def _found(run: _Run, path: Path, options: IngestOptions, *, seconds: float | None) -> FoundRun:
    """The run as a record of its best epoch. seconds None: its end is missing."""
    good = [epoch for epoch in run.epochs if all(map(isfinite, epoch))]
    best = min(good, key=lambda epoch: epoch[1]) if good else None
    status, reason = "ok", None
    if len(good) < len(run.epochs):
        status, reason = "diverged", "a perplexity is not finite"
    elif seconds is None or best is None:
        status, reason = "interrupted", f"the log ends after {len(run.epochs)} epochs"
    steps = [epoch[0] for epoch in run.epochs]
    return FoundRun(
        line=run.line, exact=False,
        columns={
            "experiment": options.experiment or path.stem, "variant": run.variant, "train_tokens": run.train_tokens,
            "seed": run.seed, "epochs": len(run.epochs) or None, "status": status, "reason": reason,
            "seconds_phase2": seconds if seconds is not None and isfinite(seconds) else None,
            **(dict(zip(("best_epoch", "val_ppl", "val_acc", "train_ppl"), best, strict=True)) if best else {}),
        },
        curves=tuple(
            Curve(phase=2, metric=metric, steps=steps,
                  values=[epoch[i] if isfinite(epoch[i]) else None for epoch in run.epochs])
            for i, metric in enumerate(("val_ppl", "val_acc", "train_ppl"), 1) if run.epochs
        ),
    )
