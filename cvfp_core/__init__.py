"""cvfp: scaling-law analysis of language-model experiments. See ARCHITECTURE.md for the house."""

import pluggy

__version__ = "0.1.0"
__all__ = ["__version__", "hookimpl"]

hookimpl = pluggy.HookimplMarker("cvfp")
"""Marks a function of a plugin as the implementation of a hook."""
