"""Processors, and what suits them: a table of those that were measured (benchmarks/RESULTS.md).

Light: torch is imported when it is asked what it uses of this machine's.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_VENDORS = {"GenuineIntel": "Intel", "AuthenticAMD": "AMD"}
_LEVELS = {"amx_bf16": "amx", "avx512_bf16": "avx512-bf16", "avx512f": "avx512", "avx2": "avx2", "bf16": "neon-bf16",
           "asimd": "neon"}
"""Features as the system names them, the best first, and what the table calls them."""
BFLOAT16 = ("amx", "avx512-bf16", "neon-bf16")
"""Levels of processors that multiply bfloat16 themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """Who made it, and the best vector instructions that torch uses of it."""

    vendor: str
    level: str

    def __str__(self) -> str:
        return f"{self.vendor} {self.level}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """How products are computed on a processor."""

    library: str | None = None
    """Of float32 products, as `shortcuts.product_library` names it; None: to be timed."""
    rows_at_once: int = 2500
    """Rows of a block of Phase 1: what it touches leaves less often for the main memory."""
    words_at_once: int = 4096
    """Words of a chunk of the head: a batch's logits stay in the cache."""


DEFAULT = Tuning()
TABLE: Mapping[str, Tuning] = {
    **dict.fromkeys(("AMD avx512-bf16", "AMD avx512", "AMD avx2"), Tuning(library="onednn")),
    **dict.fromkeys(("Intel amx", "Intel avx512-bf16", "Intel avx512", "Intel avx2"), Tuning(library="torch")),
}


def suits(processor: Processor) -> Tuning:
    """What suits it, as far as the table says."""
    return TABLE.get(str(processor), DEFAULT)


@cache
def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> Processor:
    """That of this machine, as far as the system and torch say."""
    import torch

    known: dict[str, str] = {}
    with suppress(OSError), cpuinfo.open(encoding="ascii", errors="replace") as lines:
        for line in lines:
            name, _, value = line.partition(":")
            known.setdefault(name.strip().lower(), value.strip())
    allowed = torch.backends.cpu.get_cpu_capability().lower()  # what torch was told not to use counts for nothing
    features = [feature for feature in known.get("flags", known.get("features", "")).split()
                if allowed != "avx2" or not feature.startswith(("avx512", "amx"))]
    vendor = next((name for name in _VENDORS if name in (known.get("vendor_id") or platform.processor())), None)
    return Processor(vendor=_VENDORS[vendor] if vendor else platform.machine(),
                     level=next((level for name, level in _LEVELS.items() if name in features), allowed))
