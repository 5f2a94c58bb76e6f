"""What a process does that executes cells; its imports, which take seconds, are all here."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path

import torch
import torch._dynamo  # every optimizer imports it when it is made, which takes a second

import cvfp_core.protocol.checkpoint
import cvfp_core.protocol.run  # noqa: F401 (the first cell needs these)
from cvfp_core.errors import CvfpError
from cvfp_core.running.execute import execute_cells
from cvfp_core.schema.cells import Cell


def work(cells: Sequence[Cell], folder: Path, threads: int, environment: Mapping[str, str], told: Connection) -> None:
    """Executes the cells and tells events, or the error that ends it, and None when it is done.

    environment: of the process that asks, which may have changed since this one's was begun.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.clear()
    os.environ.update(environment)
    sys.stdout = sys.stderr  # where the parent prints results
    torch.set_num_threads(threads)
    try:
        execute_cells(cells, folder, told.send)
    except CvfpError as error:
        told.send(error)
    told.send(None)


def _end_with_parent() -> None:
    """Ends this process when the one that started it is gone, however it went: nobody hears it any more."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
