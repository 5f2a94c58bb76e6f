"""What the protocol asks of a machine, and what records say of runs that leave a phase out."""

import time
from types import SimpleNamespace

import pytest
import torch

from cvfp_core.errors import UsageError
from cvfp_core.protocol import device, objective
from cvfp_core.protocol.flops import phase1_flops, phase2_flops, run_flops, sweep_flops
from cvfp_core.protocol.objective import Term
from cvfp_core.protocol.record import record
from cvfp_core.protocol.run import run_cell
from cvfp_core.registry.kinds import Objective, StopRule
from made_runs import RESIDUAL, made_cell, made_corpus


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


def test_the_seconds_of_the_phases_are_within_those_of_the_run_and_leave_out_what_asking_a_rule_takes():
    asked = []

    def slow(_underway):
        asked.append(time.perf_counter())
        while time.perf_counter() - asked[-1] < 0.2:
            pass

    began = time.perf_counter()
    done = run_cell(made_cell(), RESIDUAL, made_corpus(), lambda _event: None,
                      stop_rules=[StopRule(name="slow", title="", ends=slow)]).record
    wall = time.perf_counter() - began
    assert done.status == "ok"
    assert len(asked) >= 2
    assert done.seconds_phase1 > 0
    assert done.seconds_phase2 > 0
    assert done.seconds_phase1 + done.seconds_phase2 <= wall - 0.2 * len(asked)


def test_an_objective_that_takes_most_of_a_long_iteration_is_told_once(monkeypatch):
    monkeypatch.setattr(objective, "time", SimpleNamespace(perf_counter=lambda: 100.0))
    term = Term(Objective(name="own", title="", form="", loss=lambda *_: None, cost="B^2 d"))

    def told(own, whole):
        term.timed(torch.device("cpu"), since=100.0 - own)
        return term.warning(whole)

    assert told(0.8, 1.0).startswith("objective 'own' takes 0.8 s of an iteration's 1 s: its cost grows as B^2 d, ")
    assert term.warning(1.0) is None
    assert told(0.8, 2.0) is None
    assert told(0.14, 0.15) is not None
    assert told(0.08, 0.09) is None


def test_a_device_is_described_as_a_reader_of_records_needs_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "GPU X")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert [device.describe(torch.device(name)) for name in ("cuda:1", "cpu", "mps")] == [
        "cuda (GPU X)", "cpu (3 threads)", "mps"]
    assert (device.exact(torch.device("mps")), device.exact(torch.device("cpu"))) == (torch.float32, torch.float64)


@pytest.mark.parametrize(("phases", "mode", "columns"), [
    (1, "trained", (None, None, None)), (2, "trained", ("trained", "mcdl", "converged")),
    (2, "untrained", ("untrained", "mcdl", "converged")), (2, "zero-context", ("zero-context", None, None))])
def test_a_record_names_what_its_phase_1_was_where_there_was_one(phases, mode, columns):
    made = record(made_cell(phase1={"mode": mode}), phases, {}, "ok")
    assert (made.phase1_mode, made.objective, made.ending) == columns
