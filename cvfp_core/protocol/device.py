"""The device a run uses: chosen by name, described for the record, its memory measured."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

import torch

from cvfp_core.errors import UsageError

DEVICES = ("auto", "cpu", "cuda", "mps")


def resolve(name: str) -> str:
    """The device of that name, ready for torch; `auto` is CUDA where there is one, then MPS, then the CPU.

    Raises UsageError for an unknown name and for a device this machine does not have.
    """
    kind, _, index = known(name).partition(":")
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if kind == "auto":
        return "cuda" if cuda else "mps" if mps else "cpu"
    if kind == "cuda" and (not cuda or int(index or 0) >= torch.cuda.device_count()):
        raise UsageError(f"device '{name}' is not on this machine ({torch.cuda.device_count()} CUDA devices); use cpu")
    if kind == "mps" and not mps:
        raise UsageError("device 'mps' is not on this machine; use cpu")
    return name


def known(name: str) -> str:
    """The name, of a device that some machine may have. Raises UsageError for any other."""
    kind, _, index = name.partition(":")
    if kind not in DEVICES or (index and not (kind == "cuda" and index.isdecimal())):
        raise UsageError(f"unknown device '{name}'; use one of {', '.join(DEVICES)} or cuda:N")
    return name


def describe(device: torch.device) -> str:
    """What stands in the record: the GPU's name, or the CPU's threads."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    if device.type == "cpu":
        return f"cpu ({torch.get_num_threads()} threads)"
    return device.type


def exact(device: torch.device) -> torch.dtype:
    """float64, where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64


def reset_peak_memory(device: torch.device) -> None:
    """Starts a new measurement of peak memory, where the platform can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif sys.platform == "linux":
        with suppress(OSError):
            fd = os.open("/proc/self/clear_refs", os.O_WRONLY)
            try:
                os.write(fd, b"5")
            finally:
                os.close(fd)


def peak_memory(device: torch.device) -> int | None:
    """Bytes: the device's peak on CUDA, the process's peak resident set on Linux, else None."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type == "cpu" and sys.platform == "linux":
        with suppress(OSError, ValueError), open("/proc/self/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    return None
