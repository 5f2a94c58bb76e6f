"""Inputs damaged, and what must hold of whatever is read from them."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator
from pathlib import Path

from cvfp_core.errors import CvfpError
from cvfp_core.ingesting import lines
from cvfp_core.schema.records import SCHEMA
from ingesting import read, rows

NASTY = (b'{"val_loss": "\\ud800", "params": 3}', b'{"params": ' + b"9" * 401 + b', "val_loss": 3.5}', b"[" * 3000,
         b'{"a":' * 1500, b"\x00\x01\x02\xff\xfe", b"40%,40%,40%,40%,40%", b"nan,inf,-inf,NaN,1e999", b'"' * 7,
         b"\xef\xbb\xbf", "\N{RIGHT-TO-LEFT OVERRIDE}٣".encode(), b"!!python/object/apply:os.system [x]")
WRONG = (b"0", b"-1", b"nan", b"inf", b"1e999", b"9" * 30, b"9" * 401, "٣".encode(), b"1,2,3", b"5.5.5", b"40%", b"7B",
         b"", b"0.37", b"1e-320", b"true", b"null", b"2026-01-01", b"0x1F", b"1_000")
FACTORS = (1.0, *(10.0**power for power in (3, 6, 9, 12, 15, 18, 21)), 0.01, math.log(2), 8.64e19)
"""What a declared unit multiplies by: `(M)`, `%`, bits, petaflop/s-days."""
SUMS = {"seconds_phase1", "seconds_phase2", "params_phase1", "params_phase2", "params", "epochs", "trainer_steps"}
"""Columns that add up or count what a log says step by step, or what a header says tensor by tensor."""
COUNTED = {"build_nanogpt.log", "hf_console.log", "hf_console_5.log"}
"""Console logs whose points are of the step after the one printed, or are numbered."""
BINARY = {"table.csv.gz", "table.csv.bz2", "table.csv.xz", "tables.zip", "table.parquet", "tensorboard", "wandb-log",
          "mlflow.db", "trackio.db"}
"""Inputs whose numbers are not written as text."""
_NUMBER = re.compile(rb"[-+]?(?:\d[\d,_ ]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def damaged(content: bytes, chance: random.Random) -> bytes:
    """The content cut, shuffled, or corrupted, in one to three ways."""
    for _ in range(chance.randint(1, 3)):
        parts = content.split(b"\n")
        at = chance.randrange(len(parts))
        numbers = list(_NUMBER.finditer(content))
        match chance.randrange(7):
            case 0:
                content = content[:chance.randint(0, len(content))]
            case 1:
                chance.shuffle(parts)
                content = b"\n".join(parts)
            case 2:
                changed = bytearray(content)
                for _ in range(chance.randint(1, 20) if changed else 0):
                    changed[chance.randrange(len(changed))] = chance.randrange(256)
                content = bytes(changed)
            case 3 if numbers:
                for number in sorted(chance.sample(numbers, min(3, len(numbers))), key=lambda each: -each.start()):
                    content = content[:number.start()] + chance.choice(WRONG) + content[number.end():]
            case 4:
                content = b"\n".join([*parts[:at], chance.choice(NASTY), *parts[at:]])
            case 5:
                content = b"\n".join([*parts[:at], parts[at], *parts[at:]])
            case _:
                content = b"\n".join(parts[:at] + parts[at + 1:])
    return content


def _keys(value: float) -> Iterator[str]:
    """A number as it is compared: to eleven digits, up or down in the last of them."""
    return (f"{value * (1 + off):.10e}" for off in (0, 1e-11, -1e-11))


def _numbers_of(folder: Path) -> set[str]:
    """Every number that stands in the files of a folder or in their names, by itself or as a part of another."""
    texts = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    texts += [str(path.relative_to(folder)).encode() for path in folder.rglob("*")]
    found = set()
    for text in texts:
        text = lines.text_of(text).encode("utf-8", "replace").replace(b"\xef\xbf\xbd", b"\x00")
        for pattern in (_NUMBER, re.compile(rb"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?"),
                        re.compile(rb"\d+"), re.compile(rb"\d+\.\d+"), re.compile(rb"\d{1,3}(?:,\d{3})+")):
            for match in pattern.finditer(text):
                plain = re.sub(rb"[,_ ]", b"", match[0])
                if len(plain) < 310:
                    found |= {key for factor in FACTORS for key in _keys(float(plain) * factor)}
        for match in re.finditer(rb"0x[0-9a-fA-F]{1,15}", text):  # as YAML writes it
            found |= set(_keys(int(match[0], 16)))
    return found


def _follows(row: dict[str, object]) -> set[str]:
    """The columns of a record that it says are derived from others."""
    return {part.partition(" = ")[0] for part in str(row.get("derived") or "").split("; ")}


def check(name: str, folder: Path) -> int:
    """Reads a damaged input: what can be read is, the rest is named; how many runs there are."""
    try:
        made = read(folder)
    except CvfpError:
        return 0
    assert made.records.columns[: len(SCHEMA)] == list(SCHEMA)
    assert made.records["run_id"].is_unique().all()
    texts = [str(text) for file in made.files for text in (file.problem, *file.messages, *file.remarks)]
    for text in (*texts, *made.skipped, *made.faults):
        assert "\n" not in text
        assert not re.search(r" failed: |Traceback|panicked|rust|pyo3|polars", text), text  # an ingester that broke
    assert not made.faults
    if name in BINARY:
        return made.records.height
    there = _numbers_of(folder)
    for row in rows(made):
        for column, value in row.items():
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
                counted = column in SUMS or (column == "step" and (name in COUNTED or value == 0))  # 0: before any
                known = counted or column in _follows(row) or there & set(_keys(abs(float(value))))
                assert known, f"{column} = {value!r} stands nowhere in the input"
    return made.records.height
