"""Benchmarks as modules, for the tests that run small versions of them."""

import importlib.util
import sys
from pathlib import Path


def controls():
    """The module benchmarks/controls.py."""
    return _module("controls")


def coverage():
    """The module benchmarks/coverage.py."""
    return _module("coverage")


def findings():
    """The module benchmarks/findings.py."""
    return _module("findings")


def forecasts():
    """The module benchmarks/forecasts.py."""
    return _module("forecasts")


def fuzz():
    """The module benchmarks/fuzz.py."""
    return _module("fuzz")


def plugin_loop():
    """The module benchmarks/plugin_loop.py."""
    return _module("plugin_loop")


def published():
    """The module benchmarks/published.py."""
    return _module("published")


def reliability():
    """The module benchmarks/reliability.py."""
    return _module("reliability")


def _module(name):
    path = Path(__file__).parents[1] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"{name}_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module
