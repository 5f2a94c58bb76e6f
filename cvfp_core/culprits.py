"""Moved to cvfp_core.registry.culprits."""

from cvfp_core.errors import moved
from cvfp_core.registry.culprits import *  # noqa: F403

moved(__name__, "cvfp_core.registry.culprits")
