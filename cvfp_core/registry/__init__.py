"""What plugins hand over, the hooks, and the registry of what is installed."""

from cvfp_core.registry.entry_points import GROUP, PluginInfo
from cvfp_core.registry.loading import HOOKS, TITLES
from cvfp_core.registry.registry import Registry, given, installed, load, misnamed, pinned

__all__ = ["GROUP", "HOOKS", "TITLES", "PluginInfo", "Registry", "given", "installed", "load", "misnamed", "pinned"]
