"""cvfp: scaling-law analysis of language-model experiments. See ARCHITECTURE.md for the house."""

from cvfp_core.hookspecs import hookimpl

__version__ = "0.1.0"
__all__ = ["__version__", "hookimpl"]
