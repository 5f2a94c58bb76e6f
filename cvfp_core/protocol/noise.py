"""The random numbers of Phase 1: initial contexts, and noise on the contexts a sweep reads.

Drawing normal numbers one after another would be a tenth of a sweep on two cores and most of it on many. So the rows of
a tensor are dealt out to a fixed number of lanes, each with a generator of its own, and threads share the lanes: the
numbers depend on the seed and on nothing else.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

import numpy as np
import torch
from torch import Tensor

LANES = 8
_SMALL = 1 << 16  # numbers below which starting threads costs more than they save


class Noise:
    """Normal numbers on a device, from a seed; a context manager, since it holds threads.

    On a CPU lane i draws from a generator seeded with word i of numpy's SeedSequence, since torch's reads no more than
    32 bits of a seed; on other devices there is one generator, whose kernels are parallel already.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        lanes = LANES if device.type == "cpu" else 1
        seeds = np.random.SeedSequence(seed).generate_state(lanes)
        self.generators = [torch.Generator(device=device).manual_seed(int(each)) for each in seeds]
        threads = min(torch.get_num_threads(), lanes)
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="cvfp-noise") if threads > 1 else None

    def __enter__(self) -> Noise:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
                 ) -> None:
        if self.pool is not None:
            self.pool.shutdown()

    def fill(self, out: Tensor, scale: float) -> None:
        """Overwrites out (B, d) with normal numbers of standard deviation `scale`."""
        run = map if self.pool is None or out.numel() < _SMALL else self.pool.map
        parts = out.tensor_split(len(self.generators))
        for _ in run(lambda part, generator: part.normal_(0.0, scale, generator=generator), parts, self.generators):
            pass
