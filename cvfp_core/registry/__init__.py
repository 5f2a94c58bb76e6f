"""The door for plugins: what they hand over, the hooks, and the registry of what is installed."""

from cvfp_core.registry.loading import GROUP, HOOKS, TITLES, PluginInfo
from cvfp_core.registry.registry import Registry, given, installed, load, misnamed

__all__ = ["GROUP", "HOOKS", "TITLES", "PluginInfo", "Registry", "given", "installed", "load", "misnamed"]
