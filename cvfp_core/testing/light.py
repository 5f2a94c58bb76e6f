"""The check of a plugin's entry module: loaded in a process of its own, as `cvfp --help` and `cvfp plugins` load it."""

from __future__ import annotations

import json
import subprocess
import sys
from types import ModuleType

from cvfp_core.testing.expecting import expect

HEAVY = frozenset({
    "datasets", "jax", "lmfit", "matplotlib", "numpy", "pandas", "polars", "pyarrow", "safetensors", "scipy", "sklearn",
    "tensorboard", "tensorflow", "tokenizers", "torch", "transformers",
})
"""Each costs a tenth of a second or more; many plugins are loaded for every `cvfp --help`."""
_LOADED = """
import importlib, json, sys
sys.path[:], name = json.loads(sys.argv[1]), sys.argv[2]
from cvfp_core.testing import load_only
before = set(sys.modules)
load_only(importlib.import_module(name))
print(json.dumps(sorted({each.partition(".")[0] for each in set(sys.modules) - before})))
"""


def check(plugin: ModuleType) -> None:
    """See `check_light`."""
    what = f"plugin module '{plugin.__name__}', loaded with its hooks called"
    done = subprocess.run([sys.executable, "-c", _LOADED, json.dumps(sys.path), plugin.__name__], text=True,
                          capture_output=True, check=False, timeout=120)
    expect(done.returncode == 0, what, "no exception", (done.stderr.splitlines() or ["none"])[-1])
    heavy = sorted(HEAVY & set(json.loads(done.stdout.splitlines()[-1])))
    expect(not heavy, what, "nothing heavy is imported (import it inside the functions that need it, or in a sibling "
           "module)", ", ".join(heavy))
