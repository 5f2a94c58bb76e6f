"""What all tests share: one thread a process, bytecode that the programs they start can use, no deadlines, Ctrl-C."""

import os
import signal
import sys

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # workers share the cores; products this small wait for threads
os.environ.setdefault("CVFP_SYNC", "0")  # no power cut ends a test but those of test_durability
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

collect_ignore = ["data"]


@pytest.fixture
def ctrl_c():
    """Ctrl-C is heard, also where the tests run in the background of a shell, which has all they start ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
