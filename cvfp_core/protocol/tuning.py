"""What a run takes from its processor: the library of its products and the sizes of its blocks.

The last bits of a run depend on these, so the table says them, not a trial's clock (processor.py). What it does not say
is timed once and kept for good beside the cache of corpora; another library than the default is taken only where it was
faster by more than a fifth. Records name what was used, and `--set` pins it.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
from filelock import FileLock
from torch import Tensor
from torch.nn import functional as F

from cvfp_core.errors import UsageError
from cvfp_core.protocol.processor import BFLOAT16, processor, suits
from cvfp_core.protocol.products import fast_products, onednn, product
from cvfp_core.schema import atomic
from cvfp_core.schema.settings import Shortcuts

_Measured = TypeVar("_Measured")
_MARGIN = 1.2  # times as fast as the default that another library must be, so that a busy minute does not choose
_REPEATS = 7


def tuned(shortcuts: Shortcuts, folder: Path | None = None) -> Shortcuts:
    """The shortcuts with all that they leave to the processor. folder: where trials are kept; None: none is made.

    Raises UsageError for a library that this torch has not.
    """
    listed, library = suits(processor()), shortcuts.product_library
    if library == "auto":
        trial = None if folder is None or listed.library else _kept(folder, "library", _faster_library)
        library = (listed.library or trial or "torch") if onednn() else "torch"
    elif library == "onednn" and not onednn():
        raise UsageError("shortcuts.product_library is onednn, which this torch does not have; set auto or torch")
    return replace(shortcuts, product_library=library, rows_at_once=shortcuts.rows_at_once or listed.rows_at_once,
                   words_at_once=shortcuts.words_at_once or listed.words_at_once)


def described(shortcuts: Shortcuts) -> str:
    """What a record says of tuned shortcuts."""
    library = shortcuts.product_library if shortcuts.fast_products else "torch"
    return f"{library}, blocks of {shortcuts.rows_at_once} rows, chunks of {shortcuts.words_at_once} words"


def refuse_slow_bfloat16(shortcuts: Shortcuts, folder: Path) -> None:
    """Raises UsageError with what was measured where products in bfloat16 take longer than those in float32."""
    if shortcuts.slow_bfloat16 or processor().level in BFLOAT16:
        return
    half, full = _kept(folder, "GFLOP/s in bfloat16 and float32", _speeds)
    if half < full:
        raise UsageError(f"precision bfloat16 is slower than float32 on this processor ({processor()}): {half:.0f} "
                         f"against {full:.0f} GFLOP/s measured; leave it out, or set shortcuts.slow_bfloat16=true")


def _faster_library() -> str:
    if not onednn():
        return "torch"
    x, weight = _factors()

    def by(library: str) -> Callable[[], object]:
        def multiply() -> None:
            with fast_products(True, library):
                product(x, weight)

        return multiply

    took = _least({library: by(library) for library in ("torch", "onednn")})
    return "onednn" if took["onednn"] * _MARGIN < took["torch"] else "torch"


def _speeds() -> list[float]:
    """GFLOP/s in bfloat16, and in float32 by the library that suits."""
    x, weight = _factors()
    narrow, narrow_weight = x.bfloat16(), weight.bfloat16()
    took = _least({"bfloat16": lambda: F.linear(narrow, narrow_weight), "float32": lambda: product(x, weight)})
    operations = 2 * x.shape[0] * weight.numel() / 1e9
    return [operations / took["bfloat16"], operations / took["float32"]]


def _factors() -> tuple[Tensor, Tensor]:
    """Of a product as the head makes them, 0.8 GFLOP."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(512, 768, generator=generator), torch.randn(1024, 768, generator=generator)


def _least(ways: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """CPU seconds of the best of some tries of each way, made by turns; the first warms up."""
    least = dict.fromkeys(ways, math.inf)
    for repeat in range(_REPEATS + 1):
        for name, work in ways.items():
            began = time.process_time()
            work()
            if repeat:
                least[name] = min(least[name], time.process_time() - began)
    return least


def _kept(folder: Path, what: str, measure: Callable[[], _Measured]) -> _Measured:
    """What was measured before in such a place, else what is now; in the folder's `processors.json`."""
    file, place = folder / "processors.json", f"{processor()}, torch {torch.__version__}: {what}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "processors.lock"):  # the others wait, so that the first has a quiet minute
            found = {}
            with suppress(FileNotFoundError, ValueError):  # torn: made anew
                found = dict(json.loads(file.read_text(encoding="utf-8")))
            if place not in found:
                found[place] = measure()
                text = json.dumps(found, indent=1)
                atomic.write(file, lambda path: path.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{folder}: what suits this processor cannot be kept ({error.strerror or error}); set "
                         "CVFP_CACHE to another folder") from error
    kept: _Measured = found[place]
    return kept
