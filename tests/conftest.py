"""What all tests share: one thread a process, bytecode that the programs they start can use, no deadlines, Ctrl-C."""

import os
import signal
import sys

from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # workers share the cores; products this small wait for threads
os.environ.setdefault("CVFP_SYNC", "0")  # no power cut ends a test but those of test_durability
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

collect_ignore = ["data"]

for number, handler in ((signal.SIGINT, signal.default_int_handler), (getattr(signal, "SIGHUP", None), signal.SIG_DFL)):
    if number is not None and signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)  # the background of a shell has all it starts ignore them
