"""Room for the contexts of a stream: in memory, or beyond a limit in a file that the system maps and pages."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from cvfp_core.errors import CvfpError


def room(shape: Sequence[int], device: torch.device, folder: Path, memory_gib: float) -> Tensor:
    """A float32 tensor of this shape, its content undefined.

    On a CPU, one that is larger than `memory_gib` is a file in `folder` that vanishes with the tensor; the system keeps
    in memory what is in use. Raises CvfpError if the file does not fit there.
    """
    count = math.prod(shape)
    if device.type != "cpu" or count * 4 <= memory_gib * 2**30:
        return torch.empty(tuple(shape), device=device)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix="contexts-", dir=folder)
        try:
            if hasattr(os, "posix_fallocate"):  # a full disk must end here, not when a page is written
                os.posix_fallocate(handle, 0, count * 4)
            mapped = torch.from_file(name, shared=True, size=count, dtype=torch.float32)
        finally:
            os.close(handle)
            with suppress(OSError):  # Windows keeps a mapped file
                os.unlink(name)
    except OSError as error:
        raise CvfpError(
            f"contexts need {count * 4 / 2**30:.1f} GiB in '{folder}': {error.strerror or error}; free space there, "
            "set CVFP_CACHE to another folder, or raise shortcuts.memory_gib if the memory is there"
        ) from error
    return mapped.view(tuple(shape))
