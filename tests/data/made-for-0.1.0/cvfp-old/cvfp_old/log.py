"""The format `old-log v1`: the first line says so, then runs; `#` begins a comment.

    old-log v1
    variant=1L_64d_1tok train_tokens=20206 val_ppl=222.6
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from cvfp_core.errors import IngestError
from cvfp_core.ingesting.found import Found, FoundRun, NotUnderstood, Tally
from cvfp_core.ingesting.lines import read_lines, shown
from cvfp_core.kinds import IngestOptions

_RUN = re.compile(r"variant=(\S+) train_tokens=(\d{1,18}) val_ppl=(\d+(?:\.\d+)?)", re.ASCII)


def read(path: Path, options: IngestOptions) -> Iterator[Found]:
    """Every run; every other line is counted as noise or reported, none is dropped."""
    record = noise = 0
    for first, step, lines in read_lines(path):
        for index, line in enumerate(lines):
            number = first + index * step
            if number == 1 and line.strip() != "old-log v1":
                raise IngestError(1, "'old-log v1'", shown(line))
            if number == 1 or not line.strip() or line.startswith("#"):
                noise += 1
            elif run := _RUN.fullmatch(line.strip()):
                record += 1
                yield FoundRun(line=number, exact=False, columns={
                    "experiment": options.experiment or path.stem,
                    "variant": run[1], "train_tokens": int(run[2]), "val_ppl": float(run[3]),
                })
            else:
                yield NotUnderstood(line=number, expected="variant=, train_tokens=, val_ppl=", found=shown(line))
    yield Tally(record=record, noise=noise)
