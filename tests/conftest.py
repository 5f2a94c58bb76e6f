"""What all tests share: one thread a process, and bytecode that the many programs they start can use."""

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")  # workers share the cores; products this small wait for threads
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

collect_ignore = ["data"]
