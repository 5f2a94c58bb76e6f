"""The machine a grid is planned for: its device and its free memory, asked without torch where that is possible."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

_ACCELERATORS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""What stands there on Linux where a driver of NVIDIA, of AMD or of Windows beneath it is loaded."""


def device(name: str, *, elsewhere: bool = False) -> str:
    """The device of that name, ready for torch, which is asked only where there may be more than a CPU.

    elsewhere: it is one of other machines, so `auto` stays for them to find out. Raises UsageError for an unknown name
    and for a device this machine does not have.
    """
    if elsewhere and name == "auto":
        return name
    if name == "cpu" or (name == "auto" and not _accelerated()):
        return "cpu"
    from cvfp_core.protocol import device as devices

    return devices.known(name) if elsewhere else devices.resolve(name)


def _accelerated() -> bool:
    return sys.platform != "linux" or any(map(os.path.exists, _ACCELERATORS))


def free_memory(device: str) -> int | None:
    """Bytes that a run on the device may take; None: not known.

    On a GPU what is free there. Else what the system says is available and a container's limit allows, or where it does
    not say, all there is.
    """
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(torch.device(device))[0])
    limits = []
    with suppress(OSError, ValueError, IndexError):
        known = dict(line.split(":") for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
        limits.append(int(known["MemAvailable"].split()[0]) * 1024)
    with suppress(OSError, ValueError):  # "max": none
        limits.append(int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    if not limits:
        with suppress(OSError, ValueError, AttributeError):
            limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(limits, default=None)
