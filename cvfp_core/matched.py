"""Moved to cvfp_core.claims.matched."""

from cvfp_core.claims.matched import *  # noqa: F403
from cvfp_core.errors import moved

moved(__name__, "cvfp_core.claims.matched")
