"""How many processes the `local` executor starts when it is not told."""

from dataclasses import replace

import pytest
import torch

from cvfp_local import processes
from made_runs import made_cell

GIB = 2**30


def cells(device, *tokens):
    return [replace(made_cell("2L_768d_1tok"), device=device, train_tokens=count) for count in tokens]


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch):
    monkeypatch.setattr(processes, "_cpus", lambda: 8)


def test_a_cpu_takes_a_process_a_core_up_to_four(monkeypatch):
    assert processes.fitting_jobs(cells("cpu", 1000)) == 4
    monkeypatch.setattr(processes, "_cpus", lambda: 2)
    assert processes.fitting_jobs(cells("cpu", 1000)) == 2


@pytest.mark.parametrize(("free", "tokens", "jobs"), [(80, 1_000, 4), (7, 1_000, 3), (1, 1_000, 1), (24, 1_000_000, 2)])
def test_a_gpu_takes_as_many_as_fit_its_free_memory(monkeypatch, free, tokens, jobs):
    """A million tokens of two layers of 768 numbers are 5.7 GiB, with validation 8.6, and 2 GiB for the rest."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (free * GIB, 80 * GIB))
    assert processes.fitting_jobs(cells("cuda", 500, tokens)) == jobs


def test_other_devices_take_one():
    assert processes.fitting_jobs(cells("mps", 1000)) == 1
