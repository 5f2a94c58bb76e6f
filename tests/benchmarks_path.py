"""Benchmarks as modules, for the tests that run small versions of them."""

import importlib.util
from pathlib import Path


def coverage():
    """The module benchmarks/coverage.py."""
    path = Path(__file__).parents[1] / "benchmarks" / "coverage.py"
    spec = importlib.util.spec_from_file_location("coverage_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
