"""What the protocol asks of a machine, and what records say of runs that leave a phase out."""

from types import SimpleNamespace

import pytest
import torch

from cvfp_core.errors import UsageError
from cvfp_core.protocol import device
from cvfp_core.protocol.flops import phase1_flops, phase2_flops, run_flops, sweep_flops


@pytest.fixture
def machine(monkeypatch):
    def made(cuda=0, *, mps=False):
        monkeypatch.setattr(torch, "cuda", SimpleNamespace(is_available=lambda: cuda > 0, device_count=lambda: cuda))
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return made


def test_auto_is_the_fastest_device_there_is(machine):
    for cuda, mps, found in ((0, False, "cpu"), (0, True, "mps"), (1, False, "cuda"), (2, True, "cuda")):
        machine(cuda, mps=mps)
        assert device.resolve("auto") == found


def test_a_device_that_is_there_is_taken_and_another_is_refused(machine):
    machine(2, mps=True)
    assert [device.resolve(name) for name in ("cpu", "cuda", "cuda:1", "mps")] == ["cpu", "cuda", "cuda:1", "mps"]
    with pytest.raises(UsageError, match=r"device 'cuda:2' is not on this machine \(2 CUDA devices\); use cpu"):
        device.resolve("cuda:2")
    machine(0)
    assert device.resolve("cpu") == "cpu"
    for name, said in (("cuda", "(0 CUDA devices); use cpu"), ("mps", "is not on this machine; use cpu")):
        with pytest.raises(UsageError) as error:
            device.resolve(name)
        assert str(error.value).endswith(said)


def test_operations_are_two_a_parameter_and_token_forward_and_four_backward():
    assert sweep_flops(10, 1000) == 10 * 1000 * (2 + 4)
    assert sweep_flops(10, 1000, trained=False) == 10 * 1000 * 2
    assert phase1_flops(10, 1000, 100, 1) == phase1_flops(10, 1000, 100, 0) == 2 * 10 * (1000 + 2 * 100)
    assert phase2_flops(20, 300, 1000, 100, 3) == 3 * ((6 * 20 + 4 * 300) * 1000 + 2 * 320 * 100)
    both = phase1_flops(10, 1000, 100, 4) + phase2_flops(20, 300, 1000, 100, 2)
    assert run_flops(10, 20, 300, 1000, 100, 4, 2) == both
