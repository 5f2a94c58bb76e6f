"""What a model's code may change of the process that it shares with the next cells; put back, and said."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

State = Mapping[str, tuple[object, Callable[[Any], object]]]
"""By name: the value, and what sets it."""


@contextmanager
def put_back() -> Iterator[list[str]]:
    """While it is open the state may change; then it is what it was. Yields what is then filled with the changes."""
    changes: list[str] = []
    before = _state()
    try:
        yield changes
    finally:
        now = _state()
        for name, (value, set_) in before.items():
            if now[name][0] != value:
                set_(value)
                changes.append(f"{name} from {_shown(value)} to {_shown(now[name][0])}")


def _state() -> State:
    found: dict[str, tuple[object, Callable[[Any], object]]] = {
        "torch's default dtype": (torch.get_default_dtype(), torch.set_default_dtype),
        "torch's default device": (torch.get_default_device(), _set_device),
        "torch's number of threads": (torch.get_num_threads(), torch.set_num_threads),
        "whether torch takes gradients": (torch.is_grad_enabled(), torch.set_grad_enabled),
        "torch's precision of float32 products": (torch.get_float32_matmul_precision(),
                                                  torch.set_float32_matmul_precision),
        "Python's recursion limit": (sys.getrecursionlimit(), sys.setrecursionlimit),
        "whether torch is deterministic": (torch.are_deterministic_algorithms_enabled(),
                                           torch.use_deterministic_algorithms),
    }
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            if (number := getattr(signal, name, None)) is not None:
                found[f"the handler of {name}"] = (signal.getsignal(number), partial(signal.signal, number))
    return found


def _set_device(device: torch.device) -> None:
    """None leaves out the mode that a default device is, which costs time at every call."""
    torch.set_default_device(None if device.type == "cpu" else device)


def _shown(value: object) -> str:
    return getattr(value, "__name__", None) or str(value)
