"""Moved to cvfp_core.claims.decisions."""

from cvfp_core.claims.decisions import *  # noqa: F403
from cvfp_core.errors import moved

moved(__name__, "cvfp_core.claims.decisions")
